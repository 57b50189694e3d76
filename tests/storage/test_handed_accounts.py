"""How an account that is handed on is written and read."""

from __future__ import annotations

import json
import zlib
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.handed import (
    HandedAccount,
    HandedClient,
    HandedRoom,
    HandedServer,
    HandedSession,
)
from minimixproxy.minimix.interfaces.journal import KeptLogin
from minimixproxy.storage.handed_accounts import decoded, encoded

TEXT, BYTES, NUMBER = st.text(max_size=10), st.binary(max_size=10), st.integers(0, 2**40)
LOGIN = st.builds(KeptLogin, TEXT, TEXT, TEXT, BYTES, NUMBER, BYTES, BYTES, st.none() | TEXT)
CLIENT = st.builds(
    HandedClient, TEXT, NUMBER, NUMBER, NUMBER, st.lists(st.tuples(BYTES, st.booleans()), max_size=3).map(tuple)
)
FLAGS = st.lists(st.booleans(), max_size=3).map(tuple)
SERVER = st.builds(HandedServer, TEXT, st.none() | NUMBER, NUMBER, FLAGS, NUMBER, st.booleans())
SESSION = st.builds(HandedSession, TEXT, TEXT, TEXT, st.booleans(), BYTES, LOGIN, CLIENT, SERVER)
PRESENCE = st.none() | BYTES
ROOM = st.builds(
    HandedRoom,
    TEXT,
    st.lists(BYTES, max_size=3).map(tuple),
    PRESENCE,
    PRESENCE,
    PRESENCE,
    st.lists(TEXT, max_size=2).map(tuple),
    st.lists(st.tuples(TEXT, PRESENCE), max_size=2).map(tuple),
)
ACCOUNT = st.builds(
    HandedAccount,
    st.floats(0, 2**40),
    st.lists(SESSION, max_size=2).map(tuple),
    st.lists(ROOM, max_size=2).map(tuple),
)
NOTHING = HandedAccount(5.0, (), ())


class HandedAccountsTest(SynchronousTestCase):
    @given(ACCOUNT)
    def test_what_is_written_is_read(self, account: HandedAccount) -> None:
        self.assertEqual(decoded(encoded(account)), account)

    def test_another_version(self) -> None:
        """It is not guessed at."""
        document = json.loads(zlib.decompress(encoded(NOTHING)))
        for version in (0, 2, "1", None):
            self.assertIsNone(decoded(zlib.compress(json.dumps({**document, "version": version}).encode())))

    @given(st.binary(max_size=40))
    def test_bytes_that_are_none(self, data: bytes) -> None:
        self.assertIsNone(decoded(data))
        self.assertIsNone(decoded(zlib.compress(data)))

    def test_something_is_missing(self) -> None:
        whole = json.loads(zlib.decompress(encoded(replace(NOTHING))))
        for name in whole:
            less = {key: value for key, value in whole.items() if key != name}
            self.assertIsNone(decoded(zlib.compress(json.dumps(less).encode())))

    def test_secrets_are_not_shown(self) -> None:
        client = HandedClient("secret id", 1, 2, 3, ((b"secret message", True),))
        server = HandedServer("secret too", None, 1, (), 1, True)
        login = KeptLogin("a.test", "a", password="secret password")
        shown = repr(HandedSession("a@a.test/b", "", "", False, b"secret status", login, client, server))
        self.assertNotIn("secret", shown)
