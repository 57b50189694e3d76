"""Writes batches: one transaction each, on a connection of its own. Runs in the writer's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from sqlalchemy.pool import PoolProxiedConnection
from twisted.logger import Logger

from minimixproxy.storage.batch import Batch
from minimixproxy.storage.database import Database
from minimixproxy.storage.hold import Hold
from minimixproxy.storage.statements import Statements

Execution = tuple[str, Sequence[Any]]

# A value that the database or its driver refuses: repeating would not help.
_REFUSALS = (ValueError, TypeError, OverflowError)


class Store:
    """The tables of one database, for writing."""

    log = Logger()

    def __init__(self, database: Database, hold: Hold) -> None:
        self._database = database
        self._hold = hold
        dialect = database.engine.dialect
        self._statements = Statements(dialect)
        driver = dialect.loaded_dbapi
        self._refusals: tuple[type[Exception], ...] = (*_REFUSALS, driver.IntegrityError, driver.DataError)
        if database.sqlite:
            self._refusals += (driver.ProgrammingError, driver.InterfaceError)  # a value it cannot bind
        self._connection: PoolProxiedConnection | None = None
        self._cursor: Any = None

    def write(self, batch: Batch) -> None:
        """Write all of a batch or nothing. Raises what the driver raises; only a row that it refuses is left out."""
        try:
            self._in_transaction(lambda: self._write(batch))
        except self._refusals as error:
            self.log.warn("{name}: {error}; row by row", name=self._database.name, error=_line(error))
            self._in_transaction(lambda: self._write_singly(batch))

    def _in_transaction(self, write: Callable[[], None]) -> None:
        try:
            self._begin()
            write()
            self._commit()
        except BaseException:
            self._give_up()
            raise

    def rest(self) -> None:
        """There is nothing to write: keep the database ours. Raises `HeldByAnother`, or what the driver raises."""
        if not self._database.sqlite and self._hold.due:
            self._in_transaction(lambda: None)

    def _begin(self) -> None:
        new = self._connection is None
        if self._connection is None:
            with self._database.explained():
                self._connection = self._database.engine.raw_connection()
            self._cursor = self._connection.cursor()
        if self._database.sqlite:
            self._cursor.execute("BEGIN IMMEDIATE")
        self._hold.check(self._cursor, new=new)

    def _commit(self) -> None:
        if self._database.sqlite:
            self._cursor.execute("COMMIT")
        elif self._connection is not None:
            self._connection.commit()

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
        try:
            self._in_transaction(lambda: self._hold.give_back(self._cursor))
        except Exception as error:  # noqa: BLE001 (the lease ends by itself)
            self.log.info("{name}: not given back: {error}", name=self._database.name, error=_line(error))
        self.close()
        self._hold.abandon()

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            connection.invalidate()

    def _write(self, batch: Batch) -> None:
        execute = self._cursor.execute
        for text, parameters in self._executions(batch):
            execute(text, parameters)

    def _executions(self, batch: Batch, *, singly: bool = False) -> Iterator[Execution]:
        """Yield what is to be executed for a batch: first what makes room, then rows, then what goes with others."""
        texts = self._statements
        if batch.replaces_history:
            yield from ((text, ()) for text in texts.no_history)
        yield from ((texts.no_room, (key,)) for key in batch.gone_rooms)
        yield from ((texts.no_account, (key,)) for key in batch.gone_accounts)
        yield from ((texts.account, row) for row in batch.accounts.values())
        yield from ((texts.room, row) for row in batch.rooms.values())
        for many, values in (
            (texts.messages, batch.messages),
            (texts.trimmed, batch.trimmed),
            (texts.privates, batch.privates),
            (texts.given, batch.given),
        ):
            if values:
                yield from many.cut_small(values) if singly else many.cut(values)
        yield from ((texts.change, row) for row in batch.changes)
        for key, cursor in batch.cursors.items():
            if cursor == "gone":
                yield texts.no_cursor, key
            elif isinstance(cursor, int):
                yield texts.attach, (*key, None, cursor)
            else:
                yield texts.cursor, (*key, *cursor)
        yield from ((texts.no_privates, (key,)) for key in batch.gone_rooms)
        yield from ((texts.no_cursors, (key,)) for key in batch.gone_rooms)

    def _write_singly(self, batch: Batch) -> None:
        """Leave out, and log, what is refused."""
        execute = self._cursor.execute
        for text, parameters in self._executions(batch, singly=True):
            execute("SAVEPOINT one_row")
            try:
                execute(text, parameters)
            except self._refusals as error:
                execute("ROLLBACK TO SAVEPOINT one_row")
                self.log.error(
                    "{name}: refused, and left out: {error} ({statement})",
                    name=self._database.name,
                    error=_line(error),
                    statement=text,
                )
            execute("RELEASE SAVEPOINT one_row")


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
