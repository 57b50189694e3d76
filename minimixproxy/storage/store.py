"""Writes batches: one transaction each, on a connection of its own. Runs in the writer's thread.

`write_at_once` alone is for the reactor's: what it cannot do without waiting is left for the thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy.pool import PoolProxiedConnection

from minimixproxy.logs.logger import Logger
from minimixproxy.storage.batch import Batch, Erasure
from minimixproxy.storage.database import BUSY_TIMEOUT, UNCLEAN, Database
from minimixproxy.storage.errors import said
from minimixproxy.storage.lease import Lease
from minimixproxy.storage.room_on_disk import is_full
from minimixproxy.storage.schema import NOBODY
from minimixproxy.storage.statements import ManyRows, Statements
from minimixproxy.storage.wal import WriteAheadLog

#: A statement, its parameters, and how many rows it has to insert: NO_MATTER if it inserts none.
Execution = tuple[str, Sequence[Any], int]

NO_MATTER = -1

ERASED = 30.0  # seconds after which what was deleted goes from the write-ahead log, once there is nothing to write
ERASED_BUSY = 300.0  # seconds after which it does in any case

# A value that the database or its driver refuses: repeating would not help.
_REFUSALS = (ValueError, TypeError, OverflowError)


class Collision(ValueError):
    """A number is taken by another row already."""


class Store:
    """The tables of one database, for writing."""

    log = Logger()

    def __init__(self, database: Database, lease: Lease, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._lease = lease
        dialect = database.engine.dialect
        self._statements = Statements(dialect)
        driver = dialect.loaded_dbapi
        self._refusals: tuple[type[Exception], ...] = (*_REFUSALS, driver.IntegrityError, driver.DataError)
        if database.sqlite:
            self._refusals += (driver.ProgrammingError, driver.InterfaceError)  # a value it cannot bind
        else:
            self._refusals += (driver.errors.ProgramLimitExceeded,)  # a value too long for an index
        self._wal = WriteAheadLog(database, clock)
        self._connection: PoolProxiedConnection | None = None
        self._cursor: Any = None
        self._patience = BUSY_TIMEOUT  # as the connection has it
        self._changes = 0  # rows that the connection had changed before the transaction, with SQLite
        self._lock = threading.Lock()  # of all the above

    def write(self, batch: Batch) -> None:
        """Write all of a batch or nothing. Raises what the driver raises; only a row that it refuses is left out."""
        with self._lock:
            self._wait_for_others(BUSY_TIMEOUT)
            self._write_patiently(batch)
            self._tend()
            batch.erasure = self._wal.erasure

    def write_at_once(self, batch: Batch) -> bool:
        """Write all of a batch if that needs no waiting, or return False: then the thread is to do it."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._connection is None or self._wal.waits_for_disk:
                return False
            if self._patience:
                self._wait_for_others(0.0)
            executions = self._all_executions(batch)
            if len(executions) == 1:
                self._execute(*executions[0])  # is a transaction by itself, as most are: a message that was said
            else:
                self._in_transaction(lambda: self._write(executions))
        except Exception as error:  # noqa: BLE001 (the thread meets it again, if it lasts, and tells)
            self.log.debug("{name}: not written at once: {error}", name=self._database.name, error=_line(error))
            return False
        else:
            self._wal.written(batch)
            batch.erasure = self._wal.erasure
            return True
        finally:
            self._lock.release()

    @property
    def wants_tending(self) -> bool:
        """Whether `tend` has something to do. While the thread is at work nobody is told: the next write asks again."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            return self._wal.is_long or self._wal.due(ERASED_BUSY)
        finally:
            self._lock.release()

    def tend(self) -> None:
        """Do with the write-ahead log what is due, when others have written at once. Raises what the driver raises."""
        with self._lock:
            if self._connection is not None:
                self._wait_for_others(BUSY_TIMEOUT)
                self._tend()
                self._lease.check_file()
            if self._lease.has_news:
                self._in_transaction(lambda: None)

    def _tend(self) -> None:
        if self._wal.due(ERASED_BUSY):
            self._wal.truncate(self._cursor)
        elif self._wal.is_long:
            self._wal.take_over(self._cursor)

    def _wait_for_others(self, seconds: float) -> None:
        """Have SQLite wait so long for another process that has the file."""
        if self._patience != seconds and self._connection is not None and self._database.sqlite:
            self._cursor.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
            self._patience = seconds

    def _write_patiently(self, batch: Batch) -> None:
        try:
            self._write_in_any_case(batch)
        except self._refusals as error:
            self.log.warn(
                "{name}: a batch failed ({error}): its rows are written one by one",
                name=self._database.name,
                error=_line(error),
            )
            self._in_transaction(lambda: self._write_singly(batch))
        self._wal.written(batch, in_log=self._total_changes() != self._changes)

    def _write_in_any_case(self, batch: Batch) -> None:
        """Write a batch, also where the disk has no room for what goes to be overwritten: that takes as much.

        Else nothing would be written any more, however little it were. The file is written anew once there is room.
        """
        try:
            self._in_transaction(lambda: self._write_once(batch))
        except self._database.driver_error as error:
            if not (batch.deletes and is_full(error)):
                raise
            batch.leaves_copies = True
            self._cursor.execute("PRAGMA secure_delete = OFF")
            try:
                self._in_transaction(lambda: self._write_once(batch))
            finally:
                self._cursor.execute("PRAGMA secure_delete = ON")
            self.log.error("{name}: there is no room to overwrite what is deleted", name=self._database.name)

    def _write_once(self, batch: Batch) -> None:
        """Write a batch, unless it was written before: of accounts that it lets go, another process may have written.

        They are let go in the transaction that writes all the rest.
        """
        tried, batch.tried = batch.tried, True
        if not (tried and batch.let_go) or self._lease.has_any(self._cursor, batch.let_go):
            self._write(self._executions(batch))

    def _in_transaction(self, write: Callable[[], None]) -> None:
        try:
            self._begin()
            write()
            self._commit()
        except BaseException:
            self._lease.rolled_back()
            self._give_up()
            raise

    def rest(self) -> Erasure:
        """There is nothing to write: keep the database ours, and erase what was deleted; tell what is erased by that.

        Raises `HeldByAnother`, or what the driver raises.
        """
        with self._lock:
            self._wait_for_others(BUSY_TIMEOUT)
            return self._rest()

    def _rest(self) -> Erasure:
        if not self._database.sqlite:
            if self._lease.due:
                self._in_transaction(lambda: None)
            return Erasure.NOWHERE
        self._lease.check_file()
        if not self._wal.due(ERASED):
            return Erasure.NOWHERE
        if self._connection is None:
            self._in_transaction(lambda: None)
        self._wal.truncate(self._cursor)
        return self._wal.erasure

    def _begin(self) -> None:
        new = self._connection is None
        if self._connection is None:
            with self._database.explained():
                self._connection = self._database.engine.raw_connection()
            self._cursor = self._connection.cursor()
            self._patience = BUSY_TIMEOUT
            if self._database.sqlite:
                self._cursor.execute("PRAGMA wal_autocheckpoint = 0")  # see `WriteAheadLog.take_over`
        self._changes = self._total_changes()
        if self._database.sqlite:
            self._cursor.execute("BEGIN IMMEDIATE")
        self._lease.check(self._cursor, new=new)

    def _total_changes(self) -> int:
        connection = self._connection.dbapi_connection if self._connection is not None else None
        return getattr(connection, "total_changes", 0)

    def _commit(self) -> None:
        assert self._connection is not None, "_begin() comes first"
        self._connection.commit()
        self._lease.committed()

    def _give_up(self) -> None:
        """Roll back. A connection to a server may be gone; the next batch gets a new one."""
        connection = self._connection
        if connection is None:
            return
        try:
            connection.rollback()
        except Exception as error:  # noqa: BLE001 (whatever it is, the connection is of no use)
            self.log.debug("{name}: {error}", name=self._database.name, error=_line(error))
            self.close()
        else:
            if not self._database.sqlite:
                self.close()

    def end(self) -> None:
        """Let others have the database, and close the connection."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        try:
            self._in_transaction(lambda: self._lease.give_back(self._cursor))
        except Exception as error:  # noqa: BLE001 (the lease ends by itself)
            self.log.info(
                "{name}: the lease was not given back, it ends by itself: {error}",
                name=self._database.name,
                error=_line(error),
            )
        self.close()
        self._lease.abandon()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            connection.invalidate()

    def _write(self, executions: Iterable[Execution]) -> None:
        for execution in executions:
            self._execute(*execution)

    def _execute(self, text: str, parameters: Sequence[Any], rows: int) -> None:
        self._cursor.execute(text, parameters)
        if rows not in (NO_MATTER, self._cursor.rowcount):
            raise Collision("rows of these numbers are there already")

    def _all_executions(self, batch: Batch) -> list[Execution]:
        """Return what `_executions` yields, at less cost for what most batches are."""
        return self._statements.messages.cut(batch.messages) if batch.only_messages else list(self._executions(batch))

    def _executions(self, batch: Batch, *, singly: bool = False) -> Iterator[Execution]:
        """Yield what is to be executed for a batch: first what makes room, then rows, then what goes with others."""
        texts = self._statements
        if batch.replaces_history:
            yield from ((text, (), NO_MATTER) for text in texts.no_history)
        for text in texts.no_history_of_room:
            yield from ((text, (key,), NO_MATTER) for key in batch.replaced_rooms)
        yield from ((texts.no_room, (key,), NO_MATTER) for key in batch.gone_rooms)
        yield from ((texts.no_account, (key,), NO_MATTER) for key in batch.gone_accounts)
        yield from ((texts.no_login_keys, (bare,), NO_MATTER) for bare in batch.gone_keys)
        yield from ((texts.no_login_tokens, key, NO_MATTER) for key in batch.gone_tokens)
        if batch.leaves_copies and self._database.sqlite:  # if we are killed now, the next start sees to it
            yield f"PRAGMA user_version = {UNCLEAN}", (), NO_MATTER
        yield from ((texts.account, row, NO_MATTER) for row in batch.accounts.values())
        yield from ((texts.login_keys, row, NO_MATTER) for row in batch.login_keys.values())
        yield from ((texts.login_tokens, row, NO_MATTER) for row in batch.login_tokens.values())
        for bare, block in batch.blocked.items():
            yield (texts.not_blocked, (bare,), NO_MATTER) if block is None else (texts.blocked, block, NO_MATTER)
        yield from ((texts.room, row, NO_MATTER) for row in batch.rooms.values())
        yield from _of_many(((texts.messages, batch.messages), (texts.privates, batch.privates)), singly=singly)
        yield from ((texts.change, (*row, sequence), NO_MATTER) for sequence, row in batch.changes.items())
        less = (
            (texts.emptied, [*batch.emptied]),
            (texts.disowned, batch.disowned),
            (texts.trimmed, batch.trimmed),
            (texts.given, batch.given),
        )
        yield from _of_many(less, singly=singly)
        for key, cursor in batch.cursors.items():
            if cursor == "gone":
                yield texts.no_cursor, key, NO_MATTER
            elif isinstance(cursor, int):
                yield texts.attach, (*key, None, cursor), NO_MATTER
            else:
                yield texts.cursor, (*key, *cursor), NO_MATTER
        for key, sequence in batch.acknowledged.items():
            if sequence is None:
                yield texts.not_acknowledged, key, NO_MATTER
            else:
                yield texts.acknowledged, (*key, sequence), NO_MATTER
        yield from ((texts.none_acknowledged, (key,), NO_MATTER) for key in batch.gone_accounts)
        yield from ((texts.no_privates, (key,), NO_MATTER) for key in batch.gone_rooms)
        yield from ((texts.no_cursors, (key,), NO_MATTER) for key in batch.gone_rooms)
        yield from ((texts.no_lease, (bare, self._lease.number), NO_MATTER) for bare in batch.released)
        yield from ((texts.handed, row, NO_MATTER) for row in batch.handed.values())
        yield from ((texts.free_lease, (bare, self._lease.number), NO_MATTER) for bare in batch.freed)

    def _write_singly(self, batch: Batch) -> None:
        """Leave out, log and count what is refused."""
        execute = self._cursor.execute
        changed = {*batch.changes, *batch.emptied, *batch.disowned}
        batch.left_out = 0
        for text, parameters, rows in self._executions(batch, singly=True):
            execute("SAVEPOINT one_row")
            try:
                execute(text, parameters)
                if rows == 1:
                    self._check_there(text, parameters, changed)
            except self._refusals as error:
                batch.left_out += 1
                execute("ROLLBACK TO SAVEPOINT one_row")
                self.log.error(
                    "{name}: refused, and left out: {error} ({statement})",
                    name=self._database.name,
                    error=_line(error),
                    statement=text,
                )
            execute("RELEASE SAVEPOINT one_row")

    def _check_there(self, text: str, row: Sequence[Any], changed: Collection[int]) -> None:
        """Raise `Collision` unless a row that was to be inserted is there.

        If not now, then with a batch whose end looked like a failure though it was written; that may have changed it.
        """
        texts, key = self._statements, tuple(row[:2])
        is_message = text == texts.messages.one
        there, wanted = (texts.message_there, (row[3], row[9])) if is_message else (texts.private_there, (row[2],))
        for one in (key, (key[0], NOBODY)) if key[0] in changed else (key,):  # nobody has no private messages
            self._cursor.execute(there, one)
            found = self._cursor.fetchone()
            if found is not None and (key[0] in changed or (bytes(found[0]), *found[1:]) == wanted):
                return
        raise Collision(f"number {row[0]} is another row's")


def _of_many(kinds: Iterable[tuple[ManyRows, Sequence[Any]]], *, singly: bool) -> Iterator[Execution]:
    for many, values in kinds:
        if values:
            for text, part, rows in many.cut_small(values) if singly else many.cut(values):
                yield text, part, rows if many.inserts else NO_MATTER


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {said(error)}"
