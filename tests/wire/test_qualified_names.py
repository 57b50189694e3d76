"""Names as expat gives them: taken apart, and remembered within bounds, for peers choose them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire import qualified_names
from minimixproxy.wire.qualified_names import KNOWN_NAMES, SEPARATOR, named_attributes, split_name


class NamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        KNOWN_NAMES.clear()

    def test_taken_apart(self) -> None:
        for _ in range(2):
            for uri, local in (("urn:x", "a"), ("", "a"), ("urn:x", "a:b")):
                name = f"{uri}{SEPARATOR}{local}" if uri else local
                self.assertEqual(split_name(name), (uri, local))

    def test_remembered_within_bounds(self) -> None:
        split_name(f"urn:x{SEPARATOR}first")
        first = split_name(f"urn:x{SEPARATOR}first")
        for number in range(qualified_names._MAX_KNOWN - 1):
            split_name(f"urn:x{SEPARATOR}{number}")
        self.assertIs(split_name(f"urn:x{SEPARATOR}first"), first)
        self.assertEqual(len(KNOWN_NAMES), qualified_names._MAX_KNOWN)
        for number in range(3 * qualified_names._MAX_KNOWN):
            split_name(f"urn:y{SEPARATOR}{number}")
            self.assertLessEqual(len(KNOWN_NAMES), qualified_names._MAX_KNOWN)

    def test_long_ones_are_not_remembered(self) -> None:
        for size, remembered in ((200, 1), (201, 0)):
            KNOWN_NAMES.clear()
            self.assertEqual(split_name("x" * size), ("", "x" * size))
            self.assertEqual(len(KNOWN_NAMES), remembered)

    def test_attributes(self) -> None:
        self.assertEqual(named_attributes({"a": "1"}), {"a": "1"})
        self.assertEqual(named_attributes({f"urn:x{SEPARATOR}a": "1", "b": "2"}), {"{urn:x}a": "1", "b": "2"})
