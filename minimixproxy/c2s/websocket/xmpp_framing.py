"""XMPP in messages of a WebSocket (RFC 7395 §3.3 to §3.6), and the XML stream that everybody else here knows. Pure.

A client's `<open/>` and `<close/>` become the header and the end of a stream, each other message is one element of it.
The other way, a stream's bytes are cut into messages that declare what they use.
"""

from __future__ import annotations

from xml.parsers import expat

from minimixproxy.namespaces import NS_FRAMING
from minimixproxy.wire.events import Fault, Keepalive, StreamClosed, StreamOpened
from minimixproxy.wire.fast_framing import FastFramer, simple_stanza_end
from minimixproxy.wire.framing import MAX_HEADER, FramingLimits, expat_fault
from minimixproxy.wire.large_tags import large_tag
from minimixproxy.wire.standalone import standalone, standalone_messages, standalone_part
from minimixproxy.wire.stanza import Stanza, optional_attribute
from minimixproxy.xep.stream_headers import LANG, STREAM_END, XML_DECLARATION, header

_UNLIMITED = FramingLimits(max_stanza=2**40, max_depth=2**40)  # what is written has been within limits already
_XML_WS = b" \t\r\n"
_CLOSE = b"<close xmlns='%b'/>" % NS_FRAMING.encode()
_PASSED = ("from", "to", "id", "version", LANG)  # attributes of a header
_EMPTY = (b"<a ", b"<r ", b"<presence ", b"<iq ")  # elements that often have nothing in them
#: What stands for white space, of which none is sent (§3.8).
KEEPALIVE = b""


class BrokenMessage(Exception):
    """A message is not what one has to be. `condition`: of a stream error (RFC 6120 §4.9.3)."""

    def __init__(self, condition: str, text: str) -> None:
        super().__init__(text)
        self.condition = condition


class Incoming:
    """Turns a client's messages into the bytes of its stream."""

    __slots__ = ("_header_due",)

    def __init__(self) -> None:
        self._header_due = True

    def restart(self) -> None:
        """The client will begin a new XML stream."""
        self._header_due = True

    def stream_bytes(self, message: bytes) -> bytes:
        """Return what a message is on the stream. Raises `BrokenMessage`.

        Whether an element is well-formed, is for the stream's framer to find out; only that it is one, and no more,
        is seen here. White space, which clients should not send (§3.8), passes: it does no harm.
        """
        if not self._header_due and _is_one_simple_element(message):
            return message
        if not message.strip(_XML_WS):
            return b"" if self._header_due else message
        if self._header_due and len(message) > MAX_HEADER:
            raise BrokenMessage("policy-violation", "<open/> is too large")
        uri, name, attributes = _root(message)
        if uri == NS_FRAMING:
            return self._framing(name, attributes)
        if self._header_due:
            raise BrokenMessage("invalid-namespace", "the first message has to be <open/>")
        return message

    def _framing(self, name: str, attributes: dict[str, str]) -> bytes:
        if name == "close":
            return STREAM_END
        if name != "open" or not self._header_due:
            raise BrokenMessage("bad-format", f"<{name}/> is out of place")
        self._header_due = False
        passed = {key: attributes.get("xml:lang" if key == LANG else key) for key in _PASSED}
        return XML_DECLARATION + header({key: value for key, value in passed.items() if value is not None})


def _is_one_simple_element(message: bytes) -> bool:
    """Tell without a parser, of most messages, that they are one element if they are well-formed."""
    size = len(message)
    if simple_stanza_end(message, 0, _UNLIMITED) == size:
        return True
    return message.startswith(_EMPTY) and message.find(b"/>") == message.find(b">") - 1 == size - 2


def _root(message: bytes) -> tuple[str, str, dict[str, str]]:
    """Return URI, name and attributes, as they are written, of a message's one element. Raises `BrokenMessage`.

    It is read at once, whatever its size, and once more by the stream's framer. So this parser does without namespaces,
    which take most of the time where there are many attributes.
    """
    if not message.startswith(b"<") or message.startswith(b"<\0"):  # that expat would take for UTF-16
        raise BrokenMessage("bad-format", "a message has to begin with an element")
    if fault := large_tag(message):
        raise BrokenMessage("policy-violation", fault)
    roots: list[tuple[str, dict[str, str]]] = []
    parser = expat.ParserCreate("UTF-8")

    def on_start(name: str, attributes: dict[str, str]) -> None:
        roots.append((name, attributes))
        parser.StartElementHandler = None

    def on_doctype(*_args: object) -> None:
        raise BrokenMessage("restricted-xml", "document type declaration")

    parser.StartElementHandler = on_start
    parser.StartDoctypeDeclHandler = on_doctype
    try:
        parser.Parse(message, True)
    except expat.ExpatError as error:
        raise _broken(error) from error
    name, attributes = roots[0]
    prefix, colon, local = name.rpartition(":")
    uri = attributes.get(f"xmlns:{prefix}" if colon else "xmlns")
    if colon and not uri:
        raise BrokenMessage("not-well-formed", "the prefix of a message is not declared")
    return uri or "", local, attributes


_SECOND_ELEMENT = expat.errors.codes[expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT]


def _broken(error: expat.ExpatError) -> BrokenMessage:
    if error.code == _SECOND_ELEMENT:
        return BrokenMessage("bad-format", "a message has to be one element")
    fault = expat_fault(error)
    return BrokenMessage(fault.condition, fault.text)


class _LenientFramer(FastFramer):
    """Finds where elements end. Whether they are XML with namespaces, is for the client to judge, as it is over TCP.

    What a server relays has not been looked at; ejabberd relays prefixes that nobody declared.
    """

    __slots__ = ()

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.Parse(data, False)
        except expat.ExpatError:
            if self._loose or not self._header:
                raise
            self._read_loosely()

    def _with_declarations(self, raw: bytes) -> Stanza:
        return Stanza(raw, "", self._name, {}, (), self._namespaces)


def _simple_end(data: bytes, start: int) -> int:
    """Return the offset behind the element that begins at `start`, -1 if it is not a simple one or not whole."""
    if data.startswith(_EMPTY, start):
        end = data.find(b">", start) + 1
        tag = data[start:end]
        if tag.endswith(b"/>") and b'"' not in tag and not tag.count(b"'") % 2:  # no `>` of a value was found
            return end
    return simple_stanza_end(data, start, _UNLIMITED)


class Outgoing:
    """Cuts the bytes of a stream towards a client into messages."""

    __slots__ = ("_declares", "_framer", "_header_due")

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """What follows is a new XML stream."""
        self._framer = _LenientFramer(_UNLIMITED)
        self._framer.pass_on(trusting=True)
        self._header_due = True
        self._declares = False  # the stream's header declares prefixes that an element may use

    def drop_unfinished(self) -> None:
        """An element that is not whole is left out: the next one stands by itself, as each message does."""
        if not (self._header_due or self._framer.is_between_stanzas):
            self.restart()

    def messages(self, data: bytes) -> list[bytes]:
        """Return the messages that these bytes complete; `KEEPALIVE` among them stands for white space.

        Raises `ValueError` if they are no stream: that is a fault of ours.
        """
        messages: list[bytes] = []
        start, size = 0, len(data)
        if self._header_due:
            self._begin(data)
        if not (self._declares or self._header_due) and self._framer.is_between_stanzas:
            prefixed = b"stream:" in data
            if not prefixed and data.startswith(b"<message "):
                messages, start = standalone_messages(data)
            while start < size and (end := _simple_end(data, start)) > 0:
                messages.append(standalone_part(data, start, end, prefixed))
                start = end
        if start < size:
            messages += map(self._message, self._framer.feed(data[start:]))
        return messages

    def _begin(self, data: bytes) -> None:
        """An error may come without a header, if something fails that is not the client's fault."""
        if data.startswith(b"<stream:error"):
            self._framer.feed(header({}))
            self._header_due = False

    def _message(self, event: object) -> bytes:
        if isinstance(event, Stanza):
            return standalone(event.self_contained() if self._declares else event.raw)
        if isinstance(event, Keepalive):
            return KEEPALIVE
        if isinstance(event, StreamOpened):
            self._header_due = False
            self._declares = not event.namespaces.keys() <= {"", "stream", "xml"}
            return _open(event)
        if isinstance(event, StreamClosed):
            return _CLOSE
        assert isinstance(event, Fault)
        raise ValueError(event.text or event.condition)


def _open(opened: StreamOpened) -> bytes:
    tag = b"<open xmlns='%b'" % NS_FRAMING.encode()
    for name in _PASSED:
        tag += optional_attribute("xml:lang" if name == LANG else name, opened.attributes.get(name))
    return tag + b"/>"
