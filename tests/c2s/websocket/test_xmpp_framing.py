"""Messages of a WebSocket against an XML stream: what one is on the other."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.c2s.websocket.xmpp_framing import KEEPALIVE, BrokenMessage, Incoming, Outgoing
from minimixproxy.wire.events import Event, Fault, StreamClosed, StreamOpened
from minimixproxy.wire.framing import Framer
from minimixproxy.wire.standalone import standalone
from minimixproxy.wire.stanza import Stanza, parse_element
from tests.wire.test_standalone import CONTAINED

OPEN = b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.org' version='1.0' xml:lang='de'/>"
CLOSE = b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"
HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" from='example.org' id='1' version='1.0' xml:lang='en'>"
)

#: Messages that are one element, however odd.
WHOLE = (
    b"<message xmlns='jabber:client'><body>a</body></message>",
    b"<message><body>without a namespace</body></message>",
    b"<presence/>",
    b"<presence xmlns='jabber:client'/>",
    b"<presence id='>'/>",
    b"<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>\n",
    b"<iq><iq/></iq>",
    b"<message id='>&lt;/message>'/>",
    b"<message><message xmlns='urn:x'></message></message>",
    b"<message><body><![CDATA[</message><message>]]></body></message>",
    b"<m:message xmlns:m='jabber:client'/>",
    b"<r xmlns='urn:xmpp:sm:3'/>",
    b"<a xmlns='urn:xmpp:sm:3' h='1'></a>",
    b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>",
)
BROKEN = {
    b"<message/><message/>": "bad-format",
    b"<message></message><presence/>": "bad-format",
    b"<message><body>half": "not-well-formed",
    b"</message>": "not-well-formed",
    b"<mess": "not-well-formed",
    b"<iq id='1'> />": "not-well-formed",  # it only looks like an element with nothing in it
    b"<a > h='1'/>": "not-well-formed",
    "<iq/>".encode("utf-16-le"): "bad-format",
    b" <message/>": "bad-format",
    b"text": "bad-format",
    b"<message/>text": "bad-format",
    b"<stream:features/>": "not-well-formed",  # the prefix is not declared
    b"<!DOCTYPE a [<!ENTITY b 'c'>]><message>&b;</message>": "restricted-xml",
    b"<x xmlns:p='%b' p:b='1' p:c='2'/>" % (b"u" * 1000): "policy-violation",  # see `wire.long_namespaces`
    b"<x xmlns:p='u'%b/>" % b"".join(b" p:a%d=''" % number for number in range(1001)): "policy-violation",
    OPEN: "bad-format",
    b"<other xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>": "bad-format",
}


def opened() -> Incoming:
    incoming = Incoming()
    incoming.stream_bytes(OPEN)
    return incoming


def events(*pieces: bytes) -> list[Event]:
    framer = Framer()
    return [event for piece in pieces for event in framer.feed(piece)]


class IncomingTests(unittest.SynchronousTestCase):
    def test_open_is_a_header(self) -> None:
        (header,) = events(Incoming().stream_bytes(OPEN))
        assert isinstance(header, StreamOpened)
        self.assertEqual((header.uri, header.name), ("http://etherx.jabber.org/streams", "stream"))
        self.assertEqual(header.namespaces[""], "jabber:client")
        lang = "{http://www.w3.org/XML/1998/namespace}lang"
        self.assertEqual(header.attributes, {"to": "example.org", "version": "1.0", lang: "de"})

    def test_what_open_says_else_is_left_out(self) -> None:
        odd = OPEN.replace(b" to=", b" xmlns:p='urn:p' p:to='x' from='a&amp;b&apos;' evil='1' to=")
        (header,) = events(Incoming().stream_bytes(odd))
        assert isinstance(header, StreamOpened)
        self.assertEqual(set(header.namespaces), {"", "stream"})
        self.assertEqual(header.attributes["from"], "a&b'")
        self.assertNotIn("evil", header.attributes)

    def test_first_message_has_to_be_open(self) -> None:
        for message in (*WHOLE, b"<open to='example.org'/>", b"<stream:stream xmlns:stream='x'/>"):
            with self.assertRaises(BrokenMessage, msg=message) as caught:
                Incoming().stream_bytes(message)
            self.assertEqual(caught.exception.condition, "invalid-namespace")

    def test_utf_8_only(self) -> None:
        """Characters of ASCII are UTF-8 even with zeros between them, and then look like UTF-16 to expat."""
        self.assertRaises(BrokenMessage, Incoming().stream_bytes, OPEN.decode().encode("utf-16-le"))

    def test_open_comes_once_for_each_stream(self) -> None:
        incoming = opened()
        with self.assertRaises(BrokenMessage):
            incoming.stream_bytes(OPEN)
        incoming.restart()
        self.assertIn(b"<stream:stream", incoming.stream_bytes(OPEN))

    def test_open_is_small(self) -> None:
        """Who is a stranger yet is not to have much looked at."""
        large = OPEN.replace(b" to=", b"".join(b" a%d='1'" % number for number in range(2000)) + b" to=")
        with self.assertRaises(BrokenMessage) as caught:
            Incoming().stream_bytes(large)
        self.assertEqual(caught.exception.condition, "policy-violation")

    def test_close_is_the_end(self) -> None:
        self.assertIsInstance(events(HEADER, opened().stream_bytes(CLOSE))[-1], StreamClosed)

    def test_one_element(self) -> None:
        for message in WHOLE:
            self.assertEqual(opened().stream_bytes(message), message)
            found = [event for event in events(HEADER, message) if isinstance(event, Stanza)]
            self.assertEqual(len(found), 1, message)

    def test_not_one_element(self) -> None:
        for message, condition in BROKEN.items():
            with self.assertRaises(BrokenMessage, msg=message) as caught:
                opened().stream_bytes(message)
            self.assertEqual(caught.exception.condition, condition, message)

    def test_prefix_of_open(self) -> None:
        prefixed = OPEN.replace(b"<open xmlns=", b"<f:open xmlns:f=").replace(b" to=", b" xmlns='urn:x' to=")
        (header,) = events(Incoming().stream_bytes(prefixed))
        assert isinstance(header, StreamOpened)
        self.assertEqual(header.attributes["to"], "example.org")

    def test_names_of_namespaces_are_not_multiplied(self) -> None:
        """Written before each of 9,000 attributes, this one took 45 bytes for each byte of the message.

        So many are refused by now (`wire.large_tags`).
        """
        attributes = b"".join(b" m:a%d=''" % number for number in range(1000))
        message = b"<m:message xmlns:m='%b'><x%b/></m:message>" % (b"u" * 250, attributes)
        incoming = opened()
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.assertEqual(incoming.stream_bytes(message), message)
        self.assertLess(tracemalloc.get_traced_memory()[1], 20 * len(message))

    def test_white_space_does_no_harm(self) -> None:
        for space in (b"", b" ", b"\r\n"):
            self.assertEqual(opened().stream_bytes(space), space)
            self.assertEqual(Incoming().stream_bytes(space), b"")

    @given(st.binary(max_size=60) | st.text(alphabet="<>/ame'\"!?[]- x=&;:", max_size=40).map(str.encode))
    def test_whatever_passes_is_at_most_one_element(self, data: bytes) -> None:
        """Or it is found to be broken by the stream's framer, which ends there."""
        try:
            passed = opened().stream_bytes(data)
        except BrokenMessage:
            return
        if passed == data:
            found = events(HEADER, data)[1:]
            elements = [event for event in found if isinstance(event, Stanza)]
            faults = [event for event in found if isinstance(event, Fault)]
            self.assertTrue(len(elements) <= 1 or faults, data)


class OutgoingTests(unittest.SynchronousTestCase):
    def test_header_is_open(self) -> None:
        (message,) = Outgoing().messages(HEADER)
        attributes = b"from='example.org' id='1' version='1.0' xml:lang='en'"
        self.assertEqual(message, b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' %b/>" % attributes)

    def test_several_in_one_write(self) -> None:
        outgoing = Outgoing()
        first = outgoing.messages(HEADER + b"<stream:features/><presence/>" + b" " + b"<r xmlns='urn:xmpp:sm:3'/>")
        self.assertEqual(len(first), 5)
        self.assertEqual(first[3], KEEPALIVE)
        self.assertEqual(outgoing.messages(b"<presence/></stream:stream>")[-1], CLOSE)

    def test_prefixes_of_the_header(self) -> None:
        outgoing = Outgoing()
        outgoing.messages(HEADER.replace(b" id=", b" xmlns:p='urn:p' id="))
        (message,) = outgoing.messages(b"<message><p:x/></message>")
        element = parse_element(message, {"": "urn:nothing"})
        self.assertEqual(next(element.elements()).uri, "urn:p")

    def test_what_is_not_whole_is_left_out(self) -> None:
        error = b"<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
        for before in (b"", HEADER, HEADER + b"<message/>", HEADER + b"<message><body>half</body>"):
            outgoing = Outgoing()
            outgoing.messages(before)
            outgoing.drop_unfinished()
            told, closed = outgoing.messages(error)
            self.assertTrue(told.startswith(b"<stream:error "))
            self.assertEqual(closed, CLOSE)

    def test_another_stream(self) -> None:
        outgoing = Outgoing()
        outgoing.messages(HEADER)
        outgoing.restart()
        self.assertEqual(len(outgoing.messages(HEADER + b"<stream:features/>")), 2)

    def test_error_without_a_header(self) -> None:
        """What goes wrong on our side may come before the header of the server."""
        error = b"<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        first, last = Outgoing().messages(error + b"</stream:stream>")
        self.assertEqual((parse_element(first, {"": "urn:nothing"}).name, last), ("error", CLOSE))

    def test_there_is_a_parser_only_while_it_is_needed(self) -> None:
        outgoing = Outgoing()
        self.assertEqual(len(outgoing.messages(HEADER)), 1)
        for whole in (b"<message to='a'><body/></message>", b"<presence/>", b"<x xmlns='urn:x'><y/></x>", b" "):
            self.assertEqual(len(outgoing.messages(whole * 2)), 2 if whole.strip() else 1)
            self.assertFalse(hasattr(outgoing._framer, "_parser"))
            self.assertEqual(outgoing.messages(b"<presence><half/>"), [])
            self.assertTrue(hasattr(outgoing._framer, "_parser"))
            self.assertEqual(len(outgoing.messages(b"</presence>")), 1)
            self.assertFalse(hasattr(outgoing._framer, "_parser"))

    def test_what_a_server_relays_unread_breaks_nothing(self) -> None:
        """ejabberd relays prefixes that nobody declared: that is the client's to judge, whatever stands before it."""
        bad = b"<message from='r@muc/nick'><body>b</body><p:x q:y=''/></message>"
        contained = bad.replace(b" from", b" xmlns='jabber:client' from")
        forwarded = b"<message><forwarded xmlns='urn:xmpp:forward:0'><message/></forwarded></message>"
        resumed = b"<resumed xmlns='urn:xmpp:sm:3' h='1' previd='x'/>"
        for other in (b"<presence from='a'/>", resumed, forwarded, b" "):
            outgoing = Outgoing()
            outgoing.messages(HEADER + b"<stream:features/>")
            for _ in range(2):
                found = outgoing.messages(other + bad + other + bad + other)
                self.assertEqual((len(found), found[1::2]), (5, [contained, contained]), other)

    def test_no_xml_is_a_fault(self) -> None:
        outgoing = Outgoing()
        outgoing.messages(HEADER)
        self.assertRaises(ValueError, outgoing.messages, b"<presence></message>")

    def test_no_header_is_a_fault(self) -> None:
        """There is no stream yet behind whose header the rest could be read."""
        for bad in (HEADER.replace(b"xmlns:stream", b"xmlns:other"), HEADER.replace(b" id=", b" id"), b"<p:x/>"):
            self.assertRaises(ValueError, Outgoing().messages, bad)

    @given(st.lists(st.sampled_from([*CONTAINED, b"<stream:features/>"])), st.data())
    def test_any_cutting_gives_the_same(self, elements: list[bytes], data: st.DataObject) -> None:
        whole = HEADER + b"".join(elements)
        expected = Outgoing().messages(HEADER) + [standalone(element) for element in elements]
        outgoing = Outgoing()
        self.assertEqual([message for piece in cut(whole, data) for message in outgoing.messages(piece)], expected)


def cut(whole: bytes, data: st.DataObject) -> Iterator[bytes]:
    """`whole` in pieces, none of them empty."""
    places = sorted(data.draw(st.sets(st.integers(1, max(1, len(whole) - 1)), max_size=12)))
    for start, end in zip([0, *places], [*places, len(whole)], strict=True):
        if piece := whole[start:end]:
            yield piece
