"""Which features of a server a client is shown."""

from __future__ import annotations

from twisted.trial import unittest

from minimixproxy.namespaces import NS_CLIENT, NS_STREAM
from minimixproxy.wire.framing import Framer
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.xep.stream_features import announced_limit
from minimixproxy.xep.stream_features import shown_features as shown_features_in

BIND = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind>"
VERSION = b'<ver xmlns="urn:xmpp:features:rosterver"/>'
HIDDEN = (
    b"<sm xmlns='urn:xmpp:sm:3'><optional/></sm>",
    b"<sm xmlns='urn:xmpp:sm:2'/>",
    b"<compression xmlns='http://jabber.org/features/compress'><method>zlib</method></compression>",
    b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>",
    b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'></starttls>",
    b"<authentication xmlns='urn:xmpp:sasl:2'><inline><bind xmlns='urn:xmpp:bind:0'/></inline></authentication>",
    b"<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>",
    b"<bind xmlns='urn:xmpp:bind:0'><inline/></bind>",
    b"<fast xmlns='urn:xmpp:fast:0'/>",
    b"<x:sm xmlns:x='urn:xmpp:sm:3'/>",
)
SHOWN = (
    BIND,
    VERSION,
    b"<session xmlns='urn:ietf:params:xml:ns:xmpp-session'><optional/></session>",
    b"<csi xmlns='urn:xmpp:csi:0'/>",
    b"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='v='/>",
    b"<sub xmlns='urn:xmpp:features:pre-approval'/>",
    b"<register xmlns='http://jabber.org/features/iq-register'/>",
    b"<unknown xmlns='urn:example:new'><sm xmlns='urn:xmpp:sm:3'/>text &lt; &#x1F600; \xc3\xa9</unknown>",
    b"<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>10000</max-bytes></limits>",
)


NAMESPACES = {"": NS_CLIENT, "stream": NS_STREAM, "sm": "urn:xmpp:sm:3", "q": "urn:q"}


def shown_features(features: Stanza, own: bytes = b"") -> bytes:
    return shown_features_in(features, NAMESPACES, own)


def features_of(content: bytes, tag: bytes = b"stream:features", declared: bytes = b"") -> Stanza:
    header = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'%b>" % declared
    events = Framer().feed(header + b"<%b>%b</%b>" % (tag, content, tag))
    assert isinstance(events[1], Stanza)
    return events[1]


class FeaturesTest(unittest.TestCase):
    def test_one_is_added(self) -> None:
        """Behind the others."""
        added = b"<csi xmlns='urn:xmpp:csi:0'/>"
        for others in (BIND, BIND + HIDDEN[0], HIDDEN[0] + VERSION, VERSION + b"<x xmlns='urn:q'/>"):
            shown = shown_features(features_of(others), added)
            rest = others.replace(HIDDEN[0], b"")
            self.assertEqual(shown, b"<stream:features>%b%b</stream:features>" % (rest, added))
        self.assertEqual(shown_features(features_of(b""), added), b"<stream:features>%b</stream:features>" % added)

    def test_each_alone(self) -> None:
        for feature in HIDDEN:
            self.assertEqual(shown_features(features_of(feature)), b"<stream:features></stream:features>", feature)
        for feature in SHOWN:
            self.assertEqual(shown_features(features_of(feature)), b"<stream:features>%b</stream:features>" % feature)

    def test_hidden_ones_among_others(self) -> None:
        for hidden in HIDDEN:
            for around in ((BIND, hidden, VERSION), (hidden, BIND, VERSION), (BIND, VERSION, hidden)):
                shown = shown_features(features_of(b"".join(around)))
                self.assertEqual(shown, b"<stream:features>%b%b</stream:features>" % (BIND, VERSION))

    def test_all_of_them(self) -> None:
        mixed = b"".join(b + a for a, b in zip(HIDDEN, SHOWN * 2, strict=False))
        shown = shown_features(features_of(mixed))
        self.assertEqual(shown, b"<stream:features>%b%b</stream:features>" % (b"".join(SHOWN), SHOWN[0]))

    def test_white_space_of_what_stays_is_kept(self) -> None:
        shown = shown_features(features_of(b"\n  " + BIND + b"\n  " + HIDDEN[0] + b"\n  " + VERSION + b"\n"))
        self.assertEqual(shown, b"<stream:features>\n  " + BIND + b"\n  " + VERSION + b"\n</stream:features>")

    def test_nothing_offered(self) -> None:
        self.assertEqual(shown_features(features_of(b"")), b"<stream:features></stream:features>")
        header = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        (_, empty) = Framer().feed(header + b"<stream:features/>")
        assert isinstance(empty, Stanza)
        self.assertEqual(shown_features(empty), b"<stream:features/>")

    def test_prefix_declared_on_the_stream_header(self) -> None:
        declared = b" xmlns:sm='urn:xmpp:sm:3' xmlns:q='urn:q'"
        shown = shown_features(features_of(b"<sm:sm/><q:feature/>", declared=declared))
        self.assertEqual(shown, b"<stream:features><q:feature/></stream:features>")


class AnnouncedLimits(unittest.TestCase):
    def test_table(self) -> None:
        for inner, limit in (
            ("<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>65536</max-bytes></limits>", 65536),
            ("<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>0</max-bytes></limits>", 10_000),
            ("<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>many</max-bytes></limits>", None),
            ("<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>6553\u00b2</max-bytes></limits>", None),
            ("<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes/></limits>", None),
            ("<limits xmlns='urn:xmpp:stream-limits:0'/>", None),
            ("", None),
        ):
            features = parse_stanza(f"<features xmlns='{NS_STREAM}'>{inner}</features>")
            self.assertEqual(announced_limit(features), limit)
