"""One proxy to one directory of state: a lock that lasts as long as the process, and ends with it however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

from twisted.logger import Logger

log = Logger()


class InUse(Exception):
    """Another process has the directory. `str()` says which directory."""


def take(directory: Path) -> None:
    """Lock a directory for this process and those it forks. Raises `InUse`; `OSError` if it cannot be opened.

    The descriptor is left open on purpose. On file systems without such locks it does nothing but say so.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise InUse(f"{directory} is in use by another minimixproxy") from error
        log.warn("{directory} cannot be locked: {error}", directory=str(directory), error=error.strerror)
