"""Other keys, demanded without end: each costs as much as a hundred bytes of data, and has an answer that waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from OpenSSL import SSL
from twisted.trial import unittest

from minimixproxy.c2s.errors import describe_tls_failure
from minimixproxy.c2s.transport import tls_engine, tls_layer
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.c2s.transport.tls import ServerTLS
from minimixproxy.c2s.transport.tls_layer import MOST_WITHOUT_DATA
from tests.c2s.helpers import Recorder, certified, connected, secured_pair, tls_factory
from tests.c2s.transport.key_updates import Records, Revealing


class KeyUpdateTests(unittest.TestCase):
    def setUp(self) -> None:
        directory = Path(self.mktemp())
        self.tls = tls = ServerTLS([certified("example.org", directory)], directory)
        tls.load()
        revealing = Revealing()
        client, self.server, self.pump = secured_pair(tls_factory(revealing), tls.factory("example.org"))
        client.transport.write(b"?")
        self.pump.flush()
        self.assertEqual(self.server.received, b"?")
        self.client = Records(revealing.secret, 1)
        self.wire = self.server.tls.transport

    def brings(self, data: bytes) -> None:
        """One read of the server's."""
        self.wire.protocol.dataReceived(data)

    def updates(self, number: int) -> bytes:
        return b"".join(self.client.update() for _ in range(number))

    def is_cut(self) -> bool:
        return bool(self.wire.disconnecting)

    def test_some_are_what_tls_is_like(self) -> None:
        for _ in range(5):
            self.brings(self.client.update() + self.client.data(b"x") + self.client.update())
            self.brings(self.client.data(b"y"))
        self.assertEqual((self.server.received, self.is_cut()), (b"?" + b"xy" * 5, False))

    def test_data_without_end(self) -> None:
        for _ in range(3 * MOST_WITHOUT_DATA):
            self.brings(self.client.data(b"x"))
        self.assertEqual((len(self.server.received), self.is_cut()), (1 + 3 * MOST_WITHOUT_DATA, False))

    def test_one_by_one(self) -> None:
        for _ in range(MOST_WITHOUT_DATA // 2):
            self.brings(self.client.update())
        self.assertFalse(self.is_cut())
        for _ in range(MOST_WITHOUT_DATA // 2 + 1):
            self.brings(self.client.update())
        self.assertTrue(self.is_cut())

    def test_with_data_between(self) -> None:
        """Data in the same read hides them from nobody."""
        for _ in range(12):
            self.brings(self.updates(MOST_WITHOUT_DATA // 10) + self.client.data(b"x"))
        self.assertTrue(self.is_cut())

    def test_without_the_engine(self) -> None:
        self.patch(tls_layer, "AVAILABLE", False)
        self.setUp()
        for _ in range(MOST_WITHOUT_DATA + 1):
            self.brings(self.client.update())
        self.assertTrue(self.is_cut())

    def count_what_openssl_gets(self) -> list[int]:
        real, asked = SSL.Connection.bio_write, []
        lib = tls_engine._lib

        def counted(connection: SSL.Connection, data: bytes) -> int:
            asked.append(len(data))
            return int(real(connection, data))

        class Counting:
            def BIO_write(self, bio: Any, data: bytes, size: int) -> int:
                asked.append(size)
                return int(lib.BIO_write(bio, data, size))

            def __getattr__(self, name: str) -> Any:
                return getattr(lib, name)

        self.patch(tls_engine, "_lib", Counting())
        self.patch(SSL.Connection, "bio_write", counted)
        return asked

    def connect(self) -> Revealing:
        """Once more, as far as the client's first words, which wait."""
        revealing, self.server = Revealing(), Recorder()
        client, server = (SecurableConnection(upper) for upper in (Recorder(), self.server))
        self.pump = connected(client, server)
        server.start_tls(self.tls.factory("example.org"))
        client.start_tls(tls_factory(revealing))
        self.wire = self.pump.serverIO
        return revealing

    def test_in_one_read_with_the_end_of_the_handshake(self) -> None:
        """Then it is not the engine yet that reads."""
        revealing = self.connect()
        self.brings(self.pump.clientIO.getOutBuffer())
        self.pump.client.dataReceived(self.wire.getOutBuffer())
        self.client = Records(revealing.secret, 0)
        asked = self.count_what_openssl_gets()
        self.brings(self.pump.clientIO.getOutBuffer() + self.client.data(b"x") + self.updates(2000))
        self.assertEqual((self.server.received, self.is_cut()), (b"x", True))
        self.assertLess(sum(asked), 8192)

    def test_behind_much_data(self) -> None:
        """What there is to a record on average says nothing of how many there are."""
        asked = self.count_what_openssl_gets()
        self.brings(self.client.data(b"x" * 16000) + self.client.data(b"x" * 16000) + self.updates(1000))
        self.assertTrue(self.is_cut())
        self.assertLess(sum(asked), 40_000)

    def test_a_hello_in_very_many_records(self) -> None:
        """Some clients cut it up (to be read by nobody on the way): it is a handshake all the same."""
        revealing = self.connect()
        hello = self.pump.clientIO.getOutBuffer()[5:]
        self.assertGreater(len(hello), MOST_WITHOUT_DATA)
        for number in range(len(hello)):
            self.brings(b"\x16\x03\x01\x00\x01" + hello[number : number + 1])
        self.pump.client.dataReceived(self.wire.getOutBuffer())
        self.client = Records(revealing.secret, 0)
        self.brings(self.pump.clientIO.getOutBuffer() + self.client.data(b"x"))
        self.brings(self.client.update() + self.client.data(b"y"))
        self.assertEqual((self.server.received, self.is_cut()), (b"xy", False))

    def test_of_one_read_only_the_beginning_is_looked_at(self) -> None:
        """A read has room for three hundred, of a relay's for thousands: they would hold the reactor."""
        asked = self.count_what_openssl_gets()
        self.brings(self.updates(2000))
        self.assertTrue(self.is_cut())
        self.assertLess(sum(asked), 8192)

    def test_much_data_in_small_records(self) -> None:
        """It is taken in pieces, in its order."""
        words = [b"%04d" % number for number in range(2000)]
        self.brings(b"".join(map(self.client.data, words)))
        self.assertEqual((self.server.received, self.is_cut()), (b"?" + b"".join(words), False))

    def test_the_reason_is_told(self) -> None:
        self.brings(self.updates(MOST_WITHOUT_DATA + 1))
        self.pump.flush()
        reason = self.server.reason
        assert reason is not None
        self.assertEqual(describe_tls_failure(reason), "too much that is no data")
        self.assertEqual((self.server.received, tls_engine._lib.ERR_peek_error()), (b"?", 0))
