"""WebSocket beside TCP: the same proxy, the same load, both with TLS."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from bench.generator import Measured, generate, measured, message
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProsody, BenchProxy, EchoServer, stopping

ROUNDS = scaled(2, 1)  # of both in turn
WINDOW = 32
SESSIONS = 50
PASSING = {
    "one": {"window": 1, "seconds": scaled(2.0, 0.6), "warm_up": 0.3},
    "pipelined": {"window": WINDOW, "seconds": scaled(1.5, 0.6), "warm_up": 0.3},
}
FORKING = {
    "one": {"window": 1, "seconds": scaled(2.5, 0.6), "warm_up": 0.3},
    "saturated": {"window": 40, "seconds": scaled(2.5, 0.6), "warm_up": scaled(1.0, 0.3)},
}
WAYS = ("TCP", "WebSocket")


class Case(NamedTuple):
    """A load, and what it costs the proxy each way: the medians of the rounds."""

    load: str
    ways: dict[str, Measured]

    @property
    def ratio(self) -> float:
        """How much more a stanza by WebSocket costs."""
        return self.ways["WebSocket"].cpu["proxy"] / self.ways["TCP"].cpu["proxy"]


def measure() -> list[Case]:
    """Pass messages on, then fork some."""
    return [*_passing(), *_forking()]


def _target(proxy: BenchProxy, domain: str, way: str) -> dict[str, Any]:
    by_websocket = way == "WebSocket"
    port = proxy.websocket_port if by_websocket else proxy.direct_tls_port
    return {"port": port, "domain": domain, "tls": "direct", "websocket": by_websocket}


def _passing() -> list[Case]:
    echo = EchoServer(tls=True)
    proxy = BenchProxy(echo, tls=True)
    results: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    with stopping([echo.process, proxy.process]):
        for _ in range(ROUNDS):
            for way in WAYS:
                result = generate(
                    "echo",
                    target=_target(proxy, echo.domain, way),
                    accounts=["bench"],
                    password=PASSWORD,
                    message=message(f"bench@{echo.domain}/bench", "chat"),
                    pids={"proxy": proxy.process.pid},
                    phases=PASSING,
                )
                results[way].append(result)
    return [_case(f"passing on, {name}", phase, results, 2) for phase, name in _NAMES[:2]]


def _forking() -> list[Case]:
    """A fresh Prosody for each, for it gets slower."""
    results: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for way in WAYS:
        prosody = BenchProsody(tls=True)
        started = [prosody.process]
        with stopping(started):
            proxy = BenchProxy(prosody, tls=True)
            started.append(proxy.process)
            room = f"room@{prosody.muc}"
            sender = {"port": prosody.port, "domain": prosody.sender_domain, "tls": prosody.tls}
            result = generate(
                "fork",
                target=_target(proxy, prosody.domain, way),
                sender=sender,
                sender_account=prosody.sender,
                accounts=prosody.accounts[:1],
                password=PASSWORD,
                sessions=SESSIONS,
                room=room,
                message=message(room, "groupchat"),
                pids={"proxy": proxy.process.pid},
                phases=FORKING,
            )
        results[way].append(result)
    return [_case(f"forking to {SESSIONS} sessions, {name}", phase, results, 1) for phase, name in _NAMES[::2]]


_NAMES = (("one", "one in flight"), ("pipelined", f"{WINDOW} in flight"), ("saturated", "saturated"))


def _case(load: str, phase: str, results: dict[str, Sequence[dict[str, Any]]] | Any, passes: int) -> Case:
    ways = {}
    for way in WAYS:
        ways[way] = measured([part for result in results[way] for part in result["phases"][phase]], passes=passes)
    return Case(load, ways)
