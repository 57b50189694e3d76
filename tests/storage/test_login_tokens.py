"""The tokens of devices are there after a restart, sealed, until they expire, are withdrawn, or the account goes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from twisted.logger import capturedLogs, formatEvent

from minimixproxy.sasl.tokens import Device, Token
from minimixproxy.storage import login_tokens
from minimixproxy.storage.login_tokens import LoginTokens
from tests.storage.cases import BARE, StorageTestCase, on_both_databases

OTHER = "ölaf@example.org"
NOW = 0.0
PHONE, LAPTOP = Device("phone-id", "Söftware, Pixel", NOW - 9), Device("laptop-id", "", NOW - 5)
USED = Token("secret-of-the-token", "HT-SHA-256-NONE", b"\0keys", PHONE.issued, NOW + 3600, 7)
NEXT = USED._replace(secret="next", mechanism="HT-SHA-256-EXPR", issued=NOW, counted=2**60)


@on_both_databases
class LoginTokensTests(StorageTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.now = self.lab()

    @property
    def tokens(self) -> LoginTokens:
        return self.now.journal.login_tokens

    def then(self) -> LoginTokens:
        """What is there after the turn and a crash."""
        self.now.turn()
        self.now = self.again(self.now)
        return self.tokens

    def rows(self) -> int:
        self.now.turn()
        count: int = self.execute("SELECT count(*) FROM login_tokens")[0][0]
        return count

    def test_put(self) -> None:
        self.tokens.put(BARE, PHONE, (USED, NEXT))
        self.tokens.put(BARE, LAPTOP, (USED,))
        self.tokens.put(OTHER, PHONE, (NEXT,))
        for tokens in (self.tokens, self.then()):
            self.assertEqual(tokens.of(BARE, PHONE.id), (USED, NEXT))
            self.assertEqual(tokens.of(BARE, LAPTOP.id), (USED,))
            self.assertEqual(tokens.of(OTHER, PHONE.id), (NEXT,))
            self.assertEqual(tokens.of(OTHER, LAPTOP.id), ())
            self.assertEqual({device.id for device in tokens.devices(BARE)}, {PHONE.id, LAPTOP.id})
        names = {device.software for device in self.tokens.devices(BARE)}
        self.assertEqual(names, {PHONE.software, LAPTOP.software})

    def test_sealed(self) -> None:
        self.tokens.put(BARE, PHONE, (USED,))
        self.now.turn()
        self.assertNotIn(USED.secret.encode(), bytes(self.execute("SELECT secret FROM login_tokens")[0][0]))

    def test_others_in_their_place(self) -> None:
        for tokens in ((USED,), (USED, NEXT), (NEXT,), ()):
            self.tokens.put(BARE, PHONE, tokens)
            self.assertEqual(self.then().of(BARE, PHONE.id), tokens)
            self.assertEqual(self.rows(), len(tokens))

    def test_withdrawn(self) -> None:
        for device in (PHONE, LAPTOP):
            self.tokens.put(BARE, device, (USED,))
        self.tokens.put(OTHER, PHONE, (USED,))
        self.tokens.withdraw(BARE, "unknown")
        self.tokens.withdraw(BARE, PHONE.id)
        self.assertEqual([device.id for device in self.then().devices(BARE)], [LAPTOP.id])
        self.tokens.withdraw(BARE)
        self.assertEqual(self.then().devices(BARE), [])
        self.assertEqual(self.rows(), 1)

    def test_let_go(self) -> None:
        """The account is another process's: what is known here may be withdrawn there."""
        self.tokens.put(BARE, PHONE, (USED,))
        self.tokens.let_go(BARE)
        self.tokens.let_go(OTHER)
        self.assertEqual((self.tokens.of(BARE, PHONE.id), self.rows()), ((), 1))

    def test_withdrawn_by_the_account(self) -> None:
        for device in (PHONE, LAPTOP):
            self.tokens.put(BARE, device, (USED,))
        self.now.journal.tokens_withdrawn(BARE, PHONE.id)
        for _ in range(2):
            self.assertEqual([device.id for device in self.now.journal.token_devices(BARE)], [LAPTOP.id])
            self.then()

    def test_within_one_batch(self) -> None:
        self.tokens.put(BARE, PHONE, (USED, NEXT))
        self.tokens.withdraw(BARE, PHONE.id)
        self.tokens.put(BARE, PHONE, (NEXT,))
        self.assertEqual(self.then().of(BARE, PHONE.id), (NEXT,))

    def test_forgotten(self) -> None:
        self.tokens.put(BARE, PHONE, (USED,))
        self.now.turn()
        self.assertTrue(self.now.journal.account_forgotten(BARE))
        self.assertEqual(self.rows(), 0)
        self.assertFalse(self.now.journal.account_forgotten(BARE))

    def test_expired(self) -> None:
        self.tokens.put(BARE, PHONE, (USED._replace(expires=NOW - 1), NEXT))
        self.tokens.put(BARE, LAPTOP, (USED._replace(expires=NOW - 1),))
        self.assertEqual([device.id for device in self.then().devices(BARE)], [PHONE.id])
        self.assertEqual(self.rows(), 2)

    def test_expired_meanwhile(self) -> None:
        """It is shown no more, and goes when others are put, from wherever it is: nothing else would make room."""
        for number in range(5):
            self.tokens.put(f"{number}@example.org", PHONE, (USED._replace(expires=NOW + 9),))
        self.tokens.put(BARE, LAPTOP, (USED,))
        self.now.clock.advance(9)
        self.assertEqual(self.tokens.devices("0@example.org"), [])
        self.assertEqual(self.rows(), 6)
        with patch.object(login_tokens, "MAX_ACCOUNTS", 6):
            for number in range(4):
                self.tokens.put(BARE, LAPTOP, (USED._replace(counted=10 + number),))
            self.tokens.put(OTHER, PHONE, (USED,))
        self.assertEqual((self.tokens.of(OTHER, PHONE.id), self.rows()), ((USED,), 2))

    def test_nothing_is_written_for_what_is_there(self) -> None:
        """Most logins by a token leave it as it is."""
        self.tokens.put(BARE, PHONE, (USED, NEXT))
        self.now.turn()
        self.tokens.put(BARE, PHONE, (USED, NEXT))
        self.assertIsNone(self.now.journal.gathering.batch)

    def test_while_nothing_can_be_written(self) -> None:
        """A device that logs in again and again takes no more room for it."""
        for number in range(100):
            self.tokens.put(BARE, PHONE, (USED._replace(counted=number),))
        batch = self.now.journal.gathering.batch
        assert batch is not None
        self.assertEqual((len(batch.gone_tokens), len(batch.login_tokens)), (1, 1))

    def test_as_many_as_may_be(self) -> None:
        for number in range(login_tokens.MAX_DEVICES + 1):
            self.tokens.put(BARE, Device(f"d{number}", "", NOW + number), (USED,))
        self.assertEqual(self.tokens.of(BARE, "d0"), ())
        self.assertEqual(len(self.tokens.devices(BARE)), login_tokens.MAX_DEVICES)
        with patch.object(login_tokens, "MAX_ACCOUNTS", 1):
            self.tokens.put(OTHER, PHONE, (USED,))
            self.tokens.put(BARE, PHONE, (USED,))
        self.assertEqual((self.tokens.of(OTHER, PHONE.id), self.tokens.of(BARE, PHONE.id)), ((), (USED,)))

    def test_damaged_rows(self) -> None:
        """Each costs that token, and goes with the account."""
        for change in (
            "secret = CAST('x' AS {blob})",
            "mechanism = 'HT-MD5-NONE'",
            "device = 'other'",
        ):
            self.tokens.put(BARE, PHONE, (USED,))
            self.now.turn()
            blob = "BYTEA" if self.now.database.engine.dialect.name == "postgresql" else "BLOB"
            self.execute(f"UPDATE login_tokens SET {change.format(blob=blob)}")
            tokens = self.then()
            self.assertEqual((tokens.of(BARE, PHONE.id), tokens.of(BARE, "other")), ((), ()), change)
            self.assertEqual(tokens.devices(BARE), [])
            self.now.journal.account_forgotten(BARE)
            self.assertEqual(self.rows(), 0, change)


class DamagedTokensTests(StorageTestCase):
    """A token that cannot be read is none: its device logs in otherwise. The others are there."""

    def test_each_column(self) -> None:
        lab = self.lab()
        lab.journal.login_tokens.put(BARE, PHONE, (USED,))
        lab.journal.login_tokens.put(BARE, LAPTOP, (USED,))
        lab.turn()
        lab.crash()
        whole = Path(self.state).read_bytes()
        for column, values in {
            "software": ("x'00'",),
            "mechanism": ("'HT-MD5-NONE'", "x'00'"),
            "secret": ("x'00'", "'text'", "5"),
            "keys": ("'text'", "5"),
            "issued": ("'text'", "x'00'"),
            "expires": ("'text'", "x'00'"),
            "count": ("'text'", "x'00'", "0.5"),
            "device": ("x'00'",),
        }.items():
            for value in values:
                for path in self.directory.glob("state.sqlite*"):
                    path.unlink()
                Path(self.state).write_bytes(whole)
                with closing(sqlite3.connect(self.state)) as connection, connection:
                    connection.execute(f"UPDATE login_tokens SET {column} = {value} WHERE device = '{PHONE.id}'")
                with capturedLogs() as events:
                    lab = self.lab()
                tokens = lab.journal.login_tokens
                case = f"{column} = {value}"
                self.assertEqual((tokens.of(BARE, PHONE.id), tokens.of(BARE, LAPTOP.id)), ((), (USED,)), case)
                told = [str(formatEvent(event)) for event in events]
                self.assertEqual(["of login_tokens is left out: " in line for line in told], [True], (case, told))
                lab.crash()
