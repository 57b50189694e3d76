"""Keys that were renamed: understood for one minor version, with a warning, and explained for one more."""

from __future__ import annotations

import copy
import re
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.logger import formatEvent
from twisted.trial import unittest

from minimixproxy import __version__, tap
from minimixproxy.config import deprecated
from minimixproxy.config import settings as config
from minimixproxy.config.deprecated import Renamed, understood
from tests.log_events import log_events

STAND_INS = (
    Renamed("", "database", "state", "0.2", "0.3"),
    Renamed("rooms", "keep", "history", "0.2", "0.3"),
    Renamed("listen", "port", "endpoint", "0.2", "0.3"),
    Renamed("domain", "server", "upstream", "0.2", "0.3"),
)
#: What the file has, what is understood, and the warnings.
TABLE: tuple[tuple[dict[str, Any], dict[str, Any], list[str]], ...] = (
    ({"state": "x"}, {"state": "x"}, []),
    ({"database": "x"}, {"state": "x"}, ["database is called state since 0.2"]),
    ({"rooms": {"keep": 5}}, {"rooms": {"history": 5}}, ["[rooms] keep is called history since 0.2"]),
    (
        {"listen": [{"endpoint": "a"}, {"port": "b"}]},
        {"listen": [{"endpoint": "a"}, {"endpoint": "b"}]},
        ["[[listen]] #2 port is called endpoint since 0.2"],
    ),
    (
        {"domain": {"a.b": {"server": "x"}}},
        {"domain": {"a.b": {"upstream": "x"}}},
        ['[domain."a.b"] server is called upstream since 0.2'],
    ),
    # What is no table is for others to complain of.
    (
        {"rooms": 5, "listen": ["port"], "domain": {"a.b": 3}},
        {"rooms": 5, "listen": ["port"], "domain": {"a.b": 3}},
        [],
    ),
    ({"rooms": [{"keep": 1}]}, {"rooms": [{"history": 1}]}, ["[[rooms]] #1 keep is called history since 0.2"]),
    ({"limits": {"keep": 5}}, {"limits": {"keep": 5}}, []),
)
FILE = """
[rooms]
keep = 7
[[listen]]
endpoint = "tcp:0"
[domain."example.org"]
"""


class UnderstoodTests(unittest.SynchronousTestCase):
    def test_table(self) -> None:
        for data, wanted, wanted_warnings in TABLE:
            before = copy.deepcopy(data)
            for version in ("0.2.0", "0.2.7"):
                found, warnings, faults = understood(data, STAND_INS, version)
                self.assertEqual((found, faults), (wanted, []))
                told = [f"{warning}; 0.3 will not know the old name" for warning in wanted_warnings]
                self.assertEqual(warnings, told)
            self.assertEqual(data, before)

    def test_gone(self) -> None:
        for version in ("0.3.0", "0.10.1", "1.0.0"):
            _data, warnings, faults = understood({"rooms": {"keep": 5}}, STAND_INS, version)
            self.assertEqual((warnings, faults), ([], ["[rooms] keep: it is called history since 0.2"]))

    def test_both(self) -> None:
        found, warnings, faults = understood({"rooms": {"keep": 5, "history": 6}}, STAND_INS, "0.2.0")
        self.assertEqual((found, warnings), ({"rooms": {"history": 6}}, []))
        self.assertEqual(faults, ["[rooms] keep: it is called history now, which is there, too: remove one of them"])

    def test_those_of_today(self) -> None:
        """Each is gone one minor version after its new name came, and the new name is one."""
        for key in deprecated.RENAMED:
            (major, minor), gone = (int(part) for part in key.since.split(".")), key.gone
            self.assertEqual(gone, f"{major}.{minor + 1}", key)
            self.assertRegex(__version__, r"^\d+\.\d+\.\d+$")


class LoadTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(understood, "__defaults__", (STAND_INS, "0.2.0"))
        self.file = Path(self.mktemp()).absolute()
        self.file.write_text(FILE)

    def test_the_value_holds(self) -> None:
        events = log_events(self)
        self.assertEqual(config.load(self.file).rooms.history, 7)
        (said,) = [formatEvent(event) for event in events]
        self.assertIn("[rooms] keep is called history since 0.2; 0.3 will not", said)

    def test_check_says_it_too(self) -> None:
        options = tap.Options()
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as errors:
            error = self.assertRaises(SystemExit, options.parseOptions, ["--config", str(self.file), "--check"])
        self.assertEqual(error.code, 0)
        self.assertTrue(re.search(r"^minimixproxy: .*: \[rooms\] keep is called history", errors.getvalue()))

    def test_gone(self) -> None:
        self.patch(understood, "__defaults__", (STAND_INS, "0.3.0"))
        error = self.assertRaises(config.ConfigError, config.load, self.file)
        self.assertEqual(str(error), f"{self.file}: [rooms] keep: it is called history since 0.2")
