"""Prefixes that nobody declared, in a stanza that a server relays. Pure.

ejabberd reads a stanza with the declarations of its sender's stream, and writes it without them (seen in 23.01): what
arrives is no XML with namespaces (Namespaces in XML 1.0 §5). A room tells it again to whoever joins.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from xml.parsers import expat

from minimixproxy.wire.large_tags import large_tag
from minimixproxy.wire.qualified_names import SEPARATOR
from minimixproxy.wire.stanza import rewrite
from minimixproxy.wire.trees import UnusableStanza, declared

MAX_PREFIXES = 100  # of one stanza that are made up for
_URI = "urn:minimixproxy:undeclared:"  # and the prefix: two attributes `p:a` and `q:a` are not the same one
_KNOWN = frozenset({"xml", "xmlns", "stream"})


def with_declarations(raw: bytes, namespaces: Mapping[str, str]) -> bytes:
    """Return a stanza with the prefixes declared, on its top element, that neither it nor `namespaces` declares.

    `raw` is well-formed but for that. What they stood for is lost; each is given a namespace that nobody knows. Raises
    `UnusableStanza` if they are too many, or if it is no XML with namespaces even so.
    """
    if fault := large_tag(raw):
        raise UnusableStanza(fault)
    missing = _undeclared(raw, namespaces)
    if missing:
        raw = rewrite(raw, {f"xmlns:{prefix}": _URI + prefix for prefix in missing})
    try:
        parser = expat.ParserCreate("UTF-8", SEPARATOR)
        parser.Parse(b"<wrapper" + declared(namespaces) + b">" + raw + b"</wrapper>", True)
    except expat.ExpatError as error:
        raise UnusableStanza(expat.ErrorString(error.code)) from error
    return raw


def _undeclared(raw: bytes, namespaces: Mapping[str, str]) -> list[str]:
    known = Counter(_KNOWN.union(namespaces))
    opened: list[list[str]] = []
    missing: dict[str, None] = {}
    parser = expat.ParserCreate("UTF-8")

    def on_start(name: str, attributes: dict[str, str]) -> None:
        here = [key[6:] for key in attributes if key.startswith("xmlns:")]
        known.update(here)
        opened.append(here)
        for one in (name, *attributes):
            prefix, colon, _ = one.partition(":")
            if colon and not known[prefix]:
                missing[prefix] = None
        if len(missing) > MAX_PREFIXES:
            raise UnusableStanza("too many prefixes that nobody declared")

    def on_end(_name: str) -> None:
        known.subtract(opened.pop())

    parser.StartElementHandler = on_start
    parser.EndElementHandler = on_end
    try:
        parser.Parse(raw, True)
    except expat.ExpatError as error:
        raise UnusableStanza(expat.ErrorString(error.code)) from error
    finally:
        parser.StartElementHandler = parser.EndElementHandler = None
    return list(missing)
