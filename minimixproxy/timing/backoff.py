"""Waiting longer from failure to failure. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable


class Backoff:
    """Waits that double from `first` to `limit` seconds, each varied by half so that many do not move in step."""

    def __init__(self, first: float, limit: float, chance: Callable[[], float] = random.random) -> None:
        """`chance` returns a number from 0 to 1."""
        self._first = first
        self._limit = limit
        self._chance = chance
        self._next = first

    def next(self) -> float:
        """Return how long to wait after one more failure, in seconds."""
        wait, self._next = self._next, min(self._limit, self._next * 2)
        return wait * (0.5 + self._chance())

    def reset(self) -> None:
        """It went well: the next failure is the first again."""
        self._next = self._first
