"""A token bucket for each asker. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class RateLimit:
    """Admits `rate` things a second (0: no limit) of each asker, `burst` at once.

    At most `max_askers` buckets are kept, the least recently used are forgotten first (`full` is told); a forgotten
    bucket is full again.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        clock: Callable[[], float],
        max_askers: int = 10_000,
        full: Callable[[str], None] = lambda table: None,
    ) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._max_askers = max_askers
        self._full = full
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # asker -> tokens, when counted

    def admits(self, asker: str) -> bool:
        """Take one thing of this asker into account; tell whether it is within the limit."""
        if not self._rate:
            return True
        now = self._clock()
        tokens, counted = self._buckets.get(asker, (self._burst, now))
        tokens = min(self._burst, tokens + (now - counted) * self._rate)
        admitted = tokens >= 1
        self._buckets[asker] = tokens - admitted, now
        self._buckets.move_to_end(asker)
        if len(self._buckets) > self._max_askers:
            self._buckets.popitem(last=False)
            self._full("askers whose rate is counted")
        return admitted
