"""Trees within bounds, against domish; and what is read without one."""

from __future__ import annotations

import contextlib
import gc
from xml.parsers import expat

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire.children import Parts
from minimixproxy.wire.framing import Framer, FramingLimits
from minimixproxy.wire.qualified_names import split_name
from minimixproxy.wire.serializing import element_text
from minimixproxy.wire.stanza import MAX_PAYLOADS, Stanza, parse_stanza
from minimixproxy.wire.trees import (
    MAX_TAGS,
    MalformedStanza,
    UnusableStanza,
    is_deeper,
    parse_element,
    payload_tags,
    read_start_tag,
)
from minimixproxy.wire.undeclared_prefixes import with_declarations
from tests.examples import examples
from tests.wire.test_framing import HEADER, canonical, domish_elements, elements

NAMESPACES = {"": "jabber:client", "p": "urn:p"}
XML = "http://www.w3.org/XML/1998/namespace"
SHAPE = ["1", "b", "4", "e", "<"]


class AgainstDomish(SynchronousTestCase):
    @settings(max_examples=examples(150))  # `make fuzz` goes on, as below
    @given(elements())
    def test_the_same_tree(self, xml: str) -> None:
        element = parse_element(xml.encode(), NAMESPACES)
        self.assertEqual([canonical(element)], domish_elements(HEADER + xml))
        uri, name, attributes = read_start_tag(xml.encode(), NAMESPACES)
        self.assertEqual((uri, name), (element.uri, element.name))
        self.assertEqual(len(attributes), len(element.attributes))
        children = [(child.uri, child.name) for child in element.elements()]
        found = payload_tags(xml.encode(), NAMESPACES, 1000)
        self.assertEqual([split_name(name) for name, _ in found], children)
        self.assertEqual([len(tag) for _, tag in found], [len(child.attributes) for child in element.elements()])

    @settings(max_examples=examples(100))
    @given(elements())
    def test_alone_it_means_the_same(self, xml: str) -> None:
        stanza = Stanza(xml.encode(), "", "", {}, None, NAMESPACES)
        alone = parse_element(stanza.self_contained(), {"": "jabber:client"})
        self.assertEqual(canonical(alone), canonical(stanza.element))


class Reading(SynchronousTestCase):
    def test_start_tags(self) -> None:
        for raw, expected in (
            (b"<a/>", ("jabber:client", "a", {})),
            (b"<a b='c' d=\"'\">text<e f='g'/></a>", ("jabber:client", "a", {"b": "c", "d": "'"})),
            (b"<a b='>' c='d>'><e/></a>", ("jabber:client", "a", {"b": ">", "c": "d>"})),
            (b"<p:a p:b='&lt;' xml:lang='de'/>", ("urn:p", "a", {"{urn:p}b": "<", f"{{{XML}}}lang": "de"})),
            (b"<a xmlns='urn:a' b=''/>", ("urn:a", "a", {"b": ""})),
            (b"<stream:error/>", ("http://etherx.jabber.org/streams", "error", {})),
        ):
            self.assertEqual(read_start_tag(raw, NAMESPACES), expected)

    def test_trees(self) -> None:
        element = parse_element(b"<a>1<b xmlns='urn:b' p:c='2'><d/>3</b>4<e/>&lt;</a>", NAMESPACES)
        b, e = element.elements()
        self.assertEqual([str(child) if isinstance(child, str) else child.name for child in element.children], SHAPE)
        self.assertEqual(
            [(one.uri, one.defaultUri, one.parent) for one in (b, e)],
            [
                ("urn:b", "urn:b", element),
                ("jabber:client", "jabber:client", element),
            ],
        )
        self.assertEqual((b.attributes, b.children[0].name, b.children[1]), ({("urn:p", "c"): "2"}, "d", "3"))

    def test_nothing_is_left_for_the_garbage_collector(self) -> None:
        """What is read is read all the time, and a parser takes 10 KiB."""
        raw, wrong = b"<a><b>" + b"<c></c>" * 20 + b"</b></a>", b"<a><b></a>"

        def read() -> None:
            parse_element(raw, NAMESPACES)
            payload_tags(raw, NAMESPACES, 10)
            is_deeper(raw, 2)
            read_start_tag(raw, NAMESPACES)
            with_declarations(raw, NAMESPACES)
            Parts(raw)
            for function in (parse_element, with_declarations):
                with contextlib.suppress(UnusableStanza):
                    function(wrong, NAMESPACES)
            for end in (b"</stream:stream>", b"</a>", b"<a b='" + b"x" * 400, b"<a>" + b"x" * 400):
                Framer(FramingLimits(300)).feed(HEADER.encode() + b"<a/>" + end)

        read()
        gc.collect()
        self.addCleanup(gc.enable)
        gc.disable()
        parsers = sum(isinstance(one, expat.XMLParserType) for one in gc.get_objects())
        read()
        self.assertEqual(sum(isinstance(one, expat.XMLParserType) for one in gc.get_objects()), parsers)


class Bounds(SynchronousTestCase):
    def test_too_many_tags(self) -> None:
        for inner in ("<a/>" * MAX_TAGS, "<a>" * MAX_TAGS + "</a>" * MAX_TAGS):
            raw = f"<message>{inner}</message>".encode()
            self.assertRaises(UnusableStanza, parse_element, raw, NAMESPACES)
            self.assertRaises(UnusableStanza, payload_tags, raw, NAMESPACES, 10)
            self.assertFalse(Stanza(raw, "", "message", {}, None, NAMESPACES).readable)

    def test_no_more_payloads_than_asked_for(self) -> None:
        raw = b"<message>" + b"<a/>" * 20 + b"</message>"
        for limit in (0, 10, 20, 30):
            self.assertEqual(len(payload_tags(raw, NAMESPACES, limit)), min(limit, 20))

    def test_prefixes_are_written_again(self) -> None:
        raw = b"<message xmlns:x='urn:x'><x:a><x:b/></x:a><y xmlns:z='urn:z' z:c=''/></message>"
        written = element_text(parse_element(raw, NAMESPACES), "jabber:client", {})
        self.assertIn("<y xmlns:z='urn:z' z:c=''/>", written)

    def test_too_many_payloads(self) -> None:
        """More than are noted: whether they were counted as they came, or not."""
        for number, readable in ((MAX_PAYLOADS - 1, True), (MAX_PAYLOADS, False), (MAX_TAGS - 1, False)):
            raw = b"<message>" + b"<a/>" * number + b"</message>"
            events = Framer(FramingLimits(100_000)).feed(HEADER.encode() + raw)
            for stanza in (events[-1], Stanza(raw, "", "message", {}, None, NAMESPACES)):
                assert isinstance(stanza, Stanza)
                self.assertEqual(stanza.readable, readable)
        within = b"<message><x>" + b"<a/>" * (MAX_PAYLOADS + 1) + b"</x></message>"
        self.assertTrue(Stanza(within, "", "message", {}, None, NAMESPACES).readable)
        self.assertFalse(Stanza(within[:-1], "", "message", {}, None, NAMESPACES).readable)

    def test_deep(self) -> None:
        """Read, written and let go of, however deep: nothing here calls itself."""
        depth = MAX_TAGS // 2 - 1
        raw = b"<message>" + b"<a>" * depth + b"</a>" * depth + b"</message>"
        element = parse_element(raw, NAMESPACES)
        self.assertEqual(len(element_text(element, "jabber:client", {})), len(raw) - len(b"<a></a>") + len(b"<a/>"))

    def test_text_is_put_together_once(self) -> None:
        element = parse_element(b"<message>" + b"\n&lt;" * 50_000 + b"</message>", NAMESPACES)
        self.assertEqual(element.children, ["\n<" * 50_000])

    def test_depth(self) -> None:
        for depth in (10, 11, 300):
            raw = b"<p:a>" * depth + b"</p:a>" * depth
            self.assertEqual([is_deeper(raw, limit) for limit in (10, 299, 300)], [depth > 10, depth > 299, False])
        self.assertFalse(is_deeper(b"<a>" + b"<b>c</b>" * 1000 + b"</a>", 10))

    def test_how_deep(self) -> None:
        """Whatever else there is: the deepest place counts, wherever it is."""
        flat = b"<b></b>" * 200
        for levels in (99, 100, 101, 300):
            nested = b"<a>" * levels + b"</a>" * levels
            for before, after in ((b"", b""), (flat, b""), (b"", flat), (flat, flat)):
                raw = b"<m>%b%b%b</m>" % (before, nested, after)
                self.assertEqual(is_deeper(raw, 100), levels + 1 > 100, (levels, before[:1], after[:1]))
        self.assertRaises(MalformedStanza, is_deeper, b"<m>" * 300 + b"</m>" * 299, 100)
        self.assertFalse(is_deeper(flat, 100_000), "too short for that")

    def test_malformed(self) -> None:
        for raw in (b"", b"t", b"<a", b"<a>", b"<a><b/>", b"<a></b>", b"<a/><b/>", b"</wrapper><wrapper>", b"<q:a/>"):
            self.assertRaises(MalformedStanza, parse_element, raw, NAMESPACES)
        for behind in (b"<!--", b"<?a", b"<![CDATA[", b"&"):
            self.assertRaises(MalformedStanza, parse_element, b"<a/>" + behind, NAMESPACES)
            self.assertRaises(MalformedStanza, payload_tags, b"<a/>" + behind, NAMESPACES, 10)
        for raw in (b"", b"text", b"<a", b"<q:a/>", b"</wrapper>"):
            self.assertRaises(MalformedStanza, read_start_tag, raw, NAMESPACES)

    def test_a_thousand_prefixes_of_a_stream(self) -> None:
        """A client declares what it likes on its stream: only what is used comes along."""
        many = {f"p{number}": f"urn:{number}" for number in range(10_000)}
        stanza = Stanza(b"<message><p7:a p8:b='' c='p9:d'/></message>", "", "", {}, None, {**NAMESPACES, **many})
        self.assertEqual(
            stanza.self_contained(),
            b"<message xmlns:p7='urn:7' xmlns:p8='urn:8' xmlns:p9='urn:9'><p7:a p8:b='' c='p9:d'/></message>",
        )

    def test_without_content(self) -> None:
        for xml in ("<presence to='a'><x/></presence>", "<presence to='a'/>"):
            bare = parse_stanza(xml).without_content()
            self.assertEqual((bare.raw, bare.payloads), (b"<presence to='a'/>", ()))
