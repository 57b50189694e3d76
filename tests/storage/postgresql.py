"""A PostgreSQL cluster of the tests' own, in a temporary directory, reached by a socket there, or on loopback."""

import atexit
import itertools
import os
import pwd
import shutil
import subprocess
from functools import cache
from pathlib import Path

import psycopg

from tests.integration.network import LOCAL, Machine
from tests.integration.ports import free_port
from tests.integration.processes import temporary_directory

_ROOT = Path("/usr/lib/postgresql")
_SETTINGS = (
    "fsync=off",
    "max_connections=30",
    "shared_buffers=8MB",
    "autovacuum=off",
)


def missing() -> bool:
    """Whether PostgreSQL is not installed."""
    return _binaries() is None


def _binaries() -> Path | None:
    found = sorted(_ROOT.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


class Databases:
    """What makes databases in a cluster that runs, and connects to them. `prefix`: of their names."""

    def __init__(self, directory: Path, port: int, prefix: str = "") -> None:
        self.directory = directory
        self.port = port
        self._prefix = prefix
        self._serial = itertools.count(1)

    def create(self, like: str = "template1", options: str = "") -> str:
        """The name of a fresh database, or of a copy of another one."""
        name = f"{self._prefix}test{next(self._serial)}"
        with self.connect("postgres") as connection:
            connection.autocommit = True
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {like} {options}")
        return name

    def database(self, like: str = "template1", options: str = "") -> str:
        """Its URL."""
        return self.url(self.create(like, options))

    def url(self, name: str) -> str:
        """The URL of a database, by the socket."""
        return f"postgresql://tests@/{name}?host={self.directory}&port={self.port}"

    def connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(host=str(self.directory), port=self.port, user="tests", dbname=name)


class Cluster(Databases):
    """Runs as another user when the tests are root's, which PostgreSQL refuses.

    `host`: where it runs; another host than this machine may have `clients`, a range of addresses, come to it.

    `primary`: that of which it is a replica, which reads along.
    """

    def __init__(
        self,
        primary: "Cluster | None" = None,
        settings: tuple[str, ...] = _SETTINGS,
        host: Machine = LOCAL,
        clients: str = "",
    ) -> None:
        binaries = _binaries()
        assert binaries is not None
        super().__init__(temporary_directory("postgresql"), free_port())
        self._binaries = binaries
        self._data = self.directory / "data"
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        if self._user is not None:
            self.directory.parent.chmod(0o711)
            os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
        self.host = host
        self._settings = (*settings, f"listen_addresses={host.address}")
        if primary is None:
            self._run("initdb", "--auth=trust", "--username=tests", "--encoding=UTF8", "--no-sync", "--no-instructions")
        else:
            self._copy(primary)
        if clients:
            with (self._data / "pg_hba.conf").open("a") as file:
                file.write(f"host all all {clients} trust\n")
        atexit.register(self.stop)
        self.start()

    def start(self) -> None:
        """Start it, if it does not run, and wait until it answers. Blocks."""
        if self.running:
            return
        here = (f"unix_socket_directories={self.directory}", f"port={self.port}")
        options = " ".join(f"-c {setting}" for setting in (*self._settings, *here))
        self._run("pg_ctl", "--wait", f"--log={self.directory / 'log'}", f"--options={options}", "start")

    def stop(self) -> None:
        """End it as if the power were cut, if it runs. Blocks."""
        if self.running:
            self._run("pg_ctl", "--wait", "--mode=immediate", "stop")

    def promote(self) -> None:
        """Have a replica be a primary. Blocks."""
        self._run("pg_ctl", "--wait", "promote")

    def follow(self, primary: "Cluster") -> None:
        """Begin anew as a replica of another one; it has been stopped. Blocks."""
        shutil.rmtree(self._data)
        self._copy(primary)
        self.start()

    def _copy(self, primary: "Cluster") -> None:
        source = f"--dbname=postgresql://tests@/postgres?host={primary.directory}&port={primary.port}"
        self._run("pg_basebackup", source, "--write-recovery-conf", "--checkpoint=fast", "--no-sync")

    @property
    def running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    @property
    def _as_user(self) -> list[str]:
        if self._user is None:
            return []
        return ["setpriv", f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._binaries / program), f"--pgdata={self._data}", *arguments]
        done = subprocess.run(
            self.host.command(command),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            stderr=subprocess.STDOUT if program == "initdb" else subprocess.DEVNULL,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{program}: {done.stdout or (self.directory / 'log').read_text()}"


@cache
def cluster() -> Cluster:
    """The one that most tests share, started when first needed."""
    return Cluster()
