"""The product logs what peers do wrong; here that is all there is."""

from __future__ import annotations

from typing import Any

from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import implementer


@implementer(ILogObserver)
class Nobody:
    """Reads nothing."""

    def __call__(self, event: LogEvent) -> None:
        pass


def quieten() -> None:
    """Let nobody read the log but `logged`."""
    nobody: Any = Nobody()
    globalLogBeginner.beginLoggingTo([nobody], discardBuffer=True, redirectStandardIO=False)
