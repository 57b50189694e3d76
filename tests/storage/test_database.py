"""Databases that are new, old, of a newer version, damaged, or something else altogether."""

import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from twisted.trial import unittest

from minimixproxy.cannot_start import CannotStart
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError, said
from minimixproxy.storage.schema import metadata
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase, on_both_databases, require_postgresql


def prepare(database: Database) -> str:
    """Make or update the schema; return the identity."""
    with database.prepared() as connection:
        return database.identity(connection)


@on_both_databases
class VersionTests(StorageTestCase):
    from_nothing = True

    def database(self) -> Database:
        return Database(self.state)

    def test_from_empty(self) -> None:
        """What migrations make is what the code is written for."""
        from alembic.autogenerate import compare_metadata
        from alembic.runtime.migration import MigrationContext

        prepare(self.database())
        with self.database().engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            self.assertEqual(compare_metadata(context, metadata), [])
            if self.postgresql:  # else one more would number rows itself
                found = connection.exec_driver_sql("SELECT sequencename FROM pg_sequences")
                self.assertEqual(found.fetchall(), [("epochs",)])

    def test_identity_stays(self) -> None:
        identity = prepare(self.database())
        self.assertRegex(identity, "^[0-9a-f]{32}$")
        self.assertEqual(prepare(self.database()), identity)

    def test_newer_version(self) -> None:
        prepare(self.database())
        self.execute("UPDATE alembic_version SET version_num = '0999'")
        for refuse in (lambda: prepare(self.database()), self.database().check):
            error = self.assertRaises(StateError, refuse)
            self.assertIn(f'{self.database().name}: was written by a newer minimixproxy (schema "0999"', str(error))

    def test_tables_of_something_else(self) -> None:
        if isinstance(self.state, Path):
            sqlite3.connect(self.state).close()
        self.execute("CREATE TABLE invoices (id INTEGER)")
        error = self.assertRaises(StateError, prepare, self.database())
        self.assertEqual(str(error), f"{self.database().name}: holds tables of something else")

    def test_check_changes_nothing(self) -> None:
        self.database().check()
        if isinstance(self.state, Path):
            self.assertFalse(self.state.exists())
        prepare(self.database())
        self.database().check()


class AloneTests(StorageTestCase):
    """With nothing there yet, there is no row to lock."""

    from_nothing = True

    postgresql = True

    def test_one_process_at_a_time(self) -> None:
        may_come_in = "SELECT pg_try_advisory_xact_lock(6520213840196154221)"
        with Database(self.state).prepared():
            self.assertEqual(self.execute(may_come_in), [(False,)])
        self.assertEqual(self.execute(may_come_in), [(True,)])


class FileTests(StorageTestCase):
    from_nothing = True

    def test_for_its_owner_only(self) -> None:
        lab = self.lab()
        lab.keep(3)
        lab.turn()
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in self.directory.iterdir()}
        self.assertEqual(set(modes.values()), {0o600}, modes)
        self.assertLessEqual({"state.sqlite", "state.sqlite-wal", "seal.key", "given_out"}, set(modes))

    def test_readable_by_others(self) -> None:
        Path(self.state).touch(mode=0o644)
        prepare(Database(self.state))
        self.assertEqual(stat.S_IMODE(Path(self.state).stat().st_mode), 0o600)

    def test_how_it_is_written(self) -> None:
        lab = self.lab(synced=True)
        lab.keep()
        lab.turn()
        cursor = lab.writer.cursor()
        found = [
            cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
        self.assertEqual(found, ["wal", 1, 1])

    def test_no_directory(self) -> None:
        error = self.assertRaises(StateError, prepare, Database(self.directory / "missing" / "state.sqlite"))
        self.assertEqual(str(error), f"{self.directory}/missing/state.sqlite: No such file or directory")

    def test_a_directory(self) -> None:
        error = self.assertRaises(StateError, prepare, Database(self.directory))
        self.assertIn(f"{self.directory}: ", str(error))


def fail(error: Exception) -> None:
    raise error


class ExplainedTests(unittest.SynchronousTestCase):
    def test_what_the_operator_reads(self) -> None:
        damaged = sqlite3.DatabaseError("malformed")
        damaged.sqlite_errorcode = sqlite3.SQLITE_CORRUPT | 256  # an extended code of it
        database = Database(Path("state.sqlite"))
        for error, text in (
            (SQLAlchemyError("odd\n  thing"), "state.sqlite: odd thing"),
            (DBAPIError("SELECT", {}, sqlite3.OperationalError("locked")), "state.sqlite: locked"),
            (sqlite3.OperationalError("disk full"), "state.sqlite: disk full"),
            (damaged, "state.sqlite: is damaged, or no SQLite database (malformed). Restore it from a backup"),
            (OSError(28, "No space left on device"), "state.sqlite: No space left on device"),
        ):
            with self.assertRaises(StateError) as raised, database.explained():
                fail(error)
            self.assertTrue(str(raised.exception).startswith(text), str(raised.exception))

    def test_nothing_of_what_is_kept(self) -> None:
        """Neither in what the log has of a refused row, nor in a traceback."""

        class Refused(Exception):
            """As psycopg's are."""

            diag = SimpleNamespace(message_primary="null value in column\n x")

        row = Refused("null value in column x\nDETAIL:  Failing row contains (1, a body)")
        self.assertEqual(said(row), "null value in column x")
        self.assertEqual(said(sqlite3.OperationalError("disk\n full")), "disk full")
        for database in (Database(Path(self.mktemp())), Database("postgresql://alice@127.0.0.1/x")):
            self.assertTrue(database.engine.hide_parameters)


class DamageTests(StorageTestCase):
    """A damaged file is refused, and left as it is; a damaged row costs itself."""

    def filled(self) -> None:
        lab = self.lab()
        lab.journal.account_kept(BARE, None, 5.0)
        for room in (ROOM, "other@muc.example.org"):
            lab.journal.room(BARE, room).membership(MEMBERSHIP)
            lab.keep(300, room=room)
        lab.journal.room(BARE, ROOM).seen("phone", 1)
        lab.journal.room(BARE, ROOM).seen("desk", 2)
        lab.turn()
        lab.crash()

    def test_no_database(self) -> None:
        Path(self.state).write_text("This is my shopping list.\n" * 100)
        for refuse in (self.lab, Database(self.state).check):
            error = self.assertRaises(StateError, refuse)
            self.assertRegex(str(error), f'^{self.state}: is damaged, or no SQLite database .*"sqlite3 .* .recover"')
        self.assertTrue(Path(self.state).read_text().startswith("This is my shopping list."))

    def test_damaged_pages(self) -> None:
        self.filled()
        data = bytearray(Path(self.state).read_bytes())
        for page in range(1, len(data) // 4096):
            data[page * 4096 : page * 4096 + 100] = b"\xff" * 100
        Path(self.state).write_bytes(data)
        self.assertIn("is damaged", str(self.assertRaises(StateError, Database(self.state).check)))
        self.assertIn("is damaged", str(self.assertRaises(StateError, self.lab)))
        self.assertEqual(Path(self.state).read_bytes(), bytes(data))

    def test_a_damaged_page(self) -> None:
        """Of messages, say: who looks before the start finds that, too."""
        self.filled()
        Database(self.state).check()
        data = bytearray(Path(self.state).read_bytes())
        data[-4096:-3996] = b"\xff" * 100
        Path(self.state).write_bytes(data)
        self.assertIn("is damaged", str(self.assertRaises(StateError, Database(self.state).check)))

    def test_rows(self) -> None:
        faults = {
            "UPDATE messages SET raw = 'x' WHERE sequence = 5": (2, 599, 2),
            "UPDATE messages SET raw = x'00' WHERE sequence = 5": (2, 599, 2),
            "UPDATE messages SET time = 'soon' WHERE sequence = 5": (2, 599, 2),
            "UPDATE messages SET amends = 'x', stanza_id = 7 WHERE sequence = 5": (2, 599, 2),
            "UPDATE messages SET room_id = 'x' WHERE sequence = 5": (2, 599, 2),
            "UPDATE rooms SET nick = '' WHERE room LIKE 'other%'": (1, 300, 2),
            "UPDATE rooms SET nick = x'00' WHERE room LIKE 'other%'": (1, 300, 2),
            "UPDATE rooms SET since = 'x' WHERE room LIKE 'other%'": (1, 300, 2),
            "UPDATE rooms SET password = 'x' WHERE room LIKE 'other%'": (2, 600, 2),
            "UPDATE cursors SET sequence = 'x' WHERE resource = 'phone'": (2, 600, 1),
            "UPDATE accounts SET last_seen = 'x', refused = 'x', domain = 'x', salt = 5": (2, 600, 2),
        }
        for statement, expected in faults.items():
            self.filled()
            self.execute(statement)
            lab = self.lab()
            (account,) = lab.kept
            found = (
                len(account.rooms),
                sum(len(room.messages) for room in account.rooms),
                sum(len(room.cursors) for room in account.rooms),
            )
            self.assertEqual(found, expected, statement)
            lab.crash()
            for path in self.directory.glob("state.sqlite*"):
                path.unlink()

    def test_room_of_a_bad_row_can_be_entered_again(self) -> None:
        self.filled()
        self.execute("UPDATE rooms SET nick = '' WHERE room LIKE 'other%'")
        lab = self.lab()
        lab.journal.room(BARE, "other@muc.example.org").membership(MEMBERSHIP)
        lab.turn()
        self.assertEqual([len(room.messages) for room in self.again(lab).kept[0].rooms], [300, 0])

    def test_bad_messages_are_trimmed_with_the_rest(self) -> None:
        self.filled()
        self.execute("UPDATE messages SET raw = 'x' WHERE sequence = 5")
        lab = self.lab()
        lab.journal.room(BARE, ROOM).trimmed(100)
        lab.turn()
        self.assertEqual(self.execute("SELECT min(sequence) FROM messages"), [(100,)])


class UnreachableTests(unittest.TestCase):
    needs_programs = True  # not for `make unit`

    def setUp(self) -> None:
        require_postgresql()

    def test_password_is_not_shown(self) -> None:
        url = "postgresql://alice:s3cr3t@127.0.0.1:1/state?password=0ther"
        database = Database(url)
        error = self.assertRaises(StateError, prepare, database)
        self.assertIn("127.0.0.1", str(error))
        for text in (str(error), database.name):
            self.assertNotIn("s3cr3t", text)
            self.assertNotIn("0ther", text)

    def test_no_url(self) -> None:
        error = self.assertRaises(StateError, Database, "postgresql://a:s3cr3t@host:port/x")
        self.assertNotIn("s3cr3t", str(error))


class WithoutDriverTests(unittest.TestCase):
    def test_what_to_install_is_on_pypi(self) -> None:
        with patch.dict(sys.modules, {"psycopg": None}):
            error = self.assertRaises(StateError, Database, "postgresql://alice:s3cr3t@127.0.0.1/state")
        self.assertTrue(str(error).endswith("-m pip install 'psycopg[binary]'"), error)
        self.assertNotIn("s3cr3t", str(error))


class CannotStartTests(unittest.TestCase):
    def test_ends_the_process(self) -> None:
        """One line, status 1; and whoever catches exceptions, as twistd does for its PID file, catches it."""
        program = "from minimixproxy.cannot_start import CannotStart; raise CannotStart('no state')"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (1, "", "minimixproxy: no state\n"))
        self.assertIsInstance(CannotStart("x"), Exception)
