"""A cluster on hosts of its own: nodes, PostgreSQL, the XMPP server and HAProxy, each in a network namespace.

Nodes are set up as docs/cluster.md says: TLS between them by an authority of their own, HAProxy by the page's block.
"""

from __future__ import annotations

import json
import re
import secrets
import socket
import time
from pathlib import Path
from typing import Any

from tests.certificates import make_authority, make_certificate
from tests.integration.clocks import ProgramClock
from tests.integration.network import Host, Network
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.proxy import Proxy, toml
from tests.integration.servers import Server, in_path
from tests.patience import patiently
from tests.storage import postgresql

ROOT = Path(__file__).resolve().parents[2]
CLIENTS, INTERNAL, SITE = 5222, 5270, 5290  # ports of each node, as on the page
STARTS = 60.0  # seconds in which a node is there


def recipe() -> str:
    """What docs/cluster.md says of HAProxy."""
    page = (ROOT / "docs" / "cluster.md").read_text("utf-8")
    (found,) = re.findall(r"(?:^    .*\n|^\n)+", page[page.index("    defaults\n") :], re.MULTILINE)[:1]
    return "\n".join(line.removeprefix("    ") for line in found.splitlines()) + "\n"


class HostedNode(Proxy):
    """A node on a host of its own; not started. Each of its processes tells the database a name of its own.

    `checkout`: whose code it runs when it is started the next time, if not this one's.
    """

    host: Host
    checkout: Path | None = None
    clock: ProgramClock | None = None

    def __init__(self, host: Host, server: Server, url: str, shared: Shared, **options: Any) -> None:
        self._url = url
        listen = [{"endpoint": f"haproxy:tcp:{CLIENTS}:interface={host.address}"}]
        super().__init__(server, start=False, host=host, listen=listen, **options)
        self.name, self._starts = host.name, 0
        certificate, key = make_certificate(shared.authority, host.name).write(self.directory, host.name)
        address = f"{host.address}:{INTERNAL}"
        cluster = {"name": host.name, "endpoint": f"tls:{address}", "address": address, "secret": str(shared.secret)}
        cluster |= {"ca": str(shared.ca), "certificate": str(certificate), "key": str(key)}
        web = {"endpoint": f"tcp:{SITE}:interface={host.address}"}
        with self.configuration.open("a") as file:
            file.write("\n" + toml("cluster", cluster) + "\n" + toml("web", web))

    @property
    def _state(self) -> str:
        directory = self.directory / "state"
        return f"state = {json.dumps(self._url)}\nstate_directory = {json.dumps(str(directory))}\n"

    @property
    def program(self) -> str:
        """What this process tells the database."""
        return f"{self.name}.{self._starts}"

    def start(self) -> None:
        self._starts += 1
        text = self.configuration.read_text()
        program = f"application_name={self.program}"
        self.configuration.write_text(re.sub(r"application_name=[\w.-]+", program, text))
        self._environment = {
            **(self.clock.environment if self.clock else {}),
            **({"PYTHONPATH": str(self.checkout)} if self.checkout else {}),
        }
        super().start()

    def own_clock(self) -> ProgramClock:
        """From its next start on it has one."""
        self.clock = ProgramClock(self.directory / "clock")
        return self.clock

    async def comes(self) -> None:
        """Wait until the process that was started last serves clients."""
        await self.process.says(f"WebSite starting on {SITE}", STARTS)  # the last thing


def _listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), patiently(5.0)).close()
    except ConnectionRefusedError:
        return False
    return True


class Shared:
    """What all nodes have: the secret, and the cluster's own authority."""

    def __init__(self) -> None:
        directory = temporary_directory("cluster")
        self.secret, self.ca = directory / "cluster.key", directory / "ca.pem"
        self.secret.touch(0o600)
        self.secret.write_text(secrets.token_hex(32))
        self.authority = make_authority()
        self.ca.write_bytes(self.authority.certificate_pem())


class Site:
    """All hosts. Nodes are made, and not started; HAProxy is started by `open`. What blocks says so.

    `stop` ends everything, however far it has come.
    """

    def __init__(self) -> None:
        self.network = Network()
        self.front = self.network.host("front")
        self.nodes: list[HostedNode] = []
        self.server: Server
        self.database: postgresql.Cluster
        self.url = ""  # of the database, by its socket
        self._shared = Shared()
        self._haproxy: LoggedProcess | None = None

    def begin(self, kind: type[Server]) -> None:
        """Start PostgreSQL and the server, each on its host. Blocks."""
        self.database_host, self.server_host = self.network.host("database"), self.network.host("server")
        self.database = self._start_database()
        self.url = self.database.database()
        self.server = kind(self.server_host)

    def _start_database(self) -> postgresql.Cluster:
        return postgresql.Cluster(host=self.database_host, clients=self.network.range)

    def node(self, **options: Any) -> HostedNode:
        """Another node, on another host."""
        host = self.network.host(f"node-{len(self.nodes)}")
        node = HostedNode(host, self.server, self.url_for(host.name), self._shared, **options)
        self.nodes.append(node)
        return node

    def url_for(self, program: str) -> str:
        """The URL of the database over the network; who uses it says that it is this program."""
        address, port = self.database_host.address, self.database.port
        return f"postgresql://tests@{address}:{port}/{self.database_name}?application_name={program}"

    @property
    def database_hosts(self) -> list[Host]:
        """All that a node is to reach for its state."""
        return [self.database_host]

    @property
    def database_name(self) -> str:
        return self.url.partition("@/")[2].partition("?")[0]

    def open(self, interval: str = "500ms") -> None:
        """Start HAProxy before all nodes, which it looks at in this interval. Blocks."""
        text = re.sub(r"^    server .*\n", "", recipe(), flags=re.MULTILINE)
        assert "check port 5290" in text
        for node in self.nodes:
            text += f"    server {node.name} {node.host.address}:{CLIENTS} inter {interval}\n"
        configuration = temporary_directory("haproxy") / "haproxy.cfg"
        configuration.write_text(text)
        command = self.front.command([in_path("haproxy") or "haproxy", "-db", "-V", "-f", str(configuration)])
        self._haproxy = LoggedProcess("haproxy", command)
        self._haproxy.wait_for("as the polling mechanism")  # which it says when it is about to listen
        while not _listens(self.front.address, CLIENTS):
            time.sleep(0.05)

    def stop(self) -> None:
        """End everything. Blocks."""
        for node in self.nodes:
            if hasattr(node, "process"):
                node.stop()
        if self._haproxy is not None:
            self._haproxy.stop()
        if hasattr(self, "server"):
            self.server.process.stop()
        self._stop_database()
        self.network.stop()

    def _stop_database(self) -> None:
        if hasattr(self, "database"):
            self.database.stop()
