"""Whether there is room on disk to write an SQLite file anew. Others need room there, too.

SQLite makes a copy in a file of its own, then puts all of that into the write-ahead log. Where that does not fit it
finds out when the disk is full, and so has the server beside us, or whatever else writes there, found out by then.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any, Final

SPARE: Final = 1.1  # times what it takes: the log has a header for each page, and others write meanwhile
#: Where SQLite makes files of its own: the first of these that there is, and that can be written to.
_VARIABLES: Final = ("SQLITE_TMPDIR", "TMPDIR")
_DIRECTORIES: Final = ("/var/tmp", "/usr/tmp", "/tmp", ".")
_SIZES: Final = ("page_count", "freelist_count", "page_size")


class NoRoom(sqlite3.OperationalError):
    """The file cannot be written anew. `str()` says how much that takes, and where it is missing."""


def check_room(cursor: Any) -> None:
    """Raise `NoRoom` unless there is room for the file of this connection twice. Raises what the driver raises."""
    pages, unused, size = (cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in _SIZES)
    once = int((pages - unused) * size * SPARE)
    file = Path(cursor.execute("PRAGMA database_list").fetchone()[2])
    needed: dict[int, int] = {}  # by file system
    for directory in (file.parent, _directory_of_copies()):
        try:
            device, free = directory.stat().st_dev, free_in(directory)
        except OSError as error:  # such as a directory that was removed
            raise NoRoom(f"{directory}: {error.strerror}") from error
        needed[device] = needed.get(device, 0) + once
        if free < needed[device]:
            raise NoRoom(f"that takes {needed[device]} bytes in {directory}, and {free} are free")


def is_full(error: BaseException) -> bool:
    """Tell whether SQLite says that the disk is full."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def free_in(directory: Path) -> int:
    """Return how many bytes are free where a directory is."""
    return shutil.disk_usage(directory).free


def _directory_of_copies() -> Path:
    named = (os.environ.get(variable) for variable in _VARIABLES)
    for directory in (*named, *_DIRECTORIES):
        if directory and os.path.isdir(directory) and os.access(directory, os.W_OK | os.X_OK):
            return Path(directory)
    return Path()
