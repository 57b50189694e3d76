"""Whether clients can be sent here, and if not, why: what `/readyz` and `minimixproxy status` say. Pure.

It is about the process, not about accounts: an account whose login the server refuses is mended by its client's next
login, and a load balancer that sent no clients for it would keep it broken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

#: Returns the reasons, in words, why clients had better go elsewhere now. Nothing of a peer's text is in them.
Check = Callable[[], Iterable[str]]


class Readiness:
    """Asks everything that knows a reason."""

    def __init__(self, *checks: Check) -> None:
        self._checks = checks

    def reasons(self) -> list[str]:
        """Return all reasons there are; none: ready."""
        return [reason for check in self._checks for reason in check()]


class _Journal(Protocol):
    @property
    def durable(self) -> bool: ...

    @property
    def error(self) -> str: ...


class _Domain(Protocol):
    domain: str

    @property
    def connected(self) -> bool: ...

    @property
    def standing_by(self) -> bool: ...


def of_state(running: Callable[[], object], journal: Callable[[], _Journal]) -> Check:
    """Return what knows of state. `running`: whether it is loaded."""

    def reasons() -> Iterable[str]:
        if not running():
            yield "state is not loaded"
        elif not (status := journal()).durable:
            yield f"what clients are told is not on disk: {status.error or 'it does not answer'}"

    return reasons


def of_servers(domains: Callable[[], Sequence[str]], unreachable: Callable[[], Sequence[str]]) -> Check:
    """Return what knows of servers: as long as one of them can be reached, its users can log in."""

    def reasons() -> Iterable[str]:
        names = unreachable()
        if names and len(names) == len(domains()):
            yield f"no server can be reached: {', '.join(names)}"

    return reasons


def of_client_proxy(domains: Collection[_Domain]) -> Check:
    """Return what knows of domains of client_proxy, for a proxy that has nothing else."""

    def reasons() -> Iterable[str]:
        if not any(domain.connected or domain.standing_by for domain in domains):
            yield f"no server has accepted a domain of client_proxy: {', '.join(domain.domain for domain in domains)}"

    return reasons
