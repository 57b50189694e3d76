"""Long work in slices."""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.timing.slices import in_slices
from tests.timing.turns import Turns


class SlicesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Turns()
        self.taken: list[int] = []

    def steps(self, *works: int) -> Iterator[int]:
        for work in works:
            self.taken.append(work)
            yield work

    def turn(self) -> list[int]:
        """Run one turn; return what was done in it."""
        before = len(self.taken)
        self.clock.turn()
        return self.taken[before:]

    def test_a_little_is_done_at_once(self) -> None:
        for works in ((), (3,), (1, 1, 1)):
            self.successResultOf(in_slices(self.clock, self.steps(*works), 4))
        self.assertEqual((self.taken, self.clock.getDelayedCalls()), ([3, 1, 1, 1], []))

    def test_much_is_done_turn_by_turn(self) -> None:
        done = in_slices(self.clock, self.steps(1, 2, 3, 4, 9, 1), 4)
        self.assertEqual(self.taken, [1, 2, 3])
        self.assertEqual([self.turn(), self.turn()], [[4], [9]])
        self.assertNoResult(done)
        self.assertEqual(self.turn(), [1])
        self.assertIsNone(self.successResultOf(done))

    @given(st.lists(st.integers(0, 9)), st.integers(1, 9))
    def test_every_step_is_taken_once_and_no_slice_is_too_long(self, works: list[int], most: int) -> None:
        self.setUp()
        done = in_slices(self.clock, self.steps(*works), most)
        slices = [list(self.taken)]
        while self.clock.getDelayedCalls():
            slices.append(self.turn())
        self.successResultOf(done)
        self.assertEqual(self.taken, works)
        for one in slices:
            self.assertLess(sum(one[:-1]), most)

    def test_two_at_a_time_take_turns(self) -> None:
        one, other = (in_slices(self.clock, self.steps(work, work), 1) for work in (1, 2))
        self.assertEqual(self.taken, [1, 2])
        self.assertEqual(self.turn(), [1, 2])
        self.turn()
        self.successResultOf(one)
        self.successResultOf(other)

    def test_a_fault_is_told_whoever_waits(self) -> None:
        def failing() -> Iterator[int]:
            yield 1
            raise KeyError

        self.failureResultOf(in_slices(self.clock, failing(), 2), KeyError)
        later = in_slices(self.clock, failing(), 1)
        self.assertNoResult(later)
        self.turn()
        self.failureResultOf(later, KeyError)

    def test_nobody_waits_any_more(self) -> None:
        done = in_slices(self.clock, self.steps(1, 1, 1), 1)
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual((self.turn(), self.clock.getDelayedCalls(), self.taken), ([], [], [1]))

    def test_cancelled_by_one_of_its_steps(self) -> None:
        """Whoever waits may be gone by what a step does."""

        def steps() -> Iterator[int]:
            yield 1
            done.cancel()
            yield 1
            self.taken.append(1)

        done = in_slices(self.clock, steps(), 1)
        self.turn()
        self.failureResultOf(done, CancelledError)
        self.assertEqual((self.turn(), self.taken, self.clock.getDelayedCalls()), ([], [], []))
