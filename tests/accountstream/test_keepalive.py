"""Whether the other end is there: asked after silence, given up after as much again. By a clock in hand."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.accountstream.keepalive import Keepalive

INTERVAL = 8.0


class KeepaliveTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.pings: list[float] = []
        self.silent: list[float] = []
        self.keepalive = Keepalive(self.clock, INTERVAL, self.pinged, self.silent.append)
        self.keepalive.start()

    def pinged(self) -> None:
        self.pings.append(self.clock.seconds() - 1000)

    def test_silent(self) -> None:
        self.clock.pump([1.0] * 15)
        self.assertEqual((self.pings, self.silent), ([INTERVAL], []))
        self.clock.advance(1)
        self.assertEqual((self.pings, self.silent), ([INTERVAL], [2 * INTERVAL]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_heard(self) -> None:
        """A word puts the ping off, and an answer counts however late it is."""
        self.clock.advance(5)
        self.keepalive.heard()
        self.clock.pump([1.0] * 15)
        self.assertEqual((self.pings, self.silent), ([5 + INTERVAL], []))
        self.keepalive.heard()
        self.clock.pump([1.0] * 15)
        self.assertEqual((self.pings, self.silent), ([5 + INTERVAL, 20 + INTERVAL], []))

    def test_a_process_that_stood_still(self) -> None:
        """It has heard nothing; but nor has it asked."""
        self.clock.advance(100 * INTERVAL)
        self.assertEqual((len(self.pings), self.silent), (1, []))
        self.clock.advance(INTERVAL)
        self.assertEqual(self.silent, [101 * INTERVAL])

    def test_an_answer_within_the_ping(self) -> None:
        """The other end may be quick."""
        keepalive = Keepalive(self.clock, INTERVAL, lambda: keepalive.heard(), self.silent.append)
        self.keepalive.stop()
        keepalive.start()
        self.clock.pump([1.0] * 100)
        self.assertEqual(self.silent, [])

    def test_stopped(self) -> None:
        self.keepalive.stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])
