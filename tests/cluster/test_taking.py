"""Accounts of which it is not known whether the database has given them to this process."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.cluster.taking import MOST_UNSURE, UNSURE, Unsure


class UnsureTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.unsure = Unsure()
        self.unsure.add(["a@b", "c@d"], 1000.0)

    def test_for_a_while(self) -> None:
        self.assertEqual(self.unsure.due(1000.0), ["a@b", "c@d"])
        self.assertEqual(self.unsure.due(1000.0 + UNSURE - 1), ["a@b", "c@d"])
        self.assertEqual(self.unsure.due(1000.0 + UNSURE), [])

    def test_not_again_soon(self) -> None:
        self.unsure.asked_again("a@b", 1000.0)
        self.assertEqual(self.unsure.due(1000.0 + UNSURE / 2 - 1), ["c@d"])
        self.assertEqual(self.unsure.due(1000.0 + UNSURE / 2), ["a@b", "c@d"])

    def test_answered_and_then_unsure_again(self) -> None:
        """What was before does not count any more."""
        self.unsure.asked_again("a@b", 1000.0)
        self.unsure.discard("a@b")
        self.assertEqual(self.unsure.due(1001.0), ["c@d"])
        self.unsure.add(["a@b"], 1001.0)
        self.assertEqual(self.unsure.due(1001.0), ["c@d", "a@b"])

    def test_so_many(self) -> None:
        self.unsure.add([str(number) for number in range(MOST_UNSURE)], 1000.0)
        self.assertEqual(len(self.unsure.due(1000.0)), MOST_UNSURE)
