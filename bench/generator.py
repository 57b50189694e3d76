"""Running the load generator and reading its results."""

import json
import subprocess
import sys
from statistics import median
from typing import Any, NamedTuple

from bench.servers import HERE

TIME_LIMIT = 180.0  # seconds for one plan
BODY = "What a groupchat message of some length says, in plain words, again and again. " * 2

# What a present-day client sends with a body.
EXTRAS = (
    "<origin-id xmlns='urn:xmpp:sid:0' id='7b2b6e2a-5f0e-4a6e-9d2e-@serial@'/>"
    "<active xmlns='http://jabber.org/protocol/chatstates'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
)


def message(to: str, kind: str) -> str:
    """A message of about 600 bytes as it is delivered; the load generator numbers it."""
    return (
        f"<message type='{kind}' to='{to}' id='7b2b6e2a-5f0e-4a6e-9d2e-@serial@'>"
        f"<body>@serial@ {BODY}</body>{EXTRAS}</message>"
    )


class Measured(NamedTuple):
    """One phase, the median of its slices. CPU in microseconds per stanza, by process."""

    cpu: dict[str, float]
    rate: float  # stanzas per second
    stanzas: int

    @property
    def total(self) -> float:
        """CPU of all processes under test, in microseconds per stanza."""
        return sum(self.cpu.values())


def measured(slices: list[dict[str, Any]], passes: int = 1) -> Measured:
    """Take medians. `passes`: how often each received message went through what is measured."""
    names = slices[0]["cpu"]
    return Measured(
        {name: median(part["cpu"][name] / part["count"] for part in slices) * 1e6 / passes for name in names},
        median(part["count"] / part["seconds"] for part in slices) * passes,
        sum(part["count"] for part in slices) * passes,
    )


def generate(kind: str, **plan: Any) -> dict[str, Any]:
    """Run the load generator with a plan."""
    result = subprocess.run(
        [sys.executable, "-m", "bench.load", json.dumps({"kind": kind, **plan})],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        timeout=TIME_LIMIT,
        check=True,
    )
    output: dict[str, Any] = json.loads(result.stdout)
    return output
