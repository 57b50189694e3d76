"""A scripted client: sends what it is told, keeps what it gets, byte for byte."""

import base64
from functools import cache
from typing import Any

from twisted.internet import reactor, ssl
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITLSTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.words.xish import domish

from tests.integration.inbox import TIMEOUT, Inbox, escaped, quoted
from tests.integration.network import LOCAL
from tests.integration.servers import Account, authority
from tests.integration.xmlcut import Cutter, Received
from tests.patience import patiently

__all__ = ["NS_BIND", "NS_SASL", "NS_TLS", "TIMEOUT", "Client", "connect", "tls_options"]

NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
NS_BIND = "urn:ietf:params:xml:ns:xmpp-bind"


@cache
def tls_options(domain: str, *, alpn: bool = False) -> Any:
    trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority().certificate_pem())])
    protocols = [b"xmpp-client"] if alpn else None
    return ssl.optionsForClientTLS(domain, trustRoot=trust, acceptableProtocols=protocols)


class Client(Inbox, Protocol):
    """One connection."""

    transport: ITLSTransport
    features: Received  # after open()
    language = ""  # for the stream header
    declares: str = ""  # more for it: declarations of prefixes

    def __init__(self, domain: str, label: str = "client") -> None:
        super().__init__(domain, label)
        self.headers: list[domish.Element] = []
        self.stream_closed = False  # the peer sent </stream:stream>
        self._closing = False  # we sent </stream:stream>
        self.reads = 0  # by now; in TLS each is one record, and so what the peer wrote at once
        self._restart()

    # Twisted calls these

    def dataReceived(self, data: bytes) -> None:
        self.reads += 1
        self._cutter.feed(data)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008
        self.lost = reason
        self._note(f"connection lost: {reason.getErrorMessage()}")
        self._wake()

    # what came

    def _restart(self) -> None:
        self._cutter = Cutter(self._opened, self._arrived, self._closed)

    def _opened(self, root: domish.Element, raw: bytes) -> None:
        self.headers.append(root)
        self._note(f"< {raw.decode()}")
        self._wake()

    def _arrived(self, stanza: Received) -> None:
        self._came(stanza)

    def _closed(self) -> None:
        self.stream_closed = True
        self._note("< </stream:stream>")
        if not self._closing:
            self.send("</stream:stream>")
            self.transport.loseConnection()
        self._wake()

    async def expect_close(self, condition: str | None = None, timeout: float = TIMEOUT) -> None:
        """The end of the stream and of the connection; with a stream error of that condition, if given."""
        if condition is not None:
            await self.expect(
                f"<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", timeout
            )
        await self.until_lost(timeout)

    async def until_lost(self, timeout: float = TIMEOUT) -> None:
        if self.lost is None:
            await self._something(lambda: False, "the end of the connection", patiently(timeout))

    # sending

    def send(self, data: str | bytes) -> None:
        raw = data.encode() if isinstance(data, str) else data
        self._note(f"> {raw.decode('utf-8', 'replace')}")
        self._closing = self._closing or b"</stream:stream>" in raw
        self.transport.write(raw)

    # negotiation, step by step

    async def open(self, to: str | None = None) -> Received:
        """Send a stream header, return the features."""
        count = len(self.headers)
        self.send(
            f"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
            f" to={quoted(to or self.domain)} version='1.0'{self.declares}"
            + (f" xml:lang={quoted(self.language)}>" if self.language else ">")
        )
        await self.until(lambda: len(self.headers) > count, "a stream header")
        self.features = await self.expect("<stream:features/>")
        return self.features

    async def starttls(self) -> None:
        self.send(f"<starttls xmlns='{NS_TLS}'/>")
        await self.expect_next(f"<proceed xmlns='{NS_TLS}'/>")
        self.secure()

    def secure(self) -> None:
        """Start TLS on this connection; open() is due."""
        self._restart()
        self.transport.startTLS(tls_options(self.domain))

    async def authenticate(self, username: str, password: str) -> Received:
        """SASL PLAIN; returns <success/> or <failure/>. After success open() is due."""
        message = base64.b64encode(f"\0{username}\0{password}".encode()).decode()
        return await self._authenticate("PLAIN", message)

    async def authenticate_as_guest(self) -> Received:
        """SASL ANONYMOUS; as above."""
        return await self._authenticate("ANONYMOUS", "=")

    async def _authenticate(self, mechanism: str, message: str) -> Received:
        self.send(f"<auth xmlns='{NS_SASL}' mechanism='{mechanism}'>{message}</auth>")
        reply = await self.expect(lambda stanza: stanza.element.uri == NS_SASL, timeout=30.0)
        if reply.element.name == "success":
            self._restart()
        return reply

    async def bind(self, resource: str | None = None) -> str:
        wanted = f"<resource>{escaped(resource)}</resource>" if resource else ""
        reply = await self.iq("set", None, f"<bind xmlns='{NS_BIND}'>{wanted}</bind>")
        if reply.get("type") != "result":
            raise AssertionError(f"{self.label} could not bind: {reply}")
        self.jid = str(next(next(reply.element.elements()).elements()))
        self._bound_at = len(self._whole)
        return self.jid

    async def secured(self) -> None:
        """From a fresh connection to the features before login; STARTTLS if the server offers it."""
        features = await self.open()
        if any(child.uri == NS_TLS for child in features.element.elements()):
            await self.starttls()
            await self.open()

    async def authenticated(self, account: Account) -> None:
        """From a fresh connection to the features after login."""
        await self.secured()
        reply = await self.authenticate(account.username, account.password)
        if reply.element.name != "success":
            raise AssertionError(f"{self.label} could not log in: {reply}")
        await self.open()

    async def login(self, account: Account, resource: str | None = None) -> None:
        """From a fresh connection to a bound resource."""
        await self.authenticated(account)
        await self.bind(resource)

    # the end

    async def close(self) -> None:
        """Close the stream, then the connection."""
        if self.lost is None:
            self.send("</stream:stream>")
            await self.until_lost()

    def drop(self) -> None:
        """Cut the connection, as a device without a network does."""
        if self.lost is None:
            self.transport.abortConnection()


async def connect(
    port: int,
    domain: str,
    *,
    address: str = LOCAL.address,
    direct_tls: bool = False,
    label: str = "client",
    source: str = "",
) -> Client:
    """A connection to that address, from `source` if that is given; with `direct_tls` TLS comes first (XEP-0368)."""
    kind, to = (TCP6ClientEndpoint, "::1") if ":" in source else (TCP4ClientEndpoint, address)
    bind = (source, 0) if source else None
    endpoint: Any = kind(reactor, to, port, timeout=patiently(TIMEOUT), bindAddress=bind)
    if direct_tls:
        endpoint = wrapClientTLS(tls_options(domain, alpn=True), endpoint)
    client: Client = await connectProtocol(endpoint, Client(domain, label))
    return client
