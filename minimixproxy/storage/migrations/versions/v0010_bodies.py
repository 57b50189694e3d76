"""What several accounts were told is in one row only (see `minimixproxy.storage.bodies`)."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from zlib import crc32

import sqlalchemy as sa
from alembic import op

from minimixproxy.wire.stanza import unaddressed

revision = "0010"
down_revision = "0009"

SLICE = 2000  # rows in memory
#: Copies of a message come one soon after the other. So many different ones are looked back, and twice that at most.
LOOK_BACK = 100_000

_messages = sa.table(
    "messages",
    sa.column("sequence", sa.BigInteger),
    sa.column("raw", sa.LargeBinary),
    sa.column("checksum", sa.BigInteger),
    sa.column("body", sa.BigInteger),
)


def upgrade() -> None:
    """Add the column, and have rows that say the same name the first of them: slice by slice, in one transaction."""
    op.add_column("messages", sa.Column("body", sa.BigInteger().with_variant(sa.Integer, "sqlite")))
    connection, conversion = op.get_bind(), _Conversion()
    statement = (
        sa.update(_messages)
        .where(_messages.c.sequence == sa.bindparam("key"))
        .values({name: sa.bindparam(f"new_{name}") for name in ("raw", "checksum", "body")})
    )
    for rows in _slices(connection):
        changed = [change for row in rows if (change := conversion.convert(*row)) is not None]
        if changed:
            connection.execute(statement, changed)
    if conversion.shared and connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA user_version = 0")  # the file is written anew, and is smaller then


def _slices(connection: sa.Connection) -> Iterator[list[Any]]:
    """Yield rows as the driver gives them: one that is damaged may hold anything."""
    last = -1
    while True:
        rows = connection.exec_driver_sql(
            f"SELECT sequence, raw, checksum FROM messages WHERE sequence > {last} ORDER BY sequence LIMIT {SLICE}"
        ).fetchall()
        if not rows:
            return
        yield list(rows)
        last = int(rows[-1][0])


class _Conversion:
    """Finds messages that are equal but for whom they were sent to."""

    def __init__(self) -> None:
        self.shared = False
        self._recent: dict[bytes, int] = {}  # by digest of what is said, the row that has it
        self._earlier: dict[bytes, int] = {}

    def convert(self, sequence: int, raw: object, checksum: object) -> dict[str, Any] | None:
        """Return what of a row changes, None if nothing does."""
        if not isinstance(raw, bytes) or crc32(raw) != checksum:
            return None  # damaged: it is left out at loading, as ever
        said = unaddressed(raw)
        first = self._first(sha256(said).digest(), sequence)
        if first != sequence:
            self.shared = True
            return {"key": sequence, "new_raw": b"", "new_checksum": crc32(said), "new_body": first}
        if said == raw:
            return None
        return {"key": sequence, "new_raw": said, "new_checksum": crc32(said), "new_body": None}

    def _first(self, digest: bytes, sequence: int) -> int:
        first = self._recent.get(digest) or self._earlier.get(digest)
        if first is not None:
            return first
        if len(self._recent) >= LOOK_BACK:
            self._earlier, self._recent = self._recent, {}
        self._recent[digest] = sequence
        return sequence
