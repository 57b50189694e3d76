"""What it costs in the database that many processes hold many accounts: `python -m bench.ownership`.

Processes are simulated: each gives its signs of life and looks at the cluster as `Holding` does, one after the other in
this process, in real time. PostgreSQL is one of the tests' own, with the settings that it comes with.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

from minimixproxy.cluster.holding import LOOK
from minimixproxy.cluster.shares import own_share
from minimixproxy.cluster.taking import AT_ONCE
from minimixproxy.storage.cluster_lease import ClusterLease, Node
from minimixproxy.storage.database import Database
from minimixproxy.storage.lease import RENEWAL
from minimixproxy.storage.leases import Leases
from minimixproxy.storage.sealing import Sealer
from minimixproxy.storage.store import Store
from tests.storage import postgresql

ACCOUNTS, PROCESSES = 1_000_000, 50
SECONDS = 20  # of life
_SETTINGS = ("listen_addresses=127.0.0.1", "max_connections=300", "shared_buffers=128MB")
_TICKS = os.sysconf("SC_CLK_TCK")
_FILL = """
INSERT INTO leases (bare, holder, epoch)
SELECT 'user' || n || '@example.org', %s + n %% %s, nextval('epochs') FROM generate_series(1, %s) AS n
"""


class Process(NamedTuple):
    """One simulated process."""

    lease: ClusterLease
    leases: Leases
    store: Store


def main(accounts: int, processes: int) -> None:
    """Print figures."""
    cluster = postgresql.Cluster(settings=_SETTINGS)
    url = cluster.database()
    made = [_process(url, number) for number in range(processes)]
    first = made[0].lease.number
    _fill(cluster, url, first, accounts, processes)
    print(f"{accounts} accounts, {processes} processes; load {os.getloadavg()[0]:.1f}")
    _live(cluster, made)
    _one_ends(cluster, url, made, accounts // processes)


def _process(url: str, number: int) -> Process:
    database = Database(url)
    lease = ClusterLease(database, "bench", Node(f"node-{number}", "", f"{number}"))
    lease.take()
    lease.accounts = number
    return Process(lease, Leases(database, lease, Sealer(b"k" * 32)), Store(database, lease))


def _fill(cluster: postgresql.Cluster, url: str, first: int, accounts: int, processes: int) -> None:
    name = Database(url).engine.url.database or ""
    with cluster.connect(name) as connection:
        connection.autocommit = True
        connection.execute(_FILL, (first, processes, accounts))
        connection.execute("VACUUM ANALYZE leases")
        connection.execute("UPDATE holders SET expires = extract(epoch FROM clock_timestamp()) + 15")  # that took long
        (size,) = connection.execute("SELECT pg_total_relation_size('leases')").fetchone() or (0,)
    print(f"leases: {size / accounts:.0f} bytes for each account, index included")


def _live(cluster: postgresql.Cluster, made: list[Process]) -> None:
    """All give signs of life, and look each second."""
    began, before, own = time.monotonic(), _cpu(cluster), time.process_time()
    for second in range(SECONDS):
        for process in made:
            process.leases.survey(thorough=False)
            process.store.rest()
        time.sleep(max(0.0, began + (second + 1) * LOOK - time.monotonic()))
    took = time.monotonic() - began
    used, own = _cpu(cluster) - before, time.process_time() - own
    each = SECONDS * len(made) / 1000
    print(
        f"life: {took:.1f} s for {SECONDS} looks; PostgreSQL {used / took * 1000:.0f} ms of CPU a second, "
        f"{used / each:.2f} ms for each look; the process {own / each:.2f} ms "
        f"(a sign of life every {RENEWAL:.0f} s, a look each second)"
    )


def _one_ends(cluster: postgresql.Cluster, url: str, made: list[Process], expected: int) -> None:
    """The others take the accounts of one."""
    with Database(url).engine.begin() as connection:
        connection.exec_driver_sql("UPDATE holders SET expires = expires + 3600")  # they give no signs of life now
        connection.exec_driver_sql("UPDATE holders SET ended = true WHERE number = %s", (made[0].lease.number,))
    began, before, own, taken = time.monotonic(), _cpu(cluster), time.process_time(), 0
    for process in made[1:]:
        survey = process.leases.survey(thorough=False)
        share = own_share(survey.orphans, [holder.number for holder in survey.live], process.lease.number)
        for start in range(0, len(share), AT_ONCE):
            taken += len(process.leases.take(share[start : start + AT_ONCE]).names)
    took, used, own = time.monotonic() - began, _cpu(cluster) - before, time.process_time() - own
    print(
        f"one ends: {taken} of {expected} accounts taken by {len(made) - 1} others, in turn, in {took:.1f} s; "
        f"PostgreSQL {used / taken * 1e6:.0f} us of CPU for each, the processes {own / taken * 1e6:.0f}"
    )


def _cpu(cluster: postgresql.Cluster) -> float:
    """Seconds of CPU of PostgreSQL's processes, those that have ended included."""
    postmaster = int((cluster.directory / "data" / "postmaster.pid").read_text().split()[0])
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        own = int(stat.parent.name) == postmaster
        if own or int(fields[1]) == postmaster:
            total += sum(map(int, fields[11:15] if own else fields[11:13]))
    return total / _TICKS


if __name__ == "__main__":
    main(*(map(int, sys.argv[1:])) if len(sys.argv) > 2 else (ACCOUNTS, PROCESSES))
