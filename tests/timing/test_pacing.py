"""Doing a little at a time."""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.timing.pacing import Pacer


def fail() -> None:
    raise RuntimeError


class PacerTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.called: list[object] = []

    def note(self, number: int) -> None:
        self.called.append((number, self.clock.seconds()))

    def test_burst_then_pace_in_order(self) -> None:
        pacer = Pacer(self.clock, 4, 3)
        for number in range(6):
            pacer.ask(partial(self.note, number))
        self.clock.pump([0.125] * 10)
        self.assertEqual(self.called, [(0, 0), (1, 0), (2, 0), (3, 0.25), (4, 0.5), (5, 0.75)])
        self.assertEqual((len(pacer), self.clock.getDelayedCalls()), (0, []))

    def test_each_has_its_turn(self) -> None:
        """Who comes last waits for one of each, and not for all that another one has asked for."""
        pacer = Pacer(self.clock, 10, 1)
        for whose in ("a", "a", "a", "b", "a", "c", "b"):
            pacer.ask(partial(self.called.append, whose), whose)
        self.assertEqual(len(pacer), 6)
        self.clock.pump([0.125] * 6)
        self.assertEqual((self.called, len(pacer)), (list("aabcaba"), 0))

    def test_no_more_than_a_burst_after_a_long_rest(self) -> None:
        pacer = Pacer(self.clock, 10, 3)
        self.clock.advance(1000)
        for _ in range(6):
            pacer.ask(lambda: self.called.append(None))
        self.assertEqual((len(self.called), len(pacer)), (3, 3))

    def test_a_call_that_fails_holds_up_nobody(self) -> None:
        pacer = Pacer(self.clock, 10, 1)
        pacer.ask(fail)
        pacer.ask(fail)
        pacer.ask(lambda: self.called.append(None))
        self.clock.pump([0.1] * 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertEqual(self.called, [None])

    def test_a_clock_set_back(self) -> None:
        pacer = Pacer(self.clock, 10, 1)
        self.clock.advance(1000)
        pacer.ask(lambda: self.called.append(1))
        self.clock.rightNow -= 900
        pacer.ask(lambda: self.called.append(2))
        self.clock.advance(0.1)
        self.assertEqual(self.called, [1, 2])

    def test_stop(self) -> None:
        pacer = Pacer(self.clock, 10, 1)
        pacer.ask(lambda: None)
        pacer.ask(lambda: self.called.append(None))
        pacer.stop()
        self.clock.advance(1)
        self.assertEqual((self.called, self.clock.getDelayedCalls()), ([], []))
