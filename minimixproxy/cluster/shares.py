"""Which process takes an account that nobody has: all come to the same answer without asking each other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b


def own_share(accounts: Iterable[str], live: Sequence[int], own: int) -> list[str]:
    """Return those of these accounts that are for the process `own`, one of those that live.

    Rendezvous hashing: when a process comes or goes, no account changes between two others.
    """
    return [bare for bare in accounts if max(live, key=lambda number: _weight(number, bare)) == own]


def _weight(number: int, bare: str) -> bytes:
    return blake2b(bare.encode(), digest_size=8, key=b"%d" % number).digest()
