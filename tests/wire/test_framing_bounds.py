"""What a peer may make the framer keep, to the byte; and what is no end of a stanza, however it looks."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire.events import Event, Fault, Keepalive, Skipped, StreamOpened
from minimixproxy.wire.framing import MAX_HEADER, Framer, FramingLimits
from minimixproxy.wire.stanza import MAX_PAYLOADS, Stanza

HEADER = (
    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' to='a.test' version='1.0'>"
)
TOO_LARGE = Fault("policy-violation", "too large")


def fed(*pieces: bytes, limits: FramingLimits | None = None, opened: bool = True) -> list[Event]:
    """What comes of pieces, behind a header if `opened`."""
    framer = Framer(limits)
    if opened:
        framer.feed(HEADER)
    return [event for piece in pieces for event in framer.feed(piece)]


class BoundsTests(SynchronousTestCase):
    """The last byte that may be kept, and the first that may not."""

    LIMITS = (FramingLimits(max_stanza=300), FramingLimits(max_stanza=300, skips=True))

    def test_a_tag_that_has_not_ended(self) -> None:
        for limits in self.LIMITS:
            for size, expected in ((300, []), (301, [TOO_LARGE])):
                tag = b"<message a='"
                self.assertEqual(fed(tag + b"b" * (size - len(tag)), limits=limits), expected, (limits, size))

    def test_a_header_that_has_not_ended(self) -> None:
        for size, expected in ((MAX_HEADER, []), (MAX_HEADER + 1, [TOO_LARGE])):
            begun = HEADER[:-1] + b" a='"
            self.assertEqual(fed(begun + b"b" * (size - len(begun)), opened=False), expected, size)

    def test_a_tag_may_be_longer_than_a_header(self) -> None:
        tag = b"<message a='" + b"b" * MAX_HEADER
        events = fed(tag, b"'/>")
        self.assertEqual([type(event) for event in events], [Stanza])

    def test_a_stanza_that_has_not_ended(self) -> None:
        begun = b"<message>"
        for size, expected in ((300, []), (301, [TOO_LARGE])):
            self.assertEqual(fed(begun, b"b" * (size - len(begun)), limits=self.LIMITS[0]), expected, size)

    def test_what_comes_before_the_header_is_no_stanza_to_be_left_out(self) -> None:
        """Of a server, too: white space without an end."""
        for limits in self.LIMITS:
            for size, expected in ((300, []), (301, [TOO_LARGE])):
                self.assertEqual(fed(b" " * size, limits=limits, opened=False), expected, size)
            framer = Framer(limits)
            self.assertEqual(framer.feed(b" " * 301), [TOO_LARGE])
            self.assertEqual(framer.feed(HEADER), [], "the stream is beyond use")

    def test_what_comes_between_stanzas_is_no_stanza_to_be_left_out(self) -> None:
        for limits in self.LIMITS:
            self.assertEqual(fed(b"<![CDATA[<a>", b"b" * 301, limits=limits), [TOO_LARGE])

    def test_payloads_that_are_noted(self) -> None:
        for number in (MAX_PAYLOADS - 1, MAX_PAYLOADS, MAX_PAYLOADS + 1):
            (stanza,) = fed(b"<message>" + b"<a/>" * number + b"</message>")
            assert isinstance(stanza, Stanza)
            self.assertEqual(len(stanza.payloads), min(number, MAX_PAYLOADS))

    def test_a_stanza_that_grows_by_what_is_declared(self) -> None:
        raw = b"<message><p:x/><body>%b</body></message>"
        limits = FramingLimits(max_stanza=100_000, skips=True)
        (stanza,) = fed(raw % b"", limits=limits)
        assert isinstance(stanza, Stanza)
        for room, expected in ((0, Stanza), (-1, Skipped)):
            limits = FramingLimits(max_stanza=len(stanza.raw) + 300 + room, skips=True)
            (event,) = fed(raw % (b"b" * 300), limits=limits)
            self.assertIsInstance(event, expected)


class WhiteSpaceTests(SynchronousTestCase):
    def test_between_stanzas(self) -> None:
        for pieces in ((b" ",), (b" \n", b"\t"), (b"<iq/>", b" ")):
            events = fed(*pieces)
            self.assertEqual(events[-1], Keepalive(pieces[-1]))

    def test_in_what_may_not_stand_there(self) -> None:
        """It is no keep-alive: nobody is told of one."""
        for within in (b"<![CDATA[<a>", b"<![CDATA[<a>b"):
            self.assertEqual(fed(within, b" ", b"\n"), [], within)

    def test_before_the_header(self) -> None:
        events = fed(b" ", b"\n", HEADER, opened=False)
        self.assertEqual([type(event) for event in events], [StreamOpened])


class EndTests(SynchronousTestCase):
    """Where a stanza ends that looks as if it had ended before."""

    def test_of_text_that_looks_like_an_empty_element(self) -> None:
        for text in (b"/>", b"a/>", b"<a/>", b"'/>", b"<a b='/>'/>"):
            raw = b"<message>" + text + b"</message>"
            for cut in range(1, len(raw)):
                events = fed(raw[:cut], raw[cut:], b"<iq/>")
                self.assertEqual([event.raw for event in events if isinstance(event, Stanza)], [raw, b"<iq/>"])

    def test_of_one_that_is_left_out(self) -> None:
        """Its beginning is not there any more when its end comes."""
        limits = FramingLimits(max_stanza=300, skips=True)
        for text in (b"/>", b"a/>", b"<a>/>", b"'/>"):
            rest = text + (b"</a>" if b"<a>" in text else b"") + b"</message>"
            for before in range(292, 320):
                large = b"<message>" + b"b" * before
                events = fed(large, rest, b"<iq/>", limits=limits)
                self.assertEqual([type(event) for event in events], [Skipped, Stanza], (text, before))
                assert isinstance(events[0], Skipped)
                self.assertEqual(events[0].size, len(large + rest))


class AllowedDepthTests(SynchronousTestCase):
    def test_exactly_so_deep(self) -> None:
        """The stream itself does not count."""
        for allowed in (5, 50):
            for depth, fault in ((allowed, False), (allowed + 1, True)):
                framer = Framer(FramingLimits(max_depth=3))
                framer.allow_depth(allowed)
                framer.feed(HEADER)
                events = framer.feed(b"<a>" * depth + b"</a>" * depth)
                self.assertEqual(any(isinstance(event, Fault) for event in events), fault, (allowed, depth))


class ParserTests(SynchronousTestCase):
    """A parser goes on as long as it has nothing to keep; a new one costs more than most stanzas."""

    NESTED = b"<a>" * 5000 + b"</a>" * 5000

    def test_after_much_nesting(self) -> None:
        """Each time: it is not only the first parser that keeps too much."""
        framer = Framer()
        framer.allow_depth()
        framer.feed(HEADER)
        for _ in range(3):
            parser = framer._parser
            framer.feed(self.NESTED)
            self.assertIsNot(framer._parser, parser)

    def test_after_some_nesting(self) -> None:
        framer = Framer(FramingLimits(max_depth=10))
        framer.allow_depth()
        framer.feed(HEADER)
        parser = framer._parser
        framer.feed(b"<a>" * 100 + b"</a>" * 100)
        self.assertIs(framer._parser, parser)
