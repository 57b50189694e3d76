"""Who of a cluster connects a domain of client_proxy, without a database and without a server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.cluster.component_duty import (
    ABSTINENCE,
    LOOK,
    MARGIN,
    OUT_OF_REACH,
    TABLE,
    ComponentDuty,
    Input,
    Phase,
)
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.lease import HeldByAnother
from minimixproxy.storage.leases import Holder
from tests.log_events import log_events

DOMAIN = "proxy.example.org"


class FakeComponent:
    """Ends when the test says so."""

    def __init__(self, may_act: Callable[[], bool]) -> None:
        self.may_act = may_act
        self.connected = False
        self.dropped = 0
        self.runs = False
        self.ending: Deferred[None] | None = None

    def status(self) -> dict[str, object]:
        return {"domain": DOMAIN, "connected": self.connected, "resources": 2, "holder": None, "standing_by": False}

    def startService(self) -> None:
        self.runs = True

    def stopService(self) -> Deferred[None]:
        self.ending = Deferred[None]()
        return self.ending

    def end(self) -> None:
        ending, self.ending = self.ending, None
        assert ending is not None
        self.runs = self.connected = False
        ending.callback(None)


class FakeDatabase:
    """The domain's row, and the rows of processes that live."""

    def __init__(self) -> None:
        self.has: int | None = None
        self.live: set[int] = set()


class FakeAmong:
    """One process; what it asks waits for `answer`, and is done in order."""

    def __init__(self, database: FakeDatabase, number: int) -> None:
        self.database = database
        self.number = number
        self.draining = False
        self.others_take = True
        self.asked: list[tuple[Callable[[Any], Any], Deferred[Any]]] = []
        self.fault: Exception | None = None
        self.left = 15.0
        database.live.add(number)

    def row_left(self) -> Callable[[], float]:
        return lambda: self.left if self.number in self.database.live else 0.0

    def ask(self, question: Callable[[Any], Any]) -> Deferred[Any]:
        answer = Deferred[Any]()
        self.asked.append((question, answer))
        return answer

    def answer(self) -> None:
        """Do what was asked for first."""
        question, answer = self.asked.pop(0)
        try:
            if self.fault is not None:
                raise self.fault
            if self.number not in self.database.live:
                raise HeldByAnother("over")
            result = question(self)
        except StateError:
            answer.errback(Failure())
        else:
            answer.callback(result)

    def _holder(self) -> int | None:
        return self.database.has if self.database.has in self.database.live else None

    def holder(self, _domain: str) -> Holder | None:
        number = self._holder()
        return None if number is None else Holder(number, f"node-{number}", f"{number}:5270", 0)

    def hold(self, domain: str) -> Holder | None:
        if self._holder() is None:
            self.database.has = self.number
        return self.holder(domain)

    def release(self, _domain: str) -> None:
        if self.database.has == self.number:
            self.database.has = None


class Process:
    """One process's part in the domain."""

    def __init__(self, database: FakeDatabase, number: int) -> None:
        self.clock = Clock()
        self.among = FakeAmong(database, number)
        self.components: list[FakeComponent] = []
        self.duty = ComponentDuty(DOMAIN, self._make, self.among, self.clock)

    def _make(self, may_act: Callable[[], bool]) -> FakeComponent:
        self.components.append(FakeComponent(may_act))
        return self.components[-1]

    @property
    def component(self) -> FakeComponent:
        return self.components[-1]

    @property
    def acts(self) -> bool:
        """Whether a component may say something as this process."""
        return any(one.runs and one.may_act() for one in self.components)

    def look(self) -> None:
        """A look, and its answer."""
        self.clock.advance(LOOK)
        self.answer()

    def answer(self) -> None:
        while self.among.asked:
            self.among.answer()


class DutyCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.database = FakeDatabase()
        self.events = log_events(self)
        self.one, self.other = (Process(self.database, number) for number in (7, 8))

    def begin(self, *processes: Process) -> None:
        for process in processes or (self.one, self.other):
            process.duty.startService()
            process.answer()


class TakingTests(DutyCase):
    def test_the_first_one_acts(self) -> None:
        self.begin()
        self.assertEqual((self.one.duty.phase, self.other.duty.phase), (Phase.ACTING, Phase.STANDING_BY))
        self.assertEqual(([one.runs for one in self.one.components], self.other.components), ([True], []))
        for process in (self.one, self.other, self.one):
            process.look()
        self.assertEqual(len(self.one.components), 1)

    def test_its_row_has_run_out(self) -> None:
        self.begin()
        self.database.live.remove(7)
        self.assertFalse(self.one.component.may_act())
        self.other.look()
        self.assertTrue(self.other.acts)
        self.one.look()
        self.assertIsNotNone(self.one.component.ending, "it has seen that it is over")

    def test_it_ends_in_order(self) -> None:
        """The domain is free when the connection has ended, not before."""
        self.begin()
        over = self.one.duty.stopService()
        self.one.answer()
        self.other.look()
        self.assertEqual((self.database.has, self.other.components), (7, []))
        self.assertNoResult(over)
        self.one.component.end()
        self.successResultOf(over)
        self.one.answer()
        self.other.look()
        self.assertTrue(self.other.acts)
        self.assertEqual((self.one.duty.phase, self.one.clock.getDelayedCalls()), (Phase.OVER, []))

    def test_its_process_leaves_the_cluster_meanwhile(self) -> None:
        """Then the domain is free with the process's row."""
        self.begin()
        over = self.one.duty.stopService()
        self.one.among.fault = StateError("this process leaves the cluster")
        self.one.component.end()
        self.one.answer()
        self.successResultOf(over)
        self.assertEqual(self.database.has, 7)

    def test_the_database_does_not_answer_at_the_end(self) -> None:
        """A process that is over has nothing to wait for."""
        self.begin()
        self.one.among.left = MARGIN
        self.one.clock.advance(LOOK)
        self.one.component.end()
        self.successResultOf(self.one.duty.stopService())
        self.assertEqual(self.one.clock.getDelayedCalls(), [])

    def test_stopped_before_it_has_an_answer(self) -> None:
        """What the answer gives is let go of."""
        self.one.duty.startService()
        over = self.one.duty.stopService()
        again = self.one.duty.stopService()
        self.one.answer()
        self.successResultOf(over)
        self.successResultOf(again)
        self.assertEqual((self.database.has, self.one.components), (None, []))
        self.successResultOf(self.one.duty.stopService())

    def test_started_again(self) -> None:
        """As after a reload that has it, that has it not, and that has it."""
        self.begin(self.one)
        over = self.one.duty.stopService()
        self.one.component.end()
        self.one.answer()
        self.successResultOf(over)
        self.begin(self.one)
        self.assertEqual((len(self.one.components), self.one.acts), (2, True))

    def test_somebody_has_given_it_to_another(self) -> None:
        self.begin()
        self.database.has = 8
        self.one.look()
        self.one.component.end()
        self.one.answer()
        self.assertEqual((self.database.has, self.one.duty.phase), (8, Phase.ABSTAINING))


class OutOfReachTests(DutyCase):
    def test_the_database_is_out_of_reach(self) -> None:
        """Nothing changes while the process lives."""
        self.begin()
        for process in (self.one, self.other):
            process.among.fault = StateError("no answer")
            process.look()
            process.look()
        self.assertTrue(self.one.acts)
        self.assertEqual(self.other.duty.phase, Phase.STANDING_BY)

    def test_the_row_runs_out_meanwhile(self) -> None:
        """The connection ends before it has, whatever the database does not answer."""
        self.begin()
        self.one.among.left = LOOK + MARGIN
        self.one.clock.advance(LOOK / 2)
        self.assertIsNone(self.one.component.ending)
        self.one.among.left = MARGIN + 0.1
        self.assertTrue(self.one.component.may_act())
        self.one.clock.advance(LOOK / 2)
        self.assertIsNone(self.one.component.ending)
        self.one.among.left = MARGIN
        self.assertFalse(self.one.component.may_act())
        self.one.clock.advance(0.1)
        self.assertIsNotNone(self.one.component.ending)

    def test_the_database_says_that_the_process_is_over(self) -> None:
        """Though the row should be good: the database's clock was set, or somebody has written there."""
        self.begin()
        self.one.among.fault = HeldByAnother("over")
        self.one.look()
        self.assertIsNotNone(self.one.component.ending)

    def test_the_row_is_renewed(self) -> None:
        self.begin()
        for _ in range(100):
            self.one.clock.advance(LOOK)
        self.assertIsNone(self.one.component.ending)

    def test_the_server_is(self) -> None:
        """Of this process: another one tries, and it is not in the way."""
        self.begin()
        for _ in range(int(OUT_OF_REACH - LOOK)):
            self.one.look()
        self.assertIsNone(self.one.component.ending)
        self.one.look()
        self.one.component.end()
        self.one.answer()
        self.assertIsNone(self.database.has)
        self.one.look()
        self.assertIsNone(self.database.has, "it abstains")
        self.other.look()
        self.assertTrue(self.other.acts)
        for _ in range(int(ABSTINENCE)):
            self.one.look()
        self.assertEqual(self.one.duty.phase, Phase.STANDING_BY)

    def test_nobody_else_is_there(self) -> None:
        """Then it goes on trying itself; or it has let go, and takes it again."""
        self.begin(self.one)
        self.one.among.others_take = False
        for _ in range(int(2 * OUT_OF_REACH)):
            self.one.look()
        self.assertIsNone(self.one.component.ending)
        self.one.among.others_take = True
        self.one.look()
        self.one.component.end()
        self.one.answer()
        for _ in range(int(ABSTINENCE) + 1):
            self.one.look()
        self.assertEqual((len(self.one.components), self.one.acts), (2, True))

    def test_time_counts_from_the_last_connection(self) -> None:
        self.begin()
        self.one.component.connected = True
        for _ in range(int(2 * OUT_OF_REACH)):
            self.one.look()
        self.one.component.connected = False
        for _ in range(int(OUT_OF_REACH - LOOK)):
            self.one.look()
        self.assertIsNone(self.one.component.ending)
        self.one.look()
        self.assertIsNotNone(self.one.component.ending)

    def test_drained(self) -> None:
        """It lets go, and takes nothing while there are others."""
        self.begin()
        self.one.component.connected = self.one.among.draining = True
        self.one.look()
        self.one.component.end()
        self.one.answer()
        for _ in range(int(2 * ABSTINENCE)):
            self.one.look()
        self.assertIsNone(self.database.has)
        self.one.among.others_take = False
        self.one.look()
        self.assertEqual(self.database.has, 7)


class ToldTests(DutyCase):
    def test_status(self) -> None:
        expected: dict[str, object] = {
            "domain": DOMAIN,
            "connected": False,
            "resources": 0,
            "requests": 0,
            "targets": {},
        }
        self.assertEqual(self.other.duty.status(), {**expected, "holder": None, "standing_by": True})
        self.begin()
        self.assertEqual(self.other.duty.status(), {**expected, "holder": "node-7", "standing_by": True})
        self.one.component.connected = True
        told = {"domain": DOMAIN, "connected": True, "resources": 2, "holder": "node-7", "standing_by": False}
        self.assertEqual((self.one.duty.status(), self.one.duty.connected), (told, True))

    def test_what_was_dropped(self) -> None:
        """It never becomes less, as it is counted."""
        self.begin(self.one)
        self.one.component.dropped = 3
        self.assertEqual(self.one.duty.dropped, 3)
        self.database.has = 8
        self.one.look()
        self.one.component.end()
        self.one.answer()
        self.assertEqual((self.one.duty.dropped, self.one.duty.standing_by), (3, True))

    def test_the_log_names_who_has_it_once(self) -> None:
        self.begin()
        for _ in range(5):
            self.other.look()
        said = [event for event in self.events if "stands by" in event.get("log_format", "")]
        self.assertEqual([event["name"] for event in said], ["node-7"])

    def test_a_fault_of_ours_does_not_end_the_looks(self) -> None:
        self.begin()
        self.other.among.asked.clear()
        self.other.clock.advance(LOOK)
        ((_question, answer),) = self.other.among.asked
        self.other.among.asked.clear()
        answer.errback(Failure(ValueError("fault")))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.database.has = None
        self.other.look()
        self.assertTrue(self.other.acts)


class TableTests(SynchronousTestCase):
    def test_whole(self) -> None:
        self.assertEqual(set(TABLE), {(phase, what) for phase in Phase for what in Input})


class NeverTwoTests(SynchronousTestCase):
    """Whatever is late: no two processes act for the domain."""

    STEPS = ("look", "answer", "end", "stop", "start", "drain", "undrain", "connect", "bury", "far")

    @given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 2)), max_size=60))
    def test_never_two(self, steps: list[tuple[str, int]]) -> None:
        database = FakeDatabase()
        processes = [Process(database, number) for number in (7, 8, 9)]
        for process in processes:
            process.duty.startService()
        for step, index in steps:
            self.step(step, processes[index])
            self.assertLessEqual(sum(process.acts for process in processes), 1)
            for process in processes:
                self.assertLessEqual(sum(one.runs for one in process.components), 1)
        self.someone_acts_in_the_end(processes)

    def step(self, step: str, process: Process) -> None:
        match step:
            case "look":
                process.clock.advance(LOOK)
            case "far":
                process.clock.advance(OUT_OF_REACH)
            case "answer" if process.among.asked:
                process.among.answer()
            case "end" if process.components and process.component.ending is not None:
                process.component.end()
            case "stop":
                process.duty.stopService()
            case "start" if process.duty.phase is Phase.OVER:
                process.duty.startService()
            case "drain" | "undrain":
                process.among.draining = step == "drain"
            case "connect" if process.components and process.component.runs:
                process.component.connected = True
            case "bury":
                process.among.database.live.discard(process.among.number)

    def someone_acts_in_the_end(self, processes: list[Process]) -> None:
        """Of those that live, run, and are not drained, if there is one: when nothing is late any more."""
        able = [one for one in processes if one.among.row_left()() and one.duty.running and not one.among.draining]
        for _ in range(int(ABSTINENCE) + 5):
            for process in processes:
                process.clock.advance(LOOK)
                process.answer()
                if process.components and process.component.ending is not None:
                    process.component.end()
                elif process.components:
                    process.component.connected = process.component.runs
                process.answer()
        self.assertEqual(sum(process.acts for process in processes), bool(able))
