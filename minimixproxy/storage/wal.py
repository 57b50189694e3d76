"""The write-ahead log of an SQLite file: when it is taken over into the file, and when it is truncated.

What was deleted lives on in it until it is truncated. Copies of rows live on in the file itself, too (see
`write_anew`): for accounts that are forgotten it is written anew. That takes seconds for each few hundred megabytes, in
which nothing else is written. So it is done at once only for the operator; what clients have forgotten waits, and one
writing is for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any, Protocol

from minimixproxy.logs.logger import Logger
from minimixproxy.storage.batch import Batch, Erasure
from minimixproxy.storage.database import BUSY_TIMEOUT, write_anew
from minimixproxy.storage.room_on_disk import NoRoom

LONG = 1000  # pages, about, after which the log is taken over into the file, as SQLite does by itself
_PAGES = 2  # that a batch writes beside those that its messages fill, and those of other rows, about
_PAGE = 4096  # bytes
AGAIN = 1.0  # seconds to the next attempt, after somebody was in the way
LOG_EVERY = 5.0  # seconds between two times that the log is truncated for accounts that clients have forgotten
GATHERED = 600.0  # seconds that copies of what clients have forgotten may be in the file, if it is not large
# Writing the file anew takes at most one part in so many of the time: for the operator, and for clients.
SHARE, CLIENTS_SHARE = 20.0, 500.0
ROOM_AGAIN = 60.0  # seconds until it is looked again whether there is room for that, if the operator waits


class _Database(Protocol):
    """What is asked of the database."""

    name: str

    @property
    def sqlite(self) -> bool: ...

    @property
    def driver_error(self) -> type[Exception]: ...


class WriteAheadLog:
    """Knows how long the log is, and what was deleted since it was truncated and the file written anew.

    All that waits for the disk is in `take_over` and `truncate`, and in the first write after one of these, which
    begins the log anew. SQLite would do it in the midst of whichever write it is time in.
    """

    log = Logger()

    def __init__(self, database: _Database, clock: Callable[[], float]) -> None:
        """`clock`: seconds."""
        self._database = database
        self._clock = clock
        #: When something was deleted that may still be there: before the start perhaps, for the log outlives a crash.
        self._since: float | None = clock() if database.sqlite else None
        #: Whether the next write begins the log anew, and waits for the disk then. Perhaps so at the start.
        self.waits_for_disk = True
        self._pages = 0  # written to the log since it was taken over, about
        self._grows = False  # it could not be taken over, the last time
        self._soon = False
        self._truncated = -inf
        self._copies_since: float | None = None  # when an account went, of those since the file was written anew
        self._at_once = False  # the operator waits for it to be written anew
        self._rest_until = self._clients_rest_until = 0.0  # when it may be
        self._tried: float | None = None  # when somebody was in the way
        self._is_told = False  # that it cannot be written anew

    @property
    def erasure(self) -> Erasure:
        """Where nothing is left of what was deleted."""
        if self._since is not None:
            return Erasure.NOWHERE
        return Erasure.FILE if self._copies_since is None else Erasure.LOG

    def written(self, batch: Batch, *, in_log: bool = True) -> None:
        """A batch is in the database, and in the log unless it changed nothing."""
        if not self._database.sqlite:
            return
        if in_log:
            self.waits_for_disk = False
        self._pages += _PAGES + batch.size // _PAGE
        if batch.only_messages:
            return
        self._pages += _scattered(batch)
        if batch.deletes or batch.erases:
            self._since = self._clock() if self._since is None else self._since
            self._soon = self._soon or batch.erases
            self._at_once = self._at_once or batch.writes_anew
        if batch.leaves_copies and self._copies_since is None:
            self._copies_since = self._clock()

    @property
    def is_long(self) -> bool:
        """Whether it is time to take the log over into the file."""
        return self._pages >= LONG

    def take_over(self, cursor: Any) -> None:
        """Take over into the file what is in the log, as far as nobody reads it there."""
        self._pages, self.waits_for_disk = 0, True
        try:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        except self._database.driver_error as fault:
            if not self._grows:
                self.log.warn(
                    "{name}: the write-ahead log cannot be taken over into the file and grows, trying again: {error}",
                    name=self._database.name,
                    error=str(fault),
                )
            self._grows = True
        else:
            self._grows = False

    def due(self, after: float) -> bool:
        """Tell whether it is time to truncate: after so many seconds, or sooner where a batch wants that."""
        if self._since is None and self._copies_since is None:
            return False
        now = self._clock()
        if self._tried is not None and now - self._tried < AGAIN:
            return False
        if self._anew_due(now):
            return True
        if self._since is None:
            return False
        if self._at_once and self._copies_since is None:
            return True
        return now - self._since >= after or (self._soon and now - self._truncated >= LOG_EVERY)

    def _anew_due(self, now: float) -> bool:
        if self._copies_since is None:
            return False
        if self._at_once:
            return now >= self._rest_until
        return now >= max(self._copies_since + GATHERED, self._clients_rest_until)

    def truncate(self, cursor: Any) -> None:
        """Take over into the file what is in the log, and empty it, unless somebody reads: then it is tried again."""
        cursor.execute("PRAGMA busy_timeout = 0")  # nobody is to wait for who reads
        self.waits_for_disk = True  # also if somebody reads: as far as can be it is taken over then
        try:
            if self._anew_due(self._clock()):
                self._try_to_write_anew(cursor)
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            error = "another program reads the database"
        except self._database.driver_error as fault:
            busy, error = True, str(fault)
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT * 1000)}")
        if busy:
            self._in_the_way(error)
            return
        if self._tried is not None:
            self.log.info("{name}: the write-ahead log is erased now", name=self._database.name)
        self._since, self._soon, self._tried, self._truncated = None, False, None, self._clock()
        self._pages = 0
        if self._copies_since is None:
            self._at_once = False

    def _in_the_way(self, error: str) -> None:
        if self._tried is None:
            self.log.warn(
                "{name}: what was deleted cannot be erased from the write-ahead log yet, trying again: {error}",
                name=self._database.name,
                error=error,
            )
        self._tried = self._clock()

    def _try_to_write_anew(self, cursor: Any) -> None:
        """If that comes to nothing, the log is truncated all the same: what it got in vain would fill the disk."""
        began = self._clock()
        self._since = began if self._since is None else self._since  # all of it passes through the log
        again = AGAIN, AGAIN
        try:
            self._write_anew(cursor)
        except NoRoom as fault:
            again = ROOM_AGAIN, GATHERED
            self._not_anew(fault)
        except self._database.driver_error as fault:
            self._not_anew(fault)
        else:
            again = 0.0, 0.0
        now = self._clock()  # an attempt that fails, of a full disk perhaps, takes its time too
        self._rest_until = now + max(again[0], (now - began) * SHARE)
        self._clients_rest_until = now + max(again[1], (now - began) * CLIENTS_SHARE)

    def _write_anew(self, cursor: Any) -> None:
        write_anew(cursor)
        self._copies_since = None
        if self._is_told:
            self._is_told = False
            self.log.info("{name} is written anew now", name=self._database.name)

    def _not_anew(self, fault: Exception) -> None:
        if not self._is_told:
            self.log.error(
                "{name}: the file cannot be written anew, and may hold what was deleted, trying again: {error}",
                name=self._database.name,
                error=str(fault),
            )
        self._is_told = True


def _scattered(batch: Batch) -> int:
    """Return how many pages a batch's rows are in that have nothing to do with each other, about."""
    kinds = (batch.trimmed, batch.given, batch.changes, batch.emptied, batch.disowned)
    return (
        sum(map(len, kinds))
        + len(batch.cursors)
        + len(batch.rooms)
        + len(batch.accounts)
        + len(batch.acknowledged) // 8
    )
