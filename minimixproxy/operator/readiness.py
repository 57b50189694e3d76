"""Whether clients can be sent here, and if not, why: what `/readyz` and `minimixproxy status` say. Pure.

It is about the process, not about accounts: an account whose login the server refuses is mended by its client's next
login, and a load balancer that sent no clients for it would keep it broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

#: Returns the reasons, in words, why clients had better go elsewhere now. Nothing of a peer's text is in them.
Check = Callable[[], Iterable[str]]


class Readiness:
    """Asks everything that knows a reason."""

    def __init__(self, *checks: Check) -> None:
        self._checks = list(checks)

    def add(self, check: Check) -> None:
        """Ask one more."""
        self._checks.append(check)

    def reasons(self) -> list[str]:
        """Return all reasons there are; none: ready."""
        return [reason for check in self._checks for reason in check()]
