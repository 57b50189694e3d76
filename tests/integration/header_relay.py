"""A relay before a server that does not know the PROXY protocol: it checks the header, and passes the rest on.

It connects from the address that the header names, if that is one of loopback, so that the server sees it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol, serverFromString
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.haproxy import proxyEndpoint
from twisted.python.failure import Failure

from tests.integration.ports import free_port
from tests.patience import patiently


class HeaderRelay:
    """Listens on `port` of loopback, and cuts who sends no header. `sources`: the addresses named so far."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.sources: list[str] = []
        self.links: set[_Near] = set()
        self._listener: Any = None

    async def start(self) -> None:
        endpoint = proxyEndpoint(serverFromString(reactor, f"tcp:{self.port}:interface=127.0.0.1"))
        factory = Factory.forProtocol(lambda: _Near(self))
        factory.noisy = False
        self._listener = await endpoint.listen(factory)

    async def stop(self) -> None:
        await maybeDeferred(self._listener.stopListening)
        for link in self.links:
            link.transport.abortConnection()


class _Near(Protocol):
    """The connection of whoever speaks the PROXY protocol."""

    transport: Any

    def __init__(self, relay: HeaderRelay) -> None:
        self._relay = relay
        self._far: _Far | None = None
        self._early: list[bytes] | None = None
        self._over = False

    def connectionMade(self) -> None:
        self._relay.links.add(self)

    def dataReceived(self, data: bytes) -> None:
        if self._far is not None:
            self._far.transport.write(data)
        elif self._early is not None:
            self._early.append(data)
        else:
            self._early = [data]
            self._connect(self.transport.getPeer().host)  # known by now

    def _connect(self, source: str) -> None:
        self._relay.sources.append(source)
        endpoint = TCP4ClientEndpoint(
            reactor,
            "127.0.0.1",
            self._relay.target,
            timeout=patiently(5.0),
            bindAddress=(source, 0) if source.startswith("127.") else None,
        )
        connectProtocol(endpoint, _Far(self)).addCallbacks(self._reached, lambda _: self.transport.abortConnection())

    def _reached(self, far: _Far) -> None:
        if self._over:
            far.transport.abortConnection()
            return
        self._far = far
        assert self._early is not None
        far.transport.write(b"".join(self._early))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        self._relay.links.discard(self)
        if self._far is not None:
            self._far.transport.loseConnection()


class _Far(Protocol):
    """The connection to the server."""

    transport: Any

    def __init__(self, near: _Near) -> None:
        self._near = near

    def dataReceived(self, data: bytes) -> None:
        self._near.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._near.transport.loseConnection()
