"""What all accounts are together, counted a few at a time: there may be tens of thousands, and others wait meanwhile.

So the numbers are of no one moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from minimixproxy.operator.web.watched import Watched
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.slices import in_slices

AT_ONCE = 5000  # accounts, sessions and rooms in one turn: a few milliseconds


@dataclass(slots=True)
class Totals:
    """Numbers by the values of a label each."""

    enrolled: Counter[str] = field(default_factory=Counter)
    streams: Counter[str] = field(default_factory=Counter)
    sessions: Counter[str] = field(default_factory=Counter)
    rooms: Counter[str] = field(default_factory=Counter)
    queued: Counter[str] = field(default_factory=Counter)


def counting(totals: Totals, watched: Watched) -> Iterator[int]:
    """Count all; yield, for each account, how much there was to look at."""
    for account, stream in watched.accounts():
        totals.enrolled["yes" if account.is_enrolled else "no"] += 1
        totals.streams[stream.state.value] += 1
        totals.queued["account"] += stream.backlog
        for session in account.sessions:
            totals.sessions["sleeping" if session.asleep else "connected"] += 1
            totals.queued["client"] += session.queued
        for occupancy in account.rooms.values():
            totals.rooms[occupancy.state.value] += 1
        yield 1 + len(account.sessions) + len(account.rooms)


class Count:
    """One count, which whoever asks meanwhile waits for, too."""

    def __init__(self, watched: Watched, clock: Clock) -> None:
        self._watched = watched
        self._clock = clock
        self._waiting: list[Deferred[Totals]] | None = None  # None: none is under way

    def take(self) -> Deferred[Totals]:
        """Count. The result is there at once if there is little to count."""
        done = Deferred[Totals]()
        if self._waiting is not None:
            self._waiting.append(done)
            return done
        self._waiting = [done]
        totals = Totals()
        counting_all = in_slices(self._clock, counting(totals, self._watched), AT_ONCE)
        counting_all.addCallback(lambda _: totals).addBoth(self._end)
        return done

    def _end(self, result: Totals | Failure) -> None:
        waiting, self._waiting = self._waiting or [], None
        for done in waiting:
            done.callback(result)  # with a `Failure`, it fails
