"""What is asked of the running proxy by `minimixproxy forget`: addresses, and when it says that it is done."""

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.operator.forget import PATIENCE, Forgetting


class ForgettingTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.done: Deferred[bool] = Deferred()
        self.forgetting = Forgetting(self, self.clock)

    def forget(self, bare: str) -> Deferred[bool]:
        self.asked.append(bare)
        return self.done

    def answer(self, account: object) -> Deferred[dict[str, Any]]:
        return self.forgetting.answer({"request": "forget", "account": account})

    def test_forgotten(self) -> None:
        """It is said when it is on disk."""
        answer = self.answer("Alice@A.TEST")
        self.assertNoResult(answer)
        self.done.callback(True)
        self.assertEqual(self.successResultOf(answer), {"account": "alice@a.test", "known": True})
        self.assertEqual((self.asked, self.clock.getDelayedCalls()), (["alice@a.test"], []))

    def test_not_known(self) -> None:
        answer = self.answer("alice@a.test")
        self.done.callback(False)
        self.assertEqual(self.successResultOf(answer), {"account": "alice@a.test", "known": False})

    def test_state_cannot_be_written(self) -> None:
        answer = self.answer("alice@a.test")
        self.clock.advance(PATIENCE)
        self.assertIn("alice@a.test is forgotten, but state cannot be", self.successResultOf(answer)["error"])
        self.done.callback(True)  # a while later

    def test_no_account(self) -> None:
        for account in (None, 5, "", "a.test", "@a.test", "alice@", "alice@a.test/phone", "a\n@a.test", "\ud800@b"):
            self.assertIn("error", self.successResultOf(self.answer(account)), account)
        self.assertEqual(self.asked, [])
