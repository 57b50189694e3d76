"""The demo's checks: what does not come true fails."""

import contextlib
import io

from twisted.internet.defer import Deferred, succeed
from twisted.trial import unittest

from demo.narrator import Narrator, StepFailed


class Onlooker:
    name = "bob"

    def __init__(self, *seen: str) -> None:
        self.seen = list(seen)

    def sees(self, what: str) -> "Deferred[None]":
        if what not in self.seen:
            raise StepFailed(f"expected: {what}")
        self.seen.remove(what)
        return succeed(None)

    def catches_up(self) -> "Deferred[None]":
        return succeed(None)


class NarratorTests(unittest.TestCase):
    def setUp(self) -> None:
        self.said = io.StringIO()
        redirected = contextlib.redirect_stdout(self.said)
        redirected.__enter__()
        self.addCleanup(redirected.__exit__, None, None, None)
        self.narrator = Narrator()

    async def test_what_is_seen_is_told(self) -> None:
        bob = Onlooker("alice comes")
        await self.narrator.sees(bob, "alice comes")
        self.assertIn("bob           sees   alice comes", self.said.getvalue())
        await self.narrator.nothing_more(bob)

    async def test_what_is_not_seen_fails(self) -> None:
        with self.assertRaises(StepFailed):
            await self.narrator.sees(Onlooker(), "alice comes")

    async def test_more_than_was_told_fails(self) -> None:
        with self.assertRaisesRegex(StepFailed, "bob sees nothing else, but also saw: alice comes"):
            await self.narrator.nothing_more(Onlooker("alice comes"))

    def test_lists(self) -> None:
        self.narrator.equal("bob", "has in the room", ["alice", "bob"], ("alice", "bob"))
        with self.assertRaisesRegex(StepFailed, "found: alice, alice"):
            self.narrator.equal("bob", "has in the room", ["alice", "alice"], ("alice", "bob"))

    def test_failure_names_the_step(self) -> None:
        self.narrator.step("first")
        self.narrator.step("second")
        self.narrator.failed("no answer")
        self.assertIn("FAILED at step 2\n   no answer", self.said.getvalue())
