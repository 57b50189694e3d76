"""From bytes to trees, and to the little of a tree that is mostly enough. Pure.

Whoever may send something may send what is absurd: a tree is built of so many tags at most, and what is done costs time
and memory in proportion to the bytes. What is no tree for us still passes as bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from xml.parsers import expat

from twisted.words.xish import domish

from minimixproxy.namespaces import NS_STREAM
from minimixproxy.wire.qualified_names import SEPARATOR, named_attributes

MAX_TAGS = 10_000  # in one tree, start and end tags; some 15 ms and 4 MB
_SMALL = 4 * MAX_TAGS  # bytes that cannot hold more tags
LEVEL = 7  # bytes that one level of nesting has at least


class _Count:
    """How many trees were built by this process: nothing else costs as much."""

    trees = 0


BUILT = _Count()


class UnusableStanza(ValueError):
    """A stanza that is no tree for us: too large a one, or no well-formed XML. Its bytes can still be passed on."""


class MalformedStanza(UnusableStanza):
    """The bytes given are not exactly one well-formed element."""


def is_readable(raw: bytes) -> bool:
    """Tell whether a tree may be made of a stanza."""
    return len(raw) <= _SMALL or raw.count(b"<") <= MAX_TAGS


def declared(namespaces: Mapping[str, str]) -> bytes:
    """Return declarations (prefix to URI, "" for the default) as they stand in a start tag.

    The prefix of the stream's own namespace is declared on every stream, and may stand in any stanza.
    """
    return declarations({"stream": NS_STREAM, **namespaces})


def declarations(namespaces: Mapping[str, str]) -> bytes:
    """Return declarations of these and no others."""
    return b"".join(
        b" xmlns%b='%b'" % (b":" + prefix.encode() if prefix else b"", _escaped(uri))
        for prefix, uri in namespaces.items()
        if prefix != "xml"
    )


_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", "'": "&apos;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"})


def _escaped(uri: str) -> bytes:
    return uri.translate(_ESCAPES).encode("utf-8")


def parse_element(raw: bytes, namespaces: Mapping[str, str]) -> domish.Element:
    """Return `raw` as a domish tree, read in the scope of `namespaces` (prefix to URI, "" for the default).

    Raises `UnusableStanza`.
    """
    if not is_readable(raw):
        raise UnusableStanza("too many tags")
    BUILT.trees += 1
    builder = _Builder()
    builder.parse(b"<wrapper" + declared(namespaces) + b">" + raw + b"</wrapper>")
    if len(builder.found) != 1:
        raise MalformedStanza("not exactly one element")
    return builder.found[0]


class _Builder:
    """Makes what `domish.elementStream` makes, but each text in one go: that appends line by line to what there is."""

    __slots__ = ("_current", "_defaults", "_parser", "_prefixes", "_text", "found")

    def __init__(self) -> None:
        self.found: list[domish.Element] = []
        self._current: domish.Element | None = None
        self._defaults: list[str | None] = [""]
        self._prefixes: dict[str, str] = {}
        self._text: list[str] = []
        self._parser = parser = expat.ParserCreate("UTF-8", SEPARATOR)
        parser.StartElementHandler = self._on_wrapper
        parser.EndElementHandler = self._on_end
        parser.CharacterDataHandler = self._text.append
        parser.buffer_text = True  # else each line, and each entity, is one piece
        parser.StartNamespaceDeclHandler = self._on_namespace
        parser.EndNamespaceDeclHandler = self._on_namespace_end

    def parse(self, xml: bytes) -> None:
        try:
            self._parser.Parse(xml, True)
        except expat.ExpatError as error:
            raise MalformedStanza(str(error)) from error
        finally:
            parser, self._parser = self._parser, None  # type: ignore[assignment]
            for handler in ("StartElement", "EndElement", "CharacterData", "StartNamespaceDecl", "EndNamespaceDecl"):
                setattr(parser, f"{handler}Handler", None)  # they refer back to us

    def _on_wrapper(self, _name: str, _attributes: dict[str, str]) -> None:
        self._parser.StartElementHandler = self._on_start
        self._prefixes = {}

    def _on_start(self, name: str, attributes: dict[str, Any]) -> None:
        parent = self._current
        if self._text:
            self._give_text(parent)
        if SEPARATOR in "".join(attributes):
            attributes = {_key(key): value for key, value in attributes.items()}  # type: ignore[misc]
        uri, _, local = name.rpartition(SEPARATOR)
        element = domish.Element((uri, local), self._defaults[-1], attributes, self._prefixes)
        self._prefixes = {}
        if parent is None:
            self.found.append(element)
        else:
            parent.children.append(element)
            element.parent = parent
        self._current = element

    def _on_end(self, _name: str) -> None:
        current = self._current
        if self._text:
            self._give_text(current)
        if current is not None:
            self._current = current.parent

    def _give_text(self, parent: domish.Element | None) -> None:
        if parent is not None:
            parent.children.append("".join(self._text))
        self._text.clear()

    def _on_namespace(self, prefix: str | None, uri: str | None) -> None:
        if prefix is None:
            self._defaults.append(uri)
        else:
            self._prefixes[prefix] = uri or ""

    def _on_namespace_end(self, prefix: str | None) -> None:
        if prefix is None:
            self._defaults.pop()


def child(element: domish.Element | None, uri: str, name: str) -> domish.Element | None:
    """Return the first child of that name; None if there is none, or no element."""
    return next(element.elements(uri, name), None) if element is not None else None


def _key(name: str) -> str | tuple[str, str]:
    uri, separator, local = name.rpartition(SEPARATOR)
    return (uri, local) if separator else name


def read_start_tag(raw: bytes, namespaces: Mapping[str, str]) -> tuple[str, str, dict[str, str]]:
    """Return URI, name and attributes (prefixed ones as `{uri}name`) of the element that `raw` begins with.

    Raises `MalformedStanza`.
    """
    found: list[tuple[str, dict[str, str]]] = []
    parser = expat.ParserCreate("UTF-8", SEPARATOR)

    def on_start(name: str, attributes: dict[str, str]) -> None:
        found.append((name, attributes))
        if len(found) == 2:
            parser.StartElementHandler = None

    parser.StartElementHandler = on_start
    end = raw.find(b">")
    try:
        parser.Parse(b"<wrapper" + declared(namespaces) + b">", False)
        parser.Parse(raw[: end + 1], False)
        if len(found) < 2:  # a ">" in an attribute
            parser.Parse(raw[end + 1 :], False)
    except expat.ExpatError as error:
        raise MalformedStanza(str(error)) from error
    finally:
        parser.StartElementHandler = None
    if len(found) < 2:
        raise MalformedStanza("no start tag")
    uri, _, local = found[1][0].rpartition(SEPARATOR)
    return uri, local, named_attributes(found[1][1])


def payload_tags(raw: bytes, namespaces: Mapping[str, str], limit: int) -> list[tuple[str, dict[str, str]]]:
    """Return name and attributes, as expat gives them, of the first-level children in their order, `limit` at most.

    Raises `UnusableStanza`.
    """
    if not is_readable(raw):
        raise UnusableStanza("too many tags")
    found: list[tuple[str, dict[str, str]]] = []
    depth = 0
    parser = expat.ParserCreate("UTF-8", SEPARATOR)

    def on_start(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        if depth == 2 and len(found) < limit:
            found.append((name, attributes))
        depth += 1

    def on_end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    _parse(parser, b"<wrapper" + declared(namespaces) + b">" + raw + b"</wrapper>", on_start, on_end)
    return found


def is_deeper(raw: bytes, limit: int) -> bool:
    """Tell whether elements are nested more than `limit` deep, the top element counting as one; well-formed bytes."""
    if len(raw) < LEVEL * limit or raw.count(b"</") < limit:
        return False
    deepest = depth = 0
    parser = expat.ParserCreate("UTF-8")

    def on_start(_name: str, _attributes: object) -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)

    def on_end(_name: str) -> None:
        nonlocal depth
        depth -= 1

    _parse(parser, raw, on_start, on_end)
    return deepest > limit


def _parse(
    parser: expat.XMLParserType, whole: bytes, on_start: Callable[[str, Any], None], on_end: Callable[[str], None]
) -> None:
    """Have a parser read a whole, and refer to nothing afterwards. Raises `MalformedStanza`."""
    parser.StartElementHandler = on_start
    parser.EndElementHandler = on_end
    try:
        parser.Parse(whole, True)
    except expat.ExpatError as error:
        raise MalformedStanza(str(error)) from error
    finally:
        parser.StartElementHandler = parser.EndElementHandler = None
