"""Counting TLS records: never too few, or data would stay inside OpenSSL."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.c2s.tlslayer import RecordCounter


def record(length: int) -> bytes:
    return b"\x17\x03\x03" + length.to_bytes(2, "big") + bytes(length)


class RecordCounterTest(unittest.TestCase):
    @given(st.lists(st.integers(0, 700), max_size=8), st.lists(st.integers(1, 900), min_size=1, max_size=30))
    def test_every_record_once_however_cut(self, lengths: list[int], cuts: list[int]) -> None:
        data = b"".join(map(record, lengths))
        ends = [sum(5 + length for length in lengths[: number + 1]) for number in range(len(lengths))]
        counter, position, counted = RecordCounter(), 0, 0
        for size in (*cuts, len(data)):
            part = data[position : position + size]
            position += len(part)
            counted += counter.feed(part)
            self.assertEqual(counted, sum(end <= position for end in ends))

    def test_byte_by_byte(self) -> None:
        counter = RecordCounter()
        data = record(3) + record(0) + record(300)
        counts = [counter.feed(data[index : index + 1]) for index in range(len(data))]
        self.assertEqual([index for index, count in enumerate(counts) if count], [7, 12, 317])
