"""client_proxy: minimixproxy as a component beside Prosody with mod_client_proxy, askers and workers being the same."""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.scale import scaled
from bench.servers import HERE, PASSWORD, Missing, _program
from tests.integration.ports import free_port
from tests.integration.processes import LoggedProcess, temporary_directory
from tests.integration.proxy import Proxy
from tests.integration.servers import fill

ASKERS = [f"asker{number}" for number in range(8)]
WORKER = "worker"
WORKERS = 3
SECRET = "bench"
OPEN = 1000
TIME_LIMIT = 240.0  # seconds for one plan
PHASES = {
    "one at a time": {"window": 1, "seconds": scaled(2.0, 0.8)},
    "paced": {"rate": 200, "seconds": scaled(2.0, 0.8)},
    "saturated": {"window": 64, "seconds": scaled(2.0, 0.8)},
}
ROUNDS = scaled(2, 1)
REQUESTS = scaled(10_000, 3_000)


class Case(NamedTuple):
    """What was measured with one of both: figures by phase, and what became of the requests."""

    speeds: dict[str, dict[str, float]]
    loss: dict[str, Any]


class Setting(NamedTuple):
    """Servers to measure."""

    name: str
    prosody: LoggedProcess
    proxy: Proxy | None
    plan: dict[str, Any]

    def stop(self) -> None:
        if self.proxy is not None:
            self.proxy.stop()
        self.prosody.stop()


def start(prosody_modules: Path | None) -> Setting:
    """A fresh Prosody: with mod_client_proxy from that directory, or with minimixproxy as component."""
    port, component_port, directory = free_port(), free_port(), temporary_directory("prosody")
    domain, proxied = "bench.test", "proxy.bench.test"
    if prosody_modules is None:
        component = f'Component "{proxied}"\n\tcomponent_secret = "{SECRET}"'
    else:
        component = f'Component "{proxied}" "client_proxy"\n\ttarget_address = "{WORKER}@{domain}"'
    configuration = directory / "prosody.cfg.lua"
    configuration.write_text(
        fill(
            (HERE / "client_proxy.cfg.lua").read_text(),
            port=port,
            component_port=component_port,
            directory=directory,
            domain=domain,
            component=component,
            plugin_paths=f'"{_mod_client_proxy(prosody_modules)}"' if prosody_modules else "",
        )
    )
    accounts = directory / "bench%2etest" / "accounts"
    accounts.mkdir(parents=True)
    for user in (*ASKERS, WORKER):
        (accounts / f"{user}.dat").write_text(f'return {{ ["password"] = "{PASSWORD}" }};')
    # The worker's account lets the domain see its presence already: mod_client_proxy asks for that only when it is
    # loaded, which may be before the host of the account is.
    roster = directory / "bench%2etest" / "roster"
    roster.mkdir()
    contact = f'["{proxied}"] = {{ ["subscription"] = "from", ["groups"] = {{}} }}'
    (roster / f"{WORKER}.dat").write_text(
        f'return {{ [false] = {{ ["version"] = 1, ["pending"] = {{}} }}, {contact} }};'
    )
    prosody = LoggedProcess("prosody", [_program("prosody"), "-F", "--config", str(configuration)])
    prosody.wait_for(r"Activated service 'c2s' on")
    pids, proxy = {"prosody": prosody.pid}, None
    if prosody_modules is None:
        table = {"domain": proxied, "target": f"{WORKER}@{domain}", "server": f"tcp:127.0.0.1:{component_port}"}
        proxy = Proxy(listen=(), client_proxy=[{**table, "secret": SECRET, "max_open_per_asker": OPEN}])
        proxy.process.wait_for(r": connected")
        pids["proxy"] = proxy.process.pid
    plan = {
        "target": {"port": port, "domain": domain, "tls": "none"},
        "password": PASSWORD,
        "domain": proxied,
        "worker": WORKER,
        "workers": WORKERS,
        "askers": ASKERS,
        "pids": pids,
    }
    return Setting("mod_client_proxy" if prosody_modules else "minimixproxy", prosody, proxy, plan)


def _mod_client_proxy(prosody_modules: Path) -> Path:
    directory = prosody_modules / "mod_client_proxy"
    if not (directory / "mod_client_proxy.lua").is_file():
        raise Missing(f"there is no mod_client_proxy in {prosody_modules}")
    return directory.resolve()


def run(prosody_modules: Path | None, **plan: Any) -> dict[str, Any]:
    """One plan with fresh servers."""
    setting = start(prosody_modules)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "bench.client_proxy_load", json.dumps({**setting.plan, **plan})],
            cwd=HERE.parent,
            stdout=subprocess.PIPE,
            timeout=TIME_LIMIT,
            check=True,
        )
    finally:
        setting.stop()
    output: dict[str, Any] = json.loads(result.stdout)
    return output


def speed(prosody_modules: Path | None) -> dict[str, dict[str, float]]:
    """For each phase: requests per second, CPU per request by process in microseconds, round trip in milliseconds."""
    result = run(prosody_modules, kind="speed", phases=PHASES)
    found = {}
    for name, phase in result["phases"].items():
        slices = [part for part in phase["slices"] if part["count"]]  # a busy machine may answer nothing in one
        cpu = {
            process: median(part["cpu"][process] / part["count"] for part in slices) * 1e6
            for process in slices[0]["cpu"]
        }
        found[name] = {
            "rate": median(part["count"] / part["seconds"] for part in slices),
            "cpu": sum(cpu.values()),
            "p50": phase["p50"] * 1e3,
            "p99": phase["p99"] * 1e3,
            **{f"cpu of {process}": value for process, value in cpu.items()},
        }
    return found


def speeds(prosody_modules: Path | None) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]] | None]:
    """Ours, and theirs if there is a directory: by turns, since the machine is never the same twice; the medians."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(speed(None))
        if prosody_modules is not None:
            theirs.append(speed(prosody_modules))
    return _medians(ours), _medians(theirs) if theirs else None


def _medians(rounds: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    return {
        phase: {value: median(found[phase][value] for found in rounds) for value in rounds[0][phase]}
        for phase in PHASES
    }


def loss(prosody_modules: Path | None, requests: int = REQUESTS) -> dict[str, Any]:
    """What becomes of the requests while a worker is restarted every second."""
    return run(prosody_modules, kind="loss", requests=requests, window=64, limit=150.0)


def measure(prosody_modules: Path | None) -> tuple[Case, Case | None]:
    """Ours, and theirs if there is a directory. Raises `Missing` before it begins."""
    if prosody_modules is not None:
        _mod_client_proxy(prosody_modules)
    ours, theirs = speeds(prosody_modules)
    return Case(ours, loss(None)), Case(theirs, loss(prosody_modules)) if theirs is not None else None
