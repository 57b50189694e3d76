"""Targets: from bytes to stanzas and back."""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat

from twisted.words.xish import domish

from fuzz.material import Material
from fuzz.target import Target, same
from minimixproxy.namespaces import NS_CLIENT
from minimixproxy.wire.children import parts_of, payload_attributes, top_attribute
from minimixproxy.wire.events import Event, Fault, Keepalive, Skipped, StreamClosed, StreamOpened
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.framing import MAX_DEPTH, Framer, FramingLimits
from minimixproxy.wire.stanza import (
    ForkTemplate,
    Stanza,
    UnusableStanza,
    attributes_of,
    parse_element,
    parse_stanza,
    rewrite,
    serialize,
)

try:
    from lxml import etree
except ImportError:  # aioxmpp brings it along: see setup.cfg
    etree = None

HEADER = (
    b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
    b" xmlns:p='urn:p' to='a.test' version='1.0'>"
)
_SMALL = 300  # bytes of a stanza
_LARGE = 262144
# A stranger; a server on an account stream; with `passing` a client that has logged in; with `trusting` its server;
# with `noting` the server of a component.
_WAYS = tuple(
    (FramingLimits(size, depth, skips), passing, trusting, noting)
    for size in (_LARGE, _SMALL)
    for depth, skips, passing, trusting, noting in (
        (10, False, False, False, False),
        (MAX_DEPTH, True, False, False, False),
        (MAX_DEPTH, False, True, False, False),
        (MAX_DEPTH, True, True, True, False),
        (MAX_DEPTH, True, True, False, True),
    )
)

# A stanza

_STANZAS = (
    b"<message to='a@b/c' id=\"1\"><body>x &amp; y</body><p:x xmlns:p='urn:q' p:a='1'/></message>",
    b"<iq type='get' xml:lang='de'><query xmlns='jabber:iq:roster' stream:a='b'><item jid='a'/>text</query></iq>",
    b"<presence/>",
    b"<m a='1' xmlns:q='q'><x xmlns=''><y xmlns='jabber:client'/></x><q:z q:b='>'/><![CDATA[</m>]]>\r\n</m>",
    b"<presence from='a@b/c' xmlns='jabber:client'><x xmlns='http://jabber.org/protocol/muc#user'>"
    b"<item affiliation='none' role='none'/><status code='110'/></x><show>dnd</show></presence>",
)


def canonical(element: domish.Element) -> str:
    """Return a tree as text in which only meaning counts."""
    attributes = sorted((str(key), value) for key, value in element.attributes.items())
    children = [canonical(child) if isinstance(child, domish.Element) else child for child in element.children]
    return f"<{element.uri} {element.name} {attributes}>{''.join(children)}</>"


def stanza_of(data: bytes, namespace: str = NS_CLIENT) -> Stanza | None:
    """Return what stands in these bytes as a stream would give it, or None if it is no single stanza."""
    framer = Framer(FramingLimits())
    header = HEADER.replace(NS_CLIENT.encode(), namespace.encode())
    found = [event for event in (*framer.feed(header), *framer.feed(data)) if isinstance(event, Stanza | Fault)]
    return found[0] if len(found) == 1 and isinstance(found[0], Stanza) else None


def look_at_stanza(data: bytes) -> None:
    """One stanza: its tree, its parts, its start tag, and what becomes of them when they are written anew."""
    stanza = stanza_of(data)
    if stanza is None or not stanza.readable:
        return
    tree = canonical(stanza.element)
    alone = stanza.self_contained()
    same(canonical(parse_element(alone, {"": NS_CLIENT})), tree, "self-contained")
    written = serialize(stanza.element)
    same(canonical(parse_stanza(written).element), tree, "written anew")
    same(Stanza.payloads.fget(_unnoted(stanza)), stanza.payloads, "payloads")  # type: ignore[attr-defined]
    _look_at_parts(stanza)
    _look_at_start_tag(stanza)


def _unnoted(stanza: Stanza) -> Stanza:
    return Stanza(stanza.raw, stanza.uri, stanza.name, stanza.attributes, None, stanza._namespaces)


def _look_at_parts(stanza: Stanza) -> None:
    parts = parts_of(stanza)
    same([(child.uri, child.name) for child in parts.children], list(stanza.payloads), "children")
    trees = [canonical(child) for child in stanza.element.elements()]
    same([canonical(child.element) for child in parts.children], trees, "trees of children")
    together = parse_element(parts.with_children(parts.children), {"": NS_CLIENT})
    same([canonical(child) for child in together.elements()], trees, "children put together")
    for uri, name in set(stanza.payloads):
        found = [_plain(attributes) for attributes in payload_attributes(stanza, uri, name)]
        expected = [_plain(attributes_of(child)) for child in stanza.element.elements(uri, name)]
        same(found, expected, "attributes of payloads")


def _plain(attributes: dict[str, str]) -> dict[str, str]:
    """Return those without a prefix, however it is written: nobody asks for others."""
    return {name: value for name, value in attributes.items() if ":" not in name}


def _look_at_start_tag(stanza: Stanza) -> None:
    changes = {"to": "a'\"<&>\n\t@b", "id": None, "xml:lang": "x"}
    changed = parse_element(rewrite(stanza.self_contained(), changes), {"": NS_CLIENT})
    expected = {key: value for key, value in stanza.attributes.items() if key != "id"}
    expected |= {"to": "a'\"<&>\n\t@b", "{http://www.w3.org/XML/1998/namespace}lang": "x"}
    same(attributes_of(changed), expected, "rewritten")
    copy = parse_element(ForkTemplate(stanza.self_contained()).copy("x@y/'"), {"": NS_CLIENT})
    same(attributes_of(copy), stanza.attributes | {"to": "x@y/'"}, "forked")
    same(top_attribute(stanza.raw, "id"), stanza.get("id"), "a top attribute")


def read_tree(data: bytes) -> None:
    """Any bytes where one element is expected: a tree, or the error that says that they are none."""
    try:
        tree = parse_element(data, {"": NS_CLIENT, "p": "urn:p"})
    except UnusableStanza:
        return
    same(canonical(parse_element(serialize(tree), {"": NS_CLIENT})), canonical(tree), "written anew")


# A stream

_STREAMS = (
    b"".join((*_STANZAS, b"\n ", b"</stream:stream>")),
    b"<message><q:a/></message><iq q:b=''/><presence/>",
    b"<message>" + b"a" * 400 + b"</message><iq/>",
    b"<iq>" + b"<a>" * 12 + b"</a>" * 12 + b"</iq><iq/>",
    b"<message><!-- x --></message>",
    b"<iq/>text<iq/>",
    b"<message>&foo;</message>",
    b"<a:b xmlns:a='b'><![CDATA[x]]>]]&gt;</a:b>\t<a\tb\n=\r'&#x41;'\n>\n</a\n>",
)


def frame(data: bytes) -> None:
    """A stream in any pieces: its events are what they are when it comes whole, and what is kept has a bound."""
    material = Material(data)
    way = material.chosen(_WAYS)
    pieces = material.pieces()
    data = b"".join(pieces)
    whole, cut = _events([HEADER, data], *way), _events([HEADER, *pieces], *way)
    limits, _passing, trusting, noting = way
    if trusting:  # what only passes from a server is not checked: in pieces it may be
        whole = _events([HEADER, data], FramingLimits(_LARGE, MAX_DEPTH))
        if _ends_by_fault(whole) or len(data) > limits.max_stanza:
            return
    elif noting:  # nothing is to be seen of that
        whole = _events([HEADER, data], limits)
    told = [_told(cut), _told(whole)]
    if _ends_by_fault(cut) or _ends_by_fault(whole):  # one may notice it later, and have taken more before
        length = min(map(len, told))
        same(told[0][:length], told[1][:length], "events of pieces before a fault")
        return
    same(told[0], told[1], "events of pieces")
    if not limits.skips:
        given = b"".join(event.raw for event in whole if isinstance(event, Stanza | Keepalive))
        same(data[: len(given)], given, "bytes that are given out")
    for event in whole:
        if isinstance(event, Stanza):
            second_opinion(event.self_contained())


def _events(
    pieces: list[bytes], limits: FramingLimits, passing: bool = False, trusting: bool = False, noting: bool = False
) -> list[Event]:
    framer = FastFramer(limits)
    framer.passing, framer.trusting, framer.noting = passing, trusting, noting
    events: list[Event] = []
    for piece in pieces:
        events += framer.feed(piece)
        kept = len(framer._tail) + framer._guard.held
        if kept > 2 * limits.max_stanza:
            raise AssertionError(f"{kept} bytes are kept")
    if any(isinstance(event, Fault | StreamClosed) for event in events[:-1]):
        raise AssertionError("something behind the end")
    return events


def _ends_by_fault(events: list[Event]) -> bool:
    return bool(events) and isinstance(events[-1], Fault)


def _told(events: list[Event]) -> list[object]:
    """What a stream says: for stanzas what is known of them, white space in one."""
    told: list[object] = []
    for event in events:
        if isinstance(event, Keepalive):
            if told and isinstance(told[-1], bytes):
                told[-1] += event.raw
            else:
                told.append(event.raw)
        elif isinstance(event, Stanza):
            told.append((event.raw, event.uri, event.name, event.attributes, event.payloads if event.readable else ()))
        elif isinstance(event, Skipped):
            told.append((event.name, event.size, event.digest))
        elif not isinstance(event, Fault):
            told.append(event)
    return told


def second_opinion(raw: bytes) -> None:
    """Have another parser, where there is one, read a stanza that we took for well-formed."""
    if etree is None:
        parser: Any = expat.ParserCreate("UTF-8", " ")
        parser.Parse(b"<a xmlns:stream='s'>%b</a>" % raw, True)
        return
    reading = etree.XMLParser(huge_tree=True, resolve_entities=False, encoding="utf-8")
    try:
        etree.fromstring(b"<a xmlns:stream='s'>%b</a>" % raw, reading)
    except etree.XMLSyntaxError as error:
        if not _is_stricter(str(error)):
            raise AssertionError(f"another parser: {error}") from error


_STRICTER = re.compile(
    "is not a valid URI|is not absolute|xmlns: URI|xml namespace|reuse of the xmlns|cannot be undeclared"
)


def _is_stricter(error: str) -> bool:
    """Tell whether libxml2 minds what expat lets pass, and a server may send."""
    return _STRICTER.search(error) is not None


def raw_stream(data: bytes) -> None:
    """Any bytes from a peer, header and all: events or a fault, never an exception, in any pieces."""
    material = Material(data)
    way = material.chosen([way for way in _WAYS if not way[1]])
    pieces = material.pieces()
    cut, whole = _events(pieces, *way), _events([b"".join(pieces)], *way)
    if not _ends_by_fault(cut) and not _ends_by_fault(whole):
        same(_headers(cut), _headers(whole), "headers")


def _headers(events: list[Event]) -> list[Event]:
    return [event for event in events if isinstance(event, StreamOpened)]


def _with_choices(choices: bytes, seeds: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple(bytes((number % 8,)) + choices + seed for number, seed in enumerate(seeds))


TARGETS = {
    "stanza": Target(look_at_stanza, _STANZAS),
    "tree": Target(read_tree, _STANZAS),
    "framing": Target(frame, _with_choices(b"\3\x10\x80\xf0", _STREAMS) + _with_choices(b"\2\x40\x90", _STREAMS[::-1])),
    "stream": Target(raw_stream, _with_choices(b"\2\x20\xa0", tuple(HEADER + stream for stream in _STREAMS))),
}
