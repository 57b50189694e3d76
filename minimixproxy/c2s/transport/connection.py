"""The bottom of every connection: plain bytes first, TLS once started.

The TLS layer is put on top by ourselves, not by `transport.startTLS`: that way it is the same for a client's and an
upstream connection, and for whatever transport an endpoint string brings.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from twisted.internet import tcp
from twisted.internet.interfaces import ITCPTransport, IUNIXTransport
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Protocol as BaseProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from minimixproxy.c2s.transport.tls_layer import TLSLayer
from minimixproxy.direct_transport import DirectTransport, direct

# Seconds of silence before the first probe, seconds between probes, and how many may go unanswered; milliseconds for
# which data may go unacknowledged, since that stops the probes.
_KEEPALIVE = {
    getattr(socket, name): value
    for name, value in (
        ("TCP_KEEPIDLE", 120),
        ("TCP_KEEPINTVL", 30),
        ("TCP_KEEPCNT", 4),
        ("TCP_USER_TIMEOUT", 240_000),
    )
    if hasattr(socket, name)
}


def read_little(transport: Any, size: int) -> None:
    """Take so many bytes at most from the kernel in one turn of the reactor, 64 KiB are usual; TCP only."""
    if not isinstance(transport, tcp.Connection) or not hasattr(transport, "_dataReceived"):
        return

    def read() -> Any:
        try:
            data = transport.socket.recv(size)
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        return transport._dataReceived(data)

    transport.doRead = read  # type: ignore[method-assign]


def is_tcp(transport: Any) -> bool:
    """Tell whether a transport is one of TCP. To Twisted, those of UNIX sockets are a kind of TCP, too."""
    below = transport._tcp if isinstance(transport, DirectTransport) else transport
    return bool(ITCPTransport.providedBy(below) and not IUNIXTransport.providedBy(below))


def _tune(transport: Any) -> None:
    """Send small writes at once, and find out within minutes that a silent peer is gone."""
    if not is_tcp(transport):
        return
    transport.setTcpNoDelay(1)
    transport.setTcpKeepAlive(1)
    connection = getattr(transport, "socket", None)
    if connection is not None:
        for option, value in _KEEPALIVE.items():
            connection.setsockopt(socket.IPPROTO_TCP, option, value)


def acknowledging(transport: Any) -> Callable[[], None]:
    """Return what has the kernel acknowledge at once what has come; TCP on Linux only, elsewhere it does nothing.

    A server with Nagle's algorithm (RFC 896), as Prosody is, keeps a small answer back until what it sent before is
    acknowledged, and the kernel takes 40 ms for that (RFC 1122 §4.2.3.2).
    """
    bottom = transport.transport if isinstance(transport, TLSLayer) else transport
    option = getattr(socket, "TCP_QUICKACK", None)
    connection = getattr(bottom, "socket", None)
    if option is None or connection is None or not is_tcp(bottom):
        return lambda: None

    def acknowledge() -> None:
        with suppress(OSError):  # it is being lost
            connection.setsockopt(socket.IPPROTO_TCP, option, 1)

    return acknowledge


def _make_harmless(transport: Any) -> None:
    """Have a lost transport take what may still be asked of it: Twisted's own TLS, of an endpoint, raises."""
    if isinstance(transport, ProtocolWrapper):
        for name in ("abortConnection", "unregisterProducer"):
            setattr(transport, name, _nothing)


def _nothing() -> None:
    pass


class Upper(Protocol):
    """What stands on a `SecurableConnection`: an `IProtocol` whose `transport` is replaced when TLS starts."""

    transport: Any

    def makeConnection(self, transport: Any) -> None: ...

    def dataReceived(self, data: bytes) -> None: ...

    def connectionLost(self, reason: Any) -> Any: ...


class SecurableConnection(BaseProtocol):
    """The protocol that the reactor knows; `upper` is the one that speaks XMPP."""

    peer_kind = "client"  # or "server"; "process": another one of a cluster
    standalone = False  # each stanza is a document, and has to declare its namespace (RFC 7395 §3.3.3)
    relayed = False  # what stands at the other end is not the peer itself, and acknowledges for it
    #: How many bytes the last write became before TLS; None: as many as were written.
    framed: Callable[[], int] | None = None

    def __init__(self, upper: Upper) -> None:
        self.upper = upper
        self._layer: TLSLayer | None = None

    def connectionMade(self) -> None:
        _tune(self.transport)
        self.upper.makeConnection(direct(self.transport))

    @property
    def secured(self) -> bool:
        """TLS has been started."""
        return self._layer is not None

    @property
    def record_overhead(self) -> int:
        """Bytes that TLS adds to each record; 0 without TLS."""
        return self._layer.record_overhead if self._layer is not None else 0

    def restarted(self) -> None:
        """A new XML stream begins: nothing to this kind of connection."""

    def drop_unfinished(self) -> None:
        """An element was not written to its end, and will not be: nothing to this kind, which has sent what was."""

    def start_tls(self, factory: TLSMemoryBIOFactory) -> None:
        """From here on every byte in both directions goes through TLS; `upper.transport` is the TLS layer."""
        self.__dict__.pop("dataReceived", None)
        # With TLS 1.3 a server's tickets come behind the handshake. With Nagle's algorithm its first answer waits until
        # they are acknowledged.
        self._layer = layer = TLSLayer(factory, self.upper, acknowledging(self.transport), self.peer_kind)
        layer.makeConnection(direct(self.transport))
        self.upper.transport = layer

    def dataReceived(self, data: bytes) -> None:
        """Hand on the first bytes; those that follow go without this step, until TLS starts."""
        upper: Any = self._layer or self.upper
        if self._layer is None or self._layer.settled:
            self.dataReceived = upper.dataReceived  # type: ignore[method-assign]
        upper.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        upper: Any = self._layer or self.upper
        _make_harmless(self.transport)
        upper.connectionLost(reason)
