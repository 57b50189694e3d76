"""Framing against domish, and against the restrictions of RFC 6120."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase
from twisted.words.xish import domish

from minimixproxy.framing import Event, Fault, Framer, FramingLimits, Keepalive, StreamClosed, StreamOpened
from minimixproxy.passing import PassingFramer, simple_stanza_end
from minimixproxy.stanza import Stanza, parse_element

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
        framer = passing_framer = PassingFramer(limits)
        passing_framer.passing = True
    places = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts or [])})
    events: list[Event] = []
    for start, end in pairwise(places):
        events += framer.feed(raw[start:end])
    return events


def stanzas(events: list[Event]) -> list[Stanza]:
    return [event for event in events if isinstance(event, Stanza)]


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


@st.composite
def elements(draw: st.DrawFn, depth: int = 0) -> str:
    name = draw(NAMES)
    keys = draw(st.lists(st.sampled_from(["to", "from", "id", "xml:lang", "p:a"]), unique=True, max_size=3))
    space = draw(st.sampled_from([" ", "  ", "\n"]))
    attributes = "".join(f"{space}{key}{draw(st.sampled_from(['=', ' = ']))}{quoted(draw(TEXTS))}" for key in keys)
    if draw(st.booleans()):
        attributes += draw(st.sampled_from([" xmlns='jabber:client'", " xmlns='urn:y'", " xmlns:p='urn:other'"]))
    kind = draw(st.sampled_from(["empty", "pair", "children"] if depth < 3 else ["empty", "pair"]))
    if kind == "empty":
        return f"<{name}{attributes}{draw(st.sampled_from(['', ' ']))}/>"
    if kind == "pair":
        text = draw(st.sampled_from(["", "a/>", "&amp;&#x41;", "<![CDATA[</message>]]>", "]]&gt;", "x > y", "漢🎉"]))
        return f"<{name}{attributes}>{text}</{name}{draw(st.sampled_from(['', ' ']))}>"
    inner = draw(st.lists(st.one_of(elements(depth + 1), st.just("t/>"), st.just(" ")), max_size=3))
    return f"<{name}{attributes}>{''.join(inner)}</{name}>"


class AgainstDomish(TestCase):
    @settings(max_examples=300, deadline=None)
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

    @settings(max_examples=100, deadline=None)
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
            ("<message><message></message></message>", -1),
            ("<message><![CDATA[</message>]]></message>", -1),
            ("<message><!-- </message> --></message>", -1),
            ("<message><?a </message> ?></message>", -1),
            ("<a><message></message></a>", -1),
            ("<mess><message></message></mess>", -1),
            (" <message></message>", -1),
            ("<q:message></q:message>", -1),
            ("<message>" + "a" * 300 + "</message>", -1),
            ("<iq>" + "<a>" * 11 + "</a>" * 11 + "</iq>", -1),
            ("", -1),
        ]:
            limits = FramingLimits(max_stanza=300, max_depth=10)
            self.assertEqual(simple_stanza_end(data.encode(), 0, limits), length, data)
            if length > 0:
                self.assertEqual(simple_stanza_end(b"<iq/>" + data.encode(), 5, limits), length + 5)

    def test_payloads_are_found_when_asked_for(self) -> None:
        framer = PassingFramer()
        framer.passing = True
        framer.feed(HEADER.encode())
        (stanza,) = stanzas(framer.feed(b"<message><body>x</body><p:x/></message>"))
        self.assertFalse(stanza.has_payload("jabber:client", "subject"))
        self.assertFalse(stanza.has_payload("urn:x", "x"))
        self.assertTrue(stanza.has_payload("urn:p", "x"))
        self.assertEqual(stanza.payloads, (("jabber:client", "body"), ("urn:p", "x")))

    def test_trusting(self) -> None:
        framer = PassingFramer()
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
        framer = PassingFramer()
        framer.passing = True
        parts = ["<iq id='1'></iq>", "<iq id='2'/>", "<iq id='3'>", "</iq>", "<iq id='4'></iq><iq id='5'/>"]
        framer.feed(HEADER.encode())
        events = [event for part in parts for event in framer.feed(part.encode())]
        self.assertEqual([stanza["id"] for stanza in stanzas(events)], ["1", "2", "3", "4", "5"])
        self.assertEqual(framer.feed(b"</stream:stream>"), [StreamClosed()])


class ParserLife(TestCase):
    """expat never forgets a name."""

    def test_made_up_names(self) -> None:
        for passing in (False, True):
            framer = PassingFramer()
            framer.passing = passing
            framer.feed(HEADER.encode())
            for number in range(1000):
                names = "".join(f"<n{number}x{other}/>" for other in range(40))
                (stanza,) = stanzas(framer.feed(f"<message xmlns:q='a' p:n='{number}'>{names}</message>".encode()))
                self.assertEqual(stanza.attributes, {"{urn:p}n": str(number)})
                self.assertNotIn("q", stanza._namespaces)
                self.assertLess(len(framer._parser.intern), 30_000)
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
        for extra, condition in [
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
        ]:
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

    def test_utf16(self) -> None:
        self.assertEqual(self.last(HEADER.encode("utf-16")), ("unsupported-encoding", 0))

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

    def test_nothing_follows_an_end(self) -> None:
        framer = Framer()
        self.assertEqual(framer.feed(HEADER.encode() + b"</stream:stream>")[1:], [StreamClosed()])
        self.assertEqual(framer.feed(b"<iq/>"), [])
        framer = Framer()
        self.assertIsInstance(framer.feed(HEADER.encode() + b"<a></b>")[-1], Fault)
        self.assertEqual(framer.feed(b"<iq/>"), [])

    def test_empty_stream(self) -> None:
        events = feed("<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>")
        self.assertEqual([type(event) for event in events], [StreamOpened, StreamClosed])
