"""Passing stanzas on: minimixproxy beside HAProxy in TCP mode, between one client and an echo server."""

from typing import Any, NamedTuple

from bench.generator import Measured, generate, measured, message
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProxy, EchoServer, HAProxy, stopping

RATE = 200  # messages per second, paced
WINDOW = 32
PHASES = {
    "paced": {"rate": RATE, "seconds": scaled(4.0, 0.6), "warm_up": 0.3},
    "one": {"window": 1, "seconds": scaled(4.0, 0.6), "warm_up": 0.3},
    "pipelined": {"window": WINDOW, "seconds": scaled(3.0, 0.6), "warm_up": 0.3},
}


class Case(NamedTuple):
    """What was measured with one relay."""

    relay: str
    tls: bool
    phases: dict[str, Measured]
    bytes: float
    cipher: str


def measure(*, tls: bool) -> list[Case]:
    """Measure both relays by turns, slice by slice, on the same echo server."""
    echo = EchoServer(tls=tls)
    proxy, haproxy = BenchProxy(echo, tls=tls), HAProxy(echo, tls=tls)
    with stopping([echo.process, haproxy.process, proxy.process]):
        ways = {
            "proxy": _way(echo, "proxy", proxy.process.pid, proxy.direct_tls_port if tls else proxy.port, tls),
            "haproxy": _way(echo, "haproxy", haproxy.process.pid, haproxy.port, tls),
        }
        found = generate("compare", ways=ways, phases=PHASES)
    return [_case(name, tls, result) for name, result in found.items()]


def _way(echo: EchoServer, name: str, pid: int, port: int, tls: bool) -> dict[str, Any]:
    return {
        "kind": "echo",
        "target": {"port": port, "domain": echo.domain, "tls": "direct" if tls else "none"},
        "accounts": ["bench"],
        "password": PASSWORD,
        "message": message(f"bench@{echo.domain}/bench", "chat"),
        "pids": {name: pid},
    }


def _case(name: str, tls: bool, result: dict[str, Any]) -> Case:
    # What comes back was passed on twice.
    phases = {phase: measured(slices, passes=2) for phase, slices in result["phases"].items()}
    return Case(name, tls, phases, result["bytes"], result["tls"])
