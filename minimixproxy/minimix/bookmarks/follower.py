"""What follows from bookmarks for one account: which rooms it enters and leaves by itself. No I/O.

What clients write and what the server tells them only calls for another reading on the account stream, a moment
later: the reading is the truth. So nothing that is written here, and comes back as news, can go round in circles.
A reading may overtake a client's write, which goes by another stream: the answer to the write calls for one, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Protocol

from minimixproxy.config.settings import Rooms
from minimixproxy.jids import parse_jid, whose
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.bookmarks.events import told_by_server, written_by_client
from minimixproxy.minimix.bookmarks.poller import BookmarkPoller, ReadAccount
from minimixproxy.minimix.bookmarks.says import Says
from minimixproxy.minimix.bookmarks.storage import BookmarkStorage, Refused, Requests
from minimixproxy.minimix.bookmarks.unfollowed import UnfollowedBookmarks, UnfollowedJournal, digest_of
from minimixproxy.minimix.bookmarks.write_back import BookmarkWriteBack
from minimixproxy.minimix.interfaces.endings import Why
from minimixproxy.minimix.interfaces.journal import KeptMembership
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.bookmarks import Bookmark, Bookmarks
from minimixproxy.xep.notification_settings import setting_of


class BookmarkedRoom(Protocol):
    """An occupancy, as far as bookmarks are concerned."""

    @property
    def membership(self) -> KeptMembership:
        """What the room is joined with, and whether a bookmark keeps the account in."""

    @property
    def leaving(self) -> bool:
        """Whether it is about to end."""

    @property
    def attended(self) -> bool:
        """Whether a client is in it, or waits to be."""


class BookmarkedAccount(Requests, ReadAccount, Protocol):
    """The account, as far as bookmarks are concerned."""

    @property
    def rooms(self) -> Mapping[str, BookmarkedRoom]:
        """The rooms that it is in, or about to be."""

    def enter(self, room: str, nick: str, password: str | None) -> None:
        """Join without any client asking, for a bookmark."""

    def leave(self, room: str, why: Why) -> None:
        """Leave a room that no session is in."""

    def not_followed(self, room: str) -> None:
        """A bookmark says to join a room, and the account is in as many rooms as it may be."""

    def notifications(self, rooms: Mapping[str, str]) -> None:
        """Bookmarks were read: by room, what they say of notifications (XEP-0492)."""

    def set_bookmarked(self, room: str, bookmarked: bool) -> None:
        """Say whether a bookmark keeps the account in when its last session leaves."""


class BookmarkFollower:
    """The bookmarks of one account, read and, if so configured, written."""

    log = Logger()

    def __init__(self, account: BookmarkedAccount, settings: Rooms, clock: Clock, journal: UnfollowedJournal) -> None:
        self._account = account
        self._settings = settings
        self._storage = BookmarkStorage(account)
        self._poller = BookmarkPoller(account, lambda: settings.bookmarks_interval, clock, self._read)
        if settings.bookmarks == "off":
            self._poller.stop()
        self._write_back: BookmarkWriteBack | None = None
        if settings.bookmarks == "sync":
            self._write_back = BookmarkWriteBack(account.bare, lambda: settings.max_rooms)
        self._seen: dict[str, str] = {}  # rooms to be in by the last reading, with the digests of their bookmarks
        self._passive: frozenset[int] = frozenset()  # hashes of rooms whose bookmarks do not say to join, likewise
        self._refused = False  # the server has given none, the last time
        self._in_storage: bool | None = None  # whether that was private XML
        self._unmarked: set[str] = set()  # the room that is being left for its bookmark: that needs no other
        self._unfollowed = UnfollowedBookmarks(account.bare, lambda: settings.max_rooms, journal)
        self._rewritten: set[str] = set()  # rooms whose bookmarks were written since, be it with the same content
        self._open: dict[SessionPort, int] = {}  # by client: hash of the id of what it wrote last, not answered yet

    # What happens ----------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether the account stream is needed, or will be in a moment."""
        return self._poller.busy

    def says(self, room: str) -> Says:
        """Return what is known of the bookmark of a room."""
        if self._settings.bookmarks == "off":
            return Says.OFF
        if room in self._unfollowed.rooms:
            return Says.NOT_FOLLOWED
        if self._in_storage is None:
            return Says.REFUSED if self._refused else Says.NOT_READ
        if room in self._seen:
            return Says.AUTOJOIN
        return Says.NO_AUTOJOIN if hash(room) in self._passive else Says.NONE

    def restored(self, unfollowed: Mapping[str, str | None]) -> None:
        """The account is there again after a restart; `unfollowed`: what was kept of that."""
        self._unfollowed.restore(unfollowed)
        self._poller.idle()

    def unfollowed(self) -> dict[str, str | None]:
        """Return the rooms that are not entered for their bookmarks, as they are to be on disk."""
        return dict(self._unfollowed.rooms)

    def first_session(self) -> None:
        """A client has come, and is the only one."""
        self._poller.news(0.0)

    def stream_opened(self) -> None:
        """The account stream is open (again): bookmarks may have changed in between."""
        self._poller.opened()

    @property
    def awaits_answers(self) -> bool:
        """Whether `answered` wants to see IQs of the server to clients."""
        return bool(self._open)

    def client_said(self, session: SessionPort, stanza: Stanza) -> None:
        """Look at a stanza of a client."""
        rooms = written_by_client(stanza)
        if rooms is not None:
            self._open[session] = hash(stanza.get("id"))  # of any length: it is not kept
        self._written(rooms)

    def answered(self, session: SessionPort, iq: Stanza) -> None:
        """Look at an IQ of the server to a client: what it wrote last is in its bookmarks now, or never will be."""
        written = self._open.get(session)
        if written is None or iq.get("type") not in ("result", "error") or hash(iq.get("id")) != written:
            return
        if whose(iq.get("from"), self._account.bare).is_server:
            self.session_closed(session)

    def session_closed(self, session: SessionPort) -> None:
        """A client is gone: what it wrote last was the last."""
        if self._open.pop(session, None) is not None:
            self._poller.news()

    def server_said(self, stanza: Stanza) -> None:
        """Look at a stanza from the server to a client."""
        self._written(told_by_server(stanza, self._account.bare))

    def room_joined(self, room: str) -> None:
        """The account has joined a room. A client may be about to write a bookmark itself."""
        self._unfollowed.joined(room)
        if self._write_back is not None and not self._account.rooms[room].membership.bookmarked:
            self._write_back.joined(room)
            self._poller.news()

    def room_left(self, room: str) -> None:
        """The account leaves a room because its last client did, or its owner said so; a removal is no leave."""
        if room not in self._unmarked:
            self._stays_out(room)
        if self._write_back is not None and room not in self._unmarked:
            self._write_back.left(room)
            self._poller.now()  # while there is a stream

    def room_removed(self, room: str) -> None:
        """The room has removed the account: it is not to come back for a bookmark that was there before."""
        self._stays_out(room)

    def _stays_out(self, room: str) -> None:
        occupancy = self._account.rooms.get(room)
        bookmarked = occupancy is not None and occupancy.membership.bookmarked
        if self._settings.bookmarks != "off" and (bookmarked or self._poller.busy or self._in_storage is None):
            self._rewritten.discard(room)  # that was before
            self._unfollowed.add(room, self._seen.get(room))

    def stop(self) -> None:
        """The account is no more."""
        self._poller.stop()

    def _written(self, rooms: frozenset[str] | None) -> None:
        if rooms is None:
            return
        if len(self._rewritten) < self._settings.max_rooms:
            self._rewritten |= rooms
        self._poller.news()

    # What is to be done ----------------------------------------------------------------------------------------

    async def _read(self) -> int:
        """Read and follow bookmarks; return how many bytes there were."""
        try:
            found = await self._storage.read()
        except Refused as error:
            self._refused = True
            self.log.info(
                "{account}: the server gives no bookmarks: {condition}",
                account=self._account.bare,
                condition=str(error),
            )
            return self._storage.size
        self._follow(found)
        if self._write_back is not None:
            await self._write(self._write_back, found)
        return self._storage.size

    def _follow(self, found: Bookmarks) -> None:
        if found.unreadable:
            self.log.warn(
                "{account}: {n} unreadable bookmarks, of: {rooms}",
                account=self._account.bare,
                n=len(found.unreadable),
                rooms=found.unreadable,
            )
        self._account.notifications(_notifications(found))
        wanted = {room: bookmark for room, bookmark in found.rooms.items() if bookmark.autojoin}
        self._mark_as_bookmarked(wanted, found)
        rewritten, self._rewritten = self._rewritten, set()
        self._unfollowed.settle(wanted, found.unreadable, rewritten)
        outside = self._enter(wanted, rewritten)
        self._seen = {room: digest_of(bookmark) for room, bookmark in wanted.items() if room not in outside}
        passive = (hash(room) for room in found.rooms if room not in wanted)
        self._passive = frozenset(islice(passive, self._settings.max_rooms))
        self._in_storage, self._refused = found.storage is not None, False

    def _mark_as_bookmarked(self, wanted: Mapping[str, Bookmark], found: Bookmarks) -> None:
        """Tell the rooms that the account is in whether bookmarks keep it there; leave those where nothing does now.

        A bookmark that goes takes its hold away, and throws out no client: those that follow bookmarks leave by
        themselves, and the account leaves with the last of those that are there.
        """
        moved = self._in_storage is not None and self._in_storage != (found.storage is not None)
        for room, occupancy in list(self._account.rooms.items()):
            bookmarked = occupancy.membership.bookmarked
            if room in wanted:
                if not bookmarked:
                    self._account.set_bookmarked(room, True)
            elif not bookmarked or occupancy.leaving or room in found.unreadable:
                continue
            else:
                # A client may have begun to use the newer storage: what it did not take along is not taken back.
                self._unmark(room, stays=occupancy.attended or (moved and room not in found.rooms))

    def _unmark(self, room: str, *, stays: bool) -> None:
        """A bookmark is gone, or says no more that the account is to be in the room."""
        self.log.info("{account}: the bookmark that kept it in {room} is gone", account=self._account.bare, room=room)
        if stays:
            self._account.set_bookmarked(room, False)
        else:
            self._unmarked = {room}
            self._account.leave(room, Why.BOOKMARK_GONE)
            self._unmarked = set()

    def _enter(self, wanted: Mapping[str, Bookmark], rewritten: set[str]) -> set[str]:
        """Enter the rooms whose bookmarks are new or written anew; return those for which it has to be tried again.

        Who was removed from a room does not come back for a bookmark that was there before.
        """
        account, again, beyond = self._account, set(), set()
        for room, bookmark in wanted.items():
            occupancy = account.rooms.get(room)
            known = self._seen.get(room) == digest_of(bookmark) and room not in rewritten
            if (
                known
                or room in self._unfollowed.rooms
                or (self._write_back is not None and self._write_back.is_left(room))
            ):
                continue
            if occupancy is not None:
                if occupancy.leaving:
                    again.add(room)
            elif len(account.rooms) >= self._settings.max_rooms:
                beyond.add(room)
                account.not_followed(room)
            else:
                self.log.info("{account}: a bookmark says to join {room}", account=account.bare, room=room)
                account.enter(room, bookmark.nick or self._own_nick, bookmark.password)
        if again:
            self._poller.news()
        if beyond:
            self.log.warn(
                "{account}: {n} bookmarks are beyond the limit of rooms, and not followed",
                account=account.bare,
                n=len(beyond),
                rooms=beyond,
            )
        return again | beyond

    @property
    def _own_nick(self) -> str:
        address = parse_jid(self._account.bare)
        return address.local or address.domain

    async def _write(self, sync: BookmarkWriteBack, found: Bookmarks) -> None:
        nicks = {room: occupancy.membership.nick for room, occupancy in self._account.rooms.items()}
        changes = sync.changes(found, nicks)
        bookmarks = [bookmark for bookmark in changes.values() if bookmark is not None]
        try:
            if bookmarks:
                await self._storage.write(bookmarks, found)
        except Refused as error:
            self.log.warn(
                "{account}: the server does not take a bookmark: {condition}",
                account=self._account.bare,
                condition=str(error),
            )
            sync.done(changes, written=False)
            return
        sync.done(changes, written=True)
        if bookmarks:
            self._poller.news()  # to know what it looks like now
        for bookmark in bookmarks:
            self.log.info(
                "{account}: bookmark of {room} written, autojoin {autojoin}",
                account=self._account.bare,
                room=bookmark.room,
                autojoin=bookmark.autojoin,
            )
            if bookmark.autojoin:
                self._account.set_bookmarked(bookmark.room, True)


def _notifications(found: Bookmarks) -> dict[str, str]:
    settings = ((room, setting_of(bookmark.xml)) for room, bookmark in found.rooms.items())
    return {room: setting for room, setting in settings if setting is not None}
