"""The port for other processes of the cluster: each connection is one client, which they hand to its account's holder.

It begins with a header that says who the client is (`handover_header`). Then it is a client's like any other, within
TLS already. Who may connect: on a UNIX socket processes of the same user, elsewhere those with a certificate of the
cluster.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from OpenSSL import SSL
from twisted.internet.protocol import Factory, connectionDone
from twisted.python.failure import Failure

from minimixproxy.c2s.errors import describe_tls_failure
from minimixproxy.c2s.server.counted_connection import READ
from minimixproxy.c2s.server.elsewhere import Handed
from minimixproxy.c2s.server.listener import Clients
from minimixproxy.c2s.server.negotiation import Negotiation
from minimixproxy.c2s.session.client_side import ClientSide
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.connection import SecurableConnection, read_little
from minimixproxy.cluster import tallies
from minimixproxy.cluster.handover_header import EDGE_LEAVES, BadHeader, Handover, HeaderReader
from minimixproxy.cluster.internal_tls import InternalTLS
from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.channel_binding import Bindings
from minimixproxy.timing.clock import Timer
from minimixproxy.unix_sockets import user_of

HEADER_TIME = 10.0  # seconds from a connection to the end of its header, TLS included
MAX_NEW = 1000  # connections that have not said whom they hand over; for more, the first to come are cut

log = Logger()


class ThisProcess(NamedTuple):
    """What this process says of itself.

    `number`: of its incarnation; `holds`: whether it holds an account, and goes on to for a while.
    """

    number: Callable[[], int]
    holds: Callable[[str], bool]


class Refusal(NamedTuple):
    """Why a client is not taken: as one of those of `tallies.HANDOVERS`, and what the log says of its account."""

    counted_as: str
    why: str


class HandedStream(ClientStream):
    """The stream of a client whose connection another process has."""

    __slots__ = ("_bindings",)

    def __init__(self, connection: InternalConnection, clients: Clients, handover: Handover) -> None:
        super().__init__(connection, clients.context.clock, clients.framing, clients.remove)
        self._peer = handover.peer
        self._bindings = handover.bindings

    @property
    def bindings(self) -> Bindings:
        """What a login can be bound to: the client's TLS, which ends elsewhere."""
        return self._bindings

    def dataReceived(self, data: bytes) -> None:
        """Take what the client says, and the other process of itself."""
        if EDGE_LEAVES not in data:
            super().dataReceived(data)
            return
        super().dataReceived(data.replace(EDGE_LEAVES, b""))
        handler = self.handler
        if isinstance(handler, ClientSide):
            handler.leaves_edge()
        elif handler is not None:
            handler.close("system-shutdown")


class _Introduction:
    """(`connection.Upper`) Reads the header; what follows goes to the client's stream."""

    def __init__(self, connection: InternalConnection) -> None:
        self.transport: Any = None
        self.stream: HandedStream | None = None
        self._connection = connection
        self._reader = HeaderReader()

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def dataReceived(self, data: bytes) -> None:
        if self.stream is not None:
            self.stream.dataReceived(data)
        elif not self._connection.refused:
            self._read(data)

    def _read(self, data: bytes) -> None:
        try:
            found = self._reader.feed(data)
        except BadHeader as error:
            self._connection.refuse(tallies.BAD_HEADER, f"its header is no good: {error}")
            return
        if found is not None:
            handover, behind = found
            self.stream = self._connection.introduced(handover, self.transport)
            if self.stream is not None and behind:
                self.stream.dataReceived(behind)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.stream is not None:
            self.stream.connectionLost(reason)
        elif reason.check(SSL.Error) is not None:
            why = f"it is not of this cluster, by its TLS: {describe_tls_failure(reason)}"
            self._connection.refuse(tallies.STRANGER, why)


class InternalConnection(SecurableConnection):
    """One connection of another process."""

    peer_kind = "process"
    relayed = True  # whoever connects acknowledges for the client

    def __init__(self, port: InternalPort) -> None:
        super().__init__(_Introduction(self))
        self._port = port
        self._timer = Timer(port.clients.context.clock)
        self.refused = False

    def connectionMade(self) -> None:
        super().connectionMade()
        read_little(self.transport, READ)
        self._port.new[self] = None
        self._timer.start(HEADER_TIME, self._too_late)
        why = self._port.stranger(self.transport)
        if why:
            self.refuse(tallies.STRANGER, why)
        elif self._port.tls is not None:
            self.start_tls(self._port.tls.for_servers)

    def _too_late(self) -> None:
        self.refuse(tallies.SLOW, "it does not say in time whom it hands over")

    def introduced(self, handover: Handover, transport: Any) -> HandedStream | None:
        """Begin the client's negotiation, or refuse it."""
        clients = self._port.clients
        refusal = self._port.refusal(handover)
        if refusal is not None:
            self.refuse(refusal.counted_as, f"{handover.account} {refusal.why}")
            return None
        tallies.HANDOVERS.count(tallies.SUCCESS)
        self._settled()
        self.standalone = handover.websocket
        stream = HandedStream(self, clients, handover)
        stream.makeConnection(transport)
        clients.add(stream)
        handed = Handed(handover.offered, handover.tokens)
        stream.hand_to(Negotiation(stream, clients.context, secure=True, handed=handed))
        return stream

    def refuse(self, counted_as: str, why: str) -> None:
        """End the connection at once, without a word; only the log says why."""
        if self.refused:
            return
        self.refused = True
        tallies.HANDOVERS.count(counted_as)
        self._settled()
        transport: Any = self.transport
        log.warn("what connects at {address} is refused as a process: {reason}", address=_shown(transport), reason=why)
        transport.abortConnection()

    def _settled(self) -> None:
        self._timer.stop()
        self._port.new.pop(self, None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._settled()


def _shown(transport: Any) -> str:
    return str(getattr(transport.getPeer(), "host", "a UNIX socket"))


class InternalPort(Factory):
    """Makes the connections. `new`: those that have not said whom they hand over, the first to come first."""

    noisy = False

    def __init__(
        self,
        clients: Clients,
        own: ThisProcess,
        tls: InternalTLS | None,
        user_of: Callable[[Any], int | None] = user_of,
    ) -> None:
        """`tls`: None on a UNIX socket. `user_of`: for tests."""
        self.clients = clients
        self.tls = tls
        self.new: dict[InternalConnection, None] = {}
        self._own = own
        self._user_of = user_of

    def buildProtocol(self, addr: Any) -> InternalConnection:
        if len(self.new) >= MAX_NEW:
            oldest = next(iter(self.new))
            oldest.refuse(tallies.TOO_MANY, f"{MAX_NEW} connections have not said whom they hand over")
        return InternalConnection(self)

    def stopFactory(self) -> None:
        """The port is closed: whoever is still to say whom it hands over would come after all others were ended."""
        for connection in list(self.new):
            connection.refuse(tallies.CLOSING, "this process stops")

    def stranger(self, transport: Any) -> str:
        """Return why whoever has connected may not do so, "" if its TLS is to tell or there is nothing against it."""
        if self.tls is not None:
            return ""
        user = self._user_of(transport)
        if user is None:
            return "it comes by no UNIX socket, and TLS is not configured"
        return "" if user == os.geteuid() else f"its process is of user {user}, and this one of {os.geteuid()}"

    def refusal(self, handover: Handover) -> Refusal | None:
        """Return why a client is not taken, None if it is."""
        number = self._own.number()
        if not self.clients.accepting:
            return Refusal(tallies.CLOSING, "is handed over, and no clients are accepted now")
        if handover.number != number:
            return Refusal(tallies.ENDED, f"is handed to process {handover.number}, and this is {number} by now")
        if not self._own.holds(handover.account):
            return Refusal(tallies.NOT_HELD, "is handed over, and is not held here")
        if handover.account.rpartition("@")[2] not in self.clients.context.domains:
            return Refusal(tallies.NOT_SERVED, "is handed over, and its domain is not served here")
        return None
