"""The servers of the demo: Prosody on loopback with state of its own, and the proxy before it, as twistd runs it."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twisted.internet.threads import deferToThread

from tests.integration.ports import free_port
from tests.integration.prosody import Prosody
from tests.integration.proxy import Proxy
from tests.integration.servers import Account, Server

PASSWORD = "demo"
STANDARD_PORT = 5222


class LocalProsody(Prosody):
    """Prosody for `localhost`, a domain that any client on this machine can find."""

    domain = "localhost"


class Stage:
    """Server, proxy, accounts. Everything is stopped, and its state removed, when the process ends."""

    server: Server
    proxy: Proxy
    push_delay = 8.0  # seconds in which another device may read what a phone would be woken for

    def __init__(self, port: int = 0) -> None:
        """`port`: where the proxy listens; 0 for any free one."""
        self._port = port or free_port()
        self.accounts: dict[str, Account] = {}  # registered by now

    @property
    def port(self) -> int:
        """Of the proxy, on loopback, STARTTLS."""
        return self._port

    def start_server(self) -> None:
        """Start Prosody; blocks."""
        self.server = LocalProsody()

    @property
    def websocket(self) -> str:
        """The address of the proxy's WebSocket, on loopback, for pages."""
        return f"ws://127.0.0.1:{self.proxy.websocket_port}/xmpp-websocket"

    def start_proxy(self, client_proxy: Sequence[Mapping[str, Any]] = (), origins: Sequence[str] = ()) -> None:
        """Start the proxy, with these `[[client_proxy]]` tables, and a WebSocket for pages of these origins; blocks."""
        listen = [{"endpoint": f"tcp:{self._port}:interface=127.0.0.1", "tls": "starttls"}]
        push = {"delay": self.push_delay}
        # in plain, as a reverse proxy on this machine would come
        page = {"tls": "proxy", "trusted_proxies": ["127.0.0.1"], "origins": list(origins)}
        websocket = [page] if origins else []
        self.proxy = Proxy(self.server, listen=listen, websocket=websocket, client_proxy=client_proxy, push=push)
        for port in (self._port, *([self.proxy.websocket_port] if origins else [])):
            self.proxy.process.wait_for(rf"starting on {port}\b")

    async def kill_proxy(self) -> None:
        """End the proxy as a loss of power would."""
        await deferToThread(self.proxy.process.kill)

    async def restart_proxy(self) -> None:
        """Start it again, with the same state."""
        await deferToThread(self.proxy.start)
        await deferToThread(self.proxy.process.wait_for, rf"starting on {self._port}\b")

    async def status(self, jid: str) -> str:
        """What `minimixproxy status` tells of an account, its first line."""
        command = [str(Path(sys.executable).parent / "minimixproxy"), "status", "--account", jid]
        command += ["--config", str(self.proxy.configuration)]
        done = await deferToThread(subprocess.run, command, capture_output=True, text=True, timeout=60, check=True)
        return next((line for line in done.stdout.splitlines() if line.startswith(jid)), done.stdout)

    async def account(self, username: str) -> Account:
        """Register an account under exactly this name."""
        await self.server.register(username, PASSWORD)
        account = self.accounts[username] = Account(username, self.server.domain, PASSWORD)
        return account

    async def enroll(self, account: Account) -> None:
        """Have the proxy know the keys of an account, whose devices do not say the password but prove it."""
        command = [str(Path(sys.executable).parent / "minimixproxy"), "enroll", account.jid]
        command += ["--config", str(self.proxy.configuration)]
        told = f"{account.password}\n"
        await deferToThread(subprocess.run, command, input=told, capture_output=True, text=True, timeout=90, check=True)

    def stop(self) -> None:
        """Stop the proxy and the server; blocks."""
        self.proxy.stop()
        self.server.process.stop()


def standard_port() -> int:
    """5222, if nothing listens there, else any free port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", STANDARD_PORT))
        except OSError:
            return free_port()
    return STANDARD_PORT
