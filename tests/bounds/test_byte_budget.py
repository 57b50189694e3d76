"""Budgets of bytes, alone and below another."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget


class Budgets(SynchronousTestCase):
    def test_up_to_the_limit(self) -> None:
        budget = ByteBudget(100)
        taken = [budget.take(size) for size in (60, 41, 40, 1)]
        self.assertEqual(taken, [True, False, True, False])
        budget.give_back(60)
        self.assertEqual((budget.take(60), budget.used), (True, 100))

    def test_that_it_is_used_up_is_told_once(self) -> None:
        budget = ByteBudget(100)
        self.assertEqual([budget.first_report() for _ in range(3)], [True, False, False])

    def test_what_is_its_own_is_there_whatever_others_use(self) -> None:
        account = ByteBudget(100)
        hostile, room = ByteBudget(1000, account, 10), ByteBudget(1000, account, 10)
        self.assertEqual((hostile.take(110), account.used), (True, 100))
        self.assertEqual([hostile.take(1), room.take(10), room.take(1)], [False, True, False])
        hostile.close()
        self.assertEqual((room.take(100), account.used, hostile.used), (True, 100, 0))

    @given(st.lists(st.tuples(st.integers(0, 1), st.booleans(), st.integers(0, 60)), max_size=60))
    def test_always_within_bounds(self, steps: "list[tuple[int, bool, int]]") -> None:
        account = ByteBudget(100)
        rooms = [ByteBudget(90, account, 20), ByteBudget(90, account, 20)]
        for which, takes, size in steps:
            room = rooms[which]
            if takes:
                room.take(size)
            else:
                room.give_back(min(size, room.used))
            self.assertTrue(0 <= room.used <= 90)
            self.assertEqual(account.used, sum(max(0, room.used - 20) for room in rooms))
            self.assertLessEqual(account.used, 100)
