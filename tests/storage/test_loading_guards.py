"""Rows that are not what they should be, where the other tests of damage do not look; and refused ones among others."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from minimixproxy.minimix.interfaces.journal import KeptPrivate
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase, message
from tests.storage.test_trouble import TroubleTestCase

OTHER = "other@muc.example.org"


class AttachedRowTests(StorageTestCase):
    """Cursors of clients that were there when the proxy ended are settled before anything else is known of them."""

    def setUp(self) -> None:
        super().setUp()
        lab = self.lab()
        for name in (ROOM, OTHER):
            room = lab.journal.room(BARE, name)
            room.membership(MEMBERSHIP)
            lab.keep(2, room=name)
            room.attached("phone")
        lab.turn()
        lab.crash()
        self.whole = Path(self.state).read_bytes()

    def loaded(self, damage: str) -> dict[str, tuple[int, dict[str, int]]]:
        """Return what is there in spite of the damage: messages and cursors by room."""
        for path in self.directory.glob("state.sqlite*"):
            path.unlink()
        Path(self.state).write_bytes(self.whole)
        with closing(sqlite3.connect(self.state)) as connection, connection:  # which does not look at foreign keys
            connection.execute(damage)
        lab = self.lab()
        lab.crash()
        (account,) = lab.kept
        return {room.room: (len(room.messages), room.cursors) for room in account.rooms}

    def test_in_a_room_that_is_left_out(self) -> None:
        self.assertEqual(self.loaded(f"UPDATE rooms SET nick = '' WHERE room = '{OTHER}'"), {ROOM: (2, {"phone": 2})})

    def test_of_a_room_that_was_never_entered(self) -> None:
        """Its row goes: nobody knows of it, who could have it forgotten."""
        self.assertEqual(self.loaded(f"UPDATE rooms SET nick = NULL WHERE room = '{OTHER}'"), {ROOM: (2, {"phone": 2})})
        self.assertEqual(self.execute("SELECT room FROM rooms"), [(ROOM,)])

    def test_in_a_room_without_messages(self) -> None:
        """There is nothing in it that could have been seen."""
        empty = self.loaded(f"DELETE FROM messages WHERE room_id = (SELECT id FROM rooms WHERE room = '{OTHER}')")[
            OTHER
        ]
        self.assertEqual(empty, (0, {"phone": 0}))

    def test_since_no_time(self) -> None:
        """Whoever cannot be said to have seen something gets it; but no sooner than the room has something."""
        for value in ("'x'", "x'00'"):
            there = self.loaded(f"UPDATE cursors SET attached = {value} WHERE room_id = 3")
            self.assertEqual(there[ROOM], (2, {"phone": 2}), value)
            self.assertEqual(there[OTHER][0], 2, value)


class NothingWrongTests(TroubleTestCase):
    """What is no damage is not told as damage."""

    def test_an_account_without_a_login(self) -> None:
        self.journal.account_kept(BARE, None, 1.0)
        self.now.turn()
        self.now = self.again(self.now)
        self.assertEqual(([account.login for account in self.now.kept], self.logged("error")), ([None], 0))

    def test_attached_for_the_first_time_and_killed(self) -> None:
        """It got nothing: there is nothing to know of it."""
        self.writer.held_back = True
        self.room.attached("desk")
        self.now.turn()
        self.writer.store.write(self.writer.waiting[0])
        self.now = self.again(self.now)
        self.assertEqual(([room.cursors for room in self.now.kept[0].rooms], self.logged("error")), ([{}], 0))
        self.assertEqual(self.execute("SELECT count(*) FROM cursors"), [(0,)])


class AnotherKeyTests(TroubleTestCase):
    def test_of_a_rooms_password(self) -> None:
        """It is told which is lost; the room is there."""
        self.room.membership(replace(MEMBERSHIP, password="secret"))
        self.now.turn()
        self.now.crash()
        key = self.directory / "other.key"
        key.write_bytes(b"k" * 32)
        key.chmod(0o600)
        (account,) = self.lab(seal_key=key).kept
        self.assertEqual([room.membership for room in account.rooms], [MEMBERSHIP])
        self.assertEqual(self.logged(f"the password of {ROOM}, for "), 1, self.said)


class RefusedTests(TroubleTestCase):
    """A row that the database refuses costs itself, whatever else is in its batch."""

    def test_among_statements_that_find_nothing(self) -> None:
        """None of those is a row that is missing."""
        self.room.message_kept(message(self.room.next_sequence(), stanza_id="\ud800"))
        self.now.keep(1)
        self.room.cursor_forgotten("nobody")
        self.room.private_given(999)
        self.room.message_changed(message(998))
        self.room.private_kept(KeptPrivate(self.room.next_sequence(), b"<message/>"))
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual((self.messages(), self.now.given), ([2], [b"1"]))
        self.assertEqual((self.logged("refused, and left out"), self.journal.status.left_out), (1, 1))
        self.assertEqual(self.execute("SELECT sequence FROM privates"), [(3,)])

    def test_what_is_told_of_a_number_of_another_room(self) -> None:
        number = self.now.keep(1)[0].sequence
        self.now.turn()
        self.journal.room(BARE, OTHER).membership(MEMBERSHIP)
        self.journal.room(BARE, OTHER).message_kept(message(number))
        self.now.turn()
        self.assertEqual((self.logged(f"number {number} is another row's"), self.journal.status.left_out), (1, 1))
