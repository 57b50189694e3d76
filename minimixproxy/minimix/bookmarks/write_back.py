"""Which bookmarks are to be written for what the account does in rooms. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minimixproxy.logs.logger import Logger
from minimixproxy.xep.bookmarks import Bookmark, Bookmarks, new_bookmark, with_autojoin


class BookmarkWriteBack:
    """The rooms that were joined or left since bookmarks were written last; at most `limit()`."""

    log = Logger()

    def __init__(self, account: str, limit: Callable[[], int]) -> None:
        self._account = account  # for the log
        self._limit = limit
        self._wishes: dict[str, bool] = {}  # by room: whether it was joined, or left
        self._unset: set[str] = set()  # rooms whose autojoin was switched off here

    def joined(self, room: str) -> None:
        """The account is in a room."""
        self._wish(room, True)

    def left(self, room: str) -> None:
        """The account has left a room for good."""
        self._wish(room, False)

    def _wish(self, room: str, joined: bool) -> None:
        if room in self._wishes or len(self._wishes) < self._limit():
            self._wishes[room] = joined
        else:
            self.log.warn(
                "{account}: too many bookmarks wait to be written: not that of {room}", account=self._account, room=room
            )

    def is_left(self, room: str) -> bool:
        """Tell whether a room was left, and its bookmark does not say so yet."""
        return self._wishes.get(room) is False

    def changes(self, found: Bookmarks, nicks: Mapping[str, str]) -> dict[str, Bookmark | None]:
        """Return, by room, the bookmarks to write; None where one may stay as it is.

        `nicks`: of the rooms that the account is in.
        """
        return {
            room: self._joined_change(room, found, nicks) if joined else self._left_change(room, found)
            for room, joined in self._wishes.items()
        }

    def _left_change(self, room: str, found: Bookmarks) -> Bookmark | None:
        bookmark = found.rooms.get(room)
        return with_autojoin(bookmark, False) if bookmark is not None and bookmark.autojoin else None

    def _joined_change(self, room: str, found: Bookmarks, nicks: Mapping[str, str]) -> Bookmark | None:
        """A bookmark without autojoin is what somebody wanted, unless it was written here."""
        bookmark, nick = found.rooms.get(room), nicks.get(room)
        if nick is None or room in found.unreadable:
            return None
        if bookmark is None:
            return new_bookmark(room, nick)
        return with_autojoin(bookmark, True) if room in self._unset and not bookmark.autojoin else None

    def done(self, changes: Mapping[str, Bookmark | None], *, written: bool) -> None:
        """These changes were written, or cannot be; what was wished since stays."""
        for room, bookmark in changes.items():
            if bookmark is None or self._wishes.get(room) is bookmark.autojoin:
                self._wishes.pop(room, None)
            if bookmark is None or not written:
                continue
            if bookmark.autojoin:
                self._unset.discard(room)
            elif len(self._unset) < self._limit():
                self._unset.add(room)
