"""The parts of the report about several processes with one set of accounts."""

import os
from collections.abc import Mapping

from bench import cluster, failover
from bench.forking import Case
from bench.tables import Column, Goal, Row, Section, Table

# The goals of issue 15.
TWO_GOAL = Goal(1.7, least=True)  # times the copies of one process
HOP_GOAL = Goal(6.0)  # microseconds at the holder
BACK_GOAL = Goal(25.0)  # seconds: a lease, and 10
LOST_GOAL = Goal(0.0)

TIMES = "two / one"
_OWN = ("proxy0", "proxy1")


def _own(case: Case) -> float:
    """CPU of the processes under test, in microseconds for each copy."""
    cpu = case.phases["saturated"].cpu
    return sum(cpu.get(name, 0.0) for name in _OWN)


def _rate(case: Case) -> float:
    return case.phases["saturated"].rate


# Two processes --------------------------------------------------------------------------------------------------------


def capacity_section(ways: cluster.Ways) -> Section:
    """What one process does, with each database, and two."""
    cases = ways.cases
    some = cases[cluster.NODES]
    columns = [Column("copies/s"), Column("proxies", 1, before=True), Column("database", 1), Column("server", 1)]
    columns += [Column("cores", 2)]
    rows = [_capacity_row(name, case) for name, case in cases.items()]
    rows += [_capacity_row(f"{name}, half a core each", case) for name, case in ways.halves.items()]
    return Section(
        "cluster",
        "Several processes",
        [
            f"{some.sessions // 2} accounts with two sessions each, in one room of a server that costs next to nothing"
            f" (`bench/cheapserver.py`), {cluster.WINDOW} messages of {some.bytes:.0f} bytes under way;\nTLS on both"
            " sides, PostgreSQL with the settings that it comes with. In a cluster each of two processes has half of"
            " the accounts.\nCPU in µs per copy; *cores*: what the proxies used of them.",
            Table("capacity", ["processes"], columns, rows),
            f"Copies per second of two beside one. *Measured, together*: on {os.cpu_count()} cores, which they share"
            " with database, server and clients. *Half a core each*: measured, all processes on one core, one beside a"
            "\nprocess that burns the other half, then two; all else on another core. *By CPU*: inferred, what a copy"
            " costs one process over what it costs each of two, times two:\nwhere each has a core, and database and"
            " server are elsewhere.",
            Table("two", ["how"], [Column(TIMES, 2, before=True, goal=True)], _two(ways)),
        ],
    )


def _capacity_row(name: str, case: Case) -> Row:
    cpu, own = case.phases["saturated"].cpu, _own(case)
    figures = {
        "copies/s": _rate(case),
        "proxies": own,
        "database": cpu.get("database"),
        "server": cpu["server"],
        "cores": own * _rate(case) / 1e6,
    }
    return Row([name], figures)


def _two(ways: cluster.Ways) -> list[Row]:
    one, two = (ways.cases[name] for name in (cluster.NODE, cluster.NODES))
    rows = [Row(["measured, together"], {TIMES: _rate(two) / _rate(one)})]
    if ways.halves:
        half, halves = (ways.halves[name] for name in (cluster.NODE, cluster.NODES))
        rows.append(_two_row("measured, half a core each", _rate(halves) / _rate(half)))
    rows.append(_two_row("by CPU", 2 * _own(one) / _own(two)))
    return rows


def _two_row(how: str, times: float) -> Row:
    return Row([how], {TIMES: times}, {TIMES: TWO_GOAL})


# The way through another process --------------------------------------------------------------------------------------


def hop_section(cases: Mapping[str, Case]) -> Section:
    """What a copy costs at the holder and at the edge, and how much later it comes."""
    loads = {"one": "one in flight", "saturated": "40 under way"}
    columns = [Column("holder", 1), Column("added there", 1, before=True, goal=True), Column("edge", 1, before=True)]
    latencies = [Column("p50", 2), Column("added p50", 2, before=True), Column("p99", 2), Column("added p99", 2)]
    return Section(
        "hop",
        "Through another process",
        [
            f"One account in one room at Prosody, with {cluster.SESSIONS} sessions: they come to the process that holds"
            " it, or by way of another one of the cluster,\nwhich it reaches by a UNIX socket or by TLS. CPU in µs per"
            " copy of both; TLS towards clients ends where they come to.",
            Table(
                "hop",
                ["load", "way"],
                [*columns, Column("copies/s")],
                [_hop_row(cases, phase, load, way) for phase, load in loads.items() for way in cases],
            ),
            f"Milliseconds from sending to each copy, {cluster.RATE} messages per second:",
            Table("hop latency", ["way"], latencies, [_hop_latency(cases, way) for way in cases]),
        ],
    )


def _hop_row(cases: Mapping[str, Case], phase: str, load: str, way: str) -> Row:
    found, direct = cases[way].phases[phase], cases[cluster.DIRECT].phases[phase]
    added = None if way == cluster.DIRECT else found.cpu["holder"] - direct.cpu["holder"]
    edge = None if way == cluster.DIRECT else found.cpu["edge"]
    figures = {"holder": found.cpu["holder"], "added there": added, "edge": edge, "copies/s": found.rate}
    return Row([load, way], figures, {"added there": HOP_GOAL})


def _hop_latency(cases: Mapping[str, Case], way: str) -> Row:
    figures: dict[str, float | None] = {}
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        figures[name] = cases[way].latency(part)
        if way != cluster.DIRECT:
            figures[f"added {name}"] = cases[way].latency(part) - cases[cluster.DIRECT].latency(part)
    return Row([way], figures)


# The end of a process -------------------------------------------------------------------------------------------------


def failover_section(cases: list[failover.Case]) -> Section:
    """Until all is as before, by another process, and what became of messages."""
    return Section(
        "failover",
        "A process is over",
        [
            f"A process holds {failover.ACCOUNTS} accounts with {failover.EACH} rooms each, {failover.OCCUPANTS}"
            " accounts to a room of `bench/roomservice.py`, in each of which something is said"
            f" every {failover.PAUSE:g} s all the while.\nIt is over, and another one lives: seconds until the last"
            " room has the last account again; CPU seconds until then. Then a device of each account comes to that"
            " one:\nseconds until they all are in their rooms and have been told all. Messages, for each account that"
            " is to get them: lost; twice, to devices without stream management.",
            Table("failover", ["process"], _FAILOVER, [_failover_row(case) for case in cases]),
        ],
    )


_CPU = ("CPU of the other", "of the database", "of the server")
_FAILOVER = [
    Column("rooms"),
    Column("back, s", 1, before=True, goal=True),
    *(Column(name, 1) for name in _CPU),
    Column("devices, s", 1),
    Column("messages"),
    Column("lost", goal=True),
    Column("twice"),
]


def _failover_row(case: failover.Case) -> Row:
    figures = {
        "rooms": case.rooms,
        "back, s": case.back,
        **dict(zip(_CPU, case.cpu, strict=True)),
        "devices, s": case.again,
        "messages": case.messages,
        "lost": case.lost,
        "twice": case.twice,
    }
    return Row([case.way], figures, {"back, s": BACK_GOAL, "lost": LOST_GOAL})
