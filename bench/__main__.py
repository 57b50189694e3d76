"""`make bench`: measure and print; with WRITE=1, or --output, write docs/benchmarks.md too."""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench import (
    client_proxy,
    forking,
    forking_report,
    hostile,
    inactive,
    login_times,
    logins,
    memory,
    passing,
    replay,
    report,
    storage,
    websocket,
)
from bench.servers import Missing
from bench.tables import Section

_OF_LOGINS = ("logins", "login_times")
_OF_CLIENTS = ("forking", "passing", "websocket", "memory", "storage", "replay", "inactive")
SECTIONS = (*_OF_CLIENTS, *_OF_LOGINS, "client_proxy", "hostile")


def _say(text: str) -> None:
    print(f"# {text}", file=sys.stderr, flush=True)


def measure_forking(prosody_modules: Path | None) -> Section:
    """The proxy beside what it is compared with."""
    by_turns = []
    for sessions in forking.SESSIONS:
        _say(f"forking to {sessions} sessions")
        phases = forking.PHASES
        if sessions == max(forking.SESSIONS):
            phases = {**phases, "saturated": forking.SATURATED}
        by_turns.append(forking.measure(sessions, forking.all_ways(prosody_modules), phases))
    _say("forking without TLS, and to sessions that acknowledge")
    without_tls = {forking.PROXY: partial(forking.proxy, tls=False)}
    plain = forking.measure(max(forking.SESSIONS), without_tls, {"one": forking.ONE}, tls=False)
    only_proxy = {forking.PROXY: forking.proxy}
    managed = forking.measure(max(forking.SESSIONS), only_proxy, {"paced": forking.PACED}, managed=True)
    return forking_report.section(by_turns, plain[forking.PROXY], managed[forking.PROXY])


def measure_passing() -> str:
    """Both relays, without and with TLS."""
    cases = []
    for tls in (False, True):
        _say(f"passing on {'with' if tls else 'without'} TLS")
        cases += passing.measure(tls=tls)
    return report.passing_section(cases)


def measure_client_proxy(prosody_modules: Path | None) -> str:
    """Beside mod_client_proxy, if that is in the checkout too."""
    _say("client_proxy")
    try:
        return client_proxy.section(prosody_modules)
    except Missing as missing:
        _say(str(missing))
        return client_proxy.section(None)


def sections(wanted: list[str], prosody_modules: Path | None) -> Iterator[str | Section]:
    """The parts of the report, each measured when it is asked for."""
    if "forking" in wanted:
        yield measure_forking(prosody_modules)
    if "passing" in wanted:
        yield measure_passing()
    if "websocket" in wanted:
        _say("WebSocket beside TCP")
        yield report.websocket_section(websocket.measure())
    if "memory" in wanted:
        _say("memory")
        yield report.memory_section(memory.measure(), memory.measure("sleeping"))
    if "storage" in wanted:
        _say("storage")
        yield report.storage_section(*storage.measure())
    if "replay" in wanted:
        _say("replay")
        yield report.replay_section(replay.measure())
    if "inactive" in wanted:
        _say("inactive phones")
        yield report.inactive_section(inactive.measure())
    if "logins" in wanted:
        _say("logins")
        yield logins.run_section()
    if "login_times" in wanted:
        _say("times of logins that fail")
        yield login_times.run_section()
    if "client_proxy" in wanted:
        yield measure_client_proxy(prosody_modules)
    if "hostile" in wanted:
        _say("hostile")
        yield hostile.run_section()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--prosody-modules", type=Path, help="a checkout of prosody-modules, for mod_minimix")
    parser.add_argument("--output", type=Path, help="write it to this file, too")
    parser.add_argument("only", nargs="*", help=f"of {', '.join(SECTIONS)}; that cannot be written")
    options = parser.parse_args()
    if not set(options.only) <= set(SECTIONS):
        parser.error(f"choose from {', '.join(SECTIONS)}")
    if options.only and options.output:
        parser.error("a document has all sections")
    began, load = time.monotonic(), os.getloadavg()
    parts = [report.HEAD, report.conditions(options.prosody_modules, load)]
    print("\n".join(parts), flush=True)
    try:
        for part in sections(options.only or list(SECTIONS), options.prosody_modules):
            text = part.markdown({}) if isinstance(part, Section) else part
            print(text, flush=True)
            parts.append(text)
    except Missing as missing:
        parser.exit(1, f"{missing}\n")
    if options.output:
        options.output.write_text("\n".join(parts))
    _say(f"{time.monotonic() - began:.0f} seconds" + (f", written to {options.output}" if options.output else ""))


if __name__ == "__main__":
    main()
