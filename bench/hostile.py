"""Somebody else's pings while each attack of tests/hostile runs, and how long one stanza holds the reactor at worst."""

import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from twisted.internet import reactor, task
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from bench import worst
from bench.scale import scaled
from bench.servers import Missing
from tests.hostile.ground import Scenario
from tests.hostile.scenarios import SCENARIOS
from tests.integration import client as raw
from tests.integration.cases import KINDS
from tests.integration.client import Client
from tests.integration.proxy import Proxy
from tests.integration.servers import Account, Server, running

GOAL = 50.0  # milliseconds, of the 99th percentile
QUIET = scaled(3.0, 2.0)  # seconds of pings without attack
SHOWN = 20  # kinds of stanzas in the report

Times = dict[str, list[float]]


@dataclass(frozen=True)
class Pings:
    """Milliseconds of a ping that the server answers, and of one that the proxy does, during an attack."""

    server: str
    attack: str
    times: Times


class Pinger:
    """bench/pinger.py."""

    def __init__(self, port: int, account: Account, room: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.pinger", str(port), *account[1::-1], account.password, room],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def begin(self) -> None:
        if await deferToThread(self._line) != "ready\n":
            raise RuntimeError("the pinger could not log in")

    async def times(self) -> Times:
        """Return what was measured since the last time."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: Times = json.loads(await deferToThread(self._line))
        return found

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Ground:
    """A server, a proxy, and clients."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.proxy = Proxy(server)
        self._clients: list[Client] = []

    def much(self, number: int) -> int:
        return number

    @property
    def proxy_port(self) -> int:
        return self.proxy.port

    def room(self, name: str = "room") -> str:
        return self.server.room(name)

    async def account(self, name: str = "alice") -> Account:
        return await self.server.account(name)

    async def connect(self, *, direct: bool = False, label: str = "client") -> Client:
        port = self.server.port if direct else self.proxy.port
        client = await raw.connect(port, self.server.domain, label=label)
        self._clients.append(client)
        return client

    async def client(
        self, account: Account | None = None, resource: str | None = None, *, direct: bool = False
    ) -> Client:
        client = await self.connect(direct=direct, label=resource or "client")
        await client.login(account or await self.account(), resource)
        await client.online()
        return client

    async def leave(self) -> None:
        """Close what was opened."""
        clients, self._clients = self._clients, []
        for client in clients:
            client.drop()
        for client in clients:
            await client.until_lost()


async def _measured(ground: Ground, pinger: Pinger, scenario: Scenario) -> Times:
    attack = await scenario.prepare(ground)
    await pinger.times()
    await attack()
    found = await pinger.times()
    await ground.leave()
    return found


async def _on(kind: type[Server], names: list[str]) -> list[Pings]:
    if kind.missing():
        raise Missing(f"{kind.missing()} is not installed: make system")
    found = []
    ground = Ground(await deferToThread(running, kind))
    pinger = Pinger(ground.proxy_port, await ground.account("pinger"), ground.room())
    try:
        await pinger.begin()
        await pinger.times()
        await task.deferLater(reactor, QUIET)
        found.append(Pings(kind.name, "", await pinger.times()))
        for scenario in SCENARIOS:
            if names and scenario.prepare.__name__ not in names:
                continue
            print(f"# {kind.name}: {scenario.name}", file=sys.stderr, flush=True)
            try:
                found.append(Pings(kind.name, scenario.name, await _measured(ground, pinger, scenario)))
                print("# " + " | ".join(_row(found[-1])), file=sys.stderr, flush=True)
            except AssertionError as error:  # the attackers themselves waited in vain: the others go on
                print(f"# not measured: {str(error)[:200]}", file=sys.stderr, flush=True)
                await ground.leave()
    finally:
        pinger.stop()
        await ground.leave()
        await deferToThread(ground.proxy.stop)
    return found


async def measure(names: list[str]) -> list[Pings]:
    """All attacks, or those of these functions, on both servers."""
    return [pings for kind in KINDS for pings in await _on(kind, names)]


def _row(pings: Pings) -> Iterator[str]:
    yield pings.server
    yield pings.attack or "*none*"
    for who in ("proxy", "server"):
        times = sorted(pings.times[who]) or [float("nan")]
        percentile = times[min(len(times) - 1, int(len(times) * 0.99))]
        yield f"{statistics.median(times):.1f} / {percentile:.1f} / {times[-1]:.1f}"
    proxy = sorted(pings.times["proxy"]) or [float("nan")]
    met = proxy[min(len(proxy) - 1, int(len(proxy) * 0.99))] <= GOAL
    yield str(len(proxy))
    yield "met" if met else "**missed**"


def section(found: list[Pings], stanzas: list[worst.Held]) -> str:
    """Return the part of the report."""
    lines = [
        "## Under attack",
        "",
        "Somebody else pings through the same proxy again and again, while an attack of `tests/hostile/scenarios.py`",
        "runs: itself in a room, which the proxy answers, and its server. Milliseconds: median / 99th percentile /",
        f"longest. The goal, 99 % within {GOAL:.0f} ms, is judged by what the proxy answers; the server is busy with",
        "the attack, too. Attackers, server, proxy and who pings share the cores of this machine, so a load beside",
        "shows here first.",
        "",
        "| server | attack | answered by the proxy | answered by the server | pings | goal |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
        *("| " + " | ".join(_row(pings)) + " |" for pings in found),
        "",
        f"The kinds of stanzas that take longest, of {len(stanzas)} that were tried, of up to 256 KB, as large as",
        "servers take them: CPU time from the read to the end of the core's work, with three devices attached, without",
        "what the kernel, TLS and writing take. Here a stanza comes in one read; from a socket it comes in pieces of",
        "64 KiB, and what framing takes (20 ms of most of those with all tags) is spread over as many turns. Goal:",
        f"{worst.GOAL:.0f} ms.",
        "",
        "| from | stanza | bytes | ms |",
        "| --- | --- | ---: | ---: |",
        *(f"| {one.source} | {one.kind} | {one.size} | {one.milliseconds:.1f} |" for one in stanzas[:SHOWN]),
        "",
    ]
    return "\n".join(lines)


def main(names: list[str]) -> None:
    """Print the part of the report: the reactor can be run once in a process."""

    async def run() -> None:
        found = await measure(names)
        print(section(found, await deferToThread(worst.measure, names)), flush=True)

    task.react(lambda _reactor: Deferred.fromCoroutine(run()))


def run_section() -> str:
    """Measure in a process of its own, and return the part of the report."""
    done = subprocess.run([sys.executable, "-m", "bench.hostile"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main(sys.argv[1:])
