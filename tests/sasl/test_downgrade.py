"""XEP-0474: what is hashed of an offer."""

from __future__ import annotations

import hashlib
from base64 import b64encode

from twisted.trial import unittest

from minimixproxy.sasl.downgrade import Offered, protection


class ProtectionTest(unittest.TestCase):
    def test_example(self) -> None:
        """§4.3."""
        offered = Offered(("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"), ("tls-server-end-point", "tls-exporter"))
        self.assertEqual(protection("sha1", offered), b"G6k/rBLDqgOhRRaCuuatSDFkJ08=")

    def test_text(self) -> None:
        for hash_name in ("sha1", "sha256", "sha512"):
            for offered, text in (
                (Offered(("SCRAM-SHA-256", "PLAIN", "SCRAM-SHA-1")), b"PLAIN\x1eSCRAM-SHA-1\x1eSCRAM-SHA-256"),
                (Offered(("PLAIN",), ()), b"PLAIN\x1f"),
                (Offered(("B", "a", "A"), ("y", "X")), b"A\x1eB\x1ea\x1fX\x1ey"),  # by octets
                (Offered(()), b""),
            ):
                self.assertEqual(protection(hash_name, offered), b64encode(hashlib.new(hash_name, text).digest()))

    def test_order_is_of_no_account(self) -> None:
        self.assertEqual(protection("sha1", Offered(("a", "b"), ("c", "d"))), protection("sha1", Offered("ba", "dc")))
