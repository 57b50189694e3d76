"""What `Store.write_at_once` writes, and what it leaves for the thread: whatever might have to wait."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from minimixproxy.storage.batch import Batch
from minimixproxy.storage.durability import FIRST_RETRY
from minimixproxy.storage.store import ERASED_BUSY
from minimixproxy.storage.wal import LONG
from tests.storage.cases import BARE, MEMBERSHIP, ROOM, StorageTestCase


class AtOnceTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()
        self.store, self.room = self.now.writer.store, self.now.journal.room(BARE, ROOM)
        self.now.writer.held_back = True
        self.room.membership(MEMBERSHIP)
        self.now.turn()
        self.write_in_thread()

    def write_in_thread(self) -> None:
        """As the writer's thread does."""
        self.now.writer.work()
        self.now.writer.held_back = True

    def written(self) -> None:
        """What waits was written at once."""
        self.now.writer._written(self.now.writer.waiting.pop(), None)

    def said(self, number: int = 1) -> Batch:
        """Return a batch with new messages, which nobody has written."""
        self.now.keep(number)
        self.now.turn()
        (batch,) = self.now.writer.waiting
        return batch

    def on_disk(self, table: str = "messages") -> int:
        ((number,),) = self.execute(f"SELECT count(*) FROM {table}")
        return int(number)

    def test_a_message(self) -> None:
        """The first write of all may begin the log anew, and is the thread's; then they are written at once."""
        self.assertTrue(self.store.write_at_once(self.said()))
        self.assertEqual(self.on_disk(), 1)

    def test_several_tables(self) -> None:
        self.room.seen("phone", 1)
        self.assertTrue(self.store.write_at_once(self.said(3)))
        self.assertEqual((self.on_disk(), self.on_disk("cursors")), (3, 1))

    def test_another_program_has_the_file(self) -> None:
        """Nobody waits for it here, and nothing is half written."""
        self.room.seen("phone", 1)
        several, one = self.said(), Batch()
        one.messages = several.messages
        with closing(sqlite3.connect(self.state, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            for batch in (several, one):
                self.assertFalse(self.store.write_at_once(batch))
            other.execute("ROLLBACK")
        self.assertEqual((self.on_disk(), self.on_disk("cursors")), (0, 0))
        self.write_in_thread()
        self.assertEqual((self.on_disk(), self.on_disk("cursors")), (1, 1))

    def test_the_thread_is_at_work(self) -> None:
        batch = self.said()
        with self.store._lock:
            self.assertFalse(self.store.write_at_once(batch))
        self.assertTrue(self.store.write_at_once(batch))

    def test_no_connection(self) -> None:
        """Opening the file may wait for the disk."""
        batch = self.said()
        self.store.close()
        self.assertFalse(self.store.write_at_once(batch))
        self.write_in_thread()
        self.assertEqual(self.on_disk(), 1)

    def test_a_row_that_is_refused(self) -> None:
        """The thread leaves it out, and says so."""
        batch = self.said()
        self.assertTrue(self.store.write_at_once(batch))
        batch.messages[3] = b"another"
        self.assertFalse(self.store.write_at_once(batch))
        self.write_in_thread()
        self.assertEqual((batch.left_out, self.on_disk()), (1, 1))

    def test_the_log_is_taken_over(self) -> None:
        """By the thread, when it is long; and the write behind that, which waits for the disk, is the thread's."""
        written = 0
        while not self.store.wants_tending:
            self.assertTrue(self.store.write_at_once(self.said(50)))
            self.written()
            written += 50
        self.assertGreaterEqual(self.store._wal._pages, LONG)
        self.assertLess(self.in_file(), written)
        self.store.tend()
        self.assertFalse(self.store.wants_tending)
        self.assertEqual(self.in_file(), written)
        self.assertFalse(self.store.write_at_once(self.said()))
        self.write_in_thread()
        self.assertTrue(self.store.write_at_once(self.said()))

    def in_file(self) -> int:
        """Return how many messages are in the file itself, without the log."""
        copy = self.directory / "copy"
        copy.write_bytes(Path(self.state).read_bytes())
        with closing(sqlite3.connect(copy)) as connection:
            return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])

    def test_nothing_begins_the_log_anew(self) -> None:
        """A batch that changes no row is not in the log, and whoever writes next waits for the disk."""
        self.store._wal._pages = LONG
        self.store.tend()
        nothing = Batch()
        nothing.trimmed.append(12345)
        for batch in (Batch(), nothing):
            self.store.write(batch)
            self.assertFalse(self.store.write_at_once(Batch()))
        self.said()
        self.write_in_thread()
        self.assertTrue(self.store.write_at_once(self.said()))

    def test_another_program_reads(self) -> None:
        """The log cannot be truncated then, but is taken over; when nobody reads any more, the next write begins it."""
        batch = self.said()
        self.assertTrue(self.store.write_at_once(batch))
        with closing(sqlite3.connect(self.state, isolation_level=None)) as other:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM messages").fetchall()
            self.store._wal._since = -ERASED_BUSY
            self.store.tend()
            other.execute("ROLLBACK")
        self.assertEqual(self.in_file(), 1)
        self.assertFalse(self.store.write_at_once(Batch()))

    def test_another_program_writes_while_the_log_is_tended(self) -> None:
        """The thread waits for others, and whoever writes at once still does not."""
        self.assertTrue(self.store.write_at_once(self.said()))
        self.store._wal._since = -ERASED_BUSY
        with closing(sqlite3.connect(self.state, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            self.store.tend()
            other.execute("ROLLBACK")
        self.store._wal.waits_for_disk = False
        self.assertTrue(self.store.write_at_once(Batch()))
        self.assertEqual(self.store._cursor.execute("PRAGMA busy_timeout").fetchone(), (0,))

    def test_tending_is_not_asked_for_while_the_thread_is_at_work(self) -> None:
        """It may be erasing just now what the answer is made of."""
        self.store._wal._pages = LONG
        with self.store._lock:
            self.assertFalse(self.store.wants_tending)
        self.assertTrue(self.store.wants_tending)

    def test_the_thread_takes_it_over(self) -> None:
        """SQLite does not by itself any more."""
        for _ in range(3):
            self.store._wal._pages = LONG
            self.said()
            self.write_in_thread()
            self.assertFalse(self.store.wants_tending)
        self.assertEqual(self.in_file(), 3)


class JournalTests(StorageTestCase):
    """A writer that is done when it is asked."""

    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()
        writer = self.now.writer
        self.patch(writer, "write", self.write)
        self.journal = self.now.journal

    def write(self, batch: Batch) -> None:
        self.now.writer.store.write(batch)
        self.now.given.append(b"a batch")
        self.now.writer._written(batch, None)

    def test_output_goes_when_the_turn_is_over(self) -> None:
        """Not before that, and in the same turn of the reactor."""
        self.now.keep()
        self.now.deliver(b"one")
        self.assertEqual(self.now.given, [])
        self.now.turn()
        self.now.deliver(b"two")
        self.assertEqual(self.now.given, [b"a batch", b"one", b"two"])
        self.assertEqual(self.journal.status.waiting, 0)

    def test_what_is_said_by_what_is_delivered(self) -> None:
        """It is in the next batch, and waits for that."""

        def answer(data: bytes) -> None:
            self.now.given.append(data)
            if data == b"one":
                self.now.keep()
                deliver(b"two")

        deliver = self.journal.gated(answer)
        self.now.keep()
        deliver(b"one")
        self.now.turn()
        self.assertEqual(self.now.given, [b"a batch", b"one", b"a batch", b"two"])

    def slowly(self, *said: bytes) -> list[Batch]:
        """Say this while the thread writes; return its batches, which it has not written yet."""
        slow: list[Batch] = []
        self.patch(self.now.writer, "write", slow.append)
        for data in said:
            self.now.keep()
            self.now.deliver(data)
            self.now.turn()
        self.patch(self.now.writer, "write", self.write)
        return slow

    def is_written(self, batch: Batch) -> None:
        """The thread is done with it."""
        self.now.writer.store.write(batch)
        self.now.writer._written(batch, None)

    def test_what_the_thread_has_written_goes_first(self) -> None:
        """A batch was the thread's, and took its time; the next is written at once when it is done, and goes behind."""
        slow = self.slowly(b"one")
        self.now.keep()
        self.now.deliver(b"two")
        self.now.turn()
        self.assertEqual(self.now.given, [])
        self.is_written(slow[0])
        self.assertEqual(self.now.given, [b"a batch", b"one", b"two"])

    def test_a_fault_in_what_comes_next(self) -> None:
        """It keeps nobody from what is on disk, and is tried again."""

        def fails(_batch: Batch) -> None:
            raise ZeroDivisionError

        slow = self.slowly(b"one", b"two")
        durability = self.journal._durability
        durability.gathering.incomplete = True
        durability._outlet = replace(durability._outlet, complete=fails)
        self.is_written(slow[0])
        self.assertEqual(self.now.given, [b"one"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.now.clock.advance(FIRST_RETRY)
        self.assertEqual(self.now.given, [b"one", b"a batch", b"two"])

    def test_a_fault_before_what_is_done(self) -> None:
        """One batch is let go with a fault while the next is on disk already: that is let go too, and all that come."""
        slow = self.slowly(b"one", b"two")
        write, faults = self.now.given_out.write, [ZeroDivisionError()]

        def fails_once(sequence: int) -> None:
            if faults:
                raise faults.pop()
            write(sequence)

        self.patch(self.now.given_out, "write", fails_once)
        self.is_written(slow[0])
        self.assertEqual(self.now.given, [b"a batch", b"one", b"two"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.now.keep()
        self.now.deliver(b"three")
        self.now.turn()
        self.assertEqual(self.now.given, [b"a batch", b"one", b"two", b"a batch", b"three"])

    def test_a_chain(self) -> None:
        """What is delivered makes the next batch, a thousand times: no call stands in another."""
        number = 0

        def answer(_data: bytes) -> None:
            nonlocal number
            number += 1
            if number < 1000:
                self.now.keep()
                deliver(b"again")

        deliver = self.journal.gated(answer)
        self.now.keep()
        deliver(b"first")
        self.now.turn()
        self.assertEqual(number, 1000)

    def test_the_end(self) -> None:
        """The last batch is written, and the writer stopped once."""
        stopped: list[float] = []
        self.patch(self.now.writer, "stop", stopped.append)
        self.now.keep(3)
        self.successResultOf(self.journal.stop())
        self.assertEqual(len(stopped), 1)
        self.assertEqual(self.execute("SELECT count(*) FROM messages"), [(3,)])
