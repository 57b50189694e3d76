"""How late the reactor comes to what it was to do: one timer a second tells."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service

from minimixproxy.counting.histogram import Histogram

INTERVAL = 1.0  # seconds

LAG = Histogram(
    "reactor_lag",
    "How late a timer of one second was: so long everybody waits for what holds the reactor.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class ReactorLag(Service):
    """Measures while it runs. `histogram`: where it is counted."""

    def __init__(self, clock: Any, histogram: Histogram = LAG) -> None:
        self._clock = clock
        self._histogram = histogram
        self._due = 0.0
        self._worst = 0.0  # since somebody asked
        self._timer: Any = None

    def startService(self) -> None:
        super().startService()
        self._wait()

    def stopService(self) -> None:
        super().stopService()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _wait(self) -> None:
        self._due = self._clock.seconds() + INTERVAL
        self._timer = self._clock.callLater(INTERVAL, self._looked)

    def _looked(self) -> None:
        late = max(0.0, self._clock.seconds() - self._due)
        self._histogram.observe(late)
        self._worst = max(self._worst, late)
        self._wait()

    def worst(self) -> float:
        """Return how late it was at worst, in seconds, since this was asked the last time."""
        worst, self._worst = self._worst, 0.0
        return worst
