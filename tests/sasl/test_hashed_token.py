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
        self.assertEqual(read_initiator("ölaf".encode() + b"\0" + PROOF), ("ölaf", PROOF))
        self.assertEqual(read_initiator(b"a\0" + b"\0" * 32), ("a", b"\0" * 32))

    def test_malformed(self) -> None:
        for message in (b"", b"a", b"\0" + PROOF, b"a\0", b"a\0" + PROOF[1:], b"a\0" + PROOF + b"x", b"\xff\0" + PROOF):
            self.assertRaises(HashedTokenError, read_initiator, message)
        self.assertRaises(HashedTokenError, read_initiator, b"a" * 1025 + b"\0" + PROOF)

    def test_who_proves_what(self) -> None:
        for mechanism, data in (
            ("HT-SHA-256-NONE", b""),
            ("HT-SHA-256-EXPR", b"exported"),
            ("HT-SHA-256-ENDP", b"certified"),
        ):
            client = hmac.digest(b"secret", b"Initiator" + data, "sha256")
            server = hmac.digest(b"secret", b"Responder" + data, "sha256")
            self.assertTrue(is_proved(client, "secret", mechanism, BINDINGS))
            self.assertEqual(responder("secret", mechanism, BINDINGS), server)
            self.assertFalse(is_proved(server, "secret", mechanism, BINDINGS))
            self.assertFalse(is_proved(client, "other", mechanism, BINDINGS))
            others = (other for other in MECHANISMS if other != mechanism)
            self.assertFalse(any(is_proved(client, "secret", other, BINDINGS) for other in others))

    def test_what_can_be_done(self) -> None:
        self.assertEqual(mechanisms(BINDINGS), tuple(MECHANISMS))
        self.assertEqual(mechanisms({}), ("HT-SHA-256-NONE",))
        self.assertEqual(mechanisms({"tls-server-end-point": b""}), ("HT-SHA-256-ENDP", "HT-SHA-256-NONE"))


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
