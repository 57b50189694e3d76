"""What is asked of the running proxy by `minimixproxy enroll`, and what it answers."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.minimix.interfaces.enrolling import CannotKeep, Enrolled, NotEnrolled
from minimixproxy.operator.enroll import MAX_ACCOUNTS, PATIENCE, EnrollingAnswers
from minimixproxy.sasl.keys import Keys

BARE = "alice@a.test"
KEYS = Keys("sha1", b"salt", 4096, b"\x01" * 20, b"\x02" * 20)


def fields(keys: Keys = KEYS) -> list[Any]:
    secrets = [b64encode(key or b"").decode() for key in (keys.salt, keys.stored_key, keys.server_key)]
    return [keys.hash_name, secrets[0], keys.iterations, *secrets[1:]]


class EnrollCase(unittest.SynchronousTestCase):
    """With accounts of a.test, of which one is refused a place."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[str, str]] = []
        self.result: Deferred[Enrolled] = Deferred()
        self.kept: dict[str, list[Keys]] = {}
        self.waiting: list[Callable[[], None]] = []  # for the disk
        self.durable = True
        self.answers = EnrollingAnswers(self, self.waiting.append, lambda: self.durable, self.clock)

    def serves(self, domain: str) -> bool:
        return domain == "a.test"

    def by_password(self, bare: str, password: str) -> Deferred[Enrolled]:
        self.asked.append((bare, password))
        return self.result

    def by_keys(self, bare: str, keys: Iterable[Keys]) -> bool:
        if bare.startswith("full"):
            return False
        self.kept[bare] = list(keys)
        return True

    def on_disk(self) -> None:
        for done in self.waiting:
            done()
        self.waiting.clear()


class ByPasswordTests(EnrollCase):
    def enroll(self, account: object = BARE, password: object = "pencil") -> Deferred[dict[str, Any]]:
        return self.answers.enroll({"request": "enroll", "account": account, "password": password})

    def test_enrolled(self) -> None:
        """It is said when it is on disk."""
        for enrolled in (Enrolled("sha1"), Enrolled(None), Enrolled(None, lasts=False)):
            self.setUp()
            answer = self.enroll("ALICE@a.test", "pëncil")
            self.result.callback(enrolled)
            self.assertNoResult(answer)
            self.on_disk()
            expected = {"account": BARE, "hash": enrolled.hash_name, "lasts": enrolled.lasts}
            self.assertEqual(self.successResultOf(answer), expected)
            self.assertEqual((self.asked, self.clock.getDelayedCalls()), ([(BARE, "pëncil")], []))

    def test_not_enrolled(self) -> None:
        for error, expected in (
            (NotEnrolled("the server is away"), {"error": "the server is away"}),
            (CannotKeep("PLAIN only"), {"error": "PLAIN only", "in_vain": True}),
        ):
            self.setUp()
            answer = self.enroll()
            self.result.errback(error)
            found = self.successResultOf(answer)
            self.assertEqual((found, self.waiting), (expected, []))

    def test_bad_requests(self) -> None:
        accounts: list[object] = [None, 5, "", "a.test", "alice@a.test/phone", "a\n@a.test"]
        passwords: list[object] = [None, 5, "", "x" * 1024, "ü" * 512, ["x"]]
        for account, password in (*((one, "pencil") for one in accounts), *((BARE, one) for one in passwords)):
            answer = self.successResultOf(self.enroll(account, password))
            self.assertEqual(set(answer), {"error"}, (account, password))
        self.assertEqual(self.asked, [])

    def test_too_slow(self) -> None:
        given_up: list[object] = []
        self.result = Deferred(given_up.append)
        answer = self.enroll()
        self.clock.advance(PATIENCE)
        self.assertIn("did not answer within 60 seconds", self.successResultOf(answer)["error"])
        self.assertEqual(len(given_up), 1)

    def test_a_slow_server_and_a_slow_disk(self) -> None:
        """What is kept by then is not said to be lost: the time is the server's alone, and the disk has its own."""
        answer = self.enroll()
        self.clock.advance(PATIENCE - 1)
        self.result.callback(Enrolled("sha1"))
        self.clock.advance(2)
        self.assertNoResult(answer)
        self.on_disk()
        self.assertEqual(self.successResultOf(answer), {"account": BARE, "hash": "sha1", "lasts": True})
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_disk(self) -> None:
        self.durable = False
        answer = self.enroll()
        self.result.callback(Enrolled("sha1"))
        self.on_disk()
        self.assertIn("state cannot be written", self.successResultOf(answer)["error"])


class ByKeysTests(EnrollCase):
    def take(self, *accounts: object) -> dict[str, Any]:
        answer = self.answers.take_keys({"accounts": list(accounts)})
        self.assertNoResult(answer)
        self.on_disk()
        return self.successResultOf(answer)

    def test_kept(self) -> None:
        other = Keys("sha256", b"pepper", 10_000, b"\x03" * 32, b"\x04" * 32)
        answer = self.take([BARE, [fields(), fields(other)]], ["Bob@a.test", [fields()]])
        self.assertEqual(answer, {"kept": 2, "refused": []})
        self.assertEqual(self.kept, {BARE: [KEYS, other], "bob@a.test": [KEYS]})

    def test_refused(self) -> None:
        """Each of them alone."""
        bad: list[tuple[Any, str]] = [
            (["alice@b.test", [fields()]], "alice@b.test"),
            (["full@a.test", [fields()]], "full@a.test"),
            (["a.test", [fields()]], "a.test"),
            ([5, [fields()]], "5"),
            (["x@a.test", [fields()[:4]]], "x@a.test"),
            (["x@a.test", [[*fields(), ""]]], "x@a.test"),
            (["x@a.test", ["12345"]], "x@a.test"),
            (["x@a.test", [5]], "x@a.test"),
            (["x@a.test", "12345"], "x@a.test"),
            (["x@a.test"], "x@a.test"),
            (["x" * 5000], "x" * 200),
            ([], ""),
            ({}, ""),
            (None, ""),
            (["x@a.test", [fields(KEYS._replace(hash_name="md5"))]], "x@a.test"),
            (["x@a.test", [[["sha1"], *fields()[1:]]]], "x@a.test"),
            (["x@a.test", [fields(KEYS._replace(salt=b""))]], "x@a.test"),
            (["x@a.test", [fields(KEYS._replace(iterations=1))]], "x@a.test"),
            (["x@a.test", [["sha1", "!", 4096, "", ""]]], "x@a.test"),
            (["x@a.test", [["sha1", 5, "4096", None, []]]], "x@a.test"),
        ]
        answer = self.take(*(entry for entry, _ in bad), [BARE, [fields()]])
        self.assertEqual((answer["kept"], self.kept), (1, {BARE: [KEYS]}))
        self.assertEqual([what for what, _why in answer["refused"]], [what for _, what in bad])

    def test_bad_requests(self) -> None:
        too_many = [["x@a.test", []]] * (MAX_ACCOUNTS + 1)
        bad: list[object] = [None, 5, "x", {}, too_many]
        for accounts in bad:
            answer = self.successResultOf(self.answers.take_keys({"accounts": accounts}))
            self.assertEqual(set(answer), {"error"})
        self.assertEqual(self.kept, {})

    def test_the_disk(self) -> None:
        self.durable = False
        self.assertIn("state cannot be written", self.take([BARE, [fields()]])["error"])
