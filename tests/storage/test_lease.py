"""Who may have a database that is no locked file, decided without a server: its clock and its holder in hand.

`test_hold` shows the same on PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection
from twisted.internet.task import Clock

from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.lease import LEASE, LOOK, RENEWAL, HeldByAnother, Lease
from minimixproxy.storage.sealing import Sealer
from minimixproxy.storage.service import load
from tests.storage.cases import BARE, StorageTestCase, give_tables
from tests.storage.test_trouble import TroubleTestCase


class Leased(Database):
    """An SQLite file in the place of a server, whose clock goes by `now`."""

    sqlite = False

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.file = None

    @contextmanager
    def prepared(self) -> Iterator[Connection]:
        with self.engine.begin() as connection:
            yield connection


class ManualLease(Lease):
    now: Callable[[], float]

    def _now(self, connection: Connection) -> float:
        return self.now()


class LeaseTestCase(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        assert isinstance(self.state, Path)
        give_tables(self.state)
        self.clock = Clock()
        self.behind = 0.0  # seconds that the server's clock is behind ours

    def lease(self, installation: str, sleep: Callable[[float], None] | None = None) -> ManualLease:
        assert isinstance(self.state, Path)
        lease = ManualLease(Leased(self.state), installation, sleep or self.clock.advance, self.clock.seconds)
        lease.now = lambda: self.clock.seconds() - self.behind
        return lease

    def row(self) -> tuple[Any, ...]:
        (row,) = self.execute("SELECT epoch, installation, expires FROM holder")
        return row


class LeaseTests(LeaseTestCase):
    def test_nobody_has_it(self) -> None:
        identity = self.lease("a").take()
        self.assertEqual((self.clock.seconds(), self.row()), (0, (1, "a", LEASE)))
        self.assertEqual(self.lease("a").take(), identity)
        self.assertEqual((self.clock.seconds(), self.row()), (0, (2, "a", LEASE)), "its own, and taken anew")

    def test_who_had_it_is_gone(self) -> None:
        """By whose clock the lease ends does not matter to who sees that nothing happens."""
        for behind in (0.0, 1e6):
            self.lease("a").take()
            began, self.behind = self.clock.seconds(), behind
            self.lease("b").take()
            self.assertEqual(self.clock.seconds(), began + LEASE)
            self.assertEqual(self.row()[1:], ("b", self.clock.seconds() - behind + LEASE))
            self.behind = 0.0
            self.execute("UPDATE holder SET expires = 0")

    def test_the_lease_is_over(self) -> None:
        self.lease("a").take()
        for behind, waited in ((-LEASE, 0.0), (-LEASE + 0.25, LOOK)):
            self.execute("UPDATE holder SET installation = 'a', expires = ?", self.clock.seconds() + LEASE)
            began, self.behind = self.clock.seconds(), behind
            self.lease("b").take()
            self.assertEqual(self.clock.seconds() - began, waited)

    def test_who_has_it_lives(self) -> None:
        """It is renewed, or taken by a third one, while we look."""
        for sign in ("expires = expires + 1", "epoch = epoch + 1"):
            self.execute("DELETE FROM holder")
            self.lease("a").take()
            self.execute("UPDATE holder SET host = 'there'")
            before = self.row()
            waiting = self.lease("b", partial(self._live, sign=sign))
            error = self.assertRaises(HeldByAnother, waiting.take)
            self.assertIn("is in use by another minimixproxy on 'there'. One database serves one proxy", str(error))
            self.assertEqual(self.row()[1], before[1])

    def _live(self, seconds: float, sign: str) -> None:
        self.clock.advance(seconds)
        self.execute(f"UPDATE holder SET {sign}")

    def test_a_copy_of_its_directory_elsewhere(self) -> None:
        self.lease("a").take()
        self.execute("UPDATE holder SET host = 'elsewhere'")
        self.lease("a").take()
        self.assertEqual(self.clock.seconds(), LEASE)

    def test_reading_what_another_took(self) -> None:
        former, now = self.lease("a"), self.lease("a")
        former.take()
        now.take()
        assert isinstance(self.state, Path)
        with Leased(self.state).engine.begin() as connection:
            now.check_loading(connection)
            error = self.assertRaises(HeldByAnother, former.check_loading, connection)
            self.assertIn("another minimixproxy has taken it: nothing is written any more", str(error))
        self.assertRaises(HeldByAnother, load, former._database, former, Sealer(b""), None)
        load(now._database, now, Sealer(b""), None)

    def test_given_back_by_who_has_it(self) -> None:
        former, now = self.lease("a"), self.lease("a")
        former.take()
        now.take()
        for lease, expires in ((former, LEASE), (now, 0.0)):
            connection = lease._database.engine.raw_connection()
            lease.give_back(connection.cursor())
            connection.close()
            self.assertEqual(self.row(), (2, "a", expires))


class Cursor:
    """A driver's cursor: what is executed, and what it says."""

    def __init__(self) -> None:
        self.executed: list[tuple[str, Any]] = []
        self.rowcount = 1
        self.found: tuple[int] | None = (1,)

    def execute(self, statement: str, parameters: Any) -> None:
        self.executed.append((statement.split()[0], parameters))

    def fetchone(self) -> tuple[int] | None:
        return self.found


class CheckTests(LeaseTestCase):
    """Before each transaction that writes."""

    def setUp(self) -> None:
        super().setUp()
        self.cursor = Cursor()
        self.clock.advance(1000)
        self.mine = self.lease("a")
        self.mine.take()

    def checked(self, *, new: bool = False) -> list[tuple[str, Any]]:
        self.cursor.executed.clear()
        self.mine.check(self.cursor, new=new)
        return self.cursor.executed

    def test_each_time_and_renewed_now_and_then(self) -> None:
        for _ in range(2):
            for new in (True, False):
                self.assertEqual(self.checked(new=new), [("SELECT", (1,))])
            self.clock.advance(RENEWAL - 1)
            self.assertEqual((self.mine.due, self.checked()), (False, [("SELECT", (1,))]))
            self.clock.advance(1)
            self.assertEqual((self.mine.due, self.checked()), (True, [("UPDATE", (1,))]))
            self.assertFalse(self.mine.due)

    def test_renewed_in_a_transaction_that_came_to_nothing(self) -> None:
        """Nobody has seen that sign of life: the next transaction gives another."""
        self.clock.advance(RENEWAL)
        for _ in range(2):
            self.assertEqual((self.mine.due, self.checked()), (True, [("UPDATE", (1,))]))
            self.assertFalse(self.mine.due)
            self.mine.rolled_back()
        self.assertEqual(self.checked(), [("UPDATE", (1,))])
        self.assertEqual(self.checked(), [("SELECT", (1,))])

    def test_taken_by_another(self) -> None:
        self.cursor.rowcount, self.cursor.found = 0, None
        for new in (True, False):
            self.assertRaises(HeldByAnother, self.mine.check, self.cursor, new=new)
        self.clock.advance(RENEWAL)
        for _ in range(2):
            self.assertRaises(HeldByAnother, self.mine.check, self.cursor, new=False)
            self.assertTrue(self.mine.due)

    def test_a_locked_file_once_for_each_connection(self) -> None:
        assert isinstance(self.state, Path)
        lease = Lease(Database(self.state), "a", self.clock.advance, self.clock.seconds)
        lease.take()
        self.addCleanup(lease.abandon)
        self.clock.advance(10 * RENEWAL)
        for new, executed in ((True, [("SELECT", (2,))]), (False, [])):
            self.cursor.executed.clear()
            lease.check(self.cursor, new=new)
            self.assertEqual(self.cursor.executed, executed)

    def test_a_file_that_nobody_has_locked(self) -> None:
        """Whoever had it is gone, whatever its row says: there is nothing to wait for."""
        assert isinstance(self.state, Path)
        for installation in ("b", "c"):
            lease = Lease(Database(self.state), installation, self.clock.advance, self.clock.seconds)
            lease.take()
            lease.abandon()
        self.assertEqual((self.clock.seconds(), self.row()[1]), (1000, "c"))

    def test_a_file_that_cannot_be_used(self) -> None:
        """It is let go of: whoever mends it can try again at once."""
        (version,) = self.execute("SELECT version_num FROM alembic_version")
        assert isinstance(self.state, Path)
        lease = Lease(Database(self.state), "b", self.clock.advance, self.clock.seconds)
        self.execute("UPDATE alembic_version SET version_num = '0999'")
        self.assertIn("newer minimixproxy", str(self.assertRaises(StateError, lease.take)))
        self.execute("UPDATE alembic_version SET version_num = ?", *version)
        other = Lease(Database(self.state), "c", self.clock.advance, self.clock.seconds)
        other.take()
        other.abandon()


class LostTests(TroubleTestCase):
    """The database is another proxy's, as the writer finds out."""

    def setUp(self) -> None:
        super().setUp()
        self.lost = self.now.lost
        self.error = HeldByAnother("taken")

    def test_with_something_to_write(self) -> None:
        self.now.keep(2)
        self.now.turn()
        self.writer.faults.append(self.error)
        self.now.keep()
        self.now.deliver(b"held")
        self.now.turn()
        self.assertEqual((self.lost, self.journal.status.durable), ([self.error], False))
        self.assertIn("taken", self.journal.status.error)
        attempts = self.writer.attempts
        for _ in range(10):
            self.now.keep()
            self.now.deliver(b"later")
            self.now.turn()
            self.now.clock.advance(100)
        self.writer._written(None, self.error)
        self.assertEqual((self.now.given, self.messages(), self.lost), ([], [1, 2], [self.error]))
        self.assertEqual(self.writer.attempts, attempts, "nothing is tried any more")
        self.successResultOf(self.journal.stop())
        self.assertTrue(self.writer.stopped)
        self.assertEqual((self.now.given, self.messages()), ([], [1, 2]))

    def test_while_a_batch_in_trouble_is_tried_again(self) -> None:
        self.writer.faults += [OSError("gone"), self.error]
        self.now.keep()
        self.now.turn()
        self.now.clock.advance(100)
        self.assertEqual((self.lost, self.messages()), ([self.error], []))
        self.assertEqual(self.now.clock.getDelayedCalls(), [])

    def test_at_the_end(self) -> None:
        self.now.keep()
        self.writer.held_back = True
        self.now.turn()
        stopped = self.journal.stop()
        self.assertNoResult(stopped)
        self.writer.faults.append(self.error)
        self.writer.work()
        self.successResultOf(stopped)
        self.assertEqual((self.lost, self.writer.stopped, self.messages()), ([self.error], True, []))

    def test_another_fault_is_no_loss(self) -> None:
        self.writer._written(None, OSError("no route"))
        self.journal.account_refused(BARE, True)
        self.now.turn()
        self.assertEqual((self.lost, self.logged("no route")), ([], 1))
        self.assertEqual(self.execute("SELECT refused FROM accounts"), [(1,)])
