"""Somebody else who pings all the while, in a process of their own (pinger.py)."""

import json
import sys
from collections.abc import Sequence

from bench.servers import PASSWORD
from tests.integration.processes import LoggedProcess


class Pings:
    """One user with two clients: one pings its server, the other itself in its room, which the proxy answers.

    Milliseconds of each since the last time, the shortest first.
    """

    def __init__(self, port: int, domain: str, user: str, room: str) -> None:
        arguments = [str(port), domain, user, PASSWORD, room]
        self.process = LoggedProcess("pinger", [sys.executable, "-m", "bench.pinger", *arguments], obeys=True)
        self.process.wait_for("^ready")

    def take(self, who: str) -> list[float]:
        """Return those of "server" or "proxy", and forget the others."""
        start = len(self.process.lines)
        self.process.tell("")
        found: dict[str, list[float]] = json.loads(self.process.wait_for("^{", start=start))
        return sorted(found[who])


def percentile(times: Sequence[float], part: float) -> float:
    """Return a percentile of what is sorted."""
    return times[min(int(len(times) * part), len(times) - 1)]
