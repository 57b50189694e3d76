"""The ports for clients that come by WebSocket: own TLS, or a reverse proxy that says who the client is."""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from minimixproxy.c2s.server.limits import ConnectionCounter
from minimixproxy.c2s.server.negotiation import Negotiation
from minimixproxy.c2s.server.negotiation_context import NegotiationContext
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.connection import SecurableConnection, read_little
from minimixproxy.c2s.transport.peers import address_key, ip_end, peer_key
from minimixproxy.c2s.transport.tls import HTTP_ALPN
from minimixproxy.c2s.websocket.forwarded import Address, is_in
from minimixproxy.c2s.websocket.handshake import Site
from minimixproxy.c2s.websocket.transport import WebSocketTransport
from minimixproxy.config.checks import brings_its_own_tls, is_relayed
from minimixproxy.config.settings import WebSocket
from minimixproxy.logs.logger import Logger
from minimixproxy.wire.framing import FramingLimits

log = Logger()

MAX_UNKNOWN = 1000  # connections by relays and reverse proxies that have not said yet whose they are
READ = 8192  # bytes of a client that are read in one turn, as by the other ports


class Clients(Protocol):
    """Every client connected, on whatever port."""

    @property
    def accepting(self) -> bool:
        """Whether clients are served; else their connections end at once."""

    @property
    def context(self) -> NegotiationContext:
        """What their negotiations share."""

    @property
    def counter(self) -> ConnectionCounter:
        """How many connections each address has."""

    @property
    def framing(self) -> FramingLimits:
        """What a client that connects now may send."""

    def add(self, stream: ClientStream) -> None:
        """One more."""

    def remove(self, stream: ClientStream) -> None:
        """It is gone."""


class Newcomers:
    """Connections of one port whose client is not known yet. If there are too many, the first to come has to go.

    So one client that comes again and again, and says nothing, keeps nobody out who soon says something.
    """

    def __init__(self) -> None:
        self._waiting: dict[WebSocketConnection, None] = {}
        self._told = False

    def add(self, connection: WebSocketConnection) -> None:
        """One more."""
        if len(self._waiting) >= MAX_UNKNOWN:
            if not self._told:
                log.warn(
                    "WebSocket: {number} connections have not said whose they are; for more, the first are cut",
                    number=MAX_UNKNOWN,
                )
            self._told = True
            next(iter(self._waiting)).cut()
        self._waiting[connection] = None

    def remove(self, connection: WebSocketConnection) -> None:
        """It is known, or gone."""
        self._waiting.pop(connection, None)
        self._told = self._told and bool(self._waiting)


class WebSocketConnection(SecurableConnection):
    """One connection, counted under its client's address. Implements `websocket.transport.Port`."""

    upper: WebSocketTransport

    def __init__(self, clients: Clients, websocket: WebSocket, site: Site, newcomers: Newcomers) -> None:
        """`newcomers`: those of its port."""
        self.site = site
        self._newcomers = newcomers
        self._clients = clients
        self._endpoint = websocket.endpoint
        self._key: str | None = None
        behind_haproxy = is_relayed(websocket.endpoint)
        self.relayed = behind_haproxy or site.trusted is not None
        self._known_at_once = not self.relayed
        clock = clients.context.clock
        stream = ClientStream(self, clock, clients.framing, clients.remove)
        super().__init__(WebSocketTransport(stream, self, clock, clients.framing.max_stanza))
        self.framed = lambda: self.upper.last_written

    def connectionMade(self) -> None:
        if not self._clients.accepting:
            self._abort()
            return
        if not self._is_expected() or not self._has_a_place():
            self._abort()
            return
        super().connectionMade()
        read_little(self.transport, READ)
        if self.site.trusted is None and not brings_its_own_tls(self._endpoint):
            self.start_tls(self._clients.context.tls.factory_by_sni(HTTP_ALPN))
        self._clients.add(self.upper.stream)

    def dataReceived(self, data: bytes) -> None:
        if self.site.trusted is None and self._key is None and not self._counted(peer_key(self.transport)):
            self._abort()
            return
        super().dataReceived(data)

    def _is_expected(self) -> bool:
        """Tell whether this is the reverse proxy, if one has to be there; on a UNIX socket it is."""
        address = _who_connected(self.transport)
        if self.site.trusted is None or self._is_trusted(address):
            return True
        log.warn("WebSocket: {address} is not among trusted_proxies, and is refused", address=address.host)
        return False

    def _is_trusted(self, address: Any) -> bool:
        """Tell whether it is a reverse proxy's, or has no address, on a UNIX socket."""
        host, end = getattr(address, "host", None), ip_end(address)
        return host is None or (end is not None and is_in(end.address, self.site.trusted or ()))

    def forwards(self) -> bool:
        """Whether who connected is a reverse proxy. One that speaks the PROXY protocol says by that who the client is.

        Then what the client says in headers is its own.
        """
        transport: Any = self.transport
        return self._is_trusted(transport.getPeer())

    def _has_a_place(self) -> bool:
        """Tell whether it may go on: those whose client is not known yet have a limit of their own."""
        if self._known_at_once:
            return self._counted(peer_key(self.transport))
        self._newcomers.add(self)
        return True

    def cut(self) -> None:
        """It has not said whose it is, and others wait."""
        self._newcomers.remove(self)
        self._abort()

    def _abort(self) -> None:
        transport: Any = self.transport
        transport.abortConnection()

    def admits(self, client: Address | None) -> bool:
        """Count the client that a reverse proxy forwards."""
        return self._key is not None or self._counted(address_key(str(client)) if client else peer_key(self.transport))

    def _counted(self, key: str) -> bool:
        """Count the connection; False: its address has too many."""
        counter = self._clients.counter
        if not counter.admit(key):
            if counter.first_refusal(key):
                log.warn("too many connections from {address}", address=key)
            return False
        self._key = key
        self._newcomers.remove(self)
        return True

    def opened(self) -> None:
        """The WebSocket is open: negotiate."""
        stream = self.upper.stream
        stream.hand_to(Negotiation(stream, self._clients.context, secure=True))

    def restarted(self) -> None:
        """A new XML stream begins."""
        self.upper.restart()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._newcomers.remove(self)
        if self._key is not None:
            self._clients.counter.release(self._key)
            self._key = None
        super().connectionLost(reason)


def _who_connected(transport: Any) -> Any:
    """Return the address of who stands at the other end, whomever it says it forwards (`haproxy:`)."""
    wrapped = getattr(transport, "transport", None)
    return (transport if wrapped is None else wrapped).getPeer()


@implementer(IProtocolNegotiationFactory)
class WebSocketFactory(Factory):
    """Makes the connections of one port."""

    noisy = False

    def __init__(self, clients: Clients, websocket: WebSocket) -> None:
        self._clients = clients
        self._websocket = websocket
        self._newcomers = Newcomers()

    def _site(self) -> Site:
        """Return what is served; the domains are those of now."""
        place, domains = self._websocket, self._clients.context.domains
        trusted = place.trusted_proxies if place.tls == "proxy" else None
        return Site(place.path, place.origins, domains, place.urls, trusted)

    def acceptableProtocols(self) -> list[bytes]:
        """Return what an `ssl:` endpoint may negotiate by ALPN."""
        return [HTTP_ALPN]

    def buildProtocol(self, addr: Any) -> WebSocketConnection:
        return WebSocketConnection(self._clients, self._websocket, self._site(), self._newcomers)
