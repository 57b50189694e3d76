"""The command `minimixproxy enroll`: what it reads, asks and prints."""

from __future__ import annotations

import getpass
import io
import json
import sqlite3
import sys
from collections.abc import Iterable
from contextlib import closing, redirect_stderr
from typing import Any

from twisted.trial import unittest

from minimixproxy.operator.asking import NoStatus, Refusal
from minimixproxy.operator.commands.enroll import NAMED, PROGRESS, Import
from minimixproxy.operator.enroll import MAX_ACCOUNTS
from minimixproxy.server_stores.records import Record, StoreError, Unusable
from tests.operator.cases import CommandCase
from tests.operator.test_enroll import KEYS, fields

BARE = "alice@a.test"
KEPT = json.dumps({"account": BARE, "hash": "sha1", "lasts": True}).encode() + b"\n"


class Input(io.TextIOWrapper):
    """Standard input, a terminal or not."""

    def __init__(self, content: bytes, *, terminal: bool = False) -> None:
        super().__init__(io.BytesIO(content))
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


class EnrollTests(CommandCase):
    def enroll(self, *arguments: str, given: bytes = b"pencil\n") -> tuple[int, str, str]:
        self.patch(sys, "stdin", Input(given))
        return self.run_command("enroll", "--config", str(self.file), *arguments)

    def test_password_from_standard_input(self) -> None:
        for given, password in (
            (b"pencil\n", "pencil"),
            (b"p\xc3\xa4ss word\r\nmore\n", "päss word"),
            (b" no end", " no end"),
        ):
            self.serve(KEPT)
            self.assertEqual(self.enroll("ALICE@a.test", given=given), (0, f"{BARE}: enrolled\n", ""))
            request = json.loads(self.requests.pop())
            self.assertEqual(request, {"request": "enroll", "account": BARE, "password": password})
            (self.directory / "control").unlink()

    def test_for_how_long_it_is_kept(self) -> None:
        for hash_name, lasts, told in (
            ("sha1", True, "enrolled"),
            (None, True, "enrolled; the password itself is kept, since the server leaves no keys that last"),
            (None, False, "enrolled until the proxy is restarted, since the server leaves no keys that last"),
        ):
            self.serve(json.dumps({"account": BARE, "hash": hash_name, "lasts": lasts}).encode() + b"\n")
            status, output, _errors = self.enroll(BARE)
            self.assertEqual(status, 0)
            self.assertEqual(output.partition(" (see")[0].rstrip(), f"{BARE}: {told}")
            (self.directory / "control").unlink()

    def test_password_from_the_terminal(self) -> None:
        """Without an echo."""
        asked: list[str] = []

        def asking(prompt: str) -> str:
            asked.append(prompt)
            return "pencil"

        self.patch(getpass, "getpass", asking)
        self.patch(sys, "stdin", Input(b"not this", terminal=True))
        self.serve(KEPT)
        code, _output, _errors = self.run_command("enroll", "--config", str(self.file), BARE)
        self.assertEqual((code, asked), (0, [f"Password of {BARE}: "]))
        self.assertEqual(json.loads(self.requests[0])["password"], "pencil")

    def test_bad_passwords(self) -> None:
        for given in (b"", b"\n", b"\xff\n", b"x" * 1024 + b"\n", b"x" * 100_000):
            code, output, errors = self.enroll(BARE, given=given)
            self.assertEqual((code, output, errors.count("\n")), (1, "", 1), given[:20])
        self.assertEqual(self.requests, [])

    def test_the_password_is_in_no_argument(self) -> None:
        self.assertEqual(self.enroll(BARE, "pencil")[0], 2)
        self.assertEqual(self.enroll()[0], 2)
        self.assertEqual(self.enroll(BARE, "--from-sql", "sqlite:////x")[0], 2)

    def test_nobody_in_particular(self) -> None:
        for account in ("@", "a.test", "alice@a.test/phone"):
            code, output, errors = self.enroll(account)
            self.assertEqual((code, output, errors.count("\n")), (1, "", 1), account)

    def test_answers(self) -> None:
        for answer, code, said in (
            ({"hash": None, "lasts": True}, 0, "the password itself is kept"),
            ({"hash": None, "lasts": False}, 0, "until the proxy is restarted"),
            ({"error": "the server does not take the password of alice@a.test"}, 1, "does not take the password"),
            ({"hash": "sha1"}, 1, "the answer lacks lasts"),
            ({}, 1, "the answer lacks hash"),
            ([], 1, "is no object"),
        ):
            self.serve(json.dumps(answer).encode() + b"\n")
            result = self.enroll(BARE)
            self.assertEqual(result[0], code, answer)
            self.assertIn(said, result[1] + result[2])
            self.assertNotIn("pencil", result[1] + result[2])
            (self.directory / "control").unlink()

    def test_not_running(self) -> None:
        code, output, errors = self.enroll(BARE)
        self.assertEqual((code, output), (1, ""))
        self.assertIn("not running", errors)

    def test_stores(self) -> None:
        database = self.directory / "ejabberd.sqlite"
        with closing(sqlite3.connect(database)) as connection, connection:
            connection.execute("CREATE TABLE users (username, password, serverkey, salt, iterationcount)")
            _, salt, iterations, stored_key, server_key = fields()
            connection.execute(
                "INSERT INTO users VALUES (?, ?, ?, ?, ?)", ("alice", stored_key, server_key, salt, iterations)
            )
        accounts = self.directory / "a%2etest" / "accounts"
        accounts.mkdir(parents=True)
        stored, server = (key.hex() for key in KEYS[3:5])
        (accounts / "alice.dat").write_text(
            f"return {{ salt = 'salt'; iteration_count = 4096, stored_key = '{stored}', server_key = '{server}' }};"
        )
        for source in (("--from-sql", f"sqlite:///{database}"), ("--from-prosody", str(self.directory))):
            self.serve(b'{"kept": 1, "refused": []}\n')
            self.assertEqual(self.enroll(*source), (0, "1 of 1 accounts are enrolled\n", ""))
            self.assertEqual(json.loads(self.requests.pop())["accounts"], [[BARE, [fields()]]])
            (self.directory / "control").unlink()

    def test_no_store(self) -> None:
        for source in (("--from-sql", "nonsense"), ("--from-prosody", str(self.directory / "nowhere"))):
            code, output, errors = self.enroll(*source)
            self.assertEqual((code, output, errors.count("\n")), (1, "", 1))
            self.assertNotIn("running", errors)


class ImportTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: dict[str, Any] = {}
        self.fault: NoStatus | None = None

    def ask(self, request: dict[str, Any], *_expected: str) -> dict[str, Any]:
        self.asked.append(request)
        if self.fault is not None:
            raise self.fault
        return {"kept": len(request.get("accounts", ())), "refused": [], "hash": "sha1", **self.answer}

    def taken(
        self, *records: Record | Unusable, domain: str | None = None, domains: Iterable[str] = ("a.test",)
    ) -> str:
        """Import these; return what is printed."""
        with redirect_stderr(io.StringIO()) as errors:
            done = Import(self.ask, set(domains), domain).run(records)
        self.told = errors.getvalue()
        self.left_out = done.left_out
        return done.summary()

    def accounts(self) -> list[str]:
        return [account for request in self.asked for account, _ in request["accounts"]]

    def test_addresses(self) -> None:
        """They are prepared, and those of other servers counted."""
        records = [
            Record("Alice", "A.test", (KEYS,)),
            Record("bob", None, (KEYS,)),
            Record("carol", "b.test", (KEYS,)),
            Record("dave", "b.test", (KEYS,)),
        ]
        self.assertEqual(
            self.taken(*records),
            "2 of 4 accounts are enrolled\nb.test: not served by this proxy: 2 left alone\n",
        )
        self.assertEqual((self.accounts(), self.told, self.left_out), ([BARE, "bob@a.test"], "", 0))

    def test_which_domain(self) -> None:
        self.taken(Record("bob", None, (KEYS,)), domains=("a.test", "b.test"))
        self.assertIn("bob: the store does not tell its domain: say which by --domain", self.told)
        self.taken(Record("bob", None, (KEYS,)), domains=("a.test", "b.test"), domain="b.test")
        self.assertEqual(self.accounts(), ["bob@b.test"])

    def test_left_out(self) -> None:
        said = self.taken(
            Unusable("/x/alice.dat", "cut"),
            Record("a b", "a.test", (KEYS,)),
            Record("", "a.test", (KEYS,)),
            Record("a/b", "a.test", (KEYS,)),
            Record("\x1b[2J", "a.test", (KEYS,)),
            Record("zoe", "a.test", (KEYS,)),
        )
        self.assertEqual(said, "1 of 6 accounts are enrolled\n5 left out, see above\n")
        self.assertIn("minimixproxy: /x/alice.dat: cut\n", self.told)
        self.assertTrue(all(line.isprintable() for line in self.told.splitlines()))

    def test_refused_by_the_proxy(self) -> None:
        self.answer = {"kept": 0, "refused": [[BARE, "no place"]]}
        said = self.taken(Record("alice", "a.test", (KEYS,)))
        self.assertEqual(
            (said, self.told),
            ("0 of 1 accounts are enrolled\n1 left out, see above\n", f"minimixproxy: {BARE}: no place\n"),
        )

    def test_only_some_are_named(self) -> None:
        self.taken(*(Unusable(f"file{number}", "cut") for number in range(NAMED + 100)))
        self.assertEqual(self.told.count("\n"), NAMED + 1)
        self.assertEqual(self.left_out, NAMED + 100)

    def test_many(self) -> None:
        """Requests stay small, and records are asked for one by one."""
        number = 2 * PROGRESS
        ahead: list[int] = []

        def records() -> Iterable[Record]:
            for index in range(number):
                ahead.append(index + 1 - sum(len(request["accounts"]) for request in self.asked))
                yield Record(f"user{index}", "a.test", (KEYS, KEYS))

        self.assertEqual(self.taken(*records()), f"{number} of {number} accounts are enrolled\n")
        self.setUp()
        ahead.clear()
        with redirect_stderr(io.StringIO()) as errors:
            Import(self.ask, {"a.test"}, None).run(records())
        self.assertLessEqual(max(ahead), MAX_ACCOUNTS + 1)
        self.assertEqual(errors.getvalue().count(" accounts read, "), 2)
        self.assertLess(max(len(json.dumps(request)) for request in self.asked), 60_000)
        self.assertEqual(len(set(self.accounts())), number)

    def test_long_names(self) -> None:
        self.taken(*(Record("ü" * 500 + str(index), "a.test", (KEYS,)) for index in range(300)))
        self.assertLess(max(len(json.dumps(request, ensure_ascii=False).encode()) for request in self.asked), 60_000)
        self.assertEqual(len(self.accounts()), 300)

    def test_passwords(self) -> None:
        """The server is asked about each, unless it has shown that nothing comes of it."""
        records = [Record("alice", "a.test", password="pencil"), Record("bob", "a.test", password="x")]
        self.assertEqual(self.taken(*records), "2 of 2 accounts are enrolled\n")
        self.assertEqual(self.asked[0], {"request": "enroll", "account": BARE, "password": "pencil"})
        self.setUp()
        self.fault = Refusal({"error": "the server does not take the password"})
        self.taken(*records)
        self.assertEqual((len(self.asked), self.left_out), (2, 2))
        self.setUp()
        self.fault = Refusal({"error": "PLAIN only", "in_vain": True})
        self.taken(*records, Record("carol", "b.test", password="x"), domains=("a.test", "b.test"))
        self.assertEqual((len(self.asked), self.left_out), (2, 3))
        self.assertNotIn("pencil", self.told)

    def test_the_proxy_goes(self) -> None:
        self.fault = NoStatus("the answer is not whole")
        with redirect_stderr(io.StringIO()):
            self.assertRaises(NoStatus, Import(self.ask, {"a.test"}, None).run, [Record("alice", "a.test", (KEYS,))])
        self.assertEqual(len(self.asked), 1)

    def test_the_store_breaks_off(self) -> None:
        """What came before is enrolled."""

        def records() -> Iterable[Record]:
            yield Record("alice", "a.test", (KEYS,))
            raise StoreError("disk I/O error")

        with redirect_stderr(io.StringIO()):
            self.assertRaises(StoreError, Import(self.ask, {"a.test"}, None).run, records())
        self.assertEqual(self.accounts(), [BARE])
