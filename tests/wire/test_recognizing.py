"""Presences that are known by their bytes: what is made of a stream is what `Framer` makes of it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire import recognizing
from minimixproxy.wire.events import Event, Keepalive
from minimixproxy.wire.framing import Framer, FramingLimits
from minimixproxy.wire.recognizing import KnownPresences, RecognizingFramer
from minimixproxy.wire.stanza import Stanza, unaddressed
from tests.examples import examples
from tests.minimix.fakes import HEADER
from tests.wire.test_framing import CUTS

ROOM = "room@rooms.test"
SHOWN = "<presence from='room@rooms.test/{nick}'{to}><x xmlns='urn:x'><item/></x><show>away</show></presence>"

ATTRIBUTES = "".join(f" a{number}=''" for number in range(100))


def presence(nick: str, address: str, *, shown: str = SHOWN) -> bytes:
    return shown.format(nick=nick, to=f" to='{address}'").encode()


def fed(framer: Framer, data: bytes, cuts: list[int] | tuple[int, ...] = ()) -> list[Event]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [event for start, end in pairwise(places) for event in framer.feed(data[start:end])]


def seen(events: list[Event]) -> list[object]:
    """What events are, to compare; how white space is cut says nothing."""
    found: list[object] = []
    for event in events:
        if isinstance(event, Stanza):
            attributes = dict(sorted(event.attributes.items()))
            found.append((event.raw, event.uri, event.name, attributes, event.payloads, event.unaddressed))
        elif not isinstance(event, Keepalive):
            found.append(event)
    return found


class CountingFramer(RecognizingFramer):
    """Notes which presences were read by a parser."""

    def __init__(self, known: KnownPresences, limits: FramingLimits | None = None, header: bytes = HEADER) -> None:
        super().__init__(limits)
        self.read: list[bytes] = []
        self.feed(header)
        self.recognize(known)

    def _end_stanza(self) -> None:
        super()._end_stanza()
        self.read += [event.raw for event in self._events[-1:] if isinstance(event, Stanza)]


class RecognizingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.known = KnownPresences()
        self.known.begin_use()  # somebody else
        self.first = CountingFramer(self.known)
        self.further = CountingFramer(self.known)

    def test_read_once(self) -> None:
        nicks = [f"n{number}" for number in range(100)]
        self.first.feed(b"".join(presence(nick, "a@a.test/1") for nick in nicks))
        self.assertEqual(len(self.first.read), 100)
        said = b"".join(presence(nick, "b@a.test/22") for nick in nicks)
        events = self.further.feed(said)
        self.assertEqual(b"".join(event.raw for event in events if isinstance(event, Stanza)), said)
        self.assertEqual(len(self.further.read), 1, "by which it is known how the peer writes")
        self.further.read.clear()
        events = self.further.feed(said)
        self.assertEqual(self.further.read, [])
        self.assertEqual(seen(events), seen(fed(Framer(), HEADER + said)[1:]))

    def test_not_those_that_take_many_times_their_bytes(self) -> None:
        """What is in them is kept as well: of many payloads, or attributes, that is far more."""
        for shown in ("<presence from='n'{to}>" + "<a/>" * 100 + "</presence>", f"<presence{ATTRIBUTES}{{to}}/>"):
            self.first.feed(presence("n", "a@a.test/1", shown=shown))
        self.assertEqual(len(self.known), 0)

    def test_in_reads_of_any_size(self) -> None:
        """A stanza that is cut is read by the parser, and perhaps the one behind it: no others."""
        said = b"".join(presence(f"n{number}", "a@a.test/1") for number in range(100))
        self.first.feed(said)
        self.first.read.clear()
        events = [event for start in range(0, len(said), 1000) for event in self.first.feed(said[start : start + 1000])]
        self.assertEqual(b"".join(event.raw for event in events if isinstance(event, Stanza)), said)
        self.assertLess(len(self.first.read), 2 * len(said) / 1000)

    def test_one_that_is_otherwise_is_read(self) -> None:
        self.first.feed(presence("n", "a@a.test/1") * 2)
        for other in (
            presence("m", "a@a.test/1"),
            presence("n", "b@a.test/1"),
            b" " + presence("n", "a@a.test/1"),
            presence("n", "a@a.test/1").replace(b"away", b"dnd"),
            # `to` stands elsewhere, or only looks as if it did
            presence("n", "a@a.test/1", shown=SHOWN.replace("{to}", "").replace("<presence", "<presence{to}")),
            presence("n", "a@a.test/1", shown=SHOWN.replace("{to}", "").replace("<item", "<item{to}")),
        ):
            self.first.read.clear()
            self.first.feed(other)
            self.assertEqual(len(self.first.read), 1, other)

    def test_within_something_else_it_is_no_stanza(self) -> None:
        shown = presence("n", "a@a.test/1")
        self.first.feed(shown)
        for begin, end in (
            (b"<message><body><![CDATA[", b"]]></body></message>"),
            (b"<message><forwarded>", b"</forwarded></message>"),
            (b"<message><forwarded a='", b"'/></message>"),
            (b"<message><!--", b"--></message>"),
            (b"<message>", b"</presence>"),
        ):
            for cuts in ((), (len(begin),), (len(begin), len(begin + shown))):
                framer = CountingFramer(self.known)
                framer.feed(shown)
                events = fed(framer, begin + shown + end, cuts)
                self.assertEqual(seen(events), seen(fed(Framer(), HEADER + begin + shown + end)[1:]), begin)

    def test_where_the_header_declares_more(self) -> None:
        """The same bytes may mean something else there."""
        framer = CountingFramer(self.known, header=HEADER[:-1] + b" xmlns:p='urn:p'>")
        framer.feed(presence("n", "a@a.test/1") * 3)
        self.assertEqual((len(framer.read), len(self.known)), (3, 0))

    def test_the_bound_of_the_stream(self) -> None:
        shown = presence("n", "a@a.test/1")
        small = CountingFramer(self.known, FramingLimits(len(shown)))
        small.feed(shown)
        long = presence("n" * 20, "a@a.test/1")
        other = CountingFramer(self.known)
        other.feed(long * 2)
        self.assertEqual(len(other.read), 1)
        events = small.feed(shown + long)
        self.assertEqual(len(events), 2)
        self.assertNotIsInstance(events[1], Stanza)

    def test_bounds(self) -> None:
        self.patch(recognizing, "MOST", 10)
        for number in range(100):
            self.first.feed(presence(f"n{number}", "a@a.test/1"))
            self.first.feed(presence("again and again", "a@a.test/1"))
            self.assertLessEqual(len(self.known), 20)
        self.assertEqual(self.first.read.count(presence("again and again", "a@a.test/1")), 1)
        before = len(self.known)
        self.first.feed(presence("x" * recognizing.LARGEST, "a@a.test/1"))
        self.assertEqual(len(self.known), before)

    def test_where_nobody_else_is_nothing_is_kept(self) -> None:
        known = KnownPresences()
        alone = CountingFramer(known)
        alone.feed(presence("n", "a@a.test/1"))
        self.assertEqual(len(known), 0)
        other = CountingFramer(known)
        for framer in (alone, other):
            framer.feed(presence("n", "a@a.test/1"))
        self.assertEqual((len(known), len(other.read)), (1, 1))
        other.feed(presence("n", "a@a.test/1"))
        self.assertEqual(len(other.read), 1)
        for _ in range(2):
            other.recognize_no_more()
        self.assertEqual(len(known), 0)
        alone.feed(presence("n", "a@a.test/1"))
        self.assertEqual(len(known), 0)

    def test_of_the_same_bytes(self) -> None:
        """What is kept of them is kept once: also of those that were read."""
        (first,) = self.first.feed(presence("n", "a@a.test/1"))
        _, further = self.further.feed(presence("m", "b@a.test/22") + presence("n", "b@a.test/22"))
        (again,) = self.further.feed(presence("n", "b@a.test/22"))
        assert isinstance(first, Stanza) and isinstance(further, Stanza) and isinstance(again, Stanza)
        self.assertEqual(first.unaddressed, unaddressed(first.raw))
        self.assertIs(again.unaddressed, first.unaddressed)


NICKS = st.sampled_from(["a", "b", "&lt;", "to=\"to='a@a.test/1'\"", "漢"])
ADDRESSES = ["a@a.test/1", "b@a.test/22", "&amp;@a.test"]
SHAPES = st.sampled_from(
    [
        SHOWN,
        "<presence{to} from='room@rooms.test/{nick}'/>",
        "<presence\n from='room@rooms.test/{nick}'{to} ></presence>",
        "<presence from=\"it's{to}\" id='1'{to}><to/></presence>",
        "<presence id='{nick}'{to}><status>{to}</status><status>]]&gt;</status></presence>",
        "<presence{to} xmlns:q='urn:q' q:to='x'><q:x/></presence>",
        "<presence type='unavailable' from='room@rooms.test/{nick}'{to}></presence>",
    ]
)
OTHERS = st.sampled_from(
    [
        "<message{to}><body>{nick}</body></message>",
        "<message><body><![CDATA[<presence{to}></presence>]]></body></message>",
        "<message><presence{to}></presence></message>",
        "<iq id='1'{to}/>",
        " \n",
    ]
)
ENDS = st.sampled_from(["", "<presence", "</presence>", "<!-- -->", "<message><!--</presence>", "</stream:stream>"])


class AnyStreamTests(SynchronousTestCase):
    @settings(max_examples=examples(200))
    @given(st.lists(st.tuples(st.one_of(SHAPES, OTHERS), NICKS), max_size=8), ENDS, CUTS, st.booleans())
    def test_as_framer_makes_it(self, said: list[tuple[str, str]], end: str, cuts: list[int], skips: bool) -> None:
        known = KnownPresences()
        known.begin_use()
        limits = FramingLimits(2000, skips=skips)
        for address in (*ADDRESSES, *ADDRESSES):
            text = "".join(shape.format(nick=nick, to=f" to='{address}'") for shape, nick in said) + end
            data = text.encode()
            plain, framer = Framer(limits), CountingFramer(known, limits)
            plain.feed(HEADER)
            self.assertEqual(seen(fed(framer, data, cuts)), seen(fed(plain, data)), data)
