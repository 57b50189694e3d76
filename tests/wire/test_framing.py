"""Framing against domish, and against the restrictions of RFC 6120."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from itertools import pairwise
from typing import Any
from xml.parsers import expat

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase
from twisted.words.xish import domish

from minimixproxy.wire import fast_framing
from minimixproxy.wire.children import payload_attributes
from minimixproxy.wire.events import Event, Fault, Keepalive, Skipped, StreamClosed, StreamOpened
from minimixproxy.wire.fast_framing import FastFramer, simple_stanza_end
from minimixproxy.wire.framing import PARSER_LIFE, Framer, FramingLimits
from minimixproxy.wire.idle_parsers import IdleParsers
from minimixproxy.wire.stanza import Stanza, parse_element, serialize
from minimixproxy.wire.trees import UnusableStanza
from minimixproxy.wire.undeclared_prefixes import with_declarations
from tests.examples import examples

HEADER = (
    "<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    " xmlns:p='urn:p' to='a.test' version='1.0'>"
)
GAPS = st.sampled_from(["", " ", "\n "])
CUTS = st.lists(st.integers(0, 5000), max_size=12)


def feed(
    data: str | bytes, cuts: list[int] | None = None, limits: FramingLimits | None = None, *, passing: bool = True
) -> list[Event]:
    """Feed data cut in pieces; `passing`: to a framer that does not look into what is simple."""
    raw = data.encode() if isinstance(data, str) else data
    framer = Framer(limits)
    if passing:
        framer = passing_framer = FastFramer(limits)
        passing_framer.passing = True
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts or [])})
    events: list[Event] = []
    for start, end in pairwise(places):
        events += framer.feed(raw[start:end])
    return events


def stanzas(events: list[Event]) -> list[Stanza]:
    return [event for event in events if isinstance(event, Stanza)]


def _seen(event: Event) -> tuple[str, object]:
    """What an event is, to compare."""
    return type(event).__name__, event.raw if isinstance(event, Stanza) else event


def domish_elements(data: str) -> list[str]:
    found: list[str] = []
    stream = domish.elementStream()
    stream.DocumentStartEvent = lambda _root: None
    stream.ElementEvent = lambda element: found.append(canonical(element))
    stream.DocumentEndEvent = lambda: None
    stream.parse(data.encode())
    return found


def canonical(element: domish.Element) -> str:
    """A tree as text in which only meaning counts."""
    attributes = sorted((str(key), value) for key, value in element.attributes.items())
    children: list[str] = []
    for child in element.children:
        children.append(canonical(child) if isinstance(child, domish.Element) else child)
    return f"<{element.uri} {element.name} {attributes}>{''.join(children)}</>"


NAMES = st.sampled_from(["message", "presence", "iq", "x", "body", "p:x", "message-x"])
TEXTS = st.text(st.sampled_from("ab >'\"/]é漢🎉\n"), max_size=12)


def quoted(value: str) -> str:
    escaped = value.replace("&", "&amp;").replace("<", "&lt;")
    if "'" not in escaped:
        return f"'{escaped}'"
    return '"' + escaped.replace('"', "&quot;") + '"'


# Made here, and not at each draw: to make and check one takes longer than to draw from it.
KEYS = st.lists(st.sampled_from(["to", "from", "id", "xml:lang", "p:a"]), unique=True, max_size=3)
SPACES = st.sampled_from([" ", "  ", "\n"])
PERHAPS_SPACE = st.sampled_from(["", " "])
EQUALS = st.sampled_from(["=", " = "])
DECLARATIONS = st.sampled_from([" xmlns='jabber:client'", " xmlns='urn:y'", " xmlns:p='urn:other'"])
KINDS, DEEPEST_KINDS = st.sampled_from(["empty", "pair", "children"]), st.sampled_from(["empty", "pair"])
CONTENTS = st.sampled_from(["", "a/>", "&amp;&#x41;", "<![CDATA[</message>]]>", "]]&gt;", "x > y", "漢🎉"])
BOOLEANS = st.booleans()


@st.composite
def elements(draw: st.DrawFn, depth: int = 0) -> str:
    name = draw(NAMES)
    keys = draw(KEYS)
    space = draw(SPACES)
    attributes = "".join(f"{space}{key}{draw(EQUALS)}{quoted(draw(TEXTS))}" for key in keys)
    if draw(BOOLEANS):
        attributes += draw(DECLARATIONS)
    kind = draw(KINDS if depth < 3 else DEEPEST_KINDS)
    if kind == "empty":
        return f"<{name}{attributes}{draw(PERHAPS_SPACE)}/>"
    if kind == "pair":
        return f"<{name}{attributes}>{draw(CONTENTS)}</{name}{draw(PERHAPS_SPACE)}>"
    return f"<{name}{attributes}>{''.join(draw(children_at(depth + 1)))}</{name}>"


@cache
def children_at(depth: int) -> st.SearchStrategy[list[str]]:
    return st.lists(st.one_of(elements(depth), st.just("t/>"), st.just(" ")), max_size=3)


class AgainstDomish(TestCase):
    @settings(max_examples=examples(150))  # `make fuzz` goes on, against libxml2, too
    @given(st.lists(elements(), max_size=5), CUTS, GAPS, st.booleans())
    def test_same_stanzas_for_any_chunking(self, parts: list[str], cuts: list[int], gap: str, passing: bool) -> None:
        data = HEADER + gap.join(["", *parts, ""])
        # Cut before the first stanza too, so that a framer that passes meets it alone.
        events = feed(data, [len(HEADER), *cuts], passing=passing)
        self.assertNotIn(Fault, [type(event) for event in events])
        found = stanzas(events)
        self.assertEqual([stanza.raw.decode() for stanza in found], parts)
        self.assertEqual([canonical(stanza.element) for stanza in found], domish_elements(data))
        for stanza in found:
            self.assertEqual((stanza.uri, stanza.name), (stanza.element.uri, stanza.element.name))
            self.assertEqual(stanza.payloads, tuple((c.uri, c.name) for c in stanza.element.elements()))
            plain = {key: value for key, value in stanza.element.attributes.items() if isinstance(key, str)}
            self.assertEqual({k: v for k, v in stanza.attributes.items() if k[0] != "{"}, plain)

    @settings(max_examples=examples(100))
    @given(st.lists(elements(), min_size=1, max_size=4), CUTS)
    def test_nothing_is_lost_or_added(self, parts: list[str], cuts: list[int]) -> None:
        data = HEADER + "\n".join(parts) + " "
        out = b"".join(event.raw for event in feed(data, cuts) if isinstance(event, Stanza | Keepalive))
        self.assertEqual(out.decode(), "\n".join(parts) + " ")

    def test_byte_by_byte(self) -> None:
        data = HEADER + "<message to='é'><body>漢</body></message>\n<presence/><a></a></stream:stream>"
        events = feed(data, list(range(len(data.encode()))))
        kinds = [type(event) for event in events]
        self.assertEqual(kinds, [StreamOpened, Stanza, Keepalive, Stanza, Stanza, StreamClosed])

    def test_self_contained_is_the_same_alone(self) -> None:
        (stanza,) = stanzas(feed(HEADER + "<message p:k='v'><p:x/></message>"))
        alone = parse_element(stanza.self_contained(), {"": "jabber:client"})
        self.assertEqual(canonical(alone), canonical(stanza.element))

    def test_self_contained_keeps_an_own_declaration(self) -> None:
        xml = "<message xmlns:p='urn:mine'><p:x/></message>"
        (stanza,) = stanzas(feed(HEADER + xml))
        self.assertEqual(stanza.self_contained().decode(), xml)


class Header(TestCase):
    def test_header(self) -> None:
        (opened,) = feed(HEADER)
        assert isinstance(opened, StreamOpened)
        self.assertEqual(opened.attributes, {"to": "a.test", "version": "1.0"})
        self.assertEqual(opened.namespaces["p"], "urn:p")
        self.assertEqual(opened.namespaces[""], "jabber:client")
        self.assertEqual((opened.uri, opened.name), ("http://etherx.jabber.org/streams", "stream"))

    def test_lang_is_named_with_its_namespace(self) -> None:
        (opened,) = feed(HEADER.replace(" to=", " xml:lang='de' to="))
        assert isinstance(opened, StreamOpened)
        self.assertEqual(opened.attributes["{http://www.w3.org/XML/1998/namespace}lang"], "de")

    def test_no_default_namespace(self) -> None:
        (opened,) = feed("<stream:stream xmlns='' xmlns:stream='http://etherx.jabber.org/streams'>")
        assert isinstance(opened, StreamOpened)
        self.assertEqual(opened.namespaces[""], "")

    def test_larger_than_a_stanza_may_be(self) -> None:
        for size, kind in ((len(HEADER), StreamOpened), (len(HEADER) - 1, Fault)):
            (event,) = feed(HEADER, None, FramingLimits(size))
            self.assertIsInstance(event, kind)

    def test_large(self) -> None:
        """Whoever reads a stanza reads the declarations around it: each would cost what the header costs."""
        tail = " xmlns:stream='http://etherx.jabber.org/streams' xmlns='jabber:client'>"
        for limits in (FramingLimits(), FramingLimits(16 * 1024**2, 1000, skips=True)):
            for size, fine in ((10_000, True), (10_001, False), (200_000, False)):
                header = "<stream:stream" + "".join(f" xmlns:n{n}='u'" for n in range(size // 20)) + tail
                header = header.replace("xmlns='", " " * (size - len(header)) + "xmlns='", 1)
                for cuts in (None, list(range(0, len(header), 1000))):
                    opened, *rest = feed(header, cuts, limits)
                    self.assertEqual((isinstance(opened, StreamOpened), rest), (fine, []), (size, opened))
                    self.assertTrue(fine or (isinstance(opened, Fault) and opened.condition == "policy-violation"))

    def test_large_and_never_whole(self) -> None:
        framer = Framer(FramingLimits(16 * 1024**2, 1000, skips=True))
        events = [event for _ in range(11) for event in framer.feed(b"<stream" if not _ else b"x" * 1000)]
        self.assertEqual(events, [Fault("policy-violation", "too large")])


class ParsersLife(TestCase):
    """Expat keeps every name and all the nesting that it has met: a peer must not make it keep more and more."""

    def made(self, passing: bool, *stanzas: bytes) -> int:
        """Return how many further parsers are made for these, each a read."""
        made = [0]
        kind = FastFramer if passing else Framer
        make_parser = kind._make_parser

        def counted(framer: Framer) -> expat.XMLParserType:
            made[0] += 1
            return make_parser(framer)

        self.patch(kind, "_make_parser", counted)
        self.patch(fast_framing, "IDLE", IdleParsers())
        framer = kind(FramingLimits(max_depth=5000))
        framer.feed(HEADER.encode())
        if isinstance(framer, FastFramer):
            framer.passing = True
        before = made[0]
        for raw in stanzas:
            (event,) = framer.feed(raw)
            assert isinstance(event, Stanza)
            self.assertEqual(event.raw, raw)
        return made[0] - before

    def test_it_ends_after_some_bytes(self) -> None:
        some = b"<message><body>%b</body></message>" % (b"x" * 10_000)
        for passing in (True, False):
            self.assertEqual(self.made(passing, *[some] * 20), 0, passing)
            self.assertEqual(self.made(passing, *[some] * 30), 1, passing)
            self.assertEqual(self.made(passing, *[some] * 60), 2, passing)

    def test_it_ends_after_much_nesting(self) -> None:
        """A framer that does not look into a stanza goes by its size and the number of its end tags."""
        text = b"x" * 16_384
        for levels, framer_makes, passing_makes in ((900, 0, 0), (1100, 1, 1)):
            deep = b"<message>%b%b%b</message>" % (b"<a>" * levels, text, b"</a>" * levels)
            self.assertEqual(self.made(False, deep), framer_makes)
            self.assertEqual(self.made(True, deep), 0, "when it is needed")
            self.assertEqual(self.made(True, deep, *[b"<message></message>"] * 3), passing_makes)
            self.assertEqual(self.made(True, deep.replace(text, b"")), 0, "not large")
            self.assertEqual(self.made(True, deep, b"<message></message>"), passing_makes, "once is enough")
        self.assertEqual(self.made(True, b"<message><body>%b</body></message>" % text), 0, "large, and no more")


class Passing(TestCase):
    """What a framer takes for a whole simple stanza, by the bytes alone."""

    def test_table(self) -> None:
        for data, length in [
            ("<message>a</message>", 20),
            ("<iq><query xmlns='a'/></iq><iq/>", 27),
            ("<presence to='a>b'>!?</presence> ", 32),
            ("<message", -1),
            ("<message>a</message", -1),
            ("<message>a</message >", -1),
            ("<message/>", -1),
            ("<message/><message></message>", -1),
            ("<message><message></message></message>", 38),
            ("<message><message></message><message></message></message><iq/>", 57),
            ("<message><message/></message>", -1),
            ("<message><message/></message><message></message>", -1),
            ("<message><message-x></message-x></message><message></message>", -1),
            ("<message><![CDATA[</message>]]></message>", -1),
            ("<message><!-- </message> --></message>", -1),
            ("<message><?a </message> ?></message>", -1),
            ("<a><message></message></a>", -1),
            ("<mess><message></message></mess>", -1),
            (" <message></message>", -1),
            ("<q:message></q:message>", -1),
            ("<message>" + "a" * 300 + "</message>", -1),
            ("<iq>" + "<a>" * 11 + "</a>" * 11 + "</iq>", 86),
            ("", -1),
            ("<", -1),
            ("<<", -1),  # held the reactor for ever, once
            ("<<message></message>", -1),
        ]:
            limits = FramingLimits(max_stanza=300, max_depth=10)
            self.assertEqual(simple_stanza_end(data.encode(), 0, limits), length, data)
            if length > 0:
                self.assertEqual(simple_stanza_end(b"<iq/>" + data.encode(), 5, limits), length + 5)

    def test_payloads_are_found_when_asked_for(self) -> None:
        framer = FastFramer()
        framer.passing = True
        framer.feed(HEADER.encode())
        (stanza,) = stanzas(framer.feed(b"<message><body>x</body><p:x/></message>"))
        self.assertFalse(stanza.has_payload("jabber:client", "subject"))
        self.assertFalse(stanza.has_payload("urn:x", "x"))
        self.assertTrue(stanza.has_payload("urn:p", "x"))
        self.assertEqual(stanza.payloads, (("jabber:client", "body"), ("urn:p", "x")))

    def test_trusting(self) -> None:
        framer = FastFramer()
        framer.passing = framer.trusting = True
        framer.feed(HEADER.encode())
        parts = [
            "<iq id='1'></iq>",
            "<iq id='2'/>",
            "<message xml:lang='de' to='a&amp;b'><p:x/></message>",
            "<iq",
            "></iq>",
        ]
        events = [event for part in parts for event in framer.feed(part.encode())]
        self.assertEqual([stanza.name for stanza in stanzas(events)], ["iq", "iq", "message", "iq"])
        message = stanzas(events)[2]
        self.assertEqual((message.uri, message["to"], message.payloads), ("jabber:client", "a&b", (("urn:p", "x"),)))
        self.assertEqual(message.attributes["{http://www.w3.org/XML/1998/namespace}lang"], "de")
        self.assertEqual(message.raw.decode(), parts[2])
        (fault,) = framer.feed(b"<!-- -->")
        assert isinstance(fault, Fault)
        self.assertEqual(fault.condition, "restricted-xml")

    def test_between_the_ways(self) -> None:
        framer = FastFramer()
        framer.passing = True
        parts = ["<iq id='1'></iq>", "<iq id='2'/>", "<iq id='3'>", "</iq>", "<iq id='4'></iq><iq id='5'/>"]
        framer.feed(HEADER.encode())
        events = [event for part in parts for event in framer.feed(part.encode())]
        self.assertEqual([stanza["id"] for stanza in stanzas(events)], ["1", "2", "3", "4", "5"])
        self.assertEqual(framer.feed(b"</stream:stream>"), [StreamClosed()])


class ParserLife(TestCase):
    """expat never forgets a name."""

    def test_made_up_names(self) -> None:
        idle = IdleParsers()
        self.patch(fast_framing, "IDLE", idle)
        for passing in (False, True):
            framer = FastFramer()
            framer.passing = passing
            framer.feed(HEADER.encode())
            for number in range(1000):
                names = "".join(f"<n{number}x{other}/>" for other in range(40))
                (stanza,) = stanzas(framer.feed(f"<message xmlns:q='a' p:n='{number}'>{names}</message>".encode()))
                self.assertEqual(stanza.attributes, {"{urn:p}n": str(number)})
                self.assertNotIn("q", stanza._namespaces)
                parsers = [parser for parser, _position in idle._idle.values()] if passing else [framer._parser]
                self.assertLessEqual(len(parsers), 1)
                self.assertLess(sum(len(parser.intern) for parser in parsers), 30_000)
            self.assertEqual(framer.feed(b" <iq/>")[0], Keepalive(b" "))
            self.assertEqual(framer.feed(b"</stream:stream>"), [StreamClosed()])


class Restrictions(TestCase):
    def last(self, data: str | bytes, limits: FramingLimits | None = None) -> tuple[str, int]:
        raw = data.encode() if isinstance(data, str) else data
        cuts = [place for place in (raw.find(b"version='1.0'>") + 14, raw.find(b"<presence/>") + 11) if place > 20]
        results = set()
        for passing in (False, True):
            events = feed(raw, cuts, limits, passing=passing)
            fault = events[-1]
            assert isinstance(fault, Fault), events
            results.add((fault.condition, len(stanzas(events))))
        self.assertEqual(len(results), 1, results)
        return results.pop()

    def test_table(self) -> None:
        table: list[tuple[str | bytes, str]] = [
            ("<!-- c -->", "restricted-xml"),
            ("<message><!-- c --></message>", "restricted-xml"),
            ("<?php ?>", "restricted-xml"),
            ("<message><?php ?></message>", "restricted-xml"),
            ("<message>&foo;</message>", "restricted-xml"),
            ("<message></presence>", "not-well-formed"),
            ("<message><a></message>", "not-well-formed"),
            ("<messages></message>", "not-well-formed"),
            ("<message><q:a/></message>", "not-well-formed"),
            ("<message a='<'></message>", "not-well-formed"),
            ("<message>]]></message>", "not-well-formed"),
            ("<message to=a/>", "not-well-formed"),
            ("<message to='a' to='b'/>", "not-well-formed"),
            ("<q:message/>", "not-well-formed"),
            ("<message q:a=''/>", "not-well-formed"),
            ("<message>&#0;</message>", "not-well-formed"),
            ("text", "bad-format"),
            ("text<iq/>", "bad-format"),
            ("<![CDATA[text]]><iq/>", "bad-format"),
            (b"<message>\xff</message>", "not-well-formed"),
            ("\x0b", "not-well-formed"),
            (" \x0c\n", "not-well-formed"),
            ("\x85", "bad-format"),
        ]
        for extra, condition in table:
            data = HEADER.encode() + b"<presence/>" + (extra if isinstance(extra, bytes) else extra.encode())
            self.assertEqual(self.last(data), (condition, 1), extra)

    def test_behind_a_stanza(self) -> None:
        for extra, condition in [
            ("</message>", "not-well-formed"),
            ("text", "bad-format"),
            ("<!-- -->", "restricted-xml"),
        ]:
            data = HEADER + "<presence/><message></message>" + extra
            self.assertEqual(self.last(data), (condition, 2), extra)

    def test_document_type(self) -> None:
        self.assertEqual(self.last("<!DOCTYPE a [<!ENTITY b 'c'>]>" + HEADER[21:]), ("restricted-xml", 0))

    def test_other_encoding(self) -> None:
        data = HEADER.replace("version='1.0'?", "version='1.0' encoding='ISO-8859-1'?", 1)
        self.assertEqual(self.last(data), ("unsupported-encoding", 0))

    def test_our_encoding(self) -> None:
        for name in ("UTF-8", "utf-8"):
            (opened,) = feed(HEADER.replace("version='1.0'?", f"version='1.0' encoding='{name}'?", 1))
            self.assertIsInstance(opened, StreamOpened)

    def test_what_is_restricted_is_refused_by_its_beginning(self) -> None:
        """Whatever stands behind it that has not come yet; in CDATA it is text."""
        for before in ("", "<message>", "<message>text", "<message><body/>"):
            for piece in ("<!-- >", "<!-- ?>", "<?x >", "<!DOCTYPE a [<!ENTITY b 'c'>"):
                framer = Framer()
                framer.feed(HEADER.encode() + before.encode())
                (fault,) = framer.feed(piece.encode())
                assert isinstance(fault, Fault)
                expected = "not-well-formed" if piece.startswith("<!D") else "restricted-xml"
                self.assertEqual(fault.condition, expected, (before, piece))
        framer = Framer()
        framer.feed(HEADER.encode())
        for piece in ("<message><![CDATA[", "<!-- >", "<?x >", "]]", "></message>"):
            events = framer.feed(piece.encode())
        self.assertEqual([type(event) for event in events], [Stanza])

    def test_white_space_within_what_no_stream_may_have(self) -> None:
        framer = Framer()
        framer.feed(HEADER.encode() + b"<![CDATA[")
        self.assertEqual(framer.feed(b" "), [], "not between stanzas, but within text")
        (fault,) = framer.feed(b"]]><iq/>")
        self.assertIsInstance(fault, Fault)

    def test_what_a_server_may_not_relay(self) -> None:
        """Its stream ends, as a client's: only prefixes that nobody declared are made up for."""
        for attributes in ("xmlns:x='u' xmlns:y='u' x:a='' y:a=''", "xmlns:p=''", "a='' a=''", "xmlns:xml='u'"):
            for limits in (FramingLimits(), FramingLimits(skips=True)):
                self.assertEqual(self.last(f"{HEADER}<presence {attributes}/>", limits), ("not-well-formed", 0))

    def test_nothing(self) -> None:
        framer = Framer()
        for data in (b"", HEADER.encode(), b"<message>", b"</message>", b" "):
            framer.feed(data)
            self.assertEqual(framer.feed(b""), [], data)

    def test_utf16(self) -> None:
        self.assertEqual(self.last(HEADER.encode("utf-16")), ("unsupported-encoding", 0))
        self.assertEqual(self.last(HEADER[21:].encode("utf-16-le")), ("unsupported-encoding", 0))
        self.assertEqual(self.last(HEADER[21:].encode("utf-16-be")), ("unsupported-encoding", 0))
        header = "\n" + HEADER[21:]  # without a declaration, white space may come first
        for encoding in ("utf-16-le", "utf-16-be"):
            for text in (header, header + "<message/>"):
                self.assertEqual(self.last(text.encode(encoding)), ("not-well-formed", 0))

    def test_size(self) -> None:
        limits = FramingLimits(max_stanza=300)
        small = "<message>" + "a" * (300 - 19) + "</message>"
        self.assertEqual(len(stanzas(feed(HEADER + small * 3, None, limits))), 3)
        large = "<message>" + "a" * (300 - 18) + "</message>"
        self.assertEqual(self.last(HEADER + large, limits), ("policy-violation", 0))
        self.assertEqual(self.last(HEADER + "<message a='" + "a" * 300, limits), ("policy-violation", 0))
        self.assertEqual(self.last("<stream:stream a='" + "a" * 300, limits), ("policy-violation", 0))

    def test_white_space_is_no_unfinished_stanza(self) -> None:
        limits = FramingLimits(max_stanza=300)
        framer = Framer(limits)
        framer.feed(HEADER.encode())
        for _ in range(10):
            self.assertEqual(framer.feed(b" " * 100), [Keepalive(b" " * 100)])
        self.assertEqual(len(stanzas(framer.feed(b"<iq/>"))), 1)

    def test_depth(self) -> None:
        limits = FramingLimits(max_depth=10)
        nest = lambda n: HEADER + "<a>" * n + "</a>" * n  # noqa: E731
        self.assertEqual(len(stanzas(feed(nest(10), None, limits))), 1)
        self.assertEqual(self.last(nest(11), limits), ("policy-violation", 0))

    def test_depth_once_it_is_allowed(self) -> None:
        for framer in (Framer(FramingLimits(max_depth=10)), FastFramer(FramingLimits(max_depth=10))):
            framer.feed(HEADER.encode())
            framer.allow_depth()
            for name in ("a", "message"):
                for _ in range(3):
                    nested = b"<%b>" % name.encode() * 5000 + b"</%b>" % name.encode() * 5000
                    self.assertEqual([stanza.raw for stanza in stanzas(framer.feed(nested))], [nested])

    def test_a_parser_that_has_been_deep_is_not_kept(self) -> None:
        framer = Framer()
        framer.feed(HEADER.encode())
        framer.allow_depth()
        parser = framer._parser
        framer.feed(b"<a>" * 5000 + b"</a>" * 5000)
        self.assertIsNot(framer._parser, parser)

    def test_the_beginning_is_enough_to_refuse(self) -> None:
        """It costs no more than it has to, and the peer knows at once."""
        for beginning in ("<!-- a>", "<!-- <a>", "<?a >", "<?a <b>", "<!DOCTYPE a>"):
            self.assertEqual(self.last(HEADER + "<presence/><message>" + beginning)[1], 1, beginning)
            self.assertEqual(self.last(beginning), ("restricted-xml", 0), beginning)

    def test_cdata_may_hold_anything(self) -> None:
        for text in ("<!-- ", "<?a ", "<!D", "& < > ' it's", "<", "&amp"):
            xml = f"<message><body><![CDATA[{text}]]></body></message>"
            for cuts in (None, list(range(len(HEADER), len(HEADER + xml)))):
                for passing in (False, True):
                    (stanza,) = stanzas(feed(HEADER + xml, cuts, passing=passing))
                    self.assertEqual(str(stanza.element.body), text)

    def test_any_namespace(self) -> None:
        """Whatever may stand in a namespace: "}" ended the stream, of an account and of every room it is in."""
        for uri in ("urn:}x", "{x}", "a b", "&amp;&lt;'", "&#10;", "\u0301"):
            xml = f'<message><x xmlns="{uri}"/><p:x xmlns:p="{uri}" p:a="1"/></message>'
            for passing in (False, True):
                (stanza,) = stanzas(feed(HEADER + xml, [len(HEADER)], passing=passing))
                meant = uri.replace("&amp;", "&").replace("&lt;", "<").replace("&#10;", "\n")
                self.assertEqual(stanza.payloads, ((meant, "x"), (meant, "x")))
                self.assertEqual(list(stanza.element.elements())[1].attributes, {(meant, "a"): "1"})
                again = parse_element(serialize(stanza.element), {"": "jabber:client"})
                self.assertEqual(canonical(again), canonical(stanza.element))

    def test_nothing_follows_an_end(self) -> None:
        framer = Framer()
        self.assertEqual(framer.feed(HEADER.encode() + b"</stream:stream>")[1:], [StreamClosed()])
        self.assertEqual(framer.feed(b"<iq/>"), [])
        for behind in (b"text", b"<iq/>", b"</a>", b"<!-- -->", b"\xff", b" \n", b"<?xml version='1.0'?>"):
            for passing in (False, True):
                events = feed(HEADER.encode() + b"</stream:stream>" + behind, passing=passing)
                self.assertEqual(events[1:], [StreamClosed()])
        framer = Framer()
        self.assertIsInstance(framer.feed(HEADER.encode() + b"<a></b>")[-1], Fault)
        self.assertEqual(framer.feed(b"<iq/>"), [])

    def test_what_stands_before_the_end(self) -> None:
        data = HEADER.encode() + b"<presence/>"
        for passing in (False, True):
            events = feed(data + b" \n</stream:stream>", passing=passing)
            self.assertEqual(events[2:], [Keepalive(b" \n"), StreamClosed()])
            (fault,) = feed(data + b"text</stream:stream>", passing=passing)[2:]
            self.assertEqual(fault, Fault("bad-format", "text between stanzas"))

    def test_nothing_is_kept_of_what_was_given_out(self) -> None:
        framer = Framer()
        for data in (HEADER.encode(), b"<iq/>" * 100, b" ", b"<message>", b"</message><iq/>", b"</stream:stream>"):
            framer.feed(data)
            self.assertEqual(framer._chunk, b"", data)
        self.assertEqual(framer._tail, b"")

    def test_empty_stream(self) -> None:
        events = feed("<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>")
        self.assertEqual([type(event) for event in events], [StreamOpened, StreamClosed])


_MAKE_PARSER = expat.ParserCreate


class CountingParser:
    """An expat parser that counts what it is given, and what of that it has to read once more."""

    read = 0

    def __init__(self, encoding: str | None = None, namespace_separator: str | None = None) -> None:
        self.__dict__["_parser"] = _MAKE_PARSER(encoding, namespace_separator)
        self.__dict__["_given"] = 0

    def Parse(self, data: bytes, final: bool) -> None:
        unread = self._given - max(self._parser.CurrentByteIndex, 0)
        CountingParser.read += unread + len(data)
        self.__dict__["_given"] += len(data)
        self._parser.Parse(data, final)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._parser, name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(self._parser, name, value)


class DeferringParser(CountingParser):
    """One of an expat that may wait for more before it reads a token again (2.6)."""

    deferring: list[bool] = []

    def SetReparseDeferralEnabled(self, enabled: bool) -> None:
        self.deferring.append(enabled)


class Costs(TestCase):
    """What comes in small pieces is read once, whatever it is."""

    SIZE = 20_000

    def shapes(self, size: int) -> dict[str, bytes]:
        return {
            "an attribute": b"<message a='" + b"x" * size + b"'/>",
            "an attribute with ends of tags": b"<message a='" + b">" * size + b"'/>",
            "many attributes": b"<message" + b"".join(b" a%d=''" % number for number in range(size // 10)) + b"/>",
            "a name": b"<" + b"m" * size + b"/>",
            "an end tag": b"<message></message" + b" " * size + b">",
            "text": b"<message>" + b"x" * size + b"</message>",
            "lines": b"<message>" + b"\n" * size + b"</message>",
            "references": b"<message>" + b"&lt;" * (size // 4) + b"</message>",
            "a long reference": b"<message>&#" + b"0" * size + b"65;</message>",
            "references in an attribute": b"<message a='" + b"&lt;" * (size // 4) + b"'/>",
            "CDATA": b"<message><![CDATA[" + b"it's <&> " * (size // 9) + b"]]></message>",
            "many CDATA sections": b"<message>" + b"<![CDATA[<!-- ]]>" * (size // 17) + b"</message>",
            "elements": b"<message>" + b"<a/>" * (size // 4) + b"</message>",
            "nesting": b"<message>" + b"<a>" * (size // 7) + b"</a>" * (size // 7) + b"</message>",
            "namespaces": b"<message>" + b"<a:b xmlns:a='c'/>" * (size // 18) + b"</message>",
            "small stanzas": b"<r/>" * (size // 4),
        }

    def read(self, data: bytes, piece: int, header: bytes = HEADER.encode()) -> tuple[int, list[Event]]:
        self.patch(expat, "ParserCreate", CountingParser)
        CountingParser.read = 0
        framer = Framer()
        framer.allow_depth()
        events = framer.feed(header)
        for start in range(0, len(data), piece):
            events += framer.feed(data[start : start + piece])
        return CountingParser.read, events

    def test_well_formed(self) -> None:
        for piece, size in ((1, self.SIZE // 4), (16, self.SIZE), (1000, self.SIZE)):
            for name, data in self.shapes(size).items():
                read, events = self.read(data, piece)
                self.assertEqual(b"".join(stanza.raw for stanza in stanzas(events)), data, name)
                self.assertLess(read, 3 * len(data), name)

    def test_nothing_waits_for_more(self) -> None:
        """Expat 2.6 would keep a stanza that came in parts until the peer says something more."""
        self.patch(expat, "ParserCreate", DeferringParser)
        DeferringParser.deferring.clear()
        Framer()
        self.assertEqual(DeferringParser.deferring, [False])

    def test_what_is_refused(self) -> None:
        size = self.SIZE
        for data in (
            b"<message><!--" + b"x> <a>" * (size // 6),
            b"<message><?a " + b"x> <a>" * (size // 6),
            b"<message>&" + b"x" * size,
            b"<message>" + b"&x " * (size // 3),
            b"<message a='" + b"x" * size,
        ):
            for header in (HEADER.encode(), b""):
                read, _events = self.read(data, 16, header)
                self.assertLess(read, 3 * len(data))

    def test_before_the_header(self) -> None:
        size = self.SIZE
        for data in (b"<?xml " + b"a> " * size, b"<?xml-x " + b"a> " * size, b"<!DOCTYPE a [" + b"a> " * size):
            read, _events = self.read(data, 16, b"")
            self.assertLess(read, 3 * len(data))


class Skipping(TestCase):
    """A stanza that is too large is left out, where nothing but that one is lost."""

    def test_table(self) -> None:
        limits = FramingLimits(max_stanza=300, skips=True)
        for large in (
            "<message id='1'>" + "a" * 300 + "</message>",
            "<message id='1'>" + "a/>" * 200 + "</message>",
            "<message id='1'>" + "a" * 1300 + "<a>" * 50 + "</a>" * 50 + "</message>",
            "<message id='1'>" + "<a/>" * 300 + "</message>",
            "<message id='1'><![CDATA[" + "it's <!-- & > " * 30 + "]]></message>",
            "<message id='1' a='" + "b" * 250 + "'>" + "c" * 40 + "</message>",
        ):
            data = HEADER + "<presence/>" + large + "<iq/>"
            every = list(range(len(data)))
            for cuts in ([], every, every[::7], [len(HEADER) + 11], [len(HEADER) + 11 + 300, len(data) - 9]):
                events = feed(data, cuts, limits, passing=False)[1:]
                self.assertEqual([type(event) for event in events], [Stanza, Skipped, Stanza], large)
                (skipped,) = [event for event in events if isinstance(event, Skipped)]
                self.assertEqual(
                    (skipped.uri, skipped.name, skipped.attributes["id"]), ("jabber:client", "message", "1")
                )
                digest = sha256(large.encode()).hexdigest()
                self.assertEqual((skipped.size, skipped.digest), (len(large), digest), cuts)

    def test_nothing_is_kept_of_a_tag_that_is_refused(self) -> None:
        framer = Framer(FramingLimits(max_stanza=300))
        self.assertIsInstance(framer.feed(HEADER.encode() + b"<message a='" + b"b" * 10_000)[-1], Fault)
        self.assertEqual((framer._guard.held, len(framer._tail)), (0, 0))

    def test_nothing_of_it_is_kept(self) -> None:
        framer = Framer(FramingLimits(max_stanza=300, skips=True))
        framer.feed(HEADER.encode() + b"<message>")
        for _ in range(1000):
            framer.feed(b"a" * 250)
            self.assertLessEqual(len(framer._tail), 300)
        self.assertIsInstance(framer.feed(b"</message>")[0], Skipped)

    def test_one_tag_that_may_be_longer(self) -> None:
        """Its stanza is left out, in however many pieces it comes; up to a bound."""
        limits = FramingLimits(max_stanza=300, skips=True, max_tag=500)
        for large in (
            "<message id='1' a='" + "b" * 400 + "'/>",
            "<message id='1' a='" + "b" * 400 + "'><body>c</body></message>",
            "<message id='1'><a a='" + "b" * 400 + "'/>d</message>",
        ):
            data = HEADER + "<presence/>" + large + "<iq/>"
            every = list(range(len(data)))
            for cuts in ([], every, every[::7]):
                events = feed(data, cuts, limits, passing=False)[1:]
                self.assertEqual([type(event) for event in events], [Stanza, Skipped, Stanza], large)
                (skipped,) = [event for event in events if isinstance(event, Skipped)]
                digest = sha256(large.encode()).hexdigest()
                self.assertEqual((skipped.name, skipped.size, skipped.digest), ("message", len(large), digest))
        events = feed(HEADER + "<message a='" + "b" * 600, None, limits, passing=False)
        self.assertEqual(events[-1], Fault("policy-violation", "too large"))

    def test_one_tag_cannot_be_skipped(self) -> None:
        limits = FramingLimits(max_stanza=300, skips=True)
        events = feed(HEADER + "<message a='" + "b" * 400, None, limits, passing=False)
        self.assertEqual(events[-1], Fault("policy-violation", "too large"))
        events = feed(HEADER + " " * 10 + "<![CDATA[" + "b" * 400, None, limits, passing=False)
        self.assertIsInstance(events[-1], Fault)


class PassingInTheMiddle(TestCase):
    """What looks like a stanza passes as one only where a stanza may begin."""

    INNER = b"<message to='b'><body>x</body></message>"

    def framer(self, *, trusting: bool) -> FastFramer:
        framer = FastFramer(FramingLimits(max_stanza=300, skips=True))
        framer.feed(HEADER.encode())
        framer.passing = True
        framer.trusting = trusting
        return framer

    def test_within_one_that_is_left_out(self) -> None:
        for trusting in (False, True):
            framer = self.framer(trusting=trusting)
            events = framer.feed(b"<message><forwarded>" + b"x" * 1000)
            for _ in range(3):
                events += framer.feed(self.INNER)
            events += framer.feed(b"</forwarded></message>")
            events += framer.feed(self.INNER)
            self.assertEqual([type(event) for event in events[:1]], [Skipped])
            self.assertEqual([stanza.raw for stanza in stanzas(events)], [self.INNER])

    def test_within_one_that_comes_in_parts(self) -> None:
        for trusting in (False, True):
            framer = self.framer(trusting=trusting)
            parts = (b"<message><forwarded>", self.INNER, b"</forwarded></message>")
            events = [event for part in parts for event in framer.feed(part)]
            self.assertEqual([stanza.raw for stanza in stanzas(events)], [b"".join(parts)])

    def test_within_a_tag(self) -> None:
        for trusting in (False, True):
            framer = self.framer(trusting=trusting)
            events = framer.feed(b"<presence a='") + framer.feed(self.INNER)
            self.assertEqual([type(event) for event in events], [Fault])

    def test_behind_the_end(self) -> None:
        for trusting in (False, True):
            for end in (b"</stream:stream>", b"</a>"):
                framer = self.framer(trusting=trusting)
                self.assertEqual(len(framer.feed(end)), 1)
                self.assertEqual(framer.feed(self.INNER), [])


class Resting(TestCase):
    """A stream has a parser only while it needs one: expat's takes 6 KiB, and most sessions are idle."""

    SIMPLE = b"<message to='b'><body>x</body></message>"
    OTHER = b"<message to='b'><message/><x xmlns='urn:x'/></message>"

    def framer(self, behind: bytes = b"", *, trusting: bool = True) -> FastFramer:
        framer = FastFramer(FramingLimits(max_stanza=300, skips=True))
        framer.feed(HEADER.encode() + behind)
        framer.pass_on(trusting=trusting)
        return framer

    def test_while_all_is_simple(self) -> None:
        framer = self.framer()
        for _ in range(3):
            self.assertFalse(hasattr(framer, "_parser"))
            self.assertEqual([stanza.raw for stanza in stanzas(framer.feed(self.SIMPLE * 2))], [self.SIMPLE] * 2)
        for bad in (b"<message><a></b></message>", b"<message a='1' a='2'></message>"):
            stranger = self.framer(trusting=False)
            self.assertEqual([stanza.raw for stanza in stanzas(stranger.feed(self.SIMPLE))], [self.SIMPLE])
            self.assertFalse(hasattr(stranger, "_parser"))
            (fault,) = stranger.feed(bad)
            self.assertIsInstance(fault, Fault, "who is a stranger is checked")
            self.assertEqual(stranger.feed(self.SIMPLE), [])

    def test_behind_what_is_not(self) -> None:
        """It is left to others: making one costs as much as some stanzas."""
        idle = IdleParsers()
        self.patch(fast_framing, "IDLE", idle)
        for other in (self.OTHER, b" ", b"<iq/>", b"<message><body>" + b"x" * 1000 + b"</body></message>", b"<p:a/>"):
            framer = self.framer()
            for _ in range(2):
                (event,) = framer.feed(other)
                self.assertEqual(getattr(event, "size", len(getattr(event, "raw", b""))), len(other))
                self.assertFalse(hasattr(framer, "_parser"))
                framer.feed(self.SIMPLE)
                self.assertFalse(hasattr(framer, "_parser"))
                self.assertLessEqual(len(idle), 1)

    def test_what_was_read_loosely_is_left_to_nobody(self) -> None:
        """That parser knows no namespaces, and one that was broken knows nothing any more."""
        idle = IdleParsers()
        self.patch(fast_framing, "IDLE", idle)
        self.framer().feed(b"<p:a/> ")
        for _ in range(2):
            (stanza,) = stanzas(self.framer(trusting=False).feed(b"<iq><a xmlns='urn:a'/></iq>"))
            self.assertEqual(stanza.payloads, (("urn:a", "a"),))
        self.assertIsInstance(self.framer(trusting=False).feed(b"<iq></a></iq>")[0], Fault)
        self.assertEqual(len(stanzas(self.framer(trusting=False).feed(self.SIMPLE))), 1)

    def test_not_in_the_middle(self) -> None:
        for behind in (b"<message>", b"<mess", b"<message><forwarded>" + b"x" * 1000):
            self.assertTrue(hasattr(self.framer(behind), "_parser"), behind)
        self.assertEqual(self.framer(b"</stream:stream>").feed(self.SIMPLE), [])

    @given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from((SIMPLE, OTHER, b" ", b"<iq/>", b"<presence a='")))))
    def test_streams_that_take_turns(self, reads: list[tuple[int, bytes]]) -> None:
        """Whose reads are whole leave the parser to the next one; each has what it would have alone."""
        framers = [self.framer(trusting=trusting) for trusting in (True, False, True, False)]
        alone = [Framer(FramingLimits(max_stanza=300, skips=True)) for _ in framers]
        for plain in alone:
            plain.feed(HEADER.encode())
        for which, data in reads:
            found, expected = framers[which].feed(data), alone[which].feed(data)
            self.assertEqual(*([getattr(event, "raw", event) for event in events] for events in (found, expected)))

    def test_streams_that_declare_other_things_share_nothing(self) -> None:
        one, other = FastFramer(), FastFramer()
        one.feed(HEADER.encode())
        other.feed(HEADER.replace("urn:p", "urn:another").encode())
        for framer in (one, other, one, other):
            framer.pass_on()
            (stanza,) = stanzas(framer.feed(b"<iq><p:a/></iq>"))
            self.assertEqual(stanza.payloads, (("urn:p" if framer is one else "urn:another", "a"),))
        self.assertEqual(other.feed(b"</stream:stream>"), [StreamClosed()])

    def test_an_idle_parser_refers_to_nobody(self) -> None:
        idle = IdleParsers()
        self.patch(fast_framing, "IDLE", idle)
        framer = self.framer(trusting=False)
        for data in (self.SIMPLE, self.OTHER, b"<iq/>", self.SIMPLE):
            framer.feed(data)
            ((parser, _position),) = idle._idle.values()
            referred = [getattr(parser, name) for name in dir(parser) if name.endswith("Handler")]
            self.assertEqual(set(referred), {None})

    def test_the_end_behind_a_rest(self) -> None:
        self.assertEqual(self.framer().feed(b"</stream:stream>"), [StreamClosed()])

    @given(
        st.lists(st.sampled_from((SIMPLE, OTHER, b" ", b"<presence/>", b"<p:x/>")), max_size=30).map(b"".join),
        st.lists(st.integers(1, 90), max_size=30),
    )
    def test_the_same_stanzas_however_cut(self, data: bytes, cuts: list[int]) -> None:
        framer, plain = self.framer(), Framer(FramingLimits(max_stanza=300, skips=True))
        plain.feed(HEADER.encode())
        events: list[Event] = []
        expected: list[Event] = []
        for size in (*cuts, len(data) + 1):
            part, data = data[:size], data[size:]
            events += framer.feed(part)
            expected += plain.feed(part)
        self.assertEqual(*([getattr(event, "raw", event) for event in found] for found in (events, expected)))


class Noting(TestCase):
    """Of IQs the one child is noted; all is as a plain framer has it."""

    LIMITS = FramingLimits(max_stanza=300, skips=True)
    PARTS = (
        "<iq id='1'><query xmlns='urn:q'><item/></query></iq>",
        "<iq id='2'>t<query xmlns='urn:q'/></iq>",
        "<iq id='3'/>",
        "<iq id='4'></iq>",
        "<iq id='5'><a/><a></a></iq>",
        "<iq id='6'><a>t</a><b/></iq>",
        "<iq id='7'><a/><b><a>t</a></b></iq>",
        "<iq id='8'><a><a/></a></iq>",
        "<iq id='9' a='>'><p:a b='/>'><a p:c='&lt;'/></p:a ></iq>",
        "<iq xml:lang='de'><a b=''><ab/></a>t</iq>",
        "<iq><x:a/></iq>",
        "<iq x:a='1'><b/></iq>",
        "<iq><a><![CDATA[</a><b/>]]></a></iq>",
        f"<iq><a>{'<b>' * 20}{'</b>' * 20}</a></iq>",
        f"<iq><a>{'x' * 300}</a></iq>",
        f"<iq><a xmlns='urn:{'n' * 260}'/></iq>",
        "<message><a/><b/></message>",
        "<presence/>",
        " ",
    )

    def framers(self) -> tuple[Framer, FastFramer]:
        plain, noting = Framer(self.LIMITS), FastFramer(self.LIMITS)
        for framer in (plain, noting):
            framer.feed(HEADER.encode())
        noting.note()
        return plain, noting

    def seen(self, event: Event) -> object:
        if not isinstance(event, Stanza):
            return event
        return (
            event.raw,
            event.uri,
            event.name,
            event.attributes,
            event.payloads,
            payload_attributes(event, "urn:q", "query"),
        )

    @settings(max_examples=examples(300))
    @given(st.lists(st.sampled_from(PARTS), max_size=8).map("".join), st.lists(st.integers(1, 400), max_size=8))
    def test_as_a_plain_one(self, data: str, sizes: list[int]) -> None:
        plain, noting = self.framers()
        rest = data.encode()
        for size in (*sizes, len(rest) + 1):
            part, rest = rest[:size], rest[size:]
            self.assertEqual(*(list(map(self.seen, framer.feed(part))) for framer in (noting, plain)))

    @settings(max_examples=examples(300))
    @given(st.lists(elements(), max_size=5).map("".join), CUTS)
    def test_any_elements(self, data: str, cuts: list[int]) -> None:
        plain, noting = self.framers()
        raw = f"<iq>{data}</iq>".encode()
        places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts)})
        for start, end in pairwise(places):
            self.assertEqual(*(list(map(self.seen, framer.feed(raw[start:end]))) for framer in (noting, plain)))

    def test_what_is_noted(self) -> None:
        """Without another parser."""
        _, noting = self.framers()
        self.patch(expat, "ParserCreate", lambda *_: self.fail("a parser"))
        for data, payloads in (
            (self.PARTS[0], (("urn:q", "query"),)),
            (self.PARTS[1], (("urn:q", "query"),)),
            (self.PARTS[3], ()),
            (self.PARTS[7], None),
            (self.PARTS[5], None),
        ):
            (stanza,) = stanzas(noting.feed(data.encode()))
            self.assertEqual(stanza._payloads, payloads, data)

    def test_the_parser_has_an_end(self) -> None:
        """It keeps each name that it has met."""
        _, noting = self.framers()
        parsers: dict[int, object] = {}  # kept: who comes later could have the id of one that is gone
        for number in range(2 * PARSER_LIFE // 200):
            (stanza,) = stanzas(noting.feed(b"<iq><a%d>%b</a%d></iq>" % (number, b"x" * 200, number)))
            self.assertEqual(stanza.payloads, (("jabber:client", f"a{number}"),))
            parser = getattr(noting, "_parser", None)
            parsers[id(parser)] = parser
        self.assertGreater(len(parsers), 2)

    def test_a_stranger_that_breaks_it(self) -> None:
        for bad in (b"<iq><a></b></iq>", b"<iq a='1' a='2'></iq>", b"<iq><a>&x;</a></iq>"):
            _, noting = self.framers()
            self.assertIsInstance(noting.feed(bad)[0], Fault)
            self.assertEqual(noting.feed(b"<iq></iq>"), [])


class Undeclared(TestCase):
    """ejabberd relays prefixes without the declarations that the sender's stream had."""

    LIMITS = FramingLimits(max_stanza=2000, skips=True)
    MADE_UP = " xmlns:{0}='urn:minimixproxy:undeclared:{0}'"

    def test_table(self) -> None:
        for content, prefixes in (
            ("<x:a/>", "x"),
            ("<a x:b='1' y:b='2'/>", "xy"),
            ("<a xmlns='urn:a'><x:b><y:c/>&lt;é\n</x:b></a><x:d/>", "xy"),
            ("<x:a xmlns:x='urn:x'/><x:a/>", "x"),
            ("<y:a/><x:b xmlns:x='urn:x' x:c='1'><x:d/></x:b>", "y"),
            ("<a><![CDATA[<y:a/>]]><x:a xml:lang='de' p:b='1'/></a>", "x"),
        ):
            plain = f"<message to='a'>{content}</message>"
            mended = f"<message to='a'{''.join(map(self.MADE_UP.format, prefixes))}>{content}</message>"
            data = HEADER + "<presence/> " + plain + "\n<iq/>" + plain + "<message/>"
            every = list(range(len(data)))
            for cuts in ([], every, every[::7], [len(HEADER) + 13], [len(data) - 20]):
                events = feed(data, cuts, self.LIMITS, passing=False)[1:]
                raws = [stanza.raw.decode() for stanza in stanzas(events)]
                self.assertEqual(raws, ["<presence/>", mended, "<iq/>", mended, "<message/>"], cuts)
                self.assertFalse([event for event in events if isinstance(event, Fault | Skipped)])
            (stanza,) = stanzas(feed(HEADER + plain, None, self.LIMITS, passing=False))
            self.assertEqual((stanza.uri, stanza.name, stanza.attributes), ("jabber:client", "message", {"to": "a"}))
            self.assertTrue(stanza.element)

    def test_it_is_read_strictly_again(self) -> None:
        framer = Framer(self.LIMITS)
        framer.feed(HEADER.encode() + b"<message><x:a/></message>")
        self.assertFalse(framer._loose)
        (stanza,) = stanzas(framer.feed(b"<iq><a xmlns='urn:a'/></iq>"))
        self.assertEqual((stanza.uri, stanza.payloads), ("jabber:client", (("urn:a", "a"),)))

    def test_what_cannot_be_mended(self) -> None:
        """Too many, or too long: it is left out, and costs nothing else."""
        for content in (
            "".join(f"<x{number}:a/>" for number in range(101)),
            f"<{'x' * 1200}:a/>",
            "<x:c/><a y:b='1' xmlns:y='u' xmlns:z='u' z:b='1'/>",
        ):
            for own, uri in (("", "jabber:client"), (" xmlns='urn:own'", "urn:own")):
                data = HEADER + f"<message id='1'{own}>{content}</message><iq/>"
                for cuts in ([], list(range(0, len(data), 7))):
                    skipped, *others = feed(data, cuts, self.LIMITS, passing=False)[1:]
                    assert isinstance(skipped, Skipped)
                    self.assertEqual((skipped.uri, skipped.name), (uri, "message"))
                    self.assertEqual([type(event) for event in others], [Stanza])

    MIXED = (
        "<message><x:a/></message>",
        "<message q:a='1'><b q:c='2'/></message>",
        "<message><![CDATA[ ]]]]><x:y xmlns='u'>&amp;&#x41;</x:y></message>",
        "<iq><![CDATA[<a></b>]]></iq>",
        "<x:presence/>",
        "<presence></presence>",
        "<message a='>'><body b=\"'/>\"/></message>",
        f"<message><x:b>{'é' * 1200}</x:b></message>",
        f"<iq>{'<x:a/>' * 400}</iq>",
        f"<message><body>{'x' * 2100}</body></message>",
        f"<message>{''.join(f'<x{number}:a/>' for number in range(60))}</message>",
    )

    @given(st.lists(st.sampled_from(MIXED), max_size=6), CUTS)
    def test_whatever_the_reads(self, parts: list[str], cuts: list[int]) -> None:
        framer = Framer(self.LIMITS)
        framer.feed(HEADER.encode())
        whole = [event for part in parts for event in framer.feed(part.encode())]
        events = feed(HEADER + "".join(parts), cuts, self.LIMITS, passing=False)[1:]
        self.assertEqual([_seen(event) for event in events], [_seen(event) for event in whole])

    def test_what_is_no_element(self) -> None:
        for raw in (b"", b"<a>", b"<a/><b/>", b"<a/><!--", b"<a x:b='1' x:b='1'/>", b"<x:a/></wrapper><wrapper>"):
            self.assertRaises(UnusableStanza, with_declarations, raw, {})

    def test_how_many(self) -> None:
        limits = FramingLimits(max_stanza=100_000, skips=True)
        for number, expected in ((100, Stanza), (101, Skipped)):
            content = "".join(f"<x{one}:a/>" for one in range(number))
            events = feed(HEADER + f"<message>{content}</message>", None, limits, passing=False)
            self.assertIsInstance(events[-1], expected)

    def test_in_one_that_is_too_large(self) -> None:
        data = HEADER + "<message id='1'>" + "<b/>" * 1000 + "<x:a/></message><iq/>"
        for cuts in ([], list(range(0, len(data), 7)), [3000]):
            events = feed(data, cuts, self.LIMITS, passing=False)[1:]
            self.assertEqual([type(event) for event in events], [Skipped, Stanza])

    def test_from_a_client_it_is_a_fault(self) -> None:
        events = feed(HEADER + "<message><x:a/></message>", None, FramingLimits(2000), passing=False)
        self.assertEqual(events[-1], Fault("not-well-formed", "unbound prefix"))

    def test_in_a_header(self) -> None:
        events = feed("<stream:stream x:a='1' xmlns:stream='urn:x'>", None, self.LIMITS, passing=False)
        self.assertEqual(events, [Fault("not-well-formed", "unbound prefix")])

    def test_cost(self) -> None:
        """What came is read once more, not with each piece or each prefix."""
        self.patch(expat, "ParserCreate", CountingParser)
        CountingParser.read = 0
        content = b"".join(b"<x%d:a/>" % (number % 50) for number in range(5000))
        framer = Framer(FramingLimits(max_stanza=262144, skips=True))
        framer.feed(HEADER.encode())
        data = b"<message>" + content + b"</message>"
        events: list[Event] = []
        for start in range(0, len(data), 64):
            events += framer.feed(data[start : start + 64])
        self.assertEqual(len(stanzas(events)), 1)
        self.assertLess(CountingParser.read, 5 * len(data))
