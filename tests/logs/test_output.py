"""The log as it is written: which levels, text or JSON, to a file, to syslog; by the options of twistd."""

from __future__ import annotations

import json
import signal
import sys
import syslog
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.logger import LogEvent, LogLevel
from twisted.logger import Logger as TwistedLogger
from twisted.python.failure import Failure
from twisted.python.syslog import SyslogObserver
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy import ports, tap
from minimixproxy.c2s.server import login_attempts
from minimixproxy.config.settings import Log
from minimixproxy.logs import output
from minimixproxy.logs.logger import Logger
from minimixproxy.logs.output import LogOutput, json_line, room_of
from tests.log_events import Observer

LEVELS = ("debug", "info", "warn", "error", "critical")
TEXT = Log()
MEMBERS = ["time", "level", "room", "message", "fields"]


class OutputCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.file = StringIO()
        self.output = LogOutput()
        self.output.to_file(self.file)
        self.log = Logger("minimixproxy.c2s.server.login_attempts.LoginAttempts", observer=self.output)

    def written(self) -> list[str]:
        return self.file.getvalue().splitlines()

    def events(self, *, to: str = "minimixproxy.tap") -> tuple[Logger, list[LogEvent]]:
        events: list[LogEvent] = []
        return Logger(to, observer=Observer(events.append)), events


class LevelTests(OutputCase):
    def test_from_which_on(self) -> None:
        for number, level in enumerate(LEVELS):
            self.file.truncate(0)
            self.file.seek(0)
            self.output.settings = Log(level=level)  # type: ignore[arg-type]
            for one in LEVELS:
                getattr(self.log, one)("it is {what}", what=one)
            self.assertEqual([line.rpartition(" ")[2] for line in self.written()], list(LEVELS[number:]))

    def test_others_lines_too(self) -> None:
        """Of Twisted, be they of its older way of logging, without a level."""
        self.output.settings = Log(level="warn")
        TwistedLogger("twisted.internet", observer=self.output).info("noise")
        self.output({"log_format": "older noise"})
        self.assertEqual(self.written(), [])

    def test_it_can_change(self) -> None:
        """The table that a reload changes is the one that is read."""
        settings = Log()
        self.output.settings = settings
        self.log.info("one")
        settings.take_over(Log(level="error", format="json"))
        self.log.info("two")
        self.log.error("three")
        self.assertTrue(self.written()[0].endswith("LoginAttempts#info] one"))
        self.assertEqual([json.loads(line)["message"] for line in self.written()[1:]], ["three"])


class JSONTests(OutputCase):
    def setUp(self) -> None:
        super().setUp()
        self.output.settings = Log(format="json")

    def line(self) -> dict[str, Any]:
        (line,) = self.written()
        found: dict[str, Any] = json.loads(line)
        return found

    def test_members(self) -> None:
        self.log.info("failed login from {address} as {account}", address="192.0.2.1", account="a@b", number=7)
        line = self.line()
        self.assertEqual(list(line), MEMBERS)
        self.assertRegex(line.pop("time"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(
            line,
            {
                "level": "info",
                "room": "c2s.server",
                "message": "failed login from 192.0.2.1 as a@b",
                "fields": {"address": "192.0.2.1", "account": "a@b", "number": 7},
            },
        )

    def test_names_have_places_of_their_own(self) -> None:
        r"""No quotation marks are needed there; a message has them."""
        for text in ('a "b" c', "a\nb", "x\\", "\u2028", "\x1b[2J", '", "level": "critical'):
            self.file.truncate(0)
            self.file.seek(0)
            self.log.info("{account} is here", account=text)
            line = self.line()
            self.assertEqual((line["level"], line["message"][-8:]), ("info", " is here"))
            self.assertTrue(line["fields"]["account"].isprintable())
            self.assertNotIn('"a "', line["fields"]["account"])
        self.assertEqual(self.line()["fields"]["account"], '", "level": "critical')

    def test_a_fault(self) -> None:
        try:
            raise ZeroDivisionError("a\x1b\nb")
        except ZeroDivisionError:
            self.log.failure("while {account} was here", Failure(), account="a@b")
        line = self.line()
        self.assertEqual(list(line), [*MEMBERS, "traceback"])
        self.assertEqual((line["level"], line["message"]), ("critical", "while a@b was here"))
        self.assertIn("ZeroDivisionError", line["traceback"])

    def test_lines_of_twisted(self) -> None:
        """Also those that hold anything, and such as cannot be formatted."""
        other = TwistedLogger("twisted.web", observer=self.output)
        other.info("an {object}\nand more", object=object())
        other.info("{missing}")
        self.output({"log_format": "{log_text}", "log_text": "x" * 100_000, "message": ("x",), "system": "-"})
        lines = [json.loads(line) for line in self.written()]
        self.assertEqual([line["room"] for line in lines], ["twisted.web", "twisted.web", "-"])
        self.assertIn("and more", lines[0]["message"])
        self.assertEqual((len(lines[2]["message"]), lines[2]["fields"]), (64 * 1024, {}))

    def test_rooms(self) -> None:
        self.assertTrue(ports and tap and login_attempts, "they are imported, as whatever logs is")
        for namespace, room in (
            ("minimixproxy.c2s.server.login_attempts.LoginAttempts", "c2s.server"),
            ("minimixproxy.ports.Rebinding", "ports"),
            ("minimixproxy.logs.logger", "logs"),
            ("minimixproxy.no.such.module", "minimixproxy"),
            ("twisted.internet.base", "twisted.internet.base"),
            ("-", "-"),
        ):
            self.assertEqual(room_of(namespace), room)

    def test_time(self) -> None:
        log, events = self.events()
        log.info("x")
        line = json_line({**events[0], "log_time": 1_700_000_000.5})
        self.assertTrue(line.startswith('{"time": "2023-11-14T22:13:20.500Z"'))


class WhereTests(SynchronousTestCase):
    """By the options of twistd, as twistd itself has it."""

    def setUp(self) -> None:
        self.patch(output, "OUTPUT", LogOutput())
        self.patch(output, "_twistd", {})
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()

    def follow(self, settings: Log = TEXT, **options: Any) -> Logger:
        twistd = {"logfile": None, "syslog": False, "nodaemon": True, "prefix": "twisted", "logger": None, **options}
        output.follow(twistd, settings)
        self.assertEqual(twistd["logger"], "minimixproxy.logs.output.observer")
        return Logger("minimixproxy.tap", observer=output.observer())

    def test_a_file(self) -> None:
        before = signal.getsignal(signal.SIGUSR1)
        self.addCleanup(signal.signal, signal.SIGUSR1, before)
        file = self.directory / "log"
        for nodaemon, settings in ((True, Log()), (False, Log(format="json"))):
            self.follow(settings, logfile=str(file), nodaemon=nodaemon).info("it is {what}", what="here")
            self.assertIn("it is here", file.read_text().splitlines()[-1])
        self.assertEqual(json.loads(file.read_text().splitlines()[-1])["fields"], {"what": "here"})

    def test_standard_output(self) -> None:
        for name in (None, "", "-"):
            shown = StringIO()
            self.patch(sys, "stdout", shown)
            self.follow(logfile=name).info("here")
            self.assertTrue(shown.getvalue().endswith("[minimixproxy.tap#info] here\n"))

    def test_a_daemon_has_none(self) -> None:
        self.assertRaises(SystemExit, self.follow, logfile="-", nodaemon=False)

    def test_syslog(self) -> None:
        lines: list[tuple[int, str]] = []
        opened: list[str] = []
        self.patch(syslog, "syslog", lambda priority, line: lines.append((priority, line)))
        self.patch(SyslogObserver, "openlog", lambda _self, prefix, *_: opened.append(prefix))
        self.patch(SyslogObserver, "syslog", lambda _self, priority, line: lines.append((priority, line)))
        self.follow(syslog=True, prefix="mini").warn("as {what}", what="text")
        self.follow(Log(format="json"), syslog=True, prefix="mini").warn("as {what}", what="JSON")
        self.assertEqual((opened, lines[0][1]), (["mini", "mini"], "[minimixproxy.tap#warn] as text"))
        self.assertEqual((lines[1][0], json.loads(lines[1][1])["message"]), (syslog.LOG_WARNING, "as JSON"))

    def test_a_logger_of_the_operator(self) -> None:
        twistd = {"logger": "somebody.else"}
        output.follow(twistd, Log())
        self.assertEqual(twistd, {"logger": "somebody.else"})
        output.follow(None, Log())

    def test_levels_have_priorities(self) -> None:
        self.assertEqual(set(output._PRIORITIES), set(LogLevel.iterconstants()))
