"""The database of a cluster is moved: its processes begin anew with the other one."""

from minimixproxy.storage.database import Database
from minimixproxy.storage.moving import move
from tests.storage.cases import BARE, MEMBERSHIP, ROOM
from tests.storage.clustered import ClusterTestCase


class MovedClusterTests(ClusterTestCase):
    def test_from_one_postgresql_to_another(self) -> None:
        """Numbers of processes are given anew there, and none that a row has already."""
        for _ in range(3):
            one = self.process()
            one.adopted()
            one.journal.room(BARE, ROOM).membership(MEMBERSHIP)
            one.turn()
            one.end()
        target = self.new_state()
        move(Database(self.state), Database(target), "minimix.other")
        self.state = target
        again = self.process()
        account = again.adopted()
        assert account is not None
        self.assertEqual([room.membership for room in account.rooms], [MEMBERSHIP])
