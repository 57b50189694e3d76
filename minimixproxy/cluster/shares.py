"""Which process takes an account that nobody has: all come to the same answer without asking each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import Final

from minimixproxy.storage.leases import Holder

_FEW: Final = 10  # accounts beyond the own part that nothing is done about ...
_TOLERATED: Final = 0.1  # ... or so much of it


def takers(live: Iterable[Holder]) -> list[int]:
    """Return which of the processes that live take accounts: all but those that are drained, if there are others."""
    found = list(live)
    return [holder.number for holder in found if not holder.draining] or [holder.number for holder in found]


def own_share(accounts: Iterable[str], live: Sequence[int], own: int) -> list[str]:
    """Return those of these accounts that are for the process `own`, one of those that live.

    Rendezvous hashing: when a process comes or goes, no account changes between two others.
    """
    return [bare for bare in accounts if share_of(bare, live) == own]


def share_of(bare: str, live: Sequence[int]) -> int:
    """Return which of the processes that live an account is for."""
    return max(live, key=lambda number: _weight(number, bare))


def surplus(counts: Mapping[int, int], own: int) -> int:
    """Return how many accounts the process `own` has beyond its part of all, if they are many more than that.

    `counts`: how many each process has that lives.
    """
    part = sum(counts.values()) / len(counts)
    beyond = counts[own] - part
    return int(beyond) if beyond > max(_FEW, part * _TOLERATED) else 0


def _weight(number: int, bare: str) -> bytes:
    return blake2b(bare.encode(), digest_size=8, key=b"%d" % number).digest()
