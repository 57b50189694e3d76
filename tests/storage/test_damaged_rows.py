"""Anything may stand in a row of SQLite. What cannot be used costs that row, is logged, and nothing else is lost."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, ClassVar

from twisted.logger import capturedLogs, formatEvent

from minimixproxy.minimix.interfaces.journal import KeptLogin, KeptPrivate
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase

OTHER = "other@muc.example.org"
LOGIN = KeptLogin("example.org", "alice", "SHA-256", b"salt", 10_000, b"client", b"server", "password")
BLOB = "x'00'"
NO_TEXT = "CAST(x'ff41' AS TEXT)"
TOO_LONG = f"'{'x' * 1024}'"  # for a part of a JID
#: Faults of one column each: what it is set to, and which things that are kept it may cost.
ACCOUNT_FAULTS = {
    "bare": ("''", BLOB, NO_TEXT, TOO_LONG),
}
LOGIN_FAULTS = {
    "domain": (BLOB, NO_TEXT),
    "username": ("NULL", BLOB, NO_TEXT),
    "hash_name": ("NULL", BLOB),
    "salt": ("NULL", "'salt'", "5"),
    "iterations": ("NULL", "'many'", BLOB, "1.5"),
    "client_key": ("'key'", "7", BLOB, "zeroblob(64)"),
    "server_key": ("'key'", "7", BLOB, "zeroblob(64)"),
    "password": ("'secret'", "7", BLOB, "zeroblob(64)"),
}
ROOM_FAULTS = {
    "account_id": ("99", "'x'"),
    "room": ("''", BLOB, NO_TEXT, TOO_LONG, "'room@'"),
    "nick": ("''", BLOB, NO_TEXT, TOO_LONG, "char(7)"),
    "since": ("'soon'", BLOB),
}
MESSAGE_FAULTS = {
    "room_id": ("'x'", BLOB),
    "time": ("'soon'", BLOB),
    "raw": ("'x'", "5", "x'3c'", NO_TEXT),
    "stanza_id": (BLOB, NO_TEXT),
    "amends": ("'x'", BLOB, "1.5"),
    "checksum": ("0", "'x'"),
}
PRIVATE_FAULTS = {
    "raw": ("'x'", "5", "x'3c'", NO_TEXT),
    "checksum": ("0", "'x'"),
}
CURSOR_FAULTS = {
    "resource": (BLOB, NO_TEXT),
    "sequence": ("NULL", "'x'", BLOB, "1.5"),
}
#: What may be anything: it costs nothing but itself.
HARMLESS = {
    "accounts": {"last_seen": ("'x'", BLOB, "-5", "9e99"), "refused": ("'x'", "7")},
    "rooms": {
        "wished_nick": ("NULL", "''", BLOB, NO_TEXT, TOO_LONG, "char(7)"),
        "password": ("'x'", BLOB),
        "bookmarked": ("'x'", "7"),
        "since": ("-5", "9e99"),
    },
    "messages": {"time": ("-5", "9e99", "7"), "stamped": ("'x'", "7"), "retracted": ("'x'", "7")},
}


class DamagedRowTests(StorageTestCase):
    def setUp(self) -> None:
        """An account with a login and two rooms, of which the first has two of everything."""
        super().setUp()
        lab = self.lab()
        lab.journal.account_kept(BARE, LOGIN, 5.0)
        for name in (ROOM, OTHER):
            room = lab.journal.room(BARE, name)
            room.membership(MEMBERSHIP)
            lab.keep(2, room=name)
        room = lab.journal.room(BARE, ROOM)
        for number, resource in enumerate(("desk", "phone"), 1):
            room.private_kept(KeptPrivate(room.next_sequence(), b"<message/>"))
            room.seen(resource, number)
        lab.turn()
        lab.crash()
        self.whole = Path(self.state).read_bytes()

    def damaged(self, table: str, column: str, value: str, where: str) -> tuple[Any, list[str]]:
        """Return what is loaded of a database with one damaged row, as counts, and what was logged of it."""
        for path in self.directory.glob("state.sqlite*"):
            path.unlink()
        Path(self.state).write_bytes(self.whole)
        with closing(sqlite3.connect(self.state)) as connection, connection:  # which does not look at foreign keys
            connection.execute(f"UPDATE {table} SET {column} = {value} WHERE {where}")
        with capturedLogs() as events:
            lab = self.now = self.lab()
        lab.crash()
        errors = [str(formatEvent(event)) for event in events if event["log_level"].name == "error"]
        kept = [
            (
                account.bare,
                account.login is not None,
                {room.room: (len(room.messages), len(room.privates), len(room.cursors)) for room in account.rooms},
            )
            for account in lab.kept
        ]
        return kept, errors

    ALL: ClassVar[Any] = {ROOM: (2, 2, 2), OTHER: (2, 0, 0)}

    def faults(self, table: str, faults: dict[str, tuple[str, ...]], where: str, expected: Any, told: int = 1) -> None:
        for column, values in faults.items():
            for value in values:
                kept, errors = self.damaged(table, column, value, where)
                self.assertEqual(kept, expected, f"{table}.{column} = {value}")
                self.assertEqual(len(errors), told, f"{table}.{column} = {value}: {errors}")

    def left(self) -> list[int]:
        """How many rows are left: what nobody knows of could not be forgotten at its owner's wish."""
        tables = ("accounts", "rooms", "messages", "privates", "cursors")
        return [self.execute(f"SELECT count(*) FROM {table}")[0][0] for table in tables]

    def test_account(self) -> None:
        for value in ACCOUNT_FAULTS["bare"]:
            kept, errors = self.damaged("accounts", "bare", value, "1")
            self.assertEqual(kept, [])
            self.assertIn("row 1 of accounts is left out", errors[0])
            self.assertEqual(self.left(), [0, 0, 0, 0, 0])

    def test_login(self) -> None:
        """The account is there, and waits for a client: no half of a login is used."""
        self.faults("accounts", LOGIN_FAULTS, "1", [(BARE, False, self.ALL)])

    def test_room(self) -> None:
        self.faults("rooms", ROOM_FAULTS, f"room = '{OTHER}'", [(BARE, True, {ROOM: (2, 2, 2)})], told=3)
        self.assertEqual(self.left(), [1, 1, 2, 2, 2])

    def test_message(self) -> None:
        expected = [(BARE, True, {ROOM: (1, 2, 2), OTHER: (2, 0, 0)})]
        faults = {column: values for column, values in MESSAGE_FAULTS.items() if column != "room_id"}
        self.faults("messages", faults, "sequence = 1", expected)

    def test_message_of_no_room(self) -> None:
        """It is swept away: nobody could ever find it to delete it."""
        for value in MESSAGE_FAULTS["room_id"]:
            kept, _errors = self.damaged("messages", "room_id", value, "sequence = 1")
            self.assertEqual(kept, [(BARE, True, {ROOM: (1, 2, 2), OTHER: (2, 0, 0)})])
            self.assertEqual(self.execute("SELECT count(*) FROM messages"), [(3,)])

    def test_a_room_that_was_never_entered(self) -> None:
        """No damage: the process ended between a message and the answer to the join. It goes, with what was said."""
        kept, errors = self.damaged("rooms", "nick", "NULL", f"room = '{OTHER}'")
        self.assertEqual((kept, errors), ([(BARE, True, {ROOM: (2, 2, 2)})], []))
        for table, left in (("rooms", 1), ("messages", 2)):
            self.assertEqual(self.execute(f"SELECT count(*) FROM {table}"), [(left,)])

    def test_private(self) -> None:
        first = "sequence = (SELECT min(sequence) FROM privates)"
        self.faults("privates", PRIVATE_FAULTS, first, [(BARE, True, {ROOM: (2, 1, 2), OTHER: (2, 0, 0)})])

    def test_cursor(self) -> None:
        expected = [(BARE, True, {ROOM: (2, 2, 1), OTHER: (2, 0, 0)})]
        self.faults("cursors", CURSOR_FAULTS, "resource = 'phone'", expected)

    def test_harmless(self) -> None:
        rows = {"accounts": "1", "rooms": f"room = '{OTHER}'", "messages": "sequence = 1"}
        for table, faults in HARMLESS.items():
            for column, values in faults.items():
                for value in values:
                    kept, _errors = self.damaged(table, column, value, rows[table])
                    self.assertEqual(kept, [(BARE, True, self.ALL)], f"{table}.{column} = {value}")
                    self.assertTrue(0 <= self.now.kept[0].last_seen < 1e12)
                    for room in self.now.kept[0].rooms:
                        self.assertEqual(room.membership.nick, "alice")
                        self.assertTrue(0 <= room.membership.since < 1e12)
                        self.assertIn(room.membership.wished_nick, ("alice", "Alice"))
                        self.assertTrue(all(0 <= message.time < 1e12 for message in room.messages))
