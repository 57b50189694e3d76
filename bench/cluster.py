"""Several processes with one set of accounts: how much more they do than one, and the way through another process.

`python -m bench.cluster`: everything in full; `capacity`, `hop`, `failover`: only that. See docs/cluster.md, Sizing.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from bench import failover
from bench.forking import TEXT, Case, cases_of
from bench.generator import generate, message
from bench.nodes import BenchNode, PostgreSQL, Shared, pin
from bench.scale import scaled
from bench.servers import HERE, PASSWORD, BenchProsody, BenchProxy, CheapServer, stopping
from tests.integration.processes import LoggedProcess

ACCOUNTS = scaled(100, 20)  # with two sessions each, in one room
WINDOW = 60  # messages to all of them that are under way: no process waits for another
SATURATED = {"window": WINDOW, "seconds": scaled(10.0, 2.5), "warm_up": scaled(2.0, 0.5)}
SESSIONS = 10  # of the account whose sessions come by another process
RATE = 25
ONE = {"window": 1, "seconds": scaled(5.0, 1.5), "warm_up": 0.5}
MANY = {"window": 40, "seconds": scaled(5.0, 1.5), "warm_up": 0.5}
PACED = {"rate": RATE, "seconds": scaled(8.0, 2.0), "warm_up": 0.3}
# Ways, by the names that the report has for them.
SQLITE, POSTGRESQL, NODE, NODES = "SQLite", "PostgreSQL", "one of a cluster", "two of a cluster"
EARLIER = ", earlier version"
DIRECT, SOCKET, TLS = "directly at the holder", "by a UNIX socket", "by TLS"

Plan = dict[str, Any]


class Ways(NamedTuple):
    """Cases by way; `halves`: when the processes had half a core each."""

    cases: Mapping[str, Case]
    halves: Mapping[str, Case]


# Two processes beside one ---------------------------------------------------------------------------------------------


class Ground:
    """Servers of their own for each way; nothing is shared but PostgreSQL."""

    def __init__(self, started: list[LoggedProcess]) -> None:
        self.postgresql = PostgreSQL()
        self._started = started
        self.servers: list[LoggedProcess] = []
        self.proxies: list[LoggedProcess] = []

    def way(self, *proxies: BenchProxy, server: CheapServer, database: bool = True) -> Plan:
        pids = {f"proxy{number}": proxy.process.pid for number, proxy in enumerate(proxies)}
        self.proxies += [proxy.process for proxy in proxies]
        self._started += [proxy.process for proxy in proxies]
        targets = [{"port": proxy.port, "domain": server.domain, "tls": "starttls"} for proxy in proxies]
        return {
            "kind": "fork",
            "targets": targets,
            "sender": {"port": server.port, "domain": server.domain, "tls": "starttls"},
            "sender_account": "sender",
            "accounts": [f"alice{number}" for number in range(ACCOUNTS)],
            "sessions": 2 * ACCOUNTS,
            "password": PASSWORD,
            "room": server.room,
            "message": message(server.room, "groupchat"),
            "pids": pids | {"server": server.process.pid},
            "with_children": {"database": self.postgresql.pid} if database else {},
        }

    def server(self) -> CheapServer:
        server = CheapServer()
        self._started.append(server.process)
        self.servers.append(server.process)
        return server

    def alone(self, database: bool, checkout: Path = HERE.parent) -> Plan:
        """One process that is no cluster's."""
        server, url = self.server(), self.postgresql.database() if database else ""
        proxy = BenchProxy(server, tls=True, checkout=checkout, database=url)
        return self.way(proxy, server=server, database=database)

    def cluster(self, number: int) -> Plan:
        """So many processes, each of which gets as many accounts."""
        server, shared = self.server(), Shared(self.postgresql)
        return self.way(*(BenchNode(server, shared) for _ in range(number)), server=server)


def measure_capacity(earlier: Path | None = None) -> Ways:
    """As much as goes: one process with each database, one of a cluster, two. `earlier`: a checkout to compare with."""
    started: list[LoggedProcess] = []
    with stopping(started):
        ground = Ground(started)
        try:
            plans = {
                SQLITE: ground.alone(False),
                POSTGRESQL: ground.alone(True),
                NODE: ground.cluster(1),
                NODES: ground.cluster(2),
            }
            if earlier is not None:
                plans |= {name + EARLIER: ground.alone(name != SQLITE, earlier) for name in (SQLITE, POSTGRESQL)}
            cases = _cases(plans)
            return Ways(cases, _halves(ground, {name: plans[name] for name in (NODE, NODES)}))
        finally:
            ground.postgresql.stop()


def _halves(ground: Ground, plans: Mapping[str, Plan]) -> dict[str, Case]:
    """Each process has half a core, and all else another core: one beside a process that burns its half, then two.

    So two cores show what two processes do whose servers, database and clients are elsewhere.
    """
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        return {}
    theirs, others = {cores[0]}, {cores[1]}
    for process in ground.proxies:
        pin(process.pid, theirs)
    for server in ground.servers:
        pin(server.pid, others)
    ground.postgresql.pin(others)
    with _burner(theirs) as burner, _pinned(others):
        return _cases({NODE: {**plans[NODE], "burner": burner}, NODES: plans[NODES]})


@contextmanager
def _burner(cores: set[int]) -> Iterator[int]:
    """A process that does nothing at all, as fast as it can, when it is let."""
    process = LoggedProcess("burner", [sys.executable, "-c", "while True: pass"])
    process.pause()
    pin(process.pid, cores)
    try:
        yield process.pid
    finally:
        process.stop()


@contextmanager
def _pinned(cores: set[int]) -> Iterator[None]:
    """What is started meanwhile runs on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _cases(plans: Mapping[str, Plan]) -> dict[str, Case]:
    return cases_of(generate("compare", ways=plans, phases={"saturated": SATURATED}), 2 * ACCOUNTS)


# The way through another process --------------------------------------------------------------------------------------


def measure_hop() -> dict[str, Case]:
    """One account with sessions at its holder, or by another process; at Prosody."""
    started: list[LoggedProcess] = []
    with stopping(started):
        prosody, postgresql = BenchProsody(tls=True), PostgreSQL()
        started.append(prosody.process)
        try:
            near, far = (_pair(prosody, postgresql, started, internal_tls=tls) for tls in (False, True))
            plans = {
                DIRECT: _through(prosody, 0, near[0], near),
                SOCKET: _through(prosody, 1, near[1], near),
                TLS: _through(prosody, 2, far[1], far),
            }
            return cases_of(generate("compare", ways=plans, phases=HOP_PHASES), SESSIONS)
        finally:
            postgresql.stop()


HOP_PHASES = {"one": ONE, "saturated": MANY, "paced": PACED}
Pair = tuple[BenchNode, BenchNode]


def _pair(prosody: BenchProsody, postgresql: PostgreSQL, started: list[LoggedProcess], *, internal_tls: bool) -> Pair:
    shared = Shared(postgresql)
    holder, edge = (BenchNode(prosody, shared, internal_tls=internal_tls) for _ in range(2))
    started += [holder.process, edge.process]
    return holder, edge


def _through(prosody: BenchProsody, number: int, reached: BenchNode, pair: Pair) -> Plan:
    """An account of its own, in a room of its own; its sessions come to `reached`."""
    holder, edge = pair
    at = {"domain": prosody.domain, "tls": prosody.tls}
    room = f"room{number}@{prosody.muc}"
    return {
        "kind": "fork",
        "target": {**at, "port": reached.port},
        "holder": {**at, "port": holder.port},
        "sender": {**at, "port": prosody.port, "domain": prosody.sender_domain},
        "sender_account": prosody.sender,
        "sender_resource": f"sender{number}",
        "accounts": prosody.accounts[number : number + 1],
        "sessions": SESSIONS,
        "password": PASSWORD,
        "room": room,
        "message": TEXT.replace(f"room@{prosody.muc}", room),
        "pids": {"holder": holder.process.pid, "edge": edge.process.pid},
    }


# By hand --------------------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("only", nargs="*", choices=["capacity", "hop", "failover"])
    parser.add_argument("--earlier", type=Path, help="a checkout of another version of the proxy, for single processes")
    options = parser.parse_args()
    print(options)
    if "capacity" in options.only:
        ways = measure_capacity(options.earlier)
        for kind in (ways.cases, ways.halves):
            for name, case in kind.items():
                phase = case.phases["saturated"]
                print(f"{name:30} {phase.rate:9.0f}/s", {k: round(v, 2) for k, v in phase.cpu.items()})
    if "hop" in options.only:
        for name, case in measure_hop().items():
            for phase_name, phase in case.phases.items():
                print(f"{name:30} {phase_name:9} {phase.rate:9.0f}/s", {k: round(v, 2) for k, v in phase.cpu.items()})
            print(case.latency(0.5), case.latency(0.99))
    if "failover" in options.only:
        for found in failover.measure():
            print(found)


if __name__ == "__main__":
    main()
