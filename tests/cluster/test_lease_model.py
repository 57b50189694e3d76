"""The protocol by which accounts are held, looked at whole: no two processes write, whatever comes late, or is lost.

The worlds of `WORLDS` have 8,250 to 70,740 states each, 150,486 together, and several times as many ways between
them. That what the explorer takes for bad is noticed is seen by the mutants: each is caught.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.cluster.lease_protocol import (
    DONE,
    ENDED,
    REFUSED,
    Answer,
    Database,
    Done,
    Holder,
    Lease,
    Protocol,
    Statement,
)
from tests.cluster.lease_world import Bounds, Explorer, Violation
from tests.examples import some_of

SMALL = Bounds(processes=2, accounts=1, lives=2, epochs=2)
WORLDS = {
    SMALL: 8_250,
    Bounds(processes=2, accounts=1, lives=3, epochs=2): 70_740,  # one begins anew
    Bounds(processes=2, accounts=2, lives=2, epochs=2): 52_221,
    Bounds(processes=3, accounts=1, lives=3, epochs=2, lines=1): 19_275,
}


class RenewsTheBuried(Protocol):
    """UPDATE holders SET ended = false, expires = …: without "AND NOT ended"."""

    def renew(self, db: Database, row: Holder) -> Database:
        return db.with_holder(Holder(row.number))


class WritesWithoutCheck(Protocol):
    """Whoever believes that it holds an account writes."""

    def check(self, db: Database, by: Statement) -> Answer:
        return DONE


class TakesOfTheExpired(Protocol):
    """An account is free when its holder has expired, buried or not: any holder may be found expired."""

    def is_free(self, db: Database, lease: Lease) -> bool:
        return True


class NumbersFromRows(Protocol):
    """SELECT max(number) + 1 FROM holders."""

    def next_number(self, db: Database) -> int:
        return max((row.number for row in db.holders), default=0) + 1


class EpochsFromRows(Protocol):
    """SET epoch = epoch + 1: begins at 1 again when an account was given back."""

    def next_epoch(self, db: Database, former: Lease | None) -> int:
        return former.epoch + 1 if former is not None else 1


class OneLine(Protocol):
    """The check asks whether the life has ended, not by which connection the statement came."""

    def open(self, db: Database, by: Statement) -> Done:
        row = db.living(by.number)
        return (db, ENDED) if row is None else (db, Answer(row.line))


class ChecksLeases(OneLine):
    """No lines, but the check also locks the rows of `leases` that it writes for: AND epoch = :epoch FOR SHARE."""

    def check(self, db: Database, by: Statement) -> Answer:
        answer = super().check(db, by)
        return REFUSED if answer == DONE and db.leases[by.account] != Lease(by.number, by.epoch) else answer


class ReleasesWithoutCheck(Protocol):
    """DELETE FROM leases WHERE bare = :account AND holder = :number, by whatever connection of that life."""

    def release(self, db: Database, by: Statement) -> Done:
        if db.living(by.number) is None:
            return db, ENDED
        lease = db.leases[by.account]
        return (db.with_lease(by.account, None) if lease and lease.holder == by.number else db), DONE


class HandsOn(Protocol):
    """Whoever lets an account go leaves a lease that nobody has, for another to take."""

    def release(self, db: Database, by: Statement) -> Done:
        return self.hand_on(db, by)


NOT_IN_ORDER = SMALL._replace(in_order=False)
MUTANTS: tuple[tuple[Protocol, Bounds, str], ...] = (
    (RenewsTheBuried(), SMALL, "1 writes, and was buried"),
    (WritesWithoutCheck(), SMALL, "writes, and was buried"),
    (TakesOfTheExpired(), SMALL, "an account is taken from a life that has not ended"),
    (NumbersFromRows(), SMALL, "begins as 1, which was buried"),
    (EpochsFromRows(), SMALL, "an epoch comes again: 1 after 1"),
    (OneLine(), SMALL, "an older write is executed after a newer one"),
    (OneLine(), NOT_IN_ORDER, "writes with epoch 1: what there is, is None"),
    (ChecksLeases(), SMALL, "an older write is executed after a newer one"),
    (ReleasesWithoutCheck(), NOT_IN_ORDER, "writes with epoch 1: what there is, is None"),
)


class LeaseModelTest(SynchronousTestCase):
    def test_holds_in_every_world(self) -> None:
        for bounds, worlds in some_of(WORLDS.items()):
            self.assertEqual(Explorer(Protocol(), bounds).explore(), worlds, bounds)

    def test_handing_on_is_as_good_as_releasing(self) -> None:
        """The same worlds are there, but that a lease of nobody stands in the place of none."""
        for bounds in some_of((SMALL, Bounds(processes=3, accounts=1, lives=3, epochs=2, lines=1))):
            self.assertEqual(Explorer(HandsOn(), bounds).explore(), WORLDS[bounds], bounds)

    def test_leases_checked_instead_of_lines(self) -> None:
        """As good between processes; only what one life itself has written later may be overwritten."""
        self.assertGreater(Explorer(ChecksLeases(), NOT_IN_ORDER).explore(), 1000)

    def test_mutants_are_caught(self) -> None:
        for mutant, bounds, told in MUTANTS:
            violation = self.assertRaises(Violation, Explorer(mutant, bounds).explore)
            self.assertIn(told, str(violation), type(mutant).__name__)
            self.assertIn("begins as 1", str(violation), "the way there is told")
