"""Twisted's TLS layer, made cheaper where every read and write passes."""

from __future__ import annotations

from typing import Any

from OpenSSL.SSL import Error, WantReadError, ZeroReturnError
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure

_HEADER = 5  # bytes before a record's body: type, version, length (RFC 8446 §5.1)
_MAX_PLAINTEXT = 2**14  # bytes in a record
_MAX_DATA = 2**15  # more than a record takes, encrypted


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


class TLSLayer(TLSMemoryBIOProtocol):
    """Asks OpenSSL for data as often as there are records.

    Twisted asks until OpenSSL says that there is no more, and then for an answer to be sent; each is an exception, and
    with one stanza to a read these two cost more than the rest.
    """

    transport: Any
    wrappedProtocol: Any

    def __init__(self, factory: TLSMemoryBIOFactory, upper: Any) -> None:
        """`upper` is connected already."""
        super().__init__(factory, upper, False)
        self._counter = RecordCounter()
        self._records = 0  # that OpenSSL may still turn into data: at least as many as it can

    def dataReceived(self, data: bytes) -> None:
        """Count the records, then do as ever."""
        self._records += self._counter.feed(data)
        if self._appSendBuffer or not self._handshakeDone:
            super().dataReceived(data)
        else:
            self._tlsConnection.bio_write(data)
            self._flushReceiveBIO()

    def write(self, data: bytes) -> None:
        """Encrypt and send; the common case is done here."""
        if (
            self._appSendBuffer
            or not self._handshakeDone
            or self._lostTLSConnection
            or self.disconnecting
            or not 0 < len(data) <= _MAX_PLAINTEXT
        ):
            super().write(data)
            return
        connection = self._tlsConnection
        try:
            connection.send(data)
        except WantReadError:
            self._bufferedWrite(data)
        except Error:
            self._tlsShutdownFinished(Failure())
        else:
            self.transport.write(connection.bio_read(_MAX_DATA))

    def _flushReceiveBIO(self) -> None:
        """Hand up the data of every whole record. Twisted calls this when bytes have come and at the end."""
        connection, parts = self._tlsConnection, []
        while self._records and not self._lostTLSConnection:
            self._records -= 1
            try:
                parts.append(connection.recv(_MAX_DATA))
            except WantReadError:
                # A record without data: of the handshake, or one that OpenSSL may want to answer.
                self._records = 0
                self._flushSendBIO()
            except (ZeroReturnError, Error) as error:
                self._hand_up(parts)
                self._end(error)
                return
        self._hand_up(parts)

    def _hand_up(self, parts: list[bytes]) -> None:
        """Give the protocol above what came in one read."""
        if parts and not self._aborted:
            self.wrappedProtocol.dataReceived(parts[0] if len(parts) == 1 else b"".join(parts))

    def _end(self, error: Exception) -> None:
        """TLS is over: by the peer's goodbye, or by a fault."""
        if isinstance(error, ZeroReturnError):
            self._shutdownTLS()
            self._tlsShutdownFinished(None)
        else:
            self._tlsShutdownFinished(Failure(error))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Have OpenSSL asked once more: it knows whether the peer said goodbye."""
        self._records += 1
        super().connectionLost(reason)

    def abortConnection(self) -> None:
        """Abort; Twisted's own fails on a connection that is lost already."""
        if self._tlsConnection is not None:
            super().abortConnection()
