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
TICK = 1.0  # seconds between two looks at how late the reactor is


class Sample(NamedTuple):
    """`stanzas`: a second, both ways, of all clients. `lag`: seconds that the reactor was late, at worst."""

    sessions: int
    stanzas: float
    lag: float


class Samples(Service):
    """Takes samples while it runs. `stanzas` returns how many there were since the start."""

    log = Logger()

    def __init__(self, surveys: Surveys, stanzas: Callable[[], int], reactor: Any) -> None:
        self._surveys = surveys
        self._stanzas = stanzas
        self._clock = reactor
        self._timer = Timer(reactor)
        self._due = 0.0  # when the timer should call
        self._lag = 0.0  # since the last sample
        self._last = 0.0  # when that was
        self._counted = 0  # stanzas then
        self.taken: deque[Sample] = deque(maxlen=KEPT)

    def startService(self) -> None:
        super().startService()
        self._last, self._counted = self._clock.seconds(), self._stanzas()
        self._wait()

    def stopService(self) -> None:
        self._timer.stop()
        super().stopService()

    def _wait(self) -> None:
        self._due = self._clock.seconds() + TICK
        self._timer.start(TICK, self._tick)

    def _tick(self) -> None:
        now = self._clock.seconds()
        self._lag = max(self._lag, now - self._due)
        if now - self._last >= INTERVAL:
            stanzas = self._stanzas()
            rate, lag = (stanzas - self._counted) / (now - self._last), self._lag
            self._last, self._counted, self._lag = now, stanzas, 0.0
            looking = self._surveys.take()
            looking.addCallback(self._take, rate, lag)
            looking.addErrback(lambda failure: self.log.failure("while a sample was taken", failure))
        self._wait()

    def _take(self, found: Surveyed, rate: float, lag: float) -> None:
        self.taken.append(Sample(found.sessions, rate, lag))
