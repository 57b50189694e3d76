"""Memory per logged-in session, TLS on both sides."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from bench.generator import generate
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProsody, BenchProxy, stopping
from tests.integration.processes import LoggedProcess

SESSIONS, ACCOUNTS = scaled((500, 50), (100, 50))
SLEEPING, SLEEPERS = scaled((600, 120), (100, 20))  # sessions that sleep, and their accounts
WARM_UP = 20  # sessions before the count begins: what is loaded once is not counted


class Case(NamedTuple):
    """Resident bytes of the proxy, before and after the sessions."""

    before: int
    after: int
    sessions: int
    accounts: int
    cipher: str

    @property
    def each(self) -> float:
        """KiB per session."""
        return (self.after - self.before) / self.sessions / 1024


def measure() -> list[Case]:
    """Sessions that are there, and those whose client is gone, both at once: no time is measured."""
    started: list[LoggedProcess] = []
    with stopping(started), ThreadPoolExecutor() as threads:
        # Whoever starts a process has to outlive it: not one of the threads.
        plans = [("memory", SESSIONS, ACCOUNTS), ("sleeping", SLEEPING, SLEEPERS)]
        running = [threads.submit(_case, *plan, *_servers(started)) for plan in plans]
        return [case.result() for case in running]


def _servers(started: list[LoggedProcess]) -> tuple[BenchProsody, BenchProxy]:
    prosody = BenchProsody(tls=True)
    started.append(prosody.process)
    proxy = BenchProxy(prosody, tls=True)
    started.append(proxy.process)
    return prosody, proxy


def _case(kind: str, sessions: int, accounts: int, prosody: BenchProsody, proxy: BenchProxy) -> Case:
    """Log in sessions of many accounts and read how much the proxy grew."""
    result = generate(
        kind,
        target={"port": proxy.port, "domain": prosody.domain, "tls": "starttls"},
        accounts=prosody.accounts[:accounts],
        password=PASSWORD,
        sessions=sessions,
        warm_up=WARM_UP,
        pids={"proxy": proxy.process.pid},
    )
    return Case(result["before"], result["after"], result["sessions"], accounts, result["tls"])
