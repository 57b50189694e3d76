"""Connections that say nothing, by a relay: nobody knows whose they are, so no address has too many of them."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from minimixproxy.c2s.server.counted_connection import MAX_UNKNOWN
from tests.integration import client as raw
from tests.integration.cases import IntegrationTestCase
from tests.integration.ports import free_port

MORE = 20
HEADER = "PROXY TCP4 192.0.2.1 127.0.0.1 5 5222\r\n"


class Silent(Protocol):
    """A connection on which nothing is said but what the relay says."""

    def __init__(self, header: str) -> None:
        self.header = header
        self.gone: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.header.encode())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.gone.callback(None)


class SilenceTests(IntegrationTestCase):
    timeout = 120

    async def test_behind_a_relay(self) -> None:
        """The first of too many are cut, and somebody else logs in."""
        listen, websocket = free_port(), free_port()
        ports = {port: f"haproxy:tcp:{port}:interface=127.0.0.1" for port in (listen, websocket)}
        proxy = self.own_proxy(
            listen=[{"endpoint": ports[listen]}], websocket=[{"endpoint": ports[websocket], "tls": "direct"}]
        )
        for port in ports:
            await proxy.process.says(rf"starting on {port}\b")
        for port, endpoint in ports.items():
            silent = [await self.silent(port, number) for number in range(MAX_UNKNOWN + MORE)]
            for one in silent[:MORE]:
                await one.gone
            told = f"{endpoint}: {MAX_UNKNOWN} connections have not said whose they are; for more, the first are cut"
            await proxy.process.says(told)
            client = await raw.connect(listen, self.server.domain)
            self._clients.append(client)
            client.send(HEADER)
            await client.login(await self.account())
            await client.barrier()
            for one in silent[MORE:]:
                assert one.transport is not None
                one.transport.abortConnection()  # type: ignore[attr-defined]
                await one.gone

    async def silent(self, port: int, number: int) -> Silent:
        """A connection; every other one is that of a relay that says who the client is."""
        silent = Silent(HEADER if number % 2 else "")
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", port), silent)
        return silent
