"""A copy of an SQLite file that is in use: of one moment, whole, and without what was deleted."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

from minimixproxy.storage.errors import StateError

PATIENCE = 30.0  # seconds to wait for the writer, at a time


class Copied(NamedTuple):
    """What is in a backup. `size`: bytes; `version`: of the schema."""

    accounts: int
    rooms: int
    size: int
    version: str


def back_up(source: Path, target: Path, *, overwrite: bool = False) -> Copied:
    """Copy the database in the file `source`, which another process may be writing to. Blocks. Raises `StateError`.

    The copy is its owner's only, and has its name only when it is whole and was read through once.
    """
    if not source.is_file():
        raise StateError(f"{source}: there is no database yet")
    if target.exists() and not overwrite:
        raise StateError(f"{target}: is there already, and stays as it is: name another file, or say --force")
    if target.exists() and (not target.is_file() or target.samefile(source)):
        raise StateError(f"{target}: is no file that may be overwritten")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        _copy(source, temporary)
        copied = _read_through(temporary)
        _sync(temporary)
        if overwrite:
            os.replace(temporary, target)
        else:
            os.link(temporary, target)
    except FileExistsError as error:
        raise StateError(f"{target}: was made by somebody else meanwhile, and stays as it is") from error
    except OSError as error:
        raise StateError(f"{target}: {error.strerror}") from error
    except sqlite3.Error as error:
        raise StateError(f"{source}: cannot be copied to {target}: {error}") from error
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()
    return copied


def _copy(source: Path, target: Path) -> None:
    address = f"{source.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=PATIENCE)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


def _read_through(copy: Path) -> Copied:
    with closing(sqlite3.connect(copy, isolation_level=None)) as connection:
        fault = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if fault != "ok":
            raise sqlite3.DatabaseError(f"the copy is damaged ({fault}), and so is perhaps the database")
        accounts, rooms = (
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("accounts", "rooms")
        )
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return Copied(accounts, rooms, copy.stat().st_size, str(version))


def _sync(copy: Path) -> None:
    descriptor = os.open(copy, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
