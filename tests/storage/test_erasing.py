"""What was forgotten, retracted or has expired is in no file any more: by its bytes."""

import random
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from minimixproxy.minimix.interfaces.journal import KeptLogin, KeptPrivate
from minimixproxy.sasl.keys import Keys
from minimixproxy.storage import database as storage_database
from minimixproxy.storage import room_on_disk, wal
from minimixproxy.storage.database import Database, write_anew
from minimixproxy.storage.store import ERASED, ERASED_BUSY
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, message
from tests.storage.test_database import prepare
from tests.storage.test_trouble import TroubleTestCase

SECRET = "the-secret-of-alice"
LOGIN = KeptLogin("example.org", "alice-the-user", "sha256", b"salt-of-alice", 4096, b"c" * 32, b"s" * 32, "pencil")
OTHER = "bob@example.org"


class ErasingTests(TroubleTestCase):
    """SQLite."""

    def found(self, *texts: str) -> set[str]:
        """The names of the files in which one of the texts is."""
        wanted = [text.encode() for text in texts]
        return {
            path.name
            for path in self.directory.rglob("*")
            if path.is_file() and any(text in path.read_bytes() for text in wanted)
        }

    def all_of_alice(self) -> set[str]:
        return self.found(BARE, ROOM, SECRET, LOGIN.username, "salt-of-alice", "nick-of-alice", "phone-of-alice")

    def filled(self) -> None:
        """Small messages and such as need pages of their own; some are gone already, and in free pages."""
        self.journal.account_kept(BARE, LOGIN, 5.0)
        self.room.membership(replace(MEMBERSHIP, nick="nick-of-alice", password=SECRET))
        self.room.attached("phone-of-alice")
        for number in range(60):
            sequence = self.room.next_sequence()
            text = f"<message>{SECRET} {number} {'x' * (20_000 if number % 3 else 20)} {SECRET}</message>"
            self.room.message_kept(message(sequence, raw=text.encode(), stanza_id=f"{SECRET}-id"))
            self.now.turn()
        self.room.private_kept(KeptPrivate(self.room.next_sequence(), f"<message>{SECRET}</message>".encode()))
        self.room.trimmed(sequence - 10)
        self.room.seen("phone-of-alice", sequence)
        self.bob_hears_something()

    def bob_hears_something(self) -> None:
        other = self.journal.room(OTHER, "other@muc.example.org")
        other.membership(MEMBERSHIP)
        other.message_kept(message(other.next_sequence(), raw=b"<message/>"))
        self.now.turn()

    def test_forgotten(self) -> None:
        self.filled()
        self.assertIn("state.sqlite-wal", self.all_of_alice())
        self.journal.account_forgotten(BARE)
        erased = self.journal.erased(copies=True)
        self.now.turn()
        self.successResultOf(erased)
        self.assertEqual(self.all_of_alice(), set())
        self.assertEqual([account.bare for account in self.again(self.now).kept], [OTHER])

    def test_keys_of_an_account_that_was_never_here(self) -> None:
        """They may be forgotten, too."""
        self.bob_hears_something()
        self.journal.login_keys.put(BARE, [Keys("sha256", b"salt-of-alice", 4096, b"stored", b"server", b"client")])
        self.now.turn()
        self.assertIn("state.sqlite-wal", self.all_of_alice())
        self.assertTrue(self.journal.account_forgotten(BARE))
        erased = self.journal.erased(copies=True)
        self.now.turn()
        self.successResultOf(erased)
        self.assertEqual(self.all_of_alice(), set())

    def many_accounts(self) -> list[str]:
        """Accounts that write at once, rows of all sizes: SQLite moves them from page to page. Return their tags."""
        chance = random.Random(1)
        tags = [f"tag{number:03}of" for number in range(20)]
        for _ in range(60):
            for _ in range(20):
                tag = chance.choice(tags)
                room = self.journal.room(f"{tag}@example.org", f"{tag}{chance.randrange(3)}@muc.example.org")
                room.membership(replace(MEMBERSHIP, nick=f"{tag}-nick"))
                room.seen(f"{tag}-{chance.randrange(100)}{'z' * chance.randrange(150)}", 1)
                text = f"<message>{tag}{'x' * chance.choice((5, 50, 200, 900, 3000))}</message>"
                room.message_kept(message(room.next_sequence(), raw=text.encode(), stanza_id=f"{tag}-id"))
            self.now.turn()
        return tags

    def test_no_copy_is_left_in_a_page(self) -> None:
        for tag in self.many_accounts():
            self.journal.account_forgotten(f"{tag}@example.org")
            erased = self.journal.erased(copies=True)
            self.now.turn()
            self.now.clock.advance(60)
            self.writer.rest()
            self.successResultOf(erased)
            self.assertEqual(self.found(tag), set())

    def counted(self, seconds: float = 0.0) -> list[float]:
        """Return a list of when the file will have been written anew; it takes so long each time."""
        times: list[float] = []

        def write(cursor: Any) -> None:
            times.append(self.now.clock.seconds())
            self.now.clock.advance(seconds)
            write_anew(cursor)

        self.patch(wal, "write_anew", write)
        return times

    def seconds_pass(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now.clock.advance(1)
            self.writer.rest()

    def test_removals_by_clients_share_one_writing_anew(self) -> None:
        """They may remove accounts again and again: that must not hold up what others say."""
        times = self.counted()
        tags = self.many_accounts()
        erased = []
        for tag in tags[:10]:
            self.journal.account_forgotten(f"{tag}@example.org")
            erased.append(self.journal.erased(copies=False))
            self.now.turn()
            self.seconds_pass(20)
        for done in erased:
            self.successResultOf(done)
        self.assertEqual(times, [])
        self.seconds_pass(int(wal.GATHERED))
        self.assertEqual((len(times), self.found(*tags[:10])), (1, set()))
        self.seconds_pass(3600)
        self.assertEqual(len(times), 1)

    def test_removals_by_clients_on_a_large_file(self) -> None:
        """They take a far smaller part of the time than the operator's, and these wait for none of them."""
        times = self.counted(10.0)
        tags = self.many_accounts()
        for tag in tags[:18]:
            self.journal.account_forgotten(f"{tag}@example.org")
            self.now.turn()
            self.seconds_pass(600)
        self.assertEqual(len(times), 3)
        self.assertGreater(times[1] - times[0], 5000)
        self.journal.account_forgotten(f"{tags[18]}@example.org")
        erased = self.journal.erased(copies=True)
        self.now.turn()
        self.successResultOf(erased)
        self.assertEqual(self.found(*tags[:19]), set())

    def test_the_operator_asks_about_an_account_that_its_client_removed(self) -> None:
        """What the removal left for later is done at once, though the account is not known any more."""
        tags = self.many_accounts()
        for tag in tags[:10]:
            self.journal.account_forgotten(f"{tag}@example.org")
            self.now.turn()
        self.assertTrue(self.found(*tags[:10]))
        erased = self.journal.erased(copies=True)
        self.now.turn()
        self.successResultOf(erased)
        self.assertEqual(self.found(*tags[:10]), set())

    def test_the_log_is_not_truncated_for_each_removal(self) -> None:
        truncated: list[float] = []
        truncate = wal.WriteAheadLog.truncate

        def counted(log: wal.WriteAheadLog, cursor: Any) -> None:
            truncated.append(self.now.clock.seconds())
            truncate(log, cursor)

        self.patch(wal.WriteAheadLog, "truncate", counted)
        for number in range(30):
            self.journal.account_kept(f"a{number}@example.org", None, 0.0)
            self.now.turn()
            self.journal.account_forgotten(f"a{number}@example.org")
            erased = self.journal.erased(copies=False)
            self.now.turn()
        self.assertEqual(len(truncated), 1)
        self.assertNoResult(erased)
        self.seconds_pass(int(wal.LOG_EVERY))
        self.successResultOf(erased)
        self.assertEqual(len(truncated), 2)

    def test_writing_anew_takes_a_small_part_of_the_time(self) -> None:
        """Accounts may go one after the other, and the disk may be full: others write meanwhile."""
        attempts: list[float] = []

        def slow(cursor: Any) -> None:
            attempts.append(self.now.clock.seconds())
            self.now.clock.advance(10)
            if len(attempts) < 3:
                raise sqlite3.OperationalError("database or disk is full")
            write_anew(cursor)

        tags = self.many_accounts()
        self.patch(wal, "write_anew", slow)
        self.journal.account_forgotten(f"{tags[0]}@example.org")
        erased = self.journal.erased(copies=True)
        self.now.turn()
        for _ in range(600):
            self.now.clock.advance(1)
            self.writer.rest()
        self.assertTrue(erased.called)
        self.assertEqual(len(attempts), 3)
        self.assertGreaterEqual(attempts[2] - attempts[0], 400)
        self.assertEqual(self.found(tags[0]), set())

    def test_no_room_to_write_anew(self) -> None:
        """It is not tried: others need what is left. When there is room, it is done."""
        times = self.counted()
        tag, *_ = self.many_accounts()
        free = 0
        self.patch(room_on_disk, "free_in", lambda _directory: free)
        self.journal.account_forgotten(f"{tag}@example.org")
        erased = self.journal.erased(copies=True)
        self.now.turn()
        self.seconds_pass(300)
        self.assertNoResult(erased)
        self.assertLessEqual(len(times), 6)
        self.assertEqual(self.logged("and 0 are free"), 1)
        self.assertEqual(self.log_size(), 0)  # nothing deleted is there meanwhile
        free = 1 << 30
        self.seconds_pass(int(wal.ROOM_AGAIN))
        self.successResultOf(erased)
        self.assertEqual((self.found(tag), self.logged("is written anew now")), (set(), 1))

    def test_no_room_for_what_clients_remove(self) -> None:
        times = self.counted()
        tag, *_ = self.many_accounts()
        self.patch(room_on_disk, "free_in", lambda _directory: 0)
        self.journal.account_forgotten(f"{tag}@example.org")
        self.now.turn()
        self.seconds_pass(int(wal.GATHERED * 4))
        self.assertIn(len(times), (3, 4))

    def test_nobody_knows_how_much_room_there_is(self) -> None:
        """As of a directory that is gone: that is no reason to stop writing."""

        def gone(directory: Path) -> int:
            raise FileNotFoundError(2, "No such file or directory", str(directory))

        tag, *_ = self.many_accounts()
        self.patch(room_on_disk, "free_in", gone)
        self.journal.account_forgotten(f"{tag}@example.org")
        erased = self.journal.erased(copies=True)
        self.now.turn()
        self.seconds_pass(10)
        self.assertNoResult(erased)
        self.assertEqual(self.logged("No such file or directory"), 1)

    def test_a_disk_that_is_full_meanwhile(self) -> None:
        """What was written to the log in vain is not left there."""
        sizes: list[int] = []

        def fails(cursor: Any) -> None:
            cursor.execute("BEGIN IMMEDIATE")
            cursor.execute("PRAGMA cache_size = 1")  # so that pages go to the log before the end
            cursor.execute("CREATE TABLE copy AS SELECT zeroblob(1000) FROM messages AS a, messages AS b LIMIT 500")
            cursor.execute("ROLLBACK")
            sizes.append(self.log_size())
            raise sqlite3.OperationalError("database or disk is full")

        tag, *_ = self.many_accounts()
        self.patch(wal, "write_anew", fails)
        self.journal.account_forgotten(f"{tag}@example.org")
        self.journal.erased(copies=True)
        self.now.turn()
        self.assertGreater(sizes[0], 100_000)
        self.assertEqual(self.log_size(), 0)

    def log_size(self) -> int:
        """Bytes in the write-ahead log."""
        return (self.directory / "state.sqlite-wal").stat().st_size

    def test_killed_before_no_copy_was_left(self) -> None:
        """The next start writes the file anew."""
        tags = self.many_accounts()
        self.patch(wal, "write_anew", lambda _cursor: None)
        for tag in tags[:10]:
            self.journal.account_forgotten(f"{tag}@example.org")
            self.now.turn()
        self.assertTrue(self.found(*tags[:10]))
        self.again(self.now)
        self.assertEqual(self.found(*tags[:10]), set())

    def test_a_reader_is_in_the_way(self) -> None:
        """Then it is not called erased; it is tried again, and nobody waits for it."""
        self.filled()
        assert isinstance(self.state, Path)
        reader = sqlite3.connect(self.state, isolation_level=None)
        self.addCleanup(reader.close)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchall()
        self.journal.account_forgotten(BARE)
        erased = self.journal.erased(copies=True)
        self.now.deliver(b"1")
        self.now.turn()
        self.assertEqual(self.now.given, [b"1"])
        for _ in range(3):
            self.now.clock.advance(2)
            self.assertFalse(self.writer.rest())
        self.assertNoResult(erased)
        self.assertEqual(self.logged("cannot be erased from the write-ahead log yet"), 1)
        reader.execute("COMMIT")
        self.now.clock.advance(2)
        self.assertTrue(self.writer.rest())
        self.successResultOf(erased)
        self.assertEqual((self.all_of_alice(), self.logged("is erased now")), (set(), 1))

    def test_a_reader_goes_while_batches_are_written(self) -> None:
        self.filled()
        assert isinstance(self.state, Path)
        reader = sqlite3.connect(self.state, isolation_level=None)
        self.addCleanup(reader.close)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM messages").fetchall()
        self.journal.account_forgotten(BARE)
        erased = self.journal.erased(copies=True)
        self.now.turn()
        reader.execute("COMMIT")
        self.bob_hears_something()
        self.assertNoResult(erased)
        self.now.clock.advance(2)
        self.bob_hears_something()
        self.successResultOf(erased)
        self.assertEqual(self.all_of_alice(), set())

    def test_retracted(self) -> None:
        """What everybody else sees no more goes from the files too, a while later."""
        kept = message(self.room.next_sequence(), raw=f"<message>{SECRET}</message>".encode())
        self.room.message_kept(kept)
        self.now.turn()
        self.room.message_changed(message(kept.sequence, raw=b"<message/>", retracted=True))
        self.now.turn()
        self.assertEqual(self.found(SECRET), {"state.sqlite-wal"})
        self.assertFalse(self.writer.rest(), "not at once")
        self.now.clock.advance(ERASED)
        self.assertTrue(self.writer.rest())
        self.assertEqual(self.found(SECRET), set())
        self.now.clock.advance(ERASED)
        self.assertFalse(self.writer.rest(), "there is nothing to be done")

    def test_expired_while_there_is_always_something_to_write(self) -> None:
        kept = message(self.room.next_sequence(), raw=f"<message>{SECRET}</message>".encode())
        self.room.message_kept(kept)
        self.now.keep(1)
        self.now.turn()
        self.room.trimmed(kept.sequence + 1)
        self.now.turn()
        for _ in range(10):
            self.now.clock.advance(ERASED_BUSY / 10)
            self.now.keep(1)
            self.now.turn()
        self.assertEqual(self.found(SECRET), set())

    def test_killed_before_that(self) -> None:
        """The write-ahead log outlives it, also if nothing is written afterwards."""
        kept = message(self.room.next_sequence(), raw=f"<message>{SECRET}</message>".encode())
        self.room.message_kept(kept)
        self.now.turn()
        self.room.message_changed(message(kept.sequence, raw=b"<message/>", retracted=True))
        self.now.turn()
        assert isinstance(self.state, Path)
        log = Path(f"{self.state}-wal").read_bytes()
        self.assertIn(SECRET.encode(), log)
        reader = sqlite3.connect(self.state, isolation_level=None)  # keeps the log from being removed
        self.addCleanup(reader.close)
        reader.execute("SELECT count(*) FROM messages").fetchall()
        lab = self.again(self.now)
        self.assertEqual(self.found(SECRET), {"state.sqlite-wal"})
        lab.clock.advance(ERASED)
        lab.writer.store.rest()
        self.assertEqual(self.found(SECRET), set())

    def test_room_left(self) -> None:
        self.filled()
        self.room.forgotten()
        self.now.turn()
        self.now.clock.advance(ERASED)
        self.assertTrue(self.writer.rest())
        self.assertEqual(self.found(ROOM, SECRET, "phone-of-alice"), set())


class EarlierVersionTests(TroubleTestCase):
    """A file from before what is deleted was overwritten."""

    def setUp(self) -> None:
        super().setUp()
        self.now.crash()
        assert isinstance(self.state, Path)
        with sqlite3.connect(self.state, isolation_level=None) as before:
            before.execute("PRAGMA secure_delete = OFF")
            before.execute("PRAGMA user_version = 0")
            for number in range(100):
                raw = f"{SECRET} {number}".encode() + b"x" * 10_000
                before.execute(
                    "INSERT INTO messages VALUES (?, 77, 1.0, ?, 0, NULL, NULL, 0, 0, NULL)", (number + 1000, raw)
                )
            before.execute("DELETE FROM messages WHERE sequence >= 1000")
            before.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        before.close()

    def test_written_anew_once(self) -> None:
        assert isinstance(self.state, Path)
        self.assertIn(SECRET.encode(), self.state.read_bytes())
        self.patch(storage_database, "_WORTH_SAYING", self.state.stat().st_size - 1)
        lab = self.lab()
        self.assertEqual(self.logged("is rewritten once"), 1)
        for path in self.directory.glob("state.sqlite*"):
            self.assertNotIn(SECRET.encode(), path.read_bytes(), path.name)
        lab.crash()
        sizes: list[int] = []
        database = Database(self.state)
        self.patch(database, "_clean", lambda _cursor, size: sizes.append(size))
        database.clean_once()
        self.assertEqual(sizes, [])

    def test_something_is_in_the_way(self) -> None:
        """The proxy starts all the same, and says so."""
        assert isinstance(self.state, Path)
        reader = sqlite3.connect(self.state, isolation_level=None)
        self.addCleanup(reader.close)
        prepare(Database(self.state))
        reader.execute("BEGIN IMMEDIATE")
        Database(self.state).clean_once()
        self.assertEqual(self.logged("cannot be written anew, and may hold what was deleted before"), 1)
        reader.execute("ROLLBACK")
        with mock.patch.object(room_on_disk, "free_in", lambda _directory: 0):
            Database(self.state).clean_once()
        self.assertEqual(self.logged("and 0 are free"), 1)
        Database(self.state).clean_once()
        self.assertNotIn(SECRET.encode(), self.state.read_bytes())
