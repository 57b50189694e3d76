"""A fault that the product catches and logs is a finding all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer


@implementer(ILogObserver)
class _Faults:
    """Keeps what says that something is wrong with us."""

    def __init__(self) -> None:
        self.found: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        if event.get("log_failure") is not None or event.get("log_level") is LogLevel.critical:
            self.found.append(event)


@contextmanager
def no_faults_logged() -> Iterator[None]:
    """Raise at the end if an exception, or something that is critical, was logged meanwhile."""
    faults = _Faults()
    globalLogPublisher.addObserver(faults)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(faults)
    if faults.found:
        failure = faults.found[0].get("log_failure")
        trace = failure.getTraceback() if failure is not None else ""
        raise AssertionError(f"logged: {formatEvent(faults.found[0])}\n{trace}")
