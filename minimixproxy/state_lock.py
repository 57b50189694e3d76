"""One proxy to one directory of state, and to one file: locks that last as long as the process, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minimixproxy.logs.logger import Logger

log = Logger()

# Linux: a lock that is the descriptor's, and not lost when another descriptor of the file is closed.
_SET_LOCK = getattr(fcntl, "F_OFD_SETLK", None)
_BYTE = 2**62  # far beyond the bytes of an SQLite file that SQLite itself locks


class InUse(Exception):
    """Another process has the directory. `str()` says which directory."""


def take(directory: Path) -> None:
    """Lock a directory for this process and those it forks. Raises `InUse`; `OSError` if it cannot be opened.

    The descriptor is left open on purpose. On file systems without such locks it does nothing but say so.
    """
    _lock(directory)


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Do as `take`, until the end of the context."""
    descriptor = _lock(directory)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _lock(directory: Path) -> int | None:
    descriptor = os.open(directory, os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise InUse(f"{directory} is in use by another minimixproxy") from error
        log.warn("{directory} cannot be locked: {error}", directory=str(directory), error=error.strerror)
        return None
    return descriptor


def lock_file(file: Path) -> int | None:
    """Lock a file, by whatever name it is reached; return the descriptor that holds the lock while it is open.

    It is in nobody's way but that of who calls this. Raises `InUse`; `OSError` if the file cannot be opened. Where
    there are no such locks it says so and returns None.
    """
    descriptor = os.open(file, os.O_RDWR)
    try:
        if _SET_LOCK is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        lock = struct.pack("@hhqqi0q", fcntl.F_WRLCK, os.SEEK_SET, _BYTE, 1, 0)
        fcntl.fcntl(descriptor, _SET_LOCK, lock)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EAGAIN, errno.EACCES):
            raise InUse(f"{file} is in use by another minimixproxy") from error
        log.warn("{file} cannot be locked: {error}", file=str(file), error=error.strerror)
        return None
    return descriptor
