"""Bytes that several have are kept once. Pure.

Rooms tell each account that is in them the same. Only what is equal, byte by byte, is shared: nobody comes to see by it
what was not sent to him, and whether somebody else has it, too.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

#: Python 3.12 keeps for ever what was interned (gh-113993), and rooms always say something new.
_FREES_INTERNED = sys.version_info[:2] != (3, 12)


class SharedBytes:
    """Counts who keeps what. Whoever takes something gives it back, once, when he keeps it no more."""

    __slots__ = ("_kept", "_more")

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes] = {}
        self._more: dict[bytes, int] = {}  # how many keep it beside the first one; most things are one's own

    def __len__(self) -> int:
        """How many different ones are kept."""
        return len(self._kept)

    def take(self, raw: bytes) -> bytes:
        """Return the same bytes, in the object that all others have who keep them."""
        before = len(self._kept)
        shared = self._kept.setdefault(raw, raw)
        if len(self._kept) == before:
            self._more[shared] = self._more.get(shared, 0) + 1
        return shared

    def give_back(self, raw: bytes) -> None:
        """Somebody keeps it no more. Raises `KeyError` if nobody has taken it."""
        more = self._more.get(raw)
        if more is None:
            del self._kept[raw]
        elif more == 1:
            del self._more[raw]
        else:
            self._more[raw] = more - 1

    def give_all_back(self, all_kept: Iterable[bytes]) -> None:
        """Somebody keeps none of these any more."""
        for raw in all_kept:
            self.give_back(raw)


def same_text(text: str) -> str:
    """Return the same text, in the object that all others have who keep it, where that costs nothing later."""
    return sys.intern(text) if _FREES_INTERNED else text
