"""A token bucket for all, of which nobody takes more than is left for the others. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable


class SharedRate:
    """Admits `rate` things a second of all askers together, `burst` at once; of one of them half of that at most.

    What one has taken lately, less `rate` a second, stays below what is left. So whoever asks for little gets it,
    though another asks for all there is. At most `max_askers` are remembered; of more, the least recent are forgotten.
    """

    def __init__(self, rate: float, burst: int, clock: Callable[[], float], max_askers: int = 1000) -> None:
        self._rate = rate
        self._burst = self._left = float(burst)
        self._clock = clock
        self._counted = clock()
        self._max_askers = max_askers
        self._taken: OrderedDict[int, tuple[float, float]] = OrderedDict()  # hash of an asker -> how many, when counted

    def __len__(self) -> int:
        return len(self._taken)

    def admits(self, asker: str) -> bool:
        """Take one thing of this asker into account; tell whether it is within the limit."""
        now, key = self._clock(), hash(asker)
        self._left = min(self._burst, self._left + (now - self._counted) * self._rate)
        self._counted = now
        taken, counted = self._taken.get(key, (0.0, now))
        taken = max(0.0, taken - (now - counted) * self._rate)
        admitted = self._left >= 1 and taken < self._left
        self._left -= admitted
        self._taken[key] = taken + admitted, now
        self._taken.move_to_end(key)
        if len(self._taken) > self._max_askers:
            self._taken.popitem(last=False)
        return admitted
