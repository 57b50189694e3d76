"""A new password is tried at the server: what counts of an answer that nobody waits for any more, and of faults."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred

from minimixproxy.accountstream.errors import CannotOpen
from minimixproxy.accountstream.password_check import RETRIES
from tests.accountstream.test_accounts import DAY, KEPT, AccountsTest
from tests.minimix.fakes import BARE
from tests.minimix.upstreams import LOGIN


class PasswordCheckTests(AccountsTest):
    def prove(self, login: Any) -> Deferred[None]:
        """An attempt that has gone too far to be stopped: it ends well all the same."""
        self.proofs.append((login, Deferred(lambda attempt: attempt.callback(None))))
        return self.proofs[-1][1]

    def joined_and_changed(self) -> None:
        self.joined()
        self.logins.kept = replace(KEPT, salt=b"other")  # what is kept of the new password
        self.accounts.password_changed(BARE, "new")

    def test_an_answer_that_nobody_waits_for(self) -> None:
        """The first new password is right; but it is not the last, which the server has not judged yet."""
        self.joined_and_changed()
        self.accounts.password_changed(BARE, "newer")
        self.assertTrue(self.proofs[0][1].called)
        self.assertEqual(self.journal.take(), [], "nothing is proved")
        self.proofs[1][1].callback(None)
        self.assertEqual([said[0] for said in self.journal.take()], ["kept"])

    def test_an_answer_behind_a_login(self) -> None:
        self.joined_and_changed()
        later = replace(LOGIN, username="Alice")
        self.session("laptop", later)
        self.breaks()
        self.clock.advance(2)
        self.assertEqual(self.used[-1], later)

    def test_an_answer_behind_the_end(self) -> None:
        self.joined_and_changed()
        self.journal.take()
        self.accounts.stopService()
        self.assertEqual(self.journal.take(), [])

    def test_a_fault_of_ours(self) -> None:
        """It is logged, and not tried again and again: the next attempt would meet it, too."""
        self.joined_and_changed()
        self.proofs[0][1].errback(ZeroDivisionError("a fault"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.clock.advance(sum(RETRIES))
        self.assertEqual((len(self.proofs), self.journal.take()), (1, []))

    def test_a_server_that_cannot_be_reached_and_another_password(self) -> None:
        """The first one is not tried again: it is not the account's any more."""
        self.joined_and_changed()
        self.proofs[0][1].errback(CannotOpen("down"))
        self.accounts.password_changed(BARE, "newer")
        self.proofs[1][1].callback(None)
        self.clock.advance(DAY)
        self.assertEqual(len(self.proofs), 2)

    def test_a_server_that_cannot_be_reached_and_the_end(self) -> None:
        self.joined_and_changed()
        self.proofs[0][1].errback(CannotOpen("down"))
        self.accounts.stopService()
        self.clock.advance(DAY)
        self.assertEqual(len(self.proofs), 1)

    def test_no_attempt_behind_the_last(self) -> None:
        self.joined_and_changed()
        self.proofs[0][1].callback(None)
        self.clock.advance(DAY)
        self.assertEqual(len(self.proofs), 1)
