"""A scripted client: sends what it is told, keeps what it gets, byte for byte."""

import base64
import itertools
from collections.abc import Callable
from typing import Any

from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITLSTransport
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.jid import internJID
from twisted.words.xish import domish

from tests.integration.patterns import matches
from tests.integration.servers import Account, authority
from tests.integration.xmlcut import Cutter, Received
from tests.patience import patiently

TIMEOUT = 10.0
NS_SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
NS_TLS = "urn:ietf:params:xml:ns:xmpp-tls"
NS_BIND = "urn:ietf:params:xml:ns:xmpp-bind"

Pattern = str | Callable[[Received], bool]


def fits(pattern: Pattern, stanza: Received) -> bool:
    return matches(pattern, stanza.element) if isinstance(pattern, str) else bool(pattern(stanza))


def tls_options(domain: str, *, alpn: bool = False) -> Any:
    trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority().certificate_pem())])
    protocols = [b"xmpp-client"] if alpn else None
    return ssl.optionsForClientTLS(domain, trustRoot=trust, acceptableProtocols=protocols)


class Client(Protocol):
    """One connection. `received` has every stanza so far, `inbox` those that nothing was expected to be yet."""

    transport: ITLSTransport
    features: Received  # after open()
    jid = ""  # full JID, after bind()
    language = ""  # for the stream header
    declares: str = ""  # more for it: declarations of prefixes

    def __init__(self, domain: str, label: str = "client") -> None:
        self.domain = domain
        self.label = label
        self.received: list[Received] = []
        self.inbox: list[Received] = []
        self.headers: list[domish.Element] = []
        self.ignore: Callable[[Received], bool] = lambda stanza: False
        self.stream_closed = False  # the peer sent </stream:stream>
        self._closing = False  # we sent </stream:stream>
        self.lost: Failure | None = None
        self.reads = 0  # by now; in TLS each is one record, and so what the peer wrote at once
        self._bound_at = 0
        self._whole: list[str] = []  # both directions, for error messages
        self._news: list[Deferred[None]] = []
        self._ids = itertools.count(1)
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
        self._note(f"< {stanza}")
        self.received.append(stanza)
        if not self.ignore(stanza):
            self.inbox.append(stanza)
        self._wake()

    def _closed(self) -> None:
        self.stream_closed = True
        self._note("< </stream:stream>")
        if not self._closing:
            self.send("</stream:stream>")
            self.transport.loseConnection()
        self._wake()

    def _note(self, line: str) -> None:
        self._whole.append(line if len(line) < 1000 else f"{line[:1000]}… ({len(line)} characters)")

    def _wake(self) -> None:
        news, self._news = self._news, []
        for deferred in news:
            if not deferred.called:
                deferred.callback(None)

    async def _something(self, what: str, until: float) -> None:
        deferred: Deferred[None] = Deferred()
        self._news.append(deferred)
        try:
            await deferred.addTimeout(max(0.0, until - reactor.seconds()), reactor)
        except TimeoutError:
            raise AssertionError(f"{self.label} waited in vain for {what}\n{self.transcript()}") from None

    async def until(self, condition: Callable[[], bool], what: str, timeout: float = TIMEOUT) -> None:
        """Wait for a condition on this client, looked at whenever something happens."""
        end = reactor.seconds() + patiently(timeout)
        while not condition():
            if self.lost is not None:
                raise AssertionError(f"{self.label} lost its connection before {what}\n{self.transcript()}")
            await self._something(what, end)

    def transcript(self) -> str:
        """Everything sent and received, and what nobody asked for yet."""
        inbox = "\n".join(f"    {stanza}" for stanza in self.inbox)
        begin = self._bound_at if self.jid else 0
        lines = "\n".join(f"    {line}" for line in self._whole[begin:][-200:])
        left = inbox or "    nothing"
        return f"  {self.label} {self.jid}, whole stream after binding:\n{lines}\n  not yet expected:\n{left}"

    # expecting

    async def expect(self, pattern: Pattern, timeout: float = TIMEOUT) -> Received:
        """The first stanza in the inbox that fits, now or soon; others stay there."""

        def find() -> Received | None:
            return next((stanza for stanza in self.inbox if fits(pattern, stanza)), None)

        await self.until(lambda: find() is not None, f"{pattern}", timeout)
        found = find()
        assert found is not None
        self.inbox.remove(found)
        return found

    async def expect_next(self, pattern: Pattern, timeout: float = TIMEOUT) -> Received:
        """The next stanza, which must fit."""
        await self.until(lambda: bool(self.inbox), f"{pattern}", timeout)
        stanza = self.inbox.pop(0)
        if not fits(pattern, stanza):
            raise AssertionError(f"{self.label} expected\n    {pattern}\nbut got\n    {stanza}\n{self.transcript()}")
        return stanza

    async def expect_close(self, condition: str | None = None, timeout: float = TIMEOUT) -> None:
        """The end of the stream and of the connection; with a stream error of that condition, if given."""
        if condition is not None:
            await self.expect(
                f"<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", timeout
            )
        await self.until_lost(timeout)

    async def until_lost(self, timeout: float = TIMEOUT) -> None:
        end = reactor.seconds() + patiently(timeout)
        while self.lost is None:
            await self._something("the end of the connection", end)

    def nothing(self) -> None:
        """Nothing is left in the inbox. Call barrier() before, so that nothing is still under way."""
        if self.inbox:
            raise AssertionError(f"{self.label} got what it should not:\n{self.transcript()}")

    async def barrier(self, *rooms: str) -> None:
        """When this returns, all that the server, and then the rooms, had sent before has arrived.

        A room's answer takes the way of the room's messages; it must be one that this client has joined.
        """
        count = len(self._whole)
        for jid in (self.domain, *rooms):
            await self.iq("get", jid, "<ping xmlns='urn:xmpp:ping'/>", purpose="barrier-")  # an error is an answer, too
        self._whole[count:] = [line for line in self._whole[count:] if "-barrier-" not in line]

    # sending

    def send(self, data: str | bytes) -> None:
        raw = data.encode() if isinstance(data, str) else data
        self._note(f"> {raw.decode('utf-8', 'replace')}")
        self._closing = self._closing or b"</stream:stream>" in raw
        self.transport.write(raw)

    def new_id(self, purpose: str = "") -> str:
        # Short: ejabberd reads TLS in pieces of 1 KiB and, with Debian 12's expat, may wait in a longer tag.
        return f"{self.label[:40]}-{purpose}{next(self._ids)}"

    async def iq(
        self, kind: str, to: str | None, payload: str, timeout: float = TIMEOUT, purpose: str = ""
    ) -> Received:
        """Send an IQ and return its reply, result or error. `purpose` becomes part of its id."""
        identity = self.new_id(purpose)
        address = f" to={_quoted(to)}" if to else ""
        self.send(f"<iq type='{kind}' id='{identity}'{address}>{payload}</iq>")
        return await self.expect(
            lambda stanza: (
                stanza.element.name == "iq"
                and stanza.get("id") == identity
                and stanza.get("type") in ("result", "error")
            ),
            timeout,
        )

    # negotiation, step by step

    async def open(self, to: str | None = None) -> Received:
        """Send a stream header, return the features."""
        count = len(self.headers)
        self.send(
            f"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
            f" to={_quoted(to or self.domain)} version='1.0'{self.declares}"
            + (f" xml:lang={_quoted(self.language)}>" if self.language else ">")
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
        self.send(f"<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{message}</auth>")
        reply = await self.expect(lambda stanza: stanza.element.uri == NS_SASL, timeout=30.0)
        if reply.element.name == "success":
            self._restart()
        return reply

    async def bind(self, resource: str | None = None) -> str:
        wanted = f"<resource>{_escaped(resource)}</resource>" if resource else ""
        reply = await self.iq("set", None, f"<bind xmlns='{NS_BIND}'>{wanted}</bind>")
        if reply.get("type") != "result":
            raise AssertionError(f"{self.label} could not bind: {reply}")
        self.jid = str(next(next(reply.element.elements()).elements()))
        self._bound_at = len(self._whole)
        return self.jid

    async def login(self, account: Account, resource: str | None = None) -> None:
        """From a fresh connection to a bound resource; STARTTLS if the server offers it."""
        features = await self.open()
        if any(child.uri == NS_TLS for child in features.element.elements()):
            await self.starttls()
            await self.open()
        reply = await self.authenticate(account.username, account.password)
        if reply.element.name != "success":
            raise AssertionError(f"{self.label} could not log in: {reply}")
        await self.open()
        await self.bind(resource)

    async def online(self) -> None:
        """Initial presence, as an ordinary client sends it; waits for its echo."""
        self.send("<presence/>")
        await self.expect(lambda stanza: stanza.element.name == "presence" and stanza.get("from") == self.jid)

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

    @property
    def bare(self) -> str:
        return str(internJID(self.jid).userhost())


async def connect(
    port: int, domain: str, *, direct_tls: bool = False, label: str = "client", source: str = ""
) -> Client:
    """A connection to loopback, from the address `source`; with `direct_tls` TLS comes first (XEP-0368)."""
    kind, to = (TCP6ClientEndpoint, "::1") if ":" in source else (TCP4ClientEndpoint, "127.0.0.1")
    bind = (source, 0) if source else None
    endpoint: Any = kind(reactor, to, port, timeout=patiently(TIMEOUT), bindAddress=bind)
    if direct_tls:
        endpoint = wrapClientTLS(tls_options(domain, alpn=True), endpoint)
    client: Client = await connectProtocol(endpoint, Client(domain, label))
    return client


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _quoted(text: str) -> str:
    return "'" + _escaped(text).replace("'", "&apos;") + "'"
