"""What follows from bookmarks for one account: which rooms it enters and leaves by itself. No I/O.

What clients write and what the server tells them only calls for another reading on the account stream, a moment
later: the reading is the truth. So nothing that this writes itself, and is told of, can go round in circles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from minimixproxy.clock import Clock, Timer
from minimixproxy.config import Rooms
from minimixproxy.jids import parse_jid
from minimixproxy.minimix.bookmarks import Bookmark, Bookmarks, new_bookmark, told_by_server, with_autojoin
from minimixproxy.minimix.bookmarks import written_by_client as written_by
from minimixproxy.minimix.bookmarkstorage import BookmarkStorage, NotAnswered, Refused, Requests
from minimixproxy.minimix.journal import KeptMembership
from minimixproxy.stanza import Stanza

DEBOUNCE = 0.5  # seconds from the first sign of a change to the reading
RETRY = 30.0  # seconds to another reading after one without an answer
MAX_UNANSWERED = 3  # readings in a row: an answer that ends the stream (too large) must not do so for ever


class BookmarkedRoom(Protocol):
    """An occupancy, as far as bookmarks are concerned."""

    @property
    def nick(self) -> str:
        """The nick in use."""

    @property
    def membership(self) -> KeptMembership:
        """What the room is joined with, and whether a bookmark keeps the account in."""


class BookmarkedRooms(Requests, Protocol):
    """The account, as far as bookmarks are concerned."""

    @property
    def bare(self) -> str:
        """Its bare JID."""

    @property
    def rooms(self) -> Mapping[str, BookmarkedRoom]:
        """The rooms that it is in, or about to be."""

    def enter(self, room: str, nick: str, password: str | None) -> None:
        """Join without any client asking."""

    def leave(self, room: str) -> None:
        """Leave; attached sessions are shown out."""

    def set_bookmarked(self, room: str, bookmarked: bool) -> None:
        """Say whether a bookmark keeps the account in when its last session leaves."""

    def requests_done(self) -> None:
        """The account stream is not needed for bookmarks any more."""


class BookmarkFollower:
    """The bookmarks of one account, read and, if so configured, written."""

    log = Logger()

    def __init__(self, account: BookmarkedRooms, settings: Rooms, clock: Clock) -> None:
        self._account = account
        self._settings = settings
        self._storage = BookmarkStorage(account)
        self._soon = Timer(clock)
        self._later = Timer(clock)
        self._working = False
        self._again = False
        self._stopped = settings.bookmarks == "off"
        self._unanswered = 0
        self._seen: dict[str, int] = {}  # rooms to be in by the last reading, with what their bookmarks were
        self._in_storage: bool | None = None  # whether that was private XML
        self._rewritten: set[str] = set()  # rooms whose bookmarks were written since, be it with the same content
        self._wishes: dict[str, bool] = {}  # by room: it was joined, or left, and its bookmark is to say so
        self._unset: set[str] = set()  # rooms whose autojoin was switched off here

    # What happens ----------------------------------------------------------------------------------------------

    def first_session(self) -> None:
        """A client has come, and is the only one."""
        self._unanswered = 0
        self._read_now()

    def stream_opened(self) -> None:
        """The account stream is open (again): bookmarks may have changed in between."""
        if self._unanswered < MAX_UNANSWERED and not self._working:
            self._read_now()

    def client_said(self, stanza: Stanza) -> None:
        """Look at a stanza that a client sends to its own account."""
        if not self._stopped:
            self._written(written_by(stanza))

    def server_said(self, stanza: Stanza) -> None:
        """Look at a stanza that the server sends to a client."""
        if not self._stopped:
            self._written(told_by_server(stanza, self._account.bare))

    def room_joined(self, room: str) -> None:
        """The account has joined a room."""
        occupancy = self._account.rooms.get(room)
        if occupancy is not None and not occupancy.membership.bookmarked:
            self._wish(room, True)

    def room_left(self, room: str) -> None:
        """The account leaves a room because its last client did, or its owner said so; a removal is no leave."""
        self._wish(room, False)

    def stop(self) -> None:
        """The account is no more."""
        self._stopped = True
        self._soon.stop()
        self._later.stop()

    @property
    def busy(self) -> bool:
        """Whether something is about to be read or written."""
        return self._working or self._soon.running

    def _written(self, rooms: frozenset[str] | None) -> None:
        if rooms is None:
            return
        self._unanswered = 0
        if len(self._rewritten) < self._settings.max_rooms:
            self._rewritten |= rooms
        self._read_soon()

    def _wish(self, room: str, joined: bool) -> None:
        if self._settings.bookmarks != "sync" or self._stopped:
            return
        if room not in self._wishes and len(self._wishes) >= self._settings.max_rooms:
            self.log.warn("{account}: too many bookmarks wait to be written", account=self._account.bare)
            return
        self._wishes[room] = joined
        if joined:
            self._read_soon()  # the client may write the bookmark itself
        else:
            self._read_now()  # while the stream is there

    # Reading ---------------------------------------------------------------------------------------------------

    def _read_soon(self) -> None:
        if not self._stopped and not self._soon.running:
            self._soon.start(DEBOUNCE, self._read_now)

    def _read_now(self) -> None:
        if self._stopped:
            return
        self._soon.stop()
        if self._working:
            self._again = True
            return
        self._working, self._again = True, False
        work = Deferred.fromCoroutine(self._work())
        work.addErrback(lambda failure: self.log.failure("bookmarks of {a}", failure=failure, a=self._account.bare))
        work.addCallback(self._done)

    async def _work(self) -> None:
        try:
            found = await self._storage.read()
            self._unanswered = 0
            if not self._stopped:
                self._follow(found)
                await self._write(found)
        except NotAnswered:
            self._unanswered += 1
            self.log.info("{account}: no answer about bookmarks", account=self._account.bare)
        except Refused as error:
            self._unanswered = 0
            self.log.info("{account}: bookmarks: {condition}", account=self._account.bare, condition=str(error))

    def _done(self, _result: object) -> None:
        self._working = False
        if self._stopped:
            return
        self._later.start(RETRY if self._unanswered else self._settings.bookmarks_interval, self._due)
        if self._again:
            self._read_soon()
        else:
            self._account.requests_done()

    def _due(self) -> None:
        """Read again, unless that would open the stream of an account that is in no room."""
        if self._unanswered >= MAX_UNANSWERED:
            self.log.warn("{account}: no more attempts to read bookmarks for now", account=self._account.bare)
        elif self._account.rooms or self._unanswered:
            self._read_now()
        else:
            self._later.start(self._settings.bookmarks_interval, self._due)

    # Following -------------------------------------------------------------------------------------------------

    def _follow(self, found: Bookmarks) -> None:
        for address in found.unreadable:
            self.log.warn("{account}: unreadable bookmark of {room}", account=self._account.bare, room=address[:200])
        wanted = {room: bookmark for room, bookmark in found.rooms.items() if bookmark.autojoin}
        rewritten, self._rewritten = self._rewritten, set()
        self._mark(wanted, found)
        beyond = self._enter(wanted, rewritten)
        if beyond:
            limit = self._settings.max_rooms
            self.log.warn("{a}: {n} bookmarks beyond {limit} rooms", a=self._account.bare, n=len(beyond), limit=limit)
        self._seen = {room: hash(bookmark.xml) for room, bookmark in wanted.items() if room not in beyond}
        self._in_storage = found.storage is not None

    def _mark(self, wanted: Mapping[str, Bookmark], found: Bookmarks) -> None:
        """Tell the rooms that the account is in whether bookmarks keep it there; leave those they did until now."""
        moved = self._in_storage is not None and self._in_storage != (found.storage is not None)
        for room, occupancy in list(self._account.rooms.items()):
            bookmarked = occupancy.membership.bookmarked
            if room in wanted:
                if not bookmarked:
                    self._account.set_bookmarked(room, True)
            elif not bookmarked or room in found.unreadable:
                continue
            elif moved and room not in found.rooms:
                # A client has begun to use the newer storage; what it did not take along is not taken back.
                self._account.set_bookmarked(room, False)
            else:
                self.log.info("{account}: no bookmark keeps it in {room}", account=self._account.bare, room=room)
                self._account.leave(room)

    def _enter(self, wanted: Mapping[str, Bookmark], rewritten: set[str]) -> set[str]:
        """Enter the rooms whose bookmarks are new or written anew; return those that are too many.

        Who was removed from a room is not to come back for a bookmark that was there before.
        """
        beyond = set()
        for room, bookmark in wanted.items():
            if room in self._account.rooms or self._wishes.get(room) is False:
                continue
            if self._seen.get(room) == hash(bookmark.xml) and room not in rewritten:
                continue
            if len(self._account.rooms) >= self._settings.max_rooms:
                beyond.add(room)
                continue
            self.log.info("{account}: a bookmark says to join {room}", account=self._account.bare, room=room)
            self._account.enter(room, bookmark.nick or self._own_nick, bookmark.password)
        return beyond

    @property
    def _own_nick(self) -> str:
        address = parse_jid(self._account.bare)
        return address.local or address.domain

    # Writing ---------------------------------------------------------------------------------------------------

    async def _write(self, found: Bookmarks) -> None:
        wishes = dict(self._wishes)
        changes = {room: self._change(room, joined, found) for room, joined in wishes.items()}
        bookmarks = [bookmark for bookmark in changes.values() if bookmark is not None]
        try:
            if bookmarks:
                await self._storage.write(bookmarks, found)
        except Refused as error:
            self.log.warn("{account}: bookmark refused: {condition}", account=self._account.bare, condition=str(error))
            bookmarks = []
        for room, joined in wishes.items():
            if self._wishes.get(room) is joined:
                del self._wishes[room]
        for bookmark in bookmarks:
            self._was_written(bookmark)

    def _change(self, room: str, joined: bool, found: Bookmarks) -> Bookmark | None:
        """Return what a room's bookmark should be from now on; None if it may stay as it is."""
        bookmark = found.rooms.get(room)
        if not joined:
            return with_autojoin(bookmark, False) if bookmark is not None and bookmark.autojoin else None
        occupancy = self._account.rooms.get(room)
        if occupancy is None or room in found.unreadable:
            return None
        if bookmark is None:
            return new_bookmark(room, occupancy.nick)
        return with_autojoin(bookmark, True) if not bookmark.autojoin and room in self._unset else None

    def _was_written(self, bookmark: Bookmark) -> None:
        self.log.info(
            "{account}: bookmark of {room} written, autojoin {autojoin}",
            account=self._account.bare,
            room=bookmark.room,
            autojoin=bookmark.autojoin,
        )
        if bookmark.autojoin:
            self._unset.discard(bookmark.room)
            if bookmark.room in self._account.rooms:
                self._account.set_bookmarked(bookmark.room, True)
        elif len(self._unset) < self._settings.max_rooms:
            self._unset.add(bookmark.room)
