"""Which types of channel binding a server knows, among its stream features (XEP-0440). Pure."""

from __future__ import annotations

from collections.abc import Iterable

from minimixproxy.namespaces import NS_CHANNEL_BINDING
from minimixproxy.wire.stanza import Stanza, escape


def feature(types: Iterable[str]) -> bytes:
    """Return the feature that announces these types; nothing if there are none (§2)."""
    names = b"".join(b"<channel-binding type='%b'/>" % escape(type_) for type_ in types)
    return b"<sasl-channel-binding xmlns='%b'>%b</sasl-channel-binding>" % (_NS, names) if names else b""


def announced_types(features: Stanza) -> tuple[str, ...] | None:
    """Return the types that a server announces, None if it announces none at all."""
    element = features.payload(NS_CHANNEL_BINDING, "sasl-channel-binding")
    if element is None:
        return None
    children = element.elements(NS_CHANNEL_BINDING, "channel-binding")
    return tuple(str(child["type"]) for child in children if child.hasAttribute("type"))


_NS = NS_CHANNEL_BINDING.encode()
