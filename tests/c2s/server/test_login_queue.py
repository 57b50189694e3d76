"""Logins one at a time: who goes to the server when, while others are open, stall, fail or go away."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.server.limits import FailedLogins, LoginGuard
from minimixproxy.c2s.server.login_queue import LONGEST, MAX_WAITING, LoginQueue, TooManyLogins

HERE, ELSEWHERE = "192.0.2.1", "198.51.100.7"
ALICE = "alice@example.org"
PATIENCE = 30.0


class LoginTurnsTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.guard = LoginGuard(self.clock.seconds, free=3, base=1.0, maximum=60.0)
        self.turns = LoginQueue(self.guard, self.clock, lambda: PATIENCE)
        self.begun: list[str] = []

    def login(self, name: str, address: str = HERE, account: str = ALICE) -> Deferred[None]:
        """A login that wants its turn; `begun` has it once it has."""

        async def begin() -> None:
            await self.turns.begin(address, account)
            self.begun.append(name)

        return Deferred.fromCoroutine(begin())

    def refuse(self, address: str = HERE, account: str = ALICE) -> None:
        self.guard.failed(address, account)
        self.turns.end(address, account)

    def accept(self, address: str = HERE, account: str = ALICE) -> None:
        self.guard.succeeded(address, account)
        self.turns.end(address, account)

    def assert_nothing_left(self) -> None:
        self.assertEqual((len(self.turns), self.clock.getDelayedCalls()), (0, []))
        self.assertEqual((self.turns._pairs, self.turns._by_address, self.turns._by_account), ({}, {}, {}))

    def test_one_at_a_time_and_in_order(self) -> None:
        for name in "abc":
            self.login(name)
        self.assertEqual(self.begun, ["a"])
        for expected in (["a", "b"], ["a", "b", "c"]):
            self.accept()
            self.assertEqual(self.begun, expected)
        self.assert_nothing_left()

    def test_guesses_at_once_are_as_slow_as_one_after_the_other(self) -> None:
        for number in range(8):
            self.login(str(number))
        for _ in range(4):
            self.refuse()
        self.assertEqual(len(self.begun), 4, "the free ones")
        for wait in (1, 2, 4):
            self.clock.advance(wait - 0.1)
            before = len(self.begun)
            self.clock.advance(0.1)
            self.assertEqual(len(self.begun), before + 1)
            self.refuse()

    def test_sixty_at_once(self) -> None:
        guesses = [self.login(str(number)) for number in range(60)]
        self.assertEqual((self.begun, len(self.turns)), (["0"], MAX_WAITING))
        for refused in guesses[MAX_WAITING + 1 :]:
            self.failureResultOf(refused, TooManyLogins)
        self.clock.advance(FailedLogins.STALLED)
        self.assertEqual(self.begun, ["0", "1"])

    def test_other_accounts_and_addresses_do_not_wait(self) -> None:
        self.login("a")
        self.login("b", account="bob@example.org")
        self.login("c", address=ELSEWHERE)
        self.assertEqual(self.begun, ["a", "b", "c"])

    def test_a_stalled_login_holds_nobody_up_for_long(self) -> None:
        self.login("stalled")
        self.login("next")
        self.clock.advance(FailedLogins.STALLED - 1)
        self.assertEqual(self.begun, ["stalled"])
        self.clock.advance(1)
        self.assertEqual(self.begun, ["stalled", "next"])
        self.accept()
        self.accept()
        self.assertEqual(self.login("later").called, True)

    def test_guessers_elsewhere_hold_the_owner_up_little(self) -> None:
        """However many there are, and whether they fail or stall."""
        for number in range(200):
            self.login(str(number), address=f"203.0.113.{number}")
        self.assertEqual(len(self.begun), 4, "not even from many addresses at once")
        self.login("owner", address=ELSEWHERE)
        self.clock.advance(LoginGuard.ACCOUNT_MAXIMUM)
        self.assertIn("owner", self.begun)

    def test_one_guesser_elsewhere_who_fails_for_ever(self) -> None:
        for _ in range(100):
            self.guard.failed(ELSEWHERE, ALICE)
        self.login("owner")
        for _ in range(10):
            self.clock.advance(1)
            self.guard.failed(ELSEWHERE, ALICE)
        self.assertEqual(self.begun, ["owner"])

    def test_spraying_from_one_address(self) -> None:
        for number in range(60):
            self.login(str(number), account=f"{number}@example.org")
        self.assertEqual(len(self.begun), 31)
        for number in range(31):
            self.refuse(account=f"{number}@example.org")
        self.assertEqual(len(self.begun), 31, "one a second, two, four...")
        self.clock.advance(1)
        self.assertEqual(len(self.begun), 32)

    def test_an_office_that_comes_back(self) -> None:
        for number in range(100):
            self.login(str(number), account=f"{number}@example.org")
        for number in range(100):
            self.assertEqual(self.begun, [str(begun) for begun in range(min(100, number + 31))])
            self.accept(account=f"{number}@example.org")
        self.assert_nothing_left()

    def crowd(self, number: int) -> list[Deferred[None]]:
        """So many come back at once from one address, each with an account of its own."""
        return [self.login(str(one), account=f"{one}@example.org") for one in range(number)]

    def refused(self, crowd: list[Deferred[None]]) -> int:
        """Return how many were refused."""
        refused = [one for one in crowd if one.called and isinstance(one.result, Failure)]
        for one in refused:
            self.failureResultOf(one, TooManyLogins)
        return len(refused)

    def end_each(self, seconds: float, times: int) -> None:
        """The server takes so long for each, one after the other: they are let in in the order in which they began."""
        for number in range(times):
            self.clock.advance(seconds)
            self.accept(account=f"{self.begun[number]}@example.org")

    def test_a_crowd_on_a_slow_machine(self) -> None:
        """All that it needs is time: 600 were 20 seconds later refused as soon as they looked again."""
        crowd = self.crowd(600)
        self.end_each(0.25, 600)
        for one in crowd:
            self.successResultOf(one)
        self.assertEqual(self.begun, [str(number) for number in range(600)])
        self.assert_nothing_left()

    def test_a_crowd_that_is_too_large_for_the_machine(self) -> None:
        crowd = self.crowd(100)
        self.end_each(5, int(LONGEST / 5))
        self.assertEqual(self.refused(crowd), 100 - len(self.begun))
        self.assertGreater(len(self.begun), 60)
        self.assertEqual(len(self.turns), 0)

    def test_a_crowd_behind_which_nothing_moves(self) -> None:
        crowd = self.crowd(40)
        self.end_each(5, 3)
        self.clock.pump([1.0] * int(PATIENCE))
        self.assertEqual((self.refused(crowd), len(self.turns)), (40 - len(self.begun), 0))

    def test_a_crowd_of_guesses(self) -> None:
        """They end, too, but what has failed demands its time, as ever."""
        guesses = self.crowd(60)
        for number in range(31):
            self.clock.advance(0.25)
            self.refuse(account=f"{number}@example.org")
        self.clock.pump([1.0] * int(PATIENCE))
        for number in range(31, len(self.begun)):
            self.refuse(account=f"{number}@example.org")
        self.assertLess(len(self.begun), 36, "one a second, two, four...")
        self.assertEqual(self.refused(guesses), 60 - len(self.begun))

    def test_patience_has_an_end(self) -> None:
        self.login("0")
        waiting = [self.login(str(number)) for number in range(1, MAX_WAITING)]
        self.clock.pump([1.0] * int(PATIENCE))
        self.assertEqual(self.begun, ["0", "1", "2", "3"])
        for refused in waiting[3:]:
            self.failureResultOf(refused, TooManyLogins)
        self.assert_nothing_left()

    def test_too_long_a_delay_is_refused_at_once(self) -> None:
        for _ in range(12):
            self.guard.failed(HERE, ALICE)
        self.failureResultOf(self.login("a"), TooManyLogins)
        self.assert_nothing_left()

    def test_who_goes_away_while_waiting(self) -> None:
        self.login("a")
        gone, _after = self.login("b"), self.login("c")
        gone.cancel()
        self.failureResultOf(gone, CancelledError)
        self.accept()
        self.assertEqual(self.begun, ["a", "c"])
        self.accept()
        self.assert_nothing_left()

    def test_who_goes_away_in_the_turn_of_another(self) -> None:
        """Its turn, which was to be next, is nobody's."""
        for _ in range(3):
            self.guard.failed(ELSEWHERE, ALICE)
        self.login("open", address=ELSEWHERE)
        waiting: list[Deferred[None]] = []

        async def quick() -> None:
            await self.turns.begin(HERE, ALICE)
            waiting[1].cancel()

        waiting.append(Deferred.fromCoroutine(quick()))
        waiting.append(self.login("gone", address="203.0.113.9"))
        self.assertEqual([one.called for one in waiting], [False, False])
        self.accept(ELSEWHERE)
        self.assertTrue(waiting[0].called)
        self.failureResultOf(waiting[1], CancelledError)
        self.assertEqual(self.begun, ["open"])
        self.accept(HERE)
        for number in range(5):
            self.login(str(number), address=f"203.0.113.{number}")
        self.assertEqual(self.begun, ["open", "0", "1", "2", "3"], "no more, no less: nothing is left of it")
        self.assertEqual(len(self.turns), 1)

    def test_what_one_success_allows_begins_at_once(self) -> None:
        for _ in range(4):
            self.guard.failed(ELSEWHERE, ALICE)
        self.clock.advance(1)
        self.login("owner", address=ELSEWHERE)
        for number in range(6):
            self.login(str(number), address=f"203.0.113.{number}")
        self.assertEqual(self.begun, ["owner"])
        self.accept(ELSEWHERE)
        self.assertEqual(self.begun, ["owner", "0", "1", "2", "3"], "so many may be open for an account")
        self.assertEqual(len(self.turns), 2)

    def test_waits_of_exactly_the_patience_are_waited(self) -> None:
        self.turns = LoginQueue(self.guard, self.clock, lambda: 8.0)
        for _ in range(7):
            self.guard.failed(HERE, ALICE)
        waiting = self.login("patient")
        self.assertNoResult(waiting)
        self.clock.advance(8)
        self.assertEqual(self.begun, ["patient"])
        self.refuse()
        self.failureResultOf(self.login("too long"), TooManyLogins)

    def test_a_patience_that_is_longer_than_the_longest_line(self) -> None:
        """Of a long `authentication_timeout`: what has failed demands its time, and that is waited."""
        long = 2 * LONGEST
        self.guard = LoginGuard(self.clock.seconds, free=0, base=long, maximum=long)
        self.turns = LoginQueue(self.guard, self.clock, lambda: long)
        self.guard.failed(HERE, ALICE)
        waiting = self.login("patient")
        self.assertNoResult(waiting)
        self.clock.advance(long)
        self.assertEqual(self.begun, ["patient"])

    def test_what_is_left_is_too_little_for_a_clock(self) -> None:
        """It is waited for nevertheless: a clock that stands still meanwhile is not looked at for ever."""
        self.clock.advance(14.51)
        looks: list[float] = []
        wait = self.guard.wait

        def counted(address: str, account: str, waited: float = 0.0) -> float:
            looks.append(wait(address, account, waited))
            self.assertLess(len(looks), 10)
            return looks[-1]

        self.patch(self.guard, "wait", counted)
        for _ in range(9):
            self.guard.failed(ELSEWHERE, ALICE)
        self.login("owner")
        for _ in range(2):
            self.clock.advance(LoginGuard.ACCOUNT_MAXIMUM / 2)
            self.guard.failed(ELSEWHERE, ALICE)
        self.assertLess(0, looks[-1])
        self.assertEqual(self.clock.seconds() + looks[-1], self.clock.seconds())
        self.clock.advance(0.001)
        self.assertEqual(self.begun, ["owner"])

    def test_an_end_costs_no_look_at_each_that_waits(self) -> None:
        """Else strangers in crowds would cost the square of their number."""
        for number in range(100):
            self.login(str(number), f"192.0.2.{number}")
        self.assertEqual(len(self.begun), 4, "the free ones, and one that may fail")
        looks: list[tuple[object, ...]] = []
        wait = self.guard.wait

        def counted(address: str, account: str, waited: float = 0.0) -> float:
            looks.append((address, account))
            return wait(address, account, waited)

        self.patch(self.guard, "wait", counted)
        self.refuse("192.0.2.0")
        self.assertLess(len(looks), 5)

    def test_so_many_wait_and_no_more(self) -> None:
        logins = [self.login(str(number)) for number in range(MAX_WAITING + 2)]
        self.failureResultOf(logins[-1], TooManyLogins)
        self.assertEqual((self.begun, len(self.turns)), (["0"], MAX_WAITING))
        for number in range(MAX_WAITING):
            self.accept()
            self.assertEqual(len(self.turns), MAX_WAITING - 1 - number)
        self.assertEqual(len(self.begun), MAX_WAITING + 1)

    def test_many_that_are_over_at_once(self) -> None:
        """No recursion for each."""
        free = 1000
        self.guard = LoginGuard(self.clock.seconds, free=free, base=1.0, maximum=60.0)
        self.turns = LoginQueue(self.guard, self.clock, lambda: PATIENCE)

        async def quick(address: str) -> None:
            await self.turns.begin(address, ALICE)
            self.turns.end(address, ALICE)

        for number in range(free + 1):
            self.login("first", address=f"10.{number}")
        over = [Deferred.fromCoroutine(quick(f"11.{number}")) for number in range(3000)]
        self.assertFalse(any(one.called for one in over))
        self.accept("10.0")
        self.assertTrue(all(one.called for one in over))
