"""Types of channel binding, and what is said of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.sasl.channel_binding import TYPES, Gs2Header, best_type, escaped, read_gs2_header, unescaped


class HeaderTest(unittest.TestCase):
    @given(st.sampled_from("nyp"), st.sampled_from(TYPES), st.text(st.characters(codec="utf-8"), max_size=20))
    def test_there_and_back(self, flag: str, type_: str, authzid: str) -> None:
        header = Gs2Header(flag, type_ if flag == "p" else "", authzid)
        encoded = header.encoded()
        self.assertEqual(read_gs2_header(encoded + b"n=a,r=b"), (header, len(encoded)))

    def test_as_it_is_written(self) -> None:
        for header, encoded in (
            (Gs2Header("n"), b"n,,"),
            (Gs2Header("p", "tls-exporter"), b"p=tls-exporter,,"),
            (Gs2Header("y", "", "a,b=c"), b"y,a=a=2Cb=3Dc,"),
        ):
            self.assertEqual(header.encoded(), encoded)

    @given(st.text())
    def test_escapes(self, name: str) -> None:
        self.assertNotIn(",", escaped(name))
        self.assertEqual(unescaped(escaped(name)), name)


class BestTypeTest(unittest.TestCase):
    def test_the_strongest_that_both_have(self) -> None:
        exporter, end_point = TYPES
        for ours, theirs, best in (
            (TYPES, (end_point, exporter), exporter),
            (TYPES, (end_point, "tls-unique"), end_point),
            ((end_point,), TYPES, end_point),
            (TYPES, ("tls-unique",), None),
            ((), TYPES, None),
        ):
            self.assertEqual(best_type(ours, theirs), best)
