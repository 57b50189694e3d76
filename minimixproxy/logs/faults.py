"""The last warnings and errors of the log, for whoever looks at the proxy. In memory, bounded.

They are what the log has: no password, key or message body (see `logger`). Of what Twisted itself logs only the kind
of fault is kept, for nobody here has seen to its text.
"""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

from twisted.application.service import Service
from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from minimixproxy.logs.logger import printable

MAX_LINES = 200
MAX_TEXT = 500  # characters of one line

_LEVELS = {LogLevel.warn: "warn", LogLevel.error: "error", LogLevel.critical: "critical"}
_OURS = "minimixproxy"


class Line(NamedTuple):
    """One line. `when`: in seconds since the epoch."""

    when: float
    level: str
    text: str


@implementer(ILogObserver)
class LastFaults(Service):
    """Keeps them while it runs. The writer's thread logs, too: adding to a deque needs no lock."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque(maxlen=MAX_LINES)

    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        globalLogPublisher.addObserver(self)

    def stopService(self) -> None:
        globalLogPublisher.removeObserver(self)
        super().stopService()  # type: ignore[no-untyped-call]

    def lines(self) -> list[Line]:
        """Return them, the last one first."""
        return list(self._lines)[::-1]

    def __call__(self, event: dict[str, Any]) -> None:
        """Take an event of the log."""
        level = _LEVELS.get(event.get("log_level"))
        if level is not None:
            self._lines.append(Line(event.get("log_time", 0.0), level, printable(_text(event), MAX_TEXT)))


def _text(event: dict[str, Any]) -> str:
    name = str(event.get("log_namespace", ""))
    failure = event.get("log_failure")
    kind = f": {failure.type.__name__}" if isinstance(failure, Failure) and failure.type is not None else ""
    if name.partition(".")[0] == _OURS:
        return f"{formatEvent(event)}{kind}"
    return f"a fault in {name}{kind}: see the log"
