"""The primary is lost, and a replica takes its place: what was told is there, and the proxy goes on."""

from sqlalchemy.engine import make_url

from minimixproxy.storage.durability import LONGEST_RETRY
from tests.storage.cases import BARE, MEMBERSHIP, ROOM
from tests.storage.clustered import ClusterTestCase
from tests.storage.replicated import Replicated


class FailoverTests(ClusterTestCase):
    timeout = 120

    def setUp(self) -> None:
        super().setUp()
        self.pair = Replicated()
        self.addCleanup(self.pair.stop)
        name = make_url(self.pair.primary.database()).database
        hosts = "&".join(f"host={one.directory}:{one.port}" for one in (self.pair.primary, self.pair.replica))
        self.state = f"postgresql://tests@/{name}?{hosts}&target_session_attrs=read-write"

    def test_nothing_is_lost(self) -> None:
        one = self.process()
        one.adopted()
        one.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        kept = one.keep(3)
        one.deliver(b"before")
        one.turn()
        self.assertEqual(one.given, [b"before"])
        self.pair.primary.stop()
        kept += one.keep()
        one.deliver(b"meanwhile")
        one.turn()
        self.assertEqual(one.given, [b"before"], "it is on no disk")
        self.pair.promote()
        one.clock.advance(LONGEST_RETRY)
        self.assertEqual((one.given, one.lost), ([b"before", b"meanwhile"], []))
        one.end()
        account = self.process().adopted()
        assert account is not None
        self.assertEqual(account.rooms[0].messages, kept)

    def test_there_and_back(self) -> None:
        """The former primary has become the replica, and takes its place again."""
        one = self.process()
        one.adopted()
        one.journal.room(BARE, ROOM).membership(MEMBERSHIP)
        kept = one.keep()
        for _ in range(2):
            self.pair.primary.stop()
            kept += one.keep()
            one.turn()
            self.pair.promote()
            one.clock.advance(LONGEST_RETRY)
            self.pair.repair()
        self.assertEqual(one.lost, [])
        one.end()
        account = self.process().adopted()
        assert account is not None
        self.assertEqual(account.rooms[0].messages, kept)
