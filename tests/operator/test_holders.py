"""Commands about accounts in a cluster: done where the account is held, and nowhere else."""

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.operator.enroll import MAX_ACCOUNTS
from minimixproxy.operator.holders import answered_by_holder

HERE, THERE = "alice@example.org", "bob@example.org"
WHY = "it is held by node-b (b:5270): ask there"


async def elsewhere(bare: str) -> str:
    return WHY if bare == THERE else ""


class HolderTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def answer(self, request: dict[str, Any], *, later: bool = False) -> dict[str, Any]:
        def answered(request: dict[str, Any]) -> dict[str, Any] | Deferred[dict[str, Any]]:
            self.asked.append(request)
            answer = {"done": True, "refused": [("eve", "no")]} if "accounts" in request else {"done": True}
            return succeed(answer) if later else answer

        found = answered_by_holder(answered, elsewhere)(request)
        assert isinstance(found, Deferred)
        return self.successResultOf(found)

    def test_here(self) -> None:
        for later in (False, True):
            self.assertEqual(self.answer({"account": HERE, "reason": "r"}, later=later), {"done": True})
        self.assertEqual(self.asked, [{"account": HERE, "reason": "r"}] * 2)

    def test_there(self) -> None:
        """However it is written."""
        for named in (THERE, "Bob@Example.Org"):
            self.assertEqual(self.answer({"account": named}), {"error": WHY})
        self.assertEqual(self.asked, [])

    def test_what_is_about_no_account(self) -> None:
        """Or about what is none: the answer says so itself."""
        for request in ({}, {"account": 7}, {"account": "no account"}, {"accounts": 7}):
            self.answer(dict(request))
            self.assertEqual(self.asked[-1], request)

    def test_a_list(self) -> None:
        keys: list[Any] = [[HERE, []], [THERE, []], [7, []], [], "x"]
        answer = self.answer({"accounts": keys})
        self.assertEqual(answer, {"done": True, "refused": [("eve", "no"), (THERE, WHY)]})
        self.assertEqual(self.asked, [{"accounts": [keys[0], *keys[2:]]}])

    def test_a_list_that_is_too_long(self) -> None:
        """Nobody is asked for any of it: the answer refuses it as a whole."""
        keys = [[THERE, []]] * (MAX_ACCOUNTS + 1)
        self.answer({"accounts": keys})
        self.assertEqual(self.asked, [{"accounts": keys}])
