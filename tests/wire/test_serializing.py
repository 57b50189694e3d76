"""Trees as text: what is read again is what was written, whoever chose its names."""

from twisted.trial.unittest import TestCase
from twisted.words.xish import domish

from minimixproxy.namespaces import NS_CLIENT, NS_STREAM
from minimixproxy.wire.stanza import parse_stanza, serialize


class Serializing(TestCase):
    def test_as_it_was(self) -> None:
        for xml in (
            "<message/>",
            "<message to='a&amp;b'>1 &lt; 2 &amp; 3<body>x\ny</body></message>",
            "<message><x xmlns='urn:x'><y/><body xmlns='jabber:client'/><z xmlns='' a='&apos;&quot;'/></x></message>",
            "<message><x xmlns=''><y/></x></message>",
            "<message xml:lang='de'><x xmlns='urn:x' xml:lang='en'/></message>",
            "<message><x xmlns='urn:x' xmlns:p='urn:p' type='p:q' p:a='1'/></message>",
            "<message><xml:x a='1'><y/><xml:z/></xml:x></message>",
            "<message><x xmlns='urn:x'><xml:y xml:lang='de'><z/></xml:y></x></message>",
            "<message><x xmlns='urn:x' a='one&#10;two&#9;three&#13;'>&#13;</x></message>",
            "<stream:error><x xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>",
        ):
            stanza = parse_stanza(xml) if "stream:" not in xml else None
            element = stanza.element if stanza else self._stream_error()
            self.assertEqual(serialize(element), xml.encode())

    def _stream_error(self) -> domish.Element:
        element = domish.Element((NS_STREAM, "error"))
        element.addElement(("urn:ietf:params:xml:ns:xmpp-streams", "x"))
        return element

    def test_a_namespace_cannot_end_its_attribute(self) -> None:
        evil = "a'/></presence><message\tto='b'><body>c</body></message><presence>"
        escaped = evil.replace("<", "&lt;").replace("\t", "&#9;").replace("'", "&apos;")
        for xml in (
            f"<presence><x xmlns='{escaped}'/></presence>",
            f"<presence><x xmlns:p='{escaped}' p:a='1'/></presence>",
            f"<presence><p:x xmlns:p='{escaped}' p:a='1'/></presence>",
        ):
            again = parse_stanza(serialize(parse_stanza(xml).element))
            (child,) = again.element.elements()
            self.assertIn(evil, (child.uri, *(key[0] for key in child.attributes)))

    def test_attributes_of_namespaces_that_have_no_prefix_here(self) -> None:
        element = domish.Element((NS_CLIENT, "message"))
        element["plain"] = "0"
        element.attributes[("urn:a", "a")] = "1"
        element.attributes[("urn:b", "a")] = "2"
        element.attributes[("urn:a", "b")] = "3"
        again = parse_stanza(serialize(element)).element
        self.assertEqual(again.attributes, element.attributes)

    def test_the_default_namespace_around_it(self) -> None:
        element = domish.Element(("urn:x", "x"))
        element.addElement("y")
        element.addElement((None, "z"))
        self.assertEqual(serialize(element, "urn:x"), b"<x><y/><z/></x>")
        self.assertEqual(serialize(element), b"<x xmlns='urn:x'><y/><z/></x>")

    def test_raw_parts_stay(self) -> None:
        element = domish.Element((NS_CLIENT, "message"))
        element.addRawXml("<a>&amp;</a>")
        self.assertEqual(serialize(element), b"<message><a>&amp;</a></message>")

    def test_deep(self) -> None:
        element = inner = domish.Element((NS_CLIENT, "message"))
        for _ in range(5000):
            inner = inner.addElement("a")
        self.assertEqual(len(serialize(element)), len("<message></message>") + 4999 * len("<a></a>") + len("<a/>"))
