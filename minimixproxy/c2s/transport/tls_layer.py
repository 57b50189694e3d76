"""Twisted's TLS layer, made cheaper where every read and write passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL.SSL import Error, WantReadError, ZeroReturnError
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from minimixproxy.c2s.transport.key_shares import ServerFacingFactory
from minimixproxy.c2s.transport.tls_engine import AVAILABLE, MAX_DATA, PIECE, TLSEngine, has_very_many
from minimixproxy.counting.tally import Tally

_HEADER = 5  # bytes before a record's body: type, version, length (RFC 8446 §5.1)
#: Records of an open connection that bring no data: a peer may demand other keys at any time (RFC 8446 §4.6.3), which
#: costs as much as a stanza, and has an answer. Who needs others by the rules (§5.5) has said many gigabytes before.
MOST_WITHOUT_DATA = 100
_TOO_MUCH = Error([("", "", "too much that is no data")])  # as OpenSSL's are


class RecordCounter:
    """Counts the TLS records in a stream of bytes, by their headers."""

    __slots__ = ("_head", "_next")

    def __init__(self) -> None:
        self._next = 0  # where the next record begins, counted from the next bytes
        self._head = b""  # what has come of its header

    def feed(self, data: bytes) -> int:
        """Return how many records end in `data`."""
        if self._head:
            data = self._head + data
            self._head = b""
        position, size = self._next, len(data)
        count = 1 if 0 < position <= size else 0
        while position + _HEADER <= size:
            position += _HEADER + (data[position + 3] << 8) + data[position + 4]
            if position <= size:
                count += 1
        if position < size:
            self._head = data[position:]
            position = size
        self._next = position - size
        return count


HANDSHAKES = Tally(
    "tls_handshakes",
    "TLS handshakes with clients, servers and other processes of a cluster that have come to an end.",
    peer=("client", "server", "process"),
    result=("success", "failure"),
)


class TLSLayer(TLSMemoryBIOProtocol):
    """Asks OpenSSL for data as often as there are records; once open, leaves reads and writes to a `TLSEngine`.

    Twisted asks until OpenSSL says that there is no more, and then for an answer to be sent; each is an exception, and
    with one stanza to a read these two cost more than the rest.
    """

    transport: Any
    wrappedProtocol: Any

    def __init__(
        self, factory: TLSMemoryBIOFactory, upper: Any, acknowledge: Callable[[], None], peer: str = "client"
    ) -> None:
        """`upper` is connected already. `acknowledge`: have the kernel acknowledge what has come, which is no data.

        `peer`: what is at the other end, "client", "server" or "process".
        """
        super().__init__(factory, upper, False)
        self._peer = peer
        self.is_wary = peer == "client"  # servers, and other processes, say much in earnest
        self._counted = False  # how the handshake went
        self._acknowledge = acknowledge
        self.counter = RecordCounter()
        self._records = 0  # that OpenSSL may still turn into data: at least as many as it can
        self._without_data = 0  # records, since the handshake
        self._engine: TLSEngine | None = None

    @property
    def record_overhead(self) -> int:
        """Bytes that a record has beside its data (RFC 8446 §5.2, RFC 5288 §3, RFC 7905 §2): no more than there are."""
        connection = self._tlsConnection
        if connection is None:
            return 0
        if connection.get_protocol_version_name() == "TLSv1.3":
            return _HEADER + 17  # what type it is, and the tag
        return _HEADER + (24 if "GCM" in (connection.get_cipher_name() or "") else 16)

    @property
    def feed(self) -> Callable[[bytes], int]:
        """How to count the records that end in what came."""
        return self.counter.feed

    @property
    def settled(self) -> bool:
        """`dataReceived` is what it will be while the connection is open."""
        return self._engine is not None or not AVAILABLE

    def dataReceived(self, data: bytes) -> None:
        """Take encrypted bytes; behind the last of the handshake the engine takes over."""
        if self.is_wary and has_very_many(data):
            self.read_pieces(data)
            return
        self.read(data)
        if self._handshakeDone and not self._counted:
            self._count("success")
            if isinstance(self.factory, ServerFacingFactory) and self._tlsConnection is not None:
                self.factory.agreed(self._tlsConnection)
        if AVAILABLE and self._handshakeDone and not self._over:
            self._engine = TLSEngine(self)
            self.dataReceived = self._engine.read  # type: ignore[method-assign]
            self.write = self._engine.write  # type: ignore[method-assign]

    def _count(self, result: str) -> None:
        self._counted = True
        HANDSHAKES.count(self._peer, result)

    @property
    def _over(self) -> bool:
        return bool(self._lostTLSConnection or self.disconnecting or self._appSendBuffer)

    def read(self, data: bytes) -> None:
        """Count the records, then do as Twisted does."""
        self._records += self.counter.feed(data)
        super().dataReceived(data)
        if not self._handshakeDone:  # so they were of the handshake, however many it is cut into
            self._records = 0

    def read_pieces(self, data: bytes) -> None:
        """Take encrypted bytes a little at a time, the engine's part, too; no more once the connection is given up."""
        for start in range(0, len(data), PIECE):
            if self._aborted or self._lostTLSConnection:
                return
            self.dataReceived(data[start : start + PIECE])

    def read_rest(self, records: int) -> None:
        """Go on with up to `records` records, of which the next is a special one."""
        self._records += records
        self._flushReceiveBIO()

    def write_slowly(self, data: bytes) -> None:
        """Write as Twisted does."""
        super().write(data)

    def _flushReceiveBIO(self) -> None:
        """Hand up the data of every whole record. Twisted calls this when bytes have come and at the end."""
        connection, parts = self._tlsConnection, []
        while self._records and not self._lostTLSConnection:
            self._records -= 1
            try:
                parts.append(connection.recv(MAX_DATA))
            except WantReadError:
                # Records without data: of the handshake, or such that OpenSSL may want to answer.
                self._without_data += self._records + 1
                self._records = 0
                self._flushSendBIO()
                self._acknowledge()
                if self._without_data > MOST_WITHOUT_DATA:
                    self.hand_up(parts)
                    self._give_up()
                    return
            except (ZeroReturnError, Error) as error:
                self.hand_up(parts)
                self._end(error)
                return
        self.hand_up(parts)

    def hand_up(self, parts: list[bytes]) -> None:
        """Give the protocol above what came in one read."""
        if parts and not self._aborted:
            self.wrappedProtocol.dataReceived(parts[0] if len(parts) == 1 else b"".join(parts))

    # Whatever ends a connection, or holds its writes back, is Twisted's affair; the engine stops.

    def _stop_engine(self) -> None:
        if self._engine is not None:
            self._engine.stop()

    def _bufferedWrite(self, octets: bytes) -> None:
        self._stop_engine()
        super()._bufferedWrite(octets)

    def _give_up(self) -> None:
        """The peer keeps us busy, and perhaps reads none of the answers: its connection ends at once."""
        self._end(_TOO_MUCH)
        self.abortConnection()

    def _end(self, error: Exception) -> None:
        """TLS is over: by the peer's goodbye, or by a fault."""
        if isinstance(error, ZeroReturnError):
            self._shutdownTLS()
            self._tlsShutdownFinished(None)
        else:
            self._tlsShutdownFinished(Failure(error))

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        self._stop_engine()
        super()._tlsShutdownFinished(reason)

    def loseConnection(self) -> None:
        """Say goodbye, and close once what waits is sent."""
        self._stop_engine()
        super().loseConnection()

    def abortConnection(self) -> None:
        """Abort; Twisted's own fails on a connection that is lost already."""
        self._stop_engine()
        if self._tlsConnection is not None:
            super().abortConnection()

    def unregisterProducer(self) -> None:
        """Tell nobody any more to pause; Twisted's own, too, fails on a connection that is lost after its abort."""
        if self._tlsConnection is not None:
            super().unregisterProducer()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Have OpenSSL asked once more: it knows whether the peer said goodbye."""
        self._stop_engine()
        if not self._counted:
            self._count("failure")
        self._records += 1
        super().connectionLost(reason)
        self.__dict__.pop("dataReceived", None)
        self.__dict__.pop("write", None)
