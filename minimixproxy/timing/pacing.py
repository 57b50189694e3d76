"""Doing a little at a time what thousands of accounts would do at once. Pure but for the clock handed in."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable

from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock, Timer


class Pacer:
    """Makes at most `rate` calls a second, `burst` of them together.

    Those of one, `whose` they are, in the order in which they were asked for; among those who wait each has its turn.
    So nobody waits for all that another one asks for.
    """

    log = Logger()

    def __init__(self, clock: Clock, rate: float, burst: int = 1) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled = clock.seconds()
        self._waiting: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()  # by whose they are, the next first
        self._timer = Timer(clock)

    def __len__(self) -> int:
        """How many calls wait."""
        return sum(map(len, self._waiting.values()))

    def backlog(self, whose: str) -> int:
        """How many calls of one wait."""
        return len(self._waiting.get(whose, ()))

    def ask(self, call: Callable[[], None], whose: str = "") -> None:
        """Make `call` now if the pace allows it, else later. It cannot be taken back: it has to look before it acts."""
        self._waiting.setdefault(whose, deque()).append(call)
        if not self._timer.running:
            self._work()

    def stop(self) -> None:
        """Make no more calls."""
        self._timer.stop()
        self._waiting.clear()

    def _work(self) -> None:
        now = self._clock.seconds()
        passed = max(0.0, now - self._filled)  # a clock may be set back
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        self._filled = now
        while self._waiting and self._tokens > 1 - 1e-6:
            self._tokens -= 1
            self._make(self._next())
        if self._waiting and not self._timer.running:
            # Not less than a clock that counts from the epoch can tell apart.
            self._timer.start(max(0.001, (1 - self._tokens) / self._rate), self._work)

    def _next(self) -> Callable[[], None]:
        whose, calls = self._waiting.popitem(last=False)
        call = calls.popleft()
        if calls:
            self._waiting[whose] = calls  # behind all others
        return call

    def _make(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # noqa: BLE001 (it may be anybody's: it must not stop what the others wait for)
            self.log.failure("a fault in what had waited for its turn")
