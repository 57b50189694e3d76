"""Sections of measurements that were made up."""

from twisted.trial.unittest import SynchronousTestCase

from bench import bigroom, cluster, failover, forking, occupancies, storms
from bench.generator import Measured
from bench.report import cluster as cluster_report
from bench.report import crowds
from bench.report import forking as forking_report
from bench.report import occupancies as occupancies_report


def case(sessions: int, **cpu: float) -> forking.Case:
    phases = {name: Measured(dict(cpu), 1000.0, 100) for name in ("one", "paced", "saturated")}
    return forking.Case(sessions, True, phases, [1.0, 2.0, 3.0], 606.0, "TLSv1.3")


def by_turns(sessions: int, *, with_minimix: bool = True) -> dict[str, forking.Case]:
    cases = {
        forking.LOOP: case(sessions, loop=10.0),
        forking.PROXY: case(sessions, prosody=30.0, proxy=20.0),
        forking.MINIMIX: case(sessions, prosody=100.0),
        forking.PLAIN: case(sessions, prosody=90.0),
    }
    if not with_minimix:
        del cases[forking.MINIMIX]
    return cases


class ForkingTests(SynchronousTestCase):
    """Ratios to the loop and to mod_minimix."""

    def test_ratios(self) -> None:
        found = forking_report.section([by_turns(50)], case(50, proxy=1.0), None).results()
        self.assertEqual(found["ratios"]["50"], {forking_report.OF_LOOP: 2.0, forking_report.OF_MINIMIX: 0.5})

    def test_latency_added(self) -> None:
        self.assertEqual(forking_report.latency(by_turns(50))["added p99"], 0.0)

    def test_without_mod_minimix(self) -> None:
        section = forking_report.section([by_turns(50, with_minimix=False)], case(50, proxy=1.0), None)
        self.assertNotIn(forking_report.OF_MINIMIX, section.results()["ratios"]["50"])
        self.assertIn("| 50 | 2.00 | ≤ 1.6, **missed** |\n", section.markdown({}))

    def test_beside_an_earlier_version(self) -> None:
        cases = by_turns(50) | {forking.EARLIER: case(50, prosody=30.0, proxy=40.0)}
        found = forking_report.section([cases], case(50, proxy=1.0), None).results()
        self.assertEqual(found["ratios"]["50"][forking_report.OF_EARLIER], 0.5)


class OccupanciesTests(SynchronousTestCase):
    """A further account."""

    def test_further_accounts(self) -> None:
        kind = occupancies.Kind(100, 30, 60)
        cases = [occupancies.Case(kind, 100 * 2**20, 40 * 1024, 5000.0)]
        stored = [occupancies.Stored(1, 700.0), occupancies.Stored(21, 2700.0)]
        found = occupancies_report.section(cases, stored).results()
        self.assertEqual(found["memory"]["100"][occupancies_report.EACH], 40.0)
        self.assertAlmostEqual(found["memory"]["100"][occupancies_report.ALL], 490.6, 1)
        self.assertEqual(found["stored"]["21"][occupancies_report.STORED], 100.0)
        self.assertNotIn(occupancies_report.STORED, found["stored"]["1"])


class CrowdsTests(SynchronousTestCase):
    """Everybody at once."""

    def test_ping_beside_quiet_ping(self) -> None:
        found = storms.Case(300, 590, 0.004, 90 * 1024, 3000, 20.0, 10.0, [1.0, 2.0], [1.0, 3.0], 7.0, 3.0, 1)
        rows = crowds.storms_section(found).results()["storms"]
        self.assertEqual(rows["killed: ping p99 / quiet p99"], {"measured": 1.5})
        self.assertEqual(rows["login, CPU ms"], {"measured": 4.0})
        self.assertIn("| all clients: refused | 1.00 | ≤ 0, **missed** |", crowds.storms_section(found).markdown({}))

    def test_big_rooms(self) -> None:
        found = bigroom.Case(5000, 76.0, 26.0, 5.0, 11.0, 2**20, 9.0, [1.0, 5.0], [2.0, 30.0])
        results = crowds.big_rooms_section([found]).results()
        self.assertEqual(results["pings"]["5000, occupants leave and come"]["longest"], 30.0)
        self.assertEqual(results["cost"]["5000"]["MiB"], 1.0)

    def test_rooms_of_twice_as_many(self) -> None:
        half = bigroom.Case(2500, 80.0, 20.0, 5.0, 10.0, 2**20, 9.0, [1.0], [2.0])
        whole = half._replace(occupants=5000, first=160.0, further=22.0)
        section = crowds.big_rooms_section([half, whole])
        doubled = section.results()["doubled"]["2500 to 5000"]
        self.assertEqual((doubled["first"], doubled["further"], doubled["forked"]), (2.0, 1.1, 1.0))
        self.assertIn("| 2500 to 5000 | 2.00 | ≤ 1.5, **missed** | 1.10 | ≤ 1.5, met |", section.markdown({}))
        self.assertEqual(crowds.big_rooms_section([half]).results()["doubled"], {})


class ClusterTests(SynchronousTestCase):
    """Several processes."""

    def test_two_beside_one(self) -> None:
        cases = {
            cluster.SQLITE: case(40, proxy0=40.0, server=1.0),
            cluster.NODE: case(40, proxy0=45.0, server=1.0, database=10.0),
            cluster.NODES: case(40, proxy0=25.0, proxy1=25.0, server=1.0, database=12.0),
        }
        halves = {name: cases[name] for name in (cluster.NODE, cluster.NODES)}
        section = cluster_report.capacity_section(cluster.Ways(cases, halves))
        found = section.results()
        self.assertEqual(found["two"]["by CPU"], {cluster_report.TIMES: 1.8})
        self.assertEqual(found["capacity"]["two of a cluster, half a core each"]["proxies"], 50.0)
        self.assertNotIn("database", found["capacity"]["alone, SQLite"])
        self.assertIn("| measured, half a core each | 1.00 | ≥ 1.7, **missed** |", section.markdown({}))
        without = cluster_report.capacity_section(cluster.Ways(cases, {})).results()
        self.assertEqual(list(without["two"]), ["measured, together", "by CPU"])

    def test_the_way_through_another_process(self) -> None:
        cases = {
            cluster.DIRECT: case(10, holder=30.0, edge=0.0),
            cluster.SOCKET: case(10, holder=29.0, edge=7.0),
            cluster.TLS: case(10, holder=37.0, edge=8.0),
        }
        section = cluster_report.hop_section(cases)
        rows = section.results()["hop"]
        self.assertEqual(rows["one in flight, by a UNIX socket"]["added there"], -1.0)
        self.assertNotIn("added there", rows["one in flight, to the holder"])
        self.assertIn("| by TLS | 37.0 | 7.0 | ≤ 6, **missed** | 8.0 |", section.markdown({}))
        self.assertEqual(section.results()["hop latency"]["by TLS"]["added p99"], 0.0)

    def test_a_process_is_over(self) -> None:
        found = failover.Case("killed", 1500, 24.0, 30000, 1, 10, 9.0, (5.0, 1.0, 9.0))
        text = cluster_report.failover_section([found]).markdown({})
        self.assertIn(
            "| killed | 1500 | 24.0 | ≤ 25, met | 5.0 | 1.0 | 9.0 | 9.0 | 30000 | 1 | ≤ 0, **missed** |", text
        )
