"""Waiting longer from failure to failure. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

#: Seconds that a connection has to last on which a stream was resumed, or the next one waits; and how long at most: a
#: server keeps only so much of what is said meanwhile (Prosody 500 stanzas).
LASTING, SOON = 10.0, 2.0

Seconds = float | Callable[[], float]  # or what returns how many there are now


class Backoff:
    """Waits that double from `first` to `limit` seconds, each varied by half so that many do not move in step."""

    __slots__ = ("_chance", "_doubled", "_first", "_limit")

    def __init__(self, first: Seconds, limit: Seconds, chance: Callable[[], float] = random.random) -> None:
        """`chance` returns a number from 0 to 1."""
        self._first = first
        self._limit = limit
        self._chance = chance
        self._doubled = 0

    def next(self) -> float:
        """Return how long to wait after one more failure, in seconds."""
        wait, limit = math.ldexp(_now(self._first), self._doubled), _now(self._limit)
        if wait < limit:
            self._doubled += 1
        return min(wait, limit) * (0.5 + self._chance())

    def reset(self) -> None:
        """It went well: the next failure is the first again."""
        self._doubled = 0


def _now(seconds: Seconds) -> float:
    return seconds() if callable(seconds) else seconds
