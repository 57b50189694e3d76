"""What the measurements start: Prosody, the proxy, HAProxy, the echo server, the yardstick. Each fresh, on loopback."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.cheapserver import DOMAIN as CHEAP_DOMAIN
from bench.cheapserver import ROOM as CHEAP_ROOM
from bench.echo import DOMAIN as ECHO_DOMAIN
from tests.certificates import make_certificate
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.proxy import Proxy
from tests.integration.servers import authority, fill, in_path

HERE = Path(__file__).parent
PASSWORD = "bench"
LOOPBACK = "127.0.0.1"
# One address makes all connections here.
LIMITS = {"connections_per_address": 5000}


@contextmanager
def stopping(processes: list[LoggedProcess]) -> Iterator[None]:
    """Stop the processes in the end, the last first; if something failed, show what they logged."""
    try:
        yield
    except Exception:
        for process in processes:
            print(f"--- {process.name}\n{process.tail(20)}", file=sys.stderr)
        raise
    finally:
        for process in reversed(processes):
            process.stop()


class Missing(Exception):
    """A program that a measurement needs is not installed."""


def _program(name: str) -> str:
    path = in_path(name)
    if path is None:
        raise Missing(f"{name} is not installed: make system")
    return path


class BenchProsody:
    """A fresh Prosody; for `domain` it runs `modules` of its own, and with `prosody_modules` mod_minimix."""

    address = LOOPBACK
    domain = "bench.test"
    sender_domain = "sender.test"
    muc = "conference.bench.test"
    rooms = "rooms.bench.test"  # of RoomService
    accounts = [f"alice{number}" for number in range(300)]
    sender = "bob"

    def __init__(self, *, tls: bool, prosody_modules: Path | None = None, modules: Sequence[str] = ()) -> None:
        self.port, self.component_port = free_port(), free_port()
        self.tls = "starttls" if tls else "none"
        self.directory = temporary_directory("prosody")
        names = (self.domain, self.sender_domain, self.muc)
        certificate, key = make_certificate(authority(), *names).write(self.directory, self.domain)
        running = [*modules, "minimix"] if prosody_modules else modules
        configuration = self.directory / "prosody.cfg.lua"
        configuration.write_text(
            fill(
                (HERE / "prosody.cfg.lua").read_text(),
                domain=self.domain,
                sender_domain=self.sender_domain,
                muc=self.muc,
                rooms=self.rooms,
                password=PASSWORD,
                port=self.port,
                component_port=self.component_port,
                directory=self.directory,
                # "Activated service" is said at info; mod_minimix then says every message of its own users too, and
                # of those there is none.
                level="info",
                tls_module='"tls",' if tls else "",
                require_tls="true" if tls else "false",
                certificate=certificate,
                key=key,
                plugin_paths=f'"{_mod_minimix(prosody_modules)}"' if prosody_modules else "",
                account_modules=", ".join(f'"{name}"' for name in running),
            )
        )
        for domain, users in ((self.domain, self.accounts), (self.sender_domain, [self.sender])):
            directory = self.directory / domain.replace(".", "%2e") / "accounts"
            directory.mkdir(parents=True)
            for user in users:
                (directory / f"{user}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}" }};')
        self.process = LoggedProcess("prosody", [_program("prosody"), "-F", "--config", str(configuration)])
        self.process.wait_for(r"Activated service 'c2s' on")


def _mod_minimix(prosody_modules: Path) -> Path:
    directory = prosody_modules / "mod_minimix"
    if not (directory / "mod_minimix.lua").is_file():
        raise Missing(f"there is no mod_minimix in {prosody_modules}")
    return directory.resolve()


class EchoServer:
    """bench/echo.py."""

    address = LOOPBACK
    domain = ECHO_DOMAIN

    def __init__(self, *, tls: bool) -> None:
        files = make_certificate(authority(), self.domain).write(temporary_directory("echo"), self.domain)
        self.process = LoggedProcess("echo", [sys.executable, "-m", "bench.echo", *map(str, files)])
        _, plain, starttls, direct = self.process.wait_for("^ports").split()
        self.port, self.direct_tls_port = int(starttls if tls else plain), int(direct)


class RoomService:
    """bench/roomservice.py, at a server."""

    def __init__(self, prosody: BenchProsody) -> None:
        command = [sys.executable, "-m", "bench.roomservice", str(prosody.component_port), prosody.rooms, PASSWORD]
        self.process = LoggedProcess("room service", command, obeys=True)
        self.process.wait_for("^ready")

    def order(self, line: str, timeout: float = 60.0) -> float:
        """Have it do something, wait until it has, and return when that was, by the monotonic clock."""
        start = len(self.process.lines)
        self.process.tell(line)
        return float(self.process.wait_for(f"^{line.split()[0]} ", timeout, start=start).split()[1])


class CheapServer:
    """bench/cheapserver.py."""

    address = LOOPBACK
    domain = CHEAP_DOMAIN
    room = CHEAP_ROOM

    def __init__(self) -> None:
        files = make_certificate(authority(), self.domain).write(temporary_directory("cheap"), self.domain)
        self.process = LoggedProcess("cheap server", [sys.executable, "-m", "bench.cheapserver", *map(str, files)])
        self.port = int(self.process.wait_for("^port ").split()[1])


class Yardstick:
    """bench/yardstick.py."""

    domain = "yardstick.test"

    def __init__(self) -> None:
        files = make_certificate(authority(), self.domain).write(temporary_directory("yardstick"), self.domain)
        self.process = LoggedProcess("yardstick", [sys.executable, "-m", "bench.yardstick", *map(str, files)])
        self.port = int(self.process.wait_for("^port ").split()[1])


class BenchProxy(Proxy):
    """minimixproxy in front of a server, with TLS as a user runs it, or without (see without_tls.py)."""

    def __init__(
        self,
        server: Any,
        *,
        tls: bool,
        rooms: Mapping[str, Any] | None = None,
        checkout: Path = HERE.parent,
        database: str = "",
    ) -> None:
        """`checkout`: whose code is run, such as that of an earlier version. `database`: its URL, else SQLite."""
        self._tls = tls
        self._checkout = checkout
        self._database = database
        super().__init__(server, limits=LIMITS, domain={"upstream_trust": "insecure"}, rooms=rooms)

    @property
    def _state(self) -> str:
        if not self._database:
            return super()._state
        return f'state = "{self._database}"\nstate_directory = "{self.directory / "state"}"\n'

    def start(self) -> None:
        script = "from twisted.scripts.twistd import run; run()"
        if not self._tls:
            script = "import bench.without_tls; " + script
        command = [sys.executable, "-c", script, "-n", "--pidfile=", "minimixproxy"]
        self.process = LoggedProcess(
            "minimixproxy",
            [*command, "--config", str(self.configuration)],
            environment={"PYTHONPATH": str(self._checkout), "PYTHONUNBUFFERED": "1"},
            directory=self.directory,
        )
        for port in self.ports:
            self.process.wait_for(rf"starting on {port}\b")


class HAProxy:
    """HAProxy in TCP mode; with TLS it ends the client's and begins one of its own towards the server."""

    def __init__(self, server: EchoServer, *, tls: bool) -> None:
        self.port = free_port()
        directory = temporary_directory("haproxy")
        certificate, key = make_certificate(authority(), server.domain).write(directory, server.domain)
        both = directory / "haproxy.pem"
        both.write_bytes(certificate.read_bytes() + key.read_bytes())
        values: Mapping[str, object] = {
            "port": self.port,
            "server_port": server.direct_tls_port if tls else server.port,
            "listen_tls": f"ssl crt {both} ssl-min-ver TLSv1.3 alpn xmpp-client" if tls else "",
            "server_tls": "ssl verify none ssl-min-ver TLSv1.3 alpn xmpp-client" if tls else "",
        }
        configuration = directory / "haproxy.cfg"
        configuration.write_text(fill((HERE / "haproxy.cfg").read_text(), **values))
        self.process = LoggedProcess("haproxy", [_program("haproxy"), "-db", "-V", "-f", str(configuration)])
        self.process.wait_for("Using epoll|started|Available polling", timeout=10)
