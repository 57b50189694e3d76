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
from minimixproxy.wire.events import Fault
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import SLICE, FramedXmlStream
from tests.minimix.fakes import HEADER


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
        self.now = 0.0
        self.cost = SLICE / 2  # of each stanza, in seconds
        self.handled: list[str] = []
        self.turn = CountingTurn(self.clock, self.handled)
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
        self.assertRaises(RuntimeError, self.clock.advance, 0)
        self.assertFalse(self.paused)


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
