"""A line for each server that is asked, and the pace of all together. Pure but for the clock handed in."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple

from minimixproxy.timing.answered_line import QUESTIONS, AnsweredLine, Pace, Turn
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.pacing import Pacer

MOST_PER_SECOND = 250  # of all lines together, however quick the servers are
BURST = 25
KEPT = 1000  # lines, or twice those in use: what was learned of more servers is learned anew


class AnsweredLines:
    """One slow server does not slow another."""

    def __init__(
        self, clock: Clock, per_second: float = MOST_PER_SECOND, burst: int = BURST, pace: Pace = QUESTIONS
    ) -> None:
        self._clock = clock
        self._pace = pace
        self._ceiling = Pacer(clock, per_second, burst)
        self._lines: dict[Hashable, AnsweredLine] = {}
        self._enough = KEPT
        self._stopped = False

    def __len__(self) -> int:
        return len(self._lines)

    def turn(self, server: Hashable, account: str, call: Callable[[], None]) -> Turn:
        """Return a turn for `call`, not in line yet. Whoever takes it has to end it."""
        line = self._lines.get(server)
        if line is None:
            self._forget_some()
            line = self._lines[server] = AnsweredLine(self._clock, self._ceiling, self._pace)
            if self._stopped:
                line.stop()
        return Turn(line, account, call)

    def of(self, server: Hashable, account: str) -> OwnLine:
        """Return what one account sees of a server's line."""
        return OwnLine(self, server, account)

    def _forget_some(self) -> None:
        if len(self._lines) >= self._enough:
            self._lines = {name: line for name, line in self._lines.items() if not line.idle}
            self._enough = max(KEPT, 2 * len(self._lines))

    def stop(self) -> None:
        """Ask nothing any more."""
        self._stopped = True
        self._ceiling.stop()
        for line in self._lines.values():
            line.stop()


class OwnLine(NamedTuple):
    """The line of a server, for one account (`lines.Line`)."""

    lines: AnsweredLines
    server: Hashable
    account: str

    def turn(self, call: Callable[[], None]) -> Turn:
        """Return a turn for `call`, not in line yet. Whoever takes it has to end it."""
        return self.lines.turn(self.server, self.account, call)
