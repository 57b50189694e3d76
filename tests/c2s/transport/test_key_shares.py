"""Key shares towards servers, shaken hands in memory by real OpenSSL."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.trial import unittest
from zope.interface import implementer

from minimixproxy.c2s.transport import key_shares
from minimixproxy.c2s.transport.key_shares import AGAIN, KeyShares, ServerFacingFactory
from minimixproxy.c2s.transport.tls import ServerTLS
from tests.c2s.helpers import certified, secured_pair

HYBRID, CLASSICAL = "X25519MLKEM768", "x25519"
HYBRID_GROUP = (0x11EC).to_bytes(2, "big")  # as in the ClientHello (draft-ietf-tls-ecdhe-mlkem)


@implementer(IOpenSSLClientConnectionCreator)
class Unverified:
    """Client side TLS as OpenSSL has it, that believes any certificate."""

    def __init__(self) -> None:
        self._context = SSL.Context(SSL.TLS_CLIENT_METHOD)

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class KeySharesTest(unittest.TestCase):
    def setUp(self) -> None:
        if not key_shares.AVAILABLE:
            raise unittest.SkipTest("this OpenSSL knows no hybrids, or pyOpenSSL does not tell")
        directory = Path(self.mktemp())
        server = ServerTLS([certified("example.org", directory)], directory)
        server.load()
        self.server = server.factory("example.org")
        self.context = server._files["example.org"].context()
        self.now = 1000.0
        self.client = ServerFacingFactory(Unverified())
        self.client._shares._now = lambda: self.now

    def server_takes(self, groups: bytes) -> None:
        """From now on the server takes these only."""
        key_shares._lib.SSL_CTX_set1_curves_list(self.context._context, groups)

    def shake(self) -> tuple[str, int]:
        """Return what was agreed on, and the size of the first words of the connection after that."""
        one, other, pump = secured_pair(self.client, self.server)
        one.transport.write(b"ping")
        pump.flush()
        self.assertEqual(other.received, b"ping")
        connection: Any = one.tls.getHandle()
        return connection.get_group_name(), self.hello_of(self.client)

    def hello_of(self, client: ServerFacingFactory) -> int:
        """Return the size of the first words of a connection that is made now."""
        connection = client._shares.clientConnectionForTLS(cast(TLSMemoryBIOProtocol, None))
        connection.set_connect_state()
        self.assertRaises(SSL.WantReadError, connection.do_handshake)
        hello = connection.bio_read(65536)
        self.assertIn(HYBRID_GROUP, hello, "the server can ask for it")
        return len(hello)

    def test_a_server_that_takes_the_hybrid_is_sent_it(self) -> None:
        both = self.hello_of(self.client)
        for _ in range(3):
            self.assertEqual(self.shake(), (HYBRID, both))

    def test_a_server_that_takes_another_is_sent_that(self) -> None:
        """And once in a while both."""
        self.server_takes(b"X25519:P-256")
        both = self.hello_of(self.client)
        self.assertGreater(both, 1184, "the public key of ML-KEM-768 is in it (FIPS 203)")
        agreed, size = self.shake()
        self.assertEqual(agreed, CLASSICAL)
        self.assertLess(size, both - 1184)
        for waited in (0.0, AGAIN / 2, AGAIN / 2 - 1):  # an agreement without the hybrid having been sent says nothing
            self.now += waited
            self.assertEqual(self.shake(), (CLASSICAL, size))
        self.now += 1
        self.assertEqual(self.hello_of(self.client), both)
        self.assertEqual(self.shake(), (CLASSICAL, size))

    def test_a_server_that_has_learned_asks_for_the_hybrid(self) -> None:
        """It is as safe as before at once, for one more round trip; from then on it is sent both."""
        both = self.hello_of(self.client)
        self.server_takes(b"X25519")
        self.assertLess(self.shake()[1], both)
        self.server_takes(b"X25519MLKEM768")
        self.assertEqual(self.shake(), (HYBRID, both))

    def test_without_such_an_openssl(self) -> None:
        self.patch(key_shares, "AVAILABLE", False)
        self.server_takes(b"X25519")
        both = self.hello_of(self.client)
        self.assertEqual(self.shake(), (CLASSICAL, both))

    def test_servers_learn_apart(self) -> None:
        one, other = KeyShares(Unverified()), KeyShares(Unverified())
        one.agreed(_Agreed(CLASSICAL))
        self.assertGreater(one._both_from, 0)
        self.assertEqual(other._both_from, 0)
        one.agreed(_Agreed(None))
        one.agreed(_Agreed(HYBRID))
        self.assertEqual(one._both_from, 0)


class _Agreed:
    def __init__(self, group: str | None) -> None:
        self._group = group

    def get_group_name(self) -> str | None:
        return self._group
