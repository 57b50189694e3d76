"""The write-ahead log of an SQLite file, in which what was deleted lives on until it is truncated.

Copies of rows live on in the file itself, too (see `write_anew`): for an account that is forgotten it is written anew.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minimixproxy.log import Logger
from minimixproxy.storage.batch import Batch
from minimixproxy.storage.database import BUSY_TIMEOUT, Database, write_anew

AGAIN = 1.0  # seconds to the next attempt, after somebody was in the way
SHARE = 20.0  # at most one part in so many of the time goes into writing the file anew, however many accounts go


class WriteAheadLog:
    """Knows whether something was deleted since the log was truncated last. Used in the writer's thread."""

    log = Logger()

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        """`clock`: seconds."""
        self._database = database
        self._clock = clock
        #: When something was deleted that may still be there: before the start perhaps, for the log outlives a crash.
        self._since: float | None = clock() if database.sqlite else None
        self._urgent = False
        self._copies = False  # an account has gone since the file was written anew
        self._rest_until = 0.0  # when it may be written anew again
        self._tried: float | None = None  # when somebody was in the way

    @property
    def clean(self) -> bool:
        """Whether nothing that was deleted is left."""
        return self._since is None

    def written(self, batch: Batch) -> None:
        """A batch is in the database, and in the log."""
        if self._database.sqlite and (batch.deletes or batch.erases):
            self._since = self._clock() if self._since is None else self._since
            self._urgent = self._urgent or batch.erases
            self._copies = self._copies or bool(batch.gone_accounts)

    def due(self, after: float) -> bool:
        """Tell whether it is time to truncate: `after` so many seconds, or at once where a batch wants that."""
        if self._since is None:
            return False
        now = self._clock()
        if self._tried is not None and now - self._tried < AGAIN:
            return False
        if self._copies and now < self._rest_until:
            return False
        return self._urgent or now - self._since >= after

    def truncate(self, cursor: Any) -> None:
        """Take over into the file what is in the log, and empty it, unless somebody reads: then it is tried again."""
        cursor.execute("PRAGMA busy_timeout = 0")  # nobody is to wait for who reads
        try:
            if self._copies:
                self._write_anew(cursor)
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            error = "another program reads the database"
        except self._database.driver_error as fault:
            busy, error = True, str(fault)
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
        if not busy:
            if self._tried is not None:
                self.log.info("{name}: the write-ahead log is erased now", name=self._database.name)
            self._since, self._urgent, self._tried = None, False, None
            return
        if self._tried is None:
            self.log.warn(
                "{name}: what was deleted cannot be erased from the write-ahead log yet, trying again: {error}",
                name=self._database.name,
                error=error,
            )
        self._tried = self._clock()

    def _write_anew(self, cursor: Any) -> None:
        began = self._clock()
        try:
            write_anew(cursor)
            self._copies = False
        finally:  # an attempt that fails, of a full disk perhaps, takes its time too
            now = self._clock()
            self._rest_until = now + (now - began) * SHARE
