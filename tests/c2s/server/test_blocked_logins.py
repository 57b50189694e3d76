"""A blocked account is let in by no login, and only whose login is good is told so."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.server.exchanges.login_exchange import LoggedIn
from minimixproxy.c2s.server.login_attempts import LoginAttempts
from minimixproxy.c2s.transport.peers import Ends, Peer
from minimixproxy.config.settings import Limits
from minimixproxy.xep.sasl import SaslFailure
from tests.minimix.upstreams import login

PEER = Peer("192.0.2.1", Ends(None, None))


class BlockedTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.blocked = {"alice@a.test"}
        self.attempts = LoginAttempts(Limits(), Clock(), self.blocked)
        self.fault: SaslFailure | None = None

    async def work(self) -> LoggedIn:
        if self.fault is not None:
            raise self.fault
        return LoggedIn(None, login(self.name, "a.test"))

    def attempt(self, name: str) -> Deferred[LoggedIn]:
        self.name = name
        return Deferred.fromCoroutine(self.attempts.attempt("alice@a.test", PEER, self.work))

    def test_however_it_is_spelled(self) -> None:
        for name in ("alice", "ALICE", "\uff21lice"):
            failure = self.failureResultOf(self.attempt(name), SaslFailure)
            self.assertEqual(failure.value.condition, "account-disabled")
        self.successResultOf(self.attempt("alice2"))
        self.blocked.clear()
        self.successResultOf(self.attempt("alice"))

    def test_who_does_not_know_the_password_learns_nothing(self) -> None:
        self.fault = SaslFailure("not-authorized")
        failure = self.failureResultOf(self.attempt("alice"), SaslFailure)
        self.assertEqual(failure.value.condition, "not-authorized")
