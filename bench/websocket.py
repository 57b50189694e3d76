"""WebSocket beside TCP: the same proxy, the same load, both with TLS."""

from typing import Any, NamedTuple

from bench.generator import Measured, generate, measured, message
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProsody, BenchProxy, EchoServer, stopping
from tests.integration.processes import LoggedProcess

WINDOW = 32
SESSIONS = 50
PASSING = {
    "one": {"window": 1, "seconds": scaled(4.0, 0.6), "warm_up": 0.3},
    "pipelined": {"window": WINDOW, "seconds": scaled(3.0, 0.6), "warm_up": 0.3},
}
FORKING = {
    "one": {"window": 1, "seconds": scaled(2.5, 0.6), "warm_up": 0.3},
    "saturated": {"window": 40, "seconds": scaled(2.5, 0.6), "warm_up": scaled(1.0, 0.3)},
}
WAYS = ("TCP", "WebSocket")


class Case(NamedTuple):
    """A load, and what it costs the proxy each way."""

    load: str
    ways: dict[str, Measured]

    @property
    def ratio(self) -> float:
        """How much more a stanza by WebSocket costs."""
        return self.ways["WebSocket"].cpu["proxy"] / self.ways["TCP"].cpu["proxy"]


def measure() -> list[Case]:
    """Pass messages on, then fork some."""
    return [*_passing(), *_forking()]


def _way(kind: str, proxy: BenchProxy, domain: str, way: str, **plan: Any) -> dict[str, Any]:
    by_websocket = way == "WebSocket"
    port = proxy.websocket_port if by_websocket else proxy.direct_tls_port
    target = {"port": port, "domain": domain, "tls": "direct", "websocket": by_websocket}
    pids = {"proxy": proxy.process.pid}
    return {"kind": kind, "target": target, "password": PASSWORD, "pids": pids, **plan}


def _passing() -> list[Case]:
    """By turns, through a proxy each: the echo server has one address for everybody."""
    echo = EchoServer(tls=True)
    proxies = {way: BenchProxy(echo, tls=True) for way in WAYS}
    plan = {"accounts": ["bench"], "message": message(f"bench@{echo.domain}/bench", "chat")}
    with stopping([echo.process, *(proxy.process for proxy in proxies.values())]):
        ways = {way: _way("echo", proxy, echo.domain, way, **plan) for way, proxy in proxies.items()}
        found = generate("compare", ways=ways, phases=PASSING)
    return [_case(f"passing on, {name}", phase, found, 2) for phase, name in _NAMES[:2]]


def _forking() -> list[Case]:
    """By turns, each with a Prosody and a proxy of its own."""
    started: list[LoggedProcess] = []
    with stopping(started):
        ways = {way: _forking_way(way, started) for way in WAYS}
        found = generate("compare", ways=ways, phases=FORKING)
    return [_case(f"forking to {SESSIONS} sessions, {name}", phase, found, 1) for phase, name in _NAMES[::2]]


def _forking_way(way: str, started: list[LoggedProcess]) -> dict[str, Any]:
    prosody = BenchProsody(tls=True)
    started.append(prosody.process)
    proxy = BenchProxy(prosody, tls=True)
    started.append(proxy.process)
    room = f"room@{prosody.muc}"
    return _way(
        "fork",
        proxy,
        prosody.domain,
        way,
        sender={"port": prosody.port, "domain": prosody.sender_domain, "tls": prosody.tls},
        sender_account=prosody.sender,
        accounts=prosody.accounts[:1],
        sessions=SESSIONS,
        room=room,
        message=message(room, "groupchat"),
    )


_NAMES = (("one", "one in flight"), ("pipelined", f"{WINDOW} in flight"), ("saturated", "saturated"))


def _case(load: str, phase: str, found: dict[str, Any], passes: int) -> Case:
    return Case(load, {way: measured(found[way]["phases"][phase], passes=passes) for way in WAYS})
