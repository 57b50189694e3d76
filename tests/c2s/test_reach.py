"""How far what was written to a client has come, on real sockets of loopback."""

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.reach import CROSSING, EVERYTHING, Reach


class ReachTests(SynchronousTestCase):
    """A client with a small receive buffer that takes in what it is told to."""

    def setUp(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        self.client = socket.socket()
        self.client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.client.connect(listener.getsockname())
        self.server, _ = listener.accept()
        self.server.setblocking(False)
        for each in (listener, self.client, self.server):
            self.addCleanup(each.close)
        self.transport: Any = tcp.Connection(self.server, Protocol(), MemoryReactor())
        self.transport.connected = True
        self.clock = Clock()
        self.reach = Reach(self.transport, self.clock)

    def note(self, time: float, size: int) -> None:
        self.clock.advance(time - self.clock.seconds())
        self.reach.wrote(size)

    def write(self, time: float, size: int) -> None:
        self.note(time, size - 22)
        self.server.sendall(b"x" * size)

    def test_all(self) -> None:
        self.write(1, 500)
        self.assertEqual(self.client.recv(1000), b"x" * 500)
        self.assertEqual(self.reach.until(), EVERYTHING)

    def test_nothing_written(self) -> None:
        self.assertEqual(self.reach.until(), EVERYTHING)

    def test_a_client_that_reads_nothing(self) -> None:
        for time in range(0, 300, 3):
            self.write(time, 1000)
        until = self.reach.until()
        self.assertTrue(0 <= until < 30, until)  # what its kernel takes in for it

    def test_what_waits_in_the_process_counts(self) -> None:
        self.write(1, 500)
        self.client.recv(1000)
        self.note(5, 500)
        self.transport.write(b"x" * 522)
        self.assertEqual(self.reach.until(), 1)

    def test_after_the_connection_was_lost(self) -> None:
        for time in range(0, 300, 3):
            self.write(time, 1000)
        before = self.reach.until()
        self.client.close()  # with bytes unread: a reset
        self.transport.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.reach.until(), before)

    def test_more_than_is_remembered(self) -> None:
        self.transport.write(b"x" * 1_000_000)
        for time in range(0, 1000, 2):
            self.note(time, 500)
        self.assertEqual(self.reach.until(), 699)

    def test_writes_of_two_seconds_are_one(self) -> None:
        for time in (1, 1.5, 2.9, 3):
            self.note(time, 500)
        self.transport.write(b"x" * 522)
        self.assertEqual(self.reach.until(), 2.9)

    def test_what_a_relay_acknowledges_counts_for_nothing(self) -> None:
        """Nor what is on a transport that cannot be asked: what counts is when the client spoke."""
        for reach in (Reach(self.transport, self.clock, relayed=True), Reach(object(), self.clock)):
            self.reach = reach
            start = self.clock.seconds()
            self.assertEqual(reach.until(), EVERYTHING, "nothing was written")
            self.note(start + 10, 100)
            self.assertLess(reach.until(), start + 10)
            self.note(start + 20, 100)
            self.clock.advance(CROSSING / 2)
            reach.heard()
            self.assertTrue(start + 10 < reach.until() < start + 20)
            self.clock.advance(CROSSING)
            reach.heard()
            self.assertEqual(reach.until(), EVERYTHING)
            self.note(start + 30, 100)
            self.assertTrue(start + 20 < reach.until() < start + 30)
            self.clock.advance(1000)
            self.assertTrue(start + 20 < reach.until() < start + 30)

    def test_a_relay_that_acknowledged_everything(self) -> None:
        self.reach = Reach(self.transport, self.clock, relayed=True)
        self.reach.heard()
        self.write(100, 500)
        self.assertEqual(self.client.recv(1000), b"x" * 500)
        self.client.close()
        self.transport.connectionLost(Failure(ConnectionLost()))
        self.assertLess(self.reach.until(), 1)
