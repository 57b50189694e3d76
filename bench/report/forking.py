"""The part of the report about forking."""

from bench.forking import EARLIER, LOOP, MINIMIX, PLAIN, PROXY, RATE, SATURATED, Case
from bench.tables import Column, Goal, Row, Section, Table

# The goals of issue 14, by sessions.
LOOP_GOALS = {2: 4.0, 10: 2.5, 50: 1.6}
MINIMIX_GOALS = {2: 1.25, 10: 0.7, 50: 0.36}
RATE_GOAL = 3.0

OF_LOOP, OF_MINIMIX, OF_EARLIER = "proxy / loop", "with server / mod_minimix", "proxy / earlier"
_CPU = ("loop", "proxy", "its server", "with server", "earlier proxy", "mod_minimix", "plain joins")

LATENCIES = [
    Column(f"{what} {part}", 2, before=what == "proxy")
    for part in ("p50", "p99")
    for what in ("proxy", "plain joins", "added")
]

Cases = dict[str, Case]


def section(by_turns: list[Cases], plain: Case, managed: Case | None) -> Section:
    """`plain`: the proxy without TLS; `managed`: to sessions that acknowledge."""
    last = by_turns[-1]
    proxy = last[PROXY]
    return Section(
        "forking",
        "Forking",
        [
            f"One account in one room, with 2 to {proxy.sessions} sessions attached; someone else, directly at the"
            f" server, says messages of {proxy.bytes:.0f} bytes as delivered. TLS on every connection"
            f" ({proxy.cipher}). CPU in µs per delivered copy.\n"
            "*Loop*: the yardstick, `bench/yardstick.py`: epoll and OpenSSL, which send copies of as many bytes to as"
            " many connections without looking at them.\n*Plain joins*: each session is an occupant of its own at"
            " Prosody, without mod_minimix or proxy. *Earlier proxy*: another version, if `EARLIER` names its checkout."
            "\nAll are measured by turns in one run, each with servers of its"
            " own.",
            "One message in flight: the next when every copy of the one before has arrived.",
            _cpu_table("one", by_turns),
            "The proxy's own CPU beside that of the loop, and proxy and server together beside mod_minimix:",
            _ratio_table(by_turns),
            f"{RATE} messages per second; each session got each of them once, in the order in which they were said:",
            _cpu_table("paced", by_turns),
            "Of these, milliseconds from sending a message to receiving each copy, and how much more that is through"
            " the proxy than by plain joins:",
            _latency_table(by_turns),
            f"As much as goes, {proxy.sessions} sessions, {SATURATED['window']} messages under way:",
            _rate_table(last),
            _without_tls(plain, proxy) + (f"\n{_acknowledged(managed, proxy)}" if managed is not None else ""),
        ],
    )


def _cpu_table(phase: str, by_turns: list[Cases]) -> Table:
    columns = [Column(name, 1, before=name in ("proxy", "with server")) for name in _CPU]
    rows = [Row([str(cases[PROXY].sessions)], cpu(phase, cases)) for cases in by_turns]
    return Table(phase, ["sessions"], columns, rows)


def cpu(phase: str, cases: Cases) -> dict[str, float | None]:
    """Return µs per copy, by who takes them."""
    proxy = cases[PROXY].phases[phase]
    theirs = {name: cases[name].phases[phase].total if name in cases else None for name in (LOOP, MINIMIX, PLAIN)}
    earlier = cases[EARLIER].phases[phase].cpu["proxy"] if EARLIER in cases else None
    own = (proxy.cpu["proxy"], proxy.cpu["prosody"], proxy.total, earlier)
    return dict(zip(_CPU, (theirs[LOOP], *own, theirs[MINIMIX], theirs[PLAIN]), strict=True))


def _ratio_table(by_turns: list[Cases]) -> Table:
    rows = []
    for cases in by_turns:
        sessions, used = cases[PROXY].sessions, cpu("one", cases)
        goals = {OF_LOOP: Goal(LOOP_GOALS[sessions]), OF_MINIMIX: Goal(MINIMIX_GOALS[sessions])}
        figures = {
            OF_LOOP: _ratio(used["proxy"], used["loop"]),
            OF_MINIMIX: _ratio(used["with server"], used["mod_minimix"]),
            OF_EARLIER: _ratio(used["proxy"], used["earlier proxy"]),
        }
        rows.append(Row([str(sessions)], figures, goals))
    columns = [Column(OF_LOOP, 2, before=True, goal=True), Column(OF_MINIMIX, 2, before=True, goal=True)]
    columns.append(Column(OF_EARLIER, 2))
    return Table("ratios", ["sessions"], columns, rows)


def _ratio(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else ours / theirs


def _latency_table(by_turns: list[Cases]) -> Table:
    rows = [Row([str(cases[PROXY].sessions)], latency(cases)) for cases in by_turns]
    return Table("latency", ["sessions"], LATENCIES, rows)


def latency(cases: Cases) -> dict[str, float | None]:
    """Return percentiles of the milliseconds to a copy, and what the proxy adds to plain joins."""
    figures: dict[str, float | None] = {}
    for name, part in (("p50", 0.5), ("p99", 0.99)):
        ours, theirs = cases[PROXY].latency(part), cases[PLAIN].latency(part)
        figures |= {f"proxy {name}": ours, f"plain joins {name}": theirs, f"added {name}": ours - theirs}
    return figures


def accounts_section(by_turns: list[tuple[int, Cases]]) -> Section:
    """Many accounts in one room, each with two sessions."""
    columns = [Column(name, 1, before=name == "proxy") for name in ("loop", "proxy", "its server", "plain joins")]
    cpu_rows = [Row([str(number)], cpu("one", cases)) for number, cases in by_turns]
    latency_rows = [Row([str(number)], latency(cases)) for number, cases in by_turns]
    return Section(
        "accounts",
        "Many accounts in one room",
        [
            "Each account has two sessions, and gets what is said from the room by itself; all else as above. CPU in µs"
            " per copy, one message in flight: the next when every session of every account has its copy.",
            Table("one", ["accounts"], columns, cpu_rows),
            f"Milliseconds from sending to each copy, {RATE} messages per second:",
            Table("latency", ["accounts"], LATENCIES, latency_rows),
        ],
    )


def _rate_table(cases: Cases) -> Table:
    names = {LOOP: "loop", PROXY: "proxy", EARLIER: "earlier proxy", MINIMIX: "mod_minimix", PLAIN: "plain joins"}
    figures: dict[str, float | None] = {
        names[way]: case.phases["saturated"].rate for way, case in cases.items() if "saturated" in case.phases
    }
    ratio = "proxy / mod_minimix"
    figures[ratio] = _ratio(figures["proxy"], figures.get("mod_minimix"))
    columns = [Column(name, before=name == "proxy") for name in names.values()]
    columns.append(Column(ratio, 1, goal=True))
    return Table(
        "saturated", ["copies/s"], columns, [Row(["saturated"], figures, {ratio: Goal(RATE_GOAL, least=True)})]
    )


def _without_tls(plain: Case, proxy: Case) -> str:
    ours, secured = plain.phases["one"].cpu["proxy"], proxy.phases["one"].cpu["proxy"]
    return (
        f"Without TLS, {plain.sessions} sessions, one in flight, the proxy takes {ours:.1f} µs per copy; with TLS"
        f" {secured:.1f}."
    )


def _acknowledged(managed: Case, proxy: Case) -> str:
    """What stream management adds to a copy."""
    with_it, without = (case.phases["paced"].cpu["proxy"] for case in (managed, proxy))
    return (
        f"With stream management (XEP-0198), {managed.sessions} sessions, {RATE} messages per second: the proxy takes"
        f" {with_it:.0f} µs per acknowledged copy, and {without:.0f} µs per copy without."
    )
