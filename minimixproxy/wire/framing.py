"""Cutting an XML stream into stanzas, keeping their source bytes (RFC 6120 §4, §11).

expat finds the boundaries and checks well-formedness and namespaces; the bytes themselves are kept as they came.
Pure: bytes in, events out; no transport.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from xml.parsers import expat

from minimixproxy.wire.events import Event, Fault, Keepalive, Skipped, StreamClosed, StreamOpened
from minimixproxy.wire.expat_guard import ExpatGuard
from minimixproxy.wire.large_tags import large_tag
from minimixproxy.wire.qualified_names import KNOWN_NAMES, SEPARATOR, named_attributes, split_name
from minimixproxy.wire.stanza import FEW_PAYLOADS, MalformedStanza, Stanza, start_tag_end
from minimixproxy.wire.trees import UnusableStanza, read_start_tag
from minimixproxy.wire.undeclared_prefixes import with_declarations

_XML_WS = b" \t\r\n"
PARSER_LIFE = 262144  # bytes
MAX_HEADER = 10_000  # bytes; whoever reads a stanza reads the declarations around it
MAX_DEPTH = 100_000  # levels; each costs 130 bytes while it is open
_DEEP = 1000  # levels; a parser that has seen more keeps too much
# What a peer may not send, and how it begins. A whole one is met by its handler, a part of one by its beginning.
_RESTRICTED_MARKUP = ((b"<!--", "comment"), (b"<?", "processing instruction"), (b"<!D", "document type declaration"))


@dataclass(frozen=True, slots=True)
class FramingLimits:
    """What one peer may make us keep: bytes of an unfinished stanza or header, and nesting depth.

    `skips`: the peer is a server, which relays what others say. A stanza that is too large is left out (`Skipped`),
    where its end can be found, and prefixes that nobody declared are declared (`undeclared_prefixes`); else it is a
    `Fault`. Its end can be found if no tag of it has more bytes than `max_tag`, or than `max_stanza` if that is more.
    """

    max_stanza: int = 262144
    max_depth: int = 1000
    skips: bool = False
    max_tag: int = 0


class _Fatal(Exception):
    """Carries a fault out of an expat callback."""

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(condition)
        self.fault = Fault(condition, text)


class Framer:
    """Framing of one direction of one XML stream; make a new one when the stream is restarted.

    Behind a `StreamClosed` or `Fault`, input is ignored.
    """

    __slots__ = (
        "_attributes",
        "_base",
        "_chunk",
        "_deep",
        "_deepest",
        "_depth",
        "_events",
        "_finished",
        "_guard",
        "_header",
        "_last_end",
        "_limits",
        "_loose",
        "_name",
        "_namespaces",
        "_parser",
        "_payloads",
        "_skipping",
        "_start",
        "_tail",
        "_worn",
    )

    def __init__(self, limits: FramingLimits | None = None) -> None:
        self._limits = limits or FramingLimits()
        self._events: list[Event]  # of this call of `feed`
        self._tail = bytearray()  # bytes not yet given out, from stream offset _base
        self._chunk: bytes | bytearray  # what offsets are counted in during a parse
        self._base = 0
        self._last_end = 0
        self._start: int  # of the stanza that has begun; the same goes for name, attributes and payloads
        self._depth = 0
        self._deepest = self._limits.max_depth + 1  # the stream element counts as one
        self._deep = min(_DEEP, self._deepest)
        self._worn = False  # the parser has seen much nesting, or is not to stay
        self._loose = False  # the parser knows no namespaces
        self._skipping: Any = None  # the digest of the stanza that is being left out
        self._finished = False
        self._name: str
        self._attributes: dict[str, str]
        self._payloads: list[tuple[str, dict[str, str]]]
        self._namespaces: dict[str, str] = {}
        self._header = b""
        self._guard = ExpatGuard()
        self._parser = self._make_parser()

    def allow_depth(self, max_depth: int = MAX_DEPTH) -> None:
        """From now on, let elements be nested so deep: the peer is no stranger any more."""
        self._deepest = max_depth + 1
        self._deep = min(_DEEP, self._deepest)

    def _make_parser(self) -> expat.XMLParserType:
        """Return a parser that stands behind `_header`."""
        parser = expat.ParserCreate("UTF-8") if self._loose else expat.ParserCreate("UTF-8", SEPARATOR)
        if hasattr(parser, "SetReparseDeferralEnabled"):
            parser.SetReparseDeferralEnabled(False)  # expat 2.6: else a stanza split over reads stays inside
        parser.Parse(self._header, False)
        self._listen(parser)
        if not self._header:
            parser.StartNamespaceDeclHandler = self._on_namespace
        return parser

    def _listen(self, parser: expat.XMLParserType) -> None:
        """Have a parser tell what it meets."""
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.CommentHandler = self._on_comment
        parser.ProcessingInstructionHandler = self._on_instruction
        parser.StartDoctypeDeclHandler = self._on_doctype
        parser.XmlDeclHandler = self._on_xml_declaration

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes of the stream, however cut; return what they completed."""
        if self._finished or not data:
            return []
        events = self._events = []
        whole = self._guard.release(data)
        if whole is not data:
            largest = max(self._limits.max_stanza, self._limits.max_tag)
            if self._guard.held > largest or (self._guard.held > MAX_HEADER and not self._depth):
                self._finish()
                return [Fault("policy-violation", "too large")]
            data = whole
            if not data:
                return events
        # Offsets count within the kept tail and the new data together; mostly there is no tail.
        if self._tail:
            self._tail += data
            self._chunk = self._tail
        else:
            self._chunk = data
        fault: Fault | None = None
        try:
            if not self._depth:
                self._check_encoding()
            self._parse(data)
            self._after_parse()
        except _Fatal as fatal:
            fault = fatal.fault
        except expat.ExpatError as error:
            fault = expat_fault(error)
        except MalformedStanza as error:  # expat was content: not in our encoding
            fault = Fault("not-well-formed", str(error))
        if fault is not None and not self._finished:  # what stands behind the end of the stream is ignored
            events.append(fault)
            self._finish()
        elif self._finished:
            self._finish()
        self._chunk = b""
        return events

    def _parse(self, data: bytes) -> None:
        if not self._loose and (fault := large_tag(data)):
            self._meet_large_tag(fault)
            return
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError as error:
            if error.code != UNBOUND or not self._header or not self._limits.skips:
                raise
            self._read_loosely()

    def _meet_large_tag(self, fault: str) -> None:
        """Let no parser see it that knows namespaces."""
        if not (self._header and self._limits.skips):
            raise _Fatal("policy-violation", fault)
        self._read_loosely()

    def _read_loosely(self) -> None:
        """Read what is unfinished anew, and what follows up to the next pause, by a parser that knows no namespaces."""
        self._tail = bytearray(self._chunk[self._last_end - self._base :])
        self._chunk = self._tail
        self._depth, self._loose = 1, True
        self._parser = self._make_parser()
        self._base = self._last_end = len(self._header)
        self._worn = True
        self._parser.Parse(bytes(self._tail), False)

    def _check_encoding(self) -> None:
        """Refuse UTF-16 (RFC 6120 §11.6): expat takes it by its byte order mark or its look, whatever it was told."""
        head = bytes(self._chunk[:2])
        if head in (b"<\0", b"\0<") or head[:1] in (b"\xfe", b"\xff"):
            raise _Fatal("unsupported-encoding", "not UTF-8")

    def _finish(self) -> None:
        self._finished = True
        self._tail = bytearray()
        self._guard = ExpatGuard()
        del self._parser  # its callbacks refer back to us: a cycle, with 10 KiB in it

    def _after_parse(self) -> None:
        """Judge what stands behind the last stanza, keep what is unfinished, check the size."""
        if self._depth == 1:
            if self._last_end - self._base == len(self._chunk):  # mostly so
                self._base = self._last_end
                if self._tail:
                    self._tail = bytearray()
                if self._base > PARSER_LIFE or self._worn:
                    self._renew_parser()
                return
            self._gap(len(self._chunk))
        self._check_restricted()
        self._keep_unfinished()

    def _check_restricted(self) -> None:
        """Refuse a comment and the like by its beginning: expat would read it anew each time that more comes."""
        at = self._parser.CurrentByteIndex - self._base  # where what expat has not read begins
        for beginning, what in _RESTRICTED_MARKUP:
            if self._chunk.startswith(beginning, at):
                raise _Fatal("restricted-xml", what)

    def _keep_unfinished(self) -> None:
        """Keep what stands behind the last stanza; of one that is too large, if it may be skipped, only the digest."""
        done = self._last_end - self._base
        self._base = self._last_end
        if self._chunk is not self._tail:
            self._tail = bytearray(self._chunk[done:])
        else:
            del self._tail[:done]
        if len(self._tail) > self._limits.max_stanza:
            if not self._limits.skips or self._depth < 2:
                raise _Fatal("policy-violation", "too large")
            if self._skipping is None:
                self._begin_to_skip()
        if self._skipping is not None:
            self._skipping.update(self._tail)
            self._base = self._last_end = self._base + len(self._tail)
            self._tail = bytearray()

    def _begin_to_skip(self) -> None:
        """No prefix may be in the way later: what has come, to be read without, is not there any more then."""
        if not self._loose:
            self._chunk = self._tail
            self._read_loosely()
        self._skipping = sha256()

    def _renew_parser(self) -> None:
        """Go on with a new parser: expat keeps every name that it has met, and a peer could make up new ones."""
        self._loose = False  # it is to know namespaces
        self._go_on_with(self._make_parser(), len(self._header))

    def _go_on_with(self, parser: expat.XMLParserType, position: int) -> None:
        """Have this parser read what comes; `position`: how many bytes it was given."""
        self._parser = parser
        self._base = self._last_end = position
        self._deep = min(_DEEP, self._deepest)
        self._worn = self._loose = False

    def _gap(self, end: int) -> None:
        """Give out the white space between the last stanza and the next markup before offset `end` of the chunk."""
        start = self._last_end - self._base
        gap = self._chunk[start:end]
        markup = gap.lstrip(_XML_WS)
        if length := len(gap) - len(markup):
            self._events.append(Keepalive(bytes(gap[:length])))
            self._last_end += length
        if markup and not markup.startswith(b"<"):
            raise _Fatal("bad-format", "text between stanzas")

    # The two handlers run for every element: they do as little as there is to do.

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth = depth = self._depth + 1
        if depth > 3:
            if depth > self._deep:
                self._goes_deep(depth)
        elif depth == 3:
            if len(self._payloads) <= FEW_PAYLOADS:
                self._payloads.append((name, attributes))
        elif depth == 2:
            self._begin_stanza(name, attributes)
        else:
            self._open_stream(name, attributes)

    def _on_end(self, _name: str) -> None:
        self._depth = depth = self._depth - 1
        if depth > 1:
            return
        if depth == 1:
            self._end_stanza()
        else:
            self._close_stream()

    def _goes_deep(self, depth: int) -> None:
        if depth > self._deepest:
            raise _Fatal("policy-violation", "nested too deeply")
        self._deep = self._deepest
        self._worn = True

    def _begin_stanza(self, name: str, attributes: dict[str, str]) -> None:
        self._start = self._parser.CurrentByteIndex
        if self._start != self._last_end:
            self._gap(self._start - self._base)
            if self._start != self._last_end:  # a CDATA section
                raise _Fatal("bad-format", "text between stanzas")
        self._name = name
        self._attributes = attributes
        self._payloads = []

    def _open_stream(self, name: str, attributes: dict[str, str]) -> None:
        self._parser.StartNamespaceDeclHandler = None
        start = self._parser.CurrentByteIndex - self._base
        end = start_tag_end(self._chunk, start)
        if end > self._limits.max_stanza or end - start > MAX_HEADER:
            raise _Fatal("policy-violation", "stream header too large")
        uri, local = split_name(name)
        self._header = raw = bytes(self._chunk[start:end])
        self._last_end = self._base + end
        self._events.append(StreamOpened(uri, local, named_attributes(attributes), self._namespaces, raw))

    def _end_stanza(self) -> None:
        chunk, base = self._chunk, self._base
        start = self._start - base
        index = self._parser.CurrentByteIndex - base
        # For an empty element expat's index stands behind it, else at the end tag: `<x/>` against `<x></x>`.
        if (
            not self._payloads
            and start >= 0
            and chunk[index - 2 : index] == b"/>"
            and start_tag_end(chunk, start) == index
        ):
            end = index
        else:
            end = chunk.index(b">", index) + 1
        self._last_end = end + base
        if end - start > self._limits.max_stanza:
            self._leave_out(chunk[max(start, 0) : end], end - start)
            return
        raw = chunk[start:end]
        if self._loose:
            self._events.append(self._with_declarations(bytes(raw)))
            return
        uri, local = split_name(self._name)
        met = self._payloads if len(self._payloads) <= FEW_PAYLOADS else None
        self._events.append(
            Stanza(
                raw if isinstance(raw, bytes) else bytes(raw),
                uri,
                local,
                named_attributes(self._attributes),
                tuple([KNOWN_NAMES.get(name) or split_name(name) for name, _ in met]) if met is not None else None,
                self._namespaces,
                met,
            )
        )

    def _with_declarations(self, raw: bytes) -> Stanza | Skipped:
        try:
            declared = with_declarations(raw, self._namespaces)
            if len(declared) > self._limits.max_stanza:
                raise UnusableStanza("too large")
            uri, name, attributes = read_start_tag(declared, self._namespaces)
        except UnusableStanza as error:
            return Skipped(*self._top(), len(raw), sha256(raw).hexdigest(), str(error))
        return Stanza(declared, uri, name, attributes, None, self._namespaces)

    def _leave_out(self, rest: bytes | bytearray, size: int) -> None:
        """A stanza that is too large has ended; `rest` is what its digest lacks."""
        if not self._limits.skips:
            raise _Fatal("policy-violation", "stanza too large")
        digest, self._skipping = self._skipping or sha256(), None
        digest.update(rest)
        self._events.append(Skipped(*self._top(), size, digest.hexdigest()))

    def _top(self) -> tuple[str, str, dict[str, str]]:
        """Return URI, name and attributes of the stanza that has ended."""
        if self._loose:
            uri = self._attributes.get("xmlns") or self._namespaces.get("", "")
            return uri, self._name, self._attributes
        return *split_name(self._name), named_attributes(self._attributes)

    def _close_stream(self) -> None:
        # An empty header, `<stream:stream/>`, closes what it opens; its index stands behind it.
        self._gap(self._parser.CurrentByteIndex - self._base)
        self._events.append(StreamClosed())
        self._finished = True

    def _on_namespace(self, prefix: str | None, uri: str | None) -> None:
        self._namespaces[prefix or ""] = uri or ""

    def _on_comment(self, _data: str) -> None:
        raise _Fatal("restricted-xml", "comment")

    def _on_instruction(self, _target: str, _data: str) -> None:
        raise _Fatal("restricted-xml", "processing instruction")

    def _on_doctype(self, *_args: object) -> None:
        raise _Fatal("restricted-xml", "document type declaration")

    def _on_xml_declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.upper() != "UTF-8":
            raise _Fatal("unsupported-encoding", "UTF-8 only")


UNBOUND = expat.errors.codes[expat.errors.XML_ERROR_UNBOUND_PREFIX]
_RESTRICTED = frozenset({expat.errors.codes[expat.errors.XML_ERROR_UNDEFINED_ENTITY]})


def expat_fault(error: expat.ExpatError) -> Fault:
    """An undefined entity is restricted XML (§11.1); all else that expat rejects is not well-formed."""
    return Fault("restricted-xml" if error.code in _RESTRICTED else "not-well-formed", expat.ErrorString(error.code))
