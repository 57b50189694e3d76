"""A client's connection in one version of TLS, which tells its channel binding and what it was offered."""

from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.interfaces import IHandshakeListener, IOpenSSLClientConnectionCreator
from zope.interface import implementer

from tests.integration.client import NS_SASL, TIMEOUT, Client
from tests.integration.inbox import quoted
from tests.integration.logins.sasl2 import Offer, child, offer
from tests.integration.logins.scram import Offered
from tests.integration.servers import Account, authority
from tests.integration.websocket import ByWebSocket
from tests.patience import patiently

NS_BINDINGS = "urn:xmpp:sasl-cb:0"
TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@implementer(IOpenSSLClientConnectionCreator)
class _Creator:
    """Makes the TLS connection and lets it be asked for its channel binding."""

    connection: SSL.Connection

    def __init__(self, domain: str, version: str) -> None:
        trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority().certificate_pem())])
        only = TLS_VERSIONS[version]
        exactly = {"insecurelyLowerMinimumTo": only, "lowerMaximumSecurityTo": only}
        options: dict[str, Any] = {"trustRoot": trust, "extraCertificateOptions": exactly}
        self._creator = ssl.optionsForClientTLS(domain, **options)

    def clientConnectionForTLS(self, tls_protocol: Any) -> SSL.Connection:
        self.connection = self._creator.clientConnectionForTLS(tls_protocol)
        return self.connection


def channel_binding(connection: SSL.Connection, kind: str) -> bytes:
    """RFC 5929 §3 and §4, RFC 9266."""
    if kind == "tls-exporter":
        return connection.export_keying_material(b"EXPORTER-Channel-Binding", 32, b"")
    if kind == "tls-unique":
        return connection.get_finished() or b""  # the client's comes first, in a handshake that resumes nothing
    certificate = connection.get_peer_certificate(as_cryptography=True)
    assert isinstance(certificate, x509.Certificate)
    algorithm = certificate.signature_hash_algorithm
    assert algorithm is not None
    weak = isinstance(algorithm, hashes.MD5 | hashes.SHA1)
    return certificate.fingerprint(hashes.SHA256() if weak else algorithm)


@implementer(IHandshakeListener)
class Connection(Client):
    """`sent`: how often something was sent since TLS is up."""

    version = "1.3"
    sent = 0
    creator: _Creator
    _secured: Deferred[None] | None = None  # None: TLS came first

    def handshakeCompleted(self) -> None:
        if self._secured is not None:
            self._secured.callback(None)

    async def secured(self) -> None:
        """Wait until there is something to bind a login to."""
        if self._secured is not None:
            await self._secured

    def send(self, data: str | bytes) -> None:
        self.sent += 1
        super().send(data)

    def secure(self) -> None:
        self._restart()
        self.sent = 0
        self.creator = _Creator(self.domain, self.version)
        self._secured = Deferred()
        self.transport.startTLS(self.creator)

    def restart(self) -> None:
        """SASL1 succeeded: a new stream comes."""
        self._restart()

    def binding(self, kind: str) -> bytes:
        return channel_binding(self.creator.connection, kind)

    def header(self, named: str | None) -> str:
        """A stream header that names the account, or does not."""
        address = f" from={quoted(named)}" if named else ""
        return (
            f"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
            f" to={quoted(self.domain)} version='1.0'{address}>"
        )

    async def opened(self, named: str | None) -> None:
        """Open a stream; the features are `self.features` then."""
        await self.answered(self.header(named))

    async def answered(self, header: str) -> None:
        """Send a header, and perhaps what follows it; wait for the header and features of the answer."""
        count = len(self.headers)
        self.send(header)
        await self.until(lambda: len(self.headers) > count, "a stream header")
        if self.headers[-1].getAttribute("from") != self.domain:
            raise AssertionError(f"the stream is not from {self.domain}\n{self.transcript()}")
        await self.new_features()

    async def new_features(self) -> None:
        self.features = await self.expect("<stream:features/>")

    def types(self) -> tuple[str, ...] | None:
        """The types of channel binding that are listed (XEP-0440); None: there is no list."""
        listed = child(self.features.element, "sasl-channel-binding", NS_BINDINGS)
        return None if listed is None else tuple(str(one["type"]) for one in listed.elements())

    def offered(self) -> Offered:
        """For SASL1."""
        mechanisms = child(self.features.element, "mechanisms", NS_SASL)
        names = () if mechanisms is None else tuple(str(one) for one in mechanisms.elements())
        return Offered(names, self.types())

    def offered2(self) -> Offer | None:
        """For SASL2, None if there is none."""
        return offer(self.features)


class WebSocketConnection(ByWebSocket, Connection):
    """The same by WebSocket, where TLS comes first."""


async def connect(
    account: Account, port: int, version: str, *, direct_tls: bool = False, websocket: bool = False
) -> Connection:
    """`direct_tls`: TLS comes first (XEP-0368); `websocket`: in there, a WebSocket."""
    endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port, timeout=patiently(TIMEOUT))
    creator = _Creator(account.domain, version)
    if direct_tls or websocket:
        endpoint = wrapClientTLS(creator, endpoint)
    kind = WebSocketConnection if websocket else Connection
    connection: Connection = await connectProtocol(endpoint, kind(account.domain, account.username))
    connection.version, connection.creator = version, creator
    if isinstance(connection, WebSocketConnection):
        await connection.opened_by_http()
    return connection
