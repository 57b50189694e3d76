"""How long things took, in a few classes. No I/O."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate

HISTOGRAMS: list[Histogram] = []  # of this process


class Histogram:
    """Seconds, by the smallest bound that is no less; what is longer than all bounds is in a class of its own."""

    __slots__ = ("_counts", "about", "bounds", "name", "seconds")

    def __init__(self, name: str, about: str, bounds: tuple[float, ...]) -> None:
        """`bounds`: in order."""
        self.name = name
        self.about = about
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.seconds = 0.0  # all together
        HISTOGRAMS.append(self)

    def observe(self, seconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    def cumulated(self) -> list[tuple[float, int]]:
        """Return each bound, infinity at the end, with how many were no longer."""
        return list(zip((*self.bounds, float("inf")), accumulate(self._counts), strict=True))
