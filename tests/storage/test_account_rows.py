"""What is known of accounts that have no row yet."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.journal import KeptPush
from minimixproxy.storage.account_rows import AccountRows
from minimixproxy.storage.bodies import UnsharedBodies
from minimixproxy.storage.gate import Gate
from minimixproxy.storage.gathering import Gathering
from minimixproxy.storage.sealing import Sealer
from minimixproxy.timing.turn_end import TurnEnd

BARE = "alice@example.org"


class LetGoTests(SynchronousTestCase):
    def test_nothing_stays_behind(self) -> None:
        """When the account comes back, another process knows better what its devices have done."""
        gathering = Gathering(Gate(TurnEnd(Clock())), lambda _batch: None)
        rows = AccountRows(gathering, Sealer(b"k" * 32), (), UnsharedBodies(), 0)
        for let_go, expected in ((False, (True, 1)), (True, (False, 0))):
            rows.push_enabled(BARE, (KeptPush("phone", "push.test", "n"),))
            rows.acknowledged(BARE, "phone", 7)
            if let_go:
                rows.let_go(BARE)
            rows.kept(BARE, None, 1.0)
            batch = gathering.close()
            ((*_columns, push),) = batch.accounts.values()
            self.assertEqual((push is not None, len(batch.acknowledged)), expected)
            rows.let_go(BARE)
