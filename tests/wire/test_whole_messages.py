"""Messages that are cut and addressed without a parser, against the framer that reads each of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire import fast_framing
from minimixproxy.wire.events import Fault, StreamOpened
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.framing import PARSER_LIFE, Framer, FramingLimits
from minimixproxy.wire.idle_parsers import IdleParsers
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.whole_messages import pieces_of, plain_tags, value_of, whole_messages

HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
ARCHIVED = (
    b"<message to='a@b/c'><result xmlns='urn:xmpp:mam:2' id='1'><forwarded xmlns='urn:xmpp:forward:0'>"
    b"<message xmlns='jabber:client' to='a@b' from='d@e'><body>f</body></message></forwarded></result></message>"
)
MESSAGES = (
    b"<message></message>",
    b"<message to='a@b'><body>c</body></message>",
    b"<message to='a>b' id=\"'\"><body>!? &lt;</body></message>",
    b"<message>\xc3\xa9<x:message xmlns:x='urn:x'/></message>",
    ARCHIVED,
    b"<message><message></message> <message></message></message>",
)
#: What ends a row of whole messages.
OTHERS = (
    b"<presence/>",
    b"<iq><message></message></iq>",
    b" ",
    b"<message/>",
    b"<message><message/></message>",
    b"<message></message >",
    b"<message-x><message></message></message-x>",
    b"<q:message xmlns:q='urn:q'></q:message>",
)


def framed(data: bytes, limits: FramingLimits | None = None) -> list[object]:
    framer = Framer(limits)
    framer.feed(HEADER)
    return [event.raw if isinstance(event, Stanza) else event for event in framer.feed(data)]


class WholeMessagesTests(SynchronousTestCase):
    @given(st.lists(st.sampled_from([*MESSAGES, *MESSAGES, *OTHERS]), max_size=6), st.integers(0, 60))
    def test_the_first_ones(self, elements: list[bytes], missing: int) -> None:
        """As many as nothing else is before; what was found is what a parser finds."""
        data = b"".join(elements)
        data = data[: len(data) - missing]
        found, end = whole_messages(data)
        self.assertEqual(found, elements[: len(found)])
        self.assertEqual(end, len(b"".join(found)))
        behind = elements[len(found) :]
        whole = end + len(behind[0]) <= len(data) if behind else False
        self.assertFalse(whole and behind[0] in MESSAGES, (elements, found))

    def test_none_where_tags_may_be_text(self) -> None:
        for hidden in (b"<![CDATA[</message>]]>", b"<!-- -->", b"<?x?>"):
            for data in (b"<message>%b</message>", b"<message></message><message>%b</message>"):
                self.assertEqual(whole_messages(data % hidden), ([], 0))

    @given(st.lists(st.sampled_from([*MESSAGES, *OTHERS]), max_size=6), st.integers(1, 300))
    def test_pieces(self, elements: list[bytes], largest: int) -> None:
        data = b"".join(elements)
        pieces = pieces_of(data, largest)
        self.assertEqual(b"".join(pieces), data)
        self.assertLessEqual(max(map(len, pieces)), largest)
        for piece in pieces[:-1]:
            self.assertTrue(piece.endswith(b"</message>") or (b"</message>" not in piece and len(piece) == largest))

    def test_plain_tags(self) -> None:
        for data, expected in {
            b"<message></message>": (None, None),
            b"<message to='a@b'>": ("a@b", None),
            b"<message to='' id=''>": ("", ""),
            b"<message id='1' to=\"A@b/c d\" type='chat' xml:lang='de'>": ("A@b/c d", "1"),
            b"<message xmlns='jabber:client' id=\"'\" to='a>b'>": ("a>b", "'"),
            b"<message x:to='a' to='b' y:id='c' ido='d'>": ("b", None),
            "<message to='é'>".encode(): ("é", None),
            b"<message to='\xff'>": ("\ufffd", None),
        }.items():
            tags = plain_tags(data, 1)
            assert tags is not None, data
            self.assertEqual([tuple(map(value_of, tag)) for tag in tags], [expected], data)
        two = b"<message to='a'></message><message id='b'></message>"
        self.assertEqual(plain_tags(two, 2), [(b"'a'", b""), (b"", b"'b'")])

    def test_start_tags_that_are_not_plain(self) -> None:
        for data in (
            b"<message from='a'>",
            b"<message to='a&amp;b'>",
            b"<message to='a' xmlns='urn:x'>",
            b"<message to='a' xmlns:x='urn:x'>",
            b"<message to='a\tb'>",
            b"<message to = 'a'>",
            b"<message\nto='a'>",
            b"<message to='a' >",
            b"<message to='a'/>",
            b"<messages to='a'>",
            b"<message from='a'><message to='b'></message></message>",
            ARCHIVED,
        ):
            self.assertIsNone(plain_tags(data, 1), data)
            self.assertIsNone(plain_tags(b"<message to='b'></message>" + data, 2), data)


class FramerTests(SynchronousTestCase):
    """What a framer takes all at once."""

    def setUp(self) -> None:
        self.idle = IdleParsers()
        self.patch(fast_framing, "IDLE", self.idle)

    def framer(self, limits: FramingLimits | None = None, *, trusting: bool = False) -> FastFramer:
        framer = FastFramer(limits)
        self.assertIsInstance(framer.feed(HEADER)[0], StreamOpened)
        framer.pass_on(trusting=trusting)
        return framer

    def test_well_formed(self) -> None:
        for trusting in (False, True):
            framer = self.framer(trusting=trusting)
            data = b"".join(MESSAGES)
            self.assertEqual(framer.whole_messages(data + b"<iq/>"), (list(MESSAGES), len(data)))
            self.assertTrue(framer.takes(data))
            self.assertEqual([type(event) for event in framer.feed(b"<iq/>" + MESSAGES[0])], [Stanza] * 2)

    def test_what_is_not_well_formed_is_for_feed_to_say(self) -> None:
        """The messages before it pass, and behind it nothing does: as it is without taking them all at once."""
        for broken in (
            b"<message><a></b></message>",
            b"<message to='1' to='2'></message>",
            b"<message>&undefined;</message>",
            b"<message><q:x/></message>",
            b"<message>\xff</message>",
            b"<message>\xed\xa0\x80</message>",
            b"<message></stream:stream></message>",
            b"<message a='<'></message>",
            b"<message-x></message>",
            b"<message>]]></message>",
        ):
            data = MESSAGES[0] + MESSAGES[1] + broken + MESSAGES[2]
            framer = self.framer()
            messages, _end = framer.whole_messages(data)
            self.assertGreaterEqual(len(messages), 3, broken)
            self.assertFalse(framer.takes(data))
            events = [event.raw if isinstance(event, Stanza) else event for event in framer.feed(data)]
            self.assertEqual(events[:2], [MESSAGES[0], MESSAGES[1]])
            self.assertEqual(events, framed(data), broken)
            self.assertIsInstance(events[-1], Fault)
            self.assertEqual(framer.whole_messages(MESSAGES[0]), ([], 0))
            self.assertEqual(framer.feed(MESSAGES[0]), [])

    def test_nothing_passes_that_expat_has_not_read(self) -> None:
        """It may keep a token for later (expat 2.6: "reparse deferral")."""
        framer = self.framer()
        (header,) = self.idle._idle
        parser: Any = SimpleNamespace(Parse=lambda data, final: None, CurrentByteIndex=len(HEADER))
        self.idle.give(header, (parser, len(HEADER)))
        self.assertFalse(framer.takes(MESSAGES[0]))
        self.assertEqual([type(event) for event in framer.feed(MESSAGES[0])], [Stanza])

    def test_nothing_within_a_stanza(self) -> None:
        framer = self.framer()
        framer.feed(b"<message>")
        self.assertEqual(framer.whole_messages(MESSAGES[0]), ([], 0))
        framer.feed(MESSAGES[0] + b"</message>")
        self.assertEqual(framer.whole_messages(MESSAGES[0]), ([MESSAGES[0]], len(MESSAGES[0])))

    def test_not_before_it_is_to_pass(self) -> None:
        framer = FastFramer()
        framer.feed(HEADER)
        self.assertEqual(framer.whole_messages(MESSAGES[0]), ([], 0))

    def test_bounds(self) -> None:
        """What may be too large, or costs more than its bytes, is looked at one by one."""
        large = b"<message>" + b"a" * 281 + b"</message>"
        self.assertEqual(self.framer(FramingLimits(max_stanza=300)).whole_messages(large), ([large], 300))
        self.assertEqual(self.framer(FramingLimits(max_stanza=299)).whole_messages(large), ([], 0))
        named = b"<message xmlns:n='%b'>%b</message>" % (b"n" * 300, b"a" * 5000)
        self.assertEqual(self.framer().whole_messages(named), ([], 0))

    def test_parsers_are_used_for_a_while(self) -> None:
        framer = self.framer()
        data = b"<message>" + b"a" * 1000 + b"</message>"
        taken = 0
        for _ in range(3 * PARSER_LIFE // len(data)):
            if framer.takes(data):
                taken += 1
            else:
                self.assertEqual(len(self.idle), 0)
                self.assertEqual([type(event) for event in framer.feed(data)], [Stanza])
            self.assertLessEqual(sum(position for _parser, position in self.idle._idle.values()), PARSER_LIFE)
        self.assertGreater(taken, 3 * PARSER_LIFE // len(data) - 5)

    def test_a_parser_that_has_seen_much_is_not_used_again(self) -> None:
        framer = self.framer()
        deep = b"<message>" + b"<a>" * 3000 + b"</a>" * 3000 + b"</message>"
        self.assertTrue(framer.takes(deep))
        self.assertEqual(len(self.idle), 0)
        self.assertEqual([type(event) for event in framer.feed(MESSAGES[0])], [Stanza])
