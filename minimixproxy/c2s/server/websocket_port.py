"""The ports for clients that come by WebSocket: own TLS, or a reverse proxy that says who the client is."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory
from zope.interface import implementer

from minimixproxy.c2s.server.counted_connection import Clients, CountedConnection, Newcomers
from minimixproxy.c2s.server.negotiation import NOT_LOGGED_IN, UNTRUSTED, Negotiation
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.peers import address_key, ip_end, peer_key
from minimixproxy.c2s.transport.tls import HTTP_ALPN
from minimixproxy.c2s.websocket.forwarded import Address, is_in
from minimixproxy.c2s.websocket.handshake import Site
from minimixproxy.c2s.websocket.transport import WebSocketTransport
from minimixproxy.config.checks import brings_its_own_tls, is_relayed
from minimixproxy.config.settings import WebSocket
from minimixproxy.logs.logger import Logger

log = Logger()


class WebSocketConnection(CountedConnection):
    """One connection of a client by WebSocket. Implements `websocket.opening.Port`."""

    standalone = True

    upper: WebSocketTransport

    def __init__(self, clients: Clients, websocket: WebSocket, site: Site, newcomers: Newcomers) -> None:
        """`newcomers`: those of its port."""
        self.site = site
        self._endpoint = websocket.endpoint
        self.named_by_request = site.trusted is not None
        clock = clients.context.clock
        stream = ClientStream(self, clock, clients.framing, clients.remove)
        upper = WebSocketTransport(stream, self, clock, clients.framing.max_stanza)
        relayed = is_relayed(websocket.endpoint) or self.named_by_request
        super().__init__(upper, clients, newcomers, relayed=relayed)
        self.framed = lambda: self.upper.last_written

    def begin(self) -> None:
        """Read the request, within TLS."""
        if self.site.trusted is None and not brings_its_own_tls(self._endpoint):
            self.start_tls(self._clients.context.tls.factory_by_sni(HTTP_ALPN))
        self._clients.add(self.upper.stream)

    def is_expected(self) -> bool:
        """Tell whether this is the reverse proxy, if one has to be there; on a UNIX socket it is."""
        address = _who_connected(self.transport)
        if self.site.trusted is None or self._is_trusted(address):
            return True
        NOT_LOGGED_IN.count(UNTRUSTED)
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

    def admits(self, client: Address | None) -> bool:
        """Count the client that a reverse proxy forwards."""
        return self.is_counted or self.admitted(address_key(str(client)) if client else peer_key(self.transport))

    def opened(self) -> None:
        """The WebSocket is open: negotiate."""
        stream = self.upper.stream
        stream.hand_to(Negotiation(stream, self._clients.context, secure=True))

    def restarted(self) -> None:
        """A new XML stream begins."""
        self.upper.restart()

    def drop_unfinished(self) -> None:
        """An element that was not written to its end is left out: none of it has been sent."""
        self.upper.drop_unfinished()


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
        self._newcomers = Newcomers(websocket.endpoint)

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
