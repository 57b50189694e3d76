"""`minimixproxy enroll --from-…`: the servers' own stores, as the servers themselves have written them."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from sqlalchemy.engine import make_url
from twisted.internet.threads import deferToThread

from minimixproxy.server_stores.prosody_files import read_directory
from minimixproxy.server_stores.records import Record, Unusable
from minimixproxy.server_stores.sql_tables import read_database
from tests.integration.cases import on_servers
from tests.integration.commands import run
from tests.integration.ejabberd import LIBRARIES, Ejabberd
from tests.integration.processes import LoggedProcess
from tests.integration.prosody import Prosody
from tests.integration.servers import Account
from tests.integration.test_enroll import EnrollCase
from tests.storage import postgresql


class HashedProsody(Prosody):
    """Prosody, by which accounts are made as its users make them: hashed when they are."""

    async def register(self, username: str, password: str) -> None:
        await self._done(f"return require 'core.usermanager'.create_user('{username}', '{password}', '{self.domain}')")

    def source(self) -> tuple[str, str]:
        """The option of the command, and its value."""
        return "--from-prosody", str(self.directory)

    def records(self) -> Iterator[Record | Unusable]:
        return read_directory(self.directory)


class HashedProsody256(HashedProsody):
    """With SCRAM-SHA-256."""

    options = 'password_hash = "SHA-256"'


class SQLProsody(HashedProsody):
    """Prosody with its accounts in SQLite."""

    @classmethod
    def missing(cls) -> str | None:
        driver = list(LIBRARIES.glob("*/lua/*/dbd/sqlite3.so"))
        return super().missing() or (None if driver else "lua-dbi-sqlite3")

    def start(self) -> LoggedProcess:
        self.database = self.directory / "prosody.sqlite"
        self.options = f'storage = {{ accounts = "sql" }}\nsql = {{ driver = "SQLite3", database = "{self.database}" }}'
        return super().start()

    def source(self) -> tuple[str, str]:
        return "--from-sql", f"sqlite:///{self.database}"

    def records(self) -> Iterator[Record | Unusable]:
        return read_database(f"sqlite:///{self.database}")


class SQLEjabberd(Ejabberd):
    """ejabberd with its accounts in SQLite."""

    scram_hash = "sha"

    @classmethod
    def missing(cls) -> str | None:
        driver = list(LIBRARIES.glob("erlang/lib/p1_sqlite3-*"))
        return super().missing() or (None if driver else "erlang-p1-sqlite3")

    def configuration(self, certificate: Path) -> str:
        self.database = self.directory / "ejabberd.sqlite"
        sql = f"auth_method: [sql]\nsql_type: sqlite\nsql_database: {self.database}\n"
        return super().configuration(certificate).replace("auth_method: [internal]\n", sql)

    def source(self) -> tuple[str, str]:
        return "--from-sql", f"sqlite:///{self.database}"

    def records(self) -> Iterator[Record | Unusable]:
        return read_database(f"sqlite:///{self.database}")


class SQLEjabberd512(SQLEjabberd):
    """With SCRAM-SHA-512."""

    scram_hash = "sha512"


class PostgreSQLEjabberd(SQLEjabberd):
    """ejabberd with its accounts in PostgreSQL, by its own schema."""

    @classmethod
    def missing(cls) -> str | None:
        driver = list(LIBRARIES.glob("erlang/lib/p1_pgsql-*"))
        database = "postgresql" if postgresql.missing() else None
        return Ejabberd.missing() or database or (None if driver else "erlang-p1-pgsql")

    def configuration(self, certificate: Path) -> str:
        cluster = postgresql.cluster()
        self.url = cluster.database()
        name = str(make_url(self.url).database)
        with cluster.connect(name) as connection:
            connection.execute(POSTGRESQL_SCHEMA.read_bytes())
        sql = (
            f"auth_method: [sql]\nsql_type: pgsql\nsql_server: 127.0.0.1\nsql_port: {cluster.port}\n"
            f"sql_database: {name}\nsql_username: tests\n"
        )
        return Ejabberd.configuration(self, certificate).replace("auth_method: [internal]\n", sql)

    def source(self) -> tuple[str, str]:
        return "--from-sql", self.url

    def records(self) -> Iterator[Record | Unusable]:
        return read_database(self.url)


POSTGRESQL_SCHEMA = Path("/usr/share/ejabberd/sql/pg.sql")
SQLITE_SCHEMA = "*/ejabberd-*/priv/sql/lite.sql"


class ExportingEjabberd(Ejabberd):
    """ejabberd with its own database, which it exports: `ejabberdctl export2sql`."""

    async def export(self) -> None:
        """Do what docs/operating.md says."""
        dump = self.directory / "dump.sql"
        # As `ejabberdctl export2sql`, but for accounts only: all of it takes more than a minute.
        await self.evaluate(f'ejd2sql:export(<<"{self.domain}">>, "{dump}", ejabberd_auth)')
        schema = next(LIBRARIES.glob(SQLITE_SCHEMA))
        self.database = self.directory / "export.sqlite"
        self.database.unlink(missing_ok=True)
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.executescript(schema.read_text())
            connection.executescript(dump.read_text())

    def source(self) -> tuple[str, str]:
        return "--from-sql", f"sqlite:///{self.database}"

    def records(self) -> Iterator[Record | Unusable]:
        return read_database(f"sqlite:///{self.database}")


@on_servers(
    HashedProsody, HashedProsody256, SQLProsody, SQLEjabberd, SQLEjabberd512, PostgreSQLEjabberd, ExportingEjabberd
)
class StoreTests(EnrollCase):
    """Accounts are made by the server, and imported; the keys are good at the server."""

    hashes: ClassVar = {
        HashedProsody: "sha1",
        HashedProsody256: "sha256",
        SQLProsody: "sha1",
        SQLEjabberd: "sha1",
        SQLEjabberd512: "sha512",
        PostgreSQLEjabberd: "sha1",
        ExportingEjabberd: "sha256",
    }

    async def test_imported(self) -> None:
        proxy = self.own_proxy()
        alice, bob = await self.account("alice"), await self.account("bob-dot.under_score")
        assert isinstance(self.server, HashedProsody | SQLEjabberd | ExportingEjabberd)
        if isinstance(self.server, ExportingEjabberd):
            await self.server.export()
        hash_name = self.hashes[type(self.server)]
        for account in (alice, bob):
            await self.check_keys(account, self.found(account).keys[0])
        for _ in range(2):
            done = await run(proxy, "enroll", *self.server.source())
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertTrue(re.fullmatch(r"(\d+) of \1 accounts are enrolled\n", done.stdout), done.stdout)
            kept = self.kept(proxy)
            self.assertEqual([kept[account.jid] for account in (alice, bob)], [[(hash_name, False)]] * 2)
        self.assertFalse([line for line in proxy.process.lines if alice.password in line])
        await deferToThread(proxy.process.kill)
        await deferToThread(proxy.start)
        self.assertEqual(self.kept(proxy), kept)

    def found(self, account: Account) -> Record:
        assert isinstance(self.server, HashedProsody | SQLEjabberd | ExportingEjabberd)
        records = [one for one in self.server.records() if isinstance(one, Record)]
        (record,) = [one for one in records if one.local == account.username]
        self.assertIn(record.domain, (self.server.domain, None))
        return record
