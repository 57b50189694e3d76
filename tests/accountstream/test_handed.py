"""An account goes to another process with its sessions: what becomes of its login, and that one fault costs one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.minimix.interfaces.handed import HandedAccount, HandedClient, HandedServer, HandedSession
from minimixproxy.minimix.interfaces.journal import KeptLogin
from tests.accountstream.test_accounts import (
    DAY,
    KEPT,
    KEPT_LOGIN,
    NOW,
    AccountsTest,
)
from tests.minimix.fakes import BARE, FakeSession
from tests.minimix.upstreams import login

OLD = KeptLogin("a.test", "alice", "sha256", b"salt", 4096, b"old client key", b"old server key")
BOB = "bob@a.test"


def handed_session(resource: str, kept: KeptLogin = KEPT, bare: str = BARE) -> HandedSession:
    client, server = HandedClient(resource, 600, 0, 0, ()), HandedServer("up", None, 0, (), 0, True)
    return HandedSession(f"{bare}/{resource}", "", "", False, b"", kept, client, server)


def handed(*sessions: HandedSession, time: float = NOW) -> HandedAccount:
    return HandedAccount(time, sessions, ())


class TakingTest(AccountsTest):
    def setUp(self) -> None:
        super().setUp()
        self.old_login = login()
        self.patch(self.logins, "revive", lambda kept, _bare: self.old_login if kept is OLD else KEPT_LOGIN)
        self.revived: list[FakeSession] = []

    def revive(self, session: HandedSession, login: Login) -> None:
        fake = FakeSession(session.jid.partition("/")[2], self.clock)
        fake.jid = session.jid
        self.revived.append(fake)
        self.accounts.session_restored(fake, login)

    def test_the_account_keeps_its_login(self) -> None:
        """A session may have begun with a password that is not good any more: the account has what came later."""
        self.accounts.take_over(
            [self.kept()], {BARE: handed(handed_session("phone"), handed_session("tv", OLD))}, self.revive
        )
        self.assertEqual(len(self.revived), 2)
        self.upstream.accept()
        self.enters()
        self.assertEqual(self.used, [KEPT_LOGIN])
        self.assertEqual([said for said in self.journal.take() if said[0] != "kept" or said[1] is not None], [])
        self.breaks()
        self.clock.advance(2)
        self.assertEqual(self.used, [KEPT_LOGIN, KEPT_LOGIN])

    def test_one_that_was_refused_stays_so(self) -> None:
        """What a session began with long ago does not mend that."""
        self.accounts.take_over([self.kept(refused=True)], {BARE: handed(handed_session("tv", OLD))}, self.revive)
        self.assertEqual((self.used, ("refused", False) in self.journal.take()), ([], False))

    def test_an_account_that_has_none_takes_a_sessions(self) -> None:
        self.accounts.take_over([], {BARE: handed(handed_session("phone"))}, self.revive)
        self.joins_by(self.revived[0])
        self.assertEqual(self.used, [KEPT_LOGIN])

    def joins_by(self, session: FakeSession) -> None:
        found = self.accounts.with_stream(BARE)
        assert found is not None
        self.account = found[0]
        self.joins(session)

    def test_too_late_for_all_sessions(self) -> None:
        """Nobody is there for an account that is in no room: it does not stay for ever."""
        self.accounts.take_over([], {BARE: handed(handed_session("phone"), time=NOW - DAY)}, self.revive)
        self.assertEqual(self.revived, [])
        self.assertFalse(self.accounts.knows(BARE))

    def test_an_account_that_nothing_is_kept_for(self) -> None:
        """It is let go when nobody is there, here at once; its session goes on all the same."""
        self.accounts = self.made(stay=0, bookmarks="off")
        for time, number in ((NOW - DAY, 0), (NOW, 1)):
            some = {BARE: handed(handed_session("phone"), time=time)}
            self.accounts.take_over([self.kept(rooms=[])], some, self.revive)
            self.assertEqual((len(self.revived), self.accounts.knows(BARE)), (number, bool(number)))
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_fault_costs_one_account(self) -> None:
        def fails(_kept: KeptLogin, bare: str) -> Login | None:
            if bare == BARE:
                raise ZeroDivisionError
            return KEPT_LOGIN

        self.patch(self.logins, "revive", fails)
        some = {BARE: handed(handed_session("phone")), BOB: handed(handed_session("phone", bare=BOB))}
        self.accounts.take_over([], some, self.revive)
        self.assertEqual([session.jid for session in self.revived], [f"{BOB}/phone"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class PartingTest(AccountsTest):
    """A session can be handed on; what becomes of the account here, until the other process has it."""

    def hands_on(self, session: FakeSession) -> None:
        def hand_on(_keep: Callable[[Any], KeptLogin], _shows: bytes) -> HandedSession:
            self.account.session_closed(session)
            return handed_session("phone")

        session.hand_on = hand_on  # type: ignore[method-assign,assignment]

    def dismissed(self) -> HandedAccount | None:
        gone = self.accounts.dismiss(BARE)
        self.clock.advance(0)
        return self.successResultOf(gone)

    def test_it_stays_until_it_is_gone(self) -> None:
        """Whatever becomes of one that nobody uses: somebody uses it."""
        self.accounts = self.made(stay=0, bookmarks="off")
        self.hands_on(self.session())
        self.journal.take()
        self.assertIsNotNone(self.dismissed())
        self.assertTrue(self.accounts.knows(BARE))
        self.assertNotIn(("expired", BARE), self.journal.take())
        self.accounts.drop(BARE)

    def test_it_leaves_no_rooms(self) -> None:
        """The other process comes back into them, even where an account leaves them with its last client."""
        self.accounts = self.made(stay=0, bookmarks="off")
        phone = self.joined()
        self.hands_on(phone)
        laptop = self.session("laptop")
        self.patch(laptop, "close", lambda *_why: self.account.session_closed(laptop))
        self.assertIsNotNone(self.dismissed())
        self.assertEqual((list(self.account.sessions), len(self.account.rooms)), ([], 1))
        self.assertNotIn(b"unavailable", self.upstream.take())

    def test_nothing_more_is_heard_when_they_go(self) -> None:
        """What a room said while the last of what it had said is on its way to sessions would come to nobody."""
        phone = self.joined()
        self.hands_on(phone)
        waiting: list[Callable[[], None]] = []
        self.patch(self.journal, "gated", lambda deliver: lambda call: waiting.append(partial(deliver, call)))
        gone = self.accounts.dismiss(BARE)
        self.assertEqual((self.upstream.transport.producerState, phone.waits), ("paused", 1))
        self.assertEqual(waiting, [], "what was read with what has led here is on its way first")
        self.clock.advance(0)
        self.assertNoResult(gone)
        waiting.pop()()
        self.clock.advance(0)
        self.assertIsNotNone(self.successResultOf(gone))
        self.accounts.drop(BARE)
        self.assertEqual(self.upstream.transport.producerState, "producing", "the server closes its stream, too")

    def test_one_that_is_to_be_forgotten(self) -> None:
        """It was, but for its sessions: the next process would keep it again."""
        self.hands_on(self.session())
        self.account.forget()
        self.assertIsNone(self.dismissed())

    def test_a_fault_costs_one_session(self) -> None:
        phone, laptop = self.session(), self.session("laptop")
        self.hands_on(phone)

        def fails(*_: object) -> None:
            raise ZeroDivisionError

        laptop.hand_on = fails  # type: ignore[assignment]
        found = self.dismissed()
        assert found is not None
        self.assertEqual((len(found.sessions), laptop.closed), (1, "system-shutdown"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_fault_while_they_settle(self) -> None:
        """Nobody waits for ever."""
        phone = self.session()
        self.patch(phone, "when_settled", fails_at_once)
        self.assertIsNone(self.dismissed())
        self.assertEqual(phone.closed, "system-shutdown")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


def fails_at_once(_call: Callable[[], None]) -> None:
    raise ZeroDivisionError
