"""The commands of docs/moving.md that change files, tried on what Debian 12 has in them. The rest was done by hand."""

import re
import subprocess
import tomllib
from pathlib import Path

from twisted.trial import unittest

DOCUMENT = (Path(__file__).resolve().parents[1] / "docs" / "moving.md").read_text("utf-8")
PROSODY = """\
log = {
	info = "/var/log/prosody/prosody.log";
}
certificates = "certs"
VirtualHost "localhost"
VirtualHost "example.org"
Include "conf.d/*.cfg.lua"
"""
EJABBERD = """\
listen:
  -
    port: 5222
    ip: "::"
    module: ejabberd_c2s
    starttls_required: true
  -
    port: 5223
    ip: "::"
    module: ejabberd_c2s
    tls: true
  -
    port: 5269
    ip: "::"
    module: ejabberd_s2s_in
acl:
  loopback:
    ip:
      - 127.0.0.0/8
      - ::1/128
access_rules:
  local:
    allow: local
shaper_rules:
  max_user_sessions: 10
modules:
  mod_disco: {}
  mod_fail2ban: {}
  mod_http_api: {}
"""


def commands(section: str) -> list[str]:
    """The commands of a section, in order."""
    found = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", DOCUMENT, re.DOTALL | re.MULTILINE)
    assert found is not None, section
    return [line[4:] for line in found[1].splitlines() if line.startswith("    ")]


class EditingTests(unittest.SynchronousTestCase):
    def edited(self, section: str, file: str, text: str) -> str:
        """What the section's one command that changes this file makes of it. It keeps a copy."""
        (command,) = (line for line in commands(section) if line.startswith("sed ") and line.endswith(file))
        path = Path(self.mktemp())
        path.write_text(text, "utf-8")
        subprocess.run(["sh", "-c", command.replace(file, str(path.absolute()))], check=True)
        (copy,) = path.parent.glob(f"{path.name}.*")
        self.assertEqual(copy.read_text("utf-8"), text)
        return path.read_text("utf-8")

    def test_prosody(self) -> None:
        after = self.edited("The move, on Prosody", "/etc/prosody/prosody.cfg.lua", PROSODY)
        before, _, hosts = after.partition('VirtualHost "localhost"\n')
        self.assertEqual(hosts, PROSODY.partition('VirtualHost "localhost"\n')[2])
        self.assertEqual(
            before.removeprefix(PROSODY.partition("VirtualHost")[0]),
            'c2s_ports = { 15222 }\nc2s_interfaces = { "127.0.0.1" }\nc2s_direct_tls_ports = {}\n\n',
        )

    def test_ejabberd(self) -> None:
        after = self.edited("The move, on ejabberd", "/etc/ejabberd/ejabberd.yml", EJABBERD)
        for port in (5222, 5223):
            self.assertIn(f'port: 1{port}\n    ip: "127.0.0.1"\n    module: ejabberd_c2s', after)
            self.assertNotIn(f" {port}\n", after)
        self.assertIn('port: 5269\n    ip: "::"\n', after)
        self.assertIn("access_rules:\n  from_the_proxy:\n    allow: loopback\n  local:\n", after)
        self.assertIn("  mod_fail2ban:\n    access: from_the_proxy\n  mod_http_api: {}\n", after)
        self.assertIn("max_user_sessions: 20\n", after)

    def test_the_proxy_from_the_rehearsal_to_its_place(self) -> None:
        found = re.search(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL)
        assert found is not None
        rehearsal = tomllib.loads(found[1])
        self.assertEqual(rehearsal["domain"]["example.org"]["upstream"], "tcp:127.0.0.1:5222")
        for server in ("Prosody", "ejabberd"):
            after = self.edited(f"The move, on {server}", "/etc/minimixproxy/minimixproxy.toml", found[1])
            moved = tomllib.loads(after)
            self.assertEqual([table["endpoint"] for table in moved["listen"]], ["tcp6:5222", "tcp6:5223"])
            self.assertEqual(moved["domain"]["example.org"]["upstream"], "tcp:127.0.0.1:15222")

    def test_the_way_back_takes_the_copies(self) -> None:
        for server, file in (("Prosody", "/etc/prosody/prosody.cfg.lua"), ("ejabberd", "/etc/ejabberd/ejabberd.yml")):
            there, back = commands(f"The move, on {server}"), commands(f"Back, on {server}")
            self.assertIn(f"cp -p {file}.before-minimixproxy {file}", back)
            self.assertTrue(any("-i.before-minimixproxy" in line and line.endswith(file) for line in there))
