"""Moving all state from one database to another: from SQLite to PostgreSQL, back, or from file to file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Table, delete, func, insert, select, update

from minimixproxy.storage import schema
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.lease import Lease

_BATCH = 1000  # rows
#: Numbers of processes and epochs are given anew in another database: none that a row has already.
_GO_ON_COUNTING = """
SELECT setval('epochs', greatest((SELECT max(number) FROM holders), (SELECT max(epoch) FROM leases), 1))
"""
#: What each database has of its own: who holds it. What tells it from others goes along, for `given_out` goes by that.
_NOT_MOVED = frozenset({schema.holder, schema.handed})


def move(source: Database, target: Database, installation: str) -> dict[str, int]:
    """Copy all that `source` has to `target`, which must have nothing; return how many rows, by table.

    All or nothing, and both are ours meanwhile: no proxy may run on either. Blocks. Raises `StateError`.
    """
    if source.name == target.name:
        raise StateError(f"{target.name}: is where state is already")
    if source.file is not None and not source.file.exists():
        raise StateError(f"{source.name}: there is no database yet")
    with (
        _held(source, installation),
        _held(target, installation),
        source.explained(),
        target.explained(),
        source.engine.begin() as reading,
        target.engine.begin() as writing,
    ):
        return _move(reading, writing, target.name)


@contextmanager
def _held(database: Database, installation: str) -> Iterator[None]:
    lease = Lease(database, installation)
    lease.take()
    try:
        yield
    finally:
        try:
            with database.explained(), database.engine.begin() as connection:
                connection.execute(update(schema.holder).values(expires=0.0))
        finally:
            lease.abandon()


def _move(reading: Connection, writing: Connection, name: str) -> dict[str, int]:
    tables = [table for table in schema.metadata.sorted_tables if table not in _NOT_MOVED]
    for table in tables:
        if table is not schema.identity and _count(writing, table):
            raise StateError(f"{name}: holds state already (there are rows in {table.name}): name an empty database")
    moved = {table.name: _rows(reading, writing, table) for table in tables}
    for table in tables:
        there, here = _count(writing, table), _count(reading, table)
        if there != here:
            raise StateError(f"{name}: {there} of {here} rows of {table.name} have arrived: nothing is moved")
    if writing.dialect.name == "postgresql":
        writing.exec_driver_sql(_GO_ON_COUNTING)
    return moved


def _rows(reading: Connection, writing: Connection, table: Table) -> int:
    writing.execute(delete(table))
    number = 0
    result = reading.execution_options(yield_per=_BATCH).execute(select(table))
    for rows in result.mappings().partitions():
        batch = [dict(row) for row in rows]
        try:
            writing.execute(insert(table), batch)
        except (TypeError, ValueError) as error:
            raise StateError(f"a row of {table.name} is damaged, and nothing is moved: {error}") from error
        number += len(batch)
    return number


def _count(connection: Connection, table: Table) -> int:
    return int(connection.execute(select(func.count()).select_from(table)).scalar_one())
