"""Where messages are that others have in them, and what is written there."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.namespaces import NS_CARBONS
from minimixproxy.wire.fast_framing import UnreadStanza
from minimixproxy.wire.stanza import Stanza, UnusableStanza, parse_stanza
from minimixproxy.xep.carbons import as_private, carbon_of, sent_copy
from minimixproxy.xep.forwarded import forwarded_in, qualified

MARK = b"<x xmlns='http://jabber.org/protocol/muc#user'/>"
SENT = {qualified(NS_CARBONS, "sent")}
A = b"<message xmlns='jabber:client' id='a'><body>a</body></message>"
B = b"<message id='b' to='x' xmlns='jabber:client'>b</message >"
OUTER = b"<message from='alice@a.test' to='alice@a.test/phone'>%b</message>"


def carbon(*messages: bytes, forwarded: bytes = b"urn:xmpp:forward:0", sent: bytes = b"urn:xmpp:carbons:2") -> bytes:
    inner = b"<forwarded xmlns='%b'>%b</forwarded>" % (forwarded, b"".join(messages))
    return OUTER % b"<sent xmlns='%b'>%b</sent>" % (sent, inner)


class PlacesTests(SynchronousTestCase):
    def found(self, raw: bytes) -> list[bytes]:
        return [raw[one.begin : one.end] for one in forwarded_in(raw, SENT)]

    def test_none(self) -> None:
        for raw in (
            OUTER % b"",
            OUTER % A,
            OUTER % b"text",
            carbon(),
            carbon(b"<presence xmlns='jabber:client'/>"),
            carbon(A.replace(b"jabber:client", b"urn:x")),
            carbon(A, forwarded=b"urn:x"),
            carbon(A, sent=b"urn:x"),
            carbon(b"<a>%b</a>" % A),
            OUTER % (b"<sent xmlns='urn:xmpp:carbons:2'>%b</sent>" % A),
            OUTER % (b"<b>%b</b>" % carbon(A)),
            OUTER % (b"<sent xmlns='urn:xmpp:carbons:2'/><forwarded xmlns='urn:xmpp:forward:0'>%b</forwarded>" % A),
            b"<x xmlns='urn:x'/>",
        ):
            self.assertEqual(self.found(raw), [], raw)

    def test_where_and_whose(self) -> None:
        a, b = A.removesuffix(b"</message>"), B.removesuffix(b"</message >")
        for raw, expected in (
            (carbon(A), [a]),
            (carbon(b" ", B, b"<a><message xmlns='jabber:client'/></a>", A), [b, a]),
            (carbon(A).replace(b"<sent", b"<s xmlns='urn:s'>%b</s><sent" % A), [a]),
            (carbon(A).replace(b"xmlns='urn:xmpp:carbons:2'>", b"xmlns='urn:xmpp:carbons:2'>%b<a/>" % A), [a]),
            (b"<message xmlns='jabber:client'>" + carbon(A).partition(b">")[2], [a]),
        ):
            self.assertEqual(self.found(raw), expected, raw)
        (one,) = forwarded_in(carbon(B), SENT)
        self.assertEqual(one.attributes, {"id": "b", "to": "x"})

    def test_deep_ones_are_not_taken_for_it(self) -> None:
        inner = b"<message xmlns='jabber:client'><body/>%b</message>" % carbon(A)
        self.assertEqual(self.found(carbon(inner)), [inner.removesuffix(b"</message>")])


class BrokenTests(SynchronousTestCase):
    """A server's stream is not checked: ejabberd relays prefixes that nobody declared. It is the client's affair."""

    def test_it_is_said_to_be_of_no_use(self) -> None:
        for inner in (b"<q:a/>", b"<a q:b=''/>", b"<a>&nobody;</a>", b"<a>\xff</a>", b"<a></b>"):
            stanza = UnreadStanza(carbon(A.replace(b"<body>", inner + b"<body>")), "message", {"": "jabber:client"})
            self.assertRaises(UnusableStanza, carbon_of, stanza, "alice@a.test/x")
            self.assertRaises(UnusableStanza, as_private, stanza)


class PrivateTests(SynchronousTestCase):
    def test_marked_once(self) -> None:
        deep, marked = b"<a>%b</a>" % MARK, A.replace(b"<body>", MARK + b"<body>")
        said = b"<body>%b</body>" % b"http://jabber.org/protocol/muc#user"
        for messages, expected in (
            ([A], [A.replace(b"</m", MARK + b"</m")]),
            ([B], [B.replace(b"</m", MARK + b"</m")]),
            ([marked], [marked]),
            ([A, marked, B], [A.replace(b"</m", MARK + b"</m"), marked, B.replace(b"</m", MARK + b"</m")]),
            (
                [A.replace(b"<body>", b"<body>" + deep)],
                [A.replace(b"<body>a</body>", b"<body>%ba</body>%b" % (deep, MARK))],
            ),
            ([A.replace(b"<body>a</body>", said)], [A.replace(b"<body>a</body>", said + MARK)]),
            ([A.replace(b"<body>a</body>", b"<a/>")], [A.replace(b"<body>a</body>", b"<a/>" + MARK)]),
            ([A.replace(b"<body>a</body>", b"")], [A.replace(b"<body>a</body>", MARK)]),
        ):
            self.assertEqual(as_private(parse_stanza(carbon(*messages))), carbon(*expected))

    def test_an_empty_one_needs_no_mark(self) -> None:
        raw = carbon(b"<message xmlns='jabber:client' a='>'/>")
        self.assertEqual(as_private(parse_stanza(raw)), raw)
        empty = parse_stanza("<message to='r@m.test/bob' id='1'/>")
        self.assertNotIn(b"muc#user", sent_copy(empty, "a@a.test/x", "a@a.test", "a@a.test/y"))

    def test_prefixes_of_the_stream(self) -> None:
        raw = carbon(b"<message xmlns='jabber:client' from='s' to='t'><p:a/></message>")
        namespaces = {"": "jabber:client", "p": "urn:p"}
        stanza = Stanza(raw, "jabber:client", "message", {"from": "alice@a.test"}, None, namespaces)
        made = as_private(stanza)
        self.assertEqual(parse_stanza(made).name, "message")
        self.assertIn(b"<p:a/>%b</message>" % MARK, made)
        self.assertIsNone(carbon_of(stanza, "alice@a.test/x"))
