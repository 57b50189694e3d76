"""What SQLite says of a database."""

import sqlite3
from contextlib import closing
from pathlib import Path


def used_bytes(database: Path) -> int:
    """Return the bytes of it that are used, with those that are still in the write-ahead log."""
    with closing(sqlite3.connect(database)) as connection:
        pages, free, each = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * each
