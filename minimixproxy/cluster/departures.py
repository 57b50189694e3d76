"""Which accounts another process is to have: some if there are too many here, all when this one is drained. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from typing import Final

from minimixproxy.cluster.shares import share_of, surplus

MOVED: Final = 2  # accounts that another process is given after each look, while this one has too many
LOOKED_AT: Final = 200  # accounts that are looked at for that
DRAINED: Final = 50  # accounts that others are given after each look, while this process is drained: they load them
LOOKED_AT_DRAINED: Final = 2000
#: Seconds from when a client has named an account until it has to have bound a resource, or the account may be let go.
GRACE: Final = 120.0
LOGIN_TIME: Final = 5.0  # so long it is let log in, while this process is drained


class Draining(Enum):
    """What becomes of the accounts that are here: they stay, they go once no client uses them, or they go."""

    NO = "no"
    IDLE = "idle"
    ALL = "all"


class Departures:
    """`draining`: as the operator wishes."""

    def __init__(self) -> None:
        self.draining = Draining.NO
        self._to_look_at: list[str] = []

    def due(
        self, held: Collection[str], counts: Mapping[int, int], own: int, may_go: Callable[[str], bool]
    ) -> Iterator[str]:
        """Yield accounts of those held that are to go now; whoever asks has them go at once.

        `counts`: how many the processes have that take accounts. `may_go` tells whether one can go just now.
        """
        if self.draining is Draining.NO:
            yield from self._too_many(held, counts, own, may_go)
        elif set(counts) - {own}:
            yield from _first(filter(may_go, self._next(held, LOOKED_AT_DRAINED)), DRAINED)

    def _too_many(
        self, held: Collection[str], counts: Mapping[int, int], own: int, may_go: Callable[[str], bool]
    ) -> Iterator[str]:
        """Those that are for another process by its share, and only if that then has fewer than this one."""
        most = min(MOVED, surplus({**counts, own: len(held)}, own))
        if not most:
            return

        def is_theirs(bare: str) -> bool:
            taker = share_of(bare, list(counts))
            return taker != own and counts[taker] < len(held) - 1

        candidates = (bare for bare in self._next(held, LOOKED_AT) if is_theirs(bare) and may_go(bare))
        yield from _first(candidates, most)

    def _next(self, held: Collection[str], number: int) -> list[str]:
        """Return the next so many accounts: over time, each has its turn."""
        self._to_look_at = self._to_look_at or list(held)
        some, self._to_look_at = self._to_look_at[:number], self._to_look_at[number:]
        return [bare for bare in some if bare in held]


def _first(names: Iterator[str], number: int) -> Iterator[str]:
    for bare, _ in zip(names, range(number), strict=False):
        yield bare
