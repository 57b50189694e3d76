"""Which bookmarks are to be written for what the account does."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.bookmarks.write_back import BookmarkWriteBack
from minimixproxy.xep.bookmarks import Bookmark, Bookmarks, new_bookmark, with_autojoin

ROOM, OTHER = "room@muc.test", "other@muc.test"
ON = new_bookmark(ROOM, "alice")
OFF = with_autojoin(ON, False)
NICKS = {ROOM: "alice", OTHER: "alice"}


class Changes(SynchronousTestCase):
    def change(
        self,
        joined: bool,
        bookmark: Bookmark | None,
        *,
        unset: bool = False,
        inside: bool = True,
        unreadable: frozenset[str] = frozenset(),
    ) -> bool | None:
        """Whether autojoin is written, and to what; None if nothing is. `unset`: it was switched off here before."""
        sync = BookmarkWriteBack("alice@a.test", lambda: 10)
        if unset:
            sync.left(ROOM)
            sync.done({ROOM: OFF}, written=True)
        (sync.joined if joined else sync.left)(ROOM)
        found = Bookmarks({ROOM: bookmark} if bookmark is not None else {}, unreadable)
        written = sync.changes(found, NICKS if inside else {})[ROOM]
        return written.autojoin if written is not None else None

    def test_table(self) -> None:
        for joined, bookmark, options, expected in (
            (True, None, {}, True),
            (True, ON, {}, None),
            (True, OFF, {}, None),  # somebody wanted it so
            (True, OFF, {"unset": True}, True),  # it was we
            (True, ON, {"unset": True}, None),
            (True, None, {"inside": False}, None),  # it is out again
            (True, OFF, {"inside": False, "unset": True}, None),
            (True, None, {"unreadable": frozenset({ROOM})}, None),  # there is one, whatever it says
            (True, None, {"unreadable": frozenset({OTHER})}, True),
            (False, None, {}, None),
            (False, ON, {}, False),
            (False, OFF, {}, None),
        ):
            self.assertEqual(self.change(joined, bookmark, **options), expected, f"{joined} {bookmark} {options}")


class Wishes(SynchronousTestCase):
    def test_bounded(self) -> None:
        """What is beyond the bound is not noted; of a room that is noted the last word counts."""
        limit = [1]
        sync = BookmarkWriteBack("alice@a.test", lambda: limit[0])
        sync.joined(ROOM)
        sync.joined(OTHER)
        sync.left(ROOM)
        self.assertEqual(sync.changes(Bookmarks({ROOM: ON}), NICKS), {ROOM: OFF})
        self.assertEqual((sync.is_left(ROOM), sync.is_left(OTHER)), (True, False))
        limit[0] = 2
        sync.left(OTHER)
        self.assertTrue(sync.is_left(OTHER), "by another configuration")

    def test_done(self) -> None:
        """A wish is over when it was written, or cannot be, or needs nothing; one that came since stays."""
        for change, since, written, stays in (
            (ON, None, True, False),
            (ON, None, False, False),
            (None, None, True, False),
            (ON, "left", True, True),
            (None, "left", True, False),
        ):
            sync = BookmarkWriteBack("alice@a.test", lambda: 10)
            sync.joined(ROOM)
            if since is not None:
                sync.left(ROOM)
            sync.done({ROOM: change}, written=written)
            self.assertEqual(bool(sync.changes(Bookmarks({}), NICKS)), stays, f"{change} {since} {written}")

    def test_what_was_not_written_was_not_switched_off_here(self) -> None:
        for written, expected in ((True, ON), (False, None)):
            sync = BookmarkWriteBack("alice@a.test", lambda: 10)
            sync.left(ROOM)
            sync.done({ROOM: OFF}, written=written)
            sync.joined(ROOM)
            found = sync.changes(Bookmarks({ROOM: OFF}), NICKS)[ROOM]
            self.assertEqual(found and found.autojoin, expected and expected.autojoin, written)

    def test_switched_on_again(self) -> None:
        """From then on it is somebody else's affair."""
        sync = BookmarkWriteBack("alice@a.test", lambda: 10)
        sync.left(ROOM)
        sync.done({ROOM: OFF}, written=True)
        sync.joined(ROOM)
        sync.done({ROOM: ON}, written=True)
        sync.joined(ROOM)
        self.assertEqual(sync.changes(Bookmarks({ROOM: OFF}), NICKS), {ROOM: None})
