"""What the tests of the client-to-server part share: certificates, in-memory connections, stub accounts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Collection, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Literal

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IOpenSSLContextFactory,
    IOpenSSLServerConnectionCreator,
)
from twisted.internet.protocol import connectionDone
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test import iosim
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.errors import UpstreamError
from minimixproxy.c2s.server.listener import Clients
from minimixproxy.c2s.server.login_attempts import LoginAttempts
from minimixproxy.c2s.server.negotiation import Negotiation
from minimixproxy.c2s.server.negotiation_context import Checks, NegotiationContext, Upstream
from minimixproxy.c2s.session.client_session import ClientSession
from minimixproxy.c2s.session.client_side import ClientSide
from minimixproxy.c2s.session.login_lines import LoginLines
from minimixproxy.c2s.session.resumable import ResumableSessions
from minimixproxy.c2s.session.session_context import SessionContext
from minimixproxy.c2s.transport.certificates import self_signed
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.connection import SecurableConnection, Upper
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.c2s.transport.tls import ALPN, PreparedTLS, ServerTLS, SNIFactory
from minimixproxy.c2s.transport.tls_layer import TLSLayer
from minimixproxy.c2s.upstream.connecting import Login, server_framing
from minimixproxy.c2s.upstream.handed_login import Authenticate
from minimixproxy.c2s.upstream.offer import ServerOffer
from minimixproxy.c2s.upstream.sasl_channel import SaslChannel
from minimixproxy.config.settings import Domain, Limits, Listen, Settings
from minimixproxy.direct_transport import Transport
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.sasl.channel_binding import Bindings
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.wire.lazy_stanzas import Output
from minimixproxy.wire.stanza import Stanza, UnusableStanza, parse_stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.known_keys import MemoryKnownKeys, MemoryTokens
from tests.wires import Wire

ContextMaker = IOpenSSLClientConnectionCreator | IOpenSSLServerConnectionCreator | IOpenSSLContextFactory


def certified(name: str, directory: Path, **settings: Any) -> Domain:
    """A domain whose certificate is in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    certificate, private_key = directory / f"{name}.pem", directory / f"{name}.key"
    for file, content in zip((certificate, private_key), _self_signed(name), strict=True):
        file.write_bytes(content)
    return Domain(name=name, certificate=certificate, private_key=private_key, **settings)


@cache
def _self_signed(name: str) -> tuple[bytes, bytes]:
    """A certificate and its key, made once for all tests: that waits for the disk twice."""
    with TemporaryDirectory() as directory:
        certificate, private_key = self_signed(name, Path(directory))
        return certificate.read_bytes(), private_key.read_bytes()


class Recorder:
    """Keeps what arrives, and why it ended."""

    transport: Transport

    def __init__(self) -> None:
        self.received = b""
        self.reason: Failure | None = None

    def makeConnection(self, transport: Transport) -> None:
        self.transport = transport

    @property
    def tls(self) -> TLSLayer:
        """The transport, once TLS has been started."""
        assert isinstance(self.transport, TLSLayer)
        return self.transport

    def dataReceived(self, data: bytes) -> None:
        assert data, "nothing is no reason to be called"
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reason = reason


def tls_factory(creator: ContextMaker, *, is_client: bool = True) -> TLSMemoryBIOFactory:
    """The protocol on top of it is the connection's, not the factory's: see `SecurableConnection.start_tls`."""
    return TLSMemoryBIOFactory(creator, is_client, None)  # type: ignore[arg-type]


def connected(client: Upper, server: Upper) -> iosim.IOPump:
    """Join two protocols in memory; `pump.flush()` carries what they wrote."""
    pump: iosim.IOPump = iosim.connect(
        server,
        iosim.FakeTransport(server, isServer=True),
        client,
        iosim.FakeTransport(client, isServer=False),
    )
    return pump


def secured_pair(
    client_tls: TLSMemoryBIOFactory, server_tls: TLSMemoryBIOFactory
) -> tuple[Recorder, Recorder, iosim.IOPump]:
    """Two recorders that talk TLS, as far as they can agree."""
    uppers = (Recorder(), Recorder())
    client, server = (SecurableConnection(upper) for upper in uppers)
    pump = connected(client, server)
    server.start_tls(server_tls)
    client.start_tls(client_tls)
    pump.flush()
    return (*uppers, pump)


class StubAccount:
    """Takes what it is told to take, and keeps what it saw."""

    def __init__(self) -> None:
        self.taken_from_client: set[str] = set()  # ids
        self.taken_from_server: set[str] = set()
        self.instead: dict[str, bytes] = {}  # what the client gets in the place of what the server says: by id
        self.seen_from_client: list[bytes] = []
        self.closed: list[SessionPort] = []
        self.managed: list[SessionPort] = []
        self.acknowledgements = 0
        self.asleep: list[SessionPort] = []
        self.held: list[bool] = []  # whether messages wait for an inactive client
        self.follows = False  # what the server says
        self.got: list[str | None] = []  # by the client, of what is followed: ids
        self.leaves = False  # what may pass without being looked at, one by one

    def from_client(self, session: SessionPort, stanza: Stanza) -> bool:
        self.seen_from_client.append(stanza.raw)
        if stanza.get("id") == "explode":
            raise RuntimeError("a fault of the account")
        if stanza.get("id") == "unusable":
            raise UnusableStanza("too large")
        return stanza.get("id") in self.taken_from_client

    def from_server(self, session: SessionPort, stanza: Stanza) -> bool:
        if stanza.get("id") == "explode":
            raise RuntimeError("a fault of the account")
        if stanza.get("id") == "unusable":
            raise UnusableStanza("too large")
        if self.follows:
            session.when_got(lambda: self.got.append(stanza.get("id")))
        if (instead := self.instead.get(stanza.get("id") or "")) is not None:
            session.deliver_instead(instead)
            return True
        return stanza.get("id") in self.taken_from_server

    def leaves_from_client(self, messages: bytes, receivers: Collection[bytes]) -> bool:
        return self.leaves

    def leaves_from_server(self, messages: bytes) -> bool:
        return self.leaves

    def session_managed(self, session: SessionPort) -> None:
        self.managed.append(session)

    def held_back(self, session: SessionPort, waits: bool) -> None:
        self.held.append(waits)

    def acknowledged(self, session: SessionPort) -> None:
        self.acknowledgements += 1

    def session_wakes(self, session: SessionPort) -> None:
        """Nobody needs to know."""

    def session_sleeps(self, session: SessionPort) -> None:
        self.asleep.append(session)

    def session_closed(self, session: SessionPort) -> None:
        self.closed.append(session)


class StubAccounts:
    """One account for all."""

    def __init__(self) -> None:
        self.account = StubAccount()
        self.bound: list[ClientSession] = []
        self.passwords: list[tuple[str, str]] = []
        self.logins: list[tuple[str, str | None]] = []  # of clients that go on with a session
        self.removals: list[str] = []
        self.given = 0  # the last message that was given out
        self.elsewhere: set[str] = set()  # accounts that are another process's

    def gated(self, deliver: Callable[[Output], None]) -> Callable[[Output], None]:
        return deliver

    def given_out(self) -> int:
        return self.given

    def password_changed(self, bare: str, password: str) -> None:
        self.passwords.append((bare, password))

    def logged_in(self, bare: str, login: Login) -> None:
        self.logins.append((bare, login.credential.password))

    def removed(self, bare: str) -> None:
        self.removals.append(bare)

    def is_elsewhere(self, bare: str) -> bool:
        return bare in self.elsewhere

    def session_bound(self, session: SessionPort, login: Login) -> StubAccount:
        assert isinstance(session, ClientSession)
        self.bound.append(session)
        return self.account

    def session_restored(self, session: SessionPort, login: Login) -> StubAccount:
        return self.session_bound(session, login)


HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" to='example.org' version='1.0' xml:lang='de'>"
)
SERVER_HEADER = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" from='example.org' id='s1' version='1.0' xml:lang='en'>"
)
SERVER_FEATURES = (
    b"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><sm xmlns='urn:xmpp:sm:3'/>"
    b"<csi xmlns='urn:xmpp:csi:0'/></stream:features>"
)
PLAIN_FEATURES = SERVER_FEATURES.replace(b"<sm xmlns='urn:xmpp:sm:3'/>", b"")  # without stream management
BIND = b"<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>"
BOUND = (
    b"<iq type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>a@example.org/r</jid></bind></iq>"
)


def plain(username: str = "a", password: str = "secret", authzid: str = "") -> bytes:
    """An `<auth/>` element for SASL PLAIN."""
    message = b64encode(f"{authzid}\0{username}\0{password}".encode())
    return b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>%b</auth>" % message


class LazyTLS(ServerTLS):
    """Reads its certificates when they are first wanted: clients on wires seldom want them."""

    def factory(self, domain: str) -> TLSMemoryBIOFactory:
        self.load()
        return super().factory(domain)

    def factory_by_sni(self, protocol: bytes = ALPN) -> SNIFactory:
        self.load()
        return super().factory_by_sni(protocol)

    def prepare(self, domains: Iterable[Domain]) -> PreparedTLS:
        self.load()
        return super().prepare(domains)


class Lab:
    """The client side without sockets: clients on wires, and logins that the test answers."""

    def __init__(
        self,
        directory: Path,
        *,
        registration: bool = False,
        logins: tuple[Literal["SCRAM", "PLAIN"], ...] = ("PLAIN",),
        **limits: Any,
    ) -> None:
        self.clock = Clock()
        self.accounts = StubAccounts()
        self.logins: list[tuple[Login, Deferred[FramedXmlStream]]] = []
        self.cancelled = 0
        self.peers: list[Peer | None] = []  # for whom there were logins and contacts
        domain = certified("example.org", directory, registration=registration, logins=logins)
        self.handed: list[HandedServer] = []  # logins that exchanges conduct
        self.mechanisms: tuple[str, ...] = ("SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN")  # that these servers offer
        self.contacts: list[Deferred[tuple[FramedXmlStream, Stanza]]] = []
        self.settings = Settings(
            state=directory / "state.sqlite",
            listen=(Listen(endpoint="tcp:0:interface=127.0.0.1"),),
            domain={"example.org": domain},
            limits=Limits(**limits),
        )
        self.tls = LazyTLS([domain], directory)
        self.stopwatch = 0.0  # of the time that clients' bytes take; it stands still by itself
        self.turn_end = TurnEnd(self.clock)
        self.turn_end.shares.stopwatch = lambda: self.stopwatch
        self.resumable = ResumableSessions(self.settings.sessions)
        self.lines = LoginLines(self.clock, chance=lambda: 0.5)
        sessions = SessionContext(
            self.accounts,
            self.settings.limits,
            self.clock,
            self.turn_end,
            self.resumable,
            self._connect,
            self.lines,
        )
        self.known_keys = MemoryKnownKeys()
        upstream = Upstream(self._contact, self._log_in)
        self.tokens = MemoryTokens()
        checks = Checks(self.known_keys, self.tokens, LoginAttempts(self.settings.limits, self.clock))
        self.context = NegotiationContext(self.settings, sessions, self.tls, upstream, checks)
        self.clients = Clients(self.context)

    def _connect(self, login: Login, client: Peer) -> Deferred[FramedXmlStream]:
        waiting: Deferred[FramedXmlStream] = Deferred(self._cancelled)
        self.logins.append((login, waiting))
        self.peers.append(client)
        return waiting

    def _log_in(self, domain: Domain, client: Peer, authenticate: Authenticate) -> Deferred[FramedXmlStream]:
        server = HandedServer(self.mechanisms)
        self.handed.append(server)
        self.peers.append(client)
        return Deferred.fromCoroutine(server.logged_in(authenticate, self.settings.limits))

    def _contact(self, _domain: Domain, client: Peer | None) -> Deferred[tuple[FramedXmlStream, Stanza]]:
        waiting: Deferred[tuple[FramedXmlStream, Stanza]] = Deferred(self._cancelled)
        self.contacts.append(waiting)
        self.peers.append(client)
        return waiting

    def _cancelled(self, _waiting: Deferred[FramedXmlStream]) -> None:
        self.cancelled += 1

    def client(self, *, secure: bool = True, address: str = "192.0.2.1") -> LabClient:
        """A client that has connected; `secure`: within TLS already."""
        return LabClient(self, secure, address)


class HandedServer:
    """A server's side of a login that an exchange conducts; the test says what it says."""

    bindings: Bindings = MappingProxyType({})  # data for channel binding, of both ends; the types are announced

    def __init__(self, mechanisms: tuple[str, ...]) -> None:
        self.sent: list[bytes] = []
        self.over: str | None = None  # "in", or the name of what was raised
        self.wire = Wire()
        self.stream: FramedXmlStream
        self._mechanisms = mechanisms
        self._said: list[bytes | UpstreamError] = []
        self._heard: Deferred[None] | None = None

    def says(self, *what: bytes | UpstreamError) -> None:
        """Say an element of SASL; or the connection is lost."""
        self._said += what
        heard, self._heard = self._heard, None
        if heard is not None:
            heard.callback(None)

    async def _hear(self) -> Stanza:
        while not self._said:
            self._heard = Deferred()
            await self._heard
        said = self._said.pop(0)
        if isinstance(said, UpstreamError):
            raise said
        return parse_stanza(said)

    def _offer(self) -> ServerOffer:
        return ServerOffer(Offered(self._mechanisms, tuple(self.bindings) or None), self.bindings)

    async def logged_in(self, authenticate: Authenticate, limits: Limits) -> FramedXmlStream:
        try:
            await authenticate(SaslChannel(self.sent.append, self._hear, self._offer()))
        except BaseException as error:
            self.over = type(error).__name__
            raise
        self.over = "in"
        self.stream = FramedXmlStream(Authenticator(), server_framing(limits))
        self.stream.namespace = "jabber:client"
        self.stream.makeConnection(self.wire)
        return self.stream


class LabConnection(SecurableConnection):
    """The bottom of a client's connection, as `ClientConnection` without a port."""

    upper: ClientStream

    def __init__(self, lab: Lab) -> None:
        super().__init__(ClientStream(self, lab.clock, lab.clients.framing, lab.clients.remove))


class LabClient:
    """A client and, once it is logged in, its wire upstream."""

    def __init__(self, lab: Lab, secure: bool, address: str) -> None:
        self.lab = lab
        self.wire = Wire(peerAddress=IPv4Address("TCP", address, 40000))
        self.stream = LabConnection(lab).upper
        self.stream.bottom.makeConnection(self.wire)
        lab.clients.add(self.stream)
        self.stream.hand_to(Negotiation(self.stream, lab.context, secure=secure))
        self.upstream = Wire()
        self.server: FramedXmlStream | None = None

    def send(self, data: bytes) -> bytes:
        """Send as the client; return what it gets back at once."""
        self.stream.bottom.dataReceived(data)
        return self.wire.take()

    def accept_login(self) -> None:
        """The server accepts the last login."""
        self.server = FramedXmlStream(Authenticator(), server_framing(self.lab.settings.limits))
        self.server.namespace = "jabber:client"
        self.server.makeConnection(self.upstream)
        self.lab.logins[-1][1].callback(self.server)

    def relayed_to(self, server: HandedServer) -> None:
        """This client's login has been relayed to a server, and taken."""
        self.server, self.upstream = server.stream, server.wire

    def serve(self, data: bytes) -> bytes:
        """Send as the server; return what the client gets at once."""
        assert self.server is not None
        self.server.dataReceived(data)
        return self.wire.take()

    def log_in(self, username: str = "a", features: bytes = PLAIN_FEATURES, password: str = "secret") -> None:
        """Go up to the session."""
        self.send(HEADER)
        self.send(plain(username, password))
        self.accept_login()
        self.send(HEADER)
        self.serve(SERVER_HEADER + features)
        self.upstream.take()

    def bind(self, username: str = "a", features: bytes = PLAIN_FEATURES) -> ClientSession:
        """Go up to a bound session, whose resource is `r`, and for later ones another."""
        self.log_in(username, features)
        self.send(BIND)
        resource = b"/r%d" % len(self.lab.accounts.bound) if self.lab.accounts.bound else b"/r"
        self.serve(BOUND.replace(b"a@", username.encode() + b"@").replace(b"/r<", resource + b"<"))
        self.upstream.take()
        return self.lab.accounts.bound[-1]

    @property
    def session(self) -> ClientSession:
        """The session that has it."""
        side = self.stream.handler
        assert isinstance(side, ClientSide)
        session = side._session
        assert isinstance(session, ClientSession)
        return session

    def vanish(self) -> None:
        """The client's connection breaks."""
        self.stream.bottom.connectionLost(Failure(ConnectionLost()))
