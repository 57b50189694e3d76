"""The primary is lost, and a replica takes its place: what was told is there, and the proxy goes on."""

from sqlalchemy.engine import make_url

from minimixproxy.storage.durability import LONGEST_RETRY
from tests.storage import postgresql
from tests.storage.cases import BARE, MEMBERSHIP, ROOM
from tests.storage.clustered import ClusterTestCase


class FailoverTests(ClusterTestCase):
    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.primary = postgresql.Cluster()
        self.addCleanup(self.primary.stop)
        name = make_url(self.primary.database()).database
        self.replica = postgresql.Cluster(self.primary)
        self.addCleanup(self.replica.stop)
        with self.primary.connect("postgres") as connection:  # a commit is on both; the replica asks for nobody
            connection.autocommit = True
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.execute("SELECT pg_reload_conf()")
        hosts = "&".join(f"host={one.directory}:{one.port}" for one in (self.primary, self.replica))
        self.state = f"postgresql://tests@/{name}?{hosts}&target_session_attrs=read-write"

    def test_nothing_is_lost(self) -> None:
        one = self.process()
        one.adopted()
        one.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        kept = one.keep(3)
        one.deliver(b"before")
        one.turn()
        self.assertEqual(one.given, [b"before"])
        self.primary.stop()
        kept += one.keep()
        one.deliver(b"meanwhile")
        one.turn()
        self.assertEqual(one.given, [b"before"], "it is on no disk")
        self.replica.promote()
        one.clock.advance(LONGEST_RETRY)
        self.assertEqual((one.given, one.lost), ([b"before", b"meanwhile"], []))
        one.end()
        account = self.process().adopted()
        assert account is not None
        self.assertEqual(account.rooms[0].messages, kept)
