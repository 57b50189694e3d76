"""All state goes from one database to another, and everything of it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.sasl.keys import Keys
from minimixproxy.storage import moving, schema
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.lease import HeldByAnother
from minimixproxy.storage.moving import move
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase, on_both_databases

LOGIN = KeptLogin("example.org", "alice", "sha256", b"\0salt\xff", 10_000, b"client", b"server")
KEYS = Keys("sha1", b"tlas", 4096, b"stored-1", b"server-1")
OTHER = "ölaf@example.org"
INSTALLATION = "minimix.0123456789abcdef"
#: What is never the same in two databases.
OWN = {"holder", "handed"}


def content(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    with database.engine.begin() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in schema.metadata.sorted_tables
            if table.name not in OWN
        }


@on_both_databases
class MovingTest(StorageTestCase):
    """From a file to the other database, and back to another file."""

    def setUp(self) -> None:
        super().setUp()
        self.from_file = Database(self.directory / "first.sqlite")
        self.target = Database(self.state)
        self.addCleanup(self.target.close)

    def fill(self) -> None:
        state, self.state = self.state, self.directory / "first.sqlite"
        lab = self.lab()
        self.state = state
        journal = lab.journal
        journal.account_kept(BARE, LOGIN, 1234.5)
        journal.bookmarks_unfollowed(BARE, {"rüm@muc.test": None})
        journal.blocked.put(OTHER, 5.5, "a note: ü 🙂")
        journal.login_keys.put(OTHER, [KEYS])
        room = journal.room(BARE, ROOM)
        room.membership(MEMBERSHIP)
        lab.keep(2500)
        lab.turn()
        lab.crash()
        self._labs.clear()

    def move(self, source: Database, target: Database) -> dict[str, int]:
        return move(source, target, INSTALLATION)

    def test_there_and_back(self) -> None:
        self.fill()
        before = content(self.from_file)
        moved = self.move(self.from_file, self.target)
        self.assertEqual((moved["messages"], moved["accounts"], moved["blocked"], moved["login_keys"]), (2500, 1, 1, 1))
        self.assertEqual(content(self.target), before)
        self.assertEqual(content(self.from_file), before, "it is left as it is")
        back = Database(self.directory / "back.sqlite")
        self.assertEqual(self.move(self.target, back), moved)
        self.assertEqual(content(back), before)
        self.assertEqual((self.directory / "back.sqlite").stat().st_mode & 0o777, 0o600)

    def test_it_can_be_used(self) -> None:
        """By a proxy at once, with the key and the rest of the same directory."""
        self.fill()
        self.move(self.from_file, self.target)
        lab = self.lab()
        (account,) = lab.kept
        self.assertEqual((account.login, [len(room.messages) for room in account.rooms]), (LOGIN, [2500]))
        self.assertEqual(lab.journal.login_keys.of(OTHER), (KEYS,))
        self.assertIn(OTHER, lab.journal.blocked)
        lab.keep(1)
        lab.turn()

    def test_each_table_is_moved(self) -> None:
        """A table that is new is not forgotten."""
        self.fill()
        moved = self.move(self.from_file, self.target)
        self.assertEqual(set(moved) | OWN, set(schema.metadata.tables))

    def test_not_into_what_holds_something(self) -> None:
        self.fill()
        self.move(self.from_file, self.target)
        before = content(self.target)
        error = self.assertRaises(StateError, self.move, self.from_file, self.target)
        self.assertIn("holds state already", str(error))
        self.assertEqual(content(self.target), before)

    def test_all_or_nothing(self) -> None:
        self.fill()
        rows = moving._rows

        def failing(reading: Any, writing: Any, table: Any) -> int:
            if table.name == "messages":
                raise StateError("the network is gone")
            return rows(reading, writing, table)

        with_fault = self.patch(moving, "_rows", failing)
        self.assertRaises(StateError, self.move, self.from_file, self.target)
        self.assertFalse(any(found for name, found in content(self.target).items() if name != "identity"))
        with_fault.restore()
        self.assertEqual(self.move(self.from_file, self.target)["messages"], 2500)

    def test_counted(self) -> None:
        self.fill()
        self.patch(moving, "_rows", lambda *_: 7)
        error = self.assertRaises(StateError, self.move, self.from_file, self.target)
        self.assertIn("have arrived: nothing is moved", str(error))

    def test_while_a_proxy_has_it(self) -> None:
        if self.postgresql:
            return  # it is held by a lease, which is another test's
        self.fill()
        self.lab()
        error = self.assertRaises(HeldByAnother, self.move, self.from_file, self.target)
        self.assertIn("is in use by", str(error))

    def test_nowhere(self) -> None:
        missing = Database(self.directory / "missing.sqlite")
        self.assertIn("there is no database yet", str(self.assertRaises(StateError, self.move, missing, self.target)))
        self.assertFalse((self.directory / "missing.sqlite").exists())
        same = Database(Path(self.directory / "first.sqlite"))
        self.fill()
        self.assertIn("already", str(self.assertRaises(StateError, self.move, self.from_file, same)))

    def test_a_row_that_is_damaged(self) -> None:
        self.fill()
        with self.from_file.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE rooms SET since = 'then'")
        if self.postgresql:
            error = self.assertRaises(StateError, self.move, self.from_file, self.target)
            self.assertNotIn("Traceback", str(error))
            self.assertFalse(content(self.target)["accounts"])
