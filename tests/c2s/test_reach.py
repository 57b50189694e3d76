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

from minimixproxy.c2s.reach import CROSSING, EACH, EVERYTHING, Reach


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
        self.note(time, size)
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
        self.transport.write(b"x" * 500)
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

    def waiting(self, size: int) -> None:
        """So many bytes are on their way."""
        self.transport._tempDataLen = size

    def test_a_write_has_come_when_all_of_it_has(self) -> None:
        """However little of it is missing: that is the end of a message, or a whole one."""
        for time, size in ((10, 1000), (11, 300), (11.5, 300), (11.9, 300)):
            self.note(time, size)
        for waiting, until in ((0, EVERYTHING), (1, 11.5), (300, 11.5), (301, 11), (600, 11), (601, 10), (901, 9)):
            self.waiting(waiting)
            self.assertEqual(self.reach.until(), until, waiting)

    def test_what_tls_adds_to_each_record(self) -> None:
        self.reach = Reach(self.transport, self.clock, overhead=22)
        for time, size in ((10, 100), (20, 16384), (30, 16385), (40, 1), (50, 1)):
            self.note(time, size)
        fifth, fourth = 1 + 22, 2 * (1 + 22)
        third = fourth + 16385 + 2 * 22
        second = third + 16384 + 22
        for waiting, until in ((fifth, 40), (fourth, 30), (third, 20), (second, 10)):
            self.waiting(waiting)
            self.assertEqual(self.reach.until(), until, waiting)
            self.waiting(waiting + 1)
            self.assertLess(self.reach.until(), until, waiting)

    def test_of_long_ago_what_was_written_within_two_seconds_counts_as_one(self) -> None:
        times = [1, 1.5, 2.9, 3, 10, 11.9, 12, 13.9]
        for time in times:
            self.note(time, 100)
        for number in range(EACH):
            self.note(100 + number, 1)
        for behind, until in (
            (0, 13.9),
            (1, 11.9),
            (200, 11.9),
            (201, 3),
            (400, 3),
            (401, 2.9),
            (500, 2.9),
            (501, 1.9),
        ):
            self.waiting(EACH + behind)
            self.assertEqual(self.reach.until(), until, behind)

    def test_when_something_was_written_last(self) -> None:
        self.assertEqual(self.reach.last_write, -EVERYTHING)
        self.note(10, 1)
        self.clock.advance(5)
        self.assertEqual(self.reach.last_write, 10)

    def test_on_its_way_before_anything_was_noted(self) -> None:
        self.transport._tempDataLen = 100
        self.assertEqual(self.reach.until(), EVERYTHING)

    def test_part_of_what_waits_is_gone_already(self) -> None:
        """Twisted keeps the whole buffer until it has sent it: what counts is behind its offset."""
        self.note(10, 500)
        self.note(20, 500)
        self.transport.dataBuffer, self.transport.offset = b"x" * 1000, 500
        self.assertEqual(self.reach.until(), 10)
        self.transport.offset = 0
        self.assertEqual(self.reach.until(), 9)
        self.transport.offset = 1000
        self.assertEqual(self.reach.until(), EVERYTHING)

    def test_a_socket_that_cannot_be_asked(self) -> None:
        self.note(10, 500)
        self.server.close()
        self.assertEqual(self.reach.until(), EVERYTHING)
        self.waiting(100)
        self.assertEqual(self.reach.until(), 9)

    def test_twisted_learns_that_the_connection_is_lost(self) -> None:
        lost: list[Failure] = []
        self.transport.protocol.connectionLost = lost.append
        reason = Failure(ConnectionLost())
        self.transport.connectionLost(reason)
        self.assertEqual(lost, [reason])

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
