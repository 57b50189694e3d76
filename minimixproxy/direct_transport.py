"""Reads and writes without what Twisted has between a socket and a protocol: queue, turn of the reactor, wrappers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from twisted.internet import tcp
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from zope.interface.declarations import Declaration


class Transport(Protocol):
    """What the protocols above use of a transport, plain or TLS."""

    def write(self, data: bytes) -> None: ...

    def loseConnection(self) -> None: ...

    def abortConnection(self) -> None: ...

    def registerProducer(self, producer: Any, streaming: bool) -> None: ...

    def unregisterProducer(self) -> None: ...

    def pauseProducing(self) -> None: ...

    def resumeProducing(self) -> None: ...

    def getPeer(self) -> Any: ...


class DirectTransport:
    """A TCP transport whose writes go to the socket at once when nothing waits before them.

    The reactor would collect them and send when `epoll` says that the socket is writable: two more system calls and a
    turn for each write. What the socket does not take waits in the reactor's queue as ever, with its backpressure.
    """

    __slots__ = ("_tcp", "write")
    #: It names no interfaces: Twisted's TLS would take them over one by one, which costs a quarter of a handshake.
    __providedBy__ = Declaration()

    def __init__(self, transport: tcp.Connection) -> None:
        self._tcp = transport
        self.write = _direct_write(transport)

    def writeSequence(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tcp, name)


def _direct_write(transport: tcp.Connection) -> Callable[[bytes], None]:
    """Return the `write` of a `DirectTransport`; a function, since attributes of that class are slow to look up."""
    send: Callable[[bytes], int] = transport.socket.send
    queue: Callable[[bytes], None] = transport.write

    def write(data: bytes) -> None:
        if transport._tempDataBuffer or transport.dataBuffer or not transport.connected or transport.disconnecting:
            queue(data)
            return
        try:
            sent = send(data)
        except OSError:
            sent = 0  # the socket is full; or broken, which the reactor finds again and reports outside of this call
        if sent != len(data):
            queue(data[sent:])

    return write


def direct(transport: Any) -> Transport:
    """Return a transport for writing at once where that is possible, else the one given."""
    if isinstance(transport, tcp.Connection) and hasattr(transport, "_tempDataBuffer"):
        return cast(Transport, DirectTransport(transport))
    return cast(Transport, transport)


def read_straight(transport: Any, receive: Callable[[bytes], None]) -> None:
    """Have what is read go straight to `receive`, the protocol's own; TCP only.

    Twisted has three calls in between, one of them of the endpoint, which has wrapped the protocol to see it connected.
    """
    if not isinstance(transport, tcp.Connection) or not hasattr(transport, "bufferSize"):
        return
    recv, size = transport.socket.recv, transport.bufferSize

    def read() -> Any:
        try:
            data = recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        if not data:
            return CONNECTION_DONE
        receive(data)
        return None

    transport.doRead = read  # type: ignore[method-assign]
