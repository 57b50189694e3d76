"""The sections of the report: what each measures, and what it is called on the command line."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from bench import (
    bigroom,
    client_proxy,
    cluster,
    forking,
    hostile,
    inactive,
    login_times,
    logins,
    memory,
    occupancies,
    passing,
    replay,
    storage,
    storms,
    websocket,
)
from bench.report import client_proxy as client_proxy_report
from bench.report import cluster as cluster_report
from bench.report import crowds, relaying, resources
from bench.report import forking as forking_report
from bench.report import inactive as inactive_report
from bench.report import occupancies as occupancies_report
from bench.scale import QUICK
from bench.servers import Missing
from bench.tables import Section


class Beside(NamedTuple):
    """What the proxy is measured beside: checkouts of prosody-modules and of another version of the proxy."""

    prosody_modules: Path | None = None
    earlier: Path | None = None


def say(text: str) -> None:
    print(f"# {text}", file=sys.stderr, flush=True)


def _forking(beside: Beside) -> Section:
    """The proxy beside what it is compared with."""
    by_turns, most = [], max(forking.SESSIONS)
    for sessions in forking.SESSIONS:
        say(f"forking to {sessions} sessions")
        phases = {**forking.PHASES, **({"saturated": forking.SATURATED} if sessions == most else {})}
        by_turns.append(forking.measure(sessions, forking.all_ways(*beside), phases))
    say("forking without TLS, and to sessions that acknowledge")
    without_tls = {forking.PROXY: partial(forking.proxy, tls=False)}
    plain = forking.measure(most, without_tls, {"one": forking.ONE}, tls=False)[forking.PROXY]
    managed = None
    if not QUICK:
        only_proxy = {forking.PROXY: forking.proxy}
        managed = forking.measure(most, only_proxy, {"paced": forking.PACED}, managed=True)[forking.PROXY]
    return forking_report.section(by_turns, plain, managed)


def _accounts(_: Beside) -> Section:
    return forking_report.accounts_section([(n, forking.measure_accounts(n)) for n in forking.ACCOUNTS])


def _passing(_: Beside) -> Section:
    """Both relays, without and with TLS."""
    return relaying.passing_section([case for tls in (False, True) for case in passing.measure(tls=tls)])


def _websocket(_: Beside) -> Section:
    return relaying.websocket_section(websocket.measure())


def _memory(_: Beside) -> Section:
    return resources.memory_section(*memory.measure())


def _occupancies(_: Beside) -> Section:
    return occupancies_report.section(*occupancies.measure())


def _storms(_: Beside) -> Section:
    return crowds.storms_section(storms.measure())


def _big_rooms(_: Beside) -> Section:
    return crowds.big_rooms_section(bigroom.measure())


def _storage(_: Beside) -> Section:
    return resources.storage_section(*storage.measure())


def _replay(_: Beside) -> Section:
    return resources.replay_section(replay.measure())


def _inactive(_: Beside) -> Section:
    return inactive_report.section(inactive.measure())


def _client_proxy(beside: Beside) -> Section:
    """Beside mod_client_proxy, if that is in the checkout too."""
    try:
        return client_proxy_report.section(*client_proxy.measure(beside.prosody_modules))
    except Missing as missing:
        say(str(missing))
        return client_proxy_report.section(*client_proxy.measure(None))


def _cluster(_: Beside) -> Section:
    return cluster_report.capacity_section(cluster.measure_capacity(cluster.SHORT))


def _hop(_: Beside) -> Section:
    return cluster_report.hop_section(cluster.measure_hop(cluster.SHORT))


# What says little of speed, or needs many processes first, is not in a quick run.
NOT_QUICK = ("inactive", "login_times", "cluster", "hop", "hostile")

# In the order of the report. Text, where nothing of it is kept as figures yet.
SECTIONS: dict[str, Callable[[Beside], Section | str]] = {
    "forking": _forking,
    "accounts": _accounts,
    "passing": _passing,
    "websocket": _websocket,
    "memory": _memory,
    "occupancies": _occupancies,
    "storms": _storms,
    "bigroom": _big_rooms,
    "storage": _storage,
    "replay": _replay,
    "inactive": _inactive,
    "logins": lambda _: logins.run_section(),
    "login_times": lambda _: login_times.run_section(),
    "client_proxy": _client_proxy,
    "cluster": _cluster,
    "hop": _hop,
    "hostile": lambda _: hostile.run_section(),
}
