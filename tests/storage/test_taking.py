"""Several processes of a cluster ask for the same accounts at the same time: on PostgreSQL."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection

from minimixproxy.storage import leases
from minimixproxy.storage.durability import FIRST_RETRY
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.journal import Adopted
from minimixproxy.storage.lease import IDLE, HeldByAnother
from minimixproxy.storage.leases import HeldBy, Leases
from minimixproxy.storage.schema import FREE
from tests.storage.cases import BARE, MEMBERSHIP, ROOM
from tests.storage.clustered import ClusterTestCase, Process

_Result = TypeVar("_Result")
PATIENCE = 20.0  # seconds, before a test fails


class Stopped:
    """A process that stands still in the middle of taking accounts, before it reads them."""

    def __init__(self, process: Process) -> None:
        self._reads = process.leases._read
        self._goes_on, self.there = threading.Event(), threading.Event()
        process.leases._read = self._read  # type: ignore[method-assign]

    def _read(self, connection: Connection, names: Sequence[str], given_out: Mapping[str, int]) -> Adopted:
        self.there.set()
        assert self._goes_on.wait(PATIENCE)
        return self._reads(connection, names, given_out)

    def go_on(self) -> None:
        self._goes_on.set()


class TogetherTests(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self._threads = ThreadPoolExecutor(4)
        self.addCleanup(self._threads.shutdown)

    def in_thread(self, work: Callable[[], _Result]) -> "Future[_Result]":
        return self._threads.submit(work)

    def wait_for_lock(self) -> None:
        """Until somebody waits for a lock."""
        for _ in range(int(PATIENCE * 100)):
            if self.execute(
                "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            ):
                return
            time.sleep(0.01)
        self.fail("nobody waits for a lock")

    def nobodys(self) -> None:
        """The account is one of a process that has ended."""
        former, one = self.process(), self.process()
        former.adopted()
        former.crash()
        self.time_out(former)
        self.assertEqual(one.leases.survey(thorough=False).orphans, [BARE])

    def test_two_take_what_was_a_third_ones(self) -> None:
        """Whoever waits for the other one sees what it has done, in whatever way it asks."""
        asks: dict[str, Callable[[Leases], Any]] = {
            "take": lambda leases: leases.take([BARE]),
            "claim": lambda leases: leases.claim(BARE),
            "find": lambda leases: leases.find(BARE),
        }
        for ask, question in asks.items():
            self.nobodys()
            one, other = self.process(), self.process()
            stopped = Stopped(one)
            self.addCleanup(stopped.go_on)
            first = self.in_thread(partial(one.leases.claim, BARE))
            assert stopped.there.wait(PATIENCE)
            second: Future[Any] = self.in_thread(partial(question, other.leases))
            self.wait_for_lock()
            stopped.go_on()
            self.assertIsInstance(first.result(PATIENCE), Adopted)
            found = second.result(PATIENCE)
            if ask == "take":
                self.assertEqual(found.names, [])
            else:
                self.assertIsInstance(found, HeldBy)
            self.assertEqual(self.execute("SELECT holder FROM leases"), [(one.lease.number,)], ask)
            one.end()

    def test_one_that_stands_still_is_over_in_time(self) -> None:
        """Also in the middle of a transaction, which locks its row: the database ends that."""
        soon = self.patch(leases, "_PATIENCE", leases._PATIENCE.replace("'15s'", "'1s'"))
        one, other = self.process(), self.process()
        stopped = Stopped(one)
        self.addCleanup(stopped.go_on)
        first = self.in_thread(lambda: one.leases.claim(BARE))
        assert stopped.there.wait(PATIENCE)
        soon.restore()
        self.time_out(one)
        for _ in range(int(PATIENCE * 10)):
            if other.leases.survey(thorough=False).buried:
                break
            time.sleep(0.1)
        else:
            self.fail("it is not over")
        self.assertIsInstance(other.leases.claim(BARE), Adopted)
        stopped.go_on()
        self.assertIsInstance(first.exception(PATIENCE), StateError)
        self.assertRaises(HeldByAnother, one.leases.claim, BARE)

    def test_one_that_stands_still_as_it_begins_to_write(self) -> None:
        """The first statement on a new connection locks its row already."""
        one = self.process()
        asked = []

        class Cursor:
            rowcount = 1

            def execute(self, statement: str, parameters: object) -> None:
                asked.append((statement, parameters))

            def fetchone(self) -> tuple[int, str]:
                return 1, ""

        one.lease.check(Cursor(), new=True)
        self.assertEqual([IDLE in statement for statement, _ in asked], [True, True])

    def test_which_are_ours(self) -> None:
        one, other = self.process(), self.process()
        one.leases.take(["a@example.org", "b@example.org"])
        other.leases.take(["c@example.org"])
        names = ["b@example.org", "c@example.org", "d@example.org"]
        self.assertEqual(one.leases.ours(names), ["b@example.org"])
        self.assertIsInstance(one.leases.find("b@example.org"), Adopted)

    def test_another_connection_is_told_of(self) -> None:
        """It may be to another server, to which not all was replicated."""
        one = self.process()
        self.assertEqual([one.leases.survey(thorough=False).anew for _ in range(2)], [True, False])
        one.leases.take([BARE])
        self.execute("DELETE FROM leases")
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
            "AND datname = current_database()"
        )
        one.leases.find("bob@example.org")
        self.assertEqual([one.leases.survey(thorough=False).anew for _ in range(2)], [True, False])
        self.assertEqual(one.leases.ours([BARE]), [])


class HandedOnTests(ClusterTestCase):
    """What hands an account on is written, but who wrote it is not told so, and tries again."""

    def lose_an_answer(self, process: Process) -> None:
        """The next transaction is committed, and then its connection breaks."""
        store, commit = process.writer.store, process.writer.store._commit

        def committed() -> None:
            commit()
            patched.restore()
            raise process.database.driver_error("the connection was cut")

        patched = self.patch(store, "_commit", committed)

    def test_another_has_it_by_then(self) -> None:
        """It keeps it, and what it has written of it."""
        for to_others in (True, False):
            one, other = self.process(), self.process()
            one.adopted()
            room = one.journal.room(BARE, ROOM)
            room.membership(MEMBERSHIP)
            (kept,) = one.keep()
            one.turn()
            room.membership(replace(MEMBERSHIP, nick="before"))
            room.seen("phone", kept.sequence)
            self.lose_an_answer(one)
            done: list[None] = []
            one.journal.let_go(BARE, to_others=to_others).addCallback(done.append)
            one.turn()
            self.assertEqual(done, [])
            other.adopted()
            more = other.keep()
            other.journal.room(BARE, ROOM).membership(replace(MEMBERSHIP, nick="after"))
            other.journal.room(BARE, ROOM).message_gone(kept.sequence)
            other.journal.room(BARE, ROOM).seen("phone", more[0].sequence)
            other.turn()
            one.clock.pump([FIRST_RETRY, 0])
            self.assertEqual((done, one.lost), ([None], []))
            self.assertEqual(self.execute("SELECT holder FROM leases"), [(other.lease.number,)])
            self.assertEqual(self.execute("SELECT nick FROM rooms"), [("after",)])
            self.assertEqual(self.execute("SELECT sequence FROM cursors"), [(more[0].sequence,)])
            other.journal.account_forgotten(BARE)
            other.turn()
            other.end()

    def test_nobody_has_it(self) -> None:
        """What was not written before is written then."""
        one = self.process()
        one.adopted()
        room = one.journal.room(BARE, ROOM)
        room.membership(MEMBERSHIP)
        one.turn()
        room.membership(replace(MEMBERSHIP, nick="last"))
        done: list[None] = []
        one.journal.let_go(BARE, to_others=True).addCallback(done.append)
        one.writer.faults.append(one.database.driver_error("the connection was cut"))
        one.turn()
        self.assertEqual(done, [])
        one.clock.pump([FIRST_RETRY, 0])
        self.assertEqual(done, [None])
        self.assertEqual(self.execute("SELECT holder FROM leases"), [(FREE,)])
        self.assertEqual(self.execute("SELECT nick FROM rooms"), [("last",)])
