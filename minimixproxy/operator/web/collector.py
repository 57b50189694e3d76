"""From what the proxy counts, and what there is now, to metrics of Prometheus: made when they are asked for.

No label has a value that a peer has any say in: see `Tally`; that of processes of a cluster is by their configuration.
docs/metrics.md lists all; a test compares.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import twisted
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from minimixproxy import __version__
from minimixproxy.counting.histogram import HISTOGRAMS, Histogram
from minimixproxy.counting.tally import OTHER, TALLIES, Tally
from minimixproxy.counting.traffic import TRAFFIC, Traffic
from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.web.totals import Totals
from minimixproxy.operator.web.watched import Watched, WatchedJournal
from minimixproxy.wire.trees import BUILT

PREFIX = "minimixproxy_"
STREAM_STATES = ("closed", "opening", "open", "refused", "resuming", "waiting")
OCCUPANCY_STATES = ("ended", "interrupted", "joined", "joining", "leaving", "rejoining")


class ProxyCollector:
    """A collector of prometheus_client's: it calls `collect` for each page. `totals`: of accounts, as counted last."""

    def __init__(self, watched: Watched, readiness: Readiness) -> None:
        self.totals = Totals()
        self._watched = watched
        self._readiness = readiness

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that nothing is collected before somebody asks."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics."""
        yield InfoMetricFamily(
            f"{PREFIX}build",
            "The versions that run.",
            {"version": __version__, "twisted": twisted.__version__, "python": platform.python_version()},
        )
        yield _gauge("ready", "1 if clients can be sent here, as /readyz says.", not self._readiness.reasons())
        yield from self._of_accounts(self.totals)
        yield from _of_journal(self._watched.journal())
        yield from _of_cluster(self._watched.cluster())
        yield from self._of_client_proxy()
        yield from self._of_stanzas()
        yield from _of_traffic(TRAFFIC)
        yield from map(_tally, sorted(TALLIES, key=_name))
        yield from map(_histogram, sorted(HISTOGRAMS, key=_name))

    def _of_accounts(self, totals: Totals) -> Iterator[Metric]:
        yield _gauge("client_connections", "Open connections of clients.", self._watched.connections())
        yield _gauges("sessions", "Sessions of clients.", "state", totals.sessions, ("connected", "sleeping"))
        about = "Accounts, by whether a login that opens their stream is known."
        yield _gauges("accounts", about, "enrolled", totals.enrolled, ("yes", "no"))
        about = "Accounts, by the state of their stream."
        yield _gauges("account_streams", about, "state", totals.streams, STREAM_STATES)
        about = "Rooms that accounts are in, or mean to be."
        yield _gauges("occupancies", about, "state", totals.rooms, OCCUPANCY_STATES)
        about = "Bytes that wait for clients or, on account streams, for servers, or for them to acknowledge."
        yield _gauges("queue_bytes", about, "peer", totals.queued, ("client", "account"))

    def _of_client_proxy(self) -> Iterator[Metric]:
        domains = self._watched.domains
        status = [domain.status() for domain in domains]
        connected = sum(domain.connected for domain in domains)
        yield _gauge("client_proxy_domains", "Domains of client_proxy.", len(domains))
        yield _gauge("client_proxy_connected", "Those that their server has accepted.", connected)
        about = "Those that another process of the cluster is to connect."
        yield _gauge("client_proxy_standing_by", about, sum(domain.standing_by for domain in domains))
        yield _gauge("client_proxy_resources", "Resources that answer for them.", _sum(status, "resources"))
        yield _gauge("client_proxy_open_requests", "Requests that are not answered yet.", _sum(status, "requests"))
        dropped = sum(domain.dropped for domain in domains)
        yield _counter("client_proxy_dropped", "Stanzas of client_proxy that went nowhere, as the log says.", dropped)

    def _of_stanzas(self) -> Iterator[Metric]:
        net = self._watched.net
        dropped = CounterMetricFamily(
            f"{PREFIX}stanzas_dropped",
            "Stanzas dropped by a fault of the proxy's, and stanzas that could not be read where that was needed.",
            labels=("reason",),
        )
        dropped.add_metric(("fault",), net.dropped)
        dropped.add_metric(("unreadable",), net.skipped)
        yield dropped
        yield _counter("trees_built", "Stanzas that had to be read as a whole.", BUILT.trees)


def _of_journal(journal: WatchedJournal | None) -> Iterator[Metric]:
    if journal is None:
        return
    yield _gauge("journal_durable", "1 if what clients are told is on disk before.", journal.durable)
    yield _gauge("journal_queue_bytes", "Bytes of messages, about, that wait to be written.", journal.waiting)
    yield _gauge("journal_lag_seconds", "For how long the batch that is being written has been so.", journal.lag)
    yield _counter("journal_rows_refused", "Rows that the database refused, and that are on no disk.", journal.left_out)


def _of_cluster(cluster: Mapping[str, Any] | None) -> Iterator[Metric]:
    """`cluster`: as docs/status.md has it, None if this process is alone."""
    if cluster is None:
        return
    accounts, drained, called = Counter[str](), Counter[str](), Counter[str]()
    for process in (cluster, *cluster["others"]):
        name = process["name"]
        called[name] += 1
        accounts[name] += process["accounts"]
        drained[name] = max(drained[name], process["draining"])
    names, namesakes = sorted(called), sum(number for number in called.values() if number > 1)
    yield _gauge("cluster_seen", "1 if the database told, when asked last, how the cluster stands.", cluster["seen"])
    if cluster["seen_ago"] is not None:
        yield _gauge("cluster_look_age_seconds", "How long ago the last look at the cluster was.", cluster["seen_ago"])
    yield _gauge("cluster_processes", "Processes of the cluster that live, this one included.", called.total())
    yield _gauge("cluster_namesakes", "Those of them that are called as another one is.", namesakes)
    yield _gauges("cluster_accounts", "Accounts that each of them holds.", "name", accounts, names)
    yield _gauges("cluster_drained", "1 for those that take no accounts, and hand on theirs.", "name", drained, names)
    yield _gauge("cluster_free_accounts", "Accounts that no process has yet.", cluster["free"])
    yield _gauge("cluster_row_seconds", "For how long this process's row is good at least.", cluster["left"])
    yield _gauge("cluster_open_pipes", "Ways of clients to other processes, open or asked for.", cluster["pipes"])


def _of_traffic(traffic: Sequence[Traffic]) -> Iterator[Metric]:
    received = CounterMetricFamily(
        f"{PREFIX}received_stanzas",
        "Stanzas from clients; from servers on streams of sessions, of accounts, of components.",
        labels=("stream", "kind"),
    )
    sent = CounterMetricFamily(
        f"{PREFIX}sent_stanzas",
        "Stanzas, and what else was written as one, to clients and servers.",
        labels=("stream",),
    )
    size = CounterMetricFamily(
        f"{PREFIX}xml_bytes", "Bytes of XML, inside of TLS and stream management.", labels=("stream", "direction")
    )
    for one in traffic:
        for kind, number in one.received.items():
            received.add_metric((one.name, kind), number)
        sent.add_metric((one.name,), one.sent)
        size.add_metric((one.name, "received"), one.received_bytes)
        size.add_metric((one.name, "sent"), one.sent_bytes)
    yield from (received, sent, size)


def _name(counted: Tally | Histogram) -> str:
    return counted.name


def _gauge(name: str, about: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}{name}", about, float(value))


def _gauges(name: str, about: str, label: str, values: Counter[str], known: Sequence[str]) -> Metric:
    metric = GaugeMetricFamily(f"{PREFIX}{name}", about, labels=(label,))
    for value in known:
        metric.add_metric((value,), values[value])
    if values.keys() - set(known):
        metric.add_metric((OTHER,), sum(number for value, number in values.items() if value not in known))
    return metric


def _counter(name: str, about: str, value: float) -> Metric:
    return CounterMetricFamily(f"{PREFIX}{name}", about, value)


def _tally(tally: Tally) -> Metric:
    metric = CounterMetricFamily(f"{PREFIX}{tally.name}", tally.about, labels=tally.labels)
    for values, number in tally.counts.items():
        metric.add_metric(values, number)
    return metric


def _histogram(histogram: Histogram) -> Metric:
    metric = HistogramMetricFamily(f"{PREFIX}{histogram.name}_seconds", histogram.about)
    buckets = [("+Inf" if bound == float("inf") else repr(bound), number) for bound, number in histogram.cumulated()]
    metric.add_metric((), buckets, histogram.seconds)
    return metric


def _sum(status: Iterable[object], key: str) -> int:
    return sum(int(one[key]) for one in status if isinstance(one, dict))
