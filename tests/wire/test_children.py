"""Stanzas taken apart without a tree: the same is found as in a tree, and what is put together anew is the same."""

from __future__ import annotations

from functools import cache

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from minimixproxy.namespaces import NS_CLIENT, NS_STREAM
from minimixproxy.wire.children import Parts, children_of, parts_of, payload_attributes, stanza_of_bytes, top_attribute
from minimixproxy.wire.framing import Framer
from minimixproxy.wire.stanza import MalformedStanza, Stanza, parse_element, parse_stanza

names = st.sampled_from(["body", "replace", "p:x", "stream:y", "stanza-id", "p:stanza-id"])
values = st.text(alphabet="ab<>&'\" \n/é", max_size=5)
spaces = st.sampled_from(["", " xmlns='urn:xmpp:sid:0'", " xmlns:p='urn:q'", " a=\" xmlns:p='urn:z'\"", " xmlns=''"])


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("'", "&apos;")


texts = st.sampled_from(["", "text", "<![CDATA[<body>]]>", "&#65;", "/>", "<![CDATA[]]>", "<![CDATA[/>]]>"])
perhaps_space = st.sampled_from(["", " "])
booleans = st.booleans()


@st.composite
def elements(draw: st.DrawFn, depth: int = 0) -> str:
    name, space, value = draw(names), draw(spaces), draw(values)
    tag = f"{name}{space} id='{escaped(value)}'"
    if draw(booleans) and depth:
        return f"<{tag}/>"
    children = "".join(draw(elements_at(depth + 1))) if depth < 3 else ""
    return f"<{tag}>{draw(texts)}{children}{draw(perhaps_space)}</{name}>"


@cache
def elements_at(depth: int) -> st.SearchStrategy[list[str]]:
    return st.lists(elements(depth=depth), max_size=3)


def framed(raw: bytes) -> Stanza:
    """Return a stanza as it comes on a stream."""
    header = f"<stream:stream xmlns='{NS_CLIENT}' xmlns:stream='{NS_STREAM}'>".encode()
    _opened, stanza = Framer().feed(header + raw)
    assert isinstance(stanza, Stanza)
    return stanza


def content(element: domish.Element) -> object:
    return (
        element.uri,
        element.name,
        dict(element.attributes),
        [child if isinstance(child, str) else content(child) for child in element.children],
    )


class Taken(SynchronousTestCase):
    @given(st.lists(elements(), max_size=4), spaces)
    def test_as_in_a_tree(self, inner: list[str], space: str) -> None:
        space = space.replace(" xmlns:p", " xmlns:q")
        raw = f"<message xmlns:p='urn:p'{space} id='i'>{'t'.join(inner)}</message>".encode()
        element = parse_element(raw, {"": NS_CLIENT})
        parts = Parts(raw)
        self.assertEqual((parts.uri, parts.name, parts.attributes), (element.uri, "message", dict(element.attributes)))
        expected = [content(child) for child in element.elements()]
        self.assertEqual([content(child.element) for child in parts.children], expected)
        attributes = [dict(child.attributes) for child in element.elements()]
        self.assertEqual([child.attributes for child in parts.children], attributes)
        anew = parse_element(parts.with_children(parts.children), {"": NS_CLIENT})
        self.assertEqual([content(child) for child in anew.elements()], expected)
        other = Parts(b"<c:message xmlns:c='jabber:client' xmlns='urn:other'/>")
        moved = parse_element(other.with_children(parts.children), {"": NS_CLIENT})
        self.assertEqual([content(child) for child in moved.elements()], expected)
        for stanza in (stanza_of_bytes(raw), framed(raw)):
            for name in ("stanza-id", "x"):
                for uri in ("urn:xmpp:sid:0", "urn:p"):
                    found = [dict(child.attributes) for child in element.elements(uri, name)]
                    self.assertEqual(payload_attributes(stanza, uri, name), found)

    def test_a_declaration_is_no_attribute(self) -> None:
        """Whatever its value looks like."""
        inner = "<x xmlns='urn:p' xmlns:q='urn:q id=' id='real' xmlns:r=' id=' by='b'/>"
        for stanza in (stanza_of_bytes(f"<message>{inner}</message>".encode()), framed(f"<iq>{inner}</iq>".encode())):
            self.assertEqual(payload_attributes(stanza, "urn:p", "x"), [{"id": "real", "by": "b"}])

    def test_no_element(self) -> None:
        for raw in (b"", b"<", b"<a", b"<a>", b"text", b"<a><b></a>", b"<a/><b/><", b"<p:a/>", b"\xff", b"<a>\xff</a>"):
            self.assertRaises(MalformedStanza, Parts, raw)
        for behind in (b"<!--", b"<?a", b"<![CDATA[", b"&"):
            self.assertRaises(MalformedStanza, Parts, b"<a/>" + behind)

    def test_nothing_in_it(self) -> None:
        for raw in (b"<a/>", b"<a></a>", b"<a b='/>' />", b"<a b='1'>text</a>"):
            parts = Parts(raw)
            self.assertEqual(parts.children, [])
            self.assertEqual(parse_stanza(parts.with_children([])).payloads, ())

    def test_where_a_child_ends(self) -> None:
        """An end tag may follow an empty child, and what looks like the end of one may be text."""
        for child in (
            "<a/>",
            "<a />",
            "<a b='/>'/>",
            "<a></a>",
            "<a b='/'></a>",
            "<a>/></a>",
            "<a>x/></a >",
            "<a><b/></a>",
            "<a>\n/></a>",
            "<a>&gt;/></a>",
            "<a><![CDATA[/>]]></a>",
            "<a><![CDATA[]]></a>",
            "<a><!--/>--></a>",
            "<a><?b />?></a>",
        ):
            for raw in (f"<a>{child}</a>", f"<a>t{child}/></a>", f"<a>{child}{child}<a/></a>", f"<a><a/>{child}</a>"):
                found = [one.raw.decode() for one in Parts(raw.encode()).children]
                self.assertEqual("".join(found).replace("<a/>", ""), child.replace("<a/>", "") * raw.count(child), raw)

    def test_deep(self) -> None:
        raw = b"<message>" + b"<a>" * 5000 + b"</a>" * 5000 + b"<body/></message>"
        self.assertEqual([child.name for child in Parts(raw).children], ["a", "body"])

    def test_prefixes_of_the_stream(self) -> None:
        raw = b"<message><p:a/><q:b p:c=' xmlns:p='/></message>"
        namespaces = {"": NS_CLIENT, "p": "urn:p", "q": "urn:q"}
        stanza = Stanza(raw, NS_CLIENT, "message", {}, None, namespaces)
        first, second = children_of(stanza)
        self.assertEqual((first.uri, second.uri), ("urn:p", "urn:q"))
        alone = Parts(b"<message/>").with_children([first, second])
        self.assertEqual(parse_stanza(alone).payloads, (("urn:p", "a"), ("urn:q", "b")))
        self.assertEqual(parts_of(stanza).attributes, {})

    def test_an_attribute_at_the_top(self) -> None:
        for raw, expected in [
            (b"<a id='1'/>", "1"),
            (b"<a id='&lt;&#65;'>x</a>", "<A"),
            (b"<a b=\" id='no'\" id='1\n2'><b id='3'/></a>", "1 2"),
            (b"<a p:id='1' xmlns:p='p'/>", None),
            (b"<a/>", None),
        ]:
            self.assertEqual(top_attribute(raw, "id"), expected)
