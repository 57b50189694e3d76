"""Splicing start tags, and the few readings of a stanza."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from minimixproxy.wire.children import payload_attributes
from minimixproxy.wire.looked_at import LOOKED_AT, LookedAt
from minimixproxy.wire.stanza import (
    FEW_PAYLOADS,
    MAX_ATTRIBUTES,
    MAX_PAYLOADS,
    ForkTemplate,
    MalformedStanza,
    Stanza,
    escape,
    parse_stanza,
    readdressed,
    rewrite,
    serialize,
    stanza_of,
    unaddressed,
    with_attributes_in,
)
from minimixproxy.xep.stanza_errors import error_reply


class AttributesTests(TestCase):
    def test_of_what_is_not_there(self) -> None:
        stanza = parse_stanza("<a b='1'/>")
        for get in (stanza.get, stanza.getAttribute):
            self.assertEqual([get("b"), get("b", "2"), get("c"), get("c", "2")], ["1", "1", None, "2"])


class Readable(TestCase):
    def test_payloads(self) -> None:
        for number, readable in ((MAX_PAYLOADS - 1, True), (MAX_PAYLOADS, False), (9 * MAX_PAYLOADS, False)):
            self.assertEqual(parse_stanza("<message>" + "<a/>" * number + "</message>").readable, readable, number)
        self.assertTrue(parse_stanza("<message><x>" + "<a/>" * 5000 + "</x></message>").readable)

    def test_attributes(self) -> None:
        for number, readable in ((MAX_ATTRIBUTES, True), (MAX_ATTRIBUTES + 1, False)):
            attributes = "".join(f" a{one}='{'x' * 100}'" for one in range(number))
            self.assertEqual(parse_stanza(f"<message{attributes}/>").readable, readable, number)
            self.assertTrue(parse_stanza(f"<message><a{attributes}/></message>").readable)


class WithAttributesIn(TestCase):
    def test_table(self) -> None:
        for raw, expected in [
            (b"<a/>", b"<a/>"),
            (b"<a to='x' b='y'>t</a>", b"<a to='x'>t</a>"),
            (b"<a b=\"y to='z'\" to='x'\nxmlns:p='q' p:to='r' />", b"<a to='x'\nxmlns:p='q' />"),
            (b"<a to='x' id='>' >t</a>", b"<a to='x' >t</a>"),
        ]:
            self.assertEqual(with_attributes_in(raw, {b"to"}), expected, raw)
        self.assertRaises(MalformedStanza, with_attributes_in, b"t", {b"to"})


class Rewrite(TestCase):
    def test_table(self) -> None:
        table: list[tuple[bytes, dict[str, str | None], bytes]] = [
            (b"<a/>", {"to": "x"}, b"<a to='x'/>"),
            (b"<a />", {"to": "x"}, b"<a to='x' />"),
            (b"<a>t</a>", {"to": "x"}, b"<a to='x'>t</a>"),
            (b"<a to='y' id='1'>t</a>", {"to": "x"}, b"<a to='x' id='1'>t</a>"),
            (b'<a  id = "1"\nto="y">t</a>', {"to": None}, b'<a  id = "1">t</a>'),
            (b"<a from='f' to='y'/>", {"from": None, "to": "z", "id": "7"}, b"<a to='z' id='7'/>"),
            (b"<a id=\" to='x'\" to='y'><b to='y'/></a>", {"to": "z"}, b"<a id=\" to='x'\" to='z'><b to='y'/></a>"),
            (b"<a id='>' to='y'/>", {"to": "z"}, b"<a id='>' to='z'/>"),
            (b"<p:a p:to='y'/>", {"to": "z"}, b"<p:a p:to='y' to='z'/>"),
            (b"<a/>", {"to": "<&'\">"}, b"<a to='&lt;&amp;&apos;&quot;&gt;'/>"),
            (b"<a/>", {"to": None}, b"<a/>"),
        ]
        for raw, changes, expected in table:
            self.assertEqual(rewrite(raw, changes), expected, raw)

    def test_no_tag(self) -> None:
        for raw in [b"", b"text", b"</a>"]:
            self.assertRaises(MalformedStanza, rewrite, raw, {"to": "x"})

    @given(st.text(st.characters(codec="utf-8", exclude_characters="\x00", exclude_categories=["Cc", "Cs"])))
    def test_any_value_survives(self, value: str) -> None:
        if any(ord(c) in (0xFFFE, 0xFFFF) for c in value):
            return
        self.assertEqual(parse_stanza(rewrite(b"<a to='b'/>", {"to": value}))["to"], value)


class Readdressed(TestCase):
    OTHER = ("new'&", "x/<y>", "z")

    def test_table(self) -> None:
        for raw in (
            b"<iq id='1' from='a' to='b' type='get'><x to='c'/></iq>",
            b"<iq type='get' to='b' from='a' id='1'/>",
            b"<iq to='' from='>' id=' to='><x/></iq>",
            b"<iq a=' from=' to='b' from='a' id='1'>it's</iq>",
            b"<iq a='to=' to='b' from='a' id='\"'/>",
            b"<iq a=\"'\" to='b' from='a' id=\"'\"/>",
            b"<iq\nid='1' from='a'  to='b'\n/>",
            b"<iq id = '1' from='a' to='b'/>",
            b"<iq id='1' xml:lang='de' p:to='d' from='a'>'</iq>",
            b"<iq>from='a' to='b' id='1'</iq>",
        ):
            sender, to, identity = self.OTHER
            expected = rewrite(raw, {"from": sender, "to": to, "id": identity})
            self.assertEqual(readdressed(raw, *self.OTHER), expected, raw)
        self.assertRaises(MalformedStanza, readdressed, b"no tag", *self.OTHER)

    @given(
        st.lists(
            st.tuples(st.sampled_from(["from", "to", "id", "type", "p:to"]), st.text("to='\" &/>=", max_size=8)),
            unique_by=lambda pair: pair[0],
        ),
        st.sampled_from(["", "'", '"']),
        st.sampled_from([" ", "\n"]),
    )
    def test_as_rewritten(self, attributes: list[tuple[str, str]], quote: str, space: str) -> None:
        def written(value: str) -> str:
            used = quote or ('"' if "'" in value else "'")
            return used + value.replace("&", "&amp;").replace(used, "&#39;" if used == "'" else "&quot;") + used

        tag = "".join(f"{space}{name}={written(value)}" for name, value in attributes)
        raw = f"<iq{tag}><x to='c'/></iq>".encode()
        sender, to, identity = self.OTHER
        self.assertEqual(readdressed(raw, *self.OTHER), rewrite(raw, {"from": sender, "to": to, "id": identity}))


class Unaddressed(TestCase):
    def test_table(self) -> None:
        for raw, expected in [
            (b"<a to='y' id='1'>to='z'</a>", b"<a id='1'>to='z'</a>"),
            (b'<a id="1" to = "y">t</a>', b'<a id="1">t</a>'),
            (b"<a\n to\t=\r'y'/>", b"<a/>"),
            (b"<a id=\" to='y'\" to='z'/>", b"<a id=\" to='y'\"/>"),
            (b"<a id='x' xml:lang='en' from='b' to='y'/>", b"<a id='x' xml:lang='en' from='b'/>"),
            (b"<a token='x' tox='y' p:to='z'><b to='c'/></a>", None),
            (b"<a>b</a>", None),
            (b"<to a=''/>", None),
            (b"no tag", None),
        ]:
            self.assertEqual(unaddressed(raw), raw if expected is None else expected, raw)

    @given(
        st.lists(
            st.tuples(st.sampled_from([b"to", b"tot", b"id", b"x:to", b"o"]), st.text("to='\" &/>", max_size=6)),
            unique_by=lambda pair: pair[0],
        ),
        st.sampled_from([b" ", b"\n\t"]),
        st.sampled_from([b"=", b" = ", b"\n="]),
    )
    def test_as_rewritten(self, attributes: list[tuple[bytes, str]], space: bytes, equals: bytes) -> None:
        tag = b"".join(b"%b%b%b'%b'" % (space, name, equals, escape(value)) for name, value in attributes)
        raw = b"<a%b><b to='c'/></a>" % tag
        self.assertEqual(unaddressed(raw), rewrite(raw, {"to": None}))

    def test_one_way_to_match(self) -> None:
        """However many attributes there are, and whatever follows them."""
        raw = b"<a" + b" tx='y'" * 100_000
        self.assertEqual(unaddressed(raw), raw)


class Fork(TestCase):
    def test_table(self) -> None:
        for raw, expected in [
            (b"<a to='y' id='1'>t</a>", b"<a to='x/&apos;' id='1'>t</a>"),
            (b'<a id="1" to="y">t</a>', b'<a id="1" to="x/&apos;">t</a>'),
            (b"<a id='1'/>", b"<a to='x/&apos;' id='1'/>"),
            (b"<a id=\" to='y'\" to='z'/>", b"<a id=\" to='y'\" to='x/&apos;'/>"),
        ]:
            self.assertEqual(ForkTemplate(raw).copy("x/'"), expected)


class Reading(TestCase):
    def test_payloads(self) -> None:
        stanza = parse_stanza("<message to='a'>t<body>b</body><x xmlns='urn:x'><body/></x></message>")
        self.assertEqual(stanza.payloads, (("jabber:client", "body"), ("urn:x", "x")))
        self.assertTrue(stanza.has_payload("urn:x", "x"))
        self.assertIsNone(stanza.payload("urn:x", "body"))
        self.assertEqual(str(stanza.payload("jabber:client", "body")), "b")

    def test_element_round_trip(self) -> None:
        stanza = parse_stanza("<message to='a'><body>b</body><x xmlns='urn:x'/></message>")
        self.assertEqual(serialize(stanza.element), stanza.raw)
        self.assertEqual(stanza_of(stanza.element).raw, stanza.raw)

    def test_not_one_element(self) -> None:
        for xml in ["", "text", "<a/><b/>", "<a>"]:
            self.assertRaises(MalformedStanza, parse_stanza, xml)

    def test_error_reply(self) -> None:
        stanza = parse_stanza("<iq type='get' from='a/1' to='b' id='&lt;'/>")
        reply = parse_stanza(error_reply(stanza, "cancel", "not-allowed", "no & no"))
        self.assertEqual(reply.attributes, {"type": "error", "from": "b", "to": "a/1", "id": "<"})
        self.assertEqual(str(reply.element.error.text), "no & no")
        self.assertEqual(escape("\n"), b"&#10;")


class LookedAtTests(TestCase):
    def test_what_was_found_out_is_kept_of_the_last_few(self) -> None:
        """Each keeps what little is known of it; all else is found out again when it is asked for."""
        many = b"<message><body>1</body>" + b"<a b='c'/>" * FEW_PAYLOADS + b"</message>"
        stanzas = [Stanza(many, "", "message", {}, None, {"": "jabber:client"}) for _ in range(LOOKED_AT + 1)]
        trees = [stanza.element for stanza in stanzas]
        names = [stanza.payloads for stanza in stanzas]
        self.assertIs(stanzas[1].element, trees[1])
        self.assertIsNot(stanzas[0].element, trees[0])
        self.assertIs(stanzas[-1].payloads, names[-1])
        self.assertEqual(names, [(("jabber:client", "body"), *[("jabber:client", "a")] * FEW_PAYLOADS)] * len(stanzas))
        self.assertIsNot(stanzas[0].payloads, names[0])
        self.assertEqual(payload_attributes(stanzas[0], "jabber:client", "a"), [{"b": "c"}] * FEW_PAYLOADS)
        self.assertEqual(payload_attributes(stanzas[0], "jabber:client", "body"), [{}])

    def test_nothing_is_kept_of_a_stanza_that_is_gone(self) -> None:
        """A password may be in it, and the next one to be looked at may come hours later."""
        stanza = parse_stanza("<auth>password</auth>")
        found: LookedAt[Kept] = LookedAt()
        trees: list[weakref.ref[object]] = [weakref.ref(stanza.element), weakref.ref(found.keep(stanza, Kept()))]
        self.assertIs(found.of(stanza), trees[1]())
        del stanza
        gc.collect()
        self.assertEqual([tree() for tree in trees], [None, None])


class Kept:
    """What was found out of a stanza."""
