"""What a cluster is measured with: PostgreSQL as it comes, and processes that share its database."""

import os
import secrets
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any

from bench.proc import children
from bench.servers import BenchProxy, Missing
from tests.certificates import make_authority, make_certificate
from tests.integration.ports import free_port
from tests.integration.processes import temporary_directory
from tests.integration.proxy import toml
from tests.storage import postgresql

SETTINGS = ("listen_addresses=127.0.0.1", "max_connections=300", "shared_buffers=128MB")


class PostgreSQL:
    """A server of its own."""

    def __init__(self) -> None:
        if postgresql.missing():
            raise Missing("PostgreSQL is not installed: make system")
        self._cluster = postgresql.Cluster(settings=SETTINGS)

    @property
    def pid(self) -> int:
        return int((self._cluster.directory / "data" / "postmaster.pid").read_text().split()[0])

    def database(self) -> str:
        """The URL of a fresh database."""
        return self._cluster.database()

    def pin(self, cores: set[int]) -> None:
        """Have all its processes, and those to come, run on these cores only."""
        for pid in (self.pid, *children(self.pid)):
            pin(pid, cores)

    def stop(self) -> None:
        self._cluster.stop()


class Shared:
    """What all processes of a cluster have: a database, a secret, and an authority."""

    def __init__(self, postgresql: PostgreSQL) -> None:
        self.database = postgresql.database()
        self._directory = temporary_directory("cluster")
        self._names = count()
        self.secret = self._directory / "secret"
        self.secret.touch(0o600)
        self.secret.write_text(secrets.token_hex(32))

    def next_name(self) -> str:
        return f"node-{next(self._names)}"

    @cached_property
    def _authority(self) -> Any:
        return make_authority()

    def tls(self, name: str) -> dict[str, str]:
        """Keys of `[cluster]` for a process that others reach by TLS."""
        ca = self._directory / "ca.pem"
        ca.write_bytes(self._authority.certificate_pem())
        certificate, key = make_certificate(self._authority, name).write(self._directory, name)
        address = f"127.0.0.1:{free_port()}"
        files = {"ca": str(ca), "certificate": str(certificate), "key": str(key)}
        return {"endpoint": f"tls:{address}", "address": address, **files}


class BenchNode(BenchProxy):
    """One process of a cluster. `internal_tls`: others reach it by TLS, else by a UNIX socket."""

    def __init__(self, server: Any, shared: Shared, *, internal_tls: bool = False) -> None:
        self.name = shared.next_name()
        self._shared = shared
        self._internal_tls = internal_tls
        super().__init__(server, tls=True, database=shared.database)

    def _file(self, *arguments: Any) -> str:
        internal = {"endpoint": f"unix:{self.directory / 'internal.sock'}"}
        if self._internal_tls:
            internal = self._shared.tls(self.name)
        table = {"name": self.name, "secret": str(self._shared.secret), **internal}
        return super()._file(*arguments) + "\n" + toml("cluster", table)


def pin(pid: int, cores: set[int]) -> None:
    """Have all threads of a process, and what it starts from now on, run on these cores only."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), cores)
