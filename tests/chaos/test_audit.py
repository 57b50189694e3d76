"""The triggers by which a chaos run knows who had which account when, and who wrote, in a real database."""

import psycopg

from chaos.audit import Audit
from tests.storage.cases import BARE
from tests.storage.clustered import ClusterTestCase, Process


class AuditTests(ClusterTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.one = self.process_as("node-0.1")
        self.audit = Audit(lambda: psycopg.connect(str(self.state)))
        self.audit.install()

    def process_as(self, program: str) -> Process:
        """A process that tells the database this name."""
        name = program.partition(".")[0]
        process = Process(f"{self.state}&application_name={program}", name)
        self.processes.append(process)
        return process

    def write(self, process: Process) -> None:
        process.keep()
        process.turn()

    def test_one_after_the_other(self) -> None:
        """What the first had not marked as given out may come twice."""
        other = self.process_as("node-1.1")
        self.one.adopted()
        self.write(self.one)
        self.one.deliver(b"given")
        self.time_out(self.one)
        other.leases.survey(thorough=False)
        other.adopted()
        self.write(other)
        self.assertEqual(self.audit.wrong(), [])
        self.assertEqual(len(self.audit.twice(BARE)), 1)
        self.assertIn("2 processes; 2 times an account had another holder", self.audit.summary())

    def test_an_old_one_writes(self) -> None:
        other = self.process_as("node-1.1")
        self.one.adopted()
        self.write(self.one)
        self.time_out(self.one)
        other.leases.survey(thorough=False)
        other.adopted()
        with psycopg.connect(f"{self.state}&application_name=node-0.1") as connection:
            connection.execute("UPDATE accounts SET last_seen = 1")
        (fault,) = self.audit.wrong()
        self.assertIn(f"{self.one.lease.number} wrote accounts of {BARE} without having it", fault)

    def test_taken_from_who_lives(self) -> None:
        other = self.process_as("node-1.1")
        self.one.adopted()
        self.execute("UPDATE leases SET holder = %s, epoch = nextval('epochs')", other.lease.number)
        (fault,) = self.audit.wrong()
        self.assertIn("which was not over", fault)

    def test_ended_before_its_time(self) -> None:
        self.process_as("node-1.1")
        self.execute("UPDATE holders SET ended = true WHERE name = 'node-1'")
        (fault,) = self.audit.wrong()
        self.assertIn("was ended by", fault)
        self.execute("UPDATE holders SET expires = expires + 1 WHERE name = 'node-1'")
        self.assertIn("was written for when it had ended", " ".join(self.audit.wrong()))
