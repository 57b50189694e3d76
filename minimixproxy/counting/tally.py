"""How often what has happened, by values that are known beforehand. No I/O.

A number outlives whatever it was counted for, as a sum over what is there now would not. Peers have no say in what is
told apart: what is none of the known values counts as `OTHER`.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

OTHER = "other"

TALLIES: list[Tally] = []  # of this process: those of all modules that are imported


class Tally:
    """Counts by one label or several. `counts`: by a value of each.

    `name` and `about` are for who shows it: plural nouns with underscores, and a sentence.
    """

    __slots__ = ("_known", "about", "counts", "labels", "name")

    def __init__(
        self, name: str, about: str, only: Iterable[tuple[str, ...]] | None = None, **labels: Iterable[str]
    ) -> None:
        """`labels`: the values of each. `only`: which of their combinations there are; None: all."""
        self.name = name
        self.about = about
        self.labels = tuple(labels)
        self._known = tuple(frozenset(values) for values in labels.values())
        combined = product(*((*sorted(values), OTHER) for values in self._known)) if only is None else sorted(only)
        self.counts = dict.fromkeys((*combined, (OTHER,) * len(self.labels)), 0)
        TALLIES.append(self)

    def count(self, *values: str, number: int = 1) -> None:
        """Count something, by a value of each label."""
        key = values if values in self.counts else self._nearest(values)
        self.counts[key] += number

    def _nearest(self, values: tuple[str, ...]) -> tuple[str, ...]:
        key = tuple(value if value in known else OTHER for value, known in zip(values, self._known, strict=True))
        return key if key in self.counts else (OTHER,) * len(self.labels)

    def of(self, *values: str) -> int:
        """Return how often that was counted."""
        return self.counts[values]
