"""A domish tree as text. Pure.

Twisted's own serializer writes namespaces as they are: one with a quote in it ends its attribute, and whoever chose it
writes what follows. It also leaves line breaks in attributes, which a parser then takes for spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count

from twisted.words.xish.domish import Element, SerializedXML

from minimixproxy.namespaces import NS_XML

_IN_TEXT = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "\r": "&#13;"})
_IN_ATTRIBUTE = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&apos;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}
)


def element_text(element: Element, default_namespace: str, prefixes: Mapping[str, str]) -> str:
    """Return a tree as XML, to stand where `default_namespace` is the default and `prefixes` (by URI) are declared."""
    out: list[str] = []
    # What is still to be written: text as it is, or an element with the default namespace around it.
    ahead: list[str | tuple[Element, str]] = [(element, default_namespace)]
    while ahead:
        step = ahead.pop()
        if isinstance(step, str):
            out.append(step)
            continue
        child, around = step
        name, declared, inside = _start(child, around, prefixes)
        attributes = "".join(f" {key}='{value.translate(_IN_ATTRIBUTE)}'" for key, value in declared)
        if not child.children:
            out.append(f"<{name}{attributes}/>")
            continue
        out.append(f"<{name}{attributes}>")
        ahead.append(f"</{name}>")
        ahead += [_step(part, inside) for part in reversed(child.children)]
    return "".join(out)


def _step(part: Element | str, around: str) -> str | tuple[Element, str]:
    if isinstance(part, SerializedXML):
        return str(part)
    return part.translate(_IN_TEXT) if isinstance(part, str) else (part, around)


def _start(element: Element, around: str, prefixes: Mapping[str, str]) -> tuple[str, list[tuple[str, str]], str]:
    """Return an element's name as written, its attributes with declarations, the default namespace inside of it."""
    uri = around if element.uri is None else str(element.uri)
    attributes: list[tuple[str, str]] = []
    if uri == NS_XML:  # no other prefix, nor the default, may stand for it (Namespaces in XML 1.0 §3)
        name, inside = f"xml:{element.name}", around
    elif uri in prefixes:
        name, inside = f"{prefixes[uri]}:{element.name}", around
    else:
        name, inside = str(element.name), uri
        if uri != around:
            attributes.append(("xmlns", uri))
    attributes += [(f"xmlns:{prefix}", uri) for prefix, uri in element.localPrefixes.items()]
    names = _Names(element)
    for key, value in element.attributes.items():
        attributes.append((key if isinstance(key, str) else names.prefixed(key, attributes), str(value)))
    return name, attributes, inside


class _Names:
    """How attributes of a namespace are written in one start tag: the prefix is declared there."""

    __slots__ = ("_local", "_numbers", "_taken")

    def __init__(self, element: Element) -> None:
        self._local = {uri: prefix for prefix, uri in element.localPrefixes.items()}
        self._taken = element.localPrefixes
        self._numbers = count()

    def prefixed(self, key: tuple[str, str], attributes: list[tuple[str, str]]) -> str:
        """Return the name of an attribute; a prefix that is missing is declared among `attributes`."""
        uri, name = key
        if uri == NS_XML:
            return f"xml:{name}"
        if uri not in self._local:
            prefix = next(prefix for number in self._numbers if (prefix := f"xn{number}") not in self._taken)
            self._local[uri] = prefix
            attributes.append((f"xmlns:{prefix}", uri))
        return f"{self._local[uri]}:{name}"
