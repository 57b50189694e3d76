"""docs/status.md says what is so: of the JSON, of all codes, of the exit statuses."""

from __future__ import annotations

import json
import re

from minimixproxy.accountstream.lifecycle_rules import Fault
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.minimix.bookmarks.says import Says
from minimixproxy.minimix.interfaces.endings import Ending, Why
from minimixproxy.operator.commands.status import STATUS
from minimixproxy.operator.reported import Trouble
from minimixproxy.operator.status_report import MAX_ACCOUNTS, SCHEMA
from minimixproxy.storage.leases import MOST_ORPHANS
from tests.minimix.fakes import BARE, FakeSession
from tests.minimix.owned import FakeRoom
from tests.operator.schema import DOCUMENT, faults, tables
from tests.operator.test_status import CLUSTER, FakeAccount, FakeStream, ReportCase


class SchemaTests(ReportCase):
    def everything(self) -> None:
        self.some()
        self.accounts[2][1].fault = Fault("connection refused", 1.0)
        self.endings.note(BARE, "two@muc", Ending(Why.KICKED), 1.0)
        self.endings.note(BARE, "three@muc", Ending(Why.REFUSED, "conflict", "text", "muc"), 1.0)
        self.troubles.append(Trouble("x", "y"))
        others = [{"name": "b", "address": "b:1", "number": 8, "accounts": 5, "draining": False}]
        self.cluster = {**CLUSTER, "others": others, "left_by": ["c"]}

    def test_reports(self) -> None:
        self.everything()
        for request in ({}, {"account": BARE}, {"account": BARE, "room": "two@muc"}, {"room": "one@muc"}):
            report = json.loads(json.dumps(self.report(**request)))
            self.assertEqual(list(faults(report)), [])
        self.journal = None
        self.cluster = {**CLUSTER, "seen_ago": None}
        self.assertEqual(list(faults(json.loads(json.dumps(self.report())))), [])

    def test_each_table_is_of_use(self) -> None:
        kinds = {
            kind.removeprefix("list of ").partition(" or ")[0] for table in tables().values() for kind in table.values()
        }
        self.assertEqual(kinds - {"text", "texts", "number", "numbers", "boolean"}, set(tables()) - {"status"})
        self.assertIn(f"is its version, {SCHEMA}:", DOCUMENT.read_text("utf-8"))

    def test_how_many_accounts_of_nobody_are_counted(self) -> None:
        self.assertIn(f"{MOST_ORPHANS:,} or more are counted as so many", DOCUMENT.read_text("utf-8"))

    def test_a_fault_is_found(self) -> None:
        self.everything()
        report = self.report()
        report["accounts"][0]["rooms"][0]["nick"] = None
        self.assertEqual(list(faults(report)), [".accounts[0].rooms[0].nick: no text: None"])
        report["more"] = 1
        self.assertEqual(list(faults(report)), [": members differ: ['more']"])

    def test_codes(self) -> None:
        section = DOCUMENT.read_text("utf-8").partition("\n## Why somebody")[2].partition("\n## JSON")[0]
        told = set(re.findall(r"`([a-z-]+)`", "".join(re.findall(r"^\| (.+?) \|", section, re.MULTILINE)))) - {"code"}
        others = {
            "in",
            "account-unknown",
            "domain-not-served",
            "not-enrolled",
            "login-refused",
            "joining",
            "leaving",
            "blocked",
        }
        streams = {f"stream-{state.value}" for state in StreamState} - {"stream-open"}
        bookmarks = {f"bookmark-{says.value}" for says in Says}
        self.assertEqual(told, others | {"rejoining"} | streams | bookmarks | {why.value for why in Why})

    def test_exit_statuses(self) -> None:
        section = DOCUMENT.read_text("utf-8").partition("\n## Exit status\n")[2].partition("\n## ")[0]
        self.assertEqual(
            {int(status) for status in re.findall(r"^\| (\d) \|", section, re.MULTILINE)}, set(STATUS.statuses)
        )

    def test_bounded(self) -> None:
        """However many accounts there are, with however long names, an answer has its bound."""
        name = "r" * 1023
        for number in range(2 * MAX_ACCOUNTS):
            room = FakeRoom(f"{number}@{name}", FakeSession(name, self.clock), nick=name)
            bare = f"{number}{name}@a.test"
            self.accounts.append((FakeAccount(bare, (), (room,)), FakeStream(StreamState.OPEN)))
            for other in range(60):
                self.endings.note(bare, f"{other}@{name}", Ending(Why.REFUSED, name, name, name), 1.0)
        report = self.report()
        self.assertEqual((len(report["accounts"]), report["found"]), (MAX_ACCOUNTS, 2 * MAX_ACCOUNTS))
        self.assertLess(len(json.dumps(report)), 16 * 1024 * 1024)
