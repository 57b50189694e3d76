"""minimixproxy itself, run as its users run it: twistd -n minimixproxy --config FILE."""

import contextlib
import json
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.threads import deferToThread

from tests.certificates import make_certificate
from tests.integration import prefork
from tests.integration.network import LOCAL, Machine
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, ProcessFailed, temporary_directory
from tests.integration.servers import Server, authority, authority_file
from tests.patience import patiently

TWISTD = str(Path(sys.executable).parent / "twistd")
FAULTS = re.compile(r"Traceback|Unhandled|#critical\]|CRITICAL|exceptions\.|was never (awaited|retrieved)|Error in ")
# Tests come from one address, fail to log in on purpose, and make accounts; and a busy machine is slow to log in.
LIMITS = {"connections_per_address": 5000, "registrations_per_address": 5000, "authentication_timeout": 600}
# A leave is waited for in many tests.
ROOMS = {"leave_grace": 0.3}

Table = Mapping[str, Any]


def toml(name: str, table: Table, *, repeated: bool = False) -> str:
    """A table with plain values as TOML; a value of None is left out."""
    head = f"[[{name}]]" if repeated else f"[{name}]"
    lines = [f"{key} = {json.dumps(value)}" for key, value in table.items() if value is not None]
    return "\n".join([head, *lines, ""])


class Proxy:
    """A running proxy in front of servers."""

    def __init__(
        self,
        *servers: Server,
        rooms: Table | None = None,
        limits: Table | None = None,
        sessions: Table | None = None,
        push: Table | None = None,
        domain: Table | None = None,
        listen: Sequence[Table] | None = None,
        websocket: Sequence[Table] | None = None,
        client_proxy: Sequence[Table] = (),
        web: bool = False,
        twistd: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        start: bool = True,
        host: Machine = LOCAL,
    ) -> None:
        """Keys in these tables go over those here; `listen` and `websocket` replace the endpoints made here."""
        self.directory = temporary_directory("proxy")
        self.host = host
        self.port = free_port()
        self.direct_tls_port = free_port()
        self.websocket_port = free_port()
        self.servers = servers
        self._listen = listen
        self._websocket = websocket
        self._twistd = list(twistd)
        self._environment, self._pass_fds = environment, pass_fds
        self.web = self.directory / "web"  # a socket
        self.configuration = self.directory / "minimixproxy.toml"
        tables = {
            "rooms": {**ROOMS, **(rooms or {})},
            "limits": {**LIMITS, **(limits or {})},
            "sessions": sessions or {},
            "push": {"delay": 0.3, **(push or {})},
            **({"web": {"endpoint": f"unix:{self.web}"}} if web else {}),
        }
        self.configuration.write_text(self._file(tables, domain or {}, client_proxy))
        self._past: list[LoggedProcess] = []  # before restarts
        self.process: LoggedProcess
        if start:
            self.start()

    def _file(self, tables: Mapping[str, Table], domain: Table, client_proxy: Sequence[Table]) -> str:
        listen = self._listen
        if listen is None:
            listen = [
                {"endpoint": f"tcp:{self.port}:interface=127.0.0.1", "tls": "starttls"},
                {"endpoint": f"tcp:{self.direct_tls_port}:interface=127.0.0.1", "tls": "direct"},
            ]
        parts = [self._state]
        parts += [toml("listen", table, repeated=True) for table in listen]
        websocket = self._websocket
        if websocket is None and self._listen is None and self.servers:
            websocket = [{"tls": "direct", "origins": ["https://chat.example.org"]}]
        endpoint = {"endpoint": f"tcp:{self.websocket_port}:interface=127.0.0.1"}
        websocket = [{**endpoint, **table} for table in websocket or ()]
        parts += [toml("websocket", table, repeated=True) for table in websocket]
        for server in self.servers:
            certificate, key = make_certificate(authority(), server.domain).write(self.directory, server.domain)
            defaults = {
                "certificate": str(certificate),
                "private_key": str(key),
                "upstream": f"tcp:{server.address}:{server.port}",
                "upstream_trust": str(authority_file()),
            }
            parts.append(toml(f'domain."{server.domain}"', {**defaults, **domain}))
        parts += [toml(name, table) for name, table in tables.items()]
        parts += [toml("client_proxy", table, repeated=True) for table in client_proxy]
        return "\n".join(parts)

    @property
    def _state(self) -> str:
        return f"state = {json.dumps(str(self.directory / 'state' / 'state.sqlite'))}\n"

    def _begin_state(self) -> bool:
        """Return whether it is forked; then it begins with a database that is made, but for what is its own."""
        if not prefork.wanted() or self._twistd or self._environment or self._pass_fds or self.host is not LOCAL:
            return False
        state = self.directory / "state" / "state.sqlite"
        if not state.parent.exists() and self._state in self.configuration.read_text():
            state.parent.mkdir(0o700)
            state.touch(0o600)
            shutil.copyfile(prefork.forker().state, state)
        return True

    @property
    def ports(self) -> list[int]:
        if self._listen is not None or not self.servers:
            return []
        ours = self._websocket is None or any("endpoint" not in table for table in self._websocket)
        own = [self.websocket_port] if ours else []
        return [self.port, self.direct_tls_port, *own]

    def start(self) -> None:
        """Run twistd and wait until it listens. Blocks. Again after its end: the same ports, the same state."""
        if hasattr(self, "process"):
            self._past.append(self.process)
        command = [TWISTD, "-n", "--pidfile=", *self._twistd, "minimixproxy", "--config", str(self.configuration)]
        self.process = LoggedProcess(
            "minimixproxy",
            self.host.command(command),
            environment={"PYTHONUNBUFFERED": "1", **(self._environment or {})},
            directory=self.directory,
            pass_fds=self._pass_fds,
            preforked=self._begin_state(),
        )
        for port in self.ports:
            self.process.wait_for(rf"starting on {port}\b")

    async def run_in_vain(self) -> "subprocess.CompletedProcess[str]":
        """Run twistd on this configuration, which it must refuse, to its end."""
        command = [TWISTD, "-n", "--pidfile=", "minimixproxy", "--config", str(self.configuration)]
        return await deferToThread(
            subprocess.run,
            command,
            capture_output=True,
            text=True,
            timeout=patiently(60),
            check=False,
            cwd=self.directory,
        )

    def stop(self) -> None:
        self.process.stop()

    async def restart(self, *, kill: bool = False) -> None:
        """End it, by force or by SIGTERM, and start it again: the same ports, the same state."""
        process = self.process
        await deferToThread(process.kill if kill else process.stop)
        await deferToThread(self.start)

    def unmarked(self) -> set[str]:
        """Bodies of the messages that it has on disk, being killed, and has not marked as given out."""
        state = self.directory / "state"
        mark = int((state / "given_out").read_text().split()[1])
        with TemporaryDirectory() as copy:  # for whoever opens a database after a crash alters it
            for file in state.glob("state.sqlite*"):
                shutil.copy(file, copy)
            with contextlib.closing(sqlite3.connect(f"{copy}/state.sqlite")) as database:
                said = "SELECT ifnull(others.raw, messages.raw) FROM messages LEFT JOIN messages AS others"
                which = "ON others.sequence = messages.body WHERE messages.sequence > ? AND messages.room_id != 0"
                rows = database.execute(f"{said} {which}", (mark,)).fetchall()
        return {body.decode() for (raw,) in rows for body in re.findall(b"<body>(.*?)</body>", raw)}

    @property
    def log(self) -> list[str]:
        """All that it logged, before restarts too."""
        return [line for process in (*self._past, self.process) for line in process.lines]

    def tail(self) -> str:
        """The end of its log, and of its log before the last restart."""
        return "\n-- restarted --\n".join(process.tail() for process in (*self._past[-1:], self.process))

    def settle(self) -> None:
        """Block until all that it was told by now is done, and its log is read: its control socket answers behind it.

        Nothing if it has ended, or does not have that socket.
        """
        control = self.directory / "state" / "control"
        if self.process.process.poll() is None and control.is_socket():
            ended = (ConnectionError, FileNotFoundError)  # it ends just now, and removes the socket
            try:
                with contextlib.suppress(*ended):
                    self._ask(control)
            except TimeoutError as error:
                raise ProcessFailed(f"the proxy does not answer on its control socket:\n{self.tail()}") from error
        self.process.catch_up()

    @staticmethod
    def _ask(control: Path) -> None:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(patiently(60.0))
            asked.connect(str(control))
            asked.sendall(b"{}\n")
            asked.recv(1)

    def faults(self, start: int = 0, but: "re.Pattern[str] | None" = None) -> list[str]:
        """What no proxy should log: lines from number `start` on, each fault with some lines around it.

        `but`: lines that are none.
        """
        lines = self.log
        return [
            "\n".join(lines[max(start, number - 3) : number + 40])
            for number in range(start, len(lines))
            if FAULTS.search(lines[number]) and not (but is not None and but.search(lines[number]))
        ]


_proxies: dict[Server, Proxy] = {}


def shared_proxy(server: Server) -> Proxy:
    """The proxy that most tests of this server use; blocks while it starts."""
    if server not in _proxies or _proxies[server].process.process.poll() is not None:
        _proxies[server] = Proxy(server)
    return _proxies[server]
