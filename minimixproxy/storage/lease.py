"""One database, one proxy: a second one is kept out, and one that has lost the database writes no more.

The row of `holder` says which installation has the database, and its `epoch` grows each time it is taken. With
PostgreSQL that is a lease: it is renewed while the proxy runs and ends a while after a crash, at once for the same
installation (whose directory of state is locked, so the former process is gone). The epoch is checked in each
transaction that writes. Sessions and their locks do not matter, so a pooler or a new connection may be in between.

An SQLite file is locked itself as well, for as long as the process lives, by whatever name it is opened.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, func, select, update

from minimixproxy import state_lock
from minimixproxy.logs.logger import Logger
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.schema import holder, holders

LEASE = 15.0  # seconds for which a database stays taken after a sign of life, by the clock of the database's server
CLUSTER = "cluster"  # in the place of a host, if several processes have the database together
RENEWAL = 5.0  # seconds between signs of life
LOOK = 0.5  # seconds between looks at a lease that may be left over

NOW = "extract(epoch FROM clock_timestamp())"
#: Who checks and is then stopped (SIGSTOP, a suspended machine) must not be in others' way: milliseconds.
IDLE = "set_config('idle_in_transaction_session_timeout', '15000', true)"
_CHECK = {
    "sqlite": "SELECT 1 FROM holder WHERE epoch = ?",
    "postgresql": f"SELECT {IDLE} FROM holder WHERE epoch = %s FOR SHARE",
}
_RENEW = f"UPDATE holder SET expires = {NOW} + {LEASE} WHERE epoch = %s RETURNING {IDLE}"
_GIVE_BACK = {"sqlite": "?", "postgresql": "%s"}


class HeldByAnother(StateError):
    """Another proxy has the database: this one must not write."""


class Lease:
    """This process's having a database. `installation` names the directory of state for good."""

    log = Logger()

    def __init__(
        self,
        database: Database,
        installation: str,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._installation = installation
        self._host = socket.gethostname()
        self._sleep = sleep
        self._monotonic = monotonic
        self.number = 0  # among the processes of a cluster
        self._epoch = 0
        self._renewed: float  # since it is taken
        self._locked: tuple[Path, int] | None = None  # a file, and the descriptor that holds its lock

    # Taking it -------------------------------------------------------------------------------------------------

    def take(self) -> str:
        """Bring the schema up to date and have the database; return its identity. Blocks, for `LEASE` at most.

        Raises `HeldByAnother`, or another `StateError`.
        """
        try:
            return self._take()
        except BaseException:
            self.abandon()
            raise

    def _take(self) -> str:
        self._lock_file()
        began = self._monotonic()
        first: tuple[int, float] | None = None
        while True:
            with self._database.prepared() as connection:
                found = self._held_since(connection, expired=self._monotonic() - began >= LEASE)
                identity = self._database.identity(connection)
                who = self._holder(connection)
            if found is None:
                self._renewed = self._monotonic()
                self._database.clean_once()
                return identity
            if first is None:
                self.log.warn(
                    "{name}: {holder} has it, or had when it ended: waiting for up to {lease:.0f} s to see whether it "
                    "is still there",
                    name=self._database.name,
                    holder=who,
                    lease=LEASE,
                )
                first = found
            elif found != first:
                raise HeldByAnother(self._in_use(who))
            self._sleep(LOOK)

    def _lock_file(self) -> None:
        file = self._database.file
        if file is None:
            return
        with self._database.explained():
            self._database.make_file()
            try:
                lock = state_lock.lock_file(file)
            except state_lock.InUse as error:
                raise HeldByAnother(self._in_use("another minimixproxy")) from error
        self._locked = None if lock is None else (file, lock)

    def _held_since(self, connection: Connection, *, expired: bool) -> tuple[int, float] | None:
        """Take the database unless somebody else has it: then return what changes while that one lives."""
        row = connection.execute(select(holder).with_for_update()).first()
        now = self._now(connection)
        if row is not None:
            mine = (row.installation, row.host) == (self._installation, self._host)
            expires = row.expires if row.host != CLUSTER else self._cluster_expires(connection)
            if not (expired or mine or self._database.sqlite or expires <= now):
                return row.epoch, expires
        self._note(connection, row, now)
        return None

    @staticmethod
    def _cluster_expires(connection: Connection) -> float:
        """Return when the last of a cluster's processes is over, unless it gives another sign of life."""
        found: float | None = connection.execute(select(func.max(holders.c.expires)).where(~holders.c.ended)).scalar()
        return found if found is not None else -inf

    def _note(self, connection: Connection, row: Any, now: float) -> None:
        """Have it say in the database that it is ours. `row`: who had it, if anybody."""
        self._epoch = 1 if row is None else row.epoch + 1
        values = {
            "epoch": self._epoch,
            "installation": self._installation,
            "host": self._host,
            "expires": now + LEASE,
        }
        connection.execute(holder.insert().values(id=1, **values) if row is None else update(holder).values(values))
        connection.execute(update(holders).values(ended=True))  # a cluster's, whose processes are over

    def _now(self, connection: Connection) -> float:
        if self._database.sqlite:
            return time.time()
        return float(connection.exec_driver_sql(f"SELECT {NOW}").scalar_one())

    def _holder(self, connection: Connection) -> str:
        row = connection.execute(select(holder)).first()
        if row is None or row.host == CLUSTER:
            return "a cluster of minimixproxies"
        return f"another minimixproxy on {row.host!r}"

    def _in_use(self, who: str) -> str:
        return (
            f"{self._database.name}: is in use by {who}. One database serves one proxy: end the other one, or name "
            "another state"
        )

    # Having it -------------------------------------------------------------------------------------------------

    def check_loading(self, connection: Connection) -> None:
        """Raise `HeldByAnother` unless the database is still ours; it stays so until the transaction ends."""
        found = connection.execute(select(holder.c.epoch).with_for_update(read=True)).scalar()
        if found != self._epoch:
            raise HeldByAnother(self._lost())

    def check(self, cursor: Any, *, new: bool) -> None:
        """The same on a driver's cursor, for who writes; `new`: on a new connection. Renews the lease when it is time.

        The file's lock holds for as long as we live, so that a connection to it need be checked only once.
        """
        if not self._database.sqlite and self.due:
            self._renew(cursor)
        elif new or not self._database.sqlite:
            if new:
                self.check_file()
            cursor.execute(_CHECK[self._database.engine.dialect.name], (self._epoch,))
            if cursor.fetchone() is None:
                raise HeldByAnother(self._lost())

    def has_any(self, cursor: Any, names: Sequence[str]) -> bool:
        """Tell whether any of these accounts is this process's: of one that is alone, all are."""
        return True

    @property
    def due(self) -> bool:
        """Whether it is time for a sign of life."""
        return self._monotonic() - self._renewed >= RENEWAL

    def _renew(self, cursor: Any) -> None:
        cursor.execute(_RENEW, (self._epoch,))
        if cursor.rowcount != 1:
            raise HeldByAnother(self._lost())
        self._renewed = self._monotonic()

    @property
    def has_news(self) -> bool:
        """Whether there is something of its own to be written, soon."""
        return False

    def committed(self) -> None:
        """A transaction that was checked is over."""

    def rolled_back(self) -> None:
        """A transaction came to nothing: if it renewed the lease nobody has seen that, so the next one does."""
        self._renewed = -inf

    def check_file(self) -> None:
        """Raise `StateError` if a file took the place of the one that is locked, or none: that is not ours."""
        if self._locked is None:
            return
        file, lock = self._locked
        try:
            same = os.path.samestat(file.stat(), os.fstat(lock))
        except FileNotFoundError:
            same = False
        except OSError as error:
            raise StateError(f"{self._database.name}: {error.strerror}") from error
        if not same:
            raise StateError(
                f"{self._database.name}: is another file than the one that was opened at the start, or is gone. What "
                f"is written is in that one, and lost when this process ends: it is /proc/{os.getpid()}/fd/{lock}"
            )

    def _lost(self) -> str:
        return f"{self._database.name}: another minimixproxy has taken it: nothing is written any more"

    # Giving it back --------------------------------------------------------------------------------------------

    def give_back(self, cursor: Any) -> None:
        """At an orderly end: who comes next need not wait."""
        parameter = _GIVE_BACK[self._database.engine.dialect.name]
        cursor.execute(f"UPDATE holder SET expires = 0 WHERE epoch = {parameter}", (self._epoch,))

    def abandon(self) -> None:
        """Let go of the file, as the end of the process does."""
        locked, self._locked = self._locked, None
        if locked is not None:
            os.close(locked[1])
