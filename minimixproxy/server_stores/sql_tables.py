"""Accounts in a server's SQL database: Prosody's table `prosody`, ejabberd's `users`. SQLite and PostgreSQL.

Rows come one after the other and are never all in memory. Nothing is written.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterable, Iterator
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from minimixproxy.sasl.keys import Keys
from minimixproxy.server_stores.prosody_files import read_account
from minimixproxy.server_stores.records import (
    BadRecord,
    Record,
    StoreError,
    Unusable,
    checked_keys,
    checked_password,
    from_base64,
)

MAX_VALUE = 4096  # characters of one column
MAX_ROWS = 16  # of one account
_BATCH = 1000
_TYPES = {2: "sha1", 3: "sha256", 4: "sha512"}  # ejabberd's column `type`; 1 is a password, 0 an older version's row


class _Row(NamedTuple):
    """A row of ejabberd's, of any version."""

    domain: object
    local: object
    password: object
    serverkey: object
    salt: object
    iterations: object
    kind: object


def read_database(url: str) -> Iterator[Record | Unusable]:
    """Yield the accounts of a database. Raises `StoreError`, after some of them perhaps."""
    engine = _engine(url)
    try:
        with engine.connect() as connection:
            tables = set(inspect(connection).get_table_names()) & {"prosody", "users"}
            if not tables:
                raise StoreError("there is neither Prosody's table `prosody` in it nor ejabberd's `users`")
            if "prosody" in tables:
                yield from _prosody(connection)
            if "users" in tables:
                yield from _ejabberd(connection)
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise StoreError(_line(error)) from error


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise StoreError("it is no URL: sqlite:////PATH or postgresql://USER@HOST/DATABASE") from error
    backend = parsed.get_backend_name()
    if backend == "sqlite" and parsed.database:
        return create_engine("sqlite://", creator=lambda: _sqlite(Path(str(parsed.database))), poolclass=NullPool)
    if backend == "postgresql":
        try:
            return create_engine(parsed.set(drivername="postgresql+psycopg"), poolclass=NullPool)
        except ImportError as error:
            command = f"{sys.executable} -m pip install 'psycopg[binary]'"
            raise StoreError(f"PostgreSQL needs psycopg: {command}") from error
    raise StoreError("only sqlite:////PATH and postgresql://USER@HOST/DATABASE can be read")


def _sqlite(path: Path) -> sqlite3.Connection:
    """Open a file that may hold anything anywhere, for reading."""
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    return connection


def _rows(connection: Connection, statement: str) -> Iterator[tuple[Any, ...]]:
    """Yield rows as they come, each value no longer than `MAX_VALUE` and a character more."""
    found = connection.execution_options(stream_results=True, yield_per=_BATCH).execute(text(statement))
    for row in found:
        yield tuple(row)


def _cut(connection: Connection, *columns: str) -> list[str]:
    """Return what selects columns, cut where they are too long."""
    quoted = (connection.dialect.identifier_preparer.quote_identifier(column) for column in columns)
    return [f"substr(CAST({column} AS TEXT), 1, {MAX_VALUE + 1})" for column in quoted]


def _prosody(connection: Connection) -> Iterator[Record | Unusable]:
    """Read the rows of accounts; each has one value (`mod_storage_sql`)."""
    columns = ", ".join(_cut(connection, "host", "user", "key", "value"))
    quote_identifier = connection.dialect.identifier_preparer.quote_identifier
    order = ", ".join(quote_identifier(column) for column in ("host", "user"))
    rows = _rows(connection, f"SELECT {columns} FROM prosody WHERE store = 'accounts' ORDER BY {order}")
    for (host, user), group in groupby(rows, lambda row: row[:2]):
        yield _of_prosody(host, user, group)


def _of_prosody(host: object, user: object, rows: Iterable[tuple[Any, ...]]) -> Record | Unusable:
    values = {}
    try:
        for _, _, key, value in _bounded(rows):
            values[key] = int(value) if key == "iteration_count" and _is_number(value) else value
        return read_account(_name(user), _name(host), values)
    except BadRecord as error:
        return Unusable(f"{user}@{host}"[:200], str(error))


def _ejabberd(connection: Connection) -> Iterator[Record | Unusable]:
    """Read ejabberd's rows: of an account one for each hash, or a password (`ejabberd_auth_sql`)."""
    found = {column["name"] for column in inspect(connection).get_columns("users")}
    if not {"username", "password"} <= found:
        yield Unusable("users", "the table is not ejabberd's: it lacks username or password")
        return
    wanted = ("server_host", "username", "password", "serverkey", "salt", "iterationcount", "type")
    columns = [_cut(connection, name)[0] if name in found else "NULL" for name in wanted]
    order = "server_host, username" if "server_host" in found else "username"
    rows = _rows(connection, f"SELECT {', '.join(columns)} FROM users ORDER BY {order}")
    for (host, user), group in groupby(map(_Row._make, rows), lambda row: (row.domain, row.local)):
        try:
            record = _of_ejabberd(host, user, group)
        except BadRecord as error:
            yield Unusable((f"{user}@{host}" if host is not None else str(user))[:200], str(error))
        else:
            yield record


def _of_ejabberd(host: object, user: object, rows: Iterable[_Row]) -> Record:
    keys, password = [], None
    for row in _bounded(rows):
        if row.salt or row.serverkey:
            keys.append(_scram(row))
        else:
            password = row.password
    domain = None if host is None else _name(host)
    if keys:
        return Record(_name(user), domain, tuple(keys))
    return Record(_name(user), domain, password=checked_password(password))


def _scram(row: _Row) -> Keys:
    stored_key = str(row.password)
    prefix, _, rest = stored_key.partition(":")
    if prefix in ("sha256", "sha512"):
        hash_name, stored_key = prefix, rest
    else:
        hash_name = _TYPES.get(int(str(row.kind)), "") if _is_number(row.kind) and row.kind != "0" else "sha1"
    iterations = int(str(row.iterations)) if _is_number(row.iterations) else None
    return checked_keys(
        hash_name, from_base64(row.salt), iterations, from_base64(stored_key), from_base64(row.serverkey)
    )


def _bounded(rows: Iterable[Any]) -> Iterator[Any]:
    """Yield the rows of one account. Raises `BadRecord` if there are too many, or a value is too long."""
    for row in islice(rows, MAX_ROWS):
        if any(isinstance(value, str) and len(value) > MAX_VALUE for value in row):
            raise BadRecord(f"a value has more than {MAX_VALUE} characters")
        yield row
    if next(iter(rows), None) is not None:
        raise BadRecord(f"it has more than {MAX_ROWS} rows")


def _name(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise BadRecord("its name, or its host's, is missing")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10


def _line(error: BaseException) -> str:
    """Return what a driver says, in a line, without the statement."""
    original = getattr(error, "orig", None) or error
    return " ".join(f"{type(original).__name__}: {original}".split())[:500]
