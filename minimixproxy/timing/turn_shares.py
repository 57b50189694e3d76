"""What long work of all kinds together takes of one turn of the reactor, and who is next when they want more.

What clients say, what rooms say to account streams, and what a room shows to whom joins it: somebody else waits for all
of it together. A share for each session would not do: one account may have a hundred, and all say much at once.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Protocol

from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock

TURN = 0.01  # seconds, about, that all of it takes in one turn of the reactor


class Waiting(Protocol):
    """Somebody who has more to do."""

    def go_on(self) -> bool:
        """Do some; True: more is left."""

    def abort(self) -> None:
        """Going on failed by a fault of ours: give up on this one."""


class TurnShares:
    """While there is time, everybody goes on at once; then those who wait do so in turns, a little for each `whose`.

    `whose`: an account, for what its clients say; an account stream, or a client's output. One of whom nothing has
    waited goes before those that wait already, so that somebody who says little does not wait for all who say much (as
    in RFC 8290 §4.2). Of the others at least one goes on in each turn.
    """

    log = Logger()
    stopwatch: Callable[[], float] = staticmethod(time.perf_counter)

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left = TURN  # seconds; more is given when nothing is left, so a turn may end early now and then
        self._scheduled = False  # the next turn
        self._waiting: dict[Hashable, deque[Waiting]] = {}  # by whose they are
        self._fresh: deque[Hashable] = deque()  # of whom nothing has gone on yet
        self._stale: deque[Hashable] = deque()

    def may_go_on(self, whose: Hashable) -> bool:
        """Tell whether somebody may go on at once; else they have to `wait`."""
        return self._left > 0 and whose not in self._waiting

    def took(self, seconds: float) -> None:
        """Somebody went on at once, for so long."""
        self._left -= seconds
        if self._left <= 0:
            self._schedule()

    def wait(self, whose: Hashable, who: Waiting) -> None:
        """Have somebody go on in the turns to come, until nothing is left. Do not add one who waits already."""
        waiting = self._waiting.get(whose)
        if waiting is None:
            waiting = self._waiting[whose] = deque()
            self._fresh.append(whose)
        waiting.append(who)
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(0, self._next_turn)

    def _next_turn(self) -> None:
        self._scheduled = False
        self._left = TURN
        stale = len(self._stale)  # who goes on as a fresh one does so once
        try:
            self._serve(self._fresh, len(self._fresh))
            self._serve(self._stale, stale, least=1)
        finally:
            if self._waiting or self._left <= 0:
                self._schedule()

    def _serve(self, whose: deque[Hashable], count: int, least: int = 0) -> None:
        for number in range(count):
            if self._left <= 0 and number >= least:
                return
            self._one_of(whose.popleft())

    def _one_of(self, whose: Hashable) -> None:
        waiting = self._waiting[whose]
        who = waiting.popleft()
        begun = self.stopwatch()
        try:
            if who.go_on():
                waiting.append(who)
        except Exception:  # noqa: BLE001 (one's fault must not keep the others waiting)
            self.log.failure("while {who} went on with what there was to do", who=type(who).__name__)
            who.abort()
        finally:
            self._left -= self.stopwatch() - begun
            if waiting:
                self._stale.append(whose)
            else:
                del self._waiting[whose]
