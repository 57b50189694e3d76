"""What was counted since a test began."""

from __future__ import annotations

from minimixproxy.counting.tally import Tally


class Counted:
    """`since()` returns what a tally has more than when this was made, by the values of its labels."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._before = dict(tally.counts)

    def since(self) -> dict[tuple[str, ...], int]:
        return {
            values: number - self._before[values]
            for values, number in self._tally.counts.items()
            if number != self._before[values]
        }
