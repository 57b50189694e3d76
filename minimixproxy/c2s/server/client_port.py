"""The ports for clients that come by TCP, or by a UNIX socket."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.internet.protocol import Factory
from zope.interface import implementer

from minimixproxy.c2s.server.counted_connection import Clients, CountedConnection, Newcomers
from minimixproxy.c2s.server.negotiation import Negotiation
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.peers import is_loopback
from minimixproxy.c2s.transport.tls import ALPN
from minimixproxy.config.checks import brings_its_own_tls, is_relayed
from minimixproxy.config.settings import Listen


class ClientConnection(CountedConnection):
    """One connection of a client."""

    upper: ClientStream

    def __init__(self, clients: Clients, listen: Listen, newcomers: Newcomers) -> None:
        """`newcomers`: those of its port."""
        upper = ClientStream(self, clients.context.clock, clients.framing, clients.remove)
        super().__init__(upper, clients, newcomers, relayed=is_relayed(listen.endpoint))
        self._listen = listen

    def begin(self) -> None:
        """Negotiate, within TLS or before it."""
        context, direct = self._clients.context, self._listen.tls == "direct"
        if direct and not brings_its_own_tls(self._listen.endpoint):
            self.start_tls(context.tls.factory_by_sni())
        self._clients.add(self.upper)
        secure = direct or (self._clients.plaintext_from_loopback and is_loopback(self.transport))
        self.upper.hand_to(Negotiation(self.upper, context, secure=secure))


@implementer(IProtocolNegotiationFactory)
class ClientFactory(Factory):
    """Makes the connections of one port."""

    noisy = False

    def acceptableProtocols(self) -> list[bytes]:
        """Return what an `ssl:` endpoint may negotiate by ALPN; Twisted refuses a client that asks for other things."""
        return [ALPN]

    def __init__(self, clients: Clients, listen: Listen) -> None:
        self._clients = clients
        self._listen = listen
        self._newcomers = Newcomers(listen.endpoint)

    def buildProtocol(self, addr: Any) -> ClientConnection:
        return ClientConnection(self._clients, self._listen, self._newcomers)
