"""Stanzas as kept source bytes, with the little that routing needs to know about them.

A stanza that nobody needs to read never becomes a tree: passing it on is writing `Stanza.raw`, forking it is
splicing one attribute into its start tag (`ForkTemplate`). An element is built on demand, for the few stanzas
that are intercepted.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from twisted.words.xish import domish

from minimixproxy.namespaces import NS_CLIENT, NS_STREAM
from minimixproxy.wire.looked_at import LookedAt
from minimixproxy.wire.qualified_names import split_name
from minimixproxy.wire.serializing import element_text
from minimixproxy.wire.trees import MalformedStanza as MalformedStanza
from minimixproxy.wire.trees import UnusableStanza as UnusableStanza
from minimixproxy.wire.trees import child, is_readable, payload_tags
from minimixproxy.wire.trees import parse_element as parse_element

MAX_PAYLOADS = 1000  # of one stanza that are looked at; one that has more is not read
FEW_PAYLOADS = 16  # that are noted with the stanza, however long it is kept; most have fewer
MAX_ATTRIBUTES = 100  # of one that is read
_SMALL = 2048  # bytes of a stanza whose attributes are few in any case

_STREAM_PREFIX = {NS_STREAM: "stream"}

_WS = rb"[ \t\r\n]"
_TAG_NAME = re.compile(rb"(<[^ \t\r\n/>]+)")
_ATTRIBUTE = re.compile(rb"(" + _WS + rb"+)([^ \t\r\n=/>]+)" + _WS + rb"*=" + _WS + rb"*(\"[^\"]*\"|'[^']*')")
# The same in one go, for the whole tag: (name)(attributes), and of each attribute (all of it, its key).
_WHOLE_ATTRIBUTE = re.compile(rb"(" + _WS + rb"+([^ \t\r\n=/>]+)" + _WS + rb"*=" + _WS + rb"*(?:\"[^\"]*\"|'[^']*'))")
_TAG = re.compile(
    _TAG_NAME.pattern + rb"(?:" + _WS + rb"+[^ \t\r\n=/>]+" + _WS + rb"*=" + _WS + rb"*(?:\"[^\"]*\"|'[^']*'))*"
)
# Whatever may be a prefix in use, in a name or in text. It begins where it can only begin, so each byte is met once.
_PREFIX = re.compile(rb"(?<![^ \t\r\n<>/=\"'&;:])([^ \t\r\n<>/=\"'&;:]+):")
_EVERYWHERE = frozenset({"", "stream", "xml"})  # declared on every stream, or never to be
# A start tag up to its `to`: what stands before, and its value. The first cannot be `to`, so there is one way only.
_UP_TO_TO = re.compile(
    _TAG_NAME.pattern[:-1]
    + rb"(?:" + _WS + rb"+(?!to[ \t\r\n=])[^ \t\r\n=/>]+" + _WS + rb"*=" + _WS + rb"*(?:\"[^\"]*\"|'[^']*'))*)"
    + _WS + rb"+to" + _WS + rb"*=" + _WS + rb"*(\"[^\"]*\"|'[^']*')"
)  # fmt: skip
_TAG_END = re.compile(_WS + rb"*/?>")

_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)
_SPECIAL = re.compile("[&<>'\"\t\n\r]")


def escape(text: str) -> bytes:
    """Return `text` as UTF-8, safe inside an attribute value of either quote and as character data."""
    return (text if _SPECIAL.search(text) is None else text.translate(_ESCAPES)).encode("utf-8")


@lru_cache(maxsize=1024)
def escaped_address(jid: str) -> bytes:
    """Return `escape(jid)`, for addresses that are needed again and again."""
    return escape(jid)


def optional_attribute(name: str, value: str | None) -> bytes:
    """Return an attribute as it stands in a start tag, with the space before it; nothing for None."""
    return b" %b='%b'" % (name.encode(), escape(value)) if value is not None else b""


def start_tag_end(raw: bytes | bytearray, start: int = 0) -> int:
    """Return the offset just behind the start tag that begins at `start`.

    The parse is anchored and knows quotes, so that `id=" to='x'>"` fools nobody.
    """
    tag = _TAG.match(raw, start)
    if tag is None:
        raise MalformedStanza("no start tag")
    end = _TAG_END.match(raw, tag.end())
    if end is None:
        raise MalformedStanza("start tag without end")
    return end.end()


def start_tag_attributes(raw: bytes, start: int) -> dict[bytes, bytes]:
    """Return the attributes of the start tag that begins at `start`, as they are written there: escapes stay."""
    tag = _TAG.match(raw, start)
    if tag is None:
        raise MalformedStanza("no start tag")
    return {match.group(2): match.group(3)[1:-1] for match in _ATTRIBUTE.finditer(raw, tag.end(1), tag.end())}


def rewrite(raw: bytes, changes: Mapping[str, str | None]) -> bytes:
    """Return `raw` with top-level attributes set, replaced or (value None) dropped.

    Only the start tag changes; everything else keeps its bytes. `changes` names unprefixed attributes,
    `xmlns:p` for declarations, or `xml:lang`.
    """
    tag = _TAG.match(raw)
    if tag is None:
        raise MalformedStanza("no start tag")
    pieces = {}
    for name, value in changes.items():
        key = name.encode()
        pieces[key] = b"" if value is None else b" %b='%b'" % (key, escape(value))
    out = [tag.group(1)]
    for whole, key in _WHOLE_ATTRIBUTE.findall(raw, tag.end(1), tag.end()):
        out.append(pieces.pop(key, whole))
    out += pieces.values()
    out.append(raw[tag.end() :])
    return b"".join(out)


def readdressed(raw: bytes, sender: str, to: str, id: str) -> bytes:
    """Return a stanza with other addresses and another id, as `rewrite` does.

    One as servers write them, which has all three, is only cut at its quotes. An odd number of pieces is an even number
    of quotes: so the first ">" stands in no value, and ends the tag.
    """
    end = raw.find(b">")
    begin = raw.find(b" ", 0, end)
    pieces = raw[begin:end].split(b"'")
    names = pieces[::2]
    if begin < 0 or not len(pieces) % 2 or b'"' in raw[:end] or not _ADDRESSED.issubset(names):
        return rewrite(raw, {"from": sender, "to": to, "id": id})
    pieces[2 * names.index(b" from=") + 1] = escaped_address(sender)
    pieces[2 * names.index(b" to=") + 1] = escaped_address(to)
    pieces[2 * names.index(b" id=") + 1] = escape(id)
    return b"%b%b%b" % (raw[:begin], b"'".join(pieces), raw[end:])


_ADDRESSED = frozenset({b" from=", b" to=", b" id="})


def with_attributes_in(raw: bytes, names: Collection[bytes]) -> bytes:
    """Return `raw` without top-level attributes that are not in `names`; declarations of prefixes stay."""
    tag = _TAG.match(raw)
    if tag is None:
        raise MalformedStanza("no start tag")
    found = _WHOLE_ATTRIBUTE.findall(raw, tag.end(1), tag.end())
    kept = [whole for whole, key in found if key in names or key.startswith(b"xmlns:")]
    return raw if len(kept) == len(found) else b"".join((tag.group(1), *kept, raw[tag.end() :]))


def place_of_to(raw: bytes) -> tuple[int, int] | None:
    """Return where `to` begins, with the space before it, and ends in a start tag; None if there is none."""
    tag = _UP_TO_TO.match(raw)
    return None if tag is None else (tag.end(1), tag.end())


def unaddressed(raw: bytes) -> bytes:
    """Return `raw` without its `to`: what a room tells several accounts is the same then."""
    found = place_of_to(raw)
    return raw if found is None else raw[: found[0]] + raw[found[1] :]


class ForkTemplate:
    """A stanza cut open at its `to`, so that each copy costs one splice: `head`, an escaped address, `tail`."""

    __slots__ = ("head", "tail")

    def __init__(self, raw: bytes) -> None:
        found = _UP_TO_TO.match(raw)
        if found is not None:
            start, end = found.span(2)
            self.head, self.tail = raw[: start + 1], raw[end - 1 :]  # with the quotes
            return
        name = _TAG_NAME.match(raw)
        if name is None:
            raise MalformedStanza("no start tag")
        self.head, self.tail = raw[: name.end()] + b" to='", b"'" + raw[name.end() :]

    def copy(self, to: str) -> bytes:
        """Return the stanza addressed to `to`."""
        return b"".join((self.head, escape(to), self.tail))


class _Payloads(NamedTuple):
    """The first-level children of a stanza: URI and name of each; name and attributes, as expat gives them."""

    names: tuple[tuple[str, str], ...]
    tags: Sequence[tuple[str, dict[str, str]]]


class Stanza:
    """One first-level child of an XML stream: a stanza proper, or features, a SASL element, `<r/>` and so on.

    It looks enough like a `domish.Element` for the observers of a Twisted `XmlStream`.
    """

    __slots__ = (
        "__weakref__",
        "_namespaces",
        "_payloads",
        "_unaddressed",
        "attributes",
        "handled",
        "met",
        "name",
        "raw",
        "uri",
    )

    def __init__(
        self,
        raw: bytes,
        uri: str,
        name: str,
        attributes: dict[str, str],
        payloads: tuple[tuple[str, str], ...] | None,
        namespaces: Mapping[str, str],
        met: Sequence[tuple[str, dict[str, str]]] | None = None,
    ) -> None:
        """`namespaces`: the declarations in force outside `raw`, prefix to URI, "" for the default.

        `payloads`: None to find them out when asked. `met`: the same as expat met them, with their attributes, if it
        has (see `children.payload_attributes`).
        """
        self.raw = raw
        self.uri = uri
        self.name = name
        self.attributes = attributes
        self._payloads = payloads
        self._namespaces = namespaces
        self.met = met
        self._unaddressed: bytes | None = None
        self.handled = False  # whether a handler has said that no other is to take it

    def __repr__(self) -> str:
        return f"<Stanza {self.name} {self.attributes} {len(self.raw)} bytes>"

    @property
    def element(self) -> domish.Element:
        """The stanza as a tree, built when it is used and kept for a while: it is shared, so copy it to change it."""
        tree = _TREES.of(self)
        return tree if tree is not None else _TREES.keep(self, parse_element(self.raw, self._namespaces))

    def self_contained(self) -> bytes:
        """Return the bytes for use on another stream: inherited prefixes that may be in use are declared in them."""
        namespaces = self._namespaces
        if namespaces.keys() <= _EVERYWHERE:
            return self.raw
        used = {found.decode("utf-8", "replace") for found in _PREFIX.findall(self.raw)}
        used -= _EVERYWHERE
        used &= namespaces.keys()
        if used:
            written = start_tag_attributes(self.raw, 0)
            missing = {
                f"xmlns:{prefix}": namespaces[prefix]
                for prefix in sorted(used)
                if b"xmlns:" + prefix.encode() not in written
            }
            return rewrite(self.raw, dict(missing)) if missing else self.raw
        return self.raw

    @property
    def unaddressed(self) -> bytes:
        """`self_contained` without `to` (see `unaddressed`)."""
        if self._unaddressed is None:
            self._unaddressed = unaddressed(self.self_contained())
        return self._unaddressed

    def is_unaddressed(self, raw: bytes) -> None:
        """Note what `unaddressed` is, which somebody has found out; the bytes are `self_contained`."""
        self._unaddressed = raw

    @property
    def readable(self) -> bool:
        """Whether a tree may be made of it, and it has so few payloads and attributes that many may be looked at.

        Else nobody is to look into it: asking for `element` or `payload` may raise `UnusableStanza`.
        """
        raw = self.raw
        if len(raw) <= _SMALL and self._payloads is not None:  # mostly so
            return len(self._payloads) < MAX_PAYLOADS
        if len(raw) > _SMALL and raw.find(b">") > _SMALL and len(self.attributes) > MAX_ATTRIBUTES:
            return False
        return is_readable(raw) and self._all_noted()

    def _all_noted(self) -> bool:
        """Tell whether `payloads` are all there are; else what a room adds behind them would be overlooked."""
        if self._payloads is not None:
            return len(self._payloads) < MAX_PAYLOADS
        if len(self.raw) < 4 * MAX_PAYLOADS or self.raw.count(b"<") <= MAX_PAYLOADS:  # mostly so
            return True
        try:
            return len(self.payloads) < MAX_PAYLOADS
        except UnusableStanza:
            return False

    def without_content(self) -> Stanza:
        """Return the same top element with nothing in it."""
        tag = self.raw[: start_tag_end(self.raw)]
        raw = tag if tag.endswith(b"/>") else tag[:-1] + b"/>"
        return Stanza(raw, self.uri, self.name, self.attributes, (), self._namespaces)

    @property
    def default_namespace(self) -> str:
        """The default namespace around the stanza."""
        return self._namespaces.get("", "")

    def with_bytes(self, raw: bytes) -> Stanza:
        """Return a stanza with the same top element and the same kinds of payload, in other bytes."""
        return Stanza(raw, self.uri, self.name, self.attributes, self._payloads, self._namespaces)

    def without(self, name: str) -> Stanza:
        """Return the same stanza without a top-level attribute."""
        kept = {key: value for key, value in self.attributes.items() if key != name}
        return Stanza(rewrite(self.raw, {name: None}), self.uri, self.name, kept, self._payloads, self._namespaces)

    @property
    def payloads(self) -> tuple[tuple[str, str], ...]:
        """URI and name of the first-level children, in their order."""
        return self._payloads if self._payloads is not None else self._found_out().names

    def payload_tags(self) -> Sequence[tuple[str, dict[str, str]]]:
        """Return name and attributes of the same, as expat gives them."""
        return self.met if self.met is not None else self._found_out().tags

    def _found_out(self) -> _Payloads:
        """Return what is in it, and keep it if that is little."""
        found = _PAYLOADS.of(self)
        if found is None:
            tags = payload_tags(self.raw, self._namespaces, MAX_PAYLOADS)
            found = _Payloads(tuple([split_name(name) for name, _ in tags]), tags)
            if len(tags) <= FEW_PAYLOADS:
                self._payloads, self.met = found
            else:
                _PAYLOADS.keep(self, found)
        return found

    def has_payload(self, uri: str, name: str) -> bool:
        """Tell whether a first-level child of that name is there."""
        payloads = self._payloads
        if payloads is None:
            if name.encode() not in self.raw:
                return False
            payloads = self.payloads
        return (uri, name) in payloads

    def payload(self, uri: str, name: str) -> domish.Element | None:
        """Return the first child of that name, or None; builds the tree only when there is one."""
        if not self.has_payload(uri, name):
            return None
        return child(self.element, uri, name)

    def get(self, name: str, default: str | None = None) -> str | None:
        """Return a top-level attribute."""
        return self.attributes.get(name, default)

    def __getitem__(self, name: str) -> str:
        return self.attributes[name]

    # What `twisted.words.xish.xpath` asks of an element; one that is not to be looked into has nothing in it.
    def getAttribute(self, name: str, default: str | None = None) -> str | None:
        return self.attributes.get(name, default)

    def hasAttribute(self, name: str) -> bool:
        return name in self.attributes

    def elements(self, uri: str | None = None, name: str | None = None) -> Iterator[domish.Element]:
        return self.element.elements(uri, name) if self.readable else iter(())

    @property
    def children(self) -> list[domish.Element | str]:
        return self.element.children if self.readable else []

    def toXml(self, *_args: object, **_kwargs: object) -> str:
        return self.raw.decode("utf-8")


_TREES: LookedAt[domish.Element] = LookedAt()
_PAYLOADS: LookedAt[_Payloads] = LookedAt()


def few_or_none(payloads: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...] | None:
    """Return the payloads of a stanza if they may be noted with it; None: they are found out again when asked for."""
    return payloads if len(payloads) <= FEW_PAYLOADS else None


def attributes_of(element: domish.Element) -> dict[str, str]:
    """Return a tree's top-level attributes, prefixed ones as `{uri}name`."""
    return {
        (key if isinstance(key, str) else "{%s}%s" % key): value  # noqa: UP031 (the key is the pair)
        for key, value in element.attributes.items()
    }


def stanza_of(element: domish.Element, default_namespace: str = NS_CLIENT) -> Stanza:
    """Return a `Stanza` with the content of a domish tree; `element` becomes the stanza's own."""
    stanza = Stanza(
        serialize(element, default_namespace),
        element.uri,
        element.name,
        attributes_of(element),
        few_or_none(payloads_of(element)),
        {"": default_namespace},
    )
    _TREES.keep(stanza, element)
    return stanza


def parse_stanza(xml: bytes | str, default_namespace: str = NS_CLIENT) -> Stanza:
    """Return one element of text as a `Stanza`, its bytes as given. Raises `MalformedStanza`."""
    raw = xml.encode("utf-8") if isinstance(xml, str) else xml
    element = parse_element(raw, {"": default_namespace})
    stanza = Stanza(
        raw,
        element.uri,
        element.name,
        attributes_of(element),
        few_or_none(payloads_of(element)),
        {"": default_namespace},
    )
    _TREES.keep(stanza, element)
    return stanza


def payloads_of(element: domish.Element) -> tuple[tuple[str, str], ...]:
    """Return URI and name of a tree's first-level children."""
    return tuple((one.uri, one.name) for one in element.elements())


def serialize(element: domish.Element, default_namespace: str = NS_CLIENT) -> bytes:
    """Return the bytes of a tree for a stream whose default namespace is `default_namespace`."""
    return element_text(element, default_namespace, _STREAM_PREFIX).encode("utf-8")
