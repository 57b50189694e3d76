"""The statements that write, compiled once by SQLAlchemy for the database at hand and given to its driver as text.

Rows that come in numbers are written by statements of many rows. With SQLite each statement gives the interpreter's
lock away and has to get it back from a busy reactor, however many rows it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Column, Table, bindparam, delete, false, func, literal_column, null, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.expression import ClauseElement

from minimixproxy.storage.schema import (
    FREE,
    NOBODY,
    accounts,
    acknowledged,
    blocked,
    cursors,
    handed,
    leases,
    login_keys,
    login_tokens,
    messages,
    privates,
    rooms,
)

_SIZES = (1, 2, 4, 8, 16, 32, 64)  # rows of one statement
_CHANGED = ("raw", "stanza_id", "amends", "retracted", "checksum", "body")
#: What is left of a message that is gone, where others name its row. Its sequence tells nothing.
DISOWNED: Final = {
    "room_id": literal_column(str(NOBODY)),
    "time": literal_column("0"),
    "stamped": false(),
    "stanza_id": null(),
    "amends": null(),
    "retracted": false(),
    "checksum": literal_column("0"),
    "body": null(),
}


class Statements:
    """What `Store` executes. The values of a row are in the order of the table's columns."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._insert = sqlite.insert if dialect.name == "sqlite" else postgresql.insert
        self.messages = self._inserted(messages)
        self.privates = self._inserted(privates)
        self.message_there = self._there(messages, messages.c.raw, messages.c.body)
        self.private_there = self._there(privates, privates.c.raw)
        self.trimmed = self._many_deleted(messages.c.sequence)
        self.disowned = self._many_updated(DISOWNED)
        self.emptied = self._many_updated({"raw": literal_column("X''" if dialect.name == "sqlite" else "''")})
        self.given = self._many_deleted(privates.c.sequence)
        self.change = self._text(
            update(messages)
            .values({name: bindparam(f"new_{name}") for name in _CHANGED})
            .where(messages.c.sequence == bindparam("key"))
        )
        self.account = self._upserted(accounts)
        self.login_keys = self._upserted(login_keys)
        self.login_tokens = self._upserted(login_tokens)
        self.blocked = self._upserted(blocked)
        self.not_blocked = self._deleted(blocked.c.bare)
        self.room = self._upserted(rooms)
        self.cursor = self._upserted(cursors)
        self.attach = self._attached()
        self.acknowledged = self._upserted(acknowledged)
        self.no_account = self._deleted(accounts.c.id)
        self.no_login_keys = self._deleted(login_keys.c.bare)
        self.no_login_tokens = self._deleted(login_tokens.c.bare, login_tokens.c.device)
        self.no_room = self._deleted(rooms.c.id)
        self.no_cursor = self._deleted(cursors.c.room_id, cursors.c.resource)
        self.no_cursors = self._deleted(cursors.c.room_id)
        self.no_privates = self._deleted(privates.c.room_id)
        self.not_acknowledged = self._deleted(acknowledged.c.account_id, acknowledged.c.resource)
        self.none_acknowledged = self._deleted(acknowledged.c.account_id)
        self.no_history = (self._text(delete(messages)), self._text(delete(privates)))
        self.no_history_of_room = (self._deleted(messages.c.room_id), self._deleted(privates.c.room_id))
        self.no_lease = self._deleted(leases.c.bare, leases.c.holder)
        self.handed = self._upserted(handed)
        self.free_lease = self._text(
            update(leases)
            .values(holder=literal_column(str(FREE)))
            .where(leases.c.bare == bindparam("key"), leases.c.holder == bindparam("own"))
        )

    def _text(self, statement: ClauseElement) -> str:
        return str(statement.compile(dialect=self._dialect))

    def _inserted(self, table: Table) -> ManyRows:
        """A row that is there already is left: a batch that failed may have been written in spite of it.

        The number of rows inserted tells whether there were any (see `Store`).
        """
        tail = " ON CONFLICT DO NOTHING"
        text = self._text(self._insert(table).on_conflict_do_nothing())
        head, row = text.removesuffix(tail).split(" VALUES ", 1)
        return ManyRows(f"{head} VALUES ", row, tail, len(table.columns), inserts=True)

    def _there(self, table: Table, *columns: Column[Any]) -> str:
        """What is in the row of a sequence, if it is of this room."""
        keys = (table.c.sequence, table.c.room_id)
        return self._text(select(*columns).where(*(key == bindparam(f"key_{key.name}") for key in keys)))

    def _many_deleted(self, key: Column[Any]) -> ManyRows:
        return _many(self._deleted(key))

    def _many_updated(self, values: Mapping[str, Any]) -> ManyRows:
        return _many(self._text(update(messages).values(values).where(messages.c.sequence == bindparam("key"))))

    def _attached(self) -> str:
        """Who is attached already has been since then."""
        statement = self._insert(cursors)
        since = func.coalesce(cursors.c.attached, statement.excluded.attached)
        key = [column.name for column in cursors.primary_key]
        return self._text(statement.on_conflict_do_update(index_elements=key, set_={"attached": since}))

    def _upserted(self, table: Table) -> str:
        statement = self._insert(table)
        key = [column.name for column in table.primary_key]
        changed = {column.name: statement.excluded[column.name] for column in table.c if column.name not in key}
        return self._text(statement.on_conflict_do_update(index_elements=key, set_=changed))

    def _deleted(self, *keys: Column[Any]) -> str:
        return self._text(delete(keys[0].table).where(*(key == bindparam(f"key_{key.name}") for key in keys)))


def _many(statement: str) -> ManyRows:
    """The statement for many rows of one that ends with the row's key."""
    head, parameter = statement.rsplit(" = ", 1)
    return ManyRows(f"{head} IN (", parameter, ")", 1)


class ManyRows:
    """A statement for one row, for two, for four, and so on. It must not matter if a row comes twice."""

    def __init__(self, head: str, row: str, tail: str, width: int, *, inserts: bool = False) -> None:
        """`width`: values of a row."""
        self.inserts = inserts
        self._width = width
        self._texts = [(size * width, head + ", ".join([row] * size) + tail) for size in _SIZES]
        self.one = self._texts[0][1]  # the statement for one row

    def cut(self, values: Sequence[Any]) -> list[tuple[str, Sequence[Any], int]]:
        """Return statements, each with its parameters and number of rows, for the values of all rows in one sequence.

        As few as can be: the last one is filled up with repetitions of the last row.
        """
        if len(values) == self._width:  # mostly so
            return [(self.one, values, 1)]
        return list(self._cut_many(values))

    def _cut_many(self, values: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any], int]]:
        most = self._texts[-1][0]
        for start in range(0, len(values), most):
            part = list(values[start : start + most])
            size, text = next(known for known in self._texts if known[0] >= len(part))
            rows = len(part) // self._width
            part += part[-self._width :] * ((size - len(part)) // self._width)
            yield text, part, rows

    def cut_small(self, values: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any], int]]:
        """The same, one row at a time."""
        for start in range(0, len(values), self._width):
            yield self.one, values[start : start + self._width], 1
