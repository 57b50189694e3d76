"""Where a client's second stream begins, whatever the pieces."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.cluster.restart_watch import LONGEST, RestartWatch
from minimixproxy.xep import sasl, sasl2

BEFORE = b"<stream:stream><stream:features/><challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>YQ==</challenge>"
BEHIND = b"<?xml version='1.0'?><stream:stream>"


def passed(pieces: list[bytes]) -> tuple[bytes, bytes | None]:
    """Return what goes to the first stream, and to the second."""
    watch = RestartWatch()
    first = b""
    for number, piece in enumerate(pieces):
        if watch.over:
            return first + b"".join(pieces[number:]), None
        data, second = watch.feed(piece)
        first += data
        if second is not None:
            return first, second + b"".join(pieces[number + 1 :])
    return first, b"" if watch.over else None


def cut(data: bytes, places: list[int]) -> list[bytes]:
    bounds = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[start:end] for start, end in pairwise(bounds)]


class RestartWatchTest(SynchronousTestCase):
    @given(st.sampled_from([sasl.success(), sasl.success(b"v=abc")]), st.lists(st.integers(0, 1000)))
    def test_success(self, success: bytes, places: list[int]) -> None:
        pieces = cut(BEFORE + success + BEHIND, places)
        self.assertEqual(passed(pieces), (BEFORE + success, BEHIND))

    @given(st.lists(st.integers(0, 1000)))
    def test_success_of_sasl2(self, places: list[int]) -> None:
        """Behind that, the stream goes on; and anybody may write of others."""
        data = BEFORE + sasl2.success("a@b", b"x", b"") + b"<message/>" + sasl.success() + BEHIND
        first, second = passed(cut(data, places))
        self.assertEqual((first, second or b""), (data, b""))

    @given(st.binary(), st.lists(st.integers(0, 1000)))
    def test_anything(self, data: bytes, places: list[int]) -> None:
        first, second = passed(cut(data, places) if data else [])
        self.assertTrue(data.startswith(first))
        self.assertLess(len(data) - len(first) - len(second or b""), 50)

    def test_without_end(self) -> None:
        watch = RestartWatch()
        begun = b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>"
        self.assertEqual(watch.feed(begun), (b"", None))
        self.assertEqual(watch.feed(b"x" * LONGEST), (begun + b"x" * LONGEST, None))
        self.assertTrue(watch.over)
