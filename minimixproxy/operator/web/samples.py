"""What is measured now and then, for the graphs of the last hour."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.application.service import Service

from minimixproxy.logs.logger import Logger
from minimixproxy.operator.survey import Surveyed, Surveys
from minimixproxy.timing.clock import Timer

INTERVAL = 20.0  # seconds between two samples
KEPT = 180  # samples: an hour


class Sample(NamedTuple):
    """`stanzas`: a second, both ways, of all clients. `lag`: seconds that the reactor was late, at worst."""

    sessions: int
    stanzas: float
    lag: float


class Samples(Service):
    """Takes samples while it runs. `stanzas` returns how many there were since the start.

    `lag`: how late the reactor was, at worst, since it was called last.
    """

    log = Logger()

    def __init__(self, surveys: Surveys, stanzas: Callable[[], int], lag: Callable[[], float], reactor: Any) -> None:
        self._surveys = surveys
        self._stanzas = stanzas
        self._lag = lag
        self._clock = reactor
        self._timer = Timer(reactor)
        self._last = 0.0  # when the last one was begun
        self._counted = 0  # stanzas then
        self.taken: deque[Sample] = deque(maxlen=KEPT)

    def startService(self) -> None:
        super().startService()
        self._last, self._counted = self._clock.seconds(), self._stanzas()
        self._timer.start(INTERVAL, self._sample)

    def stopService(self) -> None:
        self._timer.stop()
        super().stopService()

    def _sample(self) -> None:
        now, stanzas = self._clock.seconds(), self._stanzas()
        rate = (stanzas - self._counted) / (now - self._last)
        self._last, self._counted = now, stanzas
        looking = self._surveys.take()
        looking.addCallback(self._take, rate, self._lag())
        looking.addErrback(lambda failure: self.log.failure("while a sample was taken", failure))
        self._timer.start(INTERVAL, self._sample)

    def _take(self, found: Surveyed, rate: float, lag: float) -> None:
        self.taken.append(Sample(found.sessions, rate, lag))
