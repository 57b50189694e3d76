"""The pace at which sessions log in again when their server is back: all have lost it in the same moment."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.pacing import Slots

# What the sessions of one domain may demand of its server, beside its account streams. Users wait for them.
LOGINS_PER_SECOND = 50
LOGINS_AT_ONCE = 50
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds from one failure to the next attempt, varied by half


class Pace(NamedTuple):
    """What a session that logs in again goes by: its domain's line, and its own waits behind failures."""

    clock: Clock
    line: Slots
    waits: Backoff


class LoginLines:
    """One per service: a line for each domain."""

    def __init__(self, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        """`chance` returns a number from 0 to 1."""
        self._clock = clock
        self._chance = chance
        self._lines: dict[str, Slots] = {}

    def pace(self, domain: str) -> Pace:
        """Return the pace for a session whose account is of that domain."""
        line = self._lines.get(domain)
        if line is None:
            line = self._lines[domain] = Slots(self._clock, LOGINS_PER_SECOND, LOGINS_PER_SECOND, LOGINS_AT_ONCE)
        return Pace(self._clock, line, Backoff(FIRST_WAIT, LONGEST_WAIT, self._chance))

    def stop(self) -> None:
        """Nobody logs in again."""
        for line in self._lines.values():
            line.stop()
