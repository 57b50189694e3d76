"""Bookmarks that an account does not follow, though they say to join: it was removed from their rooms, or left. No I/O.

That holds over restarts, until a client of the account joins the room, or the bookmark is written anew or changes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import Protocol

from minimixproxy.logs.logger import Logger
from minimixproxy.xep.bookmarks import Bookmark


class UnfollowedJournal(Protocol):
    """Where it is kept."""

    def bookmarks_unfollowed(self, bare: str, rooms: Mapping[str, str | None]) -> None:
        """These are all the rooms whose bookmarks the account does not follow."""


def digest_of(bookmark: Bookmark) -> str:
    """Return what two bookmarks have in common only if they say the same."""
    return sha256(bookmark.xml).hexdigest()


class UnfollowedBookmarks:
    """`rooms`, with the digests of their bookmarks; None: of the next that is read. At most `limit()`."""

    log = Logger()

    def __init__(self, account: str, limit: Callable[[], int], journal: UnfollowedJournal) -> None:
        self.rooms: dict[str, str | None] = {}
        self._account = account
        self._limit = limit
        self._journal = journal

    def restore(self, rooms: Mapping[str, str | None]) -> None:
        """Take what was kept."""
        self.rooms = dict(rooms)

    def add(self, room: str, digest: str | None) -> None:
        """The account is out of a room, and its bookmark of this digest does not bring it back."""
        self.rooms.pop(room, None)
        limit = self._limit()
        while len(self.rooms) >= limit:
            oldest = next(iter(self.rooms))
            del self.rooms[oldest]
            self.log.warn(
                "{account} was removed from {limit} rooms with bookmarks: that of {room} is followed again",
                account=self._account,
                limit=limit,
                room=oldest,
            )
        self.rooms[room] = digest
        self._keep()

    def joined(self, room: str) -> None:
        """The account is in a room again."""
        if room in self.rooms:
            del self.rooms[room]
            self._keep()

    def settle(self, wanted: Mapping[str, Bookmark], unreadable: AbstractSet[str], rewritten: Collection[str]) -> None:
        """Bookmarks were read; `wanted`: those that say to join. What has changed, or was written anew, is followed."""
        before, self.rooms = self.rooms, {}
        for room, digest in before.items():
            bookmark = wanted.get(room)
            now = digest_of(bookmark) if bookmark is not None else digest
            there = bookmark is not None or room in unreadable
            if there and room not in rewritten and digest in (None, now):
                self.rooms[room] = now
        if self.rooms != before:
            self._keep()

    def _keep(self) -> None:
        self._journal.bookmarks_unfollowed(self._account, self.rooms)
