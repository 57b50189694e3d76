"""The first-level children of a stanza, cut out of its bytes and put together anew, without a tree. Pure.

A tree of a hostile stanza costs more than ten times as much: its elements are many and small.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from xml.parsers import expat

from minimixproxy.namespaces import NS_CLIENT, NS_STREAM
from minimixproxy.wire.qualified_names import SEPARATOR, named_attributes, split_name
from minimixproxy.wire.stanza import (
    MAX_PAYLOADS,
    MalformedStanza,
    Stanza,
    UnusableStanza,
    escape,
    few_or_none,
    rewrite,
    start_tag_attributes,
    start_tag_end,
)

_NAME = re.compile(rb"<([^ \t\r\n/>]+)")


class Parts:
    """A stanza taken apart: its start tag, the default namespace inside of it, and its children, as stanzas are."""

    __slots__ = ("attributes", "children", "default", "head", "name", "uri")

    def __init__(self, raw: bytes, default: str = NS_CLIENT) -> None:
        """`default`: the default namespace around `raw`, which declares all other prefixes itself.

        Raises `MalformedStanza`, or `UnusableStanza` if there are more than `MAX_PAYLOADS` children.
        """
        self.uri = self.name = ""
        self.attributes: dict[str, str] = {}
        self.default = default
        self.children: list[Stanza] = []
        end = start_tag_end(raw)
        self.head = raw[:end].removesuffix(b">").removesuffix(b"/")
        _Cutter(self, raw, default).cut()

    def with_children(self, children: Iterable[Stanza]) -> bytes:
        """Return the stanza with these in place of its own; text between children goes."""
        name = _NAME.match(self.head)
        assert name is not None
        inner = b"".join(placed(child, self.default) for child in children)
        return b"%b>%b</%b>" % (self.head, inner, name.group(1)) if inner else self.head + b"/>"


class _Cutter:
    """One pass of expat over the bytes, wrapped so that they stand in a default namespace."""

    def __init__(self, parts: Parts, raw: bytes, default: str) -> None:
        self._parts = parts
        # The prefix of the stream's own namespace is declared on every stream, and may stand in any stanza.
        wrapper = b"<w xmlns='%b' xmlns:stream='%b'>" % (escape(default), NS_STREAM.encode())
        self._data = b"%b%b</w>" % (wrapper, raw)
        self._depth = 0
        self._begun = 0
        self._filled = False  # the current child has something in it
        self._name = ""
        self._attributes: dict[str, str] = {}
        self._namespaces = {"": default}
        # Names are not to be remembered: here they are met once, and may be very many.
        self._parser = parser = expat.ParserCreate("UTF-8", SEPARATOR, None)
        parser.StartElementHandler = self._on_start
        parser.EndElementHandler = self._on_end
        parser.StartNamespaceDeclHandler = self._on_namespace

    def cut(self) -> None:
        try:
            self._parser.Parse(self._data, True)
        except expat.ExpatError as error:
            raise MalformedStanza(str(error)) from error
        finally:
            del self._parser  # its callbacks refer back to us
        self._parts.default = self._namespaces[""]

    def _on_namespace(self, prefix: str | None, uri: str | None) -> None:
        if self._depth == 1:  # on the stanza itself
            self._namespaces[prefix or ""] = uri or ""

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth = depth = self._depth + 1
        if depth == 3:
            self._begun = self._parser.CurrentByteIndex
            self._name, self._attributes = name, attributes
            self._filled = False
            self._parser.DefaultHandlerExpand = self._on_content
        elif depth == 4:
            self._filled = True
        elif depth == 2:
            parts = self._parts
            parts.uri, parts.name = split_name(name)
            parts.attributes = named_attributes(attributes)

    def _on_content(self, _text: str) -> None:
        """Text, or markup that has no handler. Once is enough."""
        self._filled = True
        self._parser.DefaultHandlerExpand = None

    def _on_end(self, _name: str) -> None:
        self._depth = depth = self._depth - 1
        if depth != 2:
            return
        if len(self._parts.children) >= MAX_PAYLOADS:
            raise UnusableStanza("too many children")
        # Of an empty element expat's index stands behind it, else at the end tag: `<x/>` against `<x></x>`. To look for
        # the end of the start tag would take long if it has very many attributes.
        data, end = self._data, self._parser.CurrentByteIndex
        if self._filled or data[end - 2 : end] != b"/>":
            end = data.index(b">", end) + 1
        uri, local = split_name(self._name)
        raw = data[self._begun : end]
        attributes = named_attributes(self._attributes)
        self._parts.children.append(Stanza(raw, uri, local, attributes, None, self._namespaces))


def placed(child: Stanza, default: str) -> bytes:
    """Return a child's bytes for a place in which `default` is the default namespace."""
    raw = child.self_contained()
    if child.default_namespace != default and b"xmlns" not in start_tag_attributes(raw, 0):
        return rewrite(raw, {"xmlns": child.default_namespace})
    return raw


def parts_of(stanza: Stanza) -> Parts:
    """Return a stanza taken apart."""
    return Parts(stanza.self_contained(), stanza.default_namespace)


def children_of(stanza: Stanza) -> list[Stanza]:
    """Return a stanza's children. Raises `UnusableStanza`."""
    return parts_of(stanza).children


@lru_cache(maxsize=2)
def children_once(stanza: Stanza) -> tuple[Stanza, ...]:
    """Do as `children_of`, once for a stanza that several look at, one after the other."""
    return tuple(children_of(stanza))


def first_of(children: Iterable[Stanza], uri: str, name: str) -> Stanza | None:
    """Return the first child of that name, or None."""
    return next((child for child in children if (child.uri, child.name) == (uri, name)), None)


def stanza_of_bytes(raw: bytes) -> Stanza:
    """Return one element of text as a stanza in the namespace of clients, without a tree. Raises `MalformedStanza`."""
    parts = Parts(raw)
    payloads = few_or_none(tuple((child.uri, child.name) for child in parts.children))
    return Stanza(raw, parts.uri, parts.name, parts.attributes, payloads, {"": NS_CLIENT})


def payload_attributes(stanza: Stanza, uri: str, name: str) -> list[dict[str, str]]:
    """Return the attributes of each first-level child of that name."""
    if not stanza.has_payload(uri, name):
        return []
    if stanza.met is None and stanza.payloads.count((uri, name)) == 1:
        sole = sole_attributes(stanza.raw, name.encode())
        if sole is not None:
            return [sole]
    wanted = f"{uri}{SEPARATOR}{name}" if uri else name
    return [named_attributes(attributes) for found, attributes in stanza.payload_tags() if found == wanted]


def sole_attributes(raw: bytes, name: bytes) -> dict[str, str] | None:
    """Return the attributes of the only element of that name in `raw`; None if it takes a parser to tell.

    A parser costs ten times as much, and nearly every message of most rooms has a stanza-id and an occupant-id.
    """
    tag, prefixed, namespace = _needles(name)
    start = raw.find(tag)
    # A colon before the name makes it a prefixed one, but for two in a row: those are in the name of a namespace.
    if start < 0 or raw.find(tag, start + 1) >= 0 or raw.count(prefixed) != raw.count(namespace):
        return None
    end = raw.index(b">", start)
    found = _PLAIN_TAG.fullmatch(raw, start, end)
    if found is None or found.group(1) != name:
        return None
    attributes: list[tuple[str, str]] = _PLAIN_ATTRIBUTE.findall(raw[found.end(1) : end].decode())
    return {key: value for key, value in attributes if key != "xmlns" and not key.startswith("xmlns:")}


def sole_text(raw: bytes, name: bytes) -> bytes | None:
    """Return what is in the only element of that name in `raw`, as it is written; None if it takes a parser to tell."""
    if raw.count(b"<" + name) != 1 or b":" + name in raw or b"<![CDATA[" in raw:
        return None
    start = raw.index(b">", raw.index(b"<" + name)) + 1
    end = raw.find(b"</" + name, start)
    return raw[start:end] if end >= 0 else b""


def text_of(child: Stanza) -> str:
    """Return all text that is in an element, as a parser reads it: the same however it is written."""
    found: list[str] = []
    parser = expat.ParserCreate("UTF-8", None, None)
    parser.buffer_text = True  # else each line, and each entity, is one piece
    parser.CharacterDataHandler = found.append
    parser.Parse(child.raw, True)
    return "".join(found)


@lru_cache(maxsize=16)
def _needles(name: bytes) -> tuple[bytes, bytes, bytes]:
    return b"<" + name, b":" + name, b":xmpp:" + name


# A start tag whose values are what a parser gives: no escapes, no line breaks, and no ">" either.
_PLAIN_TAG = re.compile(rb"<([^ \t\r\n/>]+)(?:[ ][^ \t\r\n=/>'\"]+='[^'&\t\r\n>]*')*/?")
_PLAIN_ATTRIBUTE = re.compile(r"[ ]([^ =]+)='([^']*)'")  # declarations, too: none is to be looked for inside of one
_NOT_PLAIN = re.compile(rb"[&\t\r\n]")


def top_attribute(raw: bytes, name: str) -> str | None:
    """Return an attribute of the outermost element, without reading what is inside."""
    value = start_tag_attributes(raw, 0).get(name.encode())
    if value is None:
        return None
    if _NOT_PLAIN.search(value) is None:
        return value.decode()
    return Parts(raw[: start_tag_end(raw)].removesuffix(b">").removesuffix(b"/") + b"/>").attributes.get(name)
