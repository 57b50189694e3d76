"""Start tags that would cost expat much: those that declare long names, or have many attributes with a prefix."""

from __future__ import annotations

from twisted.trial import unittest

from minimixproxy.wire.events import Event, Fault, Skipped
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.framing import Framer, FramingLimits
from minimixproxy.wire.long_namespaces import MAX_NAMESPACE, has_long_namespace
from minimixproxy.wire.stanza import Stanza

HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
LONG = b"u" * (MAX_NAMESPACE + 1)
ATTRIBUTES = b"".join(b" p:a%d=''" % number for number in range(100))
BAD = (
    b"<message xmlns:p='%b'%b/>" % (LONG, ATTRIBUTES),
    b"<message%b xmlns:p='%b'/>" % (ATTRIBUTES, LONG),
    b'<message xmlns:p\n= "%b"><body/></message>' % LONG,
    b"<message><x xmlns='%b'>%b</x></message>" % (LONG, b"<y/>" * 100),
    b"<message><x a='>' b=\"'<>'\" xmlns:p='%b'><p:y/></x></message>".replace(b"<>", b">") % LONG,
    b"<iq><message/>text = 'x' <x xmlns:p='%b'/></iq>" % LONG,
)
GOOD = (
    b"<message xmlns:p='%b'%b/>" % (LONG[1:], ATTRIBUTES),
    b"<message><x id='%b' axmlns='%b'/></message>" % (LONG, LONG),
    b"<message><body>look: xmlns='%b</body><body>xmlns=\"%b</body></message>" % (LONG, LONG),
    b"<message><body/>xmlns='%b'</message>" % LONG,
    b"<message>%b</message>" % (b"<x y='%b'/>xmlns='%b" % (LONG, LONG) * 10),
)


def framers(limits: FramingLimits) -> list[Framer]:
    """Each kind, behind a header."""
    fast, trusting = FastFramer(limits), FastFramer(limits)
    made = [Framer(limits), fast, trusting]
    for framer in made:
        framer.feed(HEADER)
    fast.pass_on()
    trusting.pass_on(trusting=True)
    return made


def kind(event: Event) -> str:
    if isinstance(event, Skipped):
        return event.reason
    assert isinstance(event, Stanza), event
    return event.name


def is_left_out(case: unittest.SynchronousTestCase, data: bytes, reason: str) -> None:
    """Each kind leaves it out, twice, and goes on behind it."""
    for number, framer in enumerate(framers(FramingLimits(skips=True))):
        for _ in range(2):
            kinds = [kind(event) for event in framer.feed(b"<presence/>" + data + b"<presence/>")]
            case.assertEqual(kinds, ["presence", reason, "presence"], (number, data[:80]))


def passes(case: unittest.SynchronousTestCase, data: bytes) -> None:
    """Each kind lets it pass as it is."""
    for limits in (FramingLimits(), FramingLimits(skips=True)):
        for framer in framers(limits):
            (stanza,) = framer.feed(data)
            assert isinstance(stanza, Stanza)
            case.assertEqual(stanza.raw, data)


class LongNamespaceTests(unittest.SynchronousTestCase):
    def test_found_in_tags_only(self) -> None:
        for data in BAD:
            self.assertTrue(has_long_namespace(data), data)
        for data in GOOD:
            self.assertFalse(has_long_namespace(data), data)

    def test_clients_are_refused(self) -> None:
        for data in BAD:
            for pieces in ([data.replace(LONG, LONG * 20)], [data[at : at + 1] for at in range(len(data))]):
                for framer in framers(FramingLimits()):
                    found = [event for piece in pieces for event in framer.feed(piece)]
                    self.assertEqual(found, [Fault("policy-violation", "namespace too long")])
                    self.assertFalse(framer.feed(b"<presence/>"))

    def test_in_a_header(self) -> None:
        for limits in (FramingLimits(), FramingLimits(skips=True)):
            found = Framer(limits).feed(HEADER.replace(b">", b" xmlns:p='%b'>" % LONG))
            self.assertEqual(found, [Fault("policy-violation", "namespace too long")])

    def test_of_what_a_server_relays_it_is_left_out(self) -> None:
        for data in BAD:
            is_left_out(self, data.replace(LONG, LONG * 20), "namespace too long")

    def test_all_else_passes(self) -> None:
        for data in GOOD:
            passes(self, data)
