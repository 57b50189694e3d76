"""Passing stanzas on: minimixproxy beside HAProxy in TCP mode, between one client and an echo server."""

from typing import Any, NamedTuple

from bench.generator import Measured, generate, measured, message
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProxy, EchoServer, HAProxy, stopping

ROUNDS = scaled(2, 1)  # of proxy and HAProxy in turn
RATE = 200  # messages per second, paced
WINDOW = 32
PHASES = {
    "paced": {"rate": RATE, "seconds": scaled(2.0, 0.6), "warm_up": 0.3},
    "one": {"window": 1, "seconds": scaled(2.0, 0.6), "warm_up": 0.3},
    "pipelined": {"window": WINDOW, "seconds": scaled(1.5, 0.6), "warm_up": 0.3},
}


class Case(NamedTuple):
    """What was measured with one relay, medians of the rounds."""

    relay: str
    tls: bool
    phases: dict[str, Measured]
    bytes: float
    cipher: str


def measure(*, tls: bool) -> list[Case]:
    """Measure both relays, in turn, on the same echo server."""
    echo = EchoServer(tls=tls)
    proxy, haproxy = BenchProxy(echo, tls=tls), HAProxy(echo, tls=tls)
    relays: dict[str, Any] = {
        "proxy": (proxy.process, proxy.direct_tls_port if tls else proxy.port),
        "haproxy": (haproxy.process, haproxy.port),
    }
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in relays}
    with stopping([echo.process, haproxy.process, proxy.process]):
        for _ in range(ROUNDS):
            for name, (process, port) in relays.items():
                results[name].append(_round(echo, name, process.pid, port, tls))
    return [_case(name, tls, rounds) for name, rounds in results.items()]


def _round(echo: EchoServer, name: str, pid: int, port: int, tls: bool) -> dict[str, Any]:
    return generate(
        "echo",
        target={"port": port, "domain": echo.domain, "tls": "direct" if tls else "none"},
        accounts=["bench"],
        password=PASSWORD,
        message=message(f"bench@{echo.domain}/bench", "chat"),
        pids={name: pid},
        phases=PHASES,
    )


def _case(name: str, tls: bool, rounds: list[dict[str, Any]]) -> Case:
    phases = {}
    for phase in PHASES:
        # Slices of all rounds together. What comes back was passed on twice.
        phases[phase] = measured([part for result in rounds for part in result["phases"][phase]], passes=2)
    return Case(name, tls, phases, rounds[-1]["bytes"], rounds[-1]["tls"])
