"""What a check finds, as it is shown."""

from __future__ import annotations

from twisted.trial import unittest

from minimixproxy.checking.finding import good, text, warning


class TextTests(unittest.SynchronousTestCase):
    def test_names_of_others(self) -> None:
        """DNS, certificates and servers have said what they like: it is one line, and no terminal obeys it."""
        hostile = "x\x1b[2J\n\x9b\u202eok"
        told = text([warning(hostile, hostile, hostile), good("a", "b")])
        lines = told.split("\n")
        self.assertEqual(len(lines), 4, told)
        self.assertTrue(all(line.isprintable() for line in lines), told)
        self.assertIn("x\\x1b[2J\\n\\x9b\\u202eok", lines[0])
