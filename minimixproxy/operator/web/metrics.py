"""`/metrics`: the page that Prometheus reads."""

from __future__ import annotations

from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from twisted.web.resource import Resource

from minimixproxy.counting.histogram import Histogram
from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.web.collector import ProxyCollector
from minimixproxy.operator.web.totals import Count, Totals
from minimixproxy.operator.web.watched import Watched

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # what every Prometheus reads
FRESH = 1.0  # seconds for which a page is good: who asks without a pause costs no more

SCRAPES = Histogram(
    "scrape",
    "What making this page has taken, the times before.",
    (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5),
)


def registry_of(collector: ProxyCollector) -> CollectorRegistry:
    """Return a registry of the proxy's own, with what there is to say of the process: nothing else registers there."""
    registry = CollectorRegistry()
    registry.register(collector)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def families(collector: ProxyCollector) -> list[Metric]:
    """Return all metrics that the page has."""
    return list(registry_of(collector).collect())


class MetricsPage(Resource):
    """The page, made anew at most once in `FRESH` seconds."""

    isLeaf = True

    def __init__(self, watched: Watched, readiness: Readiness, clock: Any) -> None:
        super().__init__()
        self._collector = ProxyCollector(watched, readiness)
        self._registry = registry_of(self._collector)
        self._count = Count(watched, clock)
        self._clock = clock
        self._page = b""
        self._made: float | None = None

    def render(self, request: Any) -> bytes | int:
        request.setHeader(b"Content-Type", CONTENT_TYPE.encode())
        if self._made is not None and self._clock.seconds() - self._made < FRESH:
            return self._page
        later: int = request.send_when_made(self._count.take().addCallback(self._make))
        return later

    def _make(self, totals: Totals) -> bytes:
        """Make the page, unless somebody who waited, too, has had it made."""
        begun = self._clock.seconds()
        if self._made is None or begun - self._made >= FRESH:
            self._collector.totals = totals
            self._page = generate_latest(self._registry)
            self._made = begun
            SCRAPES.observe(self._clock.seconds() - begun)
        return self._page
