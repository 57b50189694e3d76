"""A fault that the product catches and logs is a finding all the same."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher


@contextmanager
def no_faults_logged() -> Iterator[None]:
    """Raise at the end if an exception, or something that is critical, was logged meanwhile."""
    found: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_failure") is not None or event.get("log_level") is LogLevel.critical:
            found.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    if found:
        failure = found[0].get("log_failure")
        trace = failure.getTraceback() if failure is not None else ""
        raise AssertionError(f"logged: {formatEvent(found[0])}\n{trace}")
