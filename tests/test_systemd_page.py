"""What `make deb-check` sees in a booted Debian, as far as that can be told without one.

What it takes out of docs/systemd.md is there, and the package stops the sockets that lead to the service.
"""

import io
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.patience import patiently
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


class RemovalTests(SynchronousTestCase):
    """debian/minimixproxy.prerm, with programs that stand in for systemd's."""

    def stopped(self, sockets: str) -> list[str]:
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        for name, text in (("systemctl", f"echo '{sockets}'"), ("deb-systemd-invoke", f'echo "$@" >>{directory}/told')):
            (directory / name).write_text(f"#!/bin/sh\n{text}\n")
            (directory / name).chmod(0o755)
        script = (ROOT / "debian" / "minimixproxy.prerm").read_text()
        self.assertIn("/run/systemd/system", script)
        script = script.replace("/run/systemd/system", str(directory)).partition("#DEBHELPER#")[0]
        command = ["sh", "-c", script, "prerm", "remove"]
        path = {"PATH": f"{directory}:/usr/bin:/bin"}
        subprocess.run(command, env=path, check=True, timeout=patiently(10), stdin=subprocess.DEVNULL)
        return (directory / "told").read_text().splitlines()

    def test_sockets_go_first(self) -> None:
        """Else the next client has the service started again, from files that are being removed."""
        both = [f"minimixproxy-{name}.socket" for name in ("c2s", "c2s-tls")]
        self.assertEqual(self.stopped(" ".join(both)), [f"stop {unit}" for unit in (*both, "minimixproxy.service")])

    def test_none(self) -> None:
        self.assertEqual(self.stopped(""), ["stop minimixproxy.service"])
