"""Bytes that several have: kept once, for as long as one of them has them."""

from __future__ import annotations

import sys
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds import shared_bytes
from minimixproxy.bounds.shared_bytes import SharedBytes, same_text


def copy(raw: bytes) -> bytes:
    """Return equal bytes in another object."""
    return bytes(bytearray(raw))


class SharedBytesTests(SynchronousTestCase):
    def test_the_same_object(self) -> None:
        shared = SharedBytes()
        first, second = b"a presence", copy(b"a presence")
        self.assertIsNot(first, second)
        self.assertIs(shared.take(first), first)
        self.assertIs(shared.take(second), first)
        self.assertIs(shared.take(first), first)
        self.assertEqual(len(shared), 1)

    def test_what_is_not_equal(self) -> None:
        shared = SharedBytes()
        shared.take(b"a presence")
        self.assertEqual(shared.take(b"a presence "), b"a presence ")
        self.assertEqual(len(shared), 2)

    def test_the_last_one_gives_it_back(self) -> None:
        shared = SharedBytes()
        for _ in range(3):
            shared.take(b"one")
        shared.give_all_back([b"one", copy(b"one")])
        self.assertEqual(len(shared), 1)
        shared.give_back(b"one")
        self.assertEqual(len(shared), 0)
        other = copy(b"one")
        self.assertIs(shared.take(other), other, "the former object is kept by nobody")

    def test_never_taken(self) -> None:
        self.assertRaises(KeyError, SharedBytes().give_back, b"one")

    @given(st.lists(st.tuples(st.booleans(), st.binary(max_size=1)), max_size=60))
    def test_counts(self, steps: list[tuple[bool, bytes]]) -> None:
        shared, model = SharedBytes(), Counter[bytes]()
        for takes, raw in steps:
            if takes:
                self.assertEqual(shared.take(copy(raw)), raw)
                model[raw] += 1
            elif model[raw]:
                shared.give_back(copy(raw))
                model[raw] -= 1
            self.assertEqual(len(shared), len(+model))


class TextTests(SynchronousTestCase):
    def text(self) -> str:
        return "".join(["the id of ", "a message"])

    def test_the_same_object(self) -> None:
        self.patch(shared_bytes, "_FREES_INTERNED", True)
        one = same_text(self.text())
        self.assertIs(same_text(self.text()), one)

    def test_where_it_would_stay_for_ever(self) -> None:
        self.patch(shared_bytes, "_FREES_INTERNED", False)
        text = self.text()
        self.assertIs(same_text(text), text)
        self.assertIsNot(same_text(self.text()), text)

    def test_nothing_stays(self) -> None:
        """A room that gives each message an id takes no memory by that when the messages are gone."""
        before = sys.getallocatedblocks()
        for number in range(5000):
            same_text(f"id {number} of {id(before)}")
        self.assertLess(sys.getallocatedblocks() - before, 1000)
