"""An account that the operator blocks: its sessions and its stream end, and what is kept of it stays."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from minimixproxy.accountstream.account_login import LoginContext
from minimixproxy.accountstream.accounts import Accounts
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.accountstream.stream import AccountStream
from minimixproxy.config.settings import Settings
from minimixproxy.minimix.interfaces.enrolling import NotEnrolled
from minimixproxy.minimix.occupancy.phases import State
from tests.accountstream.test_accounts import NEW_LOGIN, AccountsTest
from tests.known_keys import Unguarded
from tests.minimix.fakes import BARE, ROOM


class BlockedTest(AccountsTest):
    def with_settings(self, settings: Settings, *_resource: object) -> Accounts:
        self.blocks: set[str] = set()
        return Accounts(
            LoginContext(
                settings,
                self.clock,
                self.journal,
                self.logins,
                lambda _bare: "",
                self.enrolled,
                Unguarded(),
                self.blocks,
            )
        )

    def block(self) -> int:
        self.blocks.add(BARE)
        return self.accounts.blocked(BARE)

    def unblock(self) -> None:
        self.blocks.discard(BARE)
        self.accounts.unblocked(BARE)

    @property
    def stream(self) -> AccountStream:
        ((_account, stream),) = self.accounts.with_streams()
        return stream

    def test_its_sessions_and_its_stream_end(self) -> None:
        phone = self.joined()
        laptop = self.session("laptop")
        self.journal.take()
        self.assertEqual(self.block(), 2)
        for session in (phone, laptop):
            self.assertEqual(session.closed, "not-authorized")
        self.assertIn(b"</stream:stream>", self.upstream.take())
        self.assertIs(self.stream.state, StreamState.REFUSED)
        self.assertEqual([room.state for room in self.account.rooms.values()], [State.INTERRUPTED])
        self.clock.advance(600)
        self.assertEqual(self.upstream.attempts, [], "nobody logs in for it")
        self.assertNotIn("forgotten", [entry[0] for entry in self.journal.take()])
        (kept,) = self.accounts.kept()
        self.assertEqual([room.room for room in kept.rooms], [ROOM])
        self.assertFalse(kept.refused)

    def test_it_comes_back(self) -> None:
        self.joined()
        self.block()
        self.clock.advance(5)
        self.unblock()
        self.clock.advance(5)
        self.upstream.accept()
        self.enters()

    def test_nothing_else_opens_its_stream(self) -> None:
        """What sends by it is dropped, and nothing is noted of its login."""
        self.joined()
        self.block()
        self.journal.take()
        for _ in range(3):
            self.stream.send(b"<iq/>")
            self.clock.advance(200)
        self.assertEqual((self.upstream.attempts, self.stream.state), ([], StreamState.REFUSED))
        self.assertEqual(self.journal.take(), [])
        self.assertFalse(self.account.is_enrolled)

    def test_after_a_restart(self) -> None:
        self.blocks.add(BARE)
        self.restored()
        self.clock.advance(600)
        self.assertEqual((self.upstream.attempts, self.stream.state), ([], StreamState.REFUSED))
        self.unblock()
        self.clock.advance(5)
        self.upstream.accept()
        self.enters()

    def test_it_was_blocked_between_its_login_and_its_session(self) -> None:
        self.blocks.add(BARE)
        session = self.session()
        self.assertIsNone(session.closed)
        self.clock.advance(0)
        self.assertEqual(session.closed, "not-authorized")

    def test_nobody(self) -> None:
        self.assertEqual(self.block(), 0)
        self.unblock()

    def test_it_is_not_enrolled(self) -> None:
        self.blocks.add(BARE)
        self.failureResultOf(Deferred.fromCoroutine(self.accounts.enrolling.by_password(BARE, "pencil")), NotEnrolled)
        self.assertEqual(self.proofs, [])

    def test_another_login_does_not_help(self) -> None:
        """A client may have logged in anew just before it, and be told of it just after."""
        self.joined()
        self.block()
        self.accounts.logged_in(BARE, NEW_LOGIN)
        self.clock.advance(600)
        self.assertEqual(self.upstream.attempts, [])
