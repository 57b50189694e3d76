"""SQL databases of Prosody's and ejabberd's: what is good in them is found, whatever else is there."""

from __future__ import annotations

import sqlite3
import sys
from base64 import b64encode
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.trial import unittest

from minimixproxy.sasl.keys import Keys
from minimixproxy.server_stores import sql_tables
from minimixproxy.server_stores.records import Record, StoreError, Unusable
from minimixproxy.server_stores.sql_tables import read_database

STORED, SERVER = b"\x01" * 20, b"\x02" * 20
KEYS = Keys("sha1", b"salt", 10_000, STORED, SERVER)
SHA256 = Keys("sha256", b"pepper", 4096, b"\x03" * 32, b"\x04" * 32)
PROSODY = "CREATE TABLE prosody (host TEXT, user TEXT, store TEXT, key TEXT, type TEXT, value MEDIUMTEXT)"
OLD = """CREATE TABLE users (username text PRIMARY KEY, password text NOT NULL, serverkey text NOT NULL DEFAULT '',
    salt text NOT NULL DEFAULT '', iterationcount integer NOT NULL DEFAULT 0)"""
NEW = """CREATE TABLE users (username text NOT NULL, server_host text NOT NULL, type smallint, password text NOT NULL,
    serverkey text NOT NULL DEFAULT '', salt text NOT NULL DEFAULT '', iterationcount integer NOT NULL DEFAULT 0,
    PRIMARY KEY (server_host, username, type))"""
Found = tuple[list[Record], dict[str, str]]


def b64(value: bytes) -> str:
    return b64encode(value).decode()


def prosody_rows(user: str, host: str = "example.org", store: str = "accounts", **values: object) -> list[Any]:
    fields: dict[str, object] = {
        "salt": "salt",
        "iteration_count": "10000",
        "stored_key": STORED.hex(),
        "server_key": SERVER.hex(),
        **values,
    }
    return [(host, user, store, key, "string", value) for key, value in fields.items() if value is not None]


def scram(keys: Keys, prefix: str = "") -> tuple[str, str, str, int]:
    return prefix + b64(keys.stored_key), b64(keys.server_key), b64(keys.salt), keys.iterations


class SQLTest(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.file = Path(self.mktemp()).absolute()

    def write(self, *statements: str, rows: Iterable[tuple[Any, ...]] = (), table: str = "") -> None:
        with closing(sqlite3.connect(self.file)) as connection, connection:
            for statement in statements:
                connection.execute(statement)
            for row in rows:
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def found(self, url: str | None = None) -> Found:
        found = list(read_database(url or f"sqlite:///{self.file}"))
        faults = {one.what: one.why for one in found if isinstance(one, Unusable)}
        return sorted(one for one in found if isinstance(one, Record)), faults


class ProsodyTest(SQLTest):
    def put(self, *rows: list[Any]) -> None:
        self.write(PROSODY, rows=[row for some in rows for row in some], table="prosody")

    def test_accounts(self) -> None:
        password = [("example.org", "carol", "accounts", "password", "string", "päss")]
        self.put(
            prosody_rows("alice"),
            prosody_rows("bob", "other.example"),
            password,
            prosody_rows("alice", store="roster"),
            prosody_rows("dave", store="accounts_x"),
        )
        expected = [
            Record("alice", "example.org", (KEYS,)),
            Record("bob", "other.example", (KEYS,)),
            Record("carol", "example.org", password="päss"),
        ]
        self.assertEqual(self.found(), (expected, {}))

    def test_in_any_order(self) -> None:
        rows = [row for pair in zip(prosody_rows("alice"), prosody_rows("bob"), strict=True) for row in pair]
        self.put(rows)
        self.assertEqual(self.found()[0], [Record(name, "example.org", (KEYS,)) for name in ("alice", "bob")])

    def test_damaged(self) -> None:
        damages: dict[str, list[Any]] = {
            "few": prosody_rows("few", iteration_count="5"),
            "text": prosody_rows("text", iteration_count="many"),
            "nothing": prosody_rows("nothing", stored_key=None),
            "number": prosody_rows("number", stored_key=5),
            "blob": prosody_rows("blob", stored_key=b"\xff\xfe"),
            "null": [*prosody_rows("null"), ("example.org", "null", "accounts", "stored_key", "string", None)],
            "long": prosody_rows("long", more="x" * 5000),
            "more": prosody_rows("more", **{f"more{number}": "x" for number in range(1000)}),
            "rows": [("example.org", "rows", "accounts", str(n), "string", "x") for n in range(1000)],
            "": prosody_rows(""),
        }
        self.put(*damages.values(), prosody_rows("zoe"))
        found, faults = self.found()
        self.assertEqual([one.local for one in found], ["zoe"])
        self.assertEqual(set(faults), {f"{name}@example.org" for name in damages})

    def test_text_that_is_none(self) -> None:
        """SQLite holds anything as text."""
        self.put(prosody_rows("alice"), prosody_rows("zoe"))
        self.write("UPDATE prosody SET value = CAST(x'ff41' AS TEXT) WHERE user = 'alice' AND key = 'stored_key'")
        found, faults = self.found()
        self.assertEqual(([one.local for one in found], len(faults)), (["zoe"], 1))


class EjabberdTest(SQLTest):
    def test_old_schema(self) -> None:
        """It has no host, and the hash stands before the key."""
        rows = [
            ("alice", *scram(KEYS)),
            ("bob", *scram(SHA256, "sha256:")),
            ("carol", "päss", "", "", 0),
        ]
        self.write(OLD, rows=rows, table="users")
        expected = [
            Record("alice", None, (KEYS,)),
            Record("bob", None, (SHA256,)),
            Record("carol", None, password="päss"),
        ]
        self.assertEqual(self.found(), (expected, {}))

    def test_oldest_schema(self) -> None:
        self.write(
            "CREATE TABLE users (username text PRIMARY KEY, password text)", "INSERT INTO users VALUES ('a', 'b')"
        )
        self.assertEqual(self.found(), ([Record("a", None, password="b")], {}))

    def test_new_schema(self) -> None:
        """An account may have keys for several hashes, and a password beside them."""
        host = "example.org"
        rows = [
            ("alice", host, 2, *scram(KEYS)),
            ("alice", host, 3, *scram(SHA256)),
            ("alice", host, 1, "pencil", "", "", 0),
            ("alice", "other.example", 1, "pencil", "", "", 0),
            ("bob", host, 0, *scram(SHA256, "sha256:")),
            ("carol", host, 0, *scram(KEYS)),
            ("dave", host, None, *scram(KEYS)),
        ]
        self.write(NEW, rows=rows, table="users")
        expected = [
            Record("alice", host, (KEYS, SHA256)),
            Record("alice", "other.example", password="pencil"),
            Record("bob", host, (SHA256,)),
            Record("carol", host, (KEYS,)),
            Record("dave", host, (KEYS,)),
        ]
        self.assertEqual(self.found(), (expected, {}))

    def test_damaged(self) -> None:
        stored, server, salt, iterations = scram(KEYS)
        rows: list[tuple[Any, ...]] = [
            ("base64", "?" + stored, server, salt, iterations),
            ("short", "AA==", server, salt, iterations),
            ("hash", "sha256:" + stored, server, salt, iterations),
            ("unknown", "sha3:" + stored, server, salt, iterations),
            ("half", stored, "", salt, iterations),
            ("nosalt", stored, server, "", iterations),
            ("few", stored, server, salt, 5),
            ("many", stored, server, salt, 10**12),
            ("text", stored, server, salt, "many"),
            ("blob", b"\xff", server, salt, iterations),
            ("empty", "", "", "", 0),
            ("huge", "x" * 2_000_000, "", "", 0),
        ]
        self.write(OLD, rows=[*rows, ("zoe", *scram(KEYS))], table="users")
        found, faults = self.found()
        self.assertEqual(([one.local for one in found], set(faults)), (["zoe"], {row[0] for row in rows}))

    def test_no_table_of_ejabberd_s(self) -> None:
        self.write("CREATE TABLE users (id int, name text)")
        self.assertEqual(self.found()[0], [])
        self.assertEqual(set(self.found()[1]), {"users"})


class DatabaseTest(SQLTest):
    def fault(self, url: str) -> str:
        return str(self.assertRaises(StoreError, lambda: list(read_database(url))))

    def test_none(self) -> None:
        self.assertIn("unable to open", self.fault(f"sqlite:///{self.file}"))
        self.assertFalse(self.file.exists(), "nothing is made")
        self.write("CREATE TABLE other (id int)")
        self.assertIn("neither Prosody's table", self.fault(f"sqlite:///{self.file}"))

    def test_without_the_driver(self) -> None:
        with patch.dict(sys.modules, {"psycopg": None}):
            said = self.fault("postgresql://prosody:secret@127.0.0.1/prosody")
        self.assertIn("pip install 'psycopg[binary]'", said)
        self.assertNotIn("secret", said)

    def test_other_urls(self) -> None:
        for url in (
            "",
            "nonsense",
            "sqlite://",
            "mysql://a:secret@b/c",
            "http://x",
            "sqlite:///:memory:",
            "postgresql",
        ):
            self.assertNotIn("secret", self.fault(url), url)

    def test_no_server(self) -> None:
        self.assertNotIn("secret", self.fault("postgresql://bob:secret@127.0.0.1:1/ejabberd"))

    def test_damaged_file(self) -> None:
        self.file.write_bytes(b"SQLite format 3\0" + b"x" * 5000)
        self.assertIn("DatabaseError", self.fault(f"sqlite:///{self.file}"))

    def test_both_servers(self) -> None:
        self.write(OLD, PROSODY, rows=prosody_rows("alice"), table="prosody")
        self.write(rows=[("bob", *scram(KEYS))], table="users")
        self.assertEqual(
            [(one.local, one.domain) for one in self.found()[0]], [("alice", "example.org"), ("bob", None)]
        )

    def test_many_are_never_in_memory_together(self) -> None:
        """Rows are read in batches: whoever takes one account has the file read no further than that."""
        self.patch(sql_tables, "_BATCH", 10)
        self.write(OLD, rows=((f"user{number}", *scram(KEYS)) for number in range(100)), table="users")
        connect = sql_tables._sqlite
        values: list[bytes] = []

        def read(raw: bytes) -> str:
            values.append(raw)
            return raw.decode()

        def counted(path: Path) -> sqlite3.Connection:
            connection = connect(path)
            connection.text_factory = read
            return connection

        self.patch(sql_tables, "_sqlite", counted)
        accounts = read_database(f"sqlite:///{self.file}")
        before = len(values)
        self.assertIsInstance(next(accounts), Record)
        self.assertLess(len(values) - before, 200)
        self.assertEqual((sum(1 for _ in accounts), len(values) > 400), (99, True))
