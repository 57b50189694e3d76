"""The part of the report about client_proxy."""

from bench.client_proxy import ASKERS, PHASES, REQUESTS, WORKERS, Case
from bench.tables import Column, Goal, Row, Section, Table

# The goals of issue 14: the proxy's own CPU in microseconds, by load; p50 saturated beside mod_client_proxy's.
CPU_GOALS = {"one at a time": 200.0, "saturated": 60.0}
P50_GOAL = 3.0
OURS, THEIRS = "minimixproxy", "mod_client_proxy"
_CPU, _P50 = "of it proxy", "p50 ms"


def section(ours: Case, theirs: Case | None) -> Section:
    """How fast, and what is lost."""
    both = {OURS: ours} | ({THEIRS: theirs} if theirs is not None else {})
    columns = [
        Column("requests/s"),
        Column("CPU"),
        Column(_CPU, before=True, goal=True),
        Column(_P50, 2, before=True),
        Column("p99 ms", 2),
    ]
    answered = [Column(name) for name in ("answered", "errors", "lost", "twice", "restarts", "seconds")]
    lost: list[Row] = [
        Row([name], {column.name: case.loss[column.name] for column in answered}) for name, case in both.items()
    ]
    return Section(
        "client_proxy",
        "client_proxy",
        [
            f"{len(ASKERS)} askers, {WORKERS} workers (resources of one account), requests and answers of about 300"
            " bytes, no TLS, everything on one machine. CPU in µs\nper request, of server and proxy together. With a"
            " component, every request and every answer passes the server twice; with a module inside of it once.",
            Table(
                "speed", ["load", "by"], columns, [_row(load, by, case) for load in PHASES for by, case in both.items()]
            ),
            *([_ratios(ours, theirs)] if theirs is not None else []),
            f"{REQUESTS} requests, 64 open at a time, one worker cut off and started anew every second:",
            Table("loss", ["by"], answered, lost),
        ],
    )


def _row(load: str, by: str, case: Case) -> Row:
    found = case.speeds[load]
    figures = {
        "requests/s": found["rate"],
        "CPU": found["cpu"],
        _CPU: found.get("cpu of proxy"),
        _P50: found["p50"],
        "p99 ms": found["p99"],
    }
    goals = {_CPU: Goal(CPU_GOALS[load])} if by == OURS and load in CPU_GOALS else {}
    return Row([load, by], figures, goals)


def _ratios(ours: Case, theirs: Case) -> Table:
    columns = [Column("requests/s", 2), Column("CPU", 2), Column("p50", 2, before=True, goal=True), Column("p99", 2)]
    rows = []
    for load in PHASES:
        names = {"requests/s": "rate", "CPU": "cpu", "p50": "p50", "p99": "p99"}
        figures = {name: ours.speeds[load][key] / theirs.speeds[load][key] for name, key in names.items()}
        rows.append(Row([load], figures, {"p50": Goal(P50_GOAL)} if load == "saturated" else {}))
    return Table("ratio", [f"{OURS} / {THEIRS}"], columns, rows)
