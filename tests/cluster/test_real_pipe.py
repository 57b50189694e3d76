"""Pipes over real sockets: all that goes in comes out, and no end takes more than the other one has room for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXServerEndpoint, connectProtocol
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial import unittest

from minimixproxy.c2s.server.client_port import ClientFactory
from minimixproxy.c2s.server.elsewhere import Cluster, Elsewhere
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.cluster.dialling import dialler
from minimixproxy.cluster.internal_port import InternalPort, ThisProcess
from minimixproxy.cluster.internal_tls import InternalTLS
from minimixproxy.cluster.pipes import EdgePipes
from minimixproxy.config.settings import Listen
from tests.c2s.fakeserver import listening
from tests.c2s.helpers import HEADER, PLAIN_FEATURES, SERVER_HEADER, Lab, Recorder, plain
from tests.certificates import make_authority, make_certificate
from tests.cluster.test_pipe import NAMED, Upstream

MESSAGE = b"<message to='b@example.org' from='a@example.org/r' id='1'><body>%b</body></message>" % (b"x" * 4000)
MANY = 500


class Listener(Recorder):
    """A client, which waits for what it is to hear."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self._awaited: tuple[bytes, int, Deferred[None]] | None = None
        self.over: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.over.callback(None)

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        self._look()

    def _look(self) -> None:
        if self._awaited is not None:
            text, size, heard = self._awaited
            if text in self.received and len(self.received) >= size:
                self._awaited = None
                heard.callback(None)

    async def hears(self, text: bytes, size: int = 0) -> bytes:
        """Wait for a text, and for so many bytes; return what came."""
        heard: Deferred[None] = Deferred()
        self._awaited = text, size, heard
        self._look()
        await heard
        received, self.received = self.received, b""
        return received


class _Finder:
    """(`elsewhere.Finder`)"""

    def __init__(self, elsewhere: Elsewhere | None) -> None:
        self.elsewhere = elsewhere

    async def find(self, bare: str) -> Elsewhere | None:
        return self.elsewhere

    async def claim(self, bare: str) -> Elsewhere | None:
        return self.elsewhere


class RealPipeTest(unittest.TestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        for name in ("edge", "holder"):
            (directory / name).mkdir(parents=True)
        self.directory = directory
        self.edge, self.holder = Lab(directory / "edge"), Lab(directory / "holder")
        self.edge.clients.plaintext_from_loopback = True

    def tls(self) -> InternalTLS:
        authority = make_authority()
        trusted, _key = authority.write(self.directory, "ca")
        tls = InternalTLS(trusted, *make_certificate(authority, "node").write(self.directory, "node"))
        tls.load()
        return tls

    async def listened(self, factory: Factory, tls: InternalTLS | None) -> str:
        """Have a factory listen; return the address."""
        if tls is None:
            directory = mkdtemp()
            self.addCleanup(rmtree, directory)
            address = f"{directory}/socket"
            listener = await UNIXServerEndpoint(reactor, address).listen(factory)
        else:
            listener, number = listening(factory)
            address = f"127.0.0.1:{number}"
        self.addCleanup(listener.stopListening)
        return address

    async def connected(self, tls: InternalTLS | None) -> tuple[Listener, Upstream]:
        """Return a client in session, by an edge, and its server."""
        port = InternalPort(self.holder.clients, ThisProcess(lambda: 7, lambda _bare: True), tls)
        self.holder.context.cluster = Cluster(_Finder(None), EdgePipes(dialler(reactor, tls), self.holder.clock))
        finder = _Finder(Elsewhere(7, 1, await self.listened(port, tls), "node-b"))
        self.edge.context.cluster = Cluster(finder, EdgePipes(dialler(reactor, tls), self.edge.clock))
        door, number = listening(ClientFactory(self.edge.clients, Listen(endpoint="tcp:0")))
        self.addCleanup(door.stopListening)
        client = Listener()
        bottom = SecurableConnection(client)
        await connectProtocol(TCP4ClientEndpoint(reactor, "127.0.0.1", number), bottom)
        self.addCleanup(self.ended, client)
        return client, await self.in_session(client)

    async def ended(self, client: Listener) -> None:
        gone: Any = self.edge.clients.when_empty()
        there = self.holder.clients.when_empty()
        client.transport.abortConnection()
        await gone
        await there

    async def in_session(self, client: Listener) -> Upstream:
        client.transport.write(NAMED)
        await client.hears(b"</stream:features>")
        client.transport.write(plain() + b" ")
        while not self.holder.logins:
            await self.turn()
        there = Upstream(self.holder)
        there.accept_login()
        await client.hears(b"<success")
        client.transport.write(HEADER)
        while not there.upstream.value():
            await self.turn()
        there.serve(SERVER_HEADER + PLAIN_FEATURES)
        self.holder.clock.advance(0)
        await client.hears(b"</stream:features>")
        there.upstream.take()
        return there

    async def turn(self) -> None:
        """A turn of the reactor, and of the clocks that stand still otherwise."""
        passed: Deferred[None] = Deferred()
        reactor.callLater(0, passed.callback, None)
        await passed
        self.holder.clock.advance(0)
        self.edge.clock.advance(0)

    async def test_nothing_is_logged_of_how_it_connects(self) -> None:
        """An operator has no use for two lines about factories with each client that is handed over."""
        for tls in (None, self.tls()):
            there, here = Listener(), Listener()
            address = await self.listened(Factory.forProtocol(partial(SecurableConnection, there)), tls)
            with capturedLogs() as events:
                bottom = await dialler(reactor, tls)(address, SecurableConnection(here))
                bottom.transport.abortConnection()
                await here.over
                await there.over
            said = [formatEvent(event) for event in events if event["log_level"] is not LogLevel.debug]
            self.assertEqual(said, [])

    async def both_ways(self, tls: InternalTLS | None) -> None:
        client, there = await self.connected(tls)
        client.transport.write(MESSAGE * MANY)
        sent = b""
        while len(sent) < len(MESSAGE) * MANY:
            sent += there.upstream.take()
            await self.turn()
        self.assertEqual(sent, MESSAGE * MANY)
        for _number in range(MANY):
            there.serve(MESSAGE)
            await self.turn()
        self.assertEqual(await client.hears(MESSAGE, len(MESSAGE) * MANY), MESSAGE * MANY)

    async def test_both_ways_by_unix_socket(self) -> None:
        await self.both_ways(None)

    async def test_both_ways_by_tls(self) -> None:
        await self.both_ways(self.tls())

    async def slow_client(self, tls: InternalTLS | None) -> None:
        """The server is read no more in the end, and goes on when the client does."""
        client, there = await self.connected(tls)
        client.transport.pauseProducing()
        served = 0
        while there.upstream.producerState != "paused":
            there.serve(MESSAGE)
            served += 1
            await self.turn()
            self.assertLess(served, 20_000)
        client.transport.resumeProducing()
        while there.upstream.producerState == "paused":
            await self.turn()
        self.assertEqual(await client.hears(MESSAGE, len(MESSAGE) * served), MESSAGE * served)

    async def test_slow_client_by_unix_socket(self) -> None:
        await self.slow_client(None)

    async def test_slow_client_by_tls(self) -> None:
        await self.slow_client(self.tls())

    async def test_holder_gone(self) -> None:
        client, _there = await self.connected(self.tls())
        (stream,) = self.holder.clients._streams
        stream.transport.abortConnection()
        await client.over
        self.assertNotIn(b"</stream:stream>", client.received)
