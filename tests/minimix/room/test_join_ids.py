"""Ids of joins: which answer belongs to which, and that nobody else can tell anything by them."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.room.join_ids import JoinIds


class JoinIdsTests(SynchronousTestCase):
    def test_errors(self) -> None:
        ids = JoinIds(Clock())
        self.assertFalse(ids.is_latest(None))
        first = ids.next()
        self.assertTrue(ids.is_latest(first))
        second = ids.next()
        found = [ids.is_latest(one) for one in (first, second, None, "", second[:-1], JoinIds(Clock()).next())]
        self.assertEqual(found, [False, True, False, False, False, False])

    def test_own_presences(self) -> None:
        """All but what answers a join of another occupancy."""
        ids, other = JoinIds(Clock()), JoinIds(Clock())
        first, second = ids.next(), ids.next()
        found = [ids.may_be_answered_by(one) for one in (first, second, None, "", "x" * 32, "é" * 32, other.next())]
        self.assertEqual(found, [True, True, True, True, True, True, False])

    def test_nothing_in_common(self) -> None:
        one = JoinIds(Clock())
        ids = [one.next() for _ in range(50)] + [JoinIds(Clock()).next() for _ in range(50)]
        self.assertEqual(len(set(ids)), 100)
        for place in range(32):
            self.assertGreater(len({text[place] for text in ids}), 5)
