"""How many bytes the rooms of one account may have."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.room.budgets import Budgets


class BudgetsTests(SynchronousTestCase):
    def test_another_configuration_holds_for_the_next_room(self) -> None:
        settings = Rooms()
        budgets = Budgets(settings)
        before = budgets.room()
        settings.take_over(Rooms(room_memory=2 * settings.room_memory))
        self.assertEqual(budgets.room().limit, 2 * before.limit)
