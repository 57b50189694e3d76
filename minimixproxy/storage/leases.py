"""Which process of a cluster has which account: finding, taking, noticing who is over. All of it blocks.

An account is taken and read in one transaction, so nobody can have written to it in between; whoever had it before is
over (see `cluster_lease`), or has let it go.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, Row
from sqlalchemy.exc import OperationalError

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.handed import HandedAccount
from minimixproxy.storage.cluster_lease import NOTHING, ClusterLease
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import said
from minimixproxy.storage.handed_accounts import HANDED, decoded
from minimixproxy.storage.journal import Adopted
from minimixproxy.storage.lease import LEASE, NOW
from minimixproxy.storage.loading import GivenOutUpTo, Loader
from minimixproxy.storage.schema import FREE
from minimixproxy.storage.sealing import Sealer, Unsealable

#: Whoever stands still, or is cut off, in the middle of a transaction must not be in others' way: it locks its row.
_PATIENCE = """
SELECT set_config('lock_timeout', '5s', true), set_config('statement_timeout', '20s', true),
    set_config('idle_in_transaction_session_timeout', '15s', true), set_config('tcp_user_timeout', '15s', true)
"""
#: Beforehand, by itself: a statement that waits for a lock does not see what was done to other tables meanwhile.
_LOCK = "SELECT FROM leases WHERE bare = ANY(%s) ORDER BY bare FOR UPDATE"
_WHO = """
SELECT leases.bare, leases.epoch, holders.number, holders.name, holders.address, holders.accounts,
    coalesce(holders.ended, true) AS ended, coalesce(holders.given_out, -1) AS given_out
FROM leases LEFT JOIN holders ON holders.number = leases.holder
WHERE leases.bare = ANY(%s) ORDER BY leases.bare
"""
_TAKE_OVER = "UPDATE leases SET holder = %s, epoch = nextval('epochs') WHERE bare = ANY(%s)"
_TAKE = """
INSERT INTO leases (bare, holder, epoch) SELECT bare, %s, nextval('epochs') FROM unnest(%s::text[]) AS bare
ON CONFLICT DO NOTHING RETURNING bare
"""
_KNOWN = """
SELECT EXISTS (SELECT FROM accounts WHERE bare = %s) OR EXISTS (SELECT FROM login_keys WHERE bare = %s)
OR EXISTS (SELECT FROM login_tokens WHERE bare = %s) OR EXISTS (SELECT FROM blocked WHERE bare = %s)
"""
_BURY = f"""
UPDATE holders SET ended = true WHERE number IN (
    SELECT number FROM holders WHERE NOT ended AND expires < {NOW} AND number <> %s FOR UPDATE SKIP LOCKED
) RETURNING number, name, address, accounts
"""
_LIVE = f"""
SELECT number, name, address, accounts, draining, expires > {NOW} + 2 * {LEASE} AS is_ahead, {NOW}::float8 AS now
FROM holders WHERE NOT ended ORDER BY number
"""
#: Of a row whose sign of life was given when the database's clock was ahead. Who lives gives another one in time.
_SHORTEN = f"""
UPDATE holders SET expires = {NOW} + {LEASE} WHERE number IN (
    SELECT number FROM holders WHERE NOT ended AND expires > {NOW} + 2 * {LEASE} FOR UPDATE SKIP LOCKED
)
"""
_OURS = "SELECT bare FROM leases WHERE holder = %s AND bare = ANY(%s) ORDER BY bare"
_DRAIN = "UPDATE holders SET draining = %s WHERE number = %s"
_ENDED = "SELECT number, name FROM holders WHERE ended ORDER BY number"
#: Asked each second, and there may be a million leases: with numbers, not with a join, it goes by the index.
_ORPHANS = "SELECT bare FROM leases WHERE holder = ANY(%s) LIMIT %s"
_NEVER_TAKEN = f"""
SELECT accounts.bare FROM accounts LEFT JOIN leases ON leases.bare = accounts.bare WHERE leases.bare IS NULL
UNION SELECT bare FROM leases WHERE holder <> {FREE} AND NOT EXISTS (SELECT FROM holders WHERE number = holder)
ORDER BY bare LIMIT %s
"""
_LEFT_NOTHING = """
DELETE FROM holders WHERE ended AND NOT EXISTS (SELECT FROM leases WHERE leases.holder = holders.number)
"""
_HANDED = "DELETE FROM handed WHERE bare = ANY(%s) RETURNING bare, sealed"
_Result = TypeVar("_Result")

MOST_ORPHANS: Final = 20_000  # looked at in one survey


class Holder(NamedTuple):
    """A process of the cluster, where others reach it, and how many accounts it holds, as it said lately."""

    number: int
    name: str
    address: str
    accounts: int
    draining: bool = False  # it takes no more, and hands on those that it has


class HeldBy(NamedTuple):
    """Another process has the account, since that epoch."""

    holder: Holder
    epoch: int


@dataclass(frozen=True, slots=True)
class Survey:
    """How the cluster stands: who lives, who was found to be over, and accounts that nobody has.

    `left_by`: names of processes that have ended, and of whose accounts some are not taken yet. `anew`: by another
    connection than the last look, perhaps to another server, to which not all was replicated. `time`: what it is by
    the database's clock, in seconds since the epoch; 0 if nobody lives.
    """

    live: Sequence[Holder]
    buried: Sequence[Holder]
    orphans: Sequence[str]
    left_by: Sequence[str] = ()
    anew: bool = False
    time: float = 0.0


class Leases:
    """One connection to the database, for one thread at a time."""

    log = Logger()

    def __init__(self, database: Database, lease: ClusterLease, sealer: Sealer, given_out: int | None = None) -> None:
        """`given_out`: how far output went of accounts that no process of a cluster has had yet, if that is known."""
        self._database = database
        self._lease = lease
        self._sealer = sealer
        self._given_out = given_out
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._is_new = True  # since the last survey

    def find(self, bare: str) -> HeldBy | Adopted | None:
        """Return who has an account, or what there is of it: then it is ours. None: nothing is known of it.

        Raises `StateError`, or `HeldByAnother` if this process is over.
        """
        return self.run(lambda connection: self._find(connection, bare, known=True))

    def claim(self, bare: str) -> HeldBy | Adopted:
        """The same, and the account is ours if nobody has it, whether or not anything is known of it."""
        found = self.run(lambda connection: self._find(connection, bare, known=False))
        assert found is not None, "it is taken"
        return found

    def take(self, names: Sequence[str]) -> Adopted:
        """Take those of these accounts that nobody has; return what there is of them. Raises as `find`."""
        return self.run(lambda connection: self._take(connection, names))

    def ours(self, names: Sequence[str]) -> list[str]:
        """Return which of these accounts are this process's, as the leases say. Raises as `find`."""
        mine = (self._lease.number, list(names))
        return self.run(lambda connection: list(connection.exec_driver_sql(_OURS, mine).scalars()))

    def survey(self, *, thorough: bool) -> Survey:
        """Look who is over, who lives, and which accounts nobody has. Raises as `find`.

        `thorough`: also for accounts that no process has ever had, by looking at all of them.
        """
        return self.run(lambda connection: self._survey(connection, thorough=thorough))

    def drain(self, draining: bool) -> None:
        """Have the others know that this process takes no more accounts, or does so again. Raises as `find`."""
        self.run(lambda connection: connection.exec_driver_sql(_DRAIN, (draining, self._lease.number)))

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._close()

    def _find(self, connection: Connection, bare: str, *, known: bool) -> HeldBy | Adopted | None:
        row = next(iter(self._who(connection, [bare])), None)
        if row is not None and row.number == self._lease.number:
            return self._read(connection, [bare], {})  # it was taken, and the answer was lost
        if row is not None and not row.ended:
            return HeldBy(Holder(row.number, row.name, row.address, row.accounts), row.epoch)
        if row is None and known and not connection.exec_driver_sql(_KNOWN, (bare,) * 4).scalar():
            return None
        adopted = self._take(connection, [bare])
        return adopted if adopted.names else self._find(connection, bare, known=known)  # somebody was faster

    def _take(self, connection: Connection, names: Sequence[str]) -> Adopted:
        """Take what is free. A row that is locked says the same until this transaction is over."""
        rows = self._who(connection, names)
        former = {row.bare: row.given_out for row in rows if row.ended}
        number = self._lease.number
        if former:
            connection.exec_driver_sql(_TAKE_OVER, (number, list(former)))
        new = sorted(set(names) - {row.bare for row in rows})
        taken = connection.exec_driver_sql(_TAKE, (number, new)).scalars().all() if new else []
        known = {bare: given_out for bare, given_out in former.items() if given_out != NOTHING}
        return self._read(connection, [*former, *taken], known)

    @staticmethod
    def _who(connection: Connection, names: Sequence[str]) -> Sequence[Row[Any]]:
        """Return who has these accounts, of those that anybody has had; it stays so until this transaction is over."""
        connection.exec_driver_sql(_LOCK, (list(names),))
        return connection.exec_driver_sql(_WHO, (list(names),)).all()

    def _read(self, connection: Connection, names: Sequence[str], given_out: Mapping[str, int]) -> Adopted:
        loader = Loader(connection, self._database.name, self._sealer, names)
        found = loader.load(GivenOutUpTo(self._given_out, given_out))
        keys, tokens = loader.login_keys, loader.login_tokens
        handed = dict(self._handed(connection, names))
        return Adopted(names, found, keys, tokens, loader.blocked, loader.last_sequence, handed)

    def _handed(self, connection: Connection, names: Sequence[str]) -> Iterator[tuple[str, HandedAccount]]:
        """Take what its former process has let an account have; once, whatever becomes of it."""
        for bare, sealed in connection.exec_driver_sql(_HANDED, (list(names),)).all():
            try:
                handed = decoded(self._sealer.open(bytes(sealed), *HANDED, bare))
            except Unsealable:
                handed = None
            if handed is None:
                self.log.warn("sessions of {account} are not gone on with: they cannot be read", account=bare)
            else:
                yield bare, handed

    def _survey(self, connection: Connection, *, thorough: bool) -> Survey:
        buried = [Holder(*row) for row in connection.exec_driver_sql(_BURY, (self._lease.number,))]
        connection.exec_driver_sql(_LEFT_NOTHING)
        rows = connection.exec_driver_sql(_LIVE).all()
        live = [Holder(*found) for *found, _is_ahead, _now in rows]
        time = max((row.now for row in rows), default=0.0)
        if any(row.is_ahead for row in rows):
            connection.exec_driver_sql(_SHORTEN)
        ended = connection.exec_driver_sql(_ENDED).all()
        nobody = [FREE, *(number for number, _name in ended)]
        orphans = sorted(connection.exec_driver_sql(_ORPHANS, (nobody, MOST_ORPHANS)).scalars())
        if thorough:
            orphans += connection.exec_driver_sql(_NEVER_TAKEN, (MOST_ORPHANS,)).scalars()
        anew, self._is_new = self._is_new, False
        return Survey(live, buried, orphans, [name for _number, name in ended], anew, time)

    def run(self, work: Callable[[Connection], _Result]) -> _Result:
        """Do something in a transaction in which this process is not over.

        Once more if the connection was there already: the server, or a pooler, may have ended it since.
        """
        with self._lock, self._database.explained():
            if self._connection is not None:
                try:
                    return self._do(work, self._connection)
                except OperationalError as error:
                    self.log.debug("{name}: once more: {error}", name=self._database.name, error=said(error))
            self._connection, self._is_new = self._database.engine.connect(), True
            return self._do(work, self._connection)

    def _do(self, work: Callable[[Connection], _Result], connection: Connection) -> _Result:
        try:
            with connection.begin():
                connection.exec_driver_sql(_PATIENCE)
                self._lease.check_loading(connection)
                return work(connection)
        except BaseException:
            self._close()
            raise

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()
