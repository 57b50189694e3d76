"""Accounts are told of another configuration in slices, and some come and go meanwhile."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred

from minimixproxy.accountstream import reconfiguring
from minimixproxy.accountstream.accounts import Accounts
from minimixproxy.accountstream.errors import CannotOpen
from minimixproxy.accountstream.held_account import HeldAccount
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.accountstream.reconfiguring import AS_MANY_OTHERS, AT_ONCE
from minimixproxy.config.settings import Domain, Limits, Rooms, Settings
from tests.accountstream.test_accounts import DAY, KEPT_LOGIN, NEW_LOGIN, NOW, AccountsTest
from tests.minimix.fakes import BARE, FakeSession
from tests.timing.turns import Turns

OTHERS = [f"{name}@a.test" for name in ("bob", "carol", "dave")]
PING, OTHER_PING = 300.0, 7.0


class ReconfiguringCase(AccountsTest):
    """Four accounts, each in a room, none of which is open yet; one is told in a turn."""

    clock: Turns

    def setUp(self) -> None:
        super().setUp()
        self.patch(reconfiguring, "AT_ONCE", 1)
        self.clock = Turns()
        self.clock.advance(NOW)
        self.settings = Settings.model_construct(
            rooms=Rooms(stay=30 * DAY, bookmarks="off", ping_interval=PING),
            domain={"a.test": Domain(name="a.test"), "b.test": Domain(name="b.test")},
            limits=Limits(),
        )
        self.accounts: Accounts = self.with_settings(self.settings)
        self.told: list[str] = []
        self.faulty = ""
        tell = HeldAccount.settings_changed

        def settings_changed(held: HeldAccount, *, served: bool) -> bool:
            self.told.append(held.bare)
            if held.bare == self.faulty:
                raise ZeroDivisionError
            return tell(held, served=served)

        self.patch(HeldAccount, "settings_changed", settings_changed)
        self.accounts.restore([self.kept(bare=bare) for bare in (BARE, *OTHERS)])

    def reloads(self, *domains: str) -> Deferred[None]:
        """Another configuration has these domains, each anew, and another interval of pings."""
        self.settings.rooms.take_over(Rooms(stay=30 * DAY, bookmarks="off", ping_interval=OTHER_PING))
        self.settings.domain.clear()
        self.settings.domain.update({name: Domain(name=name) for name in domains})
        return self.accounts.reconfiguring.commit()

    def all_told(self, telling: Deferred[None]) -> None:
        for _ in range(10):
            self.clock.turn()
        self.successResultOf(telling)

    def states(self) -> dict[str, StreamState]:
        return {account.bare: stream.state for account, stream in self.accounts.with_streams()}

    def intervals(self) -> set[float]:
        return {stream.options.ping_interval for _account, stream in self.accounts.with_streams()}


class ReconfiguringTests(ReconfiguringCase):
    def test_one_in_a_turn(self) -> None:
        telling = self.reloads("a.test", "b.test")
        for number in (1, 2, 3, 4):
            self.assertEqual(len(self.told), number)
            self.assertNoResult(telling)
            self.clock.turn()
        self.successResultOf(telling)
        self.assertEqual((self.told, self.intervals()), ([BARE, *OTHERS], {OTHER_PING}))

    def test_one_whose_domain_goes_is_as_much_as_many(self) -> None:
        self.patch(reconfiguring, "AT_ONCE", 2 * AS_MANY_OTHERS)
        telling = self.reloads("b.test")
        self.assertEqual(self.told, [BARE, OTHERS[0]])
        self.all_told(telling)
        self.assertEqual(set(self.states().values()), {StreamState.REFUSED})

    def test_many_of_the_others_in_a_turn(self) -> None:
        self.patch(reconfiguring, "AT_ONCE", AT_ONCE)
        self.successResultOf(self.reloads("a.test"))
        self.assertEqual(len(self.told), 4)

    def test_one_goes_meanwhile(self) -> None:
        telling = self.reloads("a.test")
        gone = OTHERS[1]
        self.accounts.forget(gone)
        self.all_told(telling)
        self.assertEqual(self.told, [BARE, OTHERS[0], OTHERS[2]])

    def test_one_comes_meanwhile_and_one_comes_again(self) -> None:
        telling = self.reloads("a.test")
        self.accounts.forget(OTHERS[1])
        for bare in ("new@a.test", OTHERS[1]):
            self.accounts.restore([self.kept(bare=bare)])
        self.all_told(telling)
        self.assertEqual(self.told, [BARE, OTHERS[0], OTHERS[2]], "these know no other configuration")
        self.assertEqual((len(self.states()), self.intervals()), (5, {OTHER_PING}))

    def test_a_fault_costs_no_other_account(self) -> None:
        self.faulty = OTHERS[0]
        self.all_told(self.reloads())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.told, [BARE, *OTHERS])

    def test_the_proxy_ends_meanwhile(self) -> None:
        telling = self.reloads("a.test")
        self.accounts.startService()
        self.accounts.stopService()
        self.successResultOf(telling)
        self.clock.turn()
        self.assertEqual(self.told, [BARE])


class ServedLaterTests(ReconfiguringCase):
    """The proxy has started without the domain, for a mistake in its configuration, say."""

    def setUp(self) -> None:
        super().setUp()
        self.settings.domain.pop("a.test")
        self.logins.revived = None
        self.patch(self.logins, "serves", lambda domain: domain in self.settings.domain)
        self.journal.take()
        self.accounts = self.with_settings(self.settings)
        self.accounts.restore([self.kept(bare=bare) for bare in (BARE, *OTHERS)])
        self.used.clear()

    def comes(self) -> None:
        self.logins.revived = KEPT_LOGIN
        self.all_told(self.reloads("a.test", "b.test"))
        self.clock.advance(1)

    def test_accounts_come_back(self) -> None:
        self.comes()
        self.assertEqual(set(self.states().values()), {StreamState.OPENING})
        self.assertEqual(self.used, [KEPT_LOGIN] * 4)

    def test_its_logins_are_not_refused_meanwhile(self) -> None:
        _account, stream = self.accounts.with_stream(BARE) or self.fail()
        stream.send(b"<message/>")
        self.clock.advance(1)
        self.assertEqual(self.journal.take(), [])
        self.comes()
        self.assertEqual(stream.state, StreamState.OPENING)


class ServedAgainTests(ReconfiguringCase):
    """A domain goes and comes again. A client may log in before its account is told so."""

    def setUp(self) -> None:
        super().setUp()
        self.all_told(self.reloads("b.test"))
        self.used.clear()

    def test_the_login_from_before(self) -> None:
        self.all_told(self.reloads("a.test"))
        self.clock.advance(1)
        self.assertEqual({one.domain for one in self.used}, {self.settings.domain["a.test"]})
        self.assertEqual(set(self.states().values()), {StreamState.OPENING})

    def test_a_client_is_faster(self) -> None:
        telling = self.reloads("a.test")
        session = FakeSession("phone", self.clock)
        session.jid = f"{OTHERS[2]}/phone"
        newest = replace(NEW_LOGIN, username="dave")
        self.accounts.session_bound(session, newest)
        self.all_told(telling)
        self.clock.advance(1)
        for attempt in self.upstream.attempts:
            attempt.errback(CannotOpen("for now"))
        self.used.clear()
        self.clock.advance(600)
        self.assertIn(newest.credential, [one.credential for one in self.used])
        self.assertEqual({one.domain for one in self.used}, {self.settings.domain["a.test"]})
