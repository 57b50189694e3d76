"""Writing past the reactor's queue, on real sockets."""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Factory
from twisted.trial import unittest
from zope.interface import providedBy

from minimixproxy.c2s.transport.connection import SecurableConnection, is_tcp
from minimixproxy.direct_transport import DirectTransport, direct, read_straight
from tests.c2s.fakeserver import listening
from tests.c2s.helpers import Recorder
from tests.wires import Wire


async def turn() -> None:
    pause: Deferred[None] = Deferred()
    reactor.callLater(0, pause.callback, None)
    await pause


class Expecting(Recorder):
    """Fires when so many bytes have come."""

    def __init__(self) -> None:
        super().__init__()
        self.expected = -1
        self.enough: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        super().dataReceived(data)
        if len(self.received) == self.expected:
            self.enough.callback(None)


class DirectTransportTest(unittest.TestCase):
    async def pair(self) -> tuple[Expecting, Expecting]:
        server, client = Expecting(), Expecting()
        factory = Factory.forProtocol(lambda: SecurableConnection(server))
        port, number = listening(factory)
        self.addCleanup(port.stopListening)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", number)
        await connectProtocol(endpoint, SecurableConnection(client))
        while not hasattr(server, "transport"):
            await turn()
        self.addCleanup(self.abort, server, client)
        return server, client

    def abort(self, *sides: Recorder) -> None:
        for side in sides:
            side.transport.abortConnection()

    async def test_used_for_tcp_only(self) -> None:
        server, _client = await self.pair()
        self.assertIsInstance(server.transport, DirectTransport)
        wire = Wire()
        self.assertIs(direct(wire), wire)

    async def test_tls_takes_over_no_interfaces(self) -> None:
        """They would be taken over one by one, for each connection; and it is TCP all the same."""
        server, _client = await self.pair()
        self.assertEqual(list(providedBy(server.transport)), [])
        self.assertTrue(is_tcp(server.transport))

    async def test_more_than_the_socket_takes_arrives_in_order(self) -> None:
        server, client = await self.pair()
        pieces = [os.urandom(size) for size in (10, 3_000_000, 1, 100_000, 5)]
        client.transport.pauseProducing()
        client.expected = sum(map(len, pieces))
        for piece in pieces:
            server.transport.write(piece)
        assert isinstance(server.transport, DirectTransport)
        server.transport.writeSequence([b"x", b"y"])
        client.expected += 2
        client.transport.resumeProducing()
        await client.enough
        self.assertEqual(client.received, b"".join(pieces) + b"xy")

    async def test_sent_before_the_turn_is_over(self) -> None:
        server, client = await self.pair()
        server.transport.write(b"now")
        assert isinstance(client.transport, DirectTransport)
        self.assertEqual(client.transport.socket.recv(10), b"now")

    async def test_everything_is_sent_before_closing(self) -> None:
        server, client = await self.pair()
        server.transport.write(b"x" * 5_000_000)
        server.transport.loseConnection()
        while client.reason is None:
            await turn()
        self.assertEqual(len(client.received), 5_000_000)

    async def test_a_broken_socket_is_reported_once_and_later(self) -> None:
        server, client = await self.pair()
        client.transport.abortConnection()
        while client.reason is None:
            await turn()
        for _ in range(10):
            server.transport.write(b"x" * 1000)
            self.assertIsNone(server.reason)
        while server.reason is None:
            await turn()
        server.transport.write(b"afterwards")


class ReadStraightTest(DirectTransportTest):
    """The same, and what is read goes past the protocol that the reactor knows."""

    async def pair(self) -> tuple[Expecting, Expecting]:
        server, client = await super().pair()
        for side in (server, client):
            assert isinstance(side.transport, DirectTransport)
            read_straight(side.transport._tcp, side.dataReceived)
        return server, client

    async def test_the_end(self) -> None:
        for how in ("loseConnection", "abortConnection"):
            server, client = await self.pair()
            client.expected = len(b"last words")
            server.transport.write(b"last words")
            await client.enough
            getattr(server.transport, how)()
            while client.reason is None:
                await turn()
            self.assertEqual(client.received, b"last words")

    async def test_for_tcp_only(self) -> None:
        wire = Wire()
        read_straight(wire, Recorder().dataReceived)
        self.assertFalse(hasattr(wire, "doRead"))
