"""The parts of the report about stanzas that are passed on."""

from bench import passing, websocket
from bench.tables import Column, Goal, Row, Section, Table

# The goals of issue 14, by TLS and load.
PASSING_GOALS = {(False, "one"): 2.2, (True, "one"): 1.8, (False, "pipelined"): 6.0, (True, "pipelined"): 4.0}
WEBSOCKET_GOAL = 1.5
_LOADS = {
    "paced": f"{passing.RATE} messages per second",
    "one": "one in flight",
    "pipelined": f"{passing.WINDOW} in flight",
}


def passing_section(cases: list[passing.Case]) -> Section:
    """Both relays side by side."""
    by_relay = {(case.relay, case.tls): case for case in cases}
    secured = by_relay["proxy", True]
    return Section(
        "passing",
        "Passing on, beside HAProxy in TCP mode",
        [
            f"One client sends messages of {secured.bytes:.0f} bytes to a server that returns every byte; each message"
            " passes the relay twice. With TLS\n"
            f"({secured.cipher}) both relays end the client's and begin their own towards the server, without checking"
            " its certificate.\nWithout TLS the proxy runs with `bench/without_tls.py`: no configuration lets a client"
            " log in so. CPU of the relay per message passed on.",
            Table(
                "cpu",
                ["TLS", "load"],
                [Column("proxy", 1), Column("HAProxy", 1), Column("ratio", 1, before=True, goal=True)],
                [_passing_row(by_relay, tls, phase) for tls in (False, True) for phase in passing.PHASES],
            ),
            "With many in flight HAProxy moves 16 KiB with each call and never looks at them; the proxy finds, checks"
            " and routes every stanza.",
        ],
    )


def _passing_row(by_relay: dict[tuple[str, bool], passing.Case], tls: bool, phase: str) -> Row:
    ours, theirs = (by_relay[relay, tls].phases[phase].total for relay in ("proxy", "haproxy"))
    goal = PASSING_GOALS.get((tls, phase))
    figures = {"proxy": ours, "HAProxy": theirs, "ratio": ours / theirs}
    return Row(["yes" if tls else "no", _LOADS[phase]], figures, {"ratio": Goal(goal)} if goal is not None else {})


def websocket_section(cases: list[websocket.Case]) -> Section:
    """What a stanza costs by WebSocket, beside TCP."""
    rows = []
    for case in cases:
        figures = {way: case.ways[way].cpu["proxy"] for way in websocket.WAYS} | {"ratio": case.ratio}
        rows.append(Row([case.load], figures, {"ratio": Goal(WEBSOCKET_GOAL)}))
    columns = [*(Column(way, 1) for way in websocket.WAYS), Column("ratio", 2, before=True, goal=True)]
    return Section(
        "websocket",
        "WebSocket, beside TCP",
        [
            "CPU of the proxy per stanza, with TLS on both sides: messages that a server returns, each of which passes"
            " the proxy twice,\nby WebSocket both times; and copies of what is said in a room, at Prosody.",
            Table("cpu", ["load"], columns, rows),
        ],
    )
