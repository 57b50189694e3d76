"""How many of something each one has, and whether somebody may have one more. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

Key = TypeVar("Key")


class Shares(Counter[Key]):
    """Counts by whoever has something: an address, an account, a domain. Who has none takes no place."""

    def take(self, keys: Iterable[Key]) -> None:
        """Each has one more."""
        for key in keys:
            self[key] = self.get(key, 0) + 1

    def give_back(self, keys: Iterable[Key]) -> None:
        """Each has one less."""
        for key in keys:
            left = self.get(key, 0) - 1
            if left > 0:
                self[key] = left
            else:
                self.pop(key, None)

    def leave_one(self, keys: Iterable[Key], left: int) -> bool:
        """Tell whether all of these may have one more where `left` are left: nobody has more than that.

        So one that takes all it can has half, two have a third each, and something is always left for who has none.
        """
        return all(self.get(key, 0) < left for key in keys)
