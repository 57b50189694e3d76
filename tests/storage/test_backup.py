"""A copy of a database that is written to at the same time, and what becomes of it when it is restored."""

from __future__ import annotations

import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

from minimixproxy.storage import backup
from minimixproxy.storage.backup import back_up
from minimixproxy.storage.errors import StateError
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase


class BackupTest(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()
        self.now.journal.account_kept(BARE, None, 1.0)
        self.now.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        self.now.keep(3)
        self.now.turn()
        source = self.now.database.file
        assert source is not None
        self.source = source
        self.target = self.source.parent / "backup.sqlite"

    def refused(self, text: str, *, overwrite: bool = False) -> None:
        error = self.assertRaises(StateError, back_up, self.source, self.target, overwrite=overwrite)
        self.assertIn(text, str(error))
        self.assertEqual([path for path in self.target.parent.iterdir() if path.name.startswith(".")], [])

    def test_it_is_whole_and_private(self) -> None:
        """What is still in the write-ahead log is in it; writing goes on."""
        copied = back_up(self.source, self.target)
        self.assertEqual((copied.accounts, copied.rooms), (1, 1))
        self.assertEqual(copied.size, self.target.stat().st_size)
        self.assertEqual(stat.S_IMODE(self.target.stat().st_mode), 0o600)
        self.assertEqual({path.name for path in self.target.parent.glob("*backup*")}, {"backup.sqlite"})
        self.now.keep(2)
        self.now.turn()
        with closing(sqlite3.connect(self.target)) as connection:
            self.assertEqual(connection.execute("SELECT count(*) FROM messages").fetchone(), (3,))
        self.assertEqual(self.execute("SELECT count(*) FROM messages"), [(5,)])

    def test_restored(self) -> None:
        """In the place of a database that went on: what was kept at the time of the copy is there."""
        back_up(self.source, self.target)
        self.now.keep(2)
        self.now.turn()
        self.now.crash()
        for name in (f"{self.source.name}-wal", f"{self.source.name}-shm"):
            (self.source.parent / name).unlink(missing_ok=True)
        shutil.copy(self.target, self.source)
        again = self.lab()
        (account,) = again.kept
        (room,) = account.rooms
        self.assertEqual((account.bare, room.room, len(room.messages)), (BARE, ROOM, 3))
        (message,) = again.keep(1)
        self.assertGreater(message.sequence, 5, "numbers that were given out since are not given again")

    def test_a_file_that_is_there(self) -> None:
        self.target.write_text("precious")
        self.refused("is there already, and stays as it is")
        self.assertEqual(self.target.read_text(), "precious")
        self.target.chmod(0o644)
        back_up(self.source, self.target, overwrite=True)
        self.assertEqual(stat.S_IMODE(self.target.stat().st_mode), 0o600)
        back_up(self.source, self.target, overwrite=True)

    def test_not_over_itself(self) -> None:
        self.target.symlink_to(self.source)
        self.refused("is no file that may be overwritten", overwrite=True)
        self.target.unlink()
        self.target.mkdir()
        self.refused("is no file that may be overwritten", overwrite=True)
        self.assertEqual(self.execute("SELECT count(*) FROM messages"), [(3,)])

    def test_somebody_makes_it_meanwhile(self) -> None:
        copy = backup._copy

        def slow(source: Path, target: Path) -> None:
            copy(source, target)
            self.target.write_text("theirs")

        self.patch(backup, "_copy", slow)
        self.refused("was made by somebody else meanwhile")
        self.assertEqual(self.target.read_text(), "theirs")

    def test_no_place(self) -> None:
        self.target = self.source.parent / "nowhere" / "backup.sqlite"
        error = self.assertRaises(StateError, back_up, self.source, self.target)
        self.assertIn("No such file or directory", str(error))

    def test_no_database(self) -> None:
        error = self.assertRaises(StateError, back_up, self.source.parent / "none", self.target)
        self.assertIn("there is no database yet", str(error))
        damaged = self.source.parent / "damaged"
        damaged.write_text("a shopping list\n" * 100)
        error = self.assertRaises(StateError, back_up, damaged, self.target)
        self.assertIn("cannot be copied", str(error))
        self.assertFalse(self.target.exists())
