"""How stanzas are joined for TLS."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.upstream.records import RECORD, in_records

_SIZES = st.lists(st.integers(1, 3 * RECORD) | st.integers(1, 500), max_size=30)


class RecordsTests(SynchronousTestCase):
    @given(_SIZES)
    def test_no_stanza_is_cut_that_need_not_be(self, sizes: list[int]) -> None:
        stanzas = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
        written = list(in_records(stanzas))
        self.assertEqual(b"".join(written), b"".join(stanzas))
        ends = set()
        position = 0
        for piece in written:
            self.assertTrue(piece)
            ends.add(position := position + len(piece))
        position = 0
        for stanza in stanzas:
            position += len(stanza)
            inside = [end for end in ends if position - len(stanza) < end < position]
            self.assertEqual(inside, [])
            if len(stanza) > RECORD:
                self.assertIn(position - len(stanza), ends | {0})
        self.assertTrue(all(len(piece) <= RECORD or piece in stanzas for piece in written))

    def test_as_few_as_possible(self) -> None:
        half = b"x" * (RECORD // 2)
        self.assertEqual([len(piece) for piece in in_records([half] * 5)], [RECORD, RECORD, RECORD // 2])
