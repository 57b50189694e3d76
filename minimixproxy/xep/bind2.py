"""Binding a resource along with a login (XEP-0386): what a client wishes for its session, and the resource. Pure."""

from __future__ import annotations

from typing import NamedTuple

from twisted.words.xish import domish

from minimixproxy.jids import InvalidJID, prepare_resource
from minimixproxy.namespaces import NS_BIND2, NS_CARBONS, NS_CSI, NS_SM3
from minimixproxy.wire.stanza import Stanza, attributes_of, serialize
from minimixproxy.wire.trees import child

NS = NS_BIND2[-1]
_NS = NS.encode()
#: What a session can begin with (§3.1).
INLINE = (NS_CARBONS, NS_CSI, NS_SM3)
FEATURE = b"<bind xmlns='%b'><inline>%b</inline></bind>" % (
    _NS,
    b"".join(b"<feature var='%b'/>" % var.encode() for var in INLINE),
)
_MAX_TAG = 100  # characters; the name of an application
_MAX_TAG_BYTES = 900  # once it is prepared, by which characters become many: the whole resource has 1,023


class Wishes(NamedTuple):
    """What `<bind/>` asks for. `tag`: prepared, "" if there is none that can be used.

    `enable`: the element of stream management (XEP-0198), None if there is none. `inactive`: the client begins so
    (XEP-0352).
    """

    tag: str = ""
    carbons: bool = False
    enable: Stanza | None = None
    inactive: bool = False


def wishes_of(bind: domish.Element) -> Wishes:
    """Read `<bind/>`. What is not known here is passed over."""
    tag = child(bind, NS, "tag")
    enable = child(bind, NS_SM3, "enable")
    return Wishes(
        _usable_tag(str(tag).strip()) if tag is not None else "",
        any(True for _ in bind.elements(NS_CARBONS, "enable")),
        as_stanza(enable) if enable is not None else None,
        any(True for _ in bind.elements(NS_CSI, "inactive")),
    )


def _usable_tag(text: str) -> str:
    try:
        tag = prepare_resource(text) if len(text) <= _MAX_TAG else ""
    except InvalidJID:
        return ""
    return tag if len(tag.encode()) <= _MAX_TAG_BYTES else ""


def as_stanza(element: domish.Element) -> Stanza:
    """Return a child as what it would be if it came by itself; of what is in it, nothing is known."""
    return Stanza(serialize(element), element.uri or "", element.name, attributes_of(element), (), {})


def resource(tag: str, unique: str) -> str:
    """Return the resource to bind (§3.3): `unique` is the proxy's own part."""
    return f"{tag}.{unique}" if tag else unique


def bound(inline: bytes = b"") -> bytes:
    """Return `<bound/>`, with what the features that were enabled answer."""
    return b"<bound xmlns='%b'>%b</bound>" % (_NS, inline)
