"""How accounts are held by one of several processes: what each statement does to the database. Pure.

Each method of `Protocol` is one transaction, and reads as the SQL of it does. A subclass that does one of them in
another way is a mutant, or another protocol: `test_lease_model.py` tells which of them hold.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["open", "take", "write", "release"]


class Holder(NamedTuple):
    """A row of `holders`: one life of a process. `line`: how many connections it has opened for what it writes.

    `expires` is not here. The database's clock may jump anywhere at any moment, so any row may be found expired at any.
    """

    number: int
    ended: bool = False
    line: int = 1


class Lease(NamedTuple):
    """A row of `leases`: who holds an account."""

    holder: int
    epoch: int


class Database(NamedTuple):
    """Both tables, and the last number and the last epoch that the sequences gave.

    One sequence may give both: nobody compares a number with an epoch.
    """

    numbers: int = 0
    epochs: int = 0
    holders: tuple[Holder, ...] = ()
    leases: tuple[Lease | None, ...] = (None,)

    def holder(self, number: int) -> Holder | None:
        """Return the row of this number."""
        return next((row for row in self.holders if row.number == number), None)

    def living(self, number: int) -> Holder | None:
        """Return the row of this number if that life has not ended."""
        row = self.holder(number)
        return row if row is not None and not row.ended else None

    def with_holder(self, changed: Holder) -> Database:
        """Return it with this row instead of the one of its number."""
        rows = [changed if row.number == changed.number else row for row in self.holders]
        return self._replace(holders=tuple(rows))

    def with_lease(self, account: int, lease: Lease | None) -> Database:
        """Return it with this lease of an account, None for none."""
        return self._replace(leases=(*self.leases[:account], lease, *self.leases[account + 1 :]))


class Statement(NamedTuple):
    """What a process sends: a transaction, and the life, the connection, the account and the epoch that it is about."""

    kind: Kind
    number: int = 0
    line: int = 0
    account: int = 0
    epoch: int = 0


class Answer(NamedTuple):
    """What the database says. `ended`: that life is over. `value`: a number, an epoch or a line; 0: it was refused."""

    value: int = 0
    ended: bool = False


ENDED, REFUSED, DONE = Answer(ended=True), Answer(), Answer(1)
FREE = 0  # in the place of a holder: no life has that number
Done = tuple[Database, Answer]


class Protocol:
    """What is to be built. Every transaction of a life comes to nothing if that has ended."""

    def execute(self, db: Database, by: Statement) -> Done:
        """Return the database after this statement, and its answer."""
        kinds = {"open": self.open, "take": self.take, "write": self.write, "release": self.release}
        return kinds[by.kind](db, by)

    def open(self, db: Database, by: Statement) -> Done:
        """UPDATE holders SET line = line + 1 WHERE number = :number AND NOT ended RETURNING line.

        The first statement on a new connection: what was sent on the one before and comes late is refused from now on.
        """
        row = db.living(by.number)
        return (db, ENDED) if row is None else (db.with_holder(row._replace(line=row.line + 1)), Answer(row.line + 1))

    def take(self, db: Database, by: Statement) -> Done:
        """SELECT FROM holders WHERE number = :number AND NOT ended FOR SHARE;

        SELECT FROM leases WHERE bare = :account FOR UPDATE; SELECT … whether its holder has ended, by a statement of
        its own: one that waits for a lock sees the rest as it was before; UPDATE leases SET holder = :number, epoch =
        nextval('epochs'), or INSERT … ON CONFLICT DO NOTHING if there is none.
        """
        if db.living(by.number) is None:
            return db, ENDED
        lease = db.leases[by.account]
        if lease is None or self.is_free(db, lease):
            lease = Lease(by.number, self.next_epoch(db, lease))
            db = db._replace(epochs=db.epochs + 1).with_lease(by.account, lease)
        return db, Answer(lease.epoch) if lease.holder == by.number else REFUSED

    def write(self, db: Database, by: Statement) -> Done:
        """Check as below; INSERT …: a batch of the journal."""
        return db, self.check(db, by)

    def release(self, db: Database, by: Statement) -> Done:
        """Check as below; INSERT … what there is; DELETE FROM leases WHERE bare = :account AND holder = :number.

        A number stands for an epoch there: while an account is let go, its process does not take it again. One that is
        not told that this is done sends it again, and then writes nothing if the lease is not its own any more: this
        is not looked at here, `tests/storage/test_taking.py` does that.
        """
        answer = self.check(db, by)
        mine = db.leases[by.account] == Lease(by.number, by.epoch)
        return (db.with_lease(by.account, None) if answer == DONE and mine else db), answer

    def hand_on(self, db: Database, by: Statement) -> Done:
        """Check as below; INSERT … what there is; UPDATE leases SET holder = FREE WHERE bare = … AND holder = …

        As `release`, but others see that there is something to be taken.
        """
        answer = self.check(db, by)
        mine = db.leases[by.account] == Lease(by.number, by.epoch)
        return (db.with_lease(by.account, Lease(FREE, by.epoch)) if answer == DONE and mine else db), answer

    def check(self, db: Database, by: Statement) -> Answer:
        """SELECT FROM holders WHERE number = :number AND NOT ended AND line = :line FOR SHARE."""
        row = db.living(by.number)
        return ENDED if row is None else DONE if row.line == by.line else REFUSED

    # What happens to lives ---------------------------------------------------------------------------------------

    def begin(self, db: Database) -> tuple[Database, int]:
        """INSERT INTO holders (number, expires, …) VALUES (nextval('numbers'), now() + …, …) RETURNING number."""
        number = self.next_number(db)
        return db._replace(numbers=max(db.numbers, number), holders=(*db.holders, Holder(number))), number

    def renew(self, db: Database, _row: Holder) -> Database:
        """UPDATE holders SET expires = now() + … WHERE number = :number AND NOT ended: no other column changes."""
        return db

    def bury(self, db: Database, row: Holder) -> Database:
        """UPDATE holders SET ended = true WHERE number = :number AND expires < now()."""
        return db.with_holder(Holder(row.number, ended=True))

    def clean(self, db: Database) -> Database:
        """DELETE FROM holders WHERE ended AND number NOT IN (SELECT holder FROM leases)."""
        used = {lease.holder for lease in db.leases if lease is not None}  # FREE is nobody's
        return db._replace(holders=tuple(row for row in db.holders if not row.ended or row.number in used))

    # What of it a mutant may do otherwise ------------------------------------------------------------------------

    def next_number(self, db: Database) -> int:
        """nextval('numbers'): nobody ever has the same again."""
        return db.numbers + 1

    def next_epoch(self, db: Database, _former: Lease | None) -> int:
        """nextval('epochs')."""
        return db.epochs + 1

    def is_free(self, db: Database, lease: Lease) -> bool:
        """EXISTS (SELECT FROM holders WHERE number = leases.holder AND ended)."""
        return db.living(lease.holder) is None
