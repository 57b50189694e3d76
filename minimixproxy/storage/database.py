"""The database that state is in: an SQLite file or PostgreSQL, its schema brought to the version that is known here."""

from __future__ import annotations

import os
import secrets
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from minimixproxy.logs.logger import Logger
from minimixproxy.storage.errors import StateError, Unreachable, said
from minimixproxy.storage.room_on_disk import check_room
from minimixproxy.storage.schema import identity

BUSY_TIMEOUT = 1.0  # seconds that SQLite waits for another process, at a time
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "foreign_keys = ON",
    "journal_size_limit = 67108864",
    "secure_delete = ON",  # what is deleted is overwritten
)
CLEAN, UNCLEAN = 1, 0  # `user_version` of a file; an unclean one may hold what was deleted, and is written anew
# A silent network must not block the writer for longer than a while: seconds, then milliseconds.
_POSTGRESQL = {"connect_timeout": 5, "keepalives_idle": 10, "keepalives_count": 3, "tcp_user_timeout": 10_000}
# A lock that ends with the transaction: with nothing there yet, there is no row to lock. The number is ours by chance.
_ALONE = (
    "SET LOCAL lock_timeout = '30s'",
    "SET LOCAL idle_in_transaction_session_timeout = '60s'",  # who stands still must not be in others' way
    "SELECT pg_advisory_xact_lock(6520213840196154221)",
)
_WORTH_SAYING = 10 * 1024 * 1024  # bytes
_NOT_A_DATABASE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REVISIONS = "minimixproxy.storage:migrations"
_REFUSED = "FATAL:"  # what the server itself says at a connection ...
_NOT_READY = (
    "starting up",
    "shutting down",
    "not yet accepting",
    "recovery mode",
    "too many clients",
)  # ... and passes


class Database:
    """Where state is. `name` stands for it in logs and holds no password."""

    log = Logger()

    def __init__(self, state: Path | str) -> None:
        """`state`: the file, or the URL. Nothing is opened yet, but all code is loaded: later it may be out of reach.

        Raises `StateError`.
        """
        self._revisions = _known_revisions()
        if isinstance(state, Path):
            self.file: Path | None = state
            self.name = str(state)
            self.engine = _sqlite(state)
        else:
            self.file = None
            url = _postgresql_url(state)
            query = {key: value for key, value in url.query.items() if key in ("host", "port")}
            name = URL.create("postgresql", url.username, None, url.host, url.port, url.database, query)
            self.name = name.render_as_string()
            self.engine = _postgresql(url)

    @property
    def sqlite(self) -> bool:
        return self.file is not None

    @property
    def driver_error(self) -> type[Exception]:
        """What all errors of the driver are."""
        error: type[Exception] = self.engine.dialect.loaded_dbapi.Error
        return error

    def make_file(self) -> None:
        """Make the file if it is missing, for its owner only. Raises `OSError`."""
        if self.file is not None:
            _make_private(self.file)

    @contextmanager
    def prepared(self) -> Iterator[Connection]:
        """A transaction in which what was missing has been made, and an older schema brought up to date.

        Only one process at a time is in it. Raises `StateError`. Blocks, for a while at most.
        """
        with self.explained():
            self.make_file()
            with self.engine.begin() as connection:
                if not self.sqlite:
                    for statement in _ALONE:
                        connection.exec_driver_sql(statement)
                self._migrate(connection)
                yield connection

    def identity(self, connection: Connection) -> str:
        """Return what tells this database from others: 32 hexadecimal digits."""
        return _identity(connection)

    def clean_once(self) -> None:
        """Write an SQLite file anew if it may hold what was deleted in parts that are free.

        So may one of an earlier version, and one whose proxy was killed while it forgot an account. That takes a while
        for each gigabyte, once. What is in the way is logged; it is tried at the next start again.
        """
        if self.file is None:
            return
        with self.explained():
            connection = self.engine.raw_connection()
            try:
                cursor = connection.cursor()
                if cursor.execute("PRAGMA user_version").fetchone()[0] < CLEAN:
                    self._clean(cursor, self.file.stat().st_size)
            finally:
                connection.close()

    def _clean(self, cursor: Any, size: int) -> None:
        if size > _WORTH_SAYING:
            self.log.info(
                "{name} is rewritten once, so that nothing deleted stays in it ({size} bytes)",
                name=self.name,
                size=size,
            )
        try:
            write_anew(cursor)
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            self.log.warn(
                "{name}: cannot be written anew, and may hold what was deleted before: {error}",
                name=self.name,
                error=str(error),
            )

    def check(self) -> None:
        """Raise `StateError` if there is a database and it cannot be used. Changes nothing."""
        if self.file is not None and not self.file.exists():
            return
        with self.explained(), self.engine.connect() as connection:
            self._version_known(connection)
            if self.sqlite:
                fault = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar()
                if fault != "ok":
                    raise StateError(self._damaged(str(fault)))

    def version(self) -> tuple[str | None, str]:
        """Return the version of the schema, None if there is none yet, and the newest that is known here. As `check`.

        Raises `StateError`.
        """
        newest = max(self._revisions)
        if self.file is not None and not self.file.exists():
            return None, newest
        with self.explained(), self.engine.connect() as connection:
            return self._version_known(connection), newest

    def close(self) -> None:
        """Close what is open in the pool."""
        self.engine.dispose()

    def _migrate(self, connection: Connection) -> None:
        if self._version_known(connection) == max(self._revisions):
            return
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")

    def _version_known(self, connection: Connection) -> str | None:
        """Return the version of the schema, None for an empty database."""
        if not self.sqlite:
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
            if encoding != "UTF8":
                raise StateError(
                    f"{self.name}: its encoding is {encoding}, which cannot hold every nick. Make it with "
                    "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
                )
        current = MigrationContext.configure(connection).get_current_revision()
        if current is None and inspect(connection).get_table_names():
            raise StateError(f"{self.name}: holds tables of something else")
        if current is not None and current not in self._revisions:
            raise StateError(
                f'{self.name}: was written by a newer minimixproxy (schema "{current}", known here up to '
                f'"{max(self._revisions)}"): run that version, or name another state'
            )
        return current

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the database says into `StateError`."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            kind = Unreachable if isinstance(error, OperationalError) and self._may_come(str(cause)) else StateError
            raise kind(self._explanation(cause)) from error
        except sqlite3.Error as error:
            raise StateError(self._explanation(error)) from error
        except OSError as error:
            raise StateError(f"{self.name}: {error.strerror}") from error

    def reach(self) -> None:
        """Raise `Unreachable` if the server takes no connection now, and other `StateError`s. Blocks."""
        with self.explained(), self.engine.connect():
            pass

    def _may_come(self, fault: str) -> bool:
        """Tell whether a fault at connecting is one that passes: the server has not answered, or is not ready.

        libpq has no number for that, only text; of several addresses, that of each.
        """
        if self.sqlite or not fault.startswith("connection "):
            return False
        refusals = [line for line in fault.splitlines() if _REFUSED in line]
        return all(any(word in line for word in _NOT_READY) for line in refusals)

    def _explanation(self, error: BaseException) -> str:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _NOT_A_DATABASE:
            return self._damaged(str(error))
        return f"{self.name}: {said(error)}"

    def _damaged(self, fault: str) -> str:
        return (
            f"{self.name}: is damaged, or no SQLite database ({fault}). Restore it from a backup, or recover it with "
            f'"sqlite3 {self.name} .recover", or move it away (with its -wal and -shm) to begin without the rooms '
            "that accounts were in"
        )


def write_anew(cursor: Any) -> None:
    """Write all of an SQLite file anew, without what was deleted. Blocks; raises what the driver raises, or `NoRoom`.

    `secure_delete` overwrites what is deleted where it is, and no copy that SQLite left in the unused part of a page
    when it moved rows from page to page.
    """
    check_room(cursor)
    cursor.execute("VACUUM")
    cursor.execute(f"PRAGMA user_version = {CLEAN}")


@cache
def _known_revisions() -> frozenset[str]:
    """Return the versions of the schema that there are migrations to; they are loaded by that."""
    found = ScriptDirectory.from_config(_configuration()).walk_revisions()
    return frozenset(script.revision for script in found)


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", _REVISIONS)
    return configuration


def _identity(connection: Connection) -> str:
    found: str | None = connection.execute(select(identity.c.id)).scalar()
    if found is None:
        found = secrets.token_hex(16)
        connection.execute(identity.insert().values(id=found))
    return found


def _make_private(file: Path) -> None:
    """Make the file if it is missing, for its owner only; SQLite gives its -wal and -shm the same mode."""
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        if file.stat().st_mode & 0o077:
            file.chmod(0o600)


def _sqlite(file: Path) -> Engine:
    engine = create_engine(
        URL.create("sqlite", database=str(file)),
        poolclass=NullPool,
        hide_parameters=True,  # they are messages and keys, and a traceback tells of errors
        connect_args={"isolation_level": None, "timeout": BUSY_TIMEOUT, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:
        connection.text_factory = _text
        for pragma in _PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _text(data: bytes) -> str | bytes:
    """Return text of SQLite, or the bytes where it is none: a damaged value costs its row, not the whole database."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def _postgresql_url(text: str) -> URL:
    try:
        return make_url(text).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise StateError("state: cannot be read as a postgresql:// URL") from None


def _postgresql(url: URL) -> Engine:
    try:
        return create_engine(
            url, poolclass=NullPool, paramstyle="format", connect_args=_POSTGRESQL, hide_parameters=True
        )
    except ImportError as error:
        command = f"{sys.executable} -m pip install 'psycopg[binary]'"
        raise StateError(f"state: PostgreSQL needs psycopg: {command}") from error
