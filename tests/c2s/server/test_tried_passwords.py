"""Passwords that are tried by those who have logged in already count as logins do."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.server.login_attempts import LoginAttempts
from minimixproxy.config.settings import Limits

ALICE = "alice@a.test"


class Wrong(Exception):
    """What is counted."""


class TooMany(Exception):
    """What is said then."""


class TriedTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        limits = Limits(failed_logins=2, failed_login_delay=10, failed_login_delay_max=1000, authentication_timeout=60)
        self.attempts = LoginAttempts(limits, self.clock)
        self.asked: list[Deferred[str]] = []

    def ask(self) -> Deferred[str]:
        self.asked.append(Deferred())
        return self.asked[-1]

    def tried(self, account: str = ALICE) -> Deferred[str]:
        return Deferred.fromCoroutine(self.attempts.tried(account, self.ask, Wrong, TooMany()))

    def test_one_after_the_other(self) -> None:
        first, second, other = self.tried(), self.tried(), self.tried("bob@a.test")
        self.assertEqual(len(self.asked), 2)
        self.asked[0].callback("right")
        self.assertEqual((self.successResultOf(first), len(self.asked)), ("right", 3))
        self.assertNoResult(second)
        self.assertNoResult(other)

    def wrong(self, times: int) -> None:
        for _ in range(times):
            tried = self.tried()
            self.asked.pop().errback(Wrong())
            self.failureResultOf(tried, Wrong)

    def test_delayed(self) -> None:
        self.wrong(3)
        tried = self.tried()
        self.clock.advance(9.9)
        self.assertEqual(self.asked, [])
        self.clock.advance(0.1)
        self.asked.pop().callback("right")
        self.successResultOf(tried)
        self.tried()
        self.assertEqual(len(self.asked), 1, "what was wrong before is forgotten")

    def test_too_many(self) -> None:
        self.wrong(3)
        for _ in range(4):
            tried = self.tried()
            self.clock.advance(30)
            if self.asked:
                self.asked.pop().errback(Wrong())
                self.failureResultOf(tried, Wrong)
            else:
                self.failureResultOf(tried, TooMany)
        self.assertEqual(self.asked, [])
        self.failureResultOf(self.tried(), TooMany)

    def test_other_faults_count_nothing(self) -> None:
        for _ in range(10):
            tried = self.tried()
            fault: Any = ZeroDivisionError()
            self.asked.pop().errback(fault)
            self.failureResultOf(tried, ZeroDivisionError)
        self.tried()
        self.assertEqual(len(self.asked), 1)
