"""What one process of a cluster holds, without a database."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.server.elsewhere import Elsewhere, HolderUnknown
from minimixproxy.cluster.departures import DRAINED, GRACE, LOGIN_TIME, MOVED
from minimixproxy.cluster.holding import LONGEST_LOOK, LOOK, THOROUGH, THOROUGH_AGAIN, Holding
from minimixproxy.cluster.questions import MOST_WAITING
from minimixproxy.cluster.shares import share_of
from minimixproxy.cluster.taking import AT_ONCE, LONGEST, PUT_OFF, UNSURE
from minimixproxy.minimix.interfaces.handed import HandedAccount, Revive
from minimixproxy.minimix.interfaces.journal import KeptAccount
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.journal import Adopted
from minimixproxy.storage.lease import HeldByAnother
from minimixproxy.storage.leases import MOST_ORPHANS, HeldBy, Holder, Survey
from minimixproxy.storage.loading import LoadedAccount

OWN = 7
OTHER = Holder(8, "node-b", "b:5270", 0)
THERE = Elsewhere(8, 3, "b:5270", "node-b")
BARE, BOB = "alice@example.org", "bob@example.org"


def adopted(*names: str, kept: bool = True) -> Adopted:
    accounts = [LoadedAccount(1, KeptAccount(bare, None, refused=False, last_seen=0.0), ()) for bare in names]
    return Adopted(list(names), accounts if kept else [], {}, {}, {}, 5)


def lines(log: Sequence[LogEvent]) -> list[str]:
    return [formatEvent(event) for event in log]


class FakeLeases:
    """A cluster as it is told to be."""

    def __init__(self) -> None:
        self.elsewhere: set[str] = set()
        self.known: set[str] = set()
        self.orphans: list[str] = []
        self.never_taken: list[str] = []
        self.live = [Holder(OWN, "node-a", "a:5270", 0)]
        self.buried: list[Holder] = []
        self.fault: StateError | None = None
        self.damaged: set[str] = set()  # cannot be loaded
        self.deaf = False  # what is done is done, but nobody is told
        self.mine: set[str] = set()
        self.anew = False
        self.time = 0.0
        self.asked: list[tuple[str, Any]] = []

    def find(self, bare: str) -> HeldBy | Adopted | None:
        self._note("find", bare)
        if bare in self.elsewhere:
            return HeldBy(OTHER, 3)
        return self._taken(bare) if bare in self.known | self.mine else None

    def claim(self, bare: str) -> HeldBy | Adopted:
        self._note("claim", bare)
        return HeldBy(OTHER, 3) if bare in self.elsewhere else adopted(bare, kept=bare in self.known)

    def take(self, names: Sequence[str]) -> Adopted:
        self._note("take", len(names))
        return self._taken(*(bare for bare in names if bare not in self.elsewhere))

    def ours(self, names: Sequence[str]) -> list[str]:
        self._note("ours", sorted(names))
        return sorted(self.mine.intersection(names))

    def _taken(self, *names: str) -> Adopted:
        if self.damaged.intersection(names):
            raise StateError("damaged")
        self.mine.update(names)
        if self.deaf:
            raise StateError("no answer")
        return adopted(*names)

    def survey(self, *, thorough: bool) -> Survey:
        self._note("survey", thorough)
        orphans, self.orphans = self.orphans, []
        all_orphans = orphans + (self.never_taken if thorough else [])
        return Survey(self.live, self.buried, all_orphans, anew=self.anew, time=self.time)

    def drain(self, draining: bool) -> None:
        self._note("drain", draining)
        self.live = [one._replace(draining=draining) if one.number == OWN else one for one in self.live]

    def _note(self, question: str, what: object) -> None:
        self.asked.append((question, what))
        if self.fault is not None:
            raise self.fault

    def close(self) -> None:
        self.asked.append(("close", None))


class HoldingTestCase(SynchronousTestCase):
    left = 15.0
    number = OWN
    accounts = 0

    def setUp(self) -> None:
        self.clock = Clock()
        self.leases = FakeLeases()
        self.journalled: list[tuple[str, Any]] = []
        self.restored: list[str] = []
        self.in_memory: set[str] = set()
        self.idle: set[str] = set()  # of these
        self.resting: set[str] = set()  # whose clients would hardly notice
        self.dismissed: list[str] = []
        self.leaving: dict[str, Deferred[HandedAccount | None]] = {}  # whose clients are told to go
        self.taken_over: list[tuple[str, HandedAccount]] = []
        self.on_disk: list[Deferred[None]] = []
        self.lost: list[StateError] = []
        self.threads: list[tuple[Callable[[], Any], Deferred[Any]]] | None = None  # None: done at once
        self.holding = Holding(self, self, lambda _handed, _login: None, self.clock)

    def begin(self) -> None:
        self.holding.begin(self.leases, self, self.run_in_thread, self.lost.append)
        self.addCleanup(self.holding.stop)

    # Journal, Accounts

    def adopt(self, adopted: Adopted) -> None:
        self.journalled += [("adopt", bare) for bare in adopted.names]

    def let_go(self, bare: str, *, to_others: bool, handed: HandedAccount | None = None) -> Deferred[None]:
        self.journalled.append(("hand on" if to_others else "let go", bare))
        done = Deferred[None]()
        self.on_disk.append(done)
        return done

    def take_over(self, kept: list[KeptAccount], handed: Mapping[str, HandedAccount], revive: Revive) -> None:
        self.taken_over += handed.items()
        self.restored += [account.bare for account in kept]
        self.in_memory.update(self.restored)

    def knows(self, bare: str) -> bool:
        return bare in self.in_memory

    def is_idle(self, bare: str) -> bool:
        return bare in self.idle

    def rests(self, bare: str) -> bool:
        return bare in self.idle | self.resting

    def dismiss(self, bare: str) -> Deferred[HandedAccount | None]:
        self.assertIn(bare, self.holding, "else nobody would journal what its clients have seen")
        self.dismissed.append(bare)
        if bare not in self.idle:
            self.leaving[bare] = Deferred()
            return self.leaving[bare]
        return succeed(None)

    def drop(self, bare: str) -> None:
        self.assertEqual(self.journalled[-1], ("hand on", bare), "else it would journal that it is in no room")
        self.in_memory.remove(bare)

    # Threads

    def run_in_thread(self, work: Callable[[], Any]) -> Deferred[Any]:
        if self.threads is None:
            return maybeDeferred(work)
        done = Deferred[Any]()
        self.threads.append((work, done))
        return done

    def work(self, which: int = 0) -> None:
        """Have a thread do the first thing that waits."""
        assert self.threads is not None
        work, done = self.threads.pop(which)
        maybeDeferred(work).chainDeferred(done)

    def ask(self, bare: str, *, claim: bool = False) -> Deferred[Elsewhere | None]:
        return Deferred.fromCoroutine(self.holding.claim(bare) if claim else self.holding.find(bare))


class AskedTests(HoldingTestCase):
    """A client comes."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()
        self.leases.asked.clear()

    def test_elsewhere(self) -> None:
        self.leases.elsewhere.add(BARE)
        for claim in (False, True):
            self.assertEqual(self.successResultOf(self.ask(BARE, claim=claim)), THERE)
        self.assertEqual((self.journalled, len(self.holding)), ([], 0))

    def test_known_and_nobodys(self) -> None:
        self.leases.known.add(BARE)
        self.assertIsNone(self.successResultOf(self.ask(BARE)))
        self.assertEqual((self.journalled, self.restored), ([("adopt", BARE)], [BARE]))
        self.assertIn(BARE, self.holding)

    def test_not_known(self) -> None:
        """A made-up name costs a question, and nothing is held before a login."""
        self.assertIsNone(self.successResultOf(self.ask(BARE)))
        self.assertNotIn(BARE, self.holding)
        self.assertIsNone(self.successResultOf(self.ask(BARE, claim=True)))
        self.assertIn(BARE, self.holding)
        self.assertEqual(self.restored, [])

    def test_here_already(self) -> None:
        """Nobody is asked."""
        self.ask(BARE, claim=True)
        self.leases.asked.clear()
        self.assertIsNone(self.successResultOf(self.ask(BARE)))
        self.assertEqual(self.leases.asked, [])

    def test_two_at_once(self) -> None:
        """The second one waits for the first one's answer: an account is adopted once."""
        self.leases.known.add(BARE)
        self.threads = []
        first, second = self.ask(BARE), self.ask(BARE, claim=True)
        self.assertEqual(len(self.threads), 1)
        self.work()
        self.assertEqual((self.successResultOf(first), self.successResultOf(second)), (None, None))
        self.assertEqual((self.threads, self.journalled), ([], [("adopt", BARE)]))

    def test_many_ask_for_the_same(self) -> None:
        """Strangers: it is one question, whatever the answer."""
        for elsewhere in (True, False):
            if elsewhere:
                self.leases.elsewhere.add(BARE)
            else:
                self.leases.elsewhere.clear()
            self.threads = []
            asked = [self.ask(BARE) for _ in range(5000)]
            self.work()
            self.assertEqual(self.threads, [])
            self.assertEqual({self.successResultOf(one) for one in asked}, {THERE if elsewhere else None})
        self.assertEqual(self.leases.asked, [("find", BARE)] * 2)

    def test_who_has_logged_in_asks_once_more(self) -> None:
        """It is to be held here, which the one before did not ask for; it may have come free meanwhile, too."""
        self.leases.elsewhere.add(BARE)
        self.threads = []
        first, second, third = self.ask(BARE), self.ask(BARE, claim=True), self.ask(BARE)
        self.work()
        self.assertEqual((self.successResultOf(first), self.successResultOf(third)), (THERE, THERE))
        self.assertEqual(len(self.threads), 1)
        self.leases.elsewhere.clear()
        self.work()
        self.assertIsNone(self.successResultOf(second))
        self.assertIn(BARE, self.holding)

    def test_no_answer_to_many(self) -> None:
        """Each hears that there is none, and the database is not asked for as many."""
        self.leases.fault = StateError("out of reach")
        self.threads = []
        asked = [self.ask(BARE, claim=claim) for claim in (False, True, False)]
        self.work()
        for one in asked:
            self.assertEqual(str(self.failureResultOf(one, HolderUnknown).value), "out of reach")
        self.assertEqual(self.threads, [])

    def test_many_ask_while_it_is_let_go(self) -> None:
        self.ask(BARE, claim=True)
        self.holding.let_go(BARE, to_others=False)
        self.leases.asked.clear()
        asked = [self.ask(BARE) for _ in range(1000)]
        self.threads = []
        self.on_disk[-1].callback(None)
        self.work()
        self.assertEqual({self.successResultOf(one) for one in asked}, {None})
        self.assertEqual(self.leases.asked, [("find", BARE)])

    def test_the_database_does_not_answer(self) -> None:
        self.leases.fault = StateError("out of reach")
        with capturedLogs() as log:
            for _ in range(2):
                self.assertEqual(str(self.failureResultOf(self.ask(BARE), HolderUnknown).value), "out of reach")
            self.leases.fault = None
            self.clock.advance(LOOK)
        self.assertEqual(
            lines(log),
            ["the cluster cannot be looked at, trying again: out of reach", "the cluster can be looked at again"],
        )

    def test_what_there_is_to_tell(self) -> None:
        """Who lives, how many this one holds, and why nothing is known."""
        self.assertEqual((self.holding.live, self.holding.trouble), (self.leases.live, ""))
        self.ask(BARE, claim=True)
        self.leases.fault = StateError("out of reach")
        self.clock.advance(LOOK)
        self.assertEqual((self.holding.trouble, self.accounts), ("out of reach", 1))

    def test_too_many_at_once(self) -> None:
        self.threads = []
        for number in range(MOST_WAITING):
            self.ask(f"user{number}@example.org")
        self.failureResultOf(self.ask(BARE), HolderUnknown)
        self.work()
        self.assertNoResult(self.ask(BARE))

    def test_who_asks_goes_away(self) -> None:
        """The account may be ours in the database by then: it comes into its rooms, and is let go if it has none."""
        self.leases.known.add(BARE)
        for claim, bare in ((False, BARE), (True, BOB)):
            self.threads = []
            asked = self.ask(bare, claim=claim)
            asked.cancel()
            self.failureResultOf(asked, CancelledError)
            self.work()
            self.assertIn(bare, self.holding)
        self.assertEqual((self.journalled, self.restored), ([("adopt", BARE), ("adopt", BOB)], [BARE]))

    def test_who_comes_after_one_who_went_away(self) -> None:
        """Waits for the same question."""
        self.leases.known.add(BARE)
        self.threads = []
        self.ask(BARE).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        second = self.ask(BARE)
        self.assertEqual(len(self.threads), 1)
        self.work()
        self.assertIsNone(self.successResultOf(second))

    def test_those_who_went_away_count(self) -> None:
        """Their questions wait for the thread still."""
        self.threads = []
        for number in range(MOST_WAITING):
            self.ask(f"user{number}@example.org").addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        self.failureResultOf(self.ask(BARE), HolderUnknown)

    def test_a_fault_of_ours_after_who_asked_went_away(self) -> None:
        """Is told to the operator, since nobody else hears of it."""
        self.threads = []
        self.ask(BARE).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        with capturedLogs() as log:
            self.threads.pop()[1].errback(ZeroDivisionError())
        self.assertEqual(lines(log), ["while an account was asked for, whose client is gone"])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_no_answer_after_who_asked_went_away(self) -> None:
        """It is the cluster's trouble, and told as that alone."""
        self.leases.fault = StateError("out of reach")
        self.threads = []
        self.ask(BARE).addErrback(lambda failure: failure.trap(CancelledError)).cancel()
        with capturedLogs() as log:
            self.work()
        self.assertEqual(lines(log), ["the cluster cannot be looked at, trying again: out of reach"])

    def test_found_by_two_ways_at_once(self) -> None:
        """The look at the cluster and a client: what came first is in use already, and stays."""
        self.leases.known.add(BARE)
        self.leases.orphans = [BARE, BOB]
        self.threads = []
        self.clock.advance(LOOK)
        self.work()  # the survey
        asked = self.ask(BARE)
        self.work(1)
        self.work(0)
        self.assertIsNone(self.successResultOf(asked))
        self.assertEqual((self.journalled, self.restored), ([("adopt", BARE), ("adopt", BOB)], [BARE, BOB]))


class TimeTests(HoldingTestCase):
    def test_what_time_it_is_by_the_database(self) -> None:
        """And when that was asked for."""
        told: list[tuple[float, float]] = []
        self.holding.when_told = lambda time, asked: told.append((time, asked))
        self.begin()
        self.leases.time = 5000.0
        self.threads = []
        self.clock.advance(LOOK)
        self.assertEqual(told, [])
        self.clock.advance(3)
        self.work()
        self.assertEqual(told, [(5000.0, LOOK)])


class OrphanTests(HoldingTestCase):
    """Accounts that nobody has."""

    def test_at_the_start(self) -> None:
        """All of them, by as many as one transaction may take, and not again soon."""
        self.leases.never_taken = [f"user{number}@example.org" for number in range(AT_ONCE + 1)]
        self.begin()
        self.assertEqual(self.leases.asked, [("survey", True), ("take", AT_ONCE), ("take", 1)])
        self.assertEqual(len(self.holding), AT_ONCE + 1)
        self.clock.pump([LOOK] * int(THOROUGH / LOOK - 1))
        self.assertEqual(set(self.leases.asked[3:]), {("survey", False)})
        self.clock.advance(LOOK)
        self.assertEqual(self.leases.asked[-2:-1], [("survey", True)])
        self.assertEqual(
            self.leases.asked[-1], ("ours", sorted(self.leases.never_taken)), "whether all are known still"
        )

    def test_of_one_that_is_over(self) -> None:
        self.begin()
        self.leases.orphans, self.leases.buried = [BARE], [OTHER]
        with capturedLogs() as log:
            self.clock.advance(LOOK)
        self.assertEqual(self.restored, [BARE])
        self.assertEqual(lines(log), ["node-b has given no sign of life for 15 s: the others take its accounts"])

    def test_who_is_over_is_told(self) -> None:
        """Once, whoever has found out; and never of one that has not been seen yet."""
        over: list[int] = []
        self.holding.when_over = over.append
        own, others = self.leases.live[0], [OTHER, OTHER._replace(number=9)]
        self.leases.live = [own, *others]
        self.begin()
        self.assertEqual(over, [])
        self.leases.live = [own, OTHER]
        for _look in range(2):
            self.clock.advance(LOOK)
        self.assertEqual(over, [9])

    def test_only_its_share(self) -> None:
        """The other one takes the rest."""
        names = [f"user{number}@example.org" for number in range(50)]
        taken: set[str] = set()
        for own, other in ((7, 8), (8, 7)):
            self.setUp()
            self.number = own
            self.leases.live = [Holder(own, "a", "", 0), Holder(other, "b", "", 0)]
            self.leases.orphans = list(names)
            self.begin()
            self.assertTrue(0 < len(self.restored) < 50)
            self.assertEqual(taken & set(self.restored), set())
            taken |= set(self.restored)
        self.assertEqual(taken, set(names))

    def test_somebody_was_faster(self) -> None:
        self.leases.orphans, self.leases.elsewhere = [BARE, BOB], {BARE}
        self.begin()
        self.assertEqual(self.restored, [BOB])


class TroubledTests(HoldingTestCase):
    """What keeps an account from being taken keeps no other one from it."""

    def setUp(self) -> None:
        super().setUp()
        self.names = [f"user{number:02}@example.org" for number in range(3 * AT_ONCE)]

    def test_one_cannot_be_loaded(self) -> None:
        """The others of its portion, and all behind it, are taken; it is tried again later."""
        bad = self.names[3]
        self.leases.damaged = {bad}
        self.leases.never_taken = self.names
        with capturedLogs() as log:
            self.begin()
            for _ in range(5):
                self.leases.never_taken = [bare for bare in self.names if bare not in self.holding]
                self.clock.advance(LOOK)
        self.assertEqual([bare for bare in self.names if bare not in self.holding], [bad])
        self.assertEqual(
            [line for line in lines(log) if bad in line], [f"{bad} cannot be taken, trying again later: damaged"]
        )
        self.leases.damaged = set()
        self.leases.orphans = [bad]
        self.clock.advance(PUT_OFF)
        self.assertIn(bad, self.holding)

    def test_one_by_which_reading_fails(self) -> None:
        """By a fault of ours: the others are taken all the same."""
        bad, take = self.names[3], self.leases.take

        def taken(names: Sequence[str]) -> Adopted:
            if bad in names:
                raise ZeroDivisionError
            return take(names)

        self.leases.take = taken  # type: ignore[method-assign]
        self.leases.never_taken = self.names
        self.begin()
        for _ in range(5):
            self.leases.never_taken = [bare for bare in self.names if bare not in self.holding]
            self.clock.advance(LOOK)
        self.assertEqual([bare for bare in self.names if bare not in self.holding], [bad])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_the_answer_was_lost(self) -> None:
        """They are ours then, and nobody else takes them."""
        self.begin()
        self.leases.known.add(BOB)
        self.leases.deaf = True
        self.leases.orphans = [BARE]
        self.clock.advance(LOOK)
        self.failureResultOf(self.ask(BOB), HolderUnknown)
        self.assertEqual((self.leases.mine, len(self.holding)), ({BARE, BOB}, 0))
        self.leases.deaf = False
        self.clock.pump([LOOK] * int(UNSURE))
        self.assertEqual((set(self.restored), len(self.holding)), ({BARE, BOB}, 2))
        self.assertEqual(self.leases.asked[-1][0], "survey", "nothing is unsure any more")

    def test_the_answer_was_lost_and_asked_once_more(self) -> None:
        """`Leases` asks again by another connection: of what the first one took, it is told that nothing is free."""
        self.begin()
        take = self.leases.take

        def taken_twice(names: Sequence[str]) -> Adopted:
            take(names)
            return Adopted([], [], {}, {}, {}, 0)

        self.leases.take = taken_twice  # type: ignore[method-assign]
        self.leases.orphans = [BARE, BOB]
        self.clock.pump([LOOK] * 2)
        self.assertEqual((set(self.restored), set(self.holding.held)), ({BARE, BOB}, {BARE, BOB}))

    def test_a_fault_of_ours_at_adopting(self) -> None:
        adopt = self.adopt
        self.adopt = lambda adopted: 1 / 0  # type: ignore[assignment, method-assign]
        self.leases.orphans = [BARE]
        self.begin()
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertNotIn(BARE, self.holding)
        self.adopt = adopt  # type: ignore[method-assign]
        self.clock.pump([LOOK] * int(UNSURE / 2 + 1))
        self.assertIn(BARE, self.holding)

    def test_many_take_long(self) -> None:
        """The cluster is looked at all the same, and what no process has ever had is looked for until all is taken."""
        self.leases.never_taken = self.names
        self.threads = []
        self.begin()
        taken = 0
        for _ in range(4):
            self.leases.never_taken = [bare for bare in self.names if bare not in self.holding]
            self.work()
            while self.threads:
                self.clock.advance(LONGEST)
                self.work()
                taken += 1
            self.clock.advance(LOOK)
        self.assertEqual((taken, len(self.holding)), (3, len(self.names)))
        surveys = [what for question, what in self.leases.asked if question == "survey"]
        self.assertEqual(surveys, [True, True, True, False])

    def test_a_thorough_look_takes_too_long(self) -> None:
        """There are many accounts, and the database gives it up: others do not wait for that."""
        self.leases.fault = StateError("canceling statement due to statement timeout")
        self.begin()
        self.leases.fault, self.leases.orphans = None, [BARE]
        self.clock.advance(LOOK)
        self.assertEqual(self.restored, [BARE])
        self.clock.pump([LOOK] * int(THOROUGH_AGAIN))
        surveys = [what for question, what in self.leases.asked if question == "survey"]
        self.assertEqual([at for at, thorough in enumerate(surveys) if thorough], [0, int(THOROUGH_AGAIN)])

    def test_more_than_are_looked_at(self) -> None:
        self.leases.never_taken = [f"user{number}@example.org" for number in range(MOST_ORPHANS)]
        self.leases.live = [Holder(OWN, "node-a", "a:5270", 0), OTHER]
        self.leases.elsewhere = set(self.leases.never_taken)
        self.begin()
        self.leases.never_taken = []
        self.clock.pump([LOOK, LOOK])
        surveys = [what for question, what in self.leases.asked if question == "survey"]
        self.assertEqual(surveys, [True, True, False])

    def test_stopped_meanwhile(self) -> None:
        """An account that is given to a process that ends is others' at once."""
        self.threads = []
        self.begin()
        self.leases.orphans = [BARE]
        self.work()
        asked = self.ask(BOB, claim=True)
        self.holding.stop()
        while self.threads:
            self.work()
        self.assertEqual((self.journalled, self.restored, len(self.holding)), ([], [], 0))
        self.failureResultOf(asked, HolderUnknown)
        self.failureResultOf(self.ask("carol@example.org"), HolderUnknown)


class LetGoTests(HoldingTestCase):
    """Accounts without rooms and clients."""

    def setUp(self) -> None:
        super().setUp()
        self.begin()
        self.ask(BARE, claim=True)

    def later(self) -> None:
        self.clock.pump([GRACE / 4] * 5)

    def test_when_nobody_needs_it(self) -> None:
        self.clock.advance(GRACE / 2)
        self.assertEqual(self.journalled, [("adopt", BARE)])
        self.later()
        self.assertEqual(self.journalled, [("adopt", BARE), ("let go", BARE)])
        self.assertNotIn(BARE, self.holding)

    def test_not_while_it_is_in_memory(self) -> None:
        self.in_memory.add(BARE)
        self.later()
        self.assertIn(BARE, self.holding)

    def test_who_comes_meanwhile_waits_until_it_is_on_disk(self) -> None:
        """Else what was written last would be missing, or its lease would go after it was taken."""
        self.later()
        self.leases.asked.clear()
        asked = self.ask(BARE, claim=True)
        self.assertNoResult(asked)
        self.on_disk[0].callback(None)
        self.assertIsNone(self.successResultOf(asked))
        self.assertIn(("claim", BARE), self.leases.asked)

    def test_it_is_not_taken_back_before(self) -> None:
        """Nobody has it in the database, perhaps, but who writes that is not told so yet."""
        self.later()
        self.leases.orphans = [BARE]
        self.clock.advance(LOOK)
        self.assertNotIn(BARE, self.holding)
        self.on_disk[0].callback(None)
        self.leases.orphans = [BARE]
        self.clock.advance(LOOK)
        self.assertIn(BARE, self.holding)

    def test_who_comes_before_keeps_it(self) -> None:
        self.clock.pump([GRACE / 4] * 3)
        self.ask(BARE)
        self.clock.pump([GRACE / 4] * 2)
        self.assertIn(BARE, self.holding)

    def test_who_is_handed_over_keeps_it(self) -> None:
        """Its tokens and keys are to be there when it logs in: it would be told that they are wrong."""
        self.clock.pump([GRACE / 4] * 3)
        self.assertTrue(self.holding.keep(BARE))
        self.clock.pump([GRACE / 4] * 2)
        self.assertIn(BARE, self.holding)
        self.assertFalse(self.holding.keep(BOB))
        self.assertNotIn(BOB, self.holding)


class HandingOnCase(HoldingTestCase):
    """100 accounts are here, none in use, and none at the other process."""

    def setUp(self) -> None:
        super().setUp()
        self.names = [f"user{number}@example.org" for number in range(100)]
        self.leases.orphans = list(self.names)
        self.begin()
        self.others(0)
        self.idle = set(self.names)

    def others(self, accounts: int) -> None:
        self.leases.live[1:] = [OTHER._replace(accounts=accounts)]

    def handed_on(self) -> list[str]:
        return [bare for what, bare in self.journalled if what == "hand on"]

    def later(self, seconds: float = GRACE) -> None:
        self.clock.pump([LOOK] * int(seconds / LOOK))


class GivingTests(HandingOnCase):
    """This process has more than its part of all accounts: others get some by and by."""

    def test_a_few_at_a_time(self) -> None:
        self.later()
        before = len(self.handed_on())
        self.clock.advance(LOOK)
        given = self.handed_on()
        self.assertTrue(0 < len(given) - before <= MOVED)
        self.assertEqual({share_of(bare, [OWN, OTHER.number]) for bare in given}, {OTHER.number})
        self.assertEqual(self.in_memory, set(self.names) - set(given))

    def test_until_it_has_its_part(self) -> None:
        """What the other one has counts, as soon as it says so."""
        self.later(GRACE / 2)
        for _ in range(3 * int(GRACE)):
            self.others(len(self.handed_on()))
            self.clock.advance(LOOK)
        self.assertTrue(35 <= len(self.handed_on()) <= 50, len(self.handed_on()))

    def test_none_that_is_in_use_or_has_just_come(self) -> None:
        self.idle = set(self.names[:30])
        for _ in range(6):
            for bare in self.names[:15]:
                self.ask(bare)
            self.later(GRACE / 2)
        self.assertEqual(set(self.handed_on()) - set(self.names[15:30]), set())
        self.assertNotEqual(self.handed_on(), [])

    def test_none_whose_client_has_just_been_handed_over(self) -> None:
        for _ in range(6):
            for bare in self.names[:15]:
                self.holding.keep(bare)
            self.later(GRACE / 2)
        self.assertEqual(set(self.handed_on()) & set(self.names[:15]), set())
        self.assertNotEqual(self.handed_on(), [])

    def test_none_to_one_that_is_drained(self) -> None:
        self.leases.live[1:] = [OTHER._replace(draining=True)]
        self.later(2 * GRACE)
        self.assertEqual(self.handed_on(), [])

    def test_those_that_are_used_by_clients_that_rest(self) -> None:
        """Their sessions go along: else a process that was restarted would get none as long as phones are on."""
        self.idle, self.resting = set(), set(self.names[:30])
        self.later(2 * GRACE)
        self.assertNotEqual(self.leaving, {})
        self.assertEqual(set(self.leaving) - self.resting, set())
        bare, left = next(iter(self.leaving.items()))
        left.callback(None)
        self.assertEqual(self.handed_on(), [bare])

    def test_not_for_a_few(self) -> None:
        """Nor without others."""
        for others in (85, None):
            self.setUp()
            if others is None:
                del self.leases.live[1:]
            else:
                self.others(others)
            self.later(2 * GRACE)
            self.assertEqual(self.handed_on(), [])

    def test_who_comes_meanwhile_waits_and_finds_it_elsewhere(self) -> None:
        self.later(GRACE + LOOK)
        bare = self.handed_on()[0]
        asked = self.ask(bare)
        self.assertNoResult(asked)
        self.leases.elsewhere.add(bare)
        for done in self.on_disk:
            done.callback(None)
        self.assertEqual(self.successResultOf(asked), THERE)


class DrainedTests(HandingOnCase):
    """The operator wants all accounts to go to others."""

    def setUp(self) -> None:
        super().setUp()
        self.later(GRACE)
        self.others(100)  # as many as here, so none goes but for the drain

    def drain(self, *, dismiss: bool = False) -> Deferred[None]:
        self.holding.handing_on.drain()
        if dismiss:
            self.holding.handing_on.dismiss()
        before = len(self.handed_on())
        gone = self.holding.handing_on.when_none_is_left()
        self.assertEqual(len(self.handed_on()), before)
        return gone

    def written(self) -> None:
        on_disk, self.on_disk = self.on_disk, []
        for done in on_disk:
            done.callback(None)

    def test_those_that_nobody_uses(self) -> None:
        """Some at a time, once the others know of it; all are gone when that is on disk."""
        self.leases.asked.clear()
        before = set(self.handed_on())
        used = self.names[50]
        self.assertNotIn(used, before)
        self.idle = set(self.names) - {used}
        gone = self.drain()
        self.clock.advance(LOOK)
        self.assertEqual(self.leases.asked[0], ("drain", True))
        self.assertEqual(len(set(self.handed_on()) - before), DRAINED)
        self.later(10)
        self.assertEqual(set(self.names) - set(self.handed_on()), {used})
        self.written()
        self.assertNoResult(gone)
        self.assertEqual(self.holding.handing_on.left, 1)
        self.idle = {used}
        self.clock.advance(LOOK)
        self.assertNoResult(gone)
        self.written()
        self.assertIsNone(self.successResultOf(gone))
        self.assertEqual(self.leases.asked.count(("drain", True)), 1)

    def test_those_that_are_used(self) -> None:
        """What their clients have seen is journalled first."""
        self.idle, self.resting = set(), set(self.names)
        before = set(self.handed_on())
        self.drain()
        self.later(5)
        self.assertEqual(self.leaving, {}, "clients have the time that the operator has given them")
        gone = self.drain(dismiss=True)
        self.clock.advance(LOOK)
        self.assertEqual(len(self.leaving), DRAINED)
        self.assertEqual(set(self.handed_on()), before)
        self.later(5)
        self.assertEqual(len(self.leaving), len(self.holding))
        self.assertEqual(len(self.dismissed), len(set(self.dismissed)), "each is told once")
        for bare in list(self.leaving):
            self.leaving.pop(bare).callback(None)
            self.assertEqual(self.journalled[-1], ("hand on", bare))
        self.assertNoResult(gone)
        self.written()
        self.assertIsNone(self.successResultOf(gone))
        self.assertEqual((len(self.holding), self.in_memory), (0, set()))

    def test_one_with_which_something_is_wrong(self) -> None:
        """It does not keep the others here, is tried again, and is not waited for in vain."""
        wrong, dismiss = self.names[50], self.dismiss

        def fails(bare: str) -> Deferred[HandedAccount | None]:
            if bare == wrong:
                raise ZeroDivisionError
            return dismiss(bare)

        broken = self.patch(self, "dismiss", fails)
        self.assertNotIn(wrong, self.handed_on())
        gone = self.drain(dismiss=True)
        self.later(10)
        for bare in list(self.leaving):
            self.leaving.pop(bare).callback(None)
        self.written()
        self.assertEqual(list(self.holding.held), [wrong])
        self.assertNotEqual(self.flushLoggedErrors(ZeroDivisionError), [])
        broken.restore()
        self.later(3)
        for bare in list(self.leaving):
            self.leaving.pop(bare).callback(None)
        self.written()
        self.assertIsNone(self.successResultOf(gone))

    def test_one_whose_client_is_about_to_come(self) -> None:
        """Nothing is kept of it, so nobody need take it."""
        self.ask(BARE, claim=True)
        self.drain()
        self.later(5)
        self.assertIn(BARE, self.holding)
        self.holding.handing_on.dismiss()
        self.clock.advance(LOOK)
        self.assertEqual(self.journalled[-1], ("let go", BARE))

    def test_one_whose_client_is_in_the_middle_of_a_login(self) -> None:
        """Its keys and tokens go with the account, and the client would be told that they are wrong."""
        named = next(bare for bare in self.names if bare in self.holding)
        self.ask(named)
        self.drain()
        self.later(LOGIN_TIME - 1)
        self.assertIn(named, self.holding)
        self.later(2)
        self.assertNotIn(named, self.holding)

    def test_nobody_takes_them(self) -> None:
        """They stay where they are, and nobody waits for that."""
        for others in ([], [OTHER._replace(draining=True)]):
            self.setUp()
            self.leases.live[1:] = others
            self.clock.advance(LOOK)
            before = self.handed_on()
            self.written()
            gone = self.drain(dismiss=True)
            self.assertNoResult(gone)
            self.clock.advance(LOOK)
            self.assertIsNone(self.successResultOf(gone))
            self.later(5)
            self.assertEqual((self.handed_on(), self.holding.handing_on.left), (before, 0))

    def test_it_takes_none(self) -> None:
        self.drain()
        self.clock.advance(LOOK)
        self.leases.orphans = ["new@example.org", "another@example.org", "third@example.org"]
        self.clock.advance(LOOK)
        self.assertNotIn(("take", 3), self.leases.asked)
        self.assertEqual(self.leases.asked[-1][0], "survey")

    def test_unless_all_are_drained(self) -> None:
        """Else nobody would be in those rooms."""
        self.drain()
        self.leases.live[1:] = [OTHER._replace(draining=True)]
        self.clock.advance(LOOK)
        self.leases.orphans = [f"new{number}@example.org" for number in range(20)]
        self.clock.advance(LOOK)
        self.assertTrue(0 < len([bare for bare in self.restored if bare.startswith("new")]) < 20)

    def test_undone(self) -> None:
        gone = self.drain()
        self.clock.advance(LOOK)
        self.written()
        left = len(self.holding)
        self.holding.handing_on.undrain()
        self.assertIsNone(self.successResultOf(gone))
        self.later(5)
        self.assertEqual((len(self.holding), self.leases.asked[-1]), (left, ("survey", False)))
        self.assertIn(("drain", False), self.leases.asked)


class OverTests(HoldingTestCase):
    """The process gives no sign of life, or is told that it is over."""

    def test_the_database_is_out_of_reach_for_too_long(self) -> None:
        self.begin()
        self.left = 0.5
        self.clock.advance(LOOK)
        self.assertEqual(self.lost, [])
        self.left = 0.0
        self.clock.advance(0.5)
        self.assertEqual(len(self.lost), 1)
        self.assertIn("no sign of life could be given in time", str(self.lost[0]))

    def test_told_so(self) -> None:
        for question in ("survey", "find"):
            self.setUp()
            self.begin()
            self.leases.fault = HeldByAnother("others have it")
            if question == "find":
                self.failureResultOf(self.ask(BARE), HolderUnknown)
            else:
                self.clock.advance(LOOK)
            self.assertEqual([str(error) for error in self.lost], ["others have it"])
            asked = len(self.leases.asked)
            self.clock.pump([LOOK] * 20)
            self.assertEqual((len(self.leases.asked), len(self.lost)), (asked, 1))

    def test_a_question_that_is_never_answered(self) -> None:
        """While signs of life are given: whoever comes would wait for ever."""
        self.begin()
        self.clock.pump([LOOK] * int(LONGEST_LOOK))
        self.threads = []
        self.clock.pump([LOOK] * int(LONGEST_LOOK))
        self.assertEqual(self.lost, [])
        self.clock.pump([LOOK] * 2)
        self.assertEqual([str(error) for error in self.lost], ["the database has not answered a question for 300 s"])

    def test_the_database_has_lost_who_has_what(self) -> None:
        """It is another server, to which not all was replicated: nobody knows who else has an account by then."""
        self.leases.orphans = [BARE, BOB]
        self.begin()
        for anew in (False, True):
            self.leases.anew = anew
            self.clock.advance(LOOK)
        self.assertEqual(self.lost, [], "all are known")
        self.leases.mine = {BOB}
        self.leases.anew = False
        self.clock.advance(LOOK)
        self.assertEqual(self.lost, [], "nobody has looked")
        self.leases.anew = True
        self.clock.advance(LOOK)
        self.assertIn("the database does not know any more", str(self.lost[0]))
        self.assertEqual(len(self.lost), 1)

    def test_what_else_such_a_database_says_is_not_believed(self) -> None:
        """It may be behind in that, too: who has come since is not over, and connections to it are not cut."""
        over: list[int] = []
        self.holding.when_over = over.append
        self.leases.orphans = [BARE]
        self.leases.live = [*self.leases.live, OTHER]
        self.begin()
        self.leases.mine.clear()
        self.leases.live, self.leases.anew = [Holder(OWN, "node-a", "a:5270", 0)], True
        self.clock.advance(LOOK)
        self.assertEqual((len(self.lost), over, self.holding.view.live[-1]), (1, [], OTHER))

    def test_let_go_while_that_is_looked_at(self) -> None:
        self.leases.orphans = [BARE]
        self.begin()
        self.leases.anew, self.threads = True, []
        self.clock.advance(LOOK)
        self.leases.mine.clear()
        self.holding.let_go(BARE, to_others=True)
        self.work()
        self.assertEqual(self.lost, [])

    def test_stopped(self) -> None:
        """An answer that comes late changes nothing."""
        self.threads = []
        self.begin()
        self.holding.stop()
        self.leases.fault = StateError("closed")
        self.work()
        self.clock.advance(LOOK)
        self.assertEqual((self.threads, self.lost), ([], []))
