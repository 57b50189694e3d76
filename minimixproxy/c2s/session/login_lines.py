"""The pace at which sessions log in again when their server is back: all have lost it in the same moment."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

from minimixproxy.timing.answered_line import OPENINGS
from minimixproxy.timing.answered_lines import AnsweredLines
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.lines import Line

# As many are under way at a server as its answers allow (see `AnswerWindow`), beside its account streams; but in a
# second no more of all domains begin than these: each is some milliseconds of work. Users wait for them.
LOGINS_PER_SECOND = 100
LOGINS_BURST = 25
# As for account streams. A server that is down teaches nothing, however long its refusals take: so there are more at
# first than of those.
LOGINS = OPENINGS._replace(first=16)
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds from one failure to the next attempt, varied by half


class Pace(NamedTuple):
    """What a session that logs in again goes by: its server's line, and its own waits behind failures."""

    clock: Clock
    line: Line
    waits: Backoff


class LoginLines:
    """One per service: a line for each domain."""

    def __init__(self, clock: Clock, chance: Callable[[], float] = random.random) -> None:
        """`chance` returns a number from 0 to 1."""
        self._clock = clock
        self._chance = chance
        self._lines = AnsweredLines(clock, LOGINS_PER_SECOND, LOGINS_BURST, LOGINS)

    def pace(self, domain: str, account: str) -> Pace:
        """Return the pace for a session of that account, a bare JID of that domain."""
        return Pace(self._clock, self._lines.of(domain, account), Backoff(FIRST_WAIT, LONGEST_WAIT, self._chance))

    def stop(self) -> None:
        """Nobody logs in again."""
        self._lines.stop()
