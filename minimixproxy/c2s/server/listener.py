"""The ports for clients: accepting connections within limits, and ending them when the service stops."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.error import CannotListenError

from minimixproxy.c2s.server.client_port import ClientFactory
from minimixproxy.c2s.server.elsewhere import Cluster
from minimixproxy.c2s.server.exchanges.known_keys import KnownKeys, NoKeys
from minimixproxy.c2s.server.limits import ConnectionCounter
from minimixproxy.c2s.server.login_attempts import LoginAttempts
from minimixproxy.c2s.server.negotiation import NOT_LOGGED_IN, TOO_MANY
from minimixproxy.c2s.server.negotiation_context import Checks, NegotiationContext, Upstream
from minimixproxy.c2s.server.offers import Contact
from minimixproxy.c2s.server.websocket_port import WebSocketFactory
from minimixproxy.c2s.session.account_interface import AccountsPort
from minimixproxy.c2s.session.login_lines import LoginLines
from minimixproxy.c2s.session.reconnecting import Connect
from minimixproxy.c2s.session.resumable import ResumableSessions
from minimixproxy.c2s.session.session_context import SessionContext
from minimixproxy.c2s.transport.certificates import CertificateError
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.peers import Peer
from minimixproxy.c2s.transport.tls import PreparedTLS, ServerTLS
from minimixproxy.c2s.upstream.connecting import Login, connect_upstream, contact_upstream
from minimixproxy.c2s.upstream.handed_login import Authenticate, log_in_upstream
from minimixproxy.config.reloading import CannotReload
from minimixproxy.config.settings import Domain, Settings
from minimixproxy.logs.logger import Logger
from minimixproxy.ports import CannotBind, PortGroup
from minimixproxy.sasl.tokens import NoTokens, Tokens
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream

log = Logger()


class Clients:
    """Every client connected, on whatever port."""

    def __init__(self, context: NegotiationContext, *, plaintext_from_loopback: bool = False) -> None:
        self.context = context
        self.plaintext_from_loopback = plaintext_from_loopback
        self.accepting = True  # else a client is told nothing: its connection ends at once
        self._counter = ConnectionCounter(context.limits.connections_per_address)
        self._streams: set[ClientStream] = set()
        self._all_gone: Deferred[None] | None = None
        self._when_empty: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._streams)

    def admit(self, key: str) -> bool:
        """Count a connection of this address. False: it has too many, and that is logged and counted."""
        self._counter.maximum = self.context.limits.connections_per_address
        if self._counter.admit(key):
            return True
        NOT_LOGGED_IN.count(TOO_MANY)
        if self._counter.first_refusal(key):
            log.warn("too many connections from {address}", address=key)
        return False

    def release(self, key: str) -> None:
        """A connection that was admitted is gone."""
        self._counter.release(key)

    @property
    def framing(self) -> FramingLimits:
        """What a client that connects now may send."""
        return FramingLimits(self.context.limits.stanza_size, self.context.limits.stanza_depth)

    def end_domains(self, gone: Collection[str]) -> None:
        """End the streams of domains that are not served any more (RFC 6120 §4.9.3.5), and the sessions that sleep."""
        text = "this domain is not served here any more"
        for stream in list(self._streams):
            handler = stream.handler
            if handler is not None and handler.domain in gone:
                handler.close("host-gone", text)
        self.context.sessions.resumable.end_domains(gone, text)

    def add(self, stream: ClientStream) -> None:
        self._streams.add(stream)

    def remove(self, stream: ClientStream) -> None:
        self._streams.discard(stream)
        if not self._streams and self._all_gone is not None:
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)
        if not self._streams:
            waiting, self._when_empty = self._when_empty, []
            for empty in waiting:
                empty.callback(None)

    def when_empty(self) -> Deferred[None]:
        """Return what fires when no client is connected, at once if there is none."""
        empty: Deferred[None] = Deferred()
        if self._streams:
            self._when_empty.append(empty)
        else:
            empty.callback(None)
        return empty

    def dismiss(self) -> None:
        """End every stream with `system-shutdown`, while the proxy goes on."""
        for stream in list(self._streams):
            if stream.handler is not None:
                stream.handler.close("system-shutdown")

    def shut_down(self) -> Deferred[None]:
        """End every stream with `system-shutdown`; fires when all are gone.

        That takes `CLOSE_TIMEOUT` at most; for those that end elsewhere the time that their holders have comes first.
        """
        self.context.shut_down()
        gone: Deferred[None] = Deferred()
        self._all_gone = gone
        self.dismiss()
        if not self._streams and not gone.called:
            self._all_gone = None
            gone.callback(None)
        return gone


class ClientService(MultiService):
    """All ports for clients, `ports`. Stopping it says goodbye to every client first."""

    def __init__(self, settings: Settings, clients: Clients, reactor: Any) -> None:
        super().__init__()
        self.clients = clients
        self._settings = settings
        self._tls = clients.context.tls
        self._closing: Deferred[None] = succeed(None)
        self.ports = [
            PortGroup("[[listen]]", self._listen_factories, settings, reactor),
            PortGroup("[[websocket]]", self._websocket_factories, settings, reactor),
        ]
        for group in self.ports:
            group.setServiceParent(self)

    def _listen_factories(self, settings: Settings) -> dict[str, ClientFactory]:
        return {listen.endpoint: ClientFactory(self.clients, listen) for listen in settings.listen}

    def _websocket_factories(self, settings: Settings) -> dict[str, WebSocketFactory]:
        return {section.endpoint: WebSocketFactory(self.clients, section) for section in settings.websocket}

    def privilegedStartService(self) -> None:
        """Bind the ports; whoever connects before the service has started is not served."""
        self.clients.accepting = False
        super().privilegedStartService()

    def startService(self) -> None:
        """Make the certificates that are not configured: privileges are dropped by now, so the files are ours."""
        self._tls.load()
        super().startService()
        self.clients.accepting = True
        context = self.clients.context
        context.offers.start(context.domains.values())

    # Draining (`operator.drain.Doors`)

    def close_ports(self) -> Deferred[None]:
        """Accept nobody from now on; fires when the ports are closed."""
        all_closed = DeferredList([group.stopService() for group in self.ports])
        self._closing = closing = all_closed.addCallback(lambda _: None)
        return closing

    def open_ports(self) -> None:
        """Accept clients again. Raises `CannotListenError`; then no port is open."""
        try:
            for group in self.ports:
                group.open(self._settings)
        except CannotBind as error:
            self.close_ports()
            cause = error.__cause__
            raise cause if isinstance(cause, CannotListenError) else CannotListenError("", "", error) from error

    def connected(self) -> int:
        """Return how many clients are connected."""
        return len(self.clients)

    def when_empty(self) -> Deferred[None]:
        """Return what fires when no client is connected, at once if there is none."""
        return self.clients.when_empty()

    def dismiss(self) -> None:
        """End every client's stream with `system-shutdown`."""
        self.clients.dismiss()

    # Reloading

    async def prepare(self, new: Settings) -> PreparedDomains:
        """Read the certificates of a new configuration (`reloading.Part`); its ports are `Ports`' affair."""
        try:
            return PreparedDomains(self, self._tls.prepare(new.domain.values()), self._settings, new)
        except CertificateError as error:
            raise CannotReload(str(error)) from error
        except OSError as error:
            raise CannotReload(f"{new.directory}: {error.strerror}") from error

    def stopService(self) -> Deferred[Any]:
        """Close the ports, then the streams."""
        stop = super().stopService
        closed: Deferred[Any] = self._closing.addCallback(lambda _: stop())  # a port is not to be closed twice at once
        return DeferredList([closed, self.clients.shut_down()])


class PreparedDomains:
    """The domains of a new configuration, with their certificates (`reloading.Prepared`)."""

    def __init__(self, service: ClientService, tls: PreparedTLS, old: Settings, new: Settings) -> None:
        self._service = service
        self._tls = tls
        self._gone = [name for name in old.domain if name not in new.domain]
        self._changed = [name for name, domain in new.domain.items() if old.domain.get(name) != domain]

    def commit(self) -> None:
        """Serve these domains, and no others."""
        clients, context = self._service.clients, self._service.clients.context
        context.tls.take(self._tls)
        clients.end_domains(self._gone)
        context.offers.ask_anew([context.domains[name] for name in self._changed], context.domains)

    def undo(self) -> None:
        """Nothing has been done yet."""


def client_service(
    settings: Settings,
    accounts: AccountsPort,
    reactor: Any,
    *,
    connect: Connect | None = None,
    contact: Contact | None = None,
    turn_end: TurnEnd | None = None,
    known_keys: KnownKeys | None = None,
    tokens: Tokens | None = None,
    plaintext_from_loopback: bool = False,
    attempts: LoginAttempts | None = None,
    cluster: Cluster | None = None,
) -> ClientService:
    """Return the service of all ports for clients. Raises `CertificateError` if a configured certificate is no good.

    `connect` and `contact` are for tests; else clients log in by `connect_upstream`, register by `contact_upstream`.
    `turn_end`: when sessions write what is delivered to them. `known_keys`, `tokens`: None if none are known.
    `attempts`: what counts logins, if it counts others, too. `cluster`: other processes, if there are any.
    `plaintext_from_loopback` is for benchmarks: a client on this machine logs in without TLS.
    """

    async def connect_client(login: Login, client: Peer) -> FramedXmlStream:
        return await connect_upstream(reactor, login, settings.limits, client)

    async def contact_server(domain: Domain, client: Peer | None) -> tuple[FramedXmlStream, Stanza]:
        return await contact_upstream(reactor, domain, settings.limits, client)

    async def log_in(domain: Domain, client: Peer, authenticate: Authenticate) -> FramedXmlStream:
        return await log_in_upstream(reactor, domain, settings.limits, client, authenticate)

    tls = ServerTLS(settings.domain.values(), settings.directory)
    tls.load(configured_only=True)
    turn_end = turn_end or TurnEnd(reactor)
    resumable = ResumableSessions(settings.sessions)
    connect, lines = connect or connect_client, LoginLines(reactor)
    limits, rooms = settings.limits, settings.rooms

    def holds_back() -> bool:
        return rooms.inactive != "pass"

    sessions = SessionContext(accounts, limits, reactor, turn_end, resumable, connect, lines, holds_back)
    upstream = Upstream(contact or contact_server, log_in, cluster)
    attempts = attempts or LoginAttempts(limits, reactor)
    checks = Checks(known_keys or NoKeys(), tokens or NoTokens(), attempts)
    context = NegotiationContext(settings, sessions, tls, upstream, checks)
    clients = Clients(context, plaintext_from_loopback=plaintext_from_loopback)
    return ClientService(settings, clients, reactor)
