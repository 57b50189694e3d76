"""The report that the operator gets, the table it is shown in, and the command that asks for it."""

import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy import __version__
from minimixproxy.accountstream.lifecycle_rules import Fault
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.minimix.bookmarks.says import Says
from minimixproxy.minimix.interfaces.endings import Ending, Why
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.minimix.room.endings import Endings
from minimixproxy.operator import status_report, status_table
from minimixproxy.operator.asking import Connection
from minimixproxy.operator.commands import forget, proxy, status
from minimixproxy.operator.forget import PATIENCE
from minimixproxy.operator.health import MAX_TROUBLES
from minimixproxy.operator.reported import Reported, Trouble
from minimixproxy.operator.status_line import status_line
from minimixproxy.operator.status_report import MAX_ACCOUNTS, MAX_ROOMS, Report, StatusReport
from minimixproxy.operator.survey import AT_ONCE, FRESH
from minimixproxy.safety_net import NET, SafetyNet
from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.wire.trees import BUILT
from tests.minimix.fakes import BARE, FakeSession
from tests.minimix.owned import FakeRoom
from tests.operator.cases import CommandCase

#: One process of a cluster, as it is told of.
CLUSTER: dict[str, Any] = {
    "name": "node-a",
    "address": "10.0.0.1:5270",
    "number": 7,
    "accounts": 42,
    "draining": False,
    "pipes": 0,
    "left": 13.6,
    "seen": True,
    "seen_ago": 0.6,
    "others": [],
    "all_accounts": 42,
    "free": 0,
    "left_by": [],
}


class FakeAccount:
    def __init__(self, bare: str, sessions: "tuple[FakeSession, ...]" = (), rooms: "tuple[FakeRoom, ...]" = ()) -> None:
        self.bare = bare
        self.is_enrolled = True
        self.login_refused = False
        self.sessions: dict[SessionPort, None] = dict.fromkeys(sessions)
        self.rooms = {room.room: room for room in rooms}
        self.says = Says.NONE

    def bookmark_of(self, room: str) -> Says:
        return self.says


class FakeStream:
    def __init__(self, state: StreamState, opens_in: float = 0.0) -> None:
        self.state: Enum = state
        self.opens_in = opens_in
        self.fault = Fault("", 0.0)


class FakeDomain:
    connected = True
    holder: str | None = None
    standing_by = False

    def status(self) -> "dict[str, object]":
        return {
            "domain": "proxy.a.test",
            "connected": self.connected,
            "resources": 2,
            "requests": 0,
            "targets": {"bot@a.test": "subscribed"},
            "holder": self.holder,
            "standing_by": self.standing_by,
        }


@dataclass
class FakeJournal:
    durable: bool = True
    waiting: int = 0
    error: str = ""
    left_out: int = 0
    lost: bool = False


class ReportCase(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.accounts: list[tuple[FakeAccount, FakeStream]] = []
        self.journal: FakeJournal | None = FakeJournal()
        self.net = SafetyNet()
        self.endings = Endings()
        self.domain = FakeDomain()
        self.troubles: list[Trouble] = []
        self.blocked: set[str] = set()
        self.cluster: dict[str, Any] | None = None
        reported = Reported(
            accounts=lambda: self.accounts,
            account=lambda bare: next((pair for pair in self.accounts if pair[0].bare == bare), None),
            endings=self.endings.__getitem__,
            journal=lambda: self.journal,
            domains=[self.domain],
            served=lambda domain: domain == "a.test",
            blocked=self.blocked,
            troubles=[lambda: self.troubles],
            net=self.net,
            configuration="/etc/minimixproxy.toml",
            cluster=lambda: self.cluster,
        )
        self.maker = StatusReport(self.clock, lambda: 42, reported)

    def report(self, **request: object) -> Report:
        answering = self.maker.answer(request)
        return self.successResultOf(answering) if isinstance(answering, Deferred) else answering

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
        report = self.report()
        self.assertEqual((report["version"], report["pid"], report["uptime"]), (__version__, 42, 2.5))
        self.assertEqual((report["journal"], report["accounts"]), (None, []))
        self.assertEqual(
            report["totals"],
            {"accounts": 0, "not_enrolled": 0, "sessions": 0, "sleeping": 0, "streams": {}, "rooms": {}},
        )

    def test_accounts(self) -> None:
        self.some()
        report = self.report()
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
        alice, zoe, bob = report["accounts"]
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
                "devices": ["laptop", "phone"],
                "asleep": ["phone"],
                "messages": 3,
                "attempts": 0,
                "next_attempt_in": 0.0,
                "last": None,
            },
        )
        self.assertEqual((report["next"], report["found"]), (None, 3))
        self.assertEqual(report["client_proxy"][0]["domain"], "proxy.a.test")
        json.dumps(report)

    def test_one_account(self) -> None:
        self.some()
        report = self.report(account=BARE)
        self.assertEqual([account["account"] for account in report["accounts"]], [BARE])
        self.assertEqual(report["totals"]["accounts"], 3)
        self.assertEqual(self.report(account="nobody@a.test")["accounts"], [])
        self.assertEqual(len(self.report(account=3)["accounts"]), 3)

    def many(self) -> None:
        for number in range(4):
            rooms = tuple(FakeRoom(f"{number}-{room}@muc") for room in range(3))
            account = FakeAccount(f"{number}@a.test", (), rooms)
            account.login_refused = number == 3
            state = StreamState.REFUSED if number == 3 else StreamState.OPEN
            self.accounts.append((account, FakeStream(state)))

    def test_one_answer_after_the_other(self) -> None:
        self.patch(status_report, "MAX_ACCOUNTS", 3)
        self.patch(status_report, "MAX_ROOMS", 5)
        self.many()
        report = self.report()
        shown = [
            (account["account"], len(account["rooms"]), account["rooms_left_out"]) for account in report["accounts"]
        ]
        self.assertEqual(shown, [("3@a.test", 3, 0), ("0@a.test", 2, 1)])
        self.assertEqual((report["totals"]["rooms"], report["found"]), ({"joined": 12}, 4))
        report = self.report(after=report["next"])
        self.assertEqual([account["account"] for account in report["accounts"]], ["1@a.test", "2@a.test"])
        self.assertIsNone(report["next"])

    def test_who_asks_for_more_has_nobody_look_again(self) -> None:
        self.patch(status_report, "MAX_ACCOUNTS", 3)
        self.many()
        after = self.report()["next"]
        self.accounts.append((FakeAccount("9@a.test"), FakeStream(StreamState.OPEN)))
        self.assertEqual(self.report(after=after)["found"], 4)
        self.assertEqual(self.report(after=after, state="open")["found"], 4, "that is something else")
        self.clock.advance(FRESH)
        self.assertEqual(self.report(after=after)["found"], 5)
        self.assertEqual(self.report()["found"], 5)

    def test_the_last_of_an_answer_goes_meanwhile(self) -> None:
        self.patch(status_report, "MAX_ACCOUNTS", 2)
        self.many()
        after = self.report()["next"]
        del self.accounts[0]
        report = self.report(after=after)
        self.assertEqual([account["account"] for account in report["accounts"]], ["1@a.test", "2@a.test"])

    def test_after_nonsense(self) -> None:
        self.many()
        for after in ("", "x", "9", 3, None, "\0"):
            self.assertLessEqual(len(self.report(after=after)["accounts"]), 4)

    def test_filters(self) -> None:
        self.some()
        self.endings.note("bob@a.test", "two@muc", Ending(Why.REFUSED), 1.0)

        def found(**request: object) -> list[str]:
            return [account["account"] for account in self.report(**request)["accounts"]]

        self.assertEqual(found(room="one@muc"), ["alice@a.test", "zoe@a.test"])
        self.assertEqual(found(room="TWO@muc"), ["alice@a.test", "bob@a.test"], "who was refused there, too")
        self.assertEqual(found(state="interrupted"), ["alice@a.test", "zoe@a.test"])
        self.assertEqual(found(state="trouble"), ["alice@a.test", "zoe@a.test"])
        self.assertEqual(found(state="open"), ["alice@a.test"])
        self.assertEqual(found(room="one@muc", state="joined"), [])
        self.assertEqual(found(state="nonsense"), [])
        (account,) = self.report(account=BARE, room="one@muc")["accounts"]
        self.assertEqual([room["room"] for room in account["rooms"]], ["one@muc"])

    def test_blocked(self) -> None:
        self.some()
        self.blocked |= {BARE, "nobody@a.test"}
        report = self.report(account=BARE, room="one@muc")
        self.assertEqual((report["accounts"][0]["stream"], report["answer"]["code"]), ("blocked", "blocked"))
        self.assertEqual(self.report(account="nobody@a.test", room="one@muc")["answer"]["code"], "blocked")
        self.assertIn("stream none, BLOCKED", status_table.text(report))
        self.assertEqual(len(self.report(state="blocked")["accounts"]), 1)

    def test_no_address(self) -> None:
        for name in ("account", "room"):
            self.assertIn("error", self.report(**{name: "@"}))

    def test_a_fault_of_the_stream(self) -> None:
        self.some()
        stream = self.accounts[2][1]
        stream.fault = Fault("connection refused", self.clock.seconds())
        self.clock.advance(10)
        (zoe,) = self.report(account="zoe@a.test")["accounts"]
        self.assertEqual(zoe["fault"], {"text": "connection refused", "at": "2023-11-14T22:13:20Z"})

    def test_not_in_rooms(self) -> None:
        self.some()
        self.endings.note(BARE, "two@muc", Ending(Why.KICKED), 1.0)
        self.endings.note(BARE, "three@muc", Ending(Why.REFUSED, "conflict", "text", "muc"), 1_700_000_000.0)
        (alice,) = self.report(account=BARE)["accounts"]
        record = {
            "why": "join-refused",
            "at": "2023-11-14T22:13:20Z",
            "condition": "conflict",
            "text": "text",
            "by": "muc",
        }
        self.assertEqual(alice["not_in"], [{"room": "three@muc", **record}])
        self.assertEqual(alice["rooms"][1]["last"]["why"], "kicked")


class HealthTests(ReportCase):
    def codes(self) -> list[str]:
        report = self.report()
        self.assertEqual(report["well"], not report["troubles"])
        return [trouble["code"] for trouble in report["troubles"]]

    def test_well(self) -> None:
        self.assertEqual(self.codes(), [])
        self.many(StreamState.OPEN, StreamState.REFUSED, StreamState.WAITING)
        self.assertEqual(self.codes(), [], "one is open")

    def many(self, *states: StreamState) -> None:
        self.accounts.clear()
        for number, state in enumerate(states):
            account = FakeAccount(f"{number}@a.test", (), (FakeRoom("r@muc"),))
            account.login_refused = state is StreamState.REFUSED
            self.accounts.append((account, FakeStream(state)))

    def test_disk(self) -> None:
        self.journal = FakeJournal(durable=False, error="disk full")
        self.assertEqual(self.codes(), ["not-on-disk"])
        self.assertIn("(disk full)", self.report()["troubles"][0]["text"])
        self.journal.lost = True
        self.assertEqual(self.codes(), ["lease-lost"])

    def test_every_stream_is_refused(self) -> None:
        self.many(StreamState.REFUSED, StreamState.REFUSED)
        self.assertEqual(self.codes(), ["all-refused"])

    def test_no_server(self) -> None:
        self.many(StreamState.WAITING, StreamState.REFUSED, StreamState.OPENING)
        self.assertEqual(self.codes(), ["no-stream"])
        self.many(StreamState.RESUMING, StreamState.WAITING)
        self.assertEqual(self.codes(), [])

    def test_streams_that_nobody_needs(self) -> None:
        self.accounts.append((FakeAccount(BARE), FakeStream(StreamState.CLOSED)))
        self.assertEqual(self.codes(), [])

    def test_of_each_domain(self) -> None:
        self.many(StreamState.OPEN)
        other = FakeAccount("x@b.test", (), (FakeRoom("r@muc"),))
        self.accounts.append((other, FakeStream(StreamState.WAITING)))
        (trouble,) = self.report()["troubles"]
        self.assertEqual(trouble["text"], "b.test: not one account stream is open, of 1 needed")

    def test_component(self) -> None:
        self.domain.connected = False
        self.assertEqual(self.codes(), ["component-lost"])

    def test_another_process_has_the_component(self) -> None:
        self.domain.connected, self.domain.standing_by = False, True
        self.assertEqual(self.codes(), [])

    def test_others(self) -> None:
        self.troubles.append(Trouble("reload-failed", "the configuration was not reloaded"))
        self.assertEqual(self.codes(), ["reload-failed"])
        self.assertIn("WRONG     the configuration was not reloaded\n", status_table.text(self.report()))
        self.troubles *= 100
        self.assertEqual(len(self.codes()), MAX_TROUBLES)

    def test_systemd_is_told_the_same(self) -> None:
        self.domain.connected = False
        self.troubles.append(Trouble("reload-failed", "the configuration was not reloaded"))
        told = "; ".join(trouble["text"] for trouble in self.report()["troubles"])
        self.assertTrue(status_line(self.maker.summary()).startswith(f"{told}; "))


class SliceTests(ReportCase):
    """However many accounts there are, one turn of the reactor looks at few of them."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(10_000):
            self.accounts.append((FakeAccount(f"{number}@a.test"), FakeStream(StreamState.OPEN)))
        rooms = tuple(FakeRoom(f"{number}@muc") for number in range(5 * AT_ONCE))
        self.accounts.append((FakeAccount(BARE, (), rooms), FakeStream(StreamState.OPEN)))

    def asked(self, request: dict[str, object]) -> list[Report]:
        """Ask; return what the answer will be put into."""
        answers: list[Report] = []
        answering = self.maker.answer(request)
        assert isinstance(answering, Deferred)
        answering.addCallback(answers.append)
        return answers

    def test_turns(self) -> None:
        later: list[tuple[float, Callable[..., None], tuple[object, ...]]] = []
        self.patch(self.clock, "callLater", lambda delay, call, *arguments: later.append((delay, call, arguments)))
        answers = self.asked({})
        turns = 0
        while later:
            self.assertEqual(answers, [])
            ((delay, call, arguments),) = later
            later.clear()
            self.assertEqual(delay, 0)
            call(*arguments)
            turns += 1
        self.assertEqual(turns, 20_001 // AT_ONCE)
        (report,) = answers
        self.assertEqual((report["totals"]["accounts"], len(report["accounts"])), (10_001, MAX_ACCOUNTS))
        self.assertEqual(report["totals"]["rooms"], {"joined": 10_000})
        self.assertLess(len(json.dumps(report)), 64 * 1024)

    def test_one_after_the_other(self) -> None:
        first, second = self.asked({}), self.asked({"account": BARE})
        self.assertEqual((first, second, len(self.clock.getDelayedCalls())), ([], [], 1))
        self.clock.pump([0] * 20)
        (account,) = second[0]["accounts"]
        self.assertEqual((len(account["rooms"]), account["rooms_left_out"]), (MAX_ROOMS, 5 * AT_ONCE - MAX_ROOMS))

    def test_a_fault_of_ours_keeps_nobody_waiting(self) -> None:
        answering = self.maker.answer({})
        assert isinstance(answering, Deferred)
        account = self.accounts[-2][0]
        del account.rooms
        self.clock.pump([0] * 20)
        self.failureResultOf(answering, AttributeError)
        account.rooms = {}
        again = self.maker.answer({})
        assert isinstance(again, Deferred)
        self.clock.pump([0] * 20)
        self.successResultOf(again)


class TableTests(ReportCase):
    def text(self) -> str:
        return status_table.text(json.loads(json.dumps(self.report())))

    def test_an_account_that_is_not_enrolled(self) -> None:
        self.some()
        self.accounts[1][0].is_enrolled = False
        report = self.report()
        self.assertEqual(report["totals"]["not_enrolled"], 1)
        text = status_table.text(report)
        self.assertIn("accounts  3, streams: 1 closed, 1 not-enrolled, 1 waiting", text)
        self.assertIn(f"{BARE}  stream none, NOT ENROLLED, connected: laptop", text)

    def test_whole(self) -> None:
        self.some()
        self.accounts[1][0].rooms["one@muc"].next_attempt_in = 12.3
        self.accounts[2][1].fault = Fault("connection refused", 1.0)
        self.endings.note(BARE, "three@muc", Ending(Why.REFUSED, "conflict", "text", "muc"), 1_700_000_000.0)
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
                "alice@a.test  stream open, connected: laptop, asleep: phone",
                "    ROOM     NICK   STATE                          DEVICES                 MESSAGES  BOOKMARKED",
                "    one@muc  alice  interrupted, next try in 12 s  -                       3         no",
                "    two@muc  alice  joined                         laptop, phone (asleep)  3         no",
                "    not in three@muc: join-refused (conflict) by muc, 2023-11-14T22:13:20Z: text",
                "",
                "zoe@a.test  stream waiting 7 s (connection refused), connected: -",
                "    ROOM     NICK   STATE        DEVICES  MESSAGES  BOOKMARKED",
                "    one@muc  alice  interrupted  -        3         no",
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
            self.assertIn(f"\njournal   {expected}\n", self.text())

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
        answering = StatusReport(self.clock, lambda: 42, Reported()).answer({})
        assert isinstance(answering, Deferred)
        report = self.successResultOf(answering)
        self.assertEqual(report["stanzas"], {"skipped": 3, "dropped": 4, "trees": BUILT.trees})
        self.assertGreater(BUILT.trees, 0)

    def test_a_cluster(self) -> None:
        others = [
            {"name": "node-b", "address": "10.0.0.2:5270", "number": 8, "accounts": 41, "draining": False},
            {"name": "node-c", "address": "10.0.0.3:5270", "number": 9, "accounts": 0, "draining": True},
        ]
        self.cluster = {**CLUSTER, "others": others, "all_accounts": 83}
        self.assertIn(
            "\ncluster   node-a, number 7, holds 42 accounts; its row is good for 14 s\n"
            "          node-b at 10.0.0.2:5270, number 8, holds 41\n"
            "          node-c at 10.0.0.3:5270, number 9, holds 0, is drained\n"
            "          3 processes, 83 accounts\n",
            status_table.text(self.report()),
        )
        left = {"all_accounts": 51, "free": 9, "left_by": ["node-b", "node-c"]}
        self.cluster = {**CLUSTER, "pipes": 4, "draining": True, **left}
        self.assertIn(
            "\ncluster   node-a, number 7, holds 42 accounts, is drained; its row is good for 14 s, "
            "4 clients are piped to others\n"
            "          1 process, 51 accounts, of these 9 that no process has yet, left by node-b, node-c\n",
            status_table.text(self.report()),
        )
        for age, told in ((4.9, ""), (34.4, ", as it was 34 s ago"), (None, ", as the others have not been seen yet")):
            self.cluster = {**CLUSTER, "seen_ago": age}
            self.assertIn(f"          1 process, 42 accounts{told}\n", status_table.text(self.report()))
        self.cluster = None
        self.assertNotIn("cluster", status_table.text(self.report()))

    def test_who_has_a_component(self) -> None:
        self.domain.connected, self.domain.standing_by = False, True
        self.assertIn("\nproxy.a.test  stands by  2", status_table.text(self.report()))
        self.domain.holder = "node-b\n"
        self.assertIn("\nproxy.a.test  by node-b\\n  2", status_table.text(self.report()))
        self.domain.standing_by = False
        self.assertIn("\nproxy.a.test  NO  ", status_table.text(self.report()))

    def test_few_of_many(self) -> None:
        """Those in trouble, unless they were asked for."""
        for number in range(30):
            self.accounts.append((FakeAccount(f"{number}@a.test"), FakeStream(StreamState.CLOSED)))
        self.assertIn("Not shown", status_table.text(self.report(), chosen=False))
        self.some()
        told = status_table.text(self.report(), chosen=False)
        self.assertNotIn("7@a.test", told)
        self.assertIn("\nalice@a.test  stream open", told)
        self.assertIn("\nNot shown: 31 accounts. All: --all; one: --account; some: --state.\n", told)
        self.assertIn("7@a.test", status_table.text(self.report()))

    def test_rooms_left_out(self) -> None:
        self.patch(status_report, "MAX_ROOMS", 1)
        self.some()
        self.assertIn("\n    and 1 rooms more\n", status_table.text(self.report(account=BARE)))

    def test_an_answer(self) -> None:
        self.some()
        told = status_table.text(self.report(account="bob@a.test", room="one@muc"))
        self.assertIn(
            "\nbob@a.test is NOT in one@muc: no device has asked to join it since the proxy was started; ", told
        )
        self.assertIn("\nLook at: the user can join, ", told)
        told = status_table.text(self.report(account=BARE, room="two@muc"))
        self.assertIn("\nalice@a.test is in two@muc: it is in the room, as alice; joined there: laptop, phone", told)

    def test_hostile_names(self) -> None:
        rooms = (FakeRoom("r@muc", FakeSession("\x1b[2J", self.clock), nick="a\nb\x9b\u202e"),)
        self.accounts.append((FakeAccount(BARE, (), rooms), FakeStream(StreamState.OPEN)))
        self.assertIn("r@muc  a\\nb\\x9b\\u202e  joined  \\x1b[2J", self.text())
        self.assertTrue(all(line.isprintable() for line in self.text().splitlines()))


class CommandTests(CommandCase):
    def ask(self, *arguments: str) -> "tuple[int, str, str]":
        return self.run_command("status", "--config", str(self.file), *arguments)

    def report(self) -> "dict[str, Any]":
        answering = StatusReport(Clock(), lambda: 42, Reported()).answer({})
        assert isinstance(answering, Deferred)
        return self.successResultOf(answering)

    def test_text(self) -> None:
        self.serve(json.dumps(self.report()).encode() + b"\n")
        code, output, errors = self.ask()
        self.assertEqual((code, errors), (0, ""))
        self.assertEqual(output, status_table.text(self.report(), chosen=False))
        self.assertEqual(json.loads(self.requests[0]), {"request": "status"})

    def test_json(self) -> None:
        self.serve(json.dumps(self.report()).encode() + b"\n")
        code, output, _errors = self.ask("--json", "--account", "ALICE@a.test/phone")
        self.assertEqual((code, json.loads(output)), (status.NOT_KNOWN, self.report()))
        self.assertEqual(json.loads(self.requests[0]), {"request": "status", "account": BARE})

    def asked(self, report: "dict[str, Any]", *arguments: str) -> int:
        self.serve(json.dumps({**self.report(), **report}).encode() + b"\n")
        code, _output, errors = self.ask(*arguments)
        self.assertEqual(errors, "")
        (self.directory / "control").unlink()
        return code

    def test_exit_status(self) -> None:
        wrong: dict[str, Any] = {"troubles": [{"code": "x", "text": "y"}]}
        account: dict[str, Any] = {"account": BARE, "stream": "open", "fault": None, "opens_in": 0}
        account |= {"devices": [], "asleep": [], "rooms": [], "not_in": [], "rooms_left_out": 0}
        here: dict[str, Any] = {"accounts": [account], "found": 1}
        refused: dict[str, Any] = {"accounts": [{**account, "stream": "refused"}], "found": 1}
        answer = {"account": BARE, "room": "r@muc", "in": True, "text": "", "check": ""}
        of_one = ("--account", BARE)
        self.assertEqual(self.asked({}), 0)
        self.assertEqual(self.asked(wrong), 1)
        self.assertEqual(self.asked(here, *of_one), 0)
        self.assertEqual(self.asked(refused, *of_one), 1)
        self.assertEqual(self.asked(refused), 0, "one account in trouble is no fault of the proxy")
        self.assertEqual(self.asked({**wrong, "answer": answer}, *of_one, "--room", "r@muc"), 0)
        self.assertEqual(self.asked({"answer": {**answer, "in": False}}, *of_one, "--room", "r@muc"), 1)
        self.assertEqual(self.asked({}, "--state", "open"), 3)

    def test_all(self) -> None:
        first, second = ({**self.report(), "accounts": [], "next": after} for after in ("1 a@a.test", None))
        self.serve(*(json.dumps(report).encode() + b"\n" for report in (first, second)))
        self.assertEqual(self.ask("--all")[0], 0)
        after = {"request": "status", "after": "1 a@a.test"}
        self.assertEqual([json.loads(request) for request in self.requests], [{"request": "status"}, after])

    def test_socket(self) -> None:
        """The configuration is not even looked at."""
        self.serve(json.dumps(self.report()).encode() + b"\n")
        self.file.unlink()
        code, _output, errors = self.ask("--socket", str(self.directory / "control"))
        self.assertEqual((code, errors), (0, ""))

    def test_a_secret_that_is_not_for_us(self) -> None:
        """Only the keys that say where the socket is are read: no other file has to be readable, or there."""
        self.file.write_text(
            'state = "state.sqlite"\n[[client_proxy]]\ndomain = "p.a.test"\nsecret_file = "/nowhere/secret"\n'
        )
        self.serve(json.dumps(self.report()).encode() + b"\n")
        self.assertEqual(self.ask()[0], 0)

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
        self.assertEqual(self.ask(), (2, "", f"minimixproxy: not running: there is no {path}\n"))
        left_over = socket.socket(socket.AF_UNIX)
        left_over.bind(str(path))
        left_over.close()
        self.assertEqual(self.ask(), (2, "", f"minimixproxy: not running: nobody listens on {path}\n"))

    def test_no_answer(self) -> None:
        self.patch(proxy, "TIMEOUT", 0.1)
        server = socket.socket(socket.AF_UNIX)
        self.addCleanup(server.close)
        server.bind(str(self.directory / "control"))
        server.listen()
        code, _output, errors = self.ask()
        self.assertEqual((code, errors.count("\n")), (2, 1))
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
            self.assertEqual((code, errors.count("\n")), (2, 1))
            self.assertIn(expected, errors)
            (self.directory / "control").unlink()

    def test_bad_configuration(self) -> None:
        self.file.write_text("state = 3")
        code, _output, errors = self.ask()
        self.assertEqual(code, 2)
        self.assertIn(f"minimixproxy: {self.file}: ", errors)

    def test_bad_account(self) -> None:
        code, _output, errors = self.ask("--account", "@")
        self.assertEqual((code, errors.count("\n")), (2, 1))
        self.assertIn("--account: '@' is no JID", errors)

    def test_usage(self) -> None:
        self.assertEqual(self.run_command("--version")[:2], (0, f"minimixproxy {__version__}\n"))
        self.assertIn("status", self.run_command("--help")[1])
        self.assertEqual(self.run_command()[0], 2)
        self.assertEqual(self.run_command("status", "--acc", "alice@a.test")[0], 2)
