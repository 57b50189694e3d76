"""What is held back from expat, and that it is given out again."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire.expat_guard import ExpatGuard
from tests.examples import examples

# what comes in one read after the other, and what goes to expat
READS: list[list[tuple[bytes, bytes]]] = [
    [(b"<a/>", b"<a/>")],
    [(b"text", b"text")],
    [(b"<a>text", b"<a>text")],
    [(b"<a", b""), (b"/>", b"<a/>")],
    [(b"<a>b</", b"<a>b"), (b"a>", b"</a>")],
    [(b"<a b='>", b""), (b"'>c", b"<a b='>'>c")],
    [(b"<a b=\"'>", b""), (b'">', b'<a b="\'>">')],
    [(b"<a b='", b""), (b"x", b""), (b"y' c=", b""), (b"'>'", b""), (b"/>", b"<a b='xy' c='>'/>")],
    [(b"a > b <", b"a > b "), (b"c", b""), (b">", b"<c>")],
    [(b"x &am", b"x "), (b"p; y", b"&amp; y")],
    [(b"<a>x &#x4", b"<a>x "), (b"1;</a", b"&#x41;"), (b">", b"</a>")],
    [(b"<a b='&am", b""), (b"p;'>", b"<a b='&amp;'>")],
    [(b"&" + b"x" * 100, b""), (b"y", b""), (b"; ", b"&" + b"x" * 100 + b"y; ")],
    [(b"x &am", b"x "), (b"p;<a> ", b"&amp;<a> "), (b"&", b""), (b"b & c", b"&b ")],
    [(b"/ &x>", b"/ "), (b";", b"&x>;")],
    [(b"<![CDATA[it's", b""), (b"]]></a>", b"<![CDATA[it's]]></a>")],
    [(b"<a/><b", b"<a/>"), (b"/><c", b"<b/>"), (b"/>", b"<c/>")],
]
PIECES = st.lists(
    st.sampled_from(
        [b"<a>", b"</a>", b"<a b='>'/>", b'<a b="\'"/>', b"x", b"&amp;", b" ", b"<![CDATA[<&'>]]>", b"\xc3\xa9"]
    ),
    max_size=12,
)


class WholeTokensTests(SynchronousTestCase):
    def test_a_reference_is_held_while_it_is_unfinished(self) -> None:
        gate = ExpatGuard()
        released = [gate.release(data) for data in (b"a&amp;b", b"c&am", b"p", b";d", b"&lt;&g", b"t; e")]
        self.assertEqual(released, [b"a&amp;b", b"c", b"", b"&amp;d", b"&lt;", b"&gt; e"])
        self.assertEqual(gate.held, 0)

    def test_reads(self) -> None:
        for reads in READS:
            gate = ExpatGuard()
            self.assertEqual([gate.release(data) for data, _given in reads], [given for _data, given in reads])

    @settings(max_examples=examples(300))
    @given(PIECES, st.lists(st.integers(0, 100), max_size=10))
    def test_nothing_is_lost_and_a_stanza_never_stays(self, pieces: list[bytes], cuts: list[int]) -> None:
        data = b"".join([*pieces, b"</message>"])
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        gate = ExpatGuard()
        given = b"".join(gate.release(data[start:end]) for start, end in pairwise(places))
        self.assertEqual((given, gate.held), (data, 0))

    def test_each_byte_is_looked_at_once(self) -> None:
        """A tag that drips in must not cost time in the square of its length."""
        gate = ExpatGuard()
        gate.release(b"<a b='")
        for _byte in range(200_000):
            self.assertEqual(gate.release(b"x"), b"")
        self.assertEqual(gate.release(b"'>")[-4:], b"xx'>")
