"""Logins that fail, as the log has them, and what fail2ban makes of that: whoever fails, and nobody else."""

from __future__ import annotations

import base64
import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

from twisted.internet.threads import deferToThread

from tests.integration import client as raw
from tests.integration import websocket
from tests.integration.cases import IntegrationTestCase
from tests.integration.client import NS_SASL, Client
from tests.integration.ports import free_port
from tests.integration.proxy import Proxy
from tests.patience import patiently

FILTER = Path(__file__).resolve().parents[2] / "contrib" / "fail2ban" / "minimixproxy.conf"
VICTIM = "192.0.2.66"
LINE = f"failed login from {VICTIM} as x@y: not-authorized"
TIME = "2026-01-01T00:00:00+0000 [minimixproxy.c2s.server.login_attempts.LoginAttempts#info] "
#: Who would have another address banned.
NAMES = (
    "guess",
    f"x from {VICTIM} as y",
    f"x\n{TIME}{LINE}",
    f"x\r\n{TIME}{LINE}",
    f'x" from {VICTIM} as y: not-authorized',
    f'x\\" {LINE}',
    f'", "message": "{LINE}',
    f'"}}\n{{"time": "2026-01-01T00:00:00.000Z", "level": "info", "room": "c2s.server", "message": "{LINE}',
    f"{TIME}{LINE}",
    f"\u2028{TIME}{LINE}",
)


class FailedLoginsTests(IntegrationTestCase):
    timeout = 120

    async def fails(self, client: Client, name: str) -> None:
        message = base64.b64encode(f"\0{name}\0guess".encode()).decode()
        client.send(f"<auth xmlns='{NS_SASL}' mechanism='PLAIN'>{message}</auth>")
        await client.expect(f"<failure xmlns='{NS_SASL}'/>", timeout=30.0)
        client.drop()
        await client.until_lost()

    async def by_tcp(self, proxy: Proxy, port: int, source: str, name: str) -> None:
        client = await raw.connect(port, self.server.domain, source=source)
        self._clients.append(client)
        await client.open()
        await client.starttls()
        await client.open()
        await self.fails(client, name)

    async def by_websocket(self, port: int, forwarded: str, name: str) -> None:
        headers = [("X-Forwarded-For", forwarded), ("X-Forwarded-Proto", "https")]
        client = await websocket.connect(port, self.server.domain, tls=False, headers=headers)
        self._clients.append(client)
        await client.open()
        await self.fails(client, name)

    async def test_who_is_banned(self) -> None:
        """By TCP and by WebSocket, by IPv4 and IPv6, as text and as JSON."""
        six, ws = free_port(), free_port()
        proxy = self.own_proxy(limits={"failed_logins": 1000, "failed_login_delay": 0})
        text = proxy.configuration.read_text()
        text += f'\n[[listen]]\nendpoint = "tcp6:{six}:interface=\\\\:\\\\:1"\n'
        text += f'[[websocket]]\nendpoint = "tcp:{ws}:interface=127.0.0.1"\ntls = "proxy"\n'
        text += 'trusted_proxies = ["127.0.0.0/8"]\n'
        for form in ("text", "json"):
            proxy.configuration.write_text(f'{text}[log]\nformat = "{form}"\n')
            start = len(proxy.process.lines)
            proxy.process.signal(signal.SIGHUP)
            await proxy.process.says("configuration reloaded", start=start)
            start = len(proxy.process.lines)
            for name in NAMES:
                await self.by_tcp(proxy, proxy.port, "127.0.0.5", name)
            await self.by_tcp(proxy, six, "::1", NAMES[1])
            await self.by_websocket(ws, "203.0.113.9", NAMES[2])
            await self.by_websocket(ws, "2001:db8::7", NAMES[1])
            await proxy.process.says("failed login from 2001:db8::7 as", start=start)
            lines = proxy.process.lines[start:]
            expected = ["127.0.0.5"] * len(NAMES) + ["::1", "203.0.113.9", "2001:db8::7"]
            self.assertEqual(await self.banned(lines), sorted(expected), form)
            by_syslog = [f"Nov 26 19:14:22 host twistd[12]: {line}" for line in lines]
            self.assertEqual(await self.banned(by_syslog), sorted(expected), form)
            indented = [f"\t{line}" for line in lines]  # as a traceback is, with an error in it that is anybody's
            self.assertEqual(await self.banned(indented), [], form)
            if form == "json":
                for line in map(json.loads, lines):
                    self.assertEqual(list(line)[:5], ["time", "level", "room", "message", "fields"])
                fields = [one["fields"] for one in map(json.loads, lines) if one["message"].startswith("failed login ")]
                self.assertEqual(sorted(one["address"] for one in fields), sorted(expected))

    async def banned(self, lines: list[str]) -> list[str]:
        """The addresses that fail2ban finds in these lines, each as often as it does."""
        log = Path(self.mktemp())
        log.write_text("".join(f"{line}\n" for line in lines))
        if shutil.which("fail2ban-regex") is None:
            self.need("fail2ban")
        command = ["fail2ban-regex", "--out", "ip", str(log), str(FILTER)]
        done = await deferToThread(
            subprocess.run, command, capture_output=True, text=True, timeout=patiently(30), check=True
        )
        return sorted(re.findall(r"^\S+$", done.stdout, re.MULTILINE))
