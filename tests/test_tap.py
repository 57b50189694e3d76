"""Options and makeService, and the command line as twistd runs it."""

import os
import re
import stat
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.names import client as names_client
from twisted.python import usage
from twisted.trial import unittest

from minimixproxy import tap
from minimixproxy.config import settings as config
from minimixproxy.config.place import place
from tests.integration import prefork
from tests.operator.schema import faults
from tests.patience import patiently

TWISTD = str(Path(sys.executable).parent / "twistd")
GOOD = """
state = "new/state/minimixproxy.sqlite"
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"
[domain."example.org"]
[[client_proxy]]
domain = "proxy.example.org"
target = "bot@example.org"
server = "tcp:127.0.0.1:5347"
secret = "s3cret"
"""
BAD = GOOD.replace("tcp:0", "pct:0")


class Silent:
    """A resolver that never answers."""

    def __getattr__(self, _name: str) -> Any:
        return lambda *_arguments, **_options: Deferred()


class TapTestCase(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.file = self.directory / "minimixproxy.toml"
        self.file.write_text(GOOD)

    def options(self, *arguments: str) -> tap.Options:
        options = tap.Options()
        options.parseOptions(list(arguments))
        return options


class OptionsTests(TapTestCase):
    def test_config(self) -> None:
        for option in ("--config", "-c"):
            settings = self.options(option, str(self.file))["settings"]
            self.assertEqual(list(settings.domain), ["example.org"])

    def test_config_is_required(self) -> None:
        error = self.assertRaises(usage.UsageError, self.options)
        self.assertEqual(str(error), "--config FILE is missing")

    def test_bad_file(self) -> None:
        self.file.write_text(BAD)
        error = self.assertRaises(SystemExit, self.options, "--config", str(self.file))
        self.assertIn(f"minimixproxy: {self.file}: [[listen]] #1 endpoint: must be", str(error.code))

    def test_check(self) -> None:
        with redirect_stdout(StringIO()) as output:
            error = self.assertRaises(SystemExit, self.options, "--config", str(self.file), "--check")
        self.assertEqual((error.code, output.getvalue()), (0, f"{self.file}: can be used\n"))


class MakeServiceTests(TapTestCase):
    def setUp(self) -> None:
        super().setUp()
        # Twisted's would use the real reactor, and leave a timer to whichever test comes next.
        self.patch(names_client, "theResolver", Silent())

    def test_tree(self) -> None:
        tree = tap.makeService(self.options("--config", str(self.file)), reactor=MemoryReactorClock())
        _log, control, _notify, state, _client_proxy, _reload = tree
        self.assertEqual(len(list(state)), 2)  # accounts and listeners start when state is there, and stop before it
        self.assertTrue(all(IService.providedBy(service) for service in (*tree, *state)))
        for request in ("status", "forget"):
            self.assertTrue(callable(control._factory.answer_to({"request": request})))

    def test_status(self) -> None:
        """All that it is made of is there, also of a proxy with its site."""
        self.file.write_text(f"{GOOD}[web]\n")
        tree = tap.makeService(self.options("--config", str(self.file)), reactor=MemoryReactorClock())
        _log, control, *_others = tree
        answer = control._factory.answer_to({"request": "status"})
        report = self.successResultOf(answer({"account": "alice@example.org", "room": "room@muc.example.org"}))
        self.assertEqual(list(faults(report)), [])
        self.assertEqual(report["configuration"], str(self.file))
        self.assertEqual(report["answer"]["code"], "account-unknown")
        report = self.successResultOf(answer({"account": "alice@example.net", "room": "room@muc.example.org"}))
        self.assertEqual(report["answer"]["code"], "domain-not-served")

    def test_only_client_proxy(self) -> None:
        """It has a place of its own for its control socket, which is nobody else's."""
        self.patch(config, "DEFAULT_STATE", self.directory / "lib" / "state.sqlite")
        self.file.write_text(GOOD[GOOD.index("[[client_proxy]]") :])
        tree = tap.makeService(self.options("--config", str(self.file)), reactor=MemoryReactorClock())
        self.assertEqual(len(list(tree)), 5)
        (domain,) = (self.directory / "lib" / "client_proxy").iterdir()
        self.assertEqual(domain, place(self.file).directory)
        self.assertEqual(stat.S_IMODE(domain.stat().st_mode), 0o700)

    def test_only_client_proxy_without_a_place(self) -> None:
        """It works all the same."""
        (self.directory / "lib").write_text("a file")
        self.patch(config, "DEFAULT_STATE", self.directory / "lib" / "state.sqlite")
        self.file.write_text(GOOD[GOOD.index("[[client_proxy]]") :])
        with capturedLogs() as events:
            tree = tap.makeService(self.options("--config", str(self.file)), reactor=MemoryReactorClock())
        self.assertEqual(len(list(tree)), 4)
        secret, no_status = map(formatEvent, events)
        self.assertIn("minimixproxy.toml holds a secret, and everybody on this machine may read it (mode 0644)", secret)
        self.assertIn("no status can be asked for: ", no_status)

    def test_state_directory_is_made_for_its_owner_only(self) -> None:
        tap.makeService(self.options("--config", str(self.file)), reactor=MemoryReactorClock())
        mode = (self.directory / "new" / "state").stat().st_mode
        self.assertEqual(stat.S_IMODE(mode), 0o700)

    def test_state_directory_is_made_for_whom_twistd_changes_to(self) -> None:
        changed: list[tuple[str, int, int]] = []
        self.patch(os, "chown", lambda path, uid, gid: changed.append((Path(path).name, uid, gid)))
        table: tuple[tuple[dict[str, int | None] | None, tuple[int, int]], ...] = (
            ({"uid": 1234, "gid": 567}, (1234, 567)),
            ({"uid": 0, "gid": None}, (0, -1)),
            ({"uid": None, "gid": 0}, (-1, 0)),
            (None, (-1, -1)),
        )
        for number, (twistd, owner) in enumerate(table):
            self.file.write_text(GOOD.replace("new/state", f"{number}/state"))
            options = self.options("--config", str(self.file))
            self.patch(options, "parent", twistd)
            tap.makeService(options, reactor=MemoryReactorClock())
            self.assertEqual(changed.pop(), ("state", *owner))

    def test_state_directory_that_is_there_is_left_alone(self) -> None:
        existing = self.directory / "new" / "state"
        existing.mkdir(parents=True)
        existing.chmod(0o755)
        tap.makeService(self.options("--config", str(self.file)), reactor=MemoryReactorClock())
        self.assertEqual(stat.S_IMODE(existing.stat().st_mode), 0o755)

    def test_state_directory_that_cannot_be_made(self) -> None:
        (self.directory / "new").write_text("a file")
        options = self.options("--config", str(self.file))
        error = self.assertRaises(SystemExit, tap.makeService, options, reactor=MemoryReactorClock())
        self.assertIn("Not a directory", str(error.code))

    def test_one_proxy_to_one_state_directory(self) -> None:
        options = self.options("--config", str(self.file))
        tap.makeService(options, reactor=MemoryReactorClock())
        error = self.assertRaises(SystemExit, tap.makeService, options, reactor=MemoryReactorClock())
        self.assertEqual(
            error.code, f"minimixproxy: {self.directory / 'new' / 'state'} is in use by another minimixproxy"
        )

    def test_client_proxy_with_a_place_for_its_control_socket(self) -> None:
        self.file.write_text('state_directory = "new"\n' + GOOD[GOOD.index("[[client_proxy]]") :])
        tree = tap.makeService(self.options("--config", str(self.file)), reactor=MemoryReactorClock())
        self.assertEqual(len(list(tree)), 5)
        self.assertTrue((self.directory / "new").is_dir())


class CommandLineTests(TapTestCase):
    """twistd in a process of its own, from a directory that is not the source tree."""

    def twistd(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run it until nothing is left of it: a daemon tells of a failed start, and then tidies up."""
        reading, writing = os.pipe()
        with open(reading, "rb") as left:
            try:
                done = subprocess.run(
                    [TWISTD, *arguments],
                    cwd=self.directory,
                    env={**os.environ, "PYTHONPATH": ""},
                    capture_output=True,
                    text=True,
                    timeout=patiently(60),
                    check=False,
                    pass_fds=[writing],
                )
            finally:
                os.close(writing)
            left.read()  # ends when the last process does
        return done

    def twistd_forked(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """The same, for what starts no daemon: most of its CPU went into importing all once more."""
        if not prefork.wanted():
            return self.twistd(*arguments)
        return prefork.forker().run([TWISTD, *arguments], "", self.directory, patiently(60))

    def test_listed(self) -> None:
        done = self.twistd("--help")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stdout, r"(?m)^ +minimixproxy +XMPP proxy")

    def test_help(self) -> None:
        done = self.twistd_forked("minimixproxy", "--help")
        self.assertEqual(done.returncode, 0)
        self.assertIn("--config=", done.stdout)
        self.assertIn("--check", done.stdout)

    def test_version(self) -> None:
        done = self.twistd_forked("minimixproxy", "--version")
        self.assertRegex(done.stdout, "^minimixproxy [0-9.]+, Twisted [0-9.]+\n$")

    def test_check(self) -> None:
        done = self.twistd_forked("-n", "minimixproxy", "--config", "minimixproxy.toml", "--check")
        self.assertEqual((done.returncode, done.stdout), (0, "minimixproxy.toml: can be used\n"))

    def test_bad_file(self) -> None:
        self.file.write_text(BAD)
        for arguments in (["--check"], []):
            done = self.twistd_forked("-n", "minimixproxy", "--config", "minimixproxy.toml", *arguments)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertIn("minimixproxy: minimixproxy.toml: [[listen]] #1 endpoint: must be", done.stderr)
            self.assertNotIn("Traceback", done.stderr)
            self.assertEqual(sorted(path.name for path in self.directory.iterdir()), ["minimixproxy.toml"])

    def test_no_config(self) -> None:
        done = self.twistd_forked("-n", "minimixproxy")
        self.assertEqual(done.returncode, 1)
        self.assertIn("--config FILE is missing", done.stdout)

    def damaged_state(self) -> None:
        directory = self.directory / "new" / "state"
        directory.mkdir(parents=True)
        (directory / "minimixproxy.sqlite").write_text("a shopping list\n" * 100)

    def test_check_with_damaged_state(self) -> None:
        self.damaged_state()
        done = self.twistd_forked("-n", "minimixproxy", "--config", "minimixproxy.toml", "--check")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("new/state/minimixproxy.sqlite: is damaged, or no SQLite database", done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def test_start_with_damaged_state(self) -> None:
        """One line in the log, and a status that tells; nothing is left of the process."""
        self.damaged_state()
        for start, arguments in ((self.twistd_forked, ["-n"]), (self.twistd, ["--logfile=log"])):
            done = start(*arguments, "--pidfile=pid", "minimixproxy", "--config", "minimixproxy.toml")
            self.assertEqual(done.returncode, 1)
            said = done.stdout + done.stderr
            if arguments == ["--logfile=log"]:
                self.assertIn("An error has occurred", said)
                said = (self.directory / "log").read_text()
            self.assertEqual(len(re.findall("critical.*sqlite: is damaged, or no SQLite database", said)), 1, said)
            self.assertNotIn("Traceback", said)
            self.assertFalse((self.directory / "pid").exists())
