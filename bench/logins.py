"""Devices that come back, again and again, in each way there is: messages, CPU, and how many in a second.

Devices go by rules of tests/integration/logins. `python -m bench.logins` prints this part of the report: the reactor
can be run once in a process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median

from twisted.internet import task
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from bench.proc import cpu_seconds
from bench.scale import scaled
from bench.servers import Missing
from tests.integration.cases import KINDS
from tests.integration.client import Client
from tests.integration.logins.device import Device
from tests.integration.logins.rules import CONVERSATIONS, CONVERSE, DINO, PLAIN, Rules
from tests.integration.proxy import Proxy
from tests.integration.servers import Account, Server, running

DEVICES = scaled(8, 4)  # each of an account of its own, all at once
SLICES = scaled(5, 3)  # of each measurement, so that a median can be taken
EACH = scaled(2, 1)  # logins of each device in a slice

# They keep their keys: PBKDF2 would take most of the time.
SASL1 = replace(CONVERSE, keeps_keys=True)
BY_TOKEN = replace(CONVERSATIONS, keeps_keys=True)


CONDITIONS = (
    f"{DEVICES} devices, each of an account of its own, log in by STARTTLS with TLS 1.3, and go, again and again, "
    "all at once. Where keys are known, another device of the account stays. Messages: what a device sends from "
    "TLS on until it is in session; each is answered before the next, so they are the round trips. CPU in "
    "milliseconds for each time, of coming and of going: TLS towards the client is in it and, but for resumption, "
    "that towards the server. The devices run beside all that on the same cores, and take more: the rate is of "
    "all together, and that of a core is what the proxy's own CPU would allow."
)


@dataclass(frozen=True)
class Way:
    """How a device comes. `direct`: at the server itself; `enrolled`: its keys are known to the proxy."""

    name: str
    rules: Rules
    direct: bool = False
    enrolled: bool = True
    token: bool = True  # it uses the one that it was given, if it was
    resumes: bool = False  # its connection was cut, else it has said goodbye


WAYS = (
    Way("*SCRAM, at the server itself*", SASL1, direct=True),
    Way("SCRAM, keys not known: relayed", SASL1, enrolled=False),
    Way("SCRAM", SASL1),
    Way("SASL2: SCRAM and bind", BY_TOKEN, token=False),
    Way("SASL2: token and bind", BY_TOKEN),
    Way("SASL2: token and resumption", BY_TOKEN, resumes=True),
)


@dataclass(frozen=True)
class Case:
    """`sent`: messages from TLS on until it is in session; CPU in milliseconds for each time."""

    server: str
    way: Way
    sent: int
    cpu: dict[str, float]
    rate: float  # in a second


class Coming:
    """Devices of one way at one server."""

    def __init__(self, way: Way, port: int, pids: dict[str, int]) -> None:
        self._way = way
        self._port = port
        self._pids = pids
        self._sent: set[int] = set()

    async def measure(self, server: str, devices: list[Device]) -> Case:
        """Have each come and go, first to learn what it can, then so often."""
        for device in devices:
            for _ in range(2):
                await self._comes(device)
        self._sent.clear()
        slices = [await self._slice(devices) for _ in range(SLICES)]
        (sent,) = self._sent
        cpu = {name: median(used[name] for _, used in slices) for name in self._pids}
        return Case(server, self._way, sent, cpu, median(rate for rate, _ in slices))

    async def _slice(self, devices: list[Device]) -> tuple[float, dict[str, float]]:
        times = len(devices) * EACH
        before, began = self._cpu(), time.monotonic()
        await gatherResults([Deferred.fromCoroutine(self._again(device)) for device in devices])
        seconds, after = time.monotonic() - began, self._cpu()
        return times / seconds, {name: (after[name] - before[name]) / times * 1e3 for name in after}

    async def _again(self, device: Device) -> None:
        for _ in range(EACH):
            await self._comes(device)

    async def _comes(self, device: Device) -> None:
        if not self._way.token:
            device.token = None
        client = await device.login(self._port)
        self._sent.add(client.sent)
        if self._way.resumes:
            device.cut()
        else:
            await client.close()

    def _cpu(self) -> dict[str, float]:
        return {name: cpu_seconds(pid) for name, pid in self._pids.items()}


async def enroll(account: Account, port: int, *, direct_tls: bool = False) -> Client:
    """Another device has said the password to the proxy, and stays: so the account stream is there anyway."""
    return await Device(replace(DINO, mechanisms=(PLAIN,), sasl2=None), account).login(port, direct_tls=direct_tls)


async def _on(kind: type[Server]) -> list[Case]:
    if kind.missing():
        raise Missing(f"{kind.missing()} is not installed: make system")
    server = await deferToThread(running, kind)
    proxy = await deferToThread(Proxy, server)
    cases = []
    try:
        for way in WAYS:
            print(f"# {server.name}: {way.name}", file=sys.stderr, flush=True)
            accounts = [await server.account("device") for _ in range(DEVICES)]
            others = []
            if way.enrolled and not way.direct:
                others = [await enroll(account, proxy.port) for account in accounts]
            pids = {"server": server.process.pid} | ({} if way.direct else {"proxy": proxy.process.pid})
            coming = Coming(way, server.port if way.direct else proxy.port, pids)
            cases.append(await coming.measure(server.name, [Device(way.rules, account) for account in accounts]))
            for other in others:
                await other.close()
    finally:
        await deferToThread(proxy.stop)
    return cases


async def measure() -> list[Case]:
    """Every way, at both servers; in a quick run at one."""
    return [case for kind in scaled(KINDS, KINDS[:1]) for case in await _on(kind)]


def taken() -> str:
    """When, and beside what."""
    return (
        f"Taken at {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, with a load average of {os.getloadavg()[0]:.1f} before it."
    )


def filled(text: str) -> str:
    """Return a paragraph."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def section(cases: list[Case], when: str) -> str:
    """Return the part of the report."""
    return "\n".join(
        [
            "## Devices that come back",
            "",
            filled(f"{when} {CONDITIONS}"),
            "",
            "| server | device | messages | proxy, ms | server, ms | per second | of a core |",
            "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
            *("| " + " | ".join(_row(case)) + " |" for case in cases),
            "",
        ]
    )


def _row(case: Case) -> Iterator[str]:
    proxy = case.cpu.get("proxy")
    yield from (case.server, case.way.name, str(case.sent))
    yield "" if proxy is None else f"{proxy:.1f}"
    yield f"{case.cpu['server']:.1f}"
    yield f"{case.rate:.0f}"
    yield "" if proxy is None else f"{1e3 / proxy:.0f}"


def main() -> None:
    when = taken()

    async def run() -> None:
        print(section(await measure(), when), flush=True)

    task.react(lambda _reactor: Deferred.fromCoroutine(run()))


def run_section() -> str:
    """Measure in a process of its own, and return the part of the report."""
    done = subprocess.run([sys.executable, "-m", "bench.logins"], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


if __name__ == "__main__":
    main()
