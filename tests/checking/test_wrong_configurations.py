"""Wrong configurations, and the sentence that the operator sees: of `check`, of `--check`, and of the start."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy import state_lock, tap
from minimixproxy.operator.commands import main
from tests.certificates import make_authority, make_certificate

GOOD = """
state = "state/state.sqlite"
[[listen]]
endpoint = "tcp:0:interface=127.0.0.1"
[domain."example.org"]
certificate = "good.pem"
private_key = "good.key"
upstream = "tcp:127.0.0.1:15222"
"""
COMPONENT = """
[[client_proxy]]
domain = "proxy.example.org"
target = "bot@example.org"
server = "tcp:127.0.0.1:5347"
secret = "s3cret"
"""
CLUSTER = '[cluster]\nname = "a"\nendpoint = "unix:/run/a"\nsecret = "cluster.key"\n'
Prepare = Callable[[Path], None]


def nothing(_directory: Path) -> None:
    """Only the configuration itself is wrong."""


class Wrong(NamedTuple):
    """A configuration: what takes the place of what, and what is said. `starts`: that is no reason not to start."""

    old: str
    new: str
    says: str
    prepare: Prepare = nothing
    starts: bool = False


def damaged(directory: Path) -> None:
    (directory / "state").mkdir()
    (directory / "state" / "state.sqlite").write_text("a shopping list\n" * 100)


def a_file(name: str, mode: int = 0o600, text: str = "x" * 64) -> Prepare:
    def prepare(directory: Path) -> None:
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).write_text(text)
        (directory / name).chmod(mode)

    return prepare


def a_directory(name: str, mode: int = 0o700) -> Prepare:
    def prepare(directory: Path) -> None:
        (directory / name).mkdir()
        (directory / name).chmod(mode)

    return prepare


def open_key(directory: Path) -> None:
    (directory / "good.key").chmod(0o644)


TABLE = [
    Wrong(GOOD, "", "nothing to do: needs [[listen]]"),
    Wrong(GOOD, "state = ", "not valid TOML"),
    Wrong(GOOD, GOOD.replace('"state/state.sqlite"', "3"), "state: must be a file name or a URL"),
    Wrong("state/state.sqlite", "mysql://a@b/c", "state: must be a file name or a URL"),
    Wrong("[[listen]]", "[listen]", "must be written with double brackets"),
    Wrong("tcp:0:", "pct:0:", 'endpoint: must be a Twisted server endpoint, such as "tcp:5222"'),
    Wrong("tcp:0:", "tcp:5222x:", 'endpoint: must be a Twisted server endpoint, such as "tcp:5222"'),
    Wrong('127.0.0.1"\n[', '127.0.0.1"\ntls = "sometimes"\n[', 'tls: must be "starttls" or "direct"'),
    Wrong("upstream =", "upstraem =", "unknown key; did you mean upstream?"),
    Wrong("example.org", "exa mple.org", "must be a domain name"),
    Wrong("good.pem", "missing.pem", "missing.pem cannot be read: No such file or directory"),
    Wrong("good.pem", "good.key", "holds no certificate in PEM"),
    Wrong("good.key", "other.key", "does not belong to the first certificate"),
    Wrong('private_key = "good.key"\n', "", "private_key is missing"),
    Wrong("tcp:127.0.0.1:15222", "127.0.0.1:15222", "upstream: must be a Twisted client endpoint"),
    Wrong("tcp:127.0.0.1:15222", "ssl:127.0.0.1:15222", 'an "ssl:" endpoint verifies no certificate'),
    Wrong("[[listen]]", 'seal_key = "key"\n[[listen]]', "is a directory: seal_key must", a_directory("key")),
    Wrong("[[listen]]", 'seal_key = "key"\n[[listen]]', "others may read it (mode 0644)", a_file("key", 0o644)),
    Wrong("[[listen]]", 'seal_key = "key"\n[[listen]]', "must hold at least 32", a_file("key", text="short")),
    Wrong("[[listen]]", CLUSTER + "[[listen]]", "[cluster] needs a state that all share"),
    Wrong(
        "[[listen]]", CLUSTER.replace("unix:/run", "tls:5") + "[[listen]]", '[cluster] endpoint: must be "tls:ADDRESS:'
    ),
    Wrong("state.sqlite", "state.sqlite", "is damaged, or no SQLite database", damaged),
    Wrong("state/state.sqlite", "file/state.sqlite", "is no directory", a_file("file")),
    Wrong("15222", "5999", "leads back to the proxy's own [[listen]]", starts=False),
    Wrong("good.", "other-name.", "is for elsewhere.test, not for example.org", starts=True),
    Wrong("good.pem", "alone.pem", "holds nothing but itself", starts=True),
    Wrong(
        "[[listen]]",
        "[[listen]]",
        "everybody on this machine may read it",
        open_key,
        True,
    ),
    Wrong("[[listen]]", "[limits]\nstanza_size = 5\n[[listen]]", "stanza_size: must be greater than or equal to 10000"),
    Wrong("[[listen]]", '[rooms]\nstay = "long"\n[[listen]]', "stay: must be a number"),
    Wrong(GOOD, COMPONENT.replace('secret = "s3cret"', ""), "needs either secret or secret_file"),
    Wrong(GOOD, COMPONENT.replace("bot@example.org", "example.org"), "must be a bare JID"),
    Wrong(GOOD, COMPONENT.replace("bot@example.org", "bot@proxy.example.org"), "is in the proxied domain itself"),
]


class WrongTest(SynchronousTestCase):
    def setUp(self) -> None:
        authority = make_authority()
        self.authority = authority.certificate_pem()
        self.pairs = {
            "good": make_certificate(authority, "example.org"),
            "other": make_certificate(authority, "example.org"),
            "other-name": make_certificate(authority, "elsewhere.test"),
        }

    def write(self, wrong: Wrong | None) -> Path:
        directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, directory)
        for name, pair in self.pairs.items():
            certificate, key = pair.write(directory, name)
            certificate.write_bytes(pair.certificate_pem() + self.authority)
            key.chmod(0o600)
        (directory / "alone.pem").write_bytes(self.pairs["good"].certificate_pem())
        file = directory / "minimixproxy.toml"
        text = GOOD
        if wrong is not None:
            self.assertIn(wrong.old, GOOD)
            text = GOOD.replace(wrong.old, wrong.new)
            if wrong.new == "5999":
                text = text.replace("tcp:0:", "tcp:5999:")
            wrong.prepare(directory)
        file.write_text(text)
        file.chmod(0o600)
        return file

    def check(self, file: Path) -> tuple[int, str]:
        with redirect_stdout(StringIO()) as output:
            status = main(["check", "--offline", "--config", str(file)])
        return status, output.getvalue()

    def started(self, file: Path, *more: str) -> tuple[bool, str]:
        """Whether it would start, and what is said."""
        self.patch(state_lock, "take", lambda _directory: None)
        with redirect_stdout(StringIO()) as output, redirect_stderr(StringIO()) as errors:
            try:
                options = tap.Options()
                options.parseOptions(["--config", str(file), *more])
                tap.makeService(options, reactor=MemoryReactorClock())
            except SystemExit as exit:
                said = f"{output.getvalue()}{errors.getvalue()}{exit.code or ''}"
                return not exit.code, said
        return True, ""

    def test_good(self) -> None:
        file = self.write(None)
        status, said = self.check(file)
        self.assertEqual((status, "ERROR" in said, "WARNING" in said), (0, False, False), said)
        self.assertEqual(self.started(file, "--check"), (True, f"{file}: can be used\n"))
        self.assertEqual(self.started(file), (True, ""))
        with redirect_stdout(StringIO()):
            strict = main(["check", "--offline", "--strict", "--config", str(file)])
        self.assertEqual(strict, 1, "what could not be asked counts")

    def test_each(self) -> None:
        self.assertGreaterEqual(len(TABLE), 25)
        for wrong in TABLE:
            file = self.write(wrong)
            status, said = self.check(file)
            self.assertIn(wrong.says, said, wrong)
            good, said_by_flag = self.started(file, "--check")
            self.assertIn(wrong.says, said_by_flag, wrong)
            self.assertEqual(good, status == 0, f"both agree: {wrong}")
            if not wrong.starts and wrong.prepare is nothing:  # what is wrong with state is said when it is opened
                starts, said_at_start = self.started(file)
                self.assertEqual((starts, wrong.says in said_at_start), (False, True), wrong)
            for text in (said, said_by_flag):
                self.assertNotIn("Traceback", text)
                self.assertNotIn("s3cret", text)

    def test_nothing_is_made_by_looking(self) -> None:
        file = self.write(None)
        before = sorted(os.listdir(file.parent))
        self.check(file)
        self.started(file, "--check")
        self.assertEqual(sorted(os.listdir(file.parent)), before)
