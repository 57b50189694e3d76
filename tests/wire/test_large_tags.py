"""Start tags with so many attributes of namespaces that they would cost expat much: they are not given to it."""

from __future__ import annotations

from twisted.trial import unittest

from minimixproxy.wire.events import Fault
from minimixproxy.wire.framing import Framer, FramingLimits
from minimixproxy.wire.large_tags import MOST_PREFIXED, has_many_prefixed, large_tag
from tests.wire.test_long_namespaces import HEADER, LONG, framers, is_left_out, passes

FAULT = "too many attributes with a prefix"


def prefixed(number: int, quote: bytes = b"'", before: bytes = b" ") -> bytes:
    return b"".join(b"%bp:a%d%b=%b%b%b" % (before, one, before, quote, b">", quote) for one in range(number))


PLAIN = b"".join(b" a%d='p:a=\"1\"'" % number for number in range(5 * MOST_PREFIXED))
DECLARATIONS = b"".join(b" xmlns:p%d='u'" % number for number in range(5 * MOST_PREFIXED))
MANY = prefixed(MOST_PREFIXED + 1)
BAD = (
    b"<message xmlns:p='u'%b/>" % MANY,
    b"<message%b xmlns:p='u'/>" % MANY,
    b"<message><x xmlns:p='u'%b><y/></x></message>" % MANY,
    b"<message><x/>text = 'x'<p:x xmlns:p='u'%b></p:x></message>" % prefixed(MOST_PREFIXED + 1, b'"', b"\n "),
    b"<message><x xmlns:p='u'%b%b%b/></message>" % (PLAIN, MANY, DECLARATIONS),
)
GOOD = (
    b"<message xmlns:p='u'%b/>" % prefixed(MOST_PREFIXED),
    b"<message><x xmlns:p='u'%b/><x xmlns:p='u'%b/></message>" % (prefixed(MOST_PREFIXED), prefixed(MOST_PREFIXED)),
    b"<message%b/>" % PLAIN,
    b"<message%b/>" % DECLARATIONS,
    b"<message><body>%b</body></message>" % MANY,
    b"<message><body/>%b</message>" % MANY,
    b"<message a='%b'/>" % MANY.replace(b"'", b'"'),
)


class ManyPrefixedTests(unittest.SynchronousTestCase):
    def test_found_in_tags_only(self) -> None:
        for data in BAD:
            self.assertTrue(has_many_prefixed(data), data[:80])
            self.assertEqual(large_tag(data), FAULT)
        for data in (*GOOD, b"", b"<message><![CDATA[<x%b>]]></message>".replace(b"<x", b"x") % MANY):
            self.assertEqual(large_tag(data), "", data[:80])
        self.assertEqual(large_tag(b"<message xmlns:p='%b'/>" % LONG), "namespace too long")

    def test_clients_are_refused(self) -> None:
        for data in BAD:
            for size in (len(data), 1000):
                for framer in framers(FramingLimits()):
                    pieces = [data[at : at + size] for at in range(0, len(data), size)]
                    found = [event for piece in pieces for event in framer.feed(piece)]
                    self.assertEqual(found, [Fault("policy-violation", FAULT)])
                    self.assertFalse(framer.feed(b"<presence/>"))

    def test_in_a_header(self) -> None:
        for limits in (FramingLimits(), FramingLimits(skips=True)):
            found = Framer(limits).feed(HEADER.replace(b">", b" xmlns:p='u'%b>" % MANY))
            self.assertEqual(found, [Fault("policy-violation", FAULT)])

    def test_of_what_a_server_relays_it_is_left_out(self) -> None:
        for data in BAD:
            is_left_out(self, data, FAULT)

    def test_all_else_passes(self) -> None:
        for data in GOOD:
            passes(self, data)
