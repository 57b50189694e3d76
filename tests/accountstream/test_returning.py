"""Accounts come back after a restart in slices, and clients, operators and strangers ask for some of them meanwhile."""

from __future__ import annotations

import gc
from collections.abc import Callable

from twisted.logger import LogLevel, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.accountstream import returning, seen_clients
from minimixproxy.accountstream.account_login import SEEN_INTERVAL, AccountLogin
from minimixproxy.accountstream.accounts import Accounts
from minimixproxy.accountstream.held_account import HeldAccount
from minimixproxy.accountstream.returning import Returning
from minimixproxy.minimix.interfaces.journal import KeptAccount
from tests.accountstream.test_accounts import DAY, NOW, ROOMS, AccountsTest
from tests.log_events import log_events
from tests.minimix.fakes import BARE, ROOM, FakeSession
from tests.minimix.upstreams import LOGIN
from tests.timing.turns import Turns

FIRST, SECOND, LAST = NAMES = [f"{name}@a.test" for name in ("bob", "carol", "dave")]


class ReturningTests(AccountsTest):
    """Four accounts, each in a room, of which one is restored in a turn; `BARE` is the last."""

    clock: Turns

    def setUp(self) -> None:
        super().setUp()
        self.patch(returning, "ROOMS_AT_ONCE", 1)
        self.clock = Turns()
        self.clock.advance(NOW)
        self.accounts = self.made(stay=30 * DAY, bookmarks="off")
        self.accounts.startService()
        self.accounts.restore([self.kept(bare=bare) for bare in (*NAMES, BARE)])

    def there(self) -> list[str]:
        return [account.bare for account, _stream in self.accounts.with_streams()]

    def test_one_in_a_turn(self) -> None:
        for number in (1, 2, 3, 4, 4):
            self.assertEqual(self.there(), [*NAMES, BARE][:number])
            self.clock.turn()

    def test_as_many_as_are_little_work(self) -> None:
        self.patch(returning, "ROOMS_AT_ONCE", 7)
        few = [self.kept(bare=f"{number}@b.test") for number in range(4)]
        self.accounts.restore(few)
        self.assertEqual(len(self.there()), 1 + 3)

    def test_a_client_of_one_that_waits(self) -> None:
        """It finds its account as it was, and the others come in their order."""
        account = self.accounts.session_bound(FakeSession("phone", self.clock), LOGIN)
        self.assertEqual(list(account.rooms), [ROOM])
        self.assertEqual(self.there(), [FIRST, BARE])
        for _ in range(4):
            self.clock.turn()
        self.assertEqual(self.there(), [FIRST, BARE, SECOND, LAST])

    def test_whoever_asks_for_one_that_waits(self) -> None:
        asks: dict[str, Callable[[Accounts], object]] = {
            "status": lambda accounts: accounts.with_stream(BARE),
            "offered": lambda accounts: accounts.known_keys.hashes(BARE),
            "blocked": lambda accounts: accounts.blocked(BARE),
            "unblocked": lambda accounts: accounts.unblocked(BARE),
            "logged in": lambda accounts: accounts.logged_in(BARE, LOGIN),
            "changed": lambda accounts: accounts.password_changed(BARE, "new"),
            "enrolled": lambda accounts: accounts.enrolled(BARE, LOGIN, hold=False),
        }
        for name, ask in asks.items():
            self.setUp()
            ask(self.accounts)
            self.assertEqual(self.there(), [FIRST, BARE], name)

    def test_one_that_waits_is_forgotten(self) -> None:
        self.accounts.forget(BARE)
        for _ in range(4):
            self.clock.turn()
        self.assertEqual(self.there(), NAMES)

    def test_a_stranger(self) -> None:
        self.assertIsNone(self.accounts.with_stream("nobody@a.test"))
        self.assertEqual(self.there(), [FIRST])

    def test_all_are_to_be_on_disk(self) -> None:
        """When messages had to be let go, and all that is in memory is written anew."""
        for _ in range(5):
            kept = {account.bare: account for account in self.accounts.kept()}
            self.assertEqual(set(kept), {*NAMES, BARE})
            self.assertEqual({account.rooms[0].room for account in kept.values()}, {ROOM})
            self.clock.turn()

    def test_the_proxy_ends_meanwhile(self) -> None:
        self.accounts.stopService()
        for _ in range(4):
            self.clock.turn()
        self.assertEqual(self.there(), [FIRST])
        self.assertEqual({account.bare for account in self.accounts.kept()}, {*NAMES, BARE}, "as they are on disk")

    def test_those_that_need_a_client_are_told_of_together(self) -> None:
        for _ in range(4):
            self.clock.turn()
        events = log_events(self)
        self.logins.revived = None
        self.accounts.restore([self.kept(bare=f"{number}@b.test") for number in range(4)])
        warnings = [event for event in events if event["log_level"] is LogLevel.warn]
        self.assertEqual(warnings, [])
        for _ in range(5):
            self.clock.turn()
        (warning,) = [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]
        self.assertIn("4 of 4 accounts wait for a client to log in", warning)

    def test_a_fault_costs_no_other_account(self) -> None:
        restore = HeldAccount.restore

        def faulty(held: HeldAccount, kept: KeptAccount) -> None:
            if held.bare == SECOND:
                raise ZeroDivisionError
            restore(held, kept)

        self.patch(HeldAccount, "restore", faulty)
        for _ in range(4):
            self.clock.turn()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        in_rooms = {account.bare for account, _stream in self.accounts.with_streams() if account.rooms}
        self.assertEqual(in_rooms, {FIRST, LAST, BARE})


class FaultTest(SynchronousTestCase):
    def test_a_fault_of_ours_is_known(self) -> None:
        """In what is done when all are there, as in what restores them."""

        def fails(*_what: object) -> None:
            raise ZeroDivisionError

        clock, kept = Turns(), [KeptAccount(FIRST, None, False, NOW, [])]
        for restore, done in ((lambda _kept: None, fails), (fails, lambda: None)):
            Returning(clock, restore).begin(kept, done)
            gc.collect()
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class SeenClientsTests(AccountsTest):
    """Two accounts with clients, one of which is noted in a turn."""

    clock: Turns

    def setUp(self) -> None:
        super().setUp()
        self.patch(seen_clients, "AT_ONCE", 1)
        self.clock = Turns()
        self.clock.advance(NOW)
        self.accounts = self.made(stay=30 * DAY, bookmarks="off")
        self.noted: list[str] = []
        self.faulty = ""

        def stays(login: AccountLogin) -> None:
            self.noted.append(login.bare)
            if login.bare == self.faulty:
                raise ZeroDivisionError

        self.patch(AccountLogin, "client_stays", stays)
        self.accounts.startService()
        self.accounts.restore([self.kept(bare=SECOND, rooms=ROOMS)])
        for bare in (FIRST, LAST):
            session = FakeSession("phone", self.clock)
            session.jid = f"{bare}/phone"
            self.accounts.session_bound(session, LOGIN)

    def test_one_in_a_turn(self) -> None:
        for times in (1, 2):
            self.noted.clear()
            self.clock.advance(SEEN_INTERVAL)
            seen = [list(self.noted)]
            for _ in range(4):
                self.clock.turn()
                seen.append(list(self.noted))
            self.assertEqual((seen[0], seen[-1]), ([], [FIRST, LAST]), times)
            self.assertIn([FIRST], seen)

    def test_a_fault_costs_no_other_account(self) -> None:
        self.faulty = FIRST
        self.clock.advance(SEEN_INTERVAL)
        for _ in range(4):
            self.clock.turn()
        self.assertEqual(self.noted, [FIRST, LAST])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_one_is_forgotten_meanwhile(self) -> None:
        self.clock.advance(SEEN_INTERVAL)
        self.accounts.forget(LAST)
        for _ in range(4):
            self.clock.turn()
        self.assertEqual(self.noted, [FIRST])

    def test_the_proxy_ends_meanwhile(self) -> None:
        self.clock.advance(SEEN_INTERVAL)
        self.accounts.stopService()
        for _ in range(4):
            self.clock.turn()
        self.assertNotIn(LAST, self.noted)
