"""One database, several proxies: each has a row of `holders`, and of the accounts only those that it has taken.

That row is the process's life. It is renewed while the process runs. Once it has run out, by the database's clock, any
other one may note that it has ended; from then on it cannot be renewed, and the accounts are free. So renewing costs a
row for each process, not for each account, and a process that stood still finds that it is over.

Every transaction that writes locks the row and fails if it has ended. Whoever notes the end waits for that lock. So
nothing is written for an account that another process may have. Nor is anything by a connection that was given up: what
was on its way there may come late, when the account was let go. Each new one that writes counts up `line` first, and
only the last one may write. `tests/cluster/lease_protocol.py` is a model of all this.

The row of `holder`, by which a proxy has a database to itself, says that a cluster has it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, insert, select, text, update

from minimixproxy import __version__
from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.lease import CLUSTER, IDLE, LEASE, NOW, HeldByAnother, Lease
from minimixproxy.storage.numbering import SLOTS, highest
from minimixproxy.storage.schema import accounts, holder, holders, leases, messages, privates, rooms

_CONNECTED = f"UPDATE holders SET line = line + 1 WHERE number = %s AND NOT ended RETURNING line, {IDLE}"
_CHECK = f"SELECT {IDLE} FROM holders WHERE number = %s AND NOT ended AND line = %s FOR SHARE"
_NOTE = f"UPDATE holders SET given_out = %s WHERE number = %s AND NOT ended AND line = %s RETURNING {IDLE}"
_RENEW = (
    f"UPDATE holders SET given_out = %s, accounts = %s, expires = {NOW} + {LEASE} "
    f"WHERE number = %s AND NOT ended AND line = %s RETURNING {IDLE}"
)
_HAS = "SELECT 1 FROM leases WHERE holder = %s AND bare = ANY(%s) LIMIT 1"
_END = "UPDATE holders SET given_out = %s, ended = true WHERE number = %s AND NOT ended"
#: Accounts are read one by one.
_INDEX = "CREATE INDEX IF NOT EXISTS messages_of_room ON messages (room_id)"
#: Rows of messages say themselves what they say: another process may have the account whose row others name.
_UNSHARE = (
    "UPDATE messages SET raw = other.raw, body = NULL FROM messages AS other WHERE messages.body = other.sequence",
    "DELETE FROM messages WHERE room_id = 0",
)
NOTHING: Final = -1  # noted: how far output went is not known


class Node(NamedTuple):
    """What a process says of itself: its name, and where others of its cluster reach it.

    `directory`: what names its directory of state, and the machine. A process locks it, so the one before it is gone.
    """

    name: str
    address: str
    directory: str


class ClusterLease(Lease):
    """This process's life among those of a cluster. `cluster` names that for good."""

    def __init__(self, database: Database, cluster: str, node: Node, *clocks: Callable[..., Any]) -> None:
        super().__init__(database, cluster, *clocks)
        self._host = CLUSTER
        self._node = node
        self.number = 0  # of this process's row
        self.slot = 0
        self.last_id = 0  # when it began: the highest number of an account or a room
        self.last_sequence = 0
        self.given_out = NOTHING  # as it is to be noted
        self.accounts = 0  # that are held
        self._noted = NOTHING
        self._noting = NOTHING
        self._renewing: float | None = None
        self._line = 0  # of the connection that writes
        self._confirmed: float  # since it is taken

    # Taking it -------------------------------------------------------------------------------------------------

    def _note(self, connection: Connection, row: Any, now: float) -> None:
        """Enter among those of the cluster; if there is none yet, have it say so."""
        if row is None or (row.installation, row.host) != (self._installation, CLUSTER):
            super()._note(connection, row, now)
            connection.exec_driver_sql(_INDEX)
            for statement in _UNSHARE:
                connection.exec_driver_sql(statement)
        connection.execute(update(holder).values(expires=inf))
        self._enter(connection, now)

    def _held_since(self, connection: Connection, *, expired: bool) -> tuple[int, float] | None:
        """Enter, unless a proxy has the database to itself, or another cluster has it."""
        self._confirmed = self._monotonic()
        row = connection.execute(select(holder).with_for_update()).first()
        now = self._now(connection)
        if row is not None and not expired and (row.installation, row.host) != (self._installation, CLUSTER):
            expires = row.expires if row.host != CLUSTER else self._cluster_expires(connection)
            if expires > now:
                return row.epoch, expires
        self._note(connection, row, now)
        return None

    def _enter(self, connection: Connection, now: float) -> None:
        former = (holders.c.directory == self._node.directory) & ~holders.c.ended
        connection.execute(update(holders).where(former).values(ended=True))
        taken = set(connection.execute(select(holders.c.slot).where(~holders.c.ended)).scalars())
        if len(taken) >= SLOTS:
            raise StateError(f"{self._database.name}: {SLOTS} proxies have it already")
        self.slot = next(slot for slot in range(SLOTS) if slot not in taken)
        self.number = connection.execute(text("SELECT nextval('epochs')")).scalar_one()
        self.last_id = highest(connection, accounts.c.id, rooms.c.id)
        self.last_sequence = highest(connection, messages.c.sequence, privates.c.sequence)
        connection.execute(
            insert(holders).values(
                number=self.number,
                slot=self.slot,
                name=self._node.name,
                address=self._node.address,
                version=__version__,
                directory=self._node.directory,
                expires=now + LEASE,
                ended=False,
                given_out=NOTHING,
                accounts=0,
                line=0,
                draining=False,
            )
        )

    # Having it -------------------------------------------------------------------------------------------------

    def check_loading(self, connection: Connection) -> None:
        """Raise `HeldByAnother` if this process is over; it is not before the transaction ends."""
        found = connection.execute(
            select(holders.c.number).where(holders.c.number == self.number, ~holders.c.ended).with_for_update(read=True)
        ).scalar()
        if found is None:
            raise HeldByAnother(self._lost())

    def check(self, cursor: Any, *, new: bool) -> None:
        """The same on a driver's cursor, for who writes. Renews the row when it is time, and notes what is to be."""
        if new:
            cursor.execute(_CONNECTED, (self.number,))
            self._line = (cursor.fetchone() or (0,))[0]
        self._noting, self._renewing = self.given_out, self._monotonic() if self.due else None
        if self._renewing is not None:
            cursor.execute(_RENEW, (self._noting, self.accounts, self.number, self._line))
        elif self._noting != self._noted:
            cursor.execute(_NOTE, (self._noting, self.number, self._line))
        else:
            cursor.execute(_CHECK, (self.number, self._line))
        if cursor.rowcount != 1:
            raise HeldByAnother(self._lost())

    def has_any(self, cursor: Any, names: Sequence[str]) -> bool:
        """Tell whether any of these accounts is this process's."""
        cursor.execute(_HAS, (self.number, list(names)))
        return cursor.fetchone() is not None

    @property
    def has_news(self) -> bool:
        """Whether more has been given out than is noted."""
        return self.given_out != self._noted

    def committed(self) -> None:
        """What was noted is, and the row is renewed if it was."""
        self._noted = self._noting
        if self._renewing is not None:
            self._renewed = self._confirmed = self._renewing

    def rolled_back(self) -> None:
        """Nobody has seen what was noted."""
        self._renewing = None
        self._noting = self._noted

    @property
    def left(self) -> float:
        """For how many seconds the row is good at least, as far as is known here."""
        return self._confirmed + LEASE - self._monotonic()

    def _lost(self) -> str:
        return (
            f"{self._database.name}: this proxy has given no sign of life for {LEASE:.0f} s, and the others of its "
            "cluster have its accounts: nothing is written any more"
        )

    # Giving it back --------------------------------------------------------------------------------------------

    def give_back(self, cursor: Any) -> None:
        """At an orderly end: the accounts are free at once."""
        cursor.execute(_END, (self.given_out, self.number))


def given_out_in_cluster(connection: Connection) -> dict[str, int]:
    """Return how far output went, as processes of a cluster have noted it, by account."""
    found = connection.execute(
        select(leases.c.bare, holders.c.given_out).join(holders, holders.c.number == leases.c.holder)
    )
    return {bare: given_out for bare, given_out in found if given_out != NOTHING}
