"""The measurements as Markdown: tables, ratios, and whether the goals are met."""

import hashlib
import os
import platform
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import twisted
from OpenSSL import SSL

from bench import inactive, memory, passing, replay, storage, websocket
from bench.generator import Measured
from tests.integration.servers import in_path

HEAD = """# Benchmarks

Written by `make bench WRITE=1 PROSODY_MODULES=/path/to/prosody-modules`; run it again rather than believe it. CPU is
user and system time of the processes named, in microseconds; those of clients, senders and the echo server are not in
it. Of each measurement there are five slices or more, and the median is shown. Ratios hold better than the times: these
differ from machine to machine, and with what else runs there. This is one run: what is near its goal changes sides from
run to run.
"""

PASSING_GOALS = {False: 2.5, True: 3.0}
MEMORY_GOAL = 150.0
SLEEPING_GOAL = 60.0
INACTIVE_GOAL = 0.1


def _goal(value: float, goal: float, *, least: bool = False, unit: str = "") -> str:
    met = value >= goal if least else value <= goal
    return f"{'≥' if least else '≤'} {goal:g}{unit}, {'met' if met else '**missed**'}"


def _table(head: str, rows: list[str]) -> str:
    columns = head.count("|") - 1
    return "\n".join([head, "| --- |" + " ---: |" * (columns - 1), *rows, ""])


# Conditions --------------------------------------------------------------------------------------------------------


def _first(pattern: str, text: str) -> str:
    found = re.search(pattern, text, re.MULTILINE)
    return found.group(1).strip() if found else "unknown"


def _version(program: str, *arguments: str) -> str:
    path = in_path(program)
    if path is None:
        return "none"
    output = subprocess.run([path, *arguments], capture_output=True, text=True, check=False)
    return _first(r"(\d+\.\d+[\w.+~-]*)", output.stdout + output.stderr)


def conditions(prosody_modules: Path | None, load: tuple[float, float, float]) -> str:
    """What the numbers depend on."""
    from twisted.internet import reactor  # the one that twistd takes too, unless told otherwise

    memory_size = int(_first(r"^MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())) / 2**20
    lines = [
        f"- {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; load average at the start {load[0]:.1f}, {load[1]:.1f}",
        f"- {os.cpu_count()} cores, {_first(r'^model name.*: (.*)', Path('/proc/cpuinfo').read_text())},"
        f" {memory_size:.0f} GiB, Linux {platform.release()}; everything on this machine, over loopback",
        f"- Python {platform.python_version()} ({Path(sys.executable).resolve()}), Twisted {twisted.__version__},"
        f" {type(reactor).__name__}, {SSL.OpenSSL_version(SSL.OPENSSL_VERSION).decode().split(' (')[0]}",
        f"- Prosody {_version('prosodyctl', 'about')}, HAProxy {_version('haproxy', '-v')} (one thread)",
    ]
    if prosody_modules is None:
        lines.append("- without a checkout of prosody-modules: nothing is compared with mod_minimix")
    else:
        digest = hashlib.sha256((prosody_modules / "mod_minimix" / "mod_minimix.lua").read_bytes()).hexdigest()
        lines.append(f"- mod_minimix.lua with SHA-256 {digest[:16]}…, unchanged")
    return "\n".join(["## Conditions", "", *lines, ""])


# Passing on --------------------------------------------------------------------------------------------------------

_PASSING_LOADS = {
    "paced": f"{passing.RATE} messages per second",
    "one": "one in flight",
    "pipelined": f"{passing.WINDOW} in flight",
}


def passing_section(cases: list[passing.Case]) -> str:
    """Both relays side by side."""
    by_relay = {(case.relay, case.tls): case for case in cases}
    rows = []
    for tls in (False, True):
        ours, theirs = by_relay["proxy", tls], by_relay["haproxy", tls]
        for phase, load in _PASSING_LOADS.items():
            rows.append(_passing_row("yes" if tls else "no", load, ours.phases[phase], theirs.phases[phase], tls))
    secured = by_relay["proxy", True]
    return "\n".join(
        [
            "## Passing on, beside HAProxy in TCP mode",
            "",
            f"One client sends messages of {secured.bytes:.0f} bytes to a server that returns every byte; each message"
            " passes the relay twice. With TLS\n"
            f"({secured.cipher}) both relays end the client's and begin their own towards the server, without checking"
            " its certificate.\nWithout TLS the proxy runs with `bench/without_tls.py`: no configuration lets a client"
            " log in so. CPU of the relay per message passed on.",
            "",
            _table("| TLS | load | minimixproxy | HAProxy | ratio | goal |", rows),
            "With many in flight HAProxy moves 16 KiB with each call and never looks at them; the proxy finds, checks"
            " and routes every stanza.",
            "",
        ]
    )


def _passing_row(secured: str, load: str, ours: Measured, theirs: Measured, tls: bool) -> str:
    ratio = ours.total / theirs.total
    goal = _goal(ratio, PASSING_GOALS[tls]) if load != _PASSING_LOADS["paced"] else ""
    return f"| {secured} | {load} | {ours.total:.1f} | {theirs.total:.1f} | {ratio:.1f} | {goal} |"


# WebSocket ---------------------------------------------------------------------------------------------------------


def websocket_section(cases: list[websocket.Case]) -> str:
    """What a stanza costs by WebSocket, beside TCP."""
    rows = []
    for case in cases:
        tcp, by_websocket = (case.ways[way].cpu["proxy"] for way in websocket.WAYS)
        rows.append(f"| {case.load} | {tcp:.1f} | {by_websocket:.1f} | {case.ratio:.2f} | {_goal(case.ratio, 1.5)} |")
    return "\n".join(
        [
            "## WebSocket, beside TCP",
            "",
            "CPU of the proxy per stanza, with TLS on both sides: messages that a server returns, each of which passes"
            " the proxy twice,\nby WebSocket both times; and copies of what is said in a room, at Prosody.",
            "",
            _table("| load | TCP | WebSocket | ratio | goal |", rows),
        ]
    )


# Memory ------------------------------------------------------------------------------------------------------------


def memory_section(case: memory.Case, sleeping: memory.Case) -> str:
    """Memory per session, of such with a client and of such that sleep."""
    return "\n".join(
        [
            "## Memory",
            "",
            f"The proxy with {case.sessions} sessions of {case.accounts} accounts, logged in at Prosody, TLS on both"
            f" sides ({case.cipher}); growth of resident memory per session.",
            "",
            _table(
                "| before, MiB | after, MiB | per session, KiB | goal |",
                [
                    f"| {case.before / 2**20:.1f} | {case.after / 2**20:.1f} | {case.each:.0f}"
                    f" | {_goal(case.each, MEMORY_GOAL, unit=' KiB')} |"
                ],
            ),
            f"A sleeping session, whose client's connection is gone (XEP-0198), one of {sleeping.sessions} of"
            f" {sleeping.accounts} accounts, takes {sleeping.each:.0f} KiB:"
            f" {_goal(sleeping.each, SLEEPING_GOAL, unit=' KiB')}.\n",
        ]
    )


# Storage and replay ------------------------------------------------------------------------------------------------

_REPLAY_HEAD = (
    "| proxy | messages/s | MB/s | seconds | first after, ms | CPU, µs per message | before, MiB | growth, MiB |"
)


def storage_section(cases: list[storage.Journalled], whole: storage.EndToEnd) -> str:
    """The journal by itself, and as a part of the proxy."""
    rows = [
        f"| {case.database} | {case.load} | {case.elapsed:.0f} | {case.cpu:.0f}"
        f" | {'' if case.bytes is None else f'{case.bytes:.0f}'} |"
        for case in cases
    ]
    return "\n".join(
        [
            "## Storage",
            "",
            f"Messages of {len(storage.RAW)} bytes in {storage.ROOMS} rooms of one account, journalled as a room's"
            " history is. One at a time: the next\nwhen the one before is on disk. CPU is of the process that journals,"
            " with its writing thread; PostgreSQL's own is not in it, and it\nruns on this machine with `fsync` off.",
            "",
            _table("| database | load | µs per message | of it CPU | bytes per message |", rows),
            f"End to end: {whole.messages} messages of {whole.raw:.0f} bytes, as delivered, said to an account in one"
            f" room with two sessions attached,\n{storage.END_TO_END['rate']} per second, SQLite. CPU of the proxy per"
            " message, all that it does with it: read, kept, written to the database,\ngiven to both sessions; TLS.",
            "",
            _table(
                "| bytes in the database per message | of it the message | CPU, µs |",
                [f"| {whole.stored:.0f} | {whole.raw:.0f} | {whole.cpu:.0f} |"],
            ),
        ]
    )


def replay_section(cases: list[replay.Case]) -> str:
    """What a returning client is told of."""
    return "\n".join(
        [
            "## Replay",
            "",
            f"A client comes back into a room, states no wish, and is told the {replay.COUNT} messages that it has not"
            f" seen ({cases[0].bytes / cases[0].messages:.0f} bytes\neach, with their delay stamp; TLS). From its join"
            " to the subject behind the last message. Growth: the largest resident memory\nmeanwhile less that before.",
            "",
            _table(_REPLAY_HEAD, [_replay_row(case) for case in cases]),
        ]
    )


def _replay_row(case: replay.Case) -> str:
    return (
        f"| {case.name} | {case.messages / case.seconds:.0f} | {case.bytes / case.seconds / 1e6:.0f}"
        f" | {case.seconds:.2f} | {case.first * 1000:.0f} | {case.cpu / case.messages * 1e6:.0f}"
        f" | {case.before / 2**20:.1f} | {(case.peak - case.before) / 2**20:.1f} |"
    )


# Inactive phones ---------------------------------------------------------------------------------------------------


def inactive_section(cases: list[inactive.Case]) -> str:
    """What one phone is told of a busy room."""
    direct = cases[0].all
    rows = [
        f"| {case.name} | {case.inactive} | {case.messages} | {case.inactive / direct:.1%} | {case.all} |"
        for case in cases
    ]
    ours = [case.inactive / direct for case in cases[2:]]
    return "\n".join(
        [
            "## An inactive phone",
            "",
            f"A room of {inactive.OCCUPANTS} occupants, of whom most are there: {inactive.PRESENCES} presences,"
            f" {inactive.CHAT_STATES} chat states, {inactive.MESSAGES} messages in an order of\nchance, and"
            f" {inactive.MENTIONS} mentions of the phone's nick, one after each quarter but the last. Bytes of XML that"
            " the phone gets after\n`<inactive/>` (XEP-0352); of them, messages with a body; and with what waited,"
            " after `<active/>`.",
            "",
            _table("| phone | inactive | of it messages | of direct | in all |", rows),
            f"Of the direct connection without client state: {_goal(max(ours), INACTIVE_GOAL)}; of mod_csi_simple:"
            f" {_goal(max(case.all for case in cases[2:]) / cases[1].all, 1.0)}.\nMessages keep their order, so all"
            " that were said before the last mention are among these bytes:\nthe third column is the least possible.",
            "",
        ]
    )
