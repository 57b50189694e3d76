"""How far what was written to a client has come, on real sockets of loopback."""

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactor
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session.acknowledgements import CROSSING, EACH, EVERYTHING, LATE, MAX_WRITES, Acknowledgements


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
        self.given = 0  # each write gives out one message more
        self.reach = Acknowledgements(self.transport, self.clock, lambda: self.given)

    def note(self, time: float, size: int, **more: bool) -> None:
        self.clock.advance(time - self.clock.seconds())
        self.given += 1
        self.reach.wrote(size, **more)

    def write(self, time: float, size: int) -> None:
        self.note(time, size)
        self.server.sendall(b"x" * size)

    def state(self) -> tuple[float, float]:
        return self.reach.until(), self.reach.since()

    def test_all(self) -> None:
        self.write(1, 500)
        self.assertEqual(self.client.recv(1000), b"x" * 500)
        self.assertEqual(self.state(), (EVERYTHING, EVERYTHING))

    def test_nothing_written(self) -> None:
        self.assertEqual(self.state(), (EVERYTHING, EVERYTHING))
        self.assertEqual(self.reach.question(), b"", "the kernel is asked, not the client")

    def test_a_client_that_reads_nothing(self) -> None:
        for time in range(0, 300, 3):
            self.write(time, 1000)
        until, since = self.state()
        self.assertTrue(0 <= until < 10, until)  # what its kernel takes in for it
        self.assertEqual(since, 3 * until)

    def test_what_waits_in_the_process_counts(self) -> None:
        self.write(1, 500)
        self.client.recv(1000)
        self.note(5, 500)
        self.transport.write(b"x" * 500)
        self.assertEqual(self.state(), (1, 5))

    def test_after_the_connection_was_lost(self) -> None:
        for time in range(0, 300, 3):
            self.write(time, 1000)
        before = self.state()
        self.client.close()  # with bytes unread: a reset
        self.transport.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.state(), before)

    def test_more_than_is_remembered(self) -> None:
        self.transport.write(b"x" * 1_000_000)
        for time in range(0, 1000, 2):
            self.note(time, 500)
        self.assertEqual(self.state(), (500 - MAX_WRITES, 1000 - 2 * MAX_WRITES))

    def waiting(self, size: int) -> None:
        """So many bytes are on their way."""
        self.transport._tempDataLen = size

    def test_a_write_has_come_when_all_of_it_has(self) -> None:
        """However little of it is missing: that is the end of a message, or a whole one."""
        for time, size in ((10, 1000), (11, 300), (11.5, 300), (11.9, 300)):
            self.note(time, size)
        for waiting, state in (
            (0, (EVERYTHING, EVERYTHING)),
            (1, (3, 11.9)),
            (300, (3, 11.9)),
            (301, (2, 11.5)),
            (600, (2, 11.5)),
            (601, (1, 11)),
            (901, (0, 10)),
        ):
            self.waiting(waiting)
            self.assertEqual(self.state(), state, waiting)

    def test_the_last_writes_are_known_one_by_one(self) -> None:
        """However many there are in a moment: what has arrived is not given again for what has not."""
        for _ in range(EACH):
            self.note(1, 500)
        for on_its_way in range(1, EACH):
            self.waiting(500 * on_its_way)
            self.assertEqual(self.state(), (EACH - on_its_way, 1))

    def test_what_tls_adds_to_each_record(self) -> None:
        self.reach = Acknowledgements(self.transport, self.clock, lambda: self.given, overhead=22)
        for time, size in ((10, 100), (20, 16384), (30, 16385), (40, 1), (50, 1)):
            self.note(time, size)
        fifth, fourth = 1 + 22, 2 * (1 + 22)
        third = fourth + 16385 + 2 * 22
        second = third + 16384 + 22
        for waiting, until in ((fifth, 4), (fourth, 3), (third, 2), (second, 1)):
            self.waiting(waiting)
            self.assertEqual(self.reach.until(), until, waiting)
            self.waiting(waiting + 1)
            self.assertLess(self.reach.until(), until, waiting)

    def test_what_frames_add(self) -> None:
        """By WebSocket a write becomes more than was given to it."""
        written = [0]
        self.reach.in_frames(lambda: written[0])
        for time, size in ((10, 126), (20, 104), (30, 33)):
            written[0] = size
            self.note(time, size - 26)
        for waiting, until in ((33, 2), (33 + 104, 1), (33 + 104 + 126, 0)):
            self.waiting(waiting)
            self.assertEqual(self.reach.until(), until, waiting)

    def test_of_long_ago_what_was_written_within_two_seconds_counts_as_one(self) -> None:
        times = [1, 1.5, 2.9, 3, 10, 11.9, 12, 13.9]
        for time in times:
            self.note(time, 100)
        for number in range(EACH):
            self.note(100 + number, 1)
        for behind, until in ((0, 8), (1, 6), (200, 6), (201, 4), (400, 4), (401, 3), (500, 3), (501, 0)):
            self.waiting(EACH + behind)
            self.assertEqual(self.reach.until(), until, behind)

    def test_what_was_given_out_with_the_last_write(self) -> None:
        self.assertEqual(self.reach.written, 0)
        self.note(10, 1)
        self.given += 1
        self.assertEqual(self.reach.written, 1)

    def test_on_its_way_before_anything_was_noted(self) -> None:
        self.waiting(100)
        self.assertEqual(self.reach.until(), EVERYTHING)

    def test_part_of_what_waits_is_gone_already(self) -> None:
        """Twisted keeps the whole buffer until it has sent it: what counts is behind its offset."""
        self.note(10, 500)
        self.note(20, 500)
        self.transport.dataBuffer, self.transport.offset = b"x" * 1000, 500
        self.assertEqual(self.reach.until(), 1)
        self.transport.offset = 0
        self.assertEqual(self.reach.until(), 0)
        self.transport.offset = 1000
        self.assertEqual(self.reach.until(), EVERYTHING)

    def test_a_socket_that_cannot_be_asked(self) -> None:
        self.note(10, 500)
        self.server.close()
        self.assertEqual(self.reach.until(), EVERYTHING)
        self.waiting(100)
        self.assertEqual(self.reach.until(), 0)

    def test_twisted_learns_that_the_connection_is_lost(self) -> None:
        lost: list[Failure] = []
        self.transport.protocol.connectionLost = lost.append
        reason = Failure(ConnectionLost())
        self.transport.connectionLost(reason)
        self.assertEqual(lost, [reason])

    def test_what_is_written_before_all_was(self) -> None:
        """Messages that wait behind a long replay were given out, and are not in this write."""
        self.note(1, 500)
        self.note(2, 500, everything=False)
        self.note(3, 500)
        self.transport.write(b"x" * 500)
        self.assertEqual(self.state(), (1, 3))

    def test_what_a_relay_acknowledges_counts_for_nothing(self) -> None:
        """Nor what is on a transport that cannot be asked: what counts is when the client spoke."""
        for reach in (
            Acknowledgements(self.transport, self.clock, lambda: self.given, relayed=True),
            Acknowledgements(object(), self.clock, lambda: self.given),
        ):
            self.given = 0
            self.reach = reach
            start = self.clock.seconds()
            self.assertEqual(self.state(), (EVERYTHING, EVERYTHING), "nothing was written")
            self.note(start + 10, 100)
            self.assertEqual(self.state(), (0, start + 10))
            self.note(start + 20, 100)
            self.clock.advance(CROSSING / 2)
            reach.heard()
            self.clock.advance(LATE)
            self.assertEqual(self.state(), (1, start + 20))
            self.clock.advance(CROSSING)
            reach.heard()
            self.clock.advance(LATE)
            self.assertEqual(self.state(), (EVERYTHING, EVERYTHING))
            for number in range(EACH + 10):
                self.note(start + 40 + number, 100)
            self.assertEqual(self.state(), (2, start + 41))
            self.clock.advance(1000)
            reach.heard()
            self.clock.advance(LATE)
            self.assertEqual(self.state(), (EVERYTHING, EVERYTHING))

    def test_words_that_come_with_the_end(self) -> None:
        """They may be late: nothing came through for a while, and the client has left meanwhile."""
        self.reach = Acknowledgements(self.transport, self.clock, lambda: self.given, relayed=True)
        self.note(10, 100)
        self.clock.advance(2)
        self.reach.heard()
        for time in range(30, 60, 10):
            self.note(time, 100)
        self.reach.heard()
        self.clock.advance(LATE / 2)
        self.reach.heard()
        self.assertEqual(self.reach.until(), 1)
        self.clock.advance(LATE / 2)
        self.assertEqual(self.reach.until(), EVERYTHING)

    def test_what_a_relay_has_not_got_has_not_arrived(self) -> None:
        """The client's words may have been on their way for long: nothing came through either way for a while."""
        wrapper: Any = ProtocolWrapper(WrappingFactory(Factory()), Protocol())  # as of `haproxy:`
        wrapper.transport = self.transport
        for transport in (self.transport, wrapper):
            self.given = 0
            start = self.clock.seconds()
            self.reach = Acknowledgements(transport, self.clock, lambda: self.given, relayed=True)
            for time in range(3, 300, 3):
                self.write(start + time, 1000)
            self.clock.advance(CROSSING)
            self.reach.heard()
            self.clock.advance(LATE)
            self.assertTrue(0 <= self.reach.until() < 10, self.reach.until())
            while self.reach.until() != EVERYTHING:
                self.client.recv(1000)
                self.reach.heard()

    def test_what_is_under_way_to_a_relay(self) -> None:
        """Since when, whatever the client has said: nothing comes through."""
        for relayed in (False, True):
            self.reach = Acknowledgements(self.transport, self.clock, lambda: self.given, relayed=relayed)
            self.assertEqual(self.reach.under_way_since(), EVERYTHING)
            start = self.clock.seconds()
            for number in range(1000):
                self.write(start + number, 1000)
            first = self.reach.under_way_since()
            self.assertTrue(start < first < start + 999, first - start)
            self.reach.heard()
            self.assertEqual(self.reach.under_way_since(), first)
            while self.reach.under_way_since() != EVERYTHING:
                self.client.recv(100_000)

    def test_a_relay_that_acknowledged_everything(self) -> None:
        self.reach = Acknowledgements(self.transport, self.clock, lambda: self.given, relayed=True)
        self.reach.heard()
        self.write(100, 500)
        self.assertEqual(self.client.recv(1000), b"x" * 500)
        self.client.close()
        self.transport.connectionLost(Failure(ConnectionLost()))
        self.assertEqual(self.reach.until(), 0)
