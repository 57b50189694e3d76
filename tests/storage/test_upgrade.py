"""State of former releases, written by their code, opened by that of today: the accounts are in their rooms."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial import unittest

from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptRoom
from minimixproxy.storage.database import Database
from minimixproxy.storage.service import Place, open_state
from tests.patience import patiently
from tests.storage import postgresql
from tests.storage.cases import require_postgresql

STATES = Path(__file__).parent / "states"
RELEASES = sorted(path.name for path in STATES.iterdir() if path.is_dir())


def bodies(room: KeptRoom) -> list[str]:
    return [body.decode() for message in room.messages for body in re.findall(b"<body>(.*?)</body>", message.raw)]


class UpgradeTests(unittest.SynchronousTestCase):
    def opened(self, place: Place) -> KeptAccount:
        """Open it twice: what the first time has changed is read the second time."""
        for _ in range(2):
            state = open_state(place, MemoryReactorClock())
            state.writer.start(lambda *_: None)
            state.writer.stop(patiently(20))
            place.database.close()
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

    def test_releases(self) -> None:
        self.assertIn("0.1.0", RELEASES)

    def test_sqlite(self) -> None:
        for release in RELEASES:
            directory = self.directory_of(release, "sqlite")
            with closing(sqlite3.connect(directory / "state.sqlite")) as database:
                database.executescript((STATES / release / "sqlite.sql").read_text())
            self.check(self.opened(Place(Database(directory / "state.sqlite"), directory)))

    def test_postgresql(self) -> None:
        require_postgresql()
        for release in RELEASES:
            url = postgresql.cluster().database()
            with postgresql.cluster().connect(url.partition("@/")[2].partition("?")[0]) as connection:
                connection.execute((STATES / release / "postgresql.sql").read_bytes())
            self.check(self.opened(Place(Database(url), self.directory_of(release, "postgresql"))))
