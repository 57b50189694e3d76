"""`/healthz`: the process lives. `/readyz`: clients can be sent here."""

from __future__ import annotations

from typing import Any

from twisted.web.resource import Resource

from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.web.site import Text


class Ready(Resource):
    """200, or 503 and a line for each reason."""

    isLeaf = True

    def __init__(self, readiness: Readiness) -> None:
        super().__init__()
        self._readiness = readiness

    def render(self, request: Any) -> bytes:
        reasons = self._readiness.reasons()
        if not reasons:
            return b"ready\n"
        request.setResponseCode(503)
        return "".join(f"not ready: {reason}\n" for reason in reasons).encode()


def living() -> Resource:
    """Return what answers as long as the reactor does."""
    return Text(200, "ok")
