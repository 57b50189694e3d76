"""One database, one proxy: who is refused, who may go on after a crash, and who must write no more."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.exc import OperationalError

from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.lease import LEASE, RENEWAL, HeldByAnother, Lease
from tests import other_process
from tests.other_process import Process
from tests.storage import postgresql
from tests.storage.cases import BARE, ROOM, Lab, StorageTestCase, message, on_both_databases
from tests.storage.test_trouble import TroubleTestCase

#: Takes the database at its first argument for the installation of its second, says so or why not, and goes on. For
#: each further installation it forks a process that does: to import all takes longer than that.
TAKE = """
import ctypes
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from sqlalchemy.exc import OperationalError

from minimixproxy.storage.database import Database
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.lease import Lease
from minimixproxy.storage.store import Store
state, installation, *others = sys.argv[1:]
for other in others:
    if not os.fork():
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        installation = other
        break

def say(what, more):
    os.write(1, f"{what} {more}\\n".encode())  # all say it to the same pipe, each in one piece

database = Database(state if "://" in state else Path(state))
lease = Lease(database, installation)
try:
    say("taken", lease.take())
except StateError as error:
    say("refused", error)
    with suppress(ChildProcessError):
        while True:
            os.wait()
    sys.exit()
store = Store(database, lease)
while True:
    store.rest()
    time.sleep(0.2)
"""


class HoldTestCase(StorageTestCase):
    from_nothing = True

    def setUp(self) -> None:
        super().setUp()
        self.other = self.directory / "other"
        self.other.mkdir(mode=0o700)

    def other_lab(self, state: Path | str | None = None) -> Lab:
        """A proxy with another directory of state. Its waits take no time."""
        lab = Lab(state or self.state, self.other)
        self._labs.append(lab)
        return lab

    def taking(self, *installations: str) -> Process:
        """Start a process that tries to take the database, and one beside it for each further installation."""
        process = other_process.start("-c", TAKE, str(self.state), *installations)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def says(self, process: Process) -> str:
        assert process.stdout is not None
        return process.stdout.readline().decode().strip()


@on_both_databases
class OneProxyTests(HoldTestCase):
    def test_several_at_once_on_an_empty_database(self) -> None:
        """One has it, the others are told so; nobody dies of half-made tables."""
        processes = self.taking(*"abcd")
        said = sorted(self.says(processes) for _ in "abcd")
        self.assertRegex(said[-1], "^taken [0-9a-f]{32}$")
        for line in said[:-1]:
            self.assertRegex(line, "^refused .*: is in use by another minimixproxy.*One database serves one proxy: end")
            self.assertIn(Database(self.state).name, line)

    def test_the_same_installation_comes_back_at_once(self) -> None:
        first = self.taking("a")
        identity = self.says(first)
        first.kill()
        first.wait()
        waited: list[float] = []
        lease = Lease(Database(self.state), "a", waited.append)
        self.addCleanup(lease.abandon)
        self.assertEqual((f"taken {lease.take()}", waited), (identity, []))

    def test_given_back_at_an_orderly_end(self) -> None:
        lab = self.lab()
        lab.keep()
        lab.turn()
        lab.journal.stop()
        other = self.other_lab()
        self.assertEqual(other.clock.seconds(), 0, "did not wait")

    def test_checking_state_does_not_take_it(self) -> None:
        self.lab()
        Database(self.state).check()

    def test_a_fault_while_loading_lets_go(self) -> None:
        (self.directory / "seal.key").touch(mode=0o644)
        self.assertRaises(StateError, self.lab)
        (self.directory / "seal.key").unlink()
        self.lab()


class OneFileTests(HoldTestCase):
    """By whatever name."""

    def test_names(self) -> None:
        self.lab()
        assert isinstance(self.state, Path)
        linked, hard = self.other / "linked", self.other / "hard"
        linked.symlink_to(self.state)
        os.link(self.state, hard)
        (self.other / "around").symlink_to(self.directory)
        relative = Path(os.path.relpath(self.state))
        for name in (self.state, linked, hard, relative, self.other / "around" / "state.sqlite"):
            error = self.assertRaises(HeldByAnother, self.other_lab, name)
            self.assertIn(f"{name}: is in use by another minimixproxy", str(error))
            self.assertFalse((self.other / f"{name.name}-wal").exists(), "nothing was opened")

    def test_the_process_ends_somehow(self) -> None:
        process = self.taking("a")
        self.assertRegex(self.says(process), "^taken")
        self.assertRaises(HeldByAnother, self.other_lab)
        process.kill()
        process.wait()
        self.assertEqual(self.other_lab().clock.seconds(), 0, "no lease to wait for")

    def test_other_programs_may_read_and_write(self) -> None:
        """Backups, and whoever looks."""
        lab = self.lab()
        lab.keep()
        lab.turn()
        self.assertEqual(self.execute("SELECT sequence FROM messages"), [(1,)])
        self.execute("UPDATE messages SET time = 5")

    def test_the_file_is_replaced(self) -> None:
        """Another file of this name is not ours to write to, and not locked."""
        lab = self.lab()
        lab.keep()
        lab.turn()
        lab.writer.store.close()
        assert isinstance(self.state, Path)
        self.state.rename(self.directory / "away")
        other = self.other_lab()
        lab.keep()
        lab.deliver(b"1")
        lab.turn()
        self.assertEqual((lab.given, self.execute("SELECT count(*) FROM messages")), ([], [(0,)]))
        self.assertIn("is another file than the one that was opened", lab.journal.status.error)
        other.crash()

    def test_the_file_is_replaced_while_it_is_written(self) -> None:
        """What is written goes to the former one, and is lost at the end: the log says so, and where it is."""
        lab = self.lab()
        lab.keep()
        lab.turn()
        self.assertFalse(lab.writer.rest())
        assert isinstance(self.state, Path)
        self.state.unlink()
        for do in (lab.writer.rest, lab.writer.store.tend, self.state.touch, lab.writer.rest):
            if do == self.state.touch:
                do()
                continue
            fault = str(self.assertRaises(StateError, do))
            self.assertIn("or is gone", fault)
            self.assertEqual(Path(fault.rpartition(" ")[2]).read_bytes()[:15], b"SQLite format 3")


class LeaseTests(HoldTestCase):
    """PostgreSQL: there is no lock that tells whether its holder lives, so that is found out by waiting."""

    postgresql = True

    def test_of_another_installation_that_died(self) -> None:
        self.lab().crash()
        other = self.other_lab()
        self.assertGreaterEqual(other.clock.seconds(), LEASE, "waited, by its own clock: the database's stands still")
        self.assertLess(other.clock.seconds(), LEASE + 2)

    def test_expired_by_the_clock_of_the_database(self) -> None:
        self.lab().crash()
        self.execute("UPDATE holder SET expires = 5")
        self.assertEqual(self.other_lab().clock.seconds(), 0)

    def test_of_the_same_name_on_another_machine(self) -> None:
        """A directory of state that was copied."""
        self.lab().crash()
        self.execute("UPDATE holder SET host = 'elsewhere'")
        lease = Lease(Database(self.state), "x", self._renewed_meanwhile)
        error = self.assertRaises(HeldByAnother, lease.take)
        self.assertIn("is in use by another minimixproxy on 'elsewhere'", str(error))

    def _renewed_meanwhile(self, _seconds: float) -> None:
        self.execute("UPDATE holder SET expires = expires + 1")

    def test_renewed_with_nothing_to_write(self) -> None:
        lab = self.lab()
        before = self.expires()
        lab.writer.store.rest()
        self.assertEqual(self.expires(), before, "not yet")
        lab.clock.advance(RENEWAL)
        lab.writer.store.rest()
        self.assertGreater(self.expires(), before)

    def test_who_renews_and_is_then_stopped_is_in_nobodys_way(self) -> None:
        store = self.lab().writer.store
        self._labs[-1].clock.advance(RENEWAL)
        store._begin()
        store._cursor.execute("SHOW idle_in_transaction_session_timeout")
        self.assertEqual(store._cursor.fetchone(), ("15s",))
        store._commit()

    def test_renewed_by_who_writes_all_the_time(self) -> None:
        lab = self.lab()
        before = self.expires()
        lab.keep()
        lab.turn()
        self.assertEqual(self.expires(), before)
        lab.clock.advance(RENEWAL)
        lab.keep()
        lab.turn()
        self.assertGreater(self.expires(), before)

    def test_renewed_though_a_row_is_refused(self) -> None:
        """The transaction that renewed it is rolled back; what writes the rows one by one renews it, too."""
        lab = self.lab()
        lab.keep()
        lab.turn()
        before = self.expires()
        lab.clock.advance(RENEWAL)
        lab.journal.room(BARE, ROOM).message_kept(message(lab.keep()[0].sequence, raw=b"<message>another</message>"))
        lab.turn()
        self.assertEqual(lab.journal.status.left_out, 1)
        self.assertGreater(self.expires(), before)

    def expires(self) -> float:
        return float(self.execute("SELECT expires FROM holder")[0][0])

    def test_each_transaction_on_a_connection_of_its_own(self) -> None:
        """As a pooler may have it: nothing depends on the connection."""
        lab = self.lab()
        for _number in range(3):
            lab.keep()
            lab.turn()
            lab.writer.store.close()
        self.assertEqual(self.execute("SELECT count(*) FROM messages"), [(3,)])

    def test_taken_while_a_batch_is_being_written(self) -> None:
        """Who takes the database waits for the transaction, and so finds what it wrote."""
        lab = self.lab()
        store = lab.writer.store
        store._begin()
        self.execute("UPDATE accounts SET last_seen = 1")
        store._cursor.execute("INSERT INTO identity VALUES ('x')")
        # The lock that an UPDATE takes, by whoever takes the database; it need not be waited for to know.
        taking = "SELECT epoch FROM holder FOR NO KEY UPDATE NOWAIT"
        self.assertIn("could not obtain lock", str(self.assertRaises(OperationalError, self.execute, taking)))
        store._commit()
        self.assertEqual(len(self.execute(taking)), 1)
        self.assertIn(("x",), self.execute("SELECT * FROM identity"))


class LostTests(TroubleTestCase):
    """Another proxy has the database meanwhile."""

    postgresql = True

    def setUp(self) -> None:
        super().setUp()
        self.lost = self.now.lost
        self.other = self.directory / "other"
        self.other.mkdir(mode=0o700)

    def taken(self) -> Lab:
        """Another proxy takes it: it took us for dead."""
        self.execute("UPDATE holder SET expires = 0")
        lab = Lab(self.state, self.other)
        self._labs.append(lab)
        return lab

    def test_writes_no_more(self) -> None:
        self.now.keep(2)
        self.now.turn()
        other = self.taken()
        self.now.keep(2)
        self.now.deliver(b"told")
        self.now.turn()
        self.assertEqual(len(self.lost), 1)
        self.assertIn("another minimixproxy has taken it", str(self.lost[0]))
        self.now.keep()
        self.now.clock.advance(1)
        self.now.clock.advance(100)
        self.assertEqual((self.messages(), self.now.given), ([1, 2], []), "nothing is said that is on no disk")
        self.assertEqual(self.journal.status.durable, False)
        self.assertEqual(len(self.lost), 1)
        other.keep(3)
        other.deliver(b"told")
        other.turn()
        self.assertEqual((self.messages(), other.given), ([1, 2, 3, 4, 5], [b"told"]))
        self.successResultOf(self.journal.stop())
        self.assertEqual(self.messages(), [1, 2, 3, 4, 5])

    def test_with_nothing_to_write(self) -> None:
        """The writer's thread finds out while it waits."""
        self.taken()
        self.now.clock.advance(RENEWAL)
        error = self.assertRaises(HeldByAnother, self.writer.store.rest)
        self.writer._written(None, error)
        self.assertEqual(self.lost, [error])

    def test_after_a_restart_of_the_server(self) -> None:
        """The connection is gone; what counts is who has the database then."""
        cluster = postgresql.cluster()
        self.addCleanup(cluster.start)
        cluster.stop()
        self.now.keep()
        self.now.turn()
        cluster.start()
        self.now.clock.advance(6)
        self.assertEqual((self.messages(), self.lost), ([1], []), "nobody else has it: go on")
        cluster.stop()
        self.now.keep()
        self.now.turn()
        cluster.start()
        self.taken()
        self.now.clock.advance(6)
        self.assertEqual((self.messages(), len(self.lost)), ([1], 1))

    def test_any_other_fault_in_between_is_no_loss(self) -> None:
        self.writer._written(None, OSError("no route"))
        self.assertEqual((self.lost, self.logged("no route")), ([], 1))
