"""The keys that accounts were enrolled with are there after a restart, sealed, for as long as the account is known."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent

from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.sasl.keys import Keys
from minimixproxy.storage import login_keys
from minimixproxy.storage.login_keys import LoginKeys
from tests.storage.cases import BARE, StorageTestCase, on_both_databases

WHOLE = Keys("sha256", b"\0salt", 10_000, b"\xffstored", b"\xfeserver", b"\xfdclient")
IMPORTED = Keys("sha1", b"tlas", 4096, b"stored-1", b"server-1")
OTHER = "ölaf@example.org"
LOGIN = KeptLogin("example.org", "alice", "SHA-256", b"salt", 10_000, b"client", b"server")
BLOB = "x'00'"
NO_TEXT = "CAST(x'ff41' AS TEXT)"


@on_both_databases
class LoginKeysTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()

    @property
    def keys(self) -> LoginKeys:
        return self.now.journal.login_keys

    def then(self) -> LoginKeys:
        """What is there after the turn and a crash."""
        self.now.turn()
        self.now = self.again(self.now)
        return self.keys

    def rows(self) -> int:
        self.now.turn()
        count: int = self.execute("SELECT count(*) FROM login_keys")[0][0]
        return count

    def test_nobody(self) -> None:
        self.assertEqual((self.then().of(BARE), len(self.keys)), ((), 0))
        self.assertFalse(self.keys.withdraw(BARE))
        self.assertIsNone(self.now.journal.gathering.batch)

    def test_put(self) -> None:
        self.assertTrue(self.keys.put(BARE, [WHOLE, IMPORTED]))
        self.assertTrue(self.keys.put(OTHER, iter([IMPORTED])))
        self.assertEqual(self.keys.of(BARE), (WHOLE, IMPORTED))
        self.assertEqual(set(self.then().of(BARE)), {WHOLE, IMPORTED})
        self.assertEqual((self.keys.of(OTHER), len(self.keys)), ((IMPORTED,), 2))

    def test_they_are_the_only_ones(self) -> None:
        for turn in (self.then, lambda: self.keys):
            for keys in ([WHOLE, IMPORTED], [WHOLE], [IMPORTED, WHOLE._replace(salt=b"other")]):
                self.keys.put(BARE, keys)
                self.assertEqual(set(turn().of(BARE)), set(keys))
        self.assertEqual(set(self.then().of(BARE)), {IMPORTED, WHOLE._replace(salt=b"other")})

    def test_the_same_again_is_not_written(self) -> None:
        self.keys.put(BARE, [IMPORTED])
        self.now.turn()
        self.keys.put(BARE, [IMPORTED])
        self.assertIsNone(self.now.journal.gathering.batch)

    def test_completed(self) -> None:
        self.keys.put(BARE, [IMPORTED])
        self.then()
        self.keys.put(BARE, [IMPORTED._replace(client_key=b"client")])
        self.assertEqual(self.then().of(BARE), (IMPORTED._replace(client_key=b"client"),))

    def test_withdrawn(self) -> None:
        self.keys.put(OTHER, [WHOLE])
        for turn in (self.then, lambda: self.keys):
            self.keys.put(BARE, [WHOLE, IMPORTED])
            turn()
            self.assertTrue(self.keys.withdraw(BARE))
            self.assertEqual((self.keys.of(BARE), self.then().of(BARE), self.rows()), ((), (), 1))
        self.assertEqual(self.keys.of(OTHER), (WHOLE,))

    def test_withdrawn_and_put_at_once(self) -> None:
        self.keys.put(BARE, [WHOLE])
        self.then()
        self.keys.withdraw(BARE)
        self.keys.put(BARE, [IMPORTED])
        self.assertEqual((self.then().of(BARE), self.rows()), ((IMPORTED,), 1))

    def test_forgotten_with_the_account(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.keys.put(BARE, [WHOLE, IMPORTED])
        self.then()
        self.assertTrue(self.now.journal.account_forgotten(BARE))
        self.assertEqual((self.then().of(BARE), self.rows(), self.now.kept), ((), 0, []))

    def test_forgotten_without_an_account(self) -> None:
        self.keys.put(BARE, [IMPORTED])
        self.then()
        self.assertTrue(self.now.journal.account_forgotten(BARE))
        batch = self.now.journal.gathering.batch
        assert batch is not None
        self.assertTrue(batch.erases and batch.leaves_copies, "nothing of it may be left in the file")
        self.assertFalse(self.now.journal.account_forgotten(BARE))
        self.assertEqual((self.then().of(BARE), self.rows()), ((), 0))

    def test_they_outlive_an_account_that_nobody_needs(self) -> None:
        self.now.journal.account_kept(BARE, LOGIN, 1.0)
        self.keys.put(BARE, [IMPORTED])
        self.now.journal.account_expired(BARE)
        self.assertEqual((self.then().of(BARE), self.now.kept), ((IMPORTED,), []))

    def test_sealed(self) -> None:
        """Each for its row: moved to another account, hash or column they cannot be opened."""
        keys = Keys("sha256", b"salt", 10_000, b"a-stored-key", b"a-server-key", b"a-client-key")
        self.keys.put(BARE, [keys])
        self.keys.put(OTHER, [keys])
        self.now.turn()
        row = self.execute("SELECT stored_key, server_key, client_key FROM login_keys")[0]
        self.assertFalse(any(b"-key" in bytes(sealed) for sealed in row))
        for change in ("stored_key = server_key", "hash_name = 'sha1'", f"bare = 'bob{BARE}'"):
            self.execute(f"UPDATE login_keys SET {change} WHERE bare = '{BARE}'")
            self.assertEqual((self.then().of(BARE), self.keys.of(f"bob{BARE}")), ((), ()), change)
            self.keys.put(BARE, [keys])
            self.now.turn()
        self.assertEqual(self.keys.of(OTHER), (keys,))

    def test_bounds(self) -> None:
        self.patch(login_keys, "MAX_ACCOUNTS", 2)
        names = ("bob@example.org", OTHER, BARE)
        with capturedLogs() as events:
            self.assertEqual([self.keys.put(bare, [IMPORTED]) for bare in names], [True, True, False])
        self.assertEqual(
            [formatEvent(event) for event in events],
            [f"the keys of {BARE} are not kept: there are those of 2 accounts already"],
        )
        self.assertTrue(self.keys.put(OTHER, [WHOLE]), "who has a place keeps it")
        self.assertEqual(set(self.keys.of(OTHER) + self.keys.of(BARE)), {WHOLE})
        self.keys.withdraw(OTHER)
        self.assertTrue(self.keys.put(BARE, [WHOLE._replace(hash_name=str(number)) for number in range(10)]))
        self.assertEqual(len(self.keys.of(BARE)), login_keys.MAX_HASHES)


#: Faults of one column each.
FAULTS = {
    "hash_name": ("'md5'", "''", BLOB, NO_TEXT),
    "salt": ("'salt'", "5"),
    "iterations": ("'many'", BLOB, "1.5"),
    "stored_key": ("'key'", "7", BLOB, "zeroblob(64)"),
    "server_key": ("'key'", "7", BLOB, "zeroblob(64)"),
    "client_key": ("'key'", "7", BLOB, "zeroblob(64)"),
}


class DamagedKeysTests(StorageTestCase):
    """A row that cannot be used costs itself; it stays, and is forgotten with the account."""

    def setUp(self) -> None:
        super().setUp()
        lab = self.lab()
        lab.journal.login_keys.put(BARE, [WHOLE, IMPORTED])
        lab.journal.login_keys.put(OTHER, [WHOLE])
        lab.turn()
        lab.crash()
        self.whole = Path(self.state).read_bytes()

    def damaged(self, column: str, value: str) -> tuple[LoginKeys, list[str]]:
        for path in self.directory.glob("state.sqlite*"):
            path.unlink()
        Path(self.state).write_bytes(self.whole)
        where = f"bare = '{BARE}' AND hash_name = 'sha256'"
        with closing(sqlite3.connect(self.state)) as connection, connection:
            connection.execute(f"UPDATE login_keys SET {column} = {value} WHERE {where}")
        with capturedLogs() as events:
            self.now = self.lab()
        return self.now.journal.login_keys, [str(formatEvent(event)) for event in events]

    def rows(self, bares: Iterable[str] = (BARE, OTHER)) -> dict[str, int]:
        counts = dict(self.execute("SELECT bare, count(*) FROM login_keys GROUP BY bare"))
        self.assertEqual(set(counts) - set(bares), set())
        return counts

    def test_keys(self) -> None:
        for column, values in FAULTS.items():
            for value in values:
                keys, told = self.damaged(column, value)
                case = f"{column} = {value}"
                self.assertEqual((keys.of(BARE), keys.of(OTHER), len(told)), ((IMPORTED,), (WHOLE,), 1), case)
                self.assertIn(f"row {BARE} of login_keys is left out: ", told[0])
                self.assertEqual(self.rows(), {BARE: 2, OTHER: 1}, case)
                self.now.journal.account_forgotten(BARE)
                self.now.turn()
                self.assertEqual(self.rows(), {OTHER: 1}, case)
                self.now.crash()

    def test_nothing_of_an_account_is_usable(self) -> None:
        keys, _told = self.damaged("salt", "5")
        keys.put(BARE, [WHOLE])
        self.now.turn()
        self.assertEqual((keys.of(BARE), self.rows()), ((WHOLE,), {BARE: 1, OTHER: 1}))
        self.now.crash()

    def test_of_nobody(self) -> None:
        """They go: nobody could ask to have them forgotten."""
        for value in ("''", BLOB, NO_TEXT):
            keys, told = self.damaged("bare", value)
            self.assertEqual((set(keys.of(BARE)), keys.of(OTHER)), ({IMPORTED}, (WHOLE,)), value)
            self.assertEqual((len(told), self.rows()), (1, {BARE: 1, OTHER: 1}), value)
            self.now.crash()
