"""Several processes with one set of accounts: how much more they do than one, and the way through another process.

`python -m bench.cluster`: all of it, at length, failover included (failover.py); in `make bench` it is shorter. On two
cores two processes share them with server, database and clients, which no sum of figures takes out; so there are two
more: what a copy costs each of them in CPU, beside one alone, and what they do with half a core each.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
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
from bench.tables import Section
from tests.checkouts import checkout
from tests.integration.processes import LoggedProcess

WINDOW = 60  # messages to all of them that are under way: no process waits for another
SESSIONS = 10  # of the account whose sessions come by another process
RATE = 25  # messages per second, paced
# Ways, by the names that the report has for them.
SQLITE, POSTGRESQL, NODE, NODES = "alone, SQLite", "alone, PostgreSQL", "one of a cluster", "two of a cluster"
EARLIER = ", earlier version"
DIRECT, SOCKET, TLS = "to the holder", "by a UNIX socket", "by TLS"

Plan = dict[str, Any]


class Size(NamedTuple):
    """`accounts`: with two sessions each, in one room. Seconds of each way and load."""

    accounts: int
    seconds: float
    halves: bool  # whether two processes are measured with half a core each, too


SHORT = Size(20, 3.0, halves=False)
LONG = Size(100, 12.0, halves=True)


class Ways(NamedTuple):
    """Cases by way; `halves`: when the processes had half a core each."""

    cases: Mapping[str, Case]
    halves: Mapping[str, Case]


# Two processes beside one ---------------------------------------------------------------------------------------------


class Ground:
    """Servers of their own for each way; nothing is shared but PostgreSQL."""

    def __init__(self, started: list[LoggedProcess], accounts: int) -> None:
        self._accounts = accounts
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
            "accounts": [f"alice{number}" for number in range(self._accounts)],
            "sessions": 2 * self._accounts,
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


def measure_capacity(size: Size, earlier: Path | None = None) -> Ways:
    """As much as goes: one process with each database, one of a cluster, two. `earlier`: a checkout to compare with."""
    started: list[LoggedProcess] = []
    with stopping(started):
        ground = Ground(started, size.accounts)
        try:
            plans = {
                SQLITE: ground.alone(False),
                POSTGRESQL: ground.alone(True),
                NODE: ground.cluster(1),
                NODES: ground.cluster(2),
            }
            if earlier is not None:
                plans |= {name + EARLIER: ground.alone(name != SQLITE, earlier) for name in (SQLITE, POSTGRESQL)}
            cases = _cases(plans, size)
            return Ways(cases, _halves(ground, plans, size) if size.halves else {})
        finally:
            ground.postgresql.stop()


def _halves(ground: Ground, plans: Mapping[str, Plan], size: Size) -> dict[str, Case]:
    """Each process has half a core, and all else another core: one beside a process that burns its half, then two."""
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
        return _cases({NODE: {**plans[NODE], "burner": burner}, NODES: plans[NODES]}, size)


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


def _cases(plans: Mapping[str, Plan], size: Size) -> dict[str, Case]:
    phases = {"saturated": {"window": WINDOW, "seconds": size.seconds, "warm_up": size.seconds / 5}}
    return cases_of(generate("compare", ways=plans, phases=phases), 2 * size.accounts)


# The way through another process --------------------------------------------------------------------------------------


def measure_hop(size: Size) -> dict[str, Case]:
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
            return cases_of(generate("compare", ways=plans, phases=_hop_phases(size.seconds)), SESSIONS)
        finally:
            postgresql.stop()


Pair = tuple[BenchNode, BenchNode]


def _hop_phases(seconds: float) -> dict[str, Plan]:
    """Latencies are those of the last one."""
    return {
        "one": {"window": 1, "seconds": seconds, "warm_up": 0.5},
        "saturated": {"window": 40, "seconds": seconds, "warm_up": 0.5},
        "paced": {"rate": RATE, "seconds": seconds, "warm_up": 0.3},
    }


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


def _report(name: str, earlier: Path | None) -> Section:
    from bench.report import cluster as report  # which names what is measured here

    size = scaled(LONG, SHORT)
    if name == "capacity":
        return report.capacity_section(measure_capacity(size, earlier))
    if name == "hop":
        return report.hop_section(measure_hop(size))
    return report.failover_section(failover.measure())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.cluster", description=__doc__)
    parser.add_argument("only", nargs="*", help="of capacity, hop, failover")
    parser.add_argument(
        "--earlier", type=checkout, help="a checkout of another version of the proxy, for single processes"
    )
    options = parser.parse_args()
    for name in options.only or ("capacity", "hop", "failover"):
        began, load = time.monotonic(), os.getloadavg()[0]
        print(_report(name, options.earlier).markdown({}), flush=True)
        print(f"# {name}: {time.monotonic() - began:.0f} seconds; load before it {load:.1f}\n", flush=True)


if __name__ == "__main__":
    main()
