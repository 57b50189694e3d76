"""What waits for its turn, fair to its owners: the next is of the owner that has the least under way. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Generic, TypeVar

_T = TypeVar("_T")


class FairQueue(Generic[_T]):
    """First come, first served for each owner; among owners with as much under way, each in its turn."""

    def __init__(self) -> None:
        self._waiting: dict[str, OrderedDict[_T, None]] = {}
        self._under_way: dict[str, int] = {}
        self._ranks: dict[int, OrderedDict[str, None]] = {}  # owners that wait, by how much they have under way

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, owner: str) -> bool:
        return owner in self._waiting

    def add(self, owner: str, item: _T) -> None:
        """Something waits."""
        if owner not in self._waiting:
            self._waiting[owner] = OrderedDict()
            self._rank(owner)
        self._waiting[owner][item] = None

    def discard(self, owner: str, item: _T) -> None:
        """It waits no more, if it did."""
        items = self._waiting.get(owner)
        if items is not None:
            items.pop(item, None)
            if not items:
                self._unrank(owner)
                del self._waiting[owner]

    @property
    def owners(self) -> Iterator[str]:
        """Who waits, the next one first. Nothing may change meanwhile."""
        return (owner for rank in sorted(self._ranks) for owner in self._ranks[rank])

    def pop(self) -> _T:
        """Take the next: it is under way until `ended`."""
        owner = next(self.owners)
        self._unrank(owner)
        items = self._waiting[owner]
        item, _ = items.popitem(last=False)
        self._under_way[owner] = self._under_way.get(owner, 0) + 1
        if items:
            self._rank(owner)
        else:
            del self._waiting[owner]
        return item

    def ended(self, owner: str) -> None:
        """Something of the owner is under way no more."""
        waits = owner in self._waiting
        if waits:
            self._unrank(owner)
        self._under_way[owner] -= 1
        if not self._under_way[owner]:
            del self._under_way[owner]
        if waits:
            self._rank(owner)

    def _rank(self, owner: str) -> None:
        self._ranks.setdefault(self._under_way.get(owner, 0), OrderedDict())[owner] = None

    def _unrank(self, owner: str) -> None:
        rank = self._under_way.get(owner, 0)
        del self._ranks[rank][owner]
        if not self._ranks[rank]:
            del self._ranks[rank]
