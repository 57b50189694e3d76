"""A read that takes long is handled in slices, in order, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.xmlstream import Authenticator
from twisted.words.xish.xmlstream import STREAM_END_EVENT, STREAM_ERROR_EVENT

from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.timing.turn_shares import TURN
from minimixproxy.wire.events import Fault
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import SLICE, FramedXmlStream
from tests.minimix.fakes import HEADER
from tests.timing.turns import next_turn


class CountingTurn(TurnEnd):
    """Notes what is handled between the beginning and the end of each turn."""

    def __init__(self, clock: Clock, handled: list[str]) -> None:
        super().__init__(clock)
        self.slices: list[list[str]] = []
        self._handled = handled

    def begin(self) -> None:
        super().begin()
        self._handled.clear()

    def end(self) -> None:
        super().end()
        self.slices.append(list(self._handled))


class SliceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.now = 1000.0  # not 0, at which now - then and now + then are the same
        self.cost = SLICE / 2  # of each stanza, in seconds
        self.handled: list[str] = []
        self.turn = CountingTurn(self.clock, self.handled)
        self.turn.shares.stopwatch = lambda: self.now
        self.transport = StringTransport()
        self.stream = FramedXmlStream(Authenticator())
        self.stream.stopwatch = lambda: self.now
        self.stream.makeConnection(self.transport)
        self.stream.dataReceived(HEADER)
        self.stream.read_in_slices(self.turn)
        self.stream.addObserver("/*", self.take)
        self.meanwhile: Callable[[], object] = lambda: None

    def take(self, stanza: Stanza) -> None:
        self.handled.append(stanza["id"])
        self.now += self.cost
        self.meanwhile()

    def receive(self, *ids: int) -> None:
        self.stream.dataReceived(b"".join(b"<iq id='%d'/>" % number for number in ids))

    @property
    def paused(self) -> bool:
        return bool(self.transport.producerState == "paused")

    def test_what_is_quick_is_one_slice(self) -> None:
        self.cost = 0.0
        self.receive(*range(100))
        self.assertEqual([len(one) for one in self.turn.slices], [100])
        self.assertEqual((self.clock.getDelayedCalls(), self.paused), ([], False))

    def test_in_order_and_the_server_is_not_read_meanwhile(self) -> None:
        self.receive(1, 2, 3)
        self.assertEqual((self.turn.slices, self.paused), ([["1", "2"]], True))
        self.receive(4, 5)  # what TLS had still to give
        self.assertEqual(self.turn.slices, [["1", "2"]])
        self.clock.advance(0)
        self.assertEqual((self.turn.slices, self.paused), ([["1", "2"], ["3", "4"], ["5"]], False))

    def test_one_that_takes_longer_than_a_slice(self) -> None:
        self.cost = 10 * SLICE
        self.receive(1, 2)
        self.clock.advance(0)
        self.assertEqual(self.turn.slices, [["1"], ["2"]])

    def test_what_came_before_the_end_counts(self) -> None:
        said: list[str] = []
        self.stream.addObserver("/*", lambda stanza: said.append(stanza["id"]))
        self.stream.addObserver(STREAM_END_EVENT, lambda _reason: said.append("end"))
        self.receive(1, 2, 3, 4, 5)
        self.stream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(said, ["1", "2", "3", "4", "5", "end"])
        self.clock.advance(0)
        self.assertEqual(len(said), 6)

    def test_a_fault_before_the_end(self) -> None:
        """Who does not hear of the end waits for ever."""
        said: list[str] = []
        self.stream.addObserver(STREAM_END_EVENT, lambda _reason: said.append("end"))
        self.receive(1, 2, 3)

        def fault(_event: object) -> None:
            raise ZeroDivisionError

        self.patch(self.stream, "dispatch_event", fault)
        with self.assertRaises(ZeroDivisionError):
            self.stream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(said, ["end"])

    def test_the_connection_is_lost_within_a_slice(self) -> None:
        def lost() -> None:
            if self.handled[-1] == "1":
                self.stream.connectionLost(Failure(ConnectionDone()))

        self.meanwhile = lost
        self.receive(1, 2, 3)
        self.clock.advance(0)
        self.assertEqual((self.handled, self.paused), (["1", "2", "3"], False))

    def test_a_fault_of_an_observer_keeps_the_rest(self) -> None:
        def fault() -> None:
            if self.handled[-1] == "1":
                raise RuntimeError

        self.meanwhile = fault
        self.receive(1, 2)
        self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertIn(["2"], [one[-1:] for one in self.turn.slices])

    def test_a_fault_in_the_last_slice_leaves_the_stream_open(self) -> None:
        self.receive(1, 2, 3)
        self.assertTrue(self.paused)

        def fault(_event: object) -> None:
            raise RuntimeError

        self.patch(self.stream, "dispatch_event", fault)
        self.clock.advance(0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertFalse(self.paused)


class TogetherTests(SynchronousTestCase):
    """All streams together take no longer in one turn of the reactor than one could."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.now = self.begun = 1000.0
        self.turn = TurnEnd(self.clock)
        self.turn.shares.stopwatch = lambda: self.now
        self.handled: list[str] = []
        self.streams = [self.stream() for _ in range(20)]

    def stream(self) -> FramedXmlStream:
        stream = FramedXmlStream(Authenticator())
        stream.stopwatch = lambda: self.now
        stream.makeConnection(StringTransport())
        stream.dataReceived(HEADER)
        stream.read_in_slices(self.turn)
        stream.addObserver("/*", self.take)
        return stream

    def take(self, stanza: Stanza) -> None:
        self.handled.append(stanza["id"])
        self.now += SLICE / 4

    def receive(self, stream: int, *ids: int) -> None:
        self.streams[stream].dataReceived(b"".join(b"<iq id='%d.%d'/>" % (stream, number) for number in ids))

    def paused(self) -> list[bool]:
        return [stream.transport.producerState == "paused" for stream in self.streams]

    def most_in_a_turn(self) -> float:
        most = 0.0
        while self.clock.getDelayedCalls():
            begun = self.now
            next_turn(self.clock)
            most = max(most, self.now - begun)
        return most

    def test_much_for_each(self) -> None:
        for number in range(len(self.streams)):
            self.receive(number, *range(30))
        self.assertLess(self.now - self.begun, TURN + 1.1 * SLICE)
        self.assertTrue(all(self.paused()))
        self.assertLess(self.most_in_a_turn(), TURN + 1.1 * SLICE)
        self.assertFalse(any(self.paused()))
        for number in range(len(self.streams)):
            own = [one for one in self.handled if one.startswith(f"{number}.")]
            self.assertEqual(own, [f"{number}.{each}" for each in range(30)])

    def test_who_says_little_does_not_wait_for_all(self) -> None:
        for number in range(10):
            self.receive(number, *range(100))
        for _ in range(5):
            next_turn(self.clock)
        self.receive(10, 1)
        next_turn(self.clock)
        next_turn(self.clock)
        self.assertIn("10.1", self.handled)

    def test_what_waits_is_not_read_until_its_turn(self) -> None:
        """Nor does a fault in it end the stream before what stands before it was handled."""
        for number in range(5):
            self.receive(number, *range(30))
        self.streams[9].dataReceived(b"<iq id='9.1'/><iq id='9.2'")
        self.streams[9].dataReceived(b"/></wrong>")
        self.assertNotIn("9.1", self.handled)
        self.assertFalse(self.streams[9].transport.disconnected)
        self.most_in_a_turn()
        self.assertEqual([one for one in self.handled if one.startswith("9.")], ["9.1", "9.2"])

    def test_the_end_of_one_that_waits(self) -> None:
        for number in range(6):
            self.receive(number, *range(30))
        self.streams[5].connectionLost(Failure(ConnectionDone()))
        self.assertEqual([one for one in self.handled if one.startswith("5.")], [f"5.{each}" for each in range(30)])
        self.most_in_a_turn()
        self.assertEqual(len(self.handled), 6 * 30)


class ErrorTests(SynchronousTestCase):
    def test_a_stream_error_that_cannot_be_read(self) -> None:
        """Twisted makes a tree of it, which raises if that would be too large: it ends the stream all the same."""
        stream = FramedXmlStream(Authenticator(), FramingLimits(1024**2, skips=True))
        stream.makeConnection(StringTransport())
        errors: list[Fault] = []
        stream.addObserver(STREAM_ERROR_EVENT, errors.append)
        stream.dataReceived(HEADER + b"<stream:error>" + b"<a/>" * 10_001 + b"</stream:error>")
        self.assertEqual([error.condition for error in errors], ["undefined-condition"])
        self.assertTrue(stream.transport.disconnected or stream.transport.disconnecting)
