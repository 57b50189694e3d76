"""State of former releases, written by their code, opened by that of today: the accounts are in their rooms."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from zlib import crc32

from sqlalchemy import insert, select, update
from twisted.internet.testing import MemoryReactorClock
from twisted.trial import unittest

from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptRoom
from minimixproxy.storage import schema
from minimixproxy.storage.database import Database
from minimixproxy.storage.service import Place, open_state
from tests.patience import patiently
from tests.storage import postgresql
from tests.storage.cases import require_postgresql

STATES = Path(__file__).parent / "states"
RELEASES = sorted(path.name for path in STATES.iterdir() if path.is_dir())


def bodies(room: KeptRoom) -> list[str]:
    return [body.decode() for message in room.messages for body in re.findall(b"<body>(.*?)</body>", message.raw)]


class UpgradeTestCase(unittest.SynchronousTestCase):
    """What is to be there after an upgrade."""

    def opened(self, place: Place) -> KeptAccount:
        """Open it twice: what the first time has changed is read the second time."""
        for _ in range(2):
            state = open_state(place, MemoryReactorClock())
            state.writer.start(lambda *_: None)
            state.writer.stop(patiently(20))
            place.database.close()
        self.assertTrue((place.directory / "given_out").exists(), "how far messages went is read from there later")
        (account,) = state.accounts
        return account.kept

    def directory_of(self, release: str, kind: str) -> Path:
        directory = Path(self.mktemp()).absolute()
        shutil.copytree(STATES / release / kind, directory)
        (directory / "seal.key").chmod(0o600)
        return directory

    def check(self, account: KeptAccount) -> None:
        self.assertRegex(account.bare, r"^alice[0-9]+@prosody\.test$")
        login = account.login
        assert login is not None
        self.assertEqual((login.domain, login.hash_name, len(login.client_key)), ("prosody.test", "sha1", 20))
        garden, kitchen = sorted(account.rooms, key=lambda room: room.room)
        self.assertTrue(garden.room.startswith("garden"))
        self.assertEqual([room.membership.nick for room in (garden, kitchen)], ["alice", "cook"])
        wanted = ["said 0", "said 1", "corrected", "corrected", "said 3", "said 4"]
        self.assertEqual((bodies(garden), bodies(kitchen)), (wanted, []))
        self.assertIn(b"while away", b"".join(private.raw for private in garden.privates))
        heard = garden.messages[-3].sequence  # the correction
        self.assertGreaterEqual(garden.cursors["phone"], heard)
        self.assertLess(garden.cursors["phone"], garden.messages[-2].sequence)
        self.assertLess(garden.cursors["laptop"], garden.messages[0].sequence)

    def make_copies(self, database: Database) -> list[int]:
        """What alice was told, bob was told, too; one row of his is damaged. Return the numbers of his rows."""
        columns = [column for column in schema.messages.columns if column.name != "body"]
        with database.engine.begin() as connection:
            account = connection.execute(select(schema.accounts)).mappings().one()
            connection.execute(insert(schema.accounts), {**account, "id": 1000, "bare": "bob@prosody.test"})
            for room in connection.execute(select(schema.rooms)).mappings().all():
                row = {**room, "id": room["id"] + 1000, "account_id": 1000, "password": None}
                connection.execute(insert(schema.rooms), row)
            for message in connection.execute(select(*columns)).mappings().all():
                raw = re.sub(rb" to='alice[^']*'", b" to='bob@prosody.test/minimix.1'", message["raw"])
                self.assertNotEqual(raw, message["raw"])
                changed = {"sequence": message["sequence"] + 1000, "room_id": message["room_id"] + 1000}
                row = {**message, **changed, "raw": raw, "checksum": crc32(raw)}
                connection.execute(insert(schema.messages), row)
            ours = [*connection.execute(select(columns[0]).where(columns[0] > 1000).order_by(columns[0])).scalars()]
            damaged = update(schema.messages).where(columns[0] == ours[1]).values(checksum=5)
            connection.execute(damaged)
        return ours

    def check_shared(self, place: Place) -> None:
        """The first row of each message has it, without whom it was sent to; a damaged one is as it was."""
        copies = self.make_copies(place.database)
        for _ in range(2):
            state = open_state(place, MemoryReactorClock())
            state.writer.start(lambda *_: None)
            state.writer.stop(patiently(20))
            place.database.close()
        alice, bob = (next(room for room in one.kept.rooms if room.messages) for one in state.accounts)
        self.assertEqual(
            [one.raw for one in bob.messages], [one.raw for one in alice.messages if one is not alice.messages[1]]
        )
        self.assertFalse([one for one in alice.messages if b" to=" in one.raw.partition(b">")[0]])
        with place.database.engine.begin() as connection:
            rows = connection.execute(select(schema.messages).order_by(schema.messages.c.sequence)).all()
        named = [(row.sequence, row.body) for row in rows if row.body is not None]
        self.assertEqual(named, [(one, one - 1000) for one in copies if one != copies[1]])
        self.assertEqual([row.raw for row in rows if row.body is not None], [b""] * len(named))


class UpgradeTests(UpgradeTestCase):
    def test_releases(self) -> None:
        self.assertIn("0.1.0", RELEASES)

    def test_sqlite(self) -> None:
        for release in RELEASES:
            directory = self.directory_of(release, "sqlite")
            with closing(sqlite3.connect(directory / "state.sqlite")) as database:
                database.executescript((STATES / release / "sqlite.sql").read_text())
            place = Place(Database(directory / "state.sqlite"), directory)
            shutil.copy(directory / "state.sqlite", directory / "copy.sqlite")
            self.check(self.opened(place))
            shutil.move(directory / "copy.sqlite", directory / "state.sqlite")
            self.check_shared(place)


class UpgradeOnPostgreSQLTests(UpgradeTestCase):
    needs_programs = True  # not for `make unit`

    def test_postgresql(self) -> None:
        require_postgresql()
        for release in RELEASES:
            for check in (lambda place: self.check(self.opened(place)), self.check_shared):
                url = postgresql.cluster().database()
                with postgresql.cluster().connect(url.partition("@/")[2].partition("?")[0]) as connection:
                    connection.execute((STATES / release / "postgresql.sql").read_bytes())
                check(Place(Database(url), self.directory_of(release, "postgresql")))
