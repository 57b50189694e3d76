"""Which process of a cluster has a domain of client_proxy: on PostgreSQL."""

from threading import Thread

from minimixproxy.storage.domain_leases import DomainLeases
from minimixproxy.storage.lease import HeldByAnother
from minimixproxy.storage.leases import Holder
from tests.storage.cases import BARE
from tests.storage.clustered import ClusterTestCase, Process

DOMAIN = "proxy.example.org"


def domains(process: Process) -> DomainLeases:
    return DomainLeases(process.leases, process.lease.number)


class DomainLeasesTests(ClusterTestCase):
    def number(self, holder: Holder | None) -> int:
        assert holder is not None
        return holder.number

    def test_one_has_it_and_the_others_are_told(self) -> None:
        one, other = self.process(), self.process()
        self.assertIsNone(domains(one).holder(DOMAIN))
        found = domains(one).hold(DOMAIN)
        self.assertEqual((found.number, found.name, found.address), (one.lease.number, "node-1", "node-1:5270"))
        for asked in (domains(other).hold, domains(other).holder, domains(one).hold, domains(one).holder):
            self.assertEqual(asked(DOMAIN), found)

    def test_each_domain_by_itself(self) -> None:
        one, other = self.process(), self.process()
        domains(one).hold(DOMAIN)
        self.assertEqual(domains(other).hold("other.example.org").number, other.lease.number)

    def test_let_go(self) -> None:
        one, other = self.process(), self.process()
        domains(one).hold(DOMAIN)
        domains(other).release(DOMAIN)
        self.assertEqual(self.number(domains(other).holder(DOMAIN)), one.lease.number, "it is not the other one's")
        domains(one).release(DOMAIN)
        self.assertIsNone(domains(other).holder(DOMAIN))
        self.assertEqual(domains(other).hold(DOMAIN).number, other.lease.number)

    def test_free_with_its_process(self) -> None:
        """When that has ended in order, or is noted as over: not before."""
        one, other, third = self.process(), self.process(), self.process()
        domains(one).hold(DOMAIN)
        self.time_out(one)
        self.assertEqual(domains(other).hold(DOMAIN).number, one.lease.number)
        other.leases.survey(thorough=False)
        self.assertIsNone(domains(third).holder(DOMAIN))
        self.assertEqual(domains(other).hold(DOMAIN).number, other.lease.number)
        for asked in (domains(one).hold, domains(one).holder, domains(one).release):
            self.assertRaises(HeldByAnother, asked, DOMAIN)
        other.end()
        self.assertEqual(domains(third).hold(DOMAIN).number, third.lease.number)

    def test_of_two_only_one_takes_it(self) -> None:
        """Who comes second waits for the first one, and is told of it, though it saw the domain free."""
        for former in (None, self.process()):
            if former is not None:
                domains(former).hold(DOMAIN)
                former.end()
            one, other = self.process(), self.process()
            found: list[Holder] = []
            second = Thread(target=lambda: found.append(domains(other).hold(DOMAIN)))  # noqa: B023 (joined here)
            with one.database.engine.connect() as connection, connection.begin():
                taken = domains(one)._hold(connection, DOMAIN)
                self.assertEqual(taken.number, one.lease.number)
                second.start()
                while second.is_alive() and not self.execute("SELECT FROM pg_locks WHERE NOT granted"):
                    pass
            second.join()
            self.assertEqual(found, [taken])
            one.end()
            other.end()

    def test_it_is_no_account(self) -> None:
        one, other = self.process(), self.process()
        domains(one).hold(DOMAIN)
        one.adopted()
        one.end()
        self.assertEqual(other.leases.survey(thorough=True).orphans, [BARE])
        self.assertIsNone(other.leases.find(DOMAIN))

    def test_a_cluster_is_one_proxy_again(self) -> None:
        one = self.process()
        domains(one).hold(DOMAIN)
        one.end()
        self.lab()
        self.assertEqual(self.execute("SELECT * FROM components"), [])
