"""Which accounts the operator has blocked is known after a crash, whatever else is kept of them."""

from __future__ import annotations

from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.storage import blocked_accounts
from minimixproxy.storage.blocked_accounts import Block, BlockedAccounts
from tests.storage.cases import BARE, StorageTestCase, on_both_databases

OTHER = "ölaf@example.org"
LOGIN = KeptLogin("example.org", "alice", "SHA-256", b"salt", 10_000, b"client", b"server")


@on_both_databases
class BlockedAccountsTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()

    @property
    def blocked(self) -> BlockedAccounts:
        return self.now.journal.blocked

    def then(self) -> BlockedAccounts:
        """What is there after the turn and a crash."""
        self.now.turn()
        self.now = self.again(self.now)
        return self.blocked

    def test_nobody(self) -> None:
        self.assertEqual(list(self.then()), [])
        self.assertFalse(self.blocked.withdraw(BARE))
        self.assertIsNone(self.now.journal.gathering.batch)

    def test_put_and_withdrawn(self) -> None:
        self.assertTrue(self.blocked.put(OTHER, 5.5, "a note: ü"))
        self.assertTrue(self.blocked.put(BARE, 6.0, ""))
        self.assertFalse(self.blocked.put(BARE, 7.0, "again"))
        kept = [(BARE, Block(7.0, "again")), (OTHER, Block(5.5, "a note: ü"))]
        self.assertEqual((list(self.blocked), len(self.blocked)), (kept, 2))
        self.assertEqual(list(self.then()), kept)
        self.assertTrue(BARE in self.blocked and "nobody@example.org" not in self.blocked)
        self.assertTrue(self.blocked.withdraw(BARE))
        self.assertEqual([bare for bare, _block in self.then()], [OTHER])

    def test_the_last_word_of_a_turn_counts(self) -> None:
        self.blocked.put(BARE, 1.0, "")
        self.blocked.withdraw(BARE)
        self.blocked.withdraw(OTHER)
        self.blocked.put(OTHER, 2.0, "")
        self.assertEqual([bare for bare, _block in self.then()], [OTHER])

    def test_it_outlives_the_account(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.blocked.put(BARE, 1.0, "")
        self.now.journal.account_forgotten(BARE)
        self.assertIn(BARE, self.then())

    def test_a_damaged_note_blocks_all_the_same(self) -> None:
        self.blocked.put(BARE, 1.0, "note")
        self.now.turn()
        if self.now.database.sqlite:
            self.execute("UPDATE blocked SET since = 'then', reason = x'00ff'")
            self.assertEqual(list(self.then()), [(BARE, Block(0.0, ""))])

    def test_bound(self) -> None:
        self.patch(blocked_accounts, "MAX_ACCOUNTS", 1)
        self.assertFalse(self.blocked.full)
        self.blocked.put(BARE, 1.0, "")
        self.assertTrue(self.blocked.full)
