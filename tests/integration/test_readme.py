"""The configurations for who installs it, run as they are written: the proxy before Prosody, and before ejabberd.

Changed are ports, paths, and what says that the server's certificate is to be trusted.
"""

import os
import re
from pathlib import Path

from twisted.trial import unittest

from tests.certificates import make_certificate
from tests.integration import client as raw
from tests.integration.ejabberd import Ejabberd
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.prosody import Prosody
from tests.integration.proxy import TWISTD
from tests.integration.servers import Account, Server, authority, authority_file, in_path
from tests.patience import patiently

ROOT = Path(__file__).parent.parent.parent
PAGES = {"toml": ROOT / "README.md", "lua": ROOT / "docs" / "installing.md", "yaml": ROOT / "docs" / "installing.md"}
DOMAIN = "example.org"
UPSTREAM = "15222"
PROSODY = """
run_as_root = true
data_path = "{directory}"
pidfile = "{directory}/prosody.pid"
log = {{ {{ levels = {{ min = "info" }}, to = "console" }} }}
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "presence", "message", "iq", "c2s", "ping" }}
modules_disabled = {{ "s2s" }}
ssl = {{ key = "{key}", certificate = "{certificate}" }}
{snippet}
VirtualHost "example.org"
Component "conference.example.org" "muc"
"""
EJABBERD = """
hosts: ["example.org"]
certfiles: ["{certificate}"]
auth_method: [internal]
acme: {{auto: false}}
access_rules:
  c2s: {{allow: all}}
modules:
  mod_disco: {{}}
  mod_muc: {{}}
  mod_roster: {{}}
{snippet}
  -
    port: {http_port}
    ip: "127.0.0.1"
    module: ejabberd_http
    request_handlers: {{/api: mod_http_api}}
api_permissions:
  test:
    from: [mod_http_api]
    who: {{ip: "127.0.0.1/8"}}
    what: ["*"]
"""


def snippet(language: str) -> str:
    """The first block of this language in the README, or on the page about installing."""
    match = re.search(rf"^```{language}\n(.*?)^```$", PAGES[language].read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]


class ReadmeProsody(Prosody):
    domain = DOMAIN

    def start(self) -> LoggedProcess:
        file = self.directory / "prosody.cfg.lua"
        file.write_text(
            PROSODY.format(
                directory=self.directory,
                key=self.key,
                certificate=self.certificate,
                snippet=snippet("lua").replace(UPSTREAM, str(self.port)),
            )
        )
        self._accounts = self.directory / "example%2eorg" / "accounts"
        self._accounts.mkdir(parents=True)
        process = LoggedProcess(self.name, [in_path("prosody") or "", "-F", "--config", str(file)])
        process.wait_for(rf"Activated service 'c2s' on \[127\.0\.0\.1\]:{self.port}")
        return process


class ReadmeEjabberd(Ejabberd):
    domain = DOMAIN

    def configuration(self, certificate: Path) -> str:
        return EJABBERD.format(
            certificate=certificate,
            http_port=self.http_port,
            snippet=snippet("yaml").replace(UPSTREAM, str(self.port)),
        )


class ReadmeTests(unittest.TestCase):
    timeout = patiently(90)

    async def test_prosody(self) -> None:
        await self._try(ReadmeProsody)

    async def test_ejabberd(self) -> None:
        await self._try(ReadmeEjabberd)

    async def _try(self, kind: type[Server]) -> None:
        """Log in by both ports and join a room."""
        if kind.missing():
            message = f"{kind.missing()} is not installed: make system"
            if os.environ.get("CI"):
                self.fail(message)
            raise unittest.SkipTest(message)
        server = kind()
        self.addCleanup(server.process.stop)
        alice = await server.account("alice")
        starttls, direct = self._start_proxy(server)
        await self._join(starttls, alice, server.room(), direct_tls=False)
        await self._join(direct, alice, server.room(), direct_tls=True)

    def _start_proxy(self, server: Server) -> tuple[int, int]:
        directory = temporary_directory("readme")
        make_certificate(authority(), DOMAIN).write(directory, DOMAIN)
        ports = free_port(), free_port()
        text = snippet("toml").replace(UPSTREAM, str(server.port)).replace("/etc/minimixproxy", str(directory))
        text = text.replace("/var/lib/minimixproxy", str(directory / "state"))
        for written, port in zip(("tcp:5222", "tcp:5223"), ports, strict=True):
            self.assertIn(f'"{written}"', text)
            text = text.replace(f'"{written}"', f'"tcp:{port}:interface=127.0.0.1"')
        text = text.replace("\n[rooms]", f'upstream_trust = "{authority_file()}"\n\n[rooms]')
        file = directory / "minimixproxy.toml"
        file.write_text(text)
        command = [TWISTD, "-n", "--pidfile=", "minimixproxy", "--config", str(file)]
        process = LoggedProcess("minimixproxy", command, environment={"PYTHONUNBUFFERED": "1"}, directory=directory)
        self.addCleanup(process.stop)
        for port in ports:
            process.wait_for(rf"starting on {port}\b")
        return ports

    async def _join(self, port: int, account: Account, room: str, *, direct_tls: bool) -> None:
        client = await raw.connect(port, DOMAIN, direct_tls=direct_tls, label="alice")
        self.addCleanup(client.until_lost)
        self.addCleanup(client.drop)
        await client.login(account, "phone")
        client.send(f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
        await client.expect(
            f"<presence from='{room}/alice' to='{client.jid}'><x xmlns='http://jabber.org/protocol/muc#user'>"
            "<status code='110'/></x></presence>"
        )
