"""The wire of one client: bytes in, events to whoever handles them now; bytes out; an end that does come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from OpenSSL import SSL
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from minimixproxy.c2s.errors import describe_tls_failure
from minimixproxy.c2s.transport.channel_bindings import bindings_as_server
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.c2s.transport.peers import Peer, peer_of
from minimixproxy.counting.traffic import CLIENTS
from minimixproxy.direct_transport import Transport
from minimixproxy.logs.logger import Logger
from minimixproxy.sasl.channel_binding import Bindings
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.events import Event
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.stanza import UnusableStanza

CLOSE_TIMEOUT = 5.0  # seconds that a peer has for its part of closing
PIECE = 1024  # bytes of a stranger that are read before its handler has seen what is in them
#: What a stranger may say without an end to it, and how many tags may be in that: to log in takes a few KB and ten of
#: them, and whoever reads an element of ten thousand makes a tree of it.
LARGEST_OF_STRANGER, MOST_TAGS_OF_STRANGER = 64 * 1024, 1000


class Handler(Protocol):
    """The negotiation first, the session then."""

    @property
    def domain(self) -> str:
        """The domain that the client has named, prepared; "" before it has."""

    def client_events(self, events: list[Event]) -> None:
        """The client sent something."""

    def client_lost(self) -> None:
        """The connection is gone."""

    def close(self, condition: str, text: str = "") -> None:
        """End the stream with a stream error."""


class ClientStream:
    """What stands on a client's `SecurableConnection`."""

    log = Logger()

    __slots__ = (
        "_abort_call",
        "_clock",
        "_framing",
        "_on_lost",
        "_peer",
        "_tags",
        "_unfinished",
        "bottom",
        "framer",
        "handler",
        "take",
        "transport",
    )

    def __init__(
        self,
        bottom: SecurableConnection,
        clock: Clock,
        framing: FramingLimits,
        on_lost: Callable[[ClientStream], None],
    ) -> None:
        """`bottom`: the connection that this stands on. `on_lost` is called when it is gone."""
        self.bottom = bottom
        self._clock = clock
        self._framing = framing
        self._on_lost = on_lost
        self.framer = FastFramer(framing)  # of the current XML stream; another one after `restart`
        self._abort_call: Any = None
        self._peer: Peer | None = None
        self._unfinished = self._tags = 0  # bytes and tags since the last thing that a stranger has said to its end
        self.transport: Transport
        self.handler: Handler | None = None
        self.take: Callable[[bytes], None] | None = None  # all bytes, once a session has taken over

    def makeConnection(self, transport: Transport) -> None:
        self.transport = transport

    def hand_to(self, handler: Handler, take: Callable[[bytes], None] | None = None) -> None:
        """From now on `handler` is told what comes. `take`: it takes bytes, not events."""
        self.handler = handler
        self.take = take

    def release(self, data: bytes) -> None:
        """Nobody is told any more what comes: close with these bytes, if the connection still stands."""
        if self.handler is not None:
            self.handler = None
            self.take = None
            self.transport.unregisterProducer()
            self.close(data)

    def dataReceived(self, data: bytes) -> None:
        """An error of ours in here costs this client its stream, and nobody else anything."""
        CLIENTS.received_bytes += len(data)
        handler = self.handler
        if handler is None or self._abort_call is not None:
            return
        try:
            if self.take is not None:
                self.take(data)
            else:
                self._take_of_stranger(data)
        except UnusableStanza as error:  # before login: a session lets pass what it cannot read
            handler.close("policy-violation", str(error))
        except Exception:  # noqa: BLE001 (the edge: logged, and an error to the client)
            self.log.failure("while handling what the client at {address} sent", address=self.peer)
            handler.close("internal-server-error")

    def _take_of_stranger(self, data: bytes) -> None:
        """Take a little at a time: who is refused, which costs a connection, has cost no more. The rest is dropped.

        So is what stands behind a restart: it was not meant for the new stream, and behind STARTTLS anybody may write.
        """
        framer = self.framer
        for start in range(0, len(data), PIECE):
            if self.handler is None or self.framer is not framer or self._abort_call is not None:
                return
            piece = data[start : start + PIECE]
            events = framer.feed(piece)
            if self._is_too_much(piece, ended=bool(events)):
                self.handler.close("policy-violation", "too large for who is not logged in")
                return
            self.handler.client_events(events)

    def _is_too_much(self, piece: bytes, *, ended: bool) -> bool:
        """Count what a stranger has said without an end to it; a piece in which one is counts for both sides of it."""
        size, tags = len(piece), piece.count(b"<")
        is_too_much = self._unfinished + size > LARGEST_OF_STRANGER or self._tags + tags > MOST_TAGS_OF_STRANGER
        self._unfinished = size if ended else self._unfinished + size
        self._tags = tags if ended else self._tags + tags
        return is_too_much

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._abort_call is not None:
            self._abort_call.cancel()
            self._abort_call = None
        if reason.check(SSL.Error) is not None:
            error = describe_tls_failure(reason)
            self.log.info("TLS with the client at {address} failed: {error}", address=self.peer, error=error)
        handler, self.handler = self.handler, None
        self.take = None
        try:
            if handler is not None:
                handler.client_lost()
        finally:
            self._on_lost(self)  # whatever becomes of the handler: who ends waits for all to be gone

    @property
    def peer(self) -> Peer:
        """Who the client is. To be asked first when it has said something: a relay says so no sooner."""
        if self._peer is None:
            self._peer = peer_of(self.transport)
        return self._peer

    @property
    def bindings(self) -> Bindings:
        """What a login can be bound to, of the client's TLS."""
        return bindings_as_server(self.transport)

    def restart(self) -> None:
        """The client will begin a new XML stream."""
        self.framer = FastFramer(self._framing)
        self.bottom.restarted()

    def start_tls(self, factory: TLSMemoryBIOFactory) -> None:
        """The next bytes from the client are its side of TLS."""
        self.restart()
        self.bottom.start_tls(factory)

    def write(self, data: bytes) -> None:
        CLIENTS.sent_bytes += len(data)
        self.transport.write(data)

    def close(self, data: bytes = b"") -> None:
        """Send the last bytes and close; abort if that takes the client too long. What it still sends is ignored."""
        if self._abort_call is not None:
            return
        if data:
            self.write(data)
        self._abort_call = self._clock.callLater(CLOSE_TIMEOUT, self._abort)
        self.transport.resumeProducing()  # to read the client's part of closing TLS
        self.transport.loseConnection()

    def _abort(self) -> None:
        self._abort_call = None
        self.transport.abortConnection()
