"""What a client may say who it is, by PLAIN (RFC 4616)."""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.xep.sasl import PlainMessage, SaslFailure, account_key, check_authzid, decoded, parse_plain

LONGEST = 1024


def read(text: str) -> PlainMessage:
    return parse_plain(decoded(text))


def encoded(message: bytes) -> str:
    return b64encode(message).decode()


class PlainTest(SynchronousTestCase):
    def test_messages(self) -> None:
        long = b"x" * LONGEST
        for message, expected in (
            (b"\0a\0secret", ("", "a", "secret")),
            (b"a@example.org\0a\0\xc3\xa9", ("a@example.org", "a", "é")),
            (b"%b\0%b\0%b" % (long, long, long), (long.decode(),) * 3),
        ):
            self.assertEqual(read(encoded(message)), PlainMessage(*expected))

    def test_what_is_none(self) -> None:
        long = b"x" * (LONGEST + 1)
        for text, condition in (
            ("=", "malformed-request"),
            (encoded(b""), "malformed-request"),
            (encoded(b"a"), "malformed-request"),
            (encoded(b"\0a"), "malformed-request"),
            (encoded(b"\0a\0b\0"), "malformed-request"),
            (encoded(b"\0a\0"), "malformed-request"),
            (encoded(b"\0\0secret"), "malformed-request"),
            (encoded(b"a\0\0"), "malformed-request"),
            (encoded(b"%b\0a\0secret" % long), "malformed-request"),
            (encoded(b"\0%b\0secret" % long), "malformed-request"),
            (encoded(b"\0a\0%b" % long), "malformed-request"),
            (encoded(b"\0a\0\xff"), "malformed-request"),
            (encoded(b"\0a\0" + b"x" * 7000), "malformed-request"),
            ("AGEAc2VjcmV", "incorrect-encoding"),
            ("AGEA c2VjcmV0", "incorrect-encoding"),
            ("AGEAc2VjcmV0é", "incorrect-encoding"),
        ):
            failure = self.assertRaises(SaslFailure, read, text)
            self.assertEqual((failure.condition, str(failure)), (condition, condition), text[:40])
        failure = self.assertRaises(SaslFailure, read, "=" * 8193)
        self.assertEqual(failure.text, "too long", "it is not looked into")

    def test_what_failures_count_under(self) -> None:
        """However a name is spelled; and also one that no account can have."""
        for username, key in (
            ("a", "a@example.org"),
            ("A", "a@example.org"),
            ("Stra\u00dfe", "strasse@example.org"),
            ("A b", "a b@example.org"),
            ("C@D", "c@d@example.org"),
            ("\u2c62" * 400, "\u2c62" * 400 + "@example.org"),  # else another account
        ):
            self.assertEqual(account_key(username, "example.org"), key)

    def test_the_password_is_not_in_the_repr(self) -> None:
        self.assertNotIn("secret", repr(read(encoded(b"\0a\0secret"))))

    def test_for_whom(self) -> None:
        """RFC 4616 §2: nobody acts for anybody else, and not for one resource only."""
        for authzid, fine in (
            ("", True),
            ("a@example.org", True),
            ("A@EXAMPLE.org", True),
            ("b@example.org", False),
            ("a@other.example", False),
            ("a@example.org/r", False),
            ("example.org", False),
            ("a", False),
            ("@", False),
        ):
            if fine:
                check_authzid(authzid, "a", "example.org")
            else:
                failure = self.assertRaises(SaslFailure, check_authzid, authzid, "a", "example.org")
                self.assertEqual(failure.condition, "invalid-authzid", authzid)
