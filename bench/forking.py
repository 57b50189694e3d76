"""Forking: minimixproxy with Prosody, beside Prosody with mod_minimix. A fresh server for each case."""

from pathlib import Path
from typing import Any, NamedTuple

from bench.generator import Measured, generate, measured, message
from bench.servers import PASSWORD, BenchProsody, BenchProxy, stopping

SESSIONS = (2, 10, 50)
RATE = 10  # messages per second, paced
PACED = {"rate": RATE, "seconds": 10.0}
ONE = {"window": 1, "seconds": 3.0}
SATURATED = {"window": 40, "seconds": 5.0, "warm_up": 2.0}


class Case(NamedTuple):
    """What was measured with one set of servers."""

    sessions: int
    tls: bool
    phases: dict[str, Measured]
    bytes: float
    cipher: str


def measure(sessions: int, *, tls: bool, prosody_modules: Path | None = None, managed: bool = False) -> Case:
    """Measure with mod_minimix if `prosody_modules` is given, else with minimixproxy.

    `managed`: the sessions have stream management (XEP-0198).
    """
    prosody = BenchProsody(tls=tls, prosody_modules=prosody_modules)
    started = [prosody.process]
    pids = {"prosody": prosody.process.pid}
    target: dict[str, Any] = {"port": prosody.port, "domain": prosody.domain, "tls": prosody.tls}
    with stopping(started):
        if prosody_modules is None:
            proxy = BenchProxy(prosody, tls=tls)
            started.append(proxy.process)
            pids["proxy"] = proxy.process.pid
            target["port"] = proxy.port
        room = f"room@{prosody.muc}"
        result = generate(
            "fork",
            target=target,
            sender={**target, "port": prosody.port, "domain": prosody.sender_domain},
            sender_account=prosody.sender,
            accounts=prosody.accounts[:1],
            password=PASSWORD,
            sessions=sessions,
            room=room,
            message=message(room, "groupchat"),
            pids=pids,
            managed=managed,
            phases={"paced": PACED, "one": ONE, **({"saturated": SATURATED} if sessions == max(SESSIONS) else {})},
        )
    phases = {name: measured(slices) for name, slices in result["phases"].items()}
    return Case(sessions, tls, phases, result["bytes"], result["tls"])
