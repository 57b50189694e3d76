"""A client's connection, on whatever port: counted under its address as soon as that is known, or ended at once.

Whose it is, is known at once if it comes directly; by a relay (`haproxy:`) with its first bytes, by a reverse proxy
with its request.
"""

from __future__ import annotations

from typing import Any, Protocol

from twisted.internet.protocol import connectionDone
from twisted.protocols.haproxy._wrapper import HAProxyProtocolWrapper
from twisted.python.failure import Failure

from minimixproxy.c2s.server.negotiation import NOT_LOGGED_IN, UNKNOWN
from minimixproxy.c2s.server.negotiation_context import NegotiationContext
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.c2s.transport.connection import SecurableConnection, Upper, read_little
from minimixproxy.c2s.transport.peers import peer_key
from minimixproxy.logs.logger import Logger
from minimixproxy.wire.framing import FramingLimits

log = Logger()

MAX_UNKNOWN = 1000  # connections of one port that have not said yet whose they are
MAX_REASON = 100  # characters of the log on a header that is none
READ = 8192  # bytes of a client that are read in one turn: one account may have a hundred sessions, and all say much


class Clients(Protocol):
    """Every client connected, on whatever port."""

    @property
    def accepting(self) -> bool:
        """Whether clients are served; else their connections end at once."""

    @property
    def plaintext_from_loopback(self) -> bool:
        """Whether clients on this machine need no TLS."""

    @property
    def context(self) -> NegotiationContext:
        """What their negotiations share."""

    @property
    def framing(self) -> FramingLimits:
        """What a client that connects now may send."""

    def admit(self, key: str) -> bool:
        """Count a connection of this address. False: it has too many, and that is logged and counted."""

    def release(self, key: str) -> None:
        """A connection that was admitted is gone."""

    def add(self, stream: ClientStream) -> None:
        """One more."""

    def remove(self, stream: ClientStream) -> None:
        """It is gone."""


class Newcomers:
    """Connections of one port whose client is not known yet. If there are too many, the first to come has to go.

    So one client that comes again and again, and says nothing, keeps nobody out who soon says something.
    """

    def __init__(self, endpoint: str) -> None:
        """`endpoint`: of the port, for the log."""
        self._endpoint = endpoint
        self._waiting: dict[CountedConnection, None] = {}
        self._told = False

    def add(self, connection: CountedConnection) -> None:
        """One more."""
        if len(self._waiting) >= MAX_UNKNOWN:
            self._tell()
            NOT_LOGGED_IN.count(UNKNOWN)
            next(iter(self._waiting)).cut()
        self._waiting[connection] = None

    def _tell(self) -> None:
        if not self._told:
            log.warn(
                "{endpoint}: {number} connections have not said whose they are; for more, the first are cut",
                endpoint=self._endpoint,
                number=MAX_UNKNOWN,
            )
        self._told = True

    def remove(self, connection: CountedConnection) -> None:
        """It is known, or gone."""
        self._waiting.pop(connection, None)
        # A port with many clients always has some that are not known yet: half of the bound is over, too.
        self._told = self._told and len(self._waiting) > MAX_UNKNOWN // 2


class CountedConnection(SecurableConnection):
    """What the connections of all ports have in common. `begin` is for what they have not.

    A factory makes one for whoever connects: if it made none, wrappers around it (`haproxy:`, `ssl:`) would raise, and
    the client would hang.
    """

    #: Whether a request says who the client is, by `admitted`; else the connection does, or its first bytes.
    named_by_request = False

    def __init__(self, upper: Upper, clients: Clients, newcomers: Newcomers, *, relayed: bool) -> None:
        """`newcomers`: those of its port. `relayed`: whoever connects there is not the client."""
        super().__init__(upper)
        self.relayed = relayed
        self._clients = clients
        self._newcomers = newcomers
        self._key: str | None = None
        self._begun = False

    def connectionMade(self) -> None:
        if not (self._clients.accepting and self.is_expected() and self._has_a_place()):
            self.cut()
            return
        self._begun = True
        if isinstance(self.transport, HAProxyProtocolWrapper):
            self.transport.dataReceived = self._read_header
        super().connectionMade()
        read_little(self.transport, READ)
        self.begin()

    def is_expected(self) -> bool:
        """Tell whether whoever has connected may do so at all."""
        return True

    def begin(self) -> None:
        """Start TLS if it is due, and have somebody handle the stream."""
        raise NotImplementedError

    def _has_a_place(self) -> bool:
        """Tell whether it may go on: those whose client is not known yet have a bound of their own."""
        if not self.relayed:
            return self.admitted(peer_key(self.transport))
        self._newcomers.add(self)
        return True

    def _read_header(self, data: bytes) -> None:
        """Have a relay's header read by Twisted, which raises if a port in it is no number, or an address no text."""
        relay: Any = self.transport
        try:
            HAProxyProtocolWrapper.dataReceived(relay, data)
        except ValueError as error:
            if "dataReceived" not in relay.__dict__:
                raise  # what is behind the header is at fault
            log.info("what connects to a port for relays said no proper header: {error}", error=str(error)[:MAX_REASON])
            self.cut()

    def _header_is_read(self) -> None:
        """What comes from now on goes the straight way."""
        self.transport.__dict__.pop("dataReceived", None)

    def dataReceived(self, data: bytes) -> None:
        if self.relayed:
            self._header_is_read()
        if self._key is None and not self.named_by_request and not self.admitted(peer_key(self.transport)):
            self.cut()
            return
        super().dataReceived(data)

    def admitted(self, key: str) -> bool:
        """Count the connection under its client's address, now that it is known; False: that has too many."""
        if not self._clients.admit(key):
            return False
        self._key = key
        self._newcomers.remove(self)
        return True

    @property
    def is_counted(self) -> bool:
        """Whether its client is known, and counted."""
        return self._key is not None

    def cut(self) -> None:
        """End it at once, without a word."""
        self._newcomers.remove(self)
        transport: Any = self.transport
        transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._newcomers.remove(self)
        if self._key is not None:
            self._clients.release(self._key)
        if self._begun:
            super().connectionLost(reason)
