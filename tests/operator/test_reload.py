"""A reload from beginning to end, with parts that obey the test: all of it or nothing, one after the other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.trial import unittest

from minimixproxy.config.reloading import CannotReload
from minimixproxy.config.settings import ConfigError, Settings, load
from minimixproxy.operator.reload import Hangups, Read, Reload, ReloadService
from tests.log_events import log_events

FILE = """
[[listen]]
endpoint = "tcp:5222"
[domain."example.org"]
[limits]
send_queue = {}
"""
TO_200000 = ("[limits] send_queue: 100000 -> 200000",)


class Part:
    """One part: what became of it, in `seen`; it fails if it is told a fault, and waits for `waits`."""

    def __init__(self, name: str, seen: list[str]) -> None:
        self.name = name
        self.seen = seen
        self.fault: Exception | None = None
        self.late: Exception | None = None
        self.waits: Deferred[None] | None = None
        self.commits: Deferred[None] | None = None  # what it waits for after that
        self.settings: Settings | None = None

    async def prepare(self, new: Settings) -> Part:
        self.seen.append(f"{self.name} prepares for {new.limits.send_queue}")
        if self.waits is not None:
            await self.waits
        if self.fault is not None:
            raise self.fault
        return self

    def commit(self) -> Deferred[None] | None:
        assert self.settings is not None
        self.seen.append(f"{self.name} commits with {self.settings.limits.send_queue}")
        if self.late is not None:
            raise self.late
        return self.commits

    def undo(self) -> None:
        self.seen.append(f"{self.name} undoes")


class Reactor(MemoryReactorClock):
    def callWhenRunning(self, callable: Any, *args: Any, **kw: Any) -> None:
        callable(*args, **kw)

    def callFromThread(self, call: Any, *arguments: Any, **keywords: Any) -> None:
        self.callLater(0, call, *arguments, **keywords)


class ReloadCase(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()
        self.write(100_000)
        self.settings = load(self.file)
        self.seen: list[str] = []
        self.parts = [Part("one", self.seen), Part("two", self.seen)]
        for part in self.parts:
            part.settings = self.settings
        self.reactor = Reactor()
        self.hangups = Hangups()
        self.service = ReloadService(
            Read(self.file, self.settings),
            self.parts,
            self.reactor,
            self.hangups,
            self.begins,
        )
        self.service.startService()
        self.addCleanup(self.stop)
        self.events = log_events(self)

    def begins(self) -> Callable[[], None]:
        self.seen.append("RELOADING")
        return lambda: self.seen.append("READY")

    def stop(self) -> None:
        if self.service.running:
            self.service.stopService()

    def write(self, queue: object, more: str = "") -> None:
        self.file.write_text(FILE.format(queue) + more)

    def lines(self, level: str) -> list[str]:
        return [
            event["log_format"].format(**event)
            for event in self.events
            if event["log_level"].name == level and event["log_namespace"].endswith("ReloadService")
        ]

    def reload(self) -> Reload:
        return self.successResultOf(self.service.reload())


class ReloadTests(ReloadCase):
    def test_all_of_it(self) -> None:
        self.write(200_000)
        done = self.reload()
        self.assertEqual((done.changed, done.restart, done.error), (TO_200000, (), ""))
        self.assertEqual(
            self.seen,
            [
                "RELOADING",
                "one prepares for 200000",
                "two prepares for 200000",
                "one commits with 200000",
                "two commits with 200000",
                "READY",
            ],
        )
        self.assertEqual(self.lines("info"), [f"configuration reloaded: {TO_200000[0]}"])

    def test_nothing_new(self) -> None:
        self.assertEqual(self.reload().changed, ())
        self.assertEqual(self.lines("info"), ["configuration reloaded: nothing has changed in it"])

    def test_a_broken_file(self) -> None:
        """It says the same as at a start would be said, and nothing changes."""
        for text in (FILE.format("1"), "[[listen]", FILE.format(200_000) + "wrong = 1\n"):
            self.file.write_text(text)
            refused = self.assertRaises(ConfigError, load, self.file)
            self.assertEqual(self.reload().error, str(refused))
            self.assertIn(str(refused).splitlines()[0][:280], self.lines("error")[-1])
        self.file.unlink()
        self.assertIn("cannot be read: No such file", self.reload().error)
        self.assertEqual(self.settings.limits.send_queue, 100_000)
        self.assertEqual(set(self.seen), {"RELOADING", "READY"})

    def test_one_part_cannot(self) -> None:
        """Those before it are as they were, the last one first."""
        self.write(200_000)
        self.parts.append(Part("three", self.seen))
        self.parts[2].fault = CannotReload("no such port")
        self.assertEqual(self.reload().error, "no such port")
        self.assertEqual(self.seen[-3:], ["two undoes", "one undoes", "READY"])
        self.assertEqual(self.settings.limits.send_queue, 100_000)
        self.parts[2].fault = None
        self.parts[2].settings = self.settings
        self.assertEqual(self.reload().changed, TO_200000)

    def test_a_fault_of_ours(self) -> None:
        self.write(200_000)
        self.parts[1].fault = ZeroDivisionError()
        self.assertEqual(self.reload().error, "internal error: see the log")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.settings.limits.send_queue, 100_000)

    def test_a_fault_too_late(self) -> None:
        """The others do their part all the same."""
        self.write(200_000)
        self.parts[0].late = ZeroDivisionError()
        self.assertEqual(self.reload().changed, TO_200000)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertIn("two commits with 200000", self.seen)

    def test_a_part_takes_a_while(self) -> None:
        """All begin at once; the reload, and another one, wait for the last."""
        self.write(200_000)
        commits = self.parts[0].commits = Deferred()
        first = self.service.reload()
        second = self.service.reload()
        self.assertEqual(self.seen[-2:], ["one commits with 200000", "two commits with 200000"])
        self.assertNoResult(first)
        self.parts[0].commits = None
        commits.callback(None)
        self.assertEqual(self.successResultOf(first).changed, TO_200000)
        self.assertEqual(self.successResultOf(second).changed, ())
        self.assertEqual((self.seen.index("READY"), self.seen.count("READY"), len(self.seen)), (5, 2, 12))

    def test_a_fault_after_a_while(self) -> None:
        self.write(200_000)
        commits = self.parts[0].commits = Deferred()
        reload = self.service.reload()
        commits.errback(ZeroDivisionError())
        self.assertEqual(self.successResultOf(reload).changed, TO_200000)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_needs_a_restart(self) -> None:
        self.write(200_000, '[rooms]\nbookmarks = "off"\n')
        done = self.reload()
        self.assertEqual((done.changed, done.restart), (TO_200000, ("[rooms] bookmarks: follow -> off",)))
        self.assertEqual(self.settings.rooms.bookmarks, "follow")
        self.assertEqual(self.lines("warn"), ["until a restart this stays as it is: [rooms] bookmarks: follow -> off"])

    def test_another_user_by_now(self) -> None:
        """Twistd has dropped privileges, and the file is root's."""
        user = os.geteuid()
        self.patch(os, "geteuid", lambda: user + 1)
        self.patch(Path, "read_bytes", self.denied)
        error = self.reload().error
        self.assertIn("cannot be read: Permission denied", error)
        self.assertIn(f"twistd has changed its user from {user} to {user + 1} since the start", error)

    def denied(self, *_: object) -> bytes:
        raise PermissionError(13, "Permission denied")

    def test_what_became_of_the_last(self) -> None:
        self.assertEqual(self.service.troubles(), [])
        self.write(1)
        self.reload()
        (trouble,) = self.service.troubles()
        self.assertEqual(trouble.code, "reload-failed")
        self.assertIn("send_queue", trouble.text)
        self.write(200_000)
        self.assertEqual(self.successResultOf(self.service.answer({})), {"changed": list(TO_200000), "restart": []})
        self.assertEqual(self.service.troubles(), [])


class HangupTests(ReloadCase):
    def setUp(self) -> None:
        super().setUp()
        before = signal.getsignal(signal.SIGHUP)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        self.hangups.catch()

    def hang_up(self) -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    def prepared(self) -> list[str]:
        return [line for line in self.seen if line.startswith("one prepares")]

    def test_reloads(self) -> None:
        """Not in the signal handler, which comes in the middle of anything."""
        self.write(200_000)
        self.hang_up()
        self.assertEqual(self.seen, [])
        self.reactor.advance(0)
        self.assertEqual(self.settings.limits.send_queue, 200_000)

    def test_two_at_once(self) -> None:
        """What comes while one is under way calls for one more, and no matter how many came, for one."""
        waits: Deferred[None] = Deferred()
        self.parts[0].waits = waits
        self.write(200_000)
        self.hang_up()
        self.reactor.advance(0)
        self.write(300_000)
        for _ in range(3):
            self.hang_up()
            self.reactor.advance(0)
        self.assertEqual(len(self.prepared()), 1)
        self.parts[0].waits = None
        waits.callback(None)
        self.assertEqual(self.settings.limits.send_queue, 300_000)
        self.assertEqual(len(self.prepared()), 2)

    def test_before_the_start(self) -> None:
        """The configuration was read before that: it is read again."""
        early = Hangups()
        early.catch()
        self.hang_up()
        service = ReloadService(Read(self.file, self.settings), self.parts, self.reactor, early, self.begins)
        self.write(200_000)
        service.startService()
        self.reactor.advance(0)
        self.assertEqual(self.settings.limits.send_queue, 200_000)
        service.stopService()

    def test_during_the_stop(self) -> None:
        """It is under way, and comes to nothing; another one does not kill the process."""
        waits: Deferred[None] = Deferred()
        self.parts[0].waits = waits
        self.write(200_000)
        reload = self.service.reload()
        late = self.service.reload()
        self.service.stopService()
        self.hang_up()
        waits.callback(None)
        self.assertEqual(self.successResultOf(reload).error, "the proxy ends")
        self.assertEqual(self.successResultOf(late).error, "the proxy ends")
        self.assertEqual(self.settings.limits.send_queue, 100_000)
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
