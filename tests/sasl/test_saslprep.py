"""SASLprep: the examples of RFC 4013 §3, and what is forbidden."""

from __future__ import annotations

from twisted.trial import unittest

from minimixproxy.sasl.saslprep import SaslprepError, saslprep


class SaslprepTest(unittest.TestCase):
    def test_rfc_4013_examples(self) -> None:
        cases = {"I\u00adX": "IX", "user": "user", "USER": "USER", "\u00aa": "a", "\u2168": "IX", "a\u00a0b": "a b"}
        for given_, expected in cases.items():
            self.assertEqual(saslprep(given_), expected)

    def test_prohibited(self) -> None:
        for text in ("\u0007", "\u0627\u0031", "a\u0627", "1\u0627", "\u0627a\u0628", "\ue000", "\ud800"):
            self.assertRaises(SaslprepError, saslprep, text)

    def test_marks_that_unicode_3_2_does_not_know_stay_in_their_order(self) -> None:
        """In another order they are somebody else's name: see `lenient_profiles.normalized`."""
        for text in ("q\U0001e014\U0001e8d5", "q\U0001e8d5\U0001e014", "bo\u1e9e"):
            self.assertEqual(saslprep(text), text)

    def test_right_to_left(self) -> None:
        self.assertEqual(saslprep("\u06271\u0628"), "\u06271\u0628")

    def test_ascii(self) -> None:
        """Control characters (table C.2.1 of RFC 3454) are forbidden, the empty text and all else stays as it is."""
        for code in range(128):
            text = f"a{chr(code)}b"
            if code < 0x20 or code == 0x7F:
                self.assertRaises(SaslprepError, saslprep, text)
            else:
                self.assertEqual(saslprep(text), text)
        self.assertEqual(saslprep(""), "")
