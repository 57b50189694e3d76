"""The parts of the report about everybody at once, and about big rooms."""

import math
from itertools import pairwise
from statistics import median

from bench import bigroom, storms
from bench.pings import percentile
from bench.tables import Column, Goal, Row, Section, Table

# The goals of issue 14.
LOGIN_GOAL = 4.0  # CPU milliseconds
BACK_GOAL = 25.0  # seconds
PING_GOAL = 2.0  # of the quiet p99
AGAIN_GOAL = 8.0  # seconds
FURTHER_GOAL = 10.0  # microseconds for each occupant
FURTHER_BYTES_GOAL = 0.3  # MiB
HELD_GOAL = 20.0  # milliseconds
DOUBLED_GOAL = 1.5  # times as much for each occupant in a room of twice as many: 1 is linear, 2 is quadratic

VALUE = Column("measured", 2, before=True, goal=True)


def storms_section(case: storms.Case) -> Section:
    """Logins, a kill, and all clients at once."""
    devices, rooms = case.accounts * storms.DEVICES, case.rooms // case.accounts
    quiet, meanwhile = percentile(case.quiet, 0.99), percentile(case.meanwhile, 0.99)
    rows = [
        _row("login, CPU ms", case.login_cpu * 1000, Goal(LOGIN_GOAL)),
        _row("login, KiB", case.login_bytes / 1024),
        _row("killed: seconds until all rooms are back", case.back, Goal(BACK_GOAL)),
        _row("killed: CPU seconds", case.back_cpu),
        _row("killed: ping p99 / quiet p99", meanwhile / quiet, Goal(PING_GOAL)),
        _row("killed: ping p99, ms", meanwhile),
        _row("all clients: seconds until the last is in", case.again, Goal(AGAIN_GOAL)),
        _row("all clients: CPU seconds", case.again_cpu),
        _row("all clients: refused", case.refused, Goal(0.0)),
    ]
    return Section(
        "storms",
        "Everybody at once",
        [
            f"{devices} logins of {case.accounts} accounts at Prosody, one after the other, TLS on both sides: CPU"
            f" and resident memory of the proxy for each, with its accounts.\nThen each account joins {rooms}"
            f" rooms of {storms.OCCUPANTS} occupants, and the proxy is killed and started: its {case.rooms} rooms come"
            " back by themselves, while\nsomebody else, directly at the server, pings it. Then all clients log in anew"
            " at the same moment; they share the two cores with proxy and server.",
            Table("storms", ["what"], [VALUE], rows),
        ],
    )


def _row(label: str, value: float, goal: Goal | None = None) -> Row:
    return Row([label], {VALUE.name: value}, {VALUE.name: goal} if goal is not None else {})


def big_rooms_section(cases: list[bigroom.Case]) -> Section:
    """Rooms of twice as many each time, so that what grows faster than the room is seen."""
    goals = {"further": Goal(FURTHER_GOAL), "MiB": Goal(FURTHER_BYTES_GOAL)}
    cpu = [Column("first", 1), Column("further", 1, before=True, goal=True), Column("second device", 1)]
    columns = [*cpu, Column("forked", 1, before=True), Column("MiB", 2, before=True, goal=True), Column("seconds", 1)]
    pings = [Column("p50", 1), Column("p99", 1), Column("longest", 1, before=True, goal=True)]
    return Section(
        "bigroom",
        "Big rooms",
        [
            f"{bigroom.ACCOUNTS} accounts with {bigroom.DEVICES} devices each, in a room of a component"
            f" (`bench/roomservice.py`); then {bigroom.SPLIT:.0%} of the occupants leave and come back at once.\nCPU of"
            " the proxy in µs: for each occupant of the join of the first account, of each further account, of its"
            " second device; for each copy of a presence that a device gets.\nMiB of resident memory for each further"
            " account; seconds until all devices know of everything.",
            Table("cost", ["occupants"], columns, [Row([str(case.occupants)], _costs(case), goals) for case in cases]),
            "What each occupant costs in a room of twice as many, as a multiple: 1 is linear, 2 would be quadratic.",
            Table(
                "doubled",
                ["occupants"],
                [Column(what, 2, goal=True) for what in _EACH],
                [_doubled(*pair) for pair in pairwise(cases)],
            ),
            "Somebody else's pings through the same proxy, of itself in another room, which the proxy answers:"
            " milliseconds.",
            Table(
                "pings",
                ["occupants", "while"],
                pings,
                [
                    Row([str(case.occupants), what], _pings(times), {"longest": Goal(HELD_GOAL)})
                    for case in cases
                    for what, times in (("accounts join", case.joins), ("occupants leave and come", case.meanwhile))
                ],
            ),
        ],
    )


def _costs(case: bigroom.Case) -> dict[str, float | None]:
    return {
        "first": case.first,
        "further": case.further,
        "second device": case.second,
        "forked": case.forked,
        "MiB": case.bytes / 2**20,
        "seconds": case.split,
    }


def _pings(times: list[float]) -> dict[str, float | None]:
    return {"p50": median(times), "p99": percentile(times, 0.99), "longest": times[-1]}


# What a case says of each occupant.
_EACH = ("first", "further", "second device", "forked")


def _doubled(half: bigroom.Case, whole: bigroom.Case) -> Row:
    small, large = _costs(half), _costs(whole)
    ratios = {what: (large[what] or 0.0) / (small[what] or math.inf) for what in _EACH}
    return Row([f"{half.occupants} to {whole.occupants}"], ratios, dict.fromkeys(_EACH, Goal(DOUBLED_GOAL)))
