"""When what was deleted is erased: from the write-ahead log, and, copies of it, from the file. By a clock in hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import formatEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.storage import database
from minimixproxy.storage.batch import Batch, Erasure
from minimixproxy.storage.wal import AGAIN, CLIENTS_SHARE, GATHERED, LOG_EVERY, LONG, SHARE, WriteAheadLog
from tests.log_events import log_events

LATER = 30.0  # seconds, as `Store` says
VACUUM = 2.0  # seconds that it takes here


class SQLite:
    """What is used of a database and of its cursor."""

    name = "state"
    driver_error = sqlite3.Error

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.sqlite = True
        self.busy = False
        self.full = False
        self.done: list[str] = []

    def execute(self, statement: str) -> SQLite:
        self.done.append(statement)
        if statement == "VACUUM":
            self.clock.advance(VACUUM)
            if self.full:
                raise sqlite3.OperationalError("disk full")
        return self

    def fetchone(self) -> tuple[int]:
        return (int(self.busy),)

    def fetchall(self) -> list[tuple[int]]:
        if self.full:
            raise sqlite3.OperationalError("disk full")
        return [self.fetchone()]


class WriteAheadLogTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.database = SQLite(self.clock)
        self.patch(database, "check_room", lambda _cursor: None)  # there is no file
        self.wal = WriteAheadLog(self.database, self.clock.seconds)
        self.events = log_events(self)

    def truncated(self) -> list[str]:
        """Truncate the log; return what was done between the settings of the time-out."""
        self.database.done.clear()
        self.wal.truncate(self.database)
        first, *done, last = self.database.done
        self.assertEqual((first, last), ("PRAGMA busy_timeout = 0", "PRAGMA busy_timeout = 1000"))
        return [{"VACUUM": "anew", "PRAGMA wal_checkpoint(TRUNCATE)": "log"}.get(one, one) for one in done]

    def due_at(self, seconds: float, after: float = 1e9) -> None:
        """It is time to truncate then, and not sooner."""
        self.clock.advance(seconds - self.clock.seconds() - 0.25)
        self.assertFalse(self.wal.due(after))
        self.clock.advance(0.25)
        self.assertTrue(self.wal.due(after))

    def forgotten(self, *, at_once: bool = False) -> None:
        """An account goes: of a client, or, at once, by the operator."""
        batch = Batch()
        batch.gone_accounts.append(1)
        batch.leaves_copies = True
        batch.erases, batch.writes_anew = True, at_once
        self.wal.written(batch)

    def told(self) -> list[str]:
        return [formatEvent(event) for event in self.events]

    def test_at_the_start(self) -> None:
        """Nobody knows what is in the log."""
        self.assertIs(self.wal.erasure, Erasure.NOWHERE)
        self.due_at(LATER, LATER)
        self.assertEqual(self.truncated(), ["log"])
        self.assertIs(self.wal.erasure, Erasure.FILE)
        self.clock.advance(10 * GATHERED)
        self.assertFalse(self.wal.due(0))
        self.assertEqual(self.events, [])

    def test_what_deletes(self) -> None:
        deletions: tuple[Callable[[Batch], object], ...] = (
            lambda batch: batch.gone_rooms.append(1),
            lambda batch: batch.trimmed.append(1),
            lambda batch: batch.given.append(1),
            lambda batch: batch.changes.update({1: (1,)}),
            lambda batch: batch.empty(1),
            lambda batch: batch.disowned.append(1),
            lambda batch: setattr(batch, "replaces_history", True),
        )
        self.truncated()
        for delete in deletions:
            batch = Batch()
            delete(batch)
            self.wal.written(batch)
            self.assertIs(self.wal.erasure, Erasure.NOWHERE)
            began = self.clock.seconds()
            self.clock.advance(LATER / 2)
            self.wal.written(batch)  # it is the first that counts
            self.due_at(began + LATER, LATER)
            self.assertEqual(self.truncated(), ["log"])
            self.assertIs(self.wal.erasure, Erasure.FILE)

    def test_what_does_not(self) -> None:
        self.truncated()
        batch = Batch()
        batch.messages += (1,)
        batch.privates += (1,)
        batch.accounts[1] = batch.rooms[1] = (1,)
        batch.cursors[1, "x"] = 1
        batch.erased.append((Erasure.LOG, Deferred()))
        self.wal.written(batch)
        self.assertIs(self.wal.erasure, Erasure.FILE)
        self.assertFalse(self.wal.due(0))

    def test_accounts_that_clients_remove(self) -> None:
        """The log soon, the file when it is worth it: that takes no more than a small part of the time."""
        self.truncated()
        self.clock.advance(1)
        self.forgotten()
        self.assertIs(self.wal.erasure, Erasure.NOWHERE)
        self.due_at(LOG_EVERY)
        self.assertEqual((self.truncated(), self.wal.erasure), (["log"], Erasure.LOG))
        self.due_at(1 + GATHERED)
        self.assertEqual(self.truncated(), ["anew", "PRAGMA user_version = 1", "log"])
        self.assertIs(self.wal.erasure, Erasure.FILE)
        written = self.clock.seconds()
        self.forgotten()
        self.due_at(written + LOG_EVERY)
        self.truncated()
        self.forgotten()
        self.due_at(written + 2 * LOG_EVERY)
        self.truncated()
        self.due_at(written + VACUUM * CLIENTS_SHARE)
        self.truncated()
        self.assertIs(self.wal.erasure, Erasure.FILE)

    def test_the_first_removal_waits_for_nothing(self) -> None:
        """The log has not been truncated so lately."""
        self.forgotten()
        self.assertTrue(self.wal.due(1e9))

    def test_the_first_of_several_removals_counts(self) -> None:
        """Whoever removes accounts again and again puts nothing off."""
        self.truncated()
        self.forgotten()
        self.clock.advance(LOG_EVERY)
        self.truncated()
        self.clock.advance(GATHERED - LOG_EVERY - 1)
        self.forgotten()
        self.truncated()
        self.due_at(GATHERED)

    def test_what_is_to_be_erased_soon_and_then_something_else(self) -> None:
        """What is deleted behind it does not put it off."""
        trimmed = Batch()
        trimmed.trimmed.append(1)
        self.truncated()
        self.forgotten()
        self.wal.written(trimmed)
        self.due_at(LOG_EVERY)
        self.truncated()
        self.forgotten(at_once=True)
        self.wal.written(trimmed)
        self.assertTrue(self.wal.due(1e9))
        self.assertIn("anew", self.truncated())

    def test_who_asks_about_what_is_gone_already(self) -> None:
        """Nothing is deleted by that batch; what an earlier one left is."""
        self.truncated()
        self.forgotten()
        self.truncated()
        for at_once, done in ((False, ["log"]), (True, ["anew", "PRAGMA user_version = 1", "log"])):
            asks = Batch()
            asks.erases, asks.writes_anew = True, at_once
            self.wal.written(asks)
            self.assertIs(self.wal.erasure, Erasure.NOWHERE)
            self.clock.advance(LOG_EVERY)
            self.assertTrue(self.wal.due(1e9))
            self.assertEqual(self.truncated(), done)

    def test_the_operator_waits(self) -> None:
        self.truncated()
        self.forgotten(at_once=True)
        self.assertTrue(self.wal.due(1e9))
        self.assertEqual(self.truncated(), ["anew", "PRAGMA user_version = 1", "log"])
        self.assertIs(self.wal.erasure, Erasure.FILE)
        written = self.clock.seconds()
        self.forgotten(at_once=True)
        self.due_at(written + LOG_EVERY)
        self.assertEqual((self.truncated(), self.wal.erasure), (["log"], Erasure.LOG))
        self.due_at(written + VACUUM * SHARE)
        self.assertEqual(self.truncated(), ["anew", "PRAGMA user_version = 1", "log"])
        self.clock.advance(VACUUM * SHARE)
        self.forgotten()
        self.assertEqual(self.truncated(), ["log"], "the next is not the operator's")

    def test_somebody_reads(self) -> None:
        """It is tried again, and told twice: that it does not work, and that it did."""
        self.truncated()
        self.forgotten(at_once=True)
        self.database.busy = True
        self.assertIn("anew", self.truncated())
        self.assertIs(self.wal.erasure, Erasure.NOWHERE, "what was written anew is in the log")
        for _ in range(3):
            self.due_at(self.clock.seconds() + AGAIN)
            self.assertEqual(self.truncated(), ["log"], "the file is anew")
        self.database.busy = False
        self.due_at(self.clock.seconds() + AGAIN)
        self.assertEqual((self.truncated(), self.wal.erasure), (["log"], Erasure.FILE))
        self.assertFalse(self.wal.due(0))
        self.truncated()
        head = "state: what was deleted cannot be erased from the write-ahead log yet, trying again: "
        self.assertEqual(
            self.told(), [f"{head}another program reads the database", "state: the write-ahead log is erased now"]
        )

    def test_the_disk_is_full(self) -> None:
        """An attempt that fails has taken its time, too."""
        self.truncated()
        self.forgotten()
        self.due_at(LOG_EVERY)
        self.truncated()
        self.due_at(GATHERED)
        self.database.full = True
        self.assertEqual(self.truncated(), ["anew", "log"], "in which is what was written in vain")
        self.assertIs(self.wal.erasure, Erasure.LOG)
        self.assertIn("trying again: disk full", self.told()[0])
        failed = self.clock.seconds()
        self.database.full = False
        self.due_at(failed + VACUUM * CLIENTS_SHARE)
        self.assertIn("anew", self.truncated())
        self.assertIs(self.wal.erasure, Erasure.FILE)

    def test_another_database(self) -> None:
        """PostgreSQL has no such file."""
        self.database.sqlite = False
        wal = WriteAheadLog(self.database, self.clock.seconds)
        batch = Batch()
        batch.gone_accounts.append(1)
        batch.leaves_copies = True
        batch.erases = True
        wal.written(batch)
        self.assertEqual((wal.due(0), wal.erasure), (False, Erasure.FILE))

    def test_taken_over(self) -> None:
        """When about so much was written as SQLite has for a long log; and whoever writes next begins it anew."""
        self.assertTrue(self.wal.waits_for_disk, "perhaps somebody has taken it over before the start")
        self.wal.written(Batch())
        self.assertFalse(self.wal.waits_for_disk or self.wal.is_long)
        large = Batch()
        large.size = 4096 * LONG
        self.wal.written(large)
        self.assertTrue(self.wal.is_long)
        self.wal.take_over(self.database)
        self.assertEqual(self.database.done, ["PRAGMA wal_checkpoint(PASSIVE)"])
        self.assertEqual((self.wal.is_long, self.wal.waits_for_disk), (False, True))
        self.wal.written(Batch())
        self.assertFalse(self.wal.waits_for_disk)
        self.wal.truncate(self.database)
        self.assertTrue(self.wal.waits_for_disk)

    def test_rows_here_and_there(self) -> None:
        """They fill a page each: the log is longer than what was said."""
        here_and_there: dict[str, Any] = {
            "trimmed": list(range(LONG)),
            "given": list(range(LONG)),
            "changes": [()] * LONG,
            "cursors": dict.fromkeys(range(LONG)),
            "rooms": dict.fromkeys(range(LONG)),
            "accounts": dict.fromkeys(range(LONG)),
            "acknowledged": dict.fromkeys(range(8 * LONG)),
        }
        for name, rows in here_and_there.items():
            batch = Batch()
            setattr(batch, name, rows)
            self.wal.written(batch)
            self.assertTrue(self.wal.is_long, name)
            self.wal.take_over(self.database)

    def test_not_taken_over(self) -> None:
        """It is said once, and the batch that is on disk did not fail."""
        self.database.full = True
        for _ in range(3):
            self.wal.take_over(self.database)
        self.database.full = False
        self.wal.take_over(self.database)
        self.database.full = True
        self.wal.take_over(self.database)
        said = [formatEvent(event) for event in self.events]
        text = "state: the write-ahead log cannot be taken over into the file and grows, trying again: disk full"
        self.assertEqual(said, [text] * 2)
