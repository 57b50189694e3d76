"""Elements that declare what they use, one by one and many at once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.wire.standalone import standalone, standalone_messages
from minimixproxy.wire.stanza import parse_element

#: Elements of a stream, and the messages that they become.
CONTAINED = {
    b"<message to='a'><body>b</body></message>": b"<message xmlns='jabber:client' to='a'><body>b</body></message>",
    b'<message to="a>b"/>': b"<message to=\"a>b\" xmlns='jabber:client'/>",
    b"<message id='xmlns='/>": b"<message id='xmlns=' xmlns='jabber:client'/>",
    b"<iq xmlns='jabber:client'/>": b"<iq xmlns='jabber:client'/>",
    b"""<iq a='"' b="x>" xmlns="jabber:client"/>""": b"""<iq a='"' b="x>" xmlns="jabber:client"/>""",
    b"""<iq a='"' b="x>'" c='1'/>""": b"""<iq a='"' b="x>'" c='1' xmlns='jabber:client'/>""",
    b"<presence/>": b"<presence xmlns='jabber:client'/>",
    b"<info/>": b"<info xmlns='jabber:client'/>",
    b"<iqx xmlns='u'/>": b"<iqx xmlns='u'/>",
    b"<r xmlns='urn:xmpp:sm:3'/>": b"<r xmlns='urn:xmpp:sm:3'/>",
    b"<message xmlns = 'jabber:client' to='a'><body/></message>": (
        b"<message xmlns = 'jabber:client' to='a'><body/></message>"
    ),
}

#: Messages that are declared together.
PLAIN = (
    b"<message to='a'><body>b</body></message>",
    b"<message xmlns='jabber:client' to='a'><body>b</body></message>",
    b"<message xmlns='jabber:client' a=\"'\" b='>'><body>odd all the same</body></message>",
    b"<message from='r@muc/nick' to='a' type='groupchat'><body>who! what?</body><x xmlns='urn:x'/></message>",
)
#: Elements with which nothing of a write is.
UNUSUAL = (
    b"<message to='a'/>",
    b'<message to="a"><body/></message>',
    b"<message><body/></message>",
    b"<message to='a>b'><body/></message>",
    b"<message to='a' xmlns='jabber:client'><body/></message>",
    b"<message to='a'><body><![CDATA[</message><message to='b'>]]></body></message>",
    b"<message to='a'><forwarded xmlns='urn:xmpp:forward:0'><message to='b'></message></forwarded></message>",
    b"<message to='a'><x xmlns='urn:x'><message-id/></x></message>",
    b"<messages to='a'><message to='b'></message></messages>",
)
#: Elements that may stand behind such messages.
BEHIND = (b"<r xmlns='urn:xmpp:sm:3'/>", b"<presence/>", b"<iq type='get'><ping xmlns='urn:xmpp:ping'/></iq>", b" ")


class StandaloneTests(unittest.SynchronousTestCase):
    def test_elements_declare_what_they_use(self) -> None:
        for raw, message in CONTAINED.items():
            self.assertEqual(standalone(raw), message)
            parse_element(message, {"": "urn:nothing"})

    def test_prefix_of_streams(self) -> None:
        features = b"<stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></stream:features>"
        element = parse_element(standalone(features), {"": "urn:nothing"})
        self.assertEqual((element.uri, element.name), ("http://etherx.jabber.org/streams", "features"))
        inside = b"<message><x><stream:y/></x></message>"
        parse_element(standalone(inside), {"": "urn:nothing"})


class ManyMessagesTests(unittest.SynchronousTestCase):
    def test_all_at_once(self) -> None:
        data = b"".join(PLAIN)
        self.assertEqual(standalone_messages(data), ([standalone(raw) for raw in PLAIN], len(data)))
        for behind in BEHIND:
            self.assertEqual(standalone_messages(data + behind), ([standalone(raw) for raw in PLAIN], len(data)))

    def test_none_if_one_is_unusual(self) -> None:
        for raw in UNUSUAL:
            for data in (raw, PLAIN[0] + raw, raw + PLAIN[0], PLAIN[0] + raw + PLAIN[0]):
                self.assertEqual(standalone_messages(data), ([], 0), raw)

    @given(st.lists(st.sampled_from([*PLAIN, *PLAIN, *UNUSUAL, *BEHIND]), max_size=6))
    def test_the_same_as_one_by_one(self, elements: list[bytes]) -> None:
        messages, end = standalone_messages(b"".join(elements))
        self.assertEqual(messages, [standalone(raw) for raw in elements[: len(messages)]])
        self.assertEqual(end, len(b"".join(elements[: len(messages)])))
