"""HT-*: a proof of a token, on one connection only; and what becomes of a device's tokens."""

import hmac

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.sasl.hashed_token import (
    MECHANISMS,
    HashedTokenError,
    is_proved,
    mechanisms,
    read_initiator,
    responder,
)
from minimixproxy.sasl.tokens import Token, after_use, with_next, without

BINDINGS = {"tls-exporter": b"exported", "tls-server-end-point": b"certified"}
PROOF = bytes(range(32))


class MessageTests(SynchronousTestCase):
    def test_read(self) -> None:
        for mechanism, proof in (("HT-SHA-256-NONE", PROOF), ("HT-SHA-512-EXPR", PROOF + PROOF)):
            self.assertEqual(read_initiator("ölaf".encode() + b"\0" + proof, mechanism), ("ölaf", proof))
            nothing = bytes(len(proof))
            self.assertEqual(read_initiator(b"a\0" + nothing, mechanism), ("a", nothing))

    def test_malformed(self) -> None:
        for message in (b"", b"a", b"\0" + PROOF, b"a\0", b"a\0" + PROOF[1:], b"a\0" + PROOF + b"x", b"\xff\0" + PROOF):
            self.assertRaises(HashedTokenError, read_initiator, message, "HT-SHA-256-NONE")
        self.assertRaises(HashedTokenError, read_initiator, b"a" * 1025 + b"\0" + PROOF, "HT-SHA-256-NONE")
        self.assertRaises(HashedTokenError, read_initiator, b"a\0" + PROOF, "HT-SHA-512-NONE")

    def test_who_proves_what(self) -> None:
        for mechanism, hash_name, data in (
            ("HT-SHA-256-NONE", "sha256", b""),
            ("HT-SHA-256-EXPR", "sha256", b"exported"),
            ("HT-SHA-256-ENDP", "sha256", b"certified"),
            ("HT-SHA-512-NONE", "sha512", b""),
            ("HT-SHA-512-EXPR", "sha512", b"exported"),
            ("HT-SHA-512-ENDP", "sha512", b"certified"),
        ):
            client = hmac.digest(b"secret", b"Initiator" + data, hash_name)
            server = hmac.digest(b"secret", b"Responder" + data, hash_name)
            self.assertTrue(is_proved(client, "secret", mechanism, BINDINGS))
            self.assertEqual(responder("secret", mechanism, BINDINGS), server)
            self.assertFalse(is_proved(server, "secret", mechanism, BINDINGS))
            self.assertFalse(is_proved(client, "other", mechanism, BINDINGS))
            others = (other for other in MECHANISMS if other != mechanism)
            self.assertFalse(any(is_proved(client, "secret", other, BINDINGS) for other in others))

    def test_what_can_be_done(self) -> None:
        self.assertEqual(mechanisms(BINDINGS), tuple(MECHANISMS))
        unbound = ("HT-SHA-512-NONE", "HT-SHA-256-NONE")
        self.assertEqual(mechanisms({}), unbound)
        bound = ("HT-SHA-512-ENDP", "HT-SHA-256-ENDP")
        self.assertEqual(mechanisms({"tls-server-end-point": b""}), (*bound, *unbound))
        self.assertEqual(len(MECHANISMS), 6)


class TokensTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.one, self.two, self.three = (Token(secret, "HT-SHA-256-NONE", b"", 0.0, 1.0) for secret in "123")

    def test_next(self) -> None:
        self.assertEqual(with_next((), self.one), (self.one,))
        self.assertEqual(with_next((self.one,), self.two), (self.one, self.two))
        self.assertEqual(with_next((self.one, self.two), self.three), (self.one, self.three))

    def test_use(self) -> None:
        both = self.one, self.two
        self.assertEqual(after_use(both, self.one, None), both)
        self.assertEqual(after_use(both, self.two, None), (self.two,))
        self.assertEqual(after_use(both, self.one, 5), (self.one._replace(counted=5), self.two))

    def test_without(self) -> None:
        self.assertEqual(without((self.one._replace(counted=3), self.two), self.one), (self.two,))
        self.assertNotIn("secret", repr(self.one._replace(secret="secret")))
