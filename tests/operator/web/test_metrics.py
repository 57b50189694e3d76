"""What `/metrics` says: numbers of what there is and was, and no value of a label that anybody else chose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy import tap
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.counting.histogram import HISTOGRAMS, Histogram
from minimixproxy.counting.tally import OTHER, TALLIES, Tally
from minimixproxy.counting.traffic import TRAFFIC
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.web import collector as collecting
from minimixproxy.operator.web.channel import BoundedChannel
from minimixproxy.operator.web.collector import ProxyCollector
from minimixproxy.operator.web.metrics import FRESH, SCRAPES, families
from minimixproxy.operator.web.reactor_lag import ReactorLag
from minimixproxy.operator.web.totals import AT_ONCE, Count
from minimixproxy.operator.web.watched import Watched
from minimixproxy.safety_net import SafetyNet
from tests.minimix.fakes import FakeSession
from tests.minimix.owned import FakeRoom
from tests.operator.test_status import CLUSTER
from tests.operator.web.pages import SiteCase, Transport
from tests.tallies import as_in_the_product

#: Where each label's values come from, but for those of tallies, which have their own.
VALUES = {
    "state": {*collecting.STREAM_STATES, *collecting.OCCUPANCY_STATES, "connected", "sleeping", OTHER},
    "enrolled": {"yes", "no"},
    "peer": {"client", "account"},
    "reason": {"fault", "unreadable"},
    "stream": {one.name for one in TRAFFIC},
    "kind": {"message", "presence", "iq"},
    "direction": {"received", "sent"},
    "name": {"node-a"},  # of processes of a cluster, by their configuration
}
#: What prometheus_client says of the process, and the versions: none of it comes from a stream.
OF_THE_PROCESS = ("process_", "python_", "minimixproxy_build")


@dataclass
class FakeAccount:
    bare: str = "alice@a.test"
    is_enrolled: bool = True
    sessions: dict[SessionPort, None] = field(default_factory=dict)
    rooms: dict[str, FakeRoom] = field(default_factory=dict)


@dataclass
class FakeStream:
    state: Enum
    opens_in: float = 0.0
    backlog: int = 0


@dataclass
class FakeJournal:
    durable: bool = True
    waiting: int = 0
    left_out: int = 0
    lag: float = 0.0


@dataclass
class FakeDomain:
    connected: bool = True
    dropped: int = 0
    standing_by: bool = False

    def status(self) -> dict[str, object]:
        return {"resources": 2, "requests": 3}


class MetricsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.accounts: list[tuple[FakeAccount, FakeStream]] = []
        self.journal: FakeJournal | None = FakeJournal()
        self.cluster: dict[str, Any] | None = CLUSTER
        self.net = SafetyNet()
        self.reasons: list[str] = []
        watched = Watched(
            lambda: self.accounts,
            lambda: self.journal,
            [FakeDomain(), FakeDomain(False, 4), FakeDomain(False, standing_by=True)],
            lambda: 7,
            self.net,
            lambda: self.cluster,
        )
        self.collector = ProxyCollector(watched, Readiness(lambda: self.reasons))
        self.count = Count(watched, self.clock)

    def families(self) -> list[Metric]:
        counted = self.count.take()
        while not counted.called:
            self.clock.advance(0)
        self.collector.totals = self.successResultOf(counted)
        return list(self.collector.collect())

    def value(self, name: str, /, **labels: str) -> float:
        found = [
            sample.value
            for family in self.families()
            for sample in family.samples
            if sample.name == f"minimixproxy_{name}" and sample.labels == labels
        ]
        self.assertEqual(len(found), 1, (name, labels))
        return found[0]


class NumbersTests(MetricsCase):
    def test_nothing_yet(self) -> None:
        """What there is none of is 0, not missing: a rate can be told from the first one on."""
        self.journal = self.cluster = None
        for state in StreamState:
            self.assertEqual(self.value("account_streams", state=state.value), 0)
        for phase in State:
            self.assertEqual(self.value("occupancies", state=phase.value), 0)
        names = {family.name for family in self.families()}
        self.assertNotIn("minimixproxy_journal_durable", names)  # nothing is written: none is not a bad one
        self.assertNotIn("minimixproxy_cluster_processes", names)  # nor is none of one process alone

    def test_accounts(self) -> None:
        phone, laptop = FakeSession("phone", self.clock), FakeSession("laptop", self.clock)
        phone.asleep, phone.queued, laptop.queued = True, 100, 5
        rooms = {"one@muc": FakeRoom("one@muc", phone), "two@muc": FakeRoom("two@muc", state=State.REJOINING)}
        self.accounts += [
            (FakeAccount(sessions={phone: None, laptop: None}, rooms=rooms), FakeStream(StreamState.OPEN, backlog=30)),
            (FakeAccount(is_enrolled=False), FakeStream(StreamState.CLOSED)),
            (FakeAccount(), FakeStream(StreamState.REFUSED, backlog=3)),
        ]
        for name, labels, value in (
            ("client_connections", {}, 7),
            ("sessions", {"state": "connected"}, 1),
            ("sessions", {"state": "sleeping"}, 1),
            ("accounts", {"enrolled": "yes"}, 2),
            ("accounts", {"enrolled": "no"}, 1),
            ("account_streams", {"state": "open"}, 1),
            ("account_streams", {"state": "refused"}, 1),
            ("account_streams", {"state": "waiting"}, 0),
            ("occupancies", {"state": "joined"}, 1),
            ("occupancies", {"state": "rejoining"}, 1),
            ("queue_bytes", {"peer": "client"}, 105),
            ("queue_bytes", {"peer": "account"}, 33),
        ):
            self.assertEqual(self.value(name, **labels), value, (name, labels))

    def test_journal(self) -> None:
        self.journal = FakeJournal(False, 1000, 2, 1.5)
        values = [
            self.value(f"journal_{name}") for name in ("durable", "queue_bytes", "rows_refused_total", "lag_seconds")
        ]
        self.assertEqual(values, [0, 1000, 2, 1.5])

    def test_cluster(self) -> None:
        others = [
            {"name": "node-b", "address": "b:1", "number": 8, "accounts": 41, "draining": True},
            {"name": "node-c", "address": "c:1", "number": 9, "accounts": 5, "draining": False},
            {"name": "node-c", "address": "c:2", "number": 10, "accounts": 2, "draining": False},
        ]
        self.cluster = {**CLUSTER, "others": others, "free": 7, "pipes": 3}
        for name, labels, value in (
            ("seen", {}, 1),
            ("look_age_seconds", {}, 0.6),
            ("processes", {}, 4),
            ("namesakes", {}, 2),
            ("accounts", {"name": "node-a"}, 42),
            ("accounts", {"name": "node-b"}, 41),
            ("accounts", {"name": "node-c"}, 7),
            ("drained", {"name": "node-a"}, 0),
            ("drained", {"name": "node-b"}, 1),
            ("drained", {"name": "node-c"}, 0),
            ("free_accounts", {}, 7),
            ("row_seconds", {}, 13.6),
            ("open_pipes", {}, 3),
        ):
            self.assertEqual(self.value(f"cluster_{name}", **labels), value, (name, labels))
        self.cluster = {**CLUSTER, "draining": True, "seen": False, "seen_ago": None}
        self.assertNotIn("minimixproxy_cluster_look_age_seconds", {family.name for family in self.families()})
        self.assertEqual(self.value("cluster_drained", name="node-a"), 1)
        self.assertEqual((self.value("cluster_seen"), self.value("cluster_namesakes")), (0, 0))

    def test_client_proxy(self) -> None:
        for name, value in (
            ("domains", 3),
            ("connected", 1),
            ("standing_by", 1),
            ("resources", 6),
            ("open_requests", 9),
            ("dropped_total", 4),
        ):
            self.assertEqual(self.value(f"client_proxy_{name}"), value, name)

    def test_dropped(self) -> None:
        self.net.dropped, self.net.skipped = 3, 4
        self.assertEqual(self.value("stanzas_dropped_total", reason="fault"), 3)
        self.assertEqual(self.value("stanzas_dropped_total", reason="unreadable"), 4)

    def test_ready(self) -> None:
        self.assertEqual(self.value("ready"), 1)
        self.reasons.append("no server can be reached")
        self.assertEqual(self.value("ready"), 0)

    def test_counted_somewhere(self) -> None:
        """Every tally, histogram and kind of stream is there, with what was counted."""
        for tally in TALLIES:
            values = next(iter(tally.counts))
            before = self.value(f"{tally.name}_total", **dict(zip(tally.labels, values, strict=True)))
            tally.count(*values, number=5)
            after = self.value(f"{tally.name}_total", **dict(zip(tally.labels, values, strict=True)))
            self.assertEqual(after - before, 5, tally.name)
        for histogram in HISTOGRAMS:
            count, seconds = f"{histogram.name}_seconds_count", f"{histogram.name}_seconds_sum"
            counted, added = self.value(count), self.value(seconds)
            histogram.observe(0.25)
            self.assertEqual((self.value(count), self.value(seconds)), (counted + 1, added + 0.25))
        for traffic in TRAFFIC:
            before = self.value("xml_bytes_total", stream=traffic.name, direction="sent")
            traffic.sent_bytes += 7
            self.assertEqual(self.value("xml_bytes_total", stream=traffic.name, direction="sent"), before + 7)


class StatesTests(SynchronousTestCase):
    def test_all_are_known(self) -> None:
        self.assertEqual(set(collecting.STREAM_STATES), {state.value for state in StreamState})
        self.assertEqual(set(collecting.OCCUPANCY_STATES), {state.value for state in State})


class LabelsTests(MetricsCase):
    def test_every_value_is_of_a_closed_set(self) -> None:
        self.assertTrue(tap.__doc__)  # with which every module is imported that counts
        of_tallies = {f"minimixproxy_{tally.name}": tally for tally in TALLIES}
        seen = 0
        for family in families(self.collector):
            if family.name.startswith(OF_THE_PROCESS):
                continue
            for sample in family.samples:
                labels = {label: value for label, value in sample.labels.items() if label != "le"}
                tally = of_tallies.get(family.name)
                if tally is not None:
                    self.assertIn(tuple(labels.values()), tally.counts)
                    continue
                for label, value in labels.items():
                    self.assertIn(value, VALUES[label], f"{family.name} {label}")
                seen += len(labels)
        self.assertGreater(seen, 30)
        self.assertGreater(len(of_tallies), 8)

    def test_nothing_that_a_peer_says_becomes_a_label(self) -> None:
        """A million names of accounts, rooms, mechanisms and reasons make no line more."""
        self.patch(Tally, "_nearest", as_in_the_product)
        before = self.lines()
        for number in range(1000):
            name = f'evil{number}"}}\n# TYPE x counter\nx{{a="'
            for tally in TALLIES:
                tally.count(*[name] * len(tally.labels))
            session = FakeSession(name, self.clock)
            account = FakeAccount(name, sessions={session: None}, rooms={name: FakeRoom(name)})
            self.accounts.append((account, FakeStream(StreamState.OPEN)))
        self.assertEqual(self.lines(), before)

    def test_a_state_that_nobody_knows(self) -> None:
        class Strange(Enum):
            STATE = 'x"} 1\n'

        self.accounts.append((FakeAccount(), FakeStream(Strange.STATE)))
        self.assertEqual(self.value("account_streams", state=OTHER), 1)

    def lines(self) -> set[str]:
        return {f"{sample.name}{sample.labels}" for family in self.families() for sample in family.samples}

    def test_names_are_as_prometheus_has_them(self) -> None:
        """Base units, `_total` on what only grows, and a sentence for each."""
        for family in self.families():
            self.assertRegex(family.name, r"^minimixproxy_[a-z_]+$")
            self.assertRegex(family.documentation, r"^[A-Z1].*\.$", family.name)
            self.assertNotRegex(family.name, r"_(ms|milliseconds|kb|kilobytes|percent|count|sum|bucket|total)$")
            for sample in family.samples:
                self.assertEqual(sample.name.endswith("_total"), family.type == "counter", sample.name)


class PageTests(SiteCase):
    def test_can_be_read(self) -> None:
        answer = self.get("/metrics")
        self.assertEqual(answer.code, 200)
        self.assertEqual(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8")
        names = {family.name for family in text_string_to_metric_families(answer.body.decode())}
        self.assertLessEqual({"minimixproxy_sessions", "minimixproxy_reactor_lag_seconds", "process_open_fds"}, names)

    def test_head(self) -> None:
        self.assertEqual(self.get("/metrics", method="HEAD").behind, b"")

    def test_who_asks_without_a_pause(self) -> None:
        made: list[ProxyCollector] = []

        def collect(collector: ProxyCollector) -> Iterator[Metric]:
            made.append(collector)
            return iter(())

        self.patch(ProxyCollector, "collect", collect)
        pages = {self.get("/metrics").body for _ in range(100)}
        self.assertEqual((len(made), len(pages)), (1, 1))
        self.clock.advance(FRESH)
        self.get("/metrics")
        self.assertEqual(len(made), 2)


class ManyAccountsTests(SiteCase):
    """Counted a few in a turn: others have theirs in between."""

    def setUp(self) -> None:
        self.accounts = [(FakeAccount(), FakeStream(StreamState.OPEN)) for _ in range(3 * AT_ONCE)]
        self.looked_at = 0
        super().setUp()

    def watched(self) -> Watched:
        def accounts() -> Iterator[tuple[FakeAccount, FakeStream]]:
            for pair in self.accounts:
                self.looked_at += 1
                yield pair

        return Watched(accounts)

    def asks(self) -> tuple[BoundedChannel, Transport]:
        connection, transport = self.connect()
        connection.dataReceived(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return connection, transport

    def test_a_few_in_a_turn(self) -> None:
        turns: list[int] = []  # how many had been looked at when the next one was asked for
        later = self.clock.callLater

        def noting(seconds: float, call: Callable[..., object], *arguments: object) -> Any:
            if not seconds:
                turns.append(self.looked_at)
            return later(seconds, call, *arguments)

        self.patch(self.clock, "callLater", noting)
        _connection, transport = self.asks()
        self.assertEqual((turns, transport.value()), ([AT_ONCE], b""))
        self.clock.advance(0)
        self.assertEqual(turns, [AT_ONCE, 2 * AT_ONCE, 3 * AT_ONCE])
        line = f'minimixproxy_account_streams{{state="open"}} {len(self.accounts)}.0\n'
        self.assertIn(line.encode(), transport.value())

    def test_who_asks_meanwhile_waits_for_the_same(self) -> None:
        asking = [self.asks() for _ in range(10)]
        asking[3][0].connectionLost()  # and one is gone
        made = SCRAPES.cumulated()[-1][1]
        self.clock.advance(0)
        self.assertEqual(SCRAPES.cumulated()[-1][1], made + 1)
        self.assertEqual(self.looked_at, len(self.accounts))
        answered = [transport.value().count(b"200 OK") for _connection, transport in asking]
        self.assertEqual(answered, [1, 1, 1, 0, 1, 1, 1, 1, 1, 1])

    def test_a_fault_of_ours(self) -> None:
        """It is told to who has asked; the next one is answered."""
        del self.accounts[-1][1].state
        _connection, transport = self.asks()
        self.clock.advance(0)
        self.assertIn(b"500 Internal", transport.value())
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.accounts.pop()
        _connection, transport = self.asks()
        self.clock.advance(0)
        self.assertIn(b"200 OK", transport.value())


class ReactorLagTests(SynchronousTestCase):
    def test_late(self) -> None:
        clock = Clock()
        histogram = Histogram("test_lag", "of the test", (0.01, 1.0))
        HISTOGRAMS.remove(histogram)
        lag = ReactorLag(clock, histogram)
        lag.startService()
        clock.advance(1)
        clock.advance(1.5)
        clock.advance(10)
        self.assertEqual(histogram.cumulated(), [(0.01, 1), (1.0, 2), (float("inf"), 3)])
        self.assertAlmostEqual(histogram.seconds, 0 + 0.5 + 9)
        lag.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])
