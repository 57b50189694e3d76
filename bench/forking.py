"""Forking: minimixproxy with Prosody beside a bare loop, Prosody with mod_minimix, and plain joins, by turns.

A fresh server for each. `python -m bench.forking 50` compares the proxy with the loop in about 20 seconds.
"""

import argparse
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench.generator import Measured, generate, measured, message
from bench.scale import scaled
from bench.servers import HERE, PASSWORD, BenchProsody, BenchProxy, Yardstick, stopping
from tests.checkouts import checkout
from tests.integration.processes import LoggedProcess

SESSIONS = scaled((2, 10, 50), (2, 50))
ACCOUNTS = scaled((1, 10, 50), (10,))  # with two sessions each
RATE = 25  # messages per second, paced
ONE = {"window": 1, "seconds": scaled(2.0, 0.6), "warm_up": scaled(0.5, 0.2)}
SATURATED = {"window": 40, "seconds": scaled(2.5, 0.6), "warm_up": scaled(0.5, 0.3)}
# last: latencies are those of the last phase that is paced
PACED = {"rate": RATE, "seconds": scaled(2.5, 0.8), "warm_up": 0.2}
PHASES = {"one": ONE, "paced": PACED}
LOOP, PROXY, EARLIER, MINIMIX, PLAIN = "loop", "proxy", "earlier", "mod_minimix", "plain"
TEXT = message(f"room@{BenchProsody.muc}", "groupchat")

Plan = dict[str, Any]
Starting = Callable[[list[LoggedProcess]], Plan]


class Case(NamedTuple):
    """What was measured in one way."""

    sessions: int
    tls: bool
    phases: dict[str, Measured]
    latencies: list[float]  # milliseconds from sending to each copy, of what was paced, the shortest first
    bytes: float
    cipher: str

    def latency(self, part: float) -> float:
        """Return a percentile, in milliseconds."""
        return self.latencies[min(int(len(self.latencies) * part), len(self.latencies) - 1)]


def measure(
    sessions: int, ways: Mapping[str, Starting], phases: Mapping[str, Plan], *, tls: bool = True, **plan: Any
) -> dict[str, Case]:
    """Measure these ways by turns. `managed`: the sessions have stream management (XEP-0198)."""
    started: list[LoggedProcess] = []
    with stopping(started):
        plans = {name: {**start(started), "sessions": sessions, **plan} for name, start in ways.items()}
        result = generate("compare", ways=plans, phases=phases)
    return cases_of(result, sessions, tls=tls)


def cases_of(result: dict[str, Any], sessions: int, *, tls: bool = True) -> dict[str, Case]:
    """Return what the load generator has found, by way."""
    return {name: _case(sessions, tls, found) for name, found in result.items()}


def _case(sessions: int, tls: bool, found: dict[str, Any]) -> Case:
    phases = {name: measured(slices) for name, slices in found["phases"].items()}
    latencies = sorted(seconds * 1000 for seconds in found["latencies"])
    return Case(sessions, tls, phases, latencies, found["bytes"], found["tls"])


def measure_accounts(number: int) -> dict[str, Case]:
    """So many accounts in one room, two sessions of each: every account is told, and tells its sessions."""
    accounts = BenchProsody.accounts[:number]
    ways = {LOOP: loop, PROXY: proxy, PLAIN: plain_joins}
    return measure(2 * number, ways, {"one": {**ONE, "seconds": scaled(1.0, 0.6)}, "paced": PACED}, accounts=accounts)


# What is started for each way, and how the load generator uses it ---------------------------------------------------


def loop(started: list[LoggedProcess]) -> Plan:
    """The yardstick; its messages are as large as the proxy's copies."""
    yardstick = Yardstick()
    started.append(yardstick.process)
    target = {"port": yardstick.port, "domain": yardstick.domain, "tls": "direct"}
    pids = {"loop": yardstick.process.pid}
    return {"kind": "loop", "target": target, "message": TEXT, "size_of": PROXY, "pids": pids}


def proxy(started: list[LoggedProcess], *, tls: bool = True, checkout: Path = HERE.parent) -> Plan:
    """minimixproxy before Prosody; by the code of that checkout."""
    prosody = BenchProsody(tls=tls)
    started.append(prosody.process)
    before = BenchProxy(prosody, tls=tls, checkout=checkout)
    started.append(before.process)
    pids = {"prosody": prosody.process.pid, "proxy": before.process.pid}
    return _in_room(prosody, before.port, pids)


def mod_minimix(prosody_modules: Path) -> Starting:
    """Return what starts Prosody with mod_minimix."""

    def start(started: list[LoggedProcess]) -> Plan:
        prosody = BenchProsody(tls=True, prosody_modules=prosody_modules)
        started.append(prosody.process)
        return _in_room(prosody, prosody.port, {"prosody": prosody.process.pid})

    return start


def plain_joins(started: list[LoggedProcess]) -> Plan:
    """Prosody alone: each session is an occupant of its own."""
    prosody = BenchProsody(tls=True)
    started.append(prosody.process)
    return {**_in_room(prosody, prosody.port, {"prosody": prosody.process.pid}), "nicks": True}


def _in_room(prosody: BenchProsody, port: int, pids: dict[str, int]) -> Plan:
    target = {"port": port, "domain": prosody.domain, "tls": prosody.tls}
    return {
        "kind": "fork",
        "target": target,
        "sender": {**target, "port": prosody.port, "domain": prosody.sender_domain},
        "sender_account": prosody.sender,
        "accounts": prosody.accounts[:1],
        "password": PASSWORD,
        "room": f"room@{prosody.muc}",
        "message": TEXT,
        "pids": pids,
    }


def all_ways(prosody_modules: Path | None, earlier: Path | None = None) -> dict[str, Starting]:
    """Return every way that can be had. `earlier`: a checkout of another version of the proxy."""
    ways: dict[str, Starting] = {LOOP: loop, PROXY: proxy}
    if earlier is not None:
        ways[EARLIER] = partial(proxy, checkout=earlier.resolve())
    if prosody_modules is not None:
        ways[MINIMIX] = mod_minimix(prosody_modules)
    return {**ways, PLAIN: plain_joins}


# By hand -------------------------------------------------------------------------------------------------------------


def _told(name: str, case: Case, than: Case) -> str:
    each = (f"{phase} {found.total:.1f} ({_parts(found)})" for phase, found in case.phases.items())
    own = case.phases["one"].cpu.get("proxy", case.phases["one"].total)
    return f"{case.sessions:3} {name:12} {', '.join(each)}; of the loop {own / than.phases['one'].total:.2f}"


def _parts(found: Measured) -> str:
    return ", ".join(f"{process} {used:.1f}" for process, used in found.cpu.items())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.forking", description=__doc__)
    parser.add_argument("sessions", type=int, nargs="*", default=list(SESSIONS))
    parser.add_argument("--prosody-modules", type=Path, help="mod_minimix and plain joins, too")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each phase and way")
    parser.add_argument("--saturated", action="store_true", help="40 messages under way, too")
    parser.add_argument(
        "--earlier", type=checkout, help="a checkout of another version of the proxy, by turns with this"
    )
    options = parser.parse_args()
    phases = {"one": ONE, **({"saturated": SATURATED} if options.saturated else {})}
    phases = {name: {**phase, "seconds": options.seconds} for name, phase in phases.items()}
    ways = all_ways(options.prosody_modules, options.earlier)
    if options.prosody_modules is None:
        del ways[PLAIN]
    print("CPU in microseconds per copy; `of the loop`: the proxy's own, one message in flight")
    for sessions in options.sessions:
        cases = measure(sessions, ways, phases)
        for name, case in cases.items():
            print(_told(name, case, cases[LOOP]), flush=True)


if __name__ == "__main__":
    main()
