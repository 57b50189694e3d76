"""Waiting longer from failure to failure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.timing.backoff import Backoff


def even() -> float:
    return 0.5


class BackoffTests(SynchronousTestCase):
    def test_doubles_up_to_the_limit(self) -> None:
        waits = Backoff(3, 20, even)
        self.assertEqual([waits.next() for _ in range(6)], [3, 6, 12, 20, 20, 20])
        waits.reset()
        self.assertEqual([waits.next() for _ in range(2)], [3, 6])

    def test_varied_by_half(self) -> None:
        for chance, wait in ((0.0, 5), (1.0, 15)):
            self.assertEqual(Backoff(10, 100, lambda chance=chance: chance).next(), wait)  # type: ignore[misc]

    def test_bounds_that_change(self) -> None:
        """They hold as they are when it is asked: another configuration has its effect with the next wait."""
        first, limit = [4.0], [20.0]
        waits = Backoff(lambda: first[0], lambda: limit[0], even)
        self.assertEqual([waits.next() for _ in range(4)], [4, 8, 16, 20])
        limit[0] = 100
        self.assertEqual([waits.next() for _ in range(3)], [32, 64, 100])
        first[0] = 1
        self.assertEqual(waits.next(), 32)
        limit[0] = 2
        self.assertEqual(waits.next(), 2)
        waits.reset()
        self.assertEqual(waits.next(), 1)

    @given(st.floats(1e-3, 1e5), st.floats(1e-3, 1e5), st.integers(1, 3000))
    def test_however_often(self, first: float, limit: float, failures: int) -> None:
        waits = Backoff(first, limit, even)
        told = [waits.next() for _ in range(failures)]
        self.assertEqual(told, sorted(told))
        self.assertLessEqual(told[-1], limit)
