"""What is logged while a test runs."""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer


@implementer(ILogObserver)
class Observer:
    """Gives each event of the log to a function."""

    def __init__(self, take: Callable[[LogEvent], object]) -> None:
        self._take = take

    def __call__(self, event: LogEvent) -> None:
        self._take(event)


def observe(case: SynchronousTestCase, take: Callable[[LogEvent], object]) -> None:
    """Give each event of the log to a function, from now on until the test is over."""
    observer = Observer(take)
    globalLogPublisher.addObserver(observer)
    case.addCleanup(globalLogPublisher.removeObserver, observer)


def log_events(case: SynchronousTestCase) -> list[LogEvent]:
    """Return a list that grows by each event of the log, until the test is over."""
    events: list[LogEvent] = []
    observe(case, events.append)
    return events
