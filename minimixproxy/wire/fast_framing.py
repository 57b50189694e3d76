"""Framing for streams whose stanzas mostly pass unread: the same events, with less work for the common stanza.

A client's stanzas are all checked by expat. A server's are not, where they only pass: the client does that, as it would
without a proxy. What enters an account stream or comes from one is always read by a plain `Framer`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from xml.parsers import expat

from minimixproxy.wire.events import Event, Fault
from minimixproxy.wire.framing import PARSER_LIFE, UNBOUND, FramingLimits, expat_fault
from minimixproxy.wire.idle_parsers import IDLE, kind_of_header
from minimixproxy.wire.large_tags import large_tag
from minimixproxy.wire.qualified_names import KNOWN_NAMES, named_attributes, split_name
from minimixproxy.wire.recognizing import RecognizingFramer
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.trees import read_start_tag
from minimixproxy.wire.whole_messages import whole_messages

# By the first two bytes: how a stanza begins, how it ends.
_KINDS = {
    b"<m": (b"<message", b"</message>"),
    b"<p": (b"<presence", b"</presence>"),
    b"<i": (b"<iq", b"</iq>"),
}

_NAMES = {b"<m": "message", b"<p": "presence", b"<i": "iq"}

_LARGE = 16384  # bytes
_LITTLE = 4096  # bytes in which no start tag can be so large that whole stanzas there cost much
# Of the stanza that is under way, perhaps; in an archive the second one is. After some others it is not looked for.
_END_TAG, _TRIES = re.compile(rb"</(?:message|presence|iq)>"), 3
# One byte is found much faster than two.
_EXCLAMATION, _QUESTION = b"!?"


def simple_stanza_end(data: bytes, start: int, limits: FramingLimits) -> int:
    """Return the offset behind the stanza that begins at `start`, -1 if it is not a simple one or not whole.

    If it is well-formed, which expat is to say: it ends where as many end tags of its name have come as start tags. One
    without end tag, `<message/>`, makes these too many, and it is not found. In CDATA, a comment or a processing
    instruction tags could be text; so there is none.
    """
    kind = _KINDS.get(data[start : start + 2])
    if kind is None or not data.startswith(kind[0], start):
        return -1
    opening, closing = kind
    end, opened = start, 0
    while True:
        closed = data.find(closing, end)
        if closed < 0:
            return -1
        opened += data.count(opening, end, closed) - 1
        end = closed + len(closing)
        if not opened:
            break
    if (
        end - start > limits.max_stanza
        or (data.find(_EXCLAMATION, start, end) >= 0 and data.find(b"<!", start, end) >= 0)
        or (data.find(_QUESTION, start, end) >= 0 and data.find(b"<?", start, end) >= 0)
    ):
        return -1
    return end


def is_sole_child(raw: bytes, begin: int) -> bool:
    """Tell whether the element that begins there, the first one in a simple stanza, is surely the only one in it.

    It is if nothing begins behind it. And if only it has its name, an end tag of that name ends it.
    """
    end = raw.rfind(b"</")  # the stanza's own end tag
    if raw.rfind(b"<", begin + 1, end) < 0:
        return True
    name = _CHILD_NAME.match(raw, begin)
    return name is not None and raw.rfind(name[0]) == begin and raw.endswith(b"</%b>" % name[0][1:], begin, end)


_CHILD_NAME = re.compile(rb"<[^ \t\r\n/>]+")


class UnreadStanza(Stanza):
    """A stanza of which nobody has looked at more than where it ends; the rest is found out when asked for."""

    __slots__ = ("_tag",)

    def __init__(self, raw: bytes, name: str, namespaces: Mapping[str, str]) -> None:
        self.raw = raw
        self.name = name
        self._payloads = None
        self._namespaces = namespaces
        self.met = None
        self._unaddressed = None
        self.handled = False
        self._tag: tuple[str, dict[str, str]] | None = None

    def _start_tag(self) -> tuple[str, dict[str, str]]:
        tag = self._tag
        if tag is None:
            uri, _name, attributes = read_start_tag(self.raw, self._namespaces)
            tag = self._tag = uri, attributes
        return tag

    @property
    def uri(self) -> str:  # type: ignore[override]
        """The namespace of the top element."""
        return self._start_tag()[0]

    @property
    def attributes(self) -> dict[str, str]:  # type: ignore[override]
        """The top-level attributes."""
        return self._start_tag()[1]


class FastFramer(RecognizingFramer):
    """A `Framer` that, once `passing` is set, does not look into whole simple stanzas.

    Expat checks them all the same, unless `trusting` is set, too. `payloads` of such a stanza are found out when asked
    for. All other input goes the way that it goes in `Framer`. Between two stanzas it has no parser (`IdleParsers`).
    Of `<message/></message>` this makes a fault alone, `Framer` a stanza and a fault.
    """

    __slots__ = ("_child", "_listening", "_looking", "_sharing", "noting", "passing", "resting", "trusting")

    def __init__(self, limits: FramingLimits | None = None) -> None:
        super().__init__(limits)
        self.passing = False
        self.trusting = False
        self.noting = False
        self._child: tuple[str, dict[str, str], int] | None = None  # the first one, and where it begins
        self._listening = True  # expat has handlers of `Framer`, by which it refers to us ...
        self._looking = True  # ... and all of them
        self.resting = False  # all that came is handled, a stanza may begin, and there is no parser
        self._sharing = False  # the header is one of a kind, as that of every stream that uses the same parsers

    def pass_on(self, *, trusting: bool = False) -> None:
        """From now on, do not look into stanzas that are whole and simple; `trusting`: nor have them checked."""
        self.passing = True
        self.trusting = trusting
        self._rest_if_possible()

    def note(self) -> None:
        """From now on, of IQs that are whole, simple and small, note the one child that they have, and keep the parser.

        That is for a stream on which many requests go, of each of which the payload has to be known.
        """
        self.passing = self.noting = True

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes of the stream, however cut; return what they completed."""
        if not self.passing:
            return super().feed(data)
        events, rest = self.finish(data)
        return events + self._feed_stanzas(rest) if rest else events

    def finish(self, data: bytes) -> tuple[list[Event], bytes]:
        """Take bytes up to the end of the stanza that is under way, if it is there; return what stands behind it."""
        self._rest_if_possible()
        if self.is_between_stanzas:
            return [], data
        events: list[Event] = []
        start = 0
        for ended in islice(_END_TAG.finditer(data), _TRIES):
            events += self._feed_slowly(data[start : ended.end()])
            start = ended.end()
            if self.is_between_stanzas:
                return events, data[start:]
        return events + self._feed_slowly(data[start:]), b""

    def _feed_stanzas(self, data: bytes) -> list[Event]:
        """Take bytes with which a stanza begins, or white space."""
        events: list[Event] = []
        start, size = 0, len(data)
        if (size > _LITTLE or self.noting) and large_tag(data):
            return self._feed_slowly(data)
        while start < size:
            end = simple_stanza_end(data, start, self._limits)
            if end < 0 or (self.noting and (data[start : start + 2] != b"<i" or end - start > _LARGE)):
                return events + self._feed_slowly(data[start:])
            try:
                events.append(self._pass(data[start:end]))
            except expat.ExpatError as error:
                if error.code == UNBOUND and self._limits.skips:
                    self._renew_parser()
                    return events + self._feed_slowly(data[start:])
                events.append(expat_fault(error))
                self._finish()
                return events
            start = end
        if not self.resting and not self._finished:
            self._rest()
        return events

    def whole_messages(self, data: bytes) -> tuple[list[bytes], int]:
        """Return what `whole_messages` finds in the next bytes, if that may pass without more ado. Nothing is taken."""
        size = len(data)
        if not self.resting or size > self._limits.max_stanza or (size > _LITTLE and large_tag(data)):
            return [], 0
        return whole_messages(data)

    def takes(self, messages: bytes) -> bool:
        """Take such messages, which pass, all at once; False: `feed` is to say what they are.

        Nothing of them is taken then: a parser that has met what is not well-formed is not used any more.
        """
        if self.trusting:
            return True
        idle = IDLE.take(self._header)
        if idle is None:
            return False
        parser, position = idle
        try:
            parser.Parse(messages, False)
        except expat.ExpatError:
            return False
        position += len(messages)
        if parser.CurrentByteIndex != position:  # where what it has not read begins: nothing passes unread
            return False
        if position <= PARSER_LIFE and len(messages) <= _LARGE:
            IDLE.give(self._header, (parser, position))
        return True

    def _feed_slowly(self, data: bytes) -> list[Event]:
        """Do as `Framer` does."""
        if not self._finished:
            self._look()
        events = super().feed(data)
        self._rest_if_possible()
        return events

    def _rest_if_possible(self) -> None:
        if not self.resting and self.is_between_stanzas:
            self._rest()

    def _rest(self) -> None:
        """Leave the parser to others, unless it has met too much."""
        if self.noting and not (self._worn or self._loose or self._base > PARSER_LIFE):
            return
        self.resting = True
        parser = self._parser
        del self._parser
        if self._listening:
            self._listening = self._looking = False
            _silence(parser)
        if not self._sharing:
            self._sharing = True
            self._header = kind_of_header(self._header, self._namespaces)
        if not (self._worn or self._loose or self._base > PARSER_LIFE):
            IDLE.give(self._header, (parser, self._base))

    def _wake(self) -> None:
        """Have a parser."""
        self.resting = False
        idle = IDLE.take(self._header)
        if idle is not None:
            self._go_on_with(*idle)
        else:
            self._renew_parser()
            self._listening = self._looking = True

    def _pass(self, raw: bytes) -> Event:
        """Have expat check a stanza and read its start tag."""
        if self.trusting:
            # Expat does not miss a whole stanza, and offsets count what it was given.
            return UnreadStanza(raw, _NAMES[raw[:2]], self._namespaces)
        if self.resting:
            self._wake()
        parser = self._parser
        self._looking = False
        self._name = ""
        self._child = None
        parser.StartElementHandler = self._on_start_tag
        if self._listening:
            parser.EndElementHandler = None
        parser.Parse(raw, False)
        if not self._name:
            self._finish()
            return Fault("internal-server-error", "a whole stanza stays unread")
        self._base = self._last_end = self._last_end + len(raw)
        if len(raw) > _LARGE and raw.count(b"</") > _LARGE // 16:
            self._worn = True  # it may have been nested deeply
        uri, local = KNOWN_NAMES.get(self._name) or split_name(self._name)
        payloads, met = self._noted(raw) if self.noting else (None, None)
        return Stanza(raw, uri, local, named_attributes(self._attributes), payloads, self._namespaces, met)

    def _noted(self, raw: bytes) -> tuple[tuple[tuple[str, str], ...] | None, list[tuple[str, dict[str, str]]] | None]:
        """Return the payload of a stanza that has one or none, as `Stanza` takes it; None if it takes more to tell."""
        if self._child is None:
            return (), None
        name, attributes, begin = self._child
        if not is_sole_child(raw, begin - self._base + len(raw)):
            return None, None
        return (KNOWN_NAMES.get(name) or split_name(name),), [(name, attributes)]

    def _on_start_tag(self, name: str, attributes: dict[str, str]) -> None:
        self._name = name
        self._attributes = attributes
        self._parser.StartElementHandler = self._on_child if self.noting else None

    def _on_child(self, name: str, attributes: dict[str, str]) -> None:
        self._child = name, attributes, self._parser.CurrentByteIndex
        self._parser.StartElementHandler = None

    def _look(self) -> None:
        """Have a parser that tells all that it meets."""
        if self.resting:
            self._wake()
        if not self._looking:
            self._listening = self._looking = True
            self._listen(self._parser)


def _silence(parser: expat.XMLParserType) -> None:
    """Have a parser refer to nothing."""
    parser.StartElementHandler = parser.EndElementHandler = None
    parser.CommentHandler = parser.ProcessingInstructionHandler = None
    parser.StartDoctypeDeclHandler = parser.XmlDeclHandler = None
