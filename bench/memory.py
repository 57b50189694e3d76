"""Memory per logged-in session, TLS on both sides."""

from typing import NamedTuple

from bench.generator import generate
from bench.scale import scaled
from bench.servers import PASSWORD, BenchProsody, BenchProxy, stopping

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


def measure(kind: str = "memory") -> Case:
    """Log in sessions of many accounts and read how much the proxy grew; "sleeping": by those whose client is gone."""
    sessions, accounts = (SLEEPING, SLEEPERS) if kind == "sleeping" else (SESSIONS, ACCOUNTS)
    prosody = BenchProsody(tls=True)
    proxy = BenchProxy(prosody, tls=True)
    with stopping([prosody.process, proxy.process]):
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
