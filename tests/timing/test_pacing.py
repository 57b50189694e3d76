"""Doing a little at a time."""

from __future__ import annotations

from collections import Counter
from functools import partial

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.timing.pacing import Pacer, Slot, Slots


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


class TurnsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.turns = Slots(self.clock, 10, 10, 3)
        self.begun: list[str] = []

    def ask(self, name: str, urgent: bool = False) -> Slot:
        turn = self.turns.turn(lambda: self.begun.append(name))
        turn.ask(urgent=urgent)
        return turn

    def test_so_many_at_once(self) -> None:
        turns = [self.ask(name) for name in "abcde"]
        self.assertEqual(self.begun, ["a", "b", "c"])
        turns[1].end()
        turns[1].end()
        self.assertEqual(self.begun, ["a", "b", "c", "d"])
        turns[0].end()
        self.assertEqual(self.begun, ["a", "b", "c", "d", "e"])

    def test_the_urgent_first(self) -> None:
        first = [self.ask(name) for name in "abc"]
        patient = self.ask("p")
        self.ask("q")
        self.ask("u", urgent=True)
        self.ask("v", urgent=True)
        for turn in first:
            turn.end()
        self.assertEqual(self.begun, ["a", "b", "c", "u", "v", "p"])
        patient.end()
        self.assertEqual(self.begun[-1], "q")

    def test_who_gets_into_a_hurry_begins_once(self) -> None:
        first = [self.ask(name) for name in "abc"]
        self.ask("p")
        late = self.ask("q")
        for _ in range(3):
            late.ask(urgent=True)
        for turn in first:
            turn.end()
        self.assertEqual(self.begun, ["a", "b", "c", "q", "p"])

    def test_who_has_given_up_is_passed_over(self) -> None:
        first = [self.ask(name) for name in "abc"]
        self.ask("p").end()
        self.ask("q")
        first[0].end()
        self.assertEqual(self.begun, ["a", "b", "c", "q"])

    def test_one_that_fails_holds_up_nobody(self) -> None:
        for _ in range(2):
            self.turns.turn(fail).ask()
        self.ask("a")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)
        self.assertEqual(self.begun, ["a"])

    def test_work_that_ends_at_once_keeps_the_pace(self) -> None:
        starts: Counter[int] = Counter()
        turns: list[Slot] = []

        def work() -> None:
            starts[int(self.clock.seconds())] += 1
            turns.pop(0).end()

        for _ in range(100):
            turns.append(self.turns.turn(work))
        for turn in list(turns):
            turn.ask()
        self.clock.pump([0.1] * 100)
        self.assertEqual(sum(starts.values()), 100)
        self.assertLessEqual(max(starts.values()), 20)

    def test_stop(self) -> None:
        first = [self.ask(name) for name in "abc"]
        self.ask("p")
        self.turns.stop()
        first[0].end()
        self.ask("q")
        self.clock.advance(10)
        self.assertEqual((self.begun, self.clock.getDelayedCalls()), (["a", "b", "c"], []))
