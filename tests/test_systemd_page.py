"""What `make deb-check` takes out of docs/systemd.md, and does in a booted Debian, is there."""

import io
import re
import shlex
import sys
import tomllib
from contextlib import redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from tests.test_documents import ROOT

FOLDER = ROOT / "tools" / "debcheck"
PAGE = str(ROOT / "docs" / "systemd.md")
CREDENTIALS = "Keys and secrets as credentials"
PORTS = "Ports below 1024, and ports that stay open"


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(sys, "path", [str(FOLDER), *sys.path])
        self.addCleanup(sys.modules.pop, "page", None)

    def block(self, heading: str, language: str) -> str:
        page = __import__("page")
        said = io.StringIO()
        with redirect_stdout(said):
            page.main(PAGE, heading, language)
        return said.getvalue()

    def test_each_is_asked_for(self) -> None:
        booted = (FOLDER / "booted").read_text()
        for heading in (CREDENTIALS, PORTS):
            self.assertIn(f'"{heading}"', booted)

    def test_credentials(self) -> None:
        loaded = dict(re.findall(r"(?m)^LoadCredential=([\w.]+):(/\S+)$", self.block(CREDENTIALS, "ini")))
        self.assertIn("minimixproxy.key", loaded)
        used = re.findall(r"\$CREDENTIALS_DIRECTORY/([\w.]+)", self.block(CREDENTIALS, "toml"))
        self.assertEqual({"minimixproxy.key", *used}, set(loaded))
        tables = list(tomllib.loads(self.block(CREDENTIALS, "toml")))
        self.assertEqual(tables[-1], "domain", "what follows in the file belongs to that table")

    def test_ports(self) -> None:
        (table,) = tomllib.loads(self.block(PORTS, "toml"))["listen"]
        self.assertEqual(table["endpoint"], "systemd:domain=INET6:name=c2s")
        commands = [shlex.split(line) for line in self.block(PORTS, "indented").splitlines()]
        self.assertEqual([command[0] for command in commands], ["cp", "systemctl", "systemctl", "systemctl"])

    def test_none(self) -> None:
        with self.assertRaisesRegex(SystemExit, "has no block of lua"):
            self.block(PORTS, "lua")
