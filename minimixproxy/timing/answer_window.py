"""How much may be under way at a server, by how long it takes to answer. Pure, time handed in.

Additive increase, multiplicative decrease: answers are judged in rounds. A round that is as quick as the quickest
lately lets one more be under way; one that is slow halves the number. So the server is kept busy, and little waits in
it.
"""

from __future__ import annotations

from math import inf
from statistics import median_low

LEAST, MOST = 2, 64  # under way at one time
FIRST = 4  # before anything is known of the server, if whoever asks has no other idea
ROUND = 8  # answers in a round at least: fewer say little
SLOWER = 2.0  # so many times the least time of a round lately, ...
SLACK = 0.01  # ... and so many seconds, still count as quick
LATELY = 30.0  # seconds: what was seen is forgotten after one to two of these


class LeastLately:
    """The least of what was seen in the last one or two periods of `LATELY`."""

    def __init__(self) -> None:
        self._since = 0.0
        self._before = self._least = inf

    def saw(self, value: float, now: float) -> None:
        """Take one more."""
        self._turn_over(now)
        self._least = min(self._least, value)

    def get(self, now: float) -> float:
        """Return the least; infinite if nothing was seen."""
        self._turn_over(now)
        return min(self._before, self._least)

    def _turn_over(self, now: float) -> None:
        passed = now - self._since
        if 0 <= passed < LATELY:
            return
        self._before = self._least if 0 <= passed < 2 * LATELY else inf
        self._since, self._least = now, inf


class AnswerWindow:
    """`size`: how many may be under way. Trouble, and silence, are answers that took for ever.

    One account cannot slow the others down, whatever its rooms say or do not say: in a round each account counts once,
    by what is usual for it, and what is usual for the accounts decides. And what nobody has used lately begins anew.
    """

    def __init__(self, first: int = FIRST) -> None:
        """`first`: the size before anything is known of the server."""
        self.size = self._first = first
        self._least = LeastLately()
        self._round: dict[str, list[float]] = {}  # seconds, by account
        self._answers = 0
        self._judged_from = -inf  # what began before was under way when the size was halved
        self._used = -inf

    def begins(self, now: float) -> None:
        """Something is asked now."""
        if now - self._used >= LATELY:
            self.size = self._first
        self._used = now

    def answered(self, account: str, began: float, now: float, *, trouble: bool = False) -> None:
        """What `began` then is answered now, or will not be: `trouble`."""
        if began < self._judged_from:
            return
        self._round.setdefault(account, []).append(inf if trouble else max(0.0, now - began))
        self._answers += 1
        if self._answers >= max(ROUND, self.size):
            self._judge(now)

    def _judge(self, now: float) -> None:
        usual = median_low(median_low(times) for times in self._round.values())
        if usual < inf:
            self._least.saw(usual, now)
        if usual <= self._least.get(now) * SLOWER + SLACK and usual < inf:
            self.size = min(MOST, self.size + 1)
        else:
            self.size = max(LEAST, self.size // 2)
            self._judged_from = now
        self._round.clear()
        self._answers = 0
