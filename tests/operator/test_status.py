"""The report that the operator gets, the table it is shown in, and the command that asks for it."""

import json
import socket
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy import __version__
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.operator import status_report, status_table
from minimixproxy.operator.asking import Connection
from minimixproxy.operator.commands import forget, proxy
from minimixproxy.operator.forget import PATIENCE
from minimixproxy.operator.status_report import Reported, StatusReport
from minimixproxy.safety_net import NET, SafetyNet
from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.wire.trees import BUILT
from tests.minimix.fakes import BARE, FakeSession
from tests.minimix.owned import FakeRoom
from tests.operator.cases import CommandCase


class FakeAccount:
    def __init__(self, bare: str, sessions: "tuple[FakeSession, ...]" = (), rooms: "tuple[FakeRoom, ...]" = ()) -> None:
        self.bare = bare
        self.is_enrolled = True
        self.sessions: dict[SessionPort, None] = dict.fromkeys(sessions)
        self.rooms = {room.room: room for room in rooms}


class FakeStream:
    def __init__(self, state: StreamState, opens_in: float = 0.0) -> None:
        self.state: Enum = state
        self.opens_in = opens_in


class FakeDomain:
    def status(self) -> "dict[str, object]":
        return {
            "domain": "proxy.a.test",
            "connected": True,
            "resources": 2,
            "requests": 0,
            "targets": {"bot@a.test": "subscribed"},
        }


@dataclass
class FakeJournal:
    durable: bool = True
    waiting: int = 0
    error: str = ""
    left_out: int = 0


class ReportCase(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1000)
        self.accounts: list[tuple[FakeAccount, FakeStream]] = []
        self.journal: FakeJournal | None = FakeJournal()
        self.net = SafetyNet()
        self.maker = StatusReport(
            self.clock.seconds,
            lambda: 42,
            Reported(lambda: self.accounts, lambda: self.journal, [FakeDomain()], self.net),
        )

    def some(self) -> None:
        phone, laptop = FakeSession("phone", self.clock), FakeSession("laptop", self.clock)
        phone.asleep = True
        alice = FakeAccount(
            BARE,
            (phone, laptop),
            (FakeRoom("two@muc", phone, laptop, messages=3), FakeRoom("one@muc", messages=3, state=State.INTERRUPTED)),
        )
        self.accounts += [
            (FakeAccount("bob@a.test"), FakeStream(StreamState.CLOSED)),
            (alice, FakeStream(StreamState.OPEN)),
            (
                FakeAccount("zoe@a.test", (), (FakeRoom("one@muc", messages=3, state=State.INTERRUPTED),)),
                FakeStream(StreamState.WAITING, 7),
            ),
        ]


class ReportTests(ReportCase):
    def test_nothing_yet(self) -> None:
        self.journal = None
        self.clock.advance(2.5)
        report = self.maker.report()
        self.assertEqual((report["version"], report["pid"], report["uptime"]), (__version__, 42, 2.5))
        self.assertEqual((report["journal"], report["accounts"]), (None, []))
        self.assertEqual(
            report["totals"],
            {"accounts": 0, "not_enrolled": 0, "sessions": 0, "sleeping": 0, "streams": {}, "rooms": {}},
        )

    def test_accounts(self) -> None:
        self.some()
        report = self.maker.report()
        self.assertEqual(
            report["totals"],
            {
                "accounts": 3,
                "not_enrolled": 0,
                "sessions": 2,
                "sleeping": 1,
                "streams": {"closed": 1, "open": 1, "waiting": 1},
                "rooms": {"interrupted": 2, "joined": 1},
            },
        )
        zoe, alice, bob = report["accounts"]
        self.assertEqual((zoe["account"], zoe["stream"], zoe["opens_in"]), ("zoe@a.test", "waiting", 7.0))
        self.assertEqual((alice["devices"], bob["devices"]), (["laptop", "phone"], []))
        self.assertEqual((alice["asleep"], bob["asleep"]), (["phone"], []))
        self.assertEqual(
            alice["rooms"][1],
            {
                "room": "two@muc",
                "nick": "alice",
                "state": "joined",
                "bookmarked": False,
                "devices": ("laptop", "phone"),
                "asleep": ("phone",),
                "messages": 3,
            },
        )
        self.assertEqual(report["left_out"], {"accounts": 0, "rooms": 0})
        self.assertEqual(report["client_proxy"][0]["domain"], "proxy.a.test")
        json.dumps(report)

    def test_one_account(self) -> None:
        self.some()
        report = self.maker.answer({"account": BARE})
        self.assertEqual([account["account"] for account in report["accounts"]], [BARE])
        self.assertEqual(report["totals"]["accounts"], 3)
        self.assertEqual(self.maker.answer({"account": "nobody@a.test"})["accounts"], [])
        self.assertEqual(len(self.maker.answer({"account": 3})["accounts"]), 3)

    def test_too_many(self) -> None:
        self.patch(status_report, "MAX_ACCOUNTS", 3)
        self.patch(status_report, "MAX_ROOMS", 5)
        for number in range(4):
            rooms = tuple(FakeRoom(f"{number}-{room}@muc") for room in range(3))
            state = StreamState.REFUSED if number == 3 else StreamState.OPEN
            self.accounts.append((FakeAccount(f"{number}@a.test", (), rooms), FakeStream(state)))
        report = self.maker.report()
        shown = [(account["account"], len(account["rooms"])) for account in report["accounts"]]
        self.assertEqual(shown, [("3@a.test", 3), ("0@a.test", 2), ("1@a.test", 0)])
        self.assertEqual(report["left_out"], {"accounts": 1, "rooms": 7})
        self.assertEqual(report["totals"]["rooms"], {"joined": 12})


class TableTests(ReportCase):
    def text(self) -> str:
        return status_table.text(json.loads(json.dumps(self.maker.report())))

    def test_an_account_that_is_not_enrolled(self) -> None:
        self.some()
        self.accounts[1][0].is_enrolled = False
        report = self.maker.report()
        self.assertEqual(report["totals"]["not_enrolled"], 1)
        text = status_table.text(report)
        self.assertIn("accounts  3, not enrolled: 1, streams: ", text)
        self.assertIn(f"{BARE}  stream none, NOT ENROLLED, connected: laptop", text)

    def test_whole(self) -> None:
        self.some()
        self.clock.advance(90061)
        _version, *lines = self.text().splitlines()
        self.assertEqual(
            lines,
            [
                "journal   on disk, 0 bytes waiting",
                "sessions  2, asleep: 1",
                "accounts  3, streams: 1 closed, 1 open, 1 waiting",
                "rooms     3: 2 interrupted, 1 joined",
                "",
                "zoe@a.test  stream waiting 7 s, connected: -",
                "    ROOM     NICK   STATE        DEVICES  MESSAGES  BOOKMARKED",
                "    one@muc  alice  interrupted  -        3         no",
                "",
                "alice@a.test  stream open, connected: laptop, asleep: phone",
                "    ROOM     NICK   STATE        DEVICES                 MESSAGES  BOOKMARKED",
                "    one@muc  alice  interrupted  -                       3         no",
                "    two@muc  alice  joined       laptop, phone (asleep)  3         no",
                "",
                "bob@a.test  stream closed, connected: -",
                "",
                "CLIENT_PROXY  CONNECTED  RESOURCES  OPEN REQUESTS  TARGETS",
                "proxy.a.test  yes        2          0              bot@a.test (subscribed)",
            ],
        )
        self.assertRegex(_version, rf"^minimixproxy {__version__}, Twisted [\d.]+, process 42, up 1 d 1:01:01$")

    def test_journal(self) -> None:
        for journal, expected in (
            (None, "none"),
            (FakeJournal(waiting=1536), "on disk, 1.5 KiB waiting"),
            (FakeJournal(False, 3 * 1024 * 1024, "\x1b is full"), "NOT ON DISK (\\x1b is full), 3.0 MiB waiting"),
            (FakeJournal(left_out=2), "on disk, 0 bytes waiting, 2 rows REFUSED (see the log)"),
        ):
            self.journal = journal
            self.assertEqual(self.text().splitlines()[1], f"journal   {expected}")

    def test_stanzas(self) -> None:
        """Counted since the start, and shown only if there is something to show."""
        self.assertNotIn("stanzas", self.text())
        stanza = parse_stanza("<message/>")
        self.net.unusable(stanza, "here", "too many tags")
        self.net.unusable(stanza, "here", "too many tags")
        self.assertIn("\nstanzas   2 could not be read\n", self.text())
        try:
            raise KeyError
        except KeyError:
            self.net.caught(stanza, "here")
        fault = "1 DROPPED by a fault of minimixproxy (see the log)"
        self.assertIn(f"\nstanzas   2 could not be read, {fault}\n", self.text())
        self.net.skipped = 0
        self.assertIn(f"\nstanzas   {fault}\n", self.text())
        self.flushLoggedErrors()

    def test_stanzas_of_this_process(self) -> None:
        self.patch(NET, "skipped", 3)
        self.patch(NET, "dropped", 4)
        parse_stanza("<message/>")
        report = StatusReport(self.clock.seconds, lambda: 42, Reported()).report()
        self.assertEqual(report["stanzas"], {"skipped": 3, "dropped": 4, "trees": BUILT.trees})
        self.assertGreater(BUILT.trees, 0)

    def test_left_out(self) -> None:
        self.patch(status_report, "MAX_ACCOUNTS", 1)
        self.some()
        self.assertIn("\nNot shown: 2 accounts, 2 rooms. For one account: --account.\n", self.text())

    def test_hostile_names(self) -> None:
        rooms = (FakeRoom("r@muc", FakeSession("\x1b[2J", self.clock), nick="a\nb\x9b\u202e"),)
        self.accounts.append((FakeAccount(BARE, (), rooms), FakeStream(StreamState.OPEN)))
        self.assertIn("r@muc  a\\nb\\x9b\\u202e  joined  \\x1b[2J", self.text())
        self.assertTrue(all(line.isprintable() for line in self.text().splitlines()))


class CommandTests(CommandCase):
    def ask(self, *arguments: str) -> "tuple[int, str, str]":
        return self.run_command("status", "--config", str(self.file), *arguments)

    def report(self) -> "dict[str, Any]":
        return StatusReport(Clock().seconds, lambda: 42, Reported()).report()

    def test_text(self) -> None:
        self.serve(json.dumps(self.report()).encode() + b"\n")
        code, output, errors = self.ask()
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual(output, status_table.text(self.report()))
        self.assertEqual(json.loads(self.requests[0]), {"request": "status"})

    def test_json(self) -> None:
        self.serve(json.dumps(self.report()).encode() + b"\n")
        code, output, _errors = self.ask("--json", "--account", "ALICE@a.test/phone")
        self.assertEqual((code, json.loads(output)), (0, self.report()))
        self.assertEqual(json.loads(self.requests[0]), {"request": "status", "account": BARE})

    def forget(self, *arguments: str) -> "tuple[int, str, str]":
        return self.run_command("forget", "--config", str(self.file), *arguments)

    def test_forget(self) -> None:
        for option in ("--config", "-c"):
            for known, said in ((True, "forgotten"), (False, "not known here, nothing is kept of it")):
                self.serve(json.dumps({"account": BARE, "known": known}).encode() + b"\n")
                result = self.run_command("forget", option, str(self.file), "ALICE@a.test")
                self.assertEqual(result, (0, f"{BARE}: {said}\n", ""))
                self.assertEqual(json.loads(self.requests.pop()), {"request": "forget", "account": BARE})
                (self.directory / "control").unlink()

    def test_forget_with_an_answer_of_another_version(self) -> None:
        self.serve(b"{}\n")
        code, output, errors = self.forget(BARE)
        self.assertEqual((code, output, errors.count("\n")), (1, "", 1))
        self.assertIn("the answer lacks known", errors)

    def test_forget_nobody_in_particular(self) -> None:
        """What is no account is not even asked for."""
        for account in ("@", "a.test", "alice@a.test/phone"):
            code, output, errors = self.forget(account)
            self.assertEqual((code, output, errors.count("\n")), (1, "", 1), account)
        self.assertEqual(self.requests, [])

    def test_forget_has_more_time(self) -> None:
        """The proxy waits for its disk, and says so if that takes too long."""
        given: list[float] = []

        def connection(path: Path, timeout: float) -> Connection:
            given.append(timeout)
            return Connection(path, timeout)

        self.patch(proxy, "Connection", connection)
        self.forget(BARE)
        self.assertEqual(given, [forget.TIMEOUT])
        self.assertGreaterEqual(forget.TIMEOUT, PATIENCE + 5)

    def test_not_running(self) -> None:
        path = self.directory / "control"
        self.assertEqual(self.ask(), (1, "", f"minimixproxy: not running: there is no {path}\n"))
        left_over = socket.socket(socket.AF_UNIX)
        left_over.bind(str(path))
        left_over.close()
        self.assertEqual(self.ask(), (1, "", f"minimixproxy: not running: nobody listens on {path}\n"))

    def test_no_answer(self) -> None:
        self.patch(proxy, "TIMEOUT", 0.1)
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(str(self.directory / "control"))
        server.listen()
        code, _output, errors = self.ask()
        self.assertEqual((code, errors.count("\n")), (1, 1))
        self.assertIn("no answer within", errors)

    def test_bad_answers(self) -> None:
        for answer, expected in (
            (b"", "is not whole"),
            (b'{"version"', "is not whole"),
            (b'{"error": "too many connections"}\n', "too many connections"),
            (b"5\n", "is no object"),
            (b'"error"\n', "is no object"),
            (b"[" * 100_000 + b"\n", "is not whole"),
            (b"\xff\n", "is not whole"),
        ):
            self.serve(answer)
            code, _output, errors = self.ask()
            self.assertEqual((code, errors.count("\n")), (1, 1))
            self.assertIn(expected, errors)
            (self.directory / "control").unlink()

    def test_bad_configuration(self) -> None:
        self.file.write_text("state = 3")
        code, _output, errors = self.ask()
        self.assertEqual(code, 1)
        self.assertIn(f"minimixproxy: {self.file}: ", errors)

    def test_bad_account(self) -> None:
        code, _output, errors = self.ask("--account", "@")
        self.assertEqual((code, errors.count("\n")), (1, 1))

    def test_usage(self) -> None:
        self.assertEqual(self.run_command("--version")[:2], (0, f"minimixproxy {__version__}\n"))
        self.assertIn("status", self.run_command("--help")[1])
        self.assertEqual(self.run_command()[0], 2)
        self.assertEqual(self.run_command("status", "--acc", "alice@a.test")[0], 2)
