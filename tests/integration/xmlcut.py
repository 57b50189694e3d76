"""An XML stream cut into stanzas, kept as bytes. Independent of minimixproxy.wire.framing, which it helps to test."""

from collections.abc import Callable
from functools import cached_property
from typing import Any
from xml.parsers import expat

from twisted.words.xish import domish

from minimixproxy.wire.expat_guard import ExpatGuard

HEADER = b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"


def parse(raw: bytes, header: bytes = HEADER) -> domish.Element:
    """The first element in `raw`, as a child of a stream with that header."""
    found: list[domish.Element] = []
    stream: Any = domish.elementStream()
    stream.DocumentStartEvent = lambda root: None
    stream.DocumentEndEvent = lambda: None
    stream.ElementEvent = found.append
    stream.parse(header)
    stream.parse(raw)
    return found[0]


class Received:
    """One stanza as it came."""

    def __init__(self, raw: bytes, header: bytes = HEADER) -> None:
        self.raw = raw
        self._header = header

    @cached_property
    def element(self) -> domish.Element:
        return parse(self.raw, self._header)

    def get(self, name: str, default: str | None = None) -> str | None:
        value: str | None = self.element.getAttribute(name, default)
        return value

    @property
    def text(self) -> str:
        """The text of <body/>, or of the stanza itself if it has none."""
        body = next((child for child in self.element.elements() if child.name == "body"), self.element)
        return str(body)

    def __repr__(self) -> str:
        return self.raw.decode("utf-8", "replace")


class Cutter:
    """Feeds on bytes; calls back for the header, each stanza, and the end of the stream."""

    def __init__(
        self,
        opened: Callable[[domish.Element, bytes], None],
        stanza: Callable[[Received], None],
        closed: Callable[[], None],
    ) -> None:
        self._opened, self._stanza, self._closed = opened, stanza, closed
        self._parser = expat.ParserCreate()
        if hasattr(self._parser, "SetReparseDeferralEnabled"):
            self._parser.SetReparseDeferralEnabled(False)
        self._parser.buffer_text = True  # else each line of a text is a call
        self._gate = ExpatGuard()
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._data = b""  # from _offset on
        self._offset = 0
        self._depth = 0
        self._begin = 0
        self._end_of_last = 0
        self._empty_since: int | None = None
        self._header_begin: int | None = None
        self._header = HEADER

    def feed(self, data: bytes) -> None:
        data = self._gate.release(data)
        self._data += data
        self._parser.Parse(data, False)
        if self._header_begin is not None:
            self._note_header(self._offset + len(self._data))
        if self._depth <= 1:
            self._forget(self._end_of_last)  # behind that a start tag may have begun

    def _slice(self, begin: int, end: int) -> bytes:
        return self._data[begin - self._offset : end - self._offset]

    def _forget(self, until: int) -> None:
        self._data = self._data[until - self._offset :]
        self._offset = until

    def _note_header(self, end: int) -> None:
        """The header ends with the ">" before whatever follows it."""
        assert self._header_begin is not None
        begin, self._header_begin = self._header_begin, None
        raw = self._slice(begin, end)
        raw = raw[: raw.rindex(b">") + 1]
        self._header = raw
        self._end_of_last = begin + len(raw)
        stream: Any = domish.elementStream()
        stream.DocumentStartEvent = lambda root: self._opened(root, raw)
        stream.DocumentEndEvent = lambda: None
        stream.ElementEvent = lambda element: None
        try:
            stream.parse(raw)
        except domish.ParserError as error:
            raise AssertionError(f"this is no stream header: {raw!r}") from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        here = self._parser.CurrentByteIndex
        if self._depth == 0:
            self._header_begin = here
        elif self._depth == 1:
            if self._header_begin is not None:
                self._note_header(here)
            self._begin = here
            self._empty_since = here
        else:
            self._empty_since = None
        self._depth += 1

    def _text(self, data: str) -> None:
        self._empty_since = None

    def _end(self, name: str) -> None:
        self._depth -= 1
        here = self._parser.CurrentByteIndex
        if self._depth == 0:
            self._closed()
        elif self._depth == 1:
            # At the end of <a/> the index is behind it, at the end of <a></a> it is before </a>.
            empty = self._empty_since is not None and self._slice(here - 2, here) == b"/>"
            end = here if empty else self._offset + self._data.index(b">", here - self._offset) + 1
            self._end_of_last = end
            self._stanza(Received(self._slice(self._begin, end), self._header))
        self._empty_since = None
