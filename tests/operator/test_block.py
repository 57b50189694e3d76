"""Blocking accounts: what the proxy answers the operator, and what the commands print."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.operator import block
from minimixproxy.operator.block import Blocking, OnDisk
from minimixproxy.storage import blocked_accounts
from minimixproxy.storage.blocked_accounts import BlockedAccounts
from minimixproxy.storage.gate import Gate
from minimixproxy.storage.gathering import Gathering
from minimixproxy.timing.turn_end import TurnEnd
from tests.operator.cases import CommandCase

BARE = "alice@a.test"


class BlockingTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.blocks = BlockedAccounts(Gathering(Gate(TurnEnd(Clock())), lambda _batch: None))
        self.durable, self.waiting = True, list[Callable[[], None]]()
        on_disk = OnDisk(self.waiting.append, lambda: self.durable)
        self.answers = Blocking(self.blocks, self, lambda domain: domain == "a.test", on_disk, lambda: 7.0)

    def blocked(self, bare: str) -> int:
        self.assertIn(bare, self.blocks, "no login may slip in while sessions end")
        self.told.append(("blocked", bare))
        return 2

    def unblocked(self, bare: str) -> None:
        self.assertNotIn(bare, self.blocks)
        self.told.append(("unblocked", bare))

    def block(self, account: object, **more: object) -> dict[str, Any]:
        return self.result(self.answers.block({"account": account, **more}))

    def unblock(self, account: object) -> dict[str, Any]:
        return self.result(self.answers.unblock({"account": account}))

    def result(self, answer: Deferred[dict[str, Any]]) -> dict[str, Any]:
        if self.waiting:
            self.assertNoResult(answer)  # it is not on disk yet
            self.waiting.pop()()
        return self.successResultOf(answer)

    def test_it_is_one_account_however_it_is_written(self) -> None:
        self.assertEqual(self.block("ALICE@A.Test", reason="spam"), {"account": BARE, "new": True, "sessions": 2})
        self.assertEqual(self.block(BARE, reason="spam!")["new"], False)
        self.assertEqual(self.told, [("blocked", BARE)] * 2)
        listed = {"blocked": [{"account": BARE, "since": 7.0, "reason": "spam!"}], "total": 1}
        self.assertEqual(self.answers.blocked({}), listed)
        self.assertEqual(self.unblock("aLiCe@a.test"), {"account": BARE, "known": True})
        self.assertEqual(self.unblock(BARE), {"account": BARE, "known": False})
        self.assertEqual(self.told[2:], [("unblocked", BARE)])
        self.assertEqual(self.answers.blocked({}), {"blocked": [], "total": 0})

    def test_refused(self) -> None:
        for account in (None, 3, "", "@", "a.test", "alice@a.test/phone", "alice@elsewhere.test"):
            self.assertIn("error", self.block(account), account)
        for account in (None, 3, "", "@", "a.test", "alice@a.test/phone"):
            self.assertIn("error", self.unblock(account), account)
        for reason in (3, None, "x" * (block.MAX_REASON + 1), "two\nlines", "\x1b[2J"):
            self.assertIn("a reason is one line", self.block(BARE, reason=reason)["error"])
        self.assertEqual((self.told, len(self.blocks)), ([], 0))

    def test_a_domain_that_is_served_no_more_can_be_unblocked(self) -> None:
        self.blocks.put("bob@former.test", 1.0, "")
        self.assertTrue(self.unblock("bob@former.test")["known"])

    def test_too_many(self) -> None:
        self.patch(blocked_accounts, "MAX_ACCOUNTS", 1)
        self.block(BARE)
        self.assertIn("no place", self.block("bob@a.test")["error"])
        self.assertEqual(self.block(BARE)["new"], False)
        self.assertEqual(self.told, [("blocked", BARE)] * 2)

    def test_not_on_disk(self) -> None:
        self.durable = False
        for answer in (self.block(BARE), self.unblock(BARE)):
            self.assertIn("state cannot be written", answer["error"])
        self.assertEqual(len(self.told), 2)

    def test_of_many_the_first_are_told(self) -> None:
        self.patch(block, "MAX_TOLD", 2)
        for name in "cab":
            self.blocks.put(f"{name}@a.test", 1.0, "")
        answer = self.answers.blocked({})
        self.assertEqual([entry["account"] for entry in answer["blocked"]], ["a@a.test", "b@a.test"])
        self.assertEqual(answer["total"], 3)


class CommandTests(CommandCase):
    def test_each(self) -> None:
        for arguments, request, answer, said in (
            (
                ("block", "ALICE@a.test", "--reason", "why"),
                {"request": "block", "account": BARE, "reason": "why"},
                {"account": BARE, "new": True, "sessions": 3},
                f"{BARE}: blocked; 3 sessions ended\n",
            ),
            (
                ("block", BARE),
                {"request": "block", "account": BARE, "reason": ""},
                {"account": BARE, "new": False, "sessions": 0},
                f"{BARE}: was blocked before, blocked; 0 sessions ended\n",
            ),
            (
                ("unblock", BARE),
                {"request": "unblock", "account": BARE},
                {"account": BARE, "known": True},
                f"{BARE}: unblocked\n",
            ),
            (
                ("unblock", BARE),
                {"request": "unblock", "account": BARE},
                {"account": BARE, "known": False},
                f"{BARE}: was not blocked\n",
            ),
            (("blocked",), {"request": "blocked"}, {"blocked": [], "total": 0}, "no account is blocked\n"),
            (
                ("blocked",),
                {"request": "blocked"},
                {"blocked": [{"account": BARE, "since": 0.0, "reason": "a\x1bb"}], "total": 2},
                f"{BARE}  since 1970-01-01 00:00 UTC  a\\x1bb\nand 1 more\n",
            ),
        ):
            for json_wanted in (False, True):
                self.serve(json.dumps(answer).encode() + b"\n")
                options = ("--json",) if json_wanted else ()
                code, output, errors = self.run_command(
                    arguments[0], "--config", str(self.file), *options, *arguments[1:]
                )
                self.assertEqual((code, errors), (0, ""), arguments)
                self.assertEqual(json.loads(output) if json_wanted else output, answer if json_wanted else said)
                self.assertEqual(json.loads(self.requests.pop()), request)
                (self.directory / "control").unlink()

    def test_refused(self) -> None:
        self.serve(b'{"error": "alice@a.test: its domain is not served by this proxy"}\n')
        result = self.run_command("block", "--config", str(self.file), BARE)
        self.assertEqual(result, (1, "", f"minimixproxy: {BARE}: its domain is not served by this proxy\n"))
