"""How far messages were handed to sessions: a number in a small file, which outlives a killed process.

Written after each release of held output, it costs one system call. The page cache keeps it when the process is
killed; after a loss of power it is older, and clients get a few messages twice rather than none.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from minimixproxy.logs.logger import Logger

_DIGITS = 20


class Mark(Protocol):
    """Where it is noted."""

    def write(self, sequence: int) -> None:
        """Everything up to `sequence` has been handed over."""

    def close(self) -> None:
        """Write no more."""


class GivenOut:
    """The file `given_out` beside state. It counts only together with the database that it belongs to."""

    log = Logger()

    def __init__(self, file: Path) -> None:
        self._file = file
        self._identity = b""
        self._descriptor: int | None = None
        self._written: float | None = None  # by whoever had it before, and when

    def open(self, identity: str) -> int | None:
        """Open the file for the database of this identity; return what it says, None if it is not of this database."""
        self._identity = identity.encode("ascii")
        try:
            self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            text = os.pread(self._descriptor, 200, 0)
            self._written = os.fstat(self._descriptor).st_mtime if text else None
        except OSError as error:
            self.log.warn("{file} cannot be used: {error}", file=str(self._file), error=error.strerror)
            return None
        found, _, digits = text.rstrip().partition(b" ")
        return int(digits) if found == self._identity and digits.isdigit() else None

    def unused_for(self, now: float) -> float:
        """Return how long ago it was written last when it was opened, in seconds; 0 if that is not known."""
        return max(0.0, now - self._written) if self._written is not None else 0.0

    def write(self, sequence: int) -> None:
        """Everything up to `sequence` has been handed over."""
        if self._descriptor is None:
            return
        try:
            os.pwrite(self._descriptor, b"%b %0*d\n" % (self._identity, _DIGITS, sequence), 0)
        except OSError as error:
            self.log.warn("{file} cannot be written: {error}", file=str(self._file), error=error.strerror)
            self.close()

    def close(self) -> None:
        """Write no more."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)
