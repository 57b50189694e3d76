"""What of a server's stream features is shown to a client: all but what the proxy cannot carry. Pure."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple
from xml.parsers import expat

from minimixproxy.namespaces import (
    NS_BIND,
    NS_BIND2,
    NS_CHANNEL_BINDING,
    NS_COMPRESS_FEATURE,
    NS_FAST,
    NS_ISR,
    NS_LIMITS,
    NS_SASL,
    NS_SASL2,
    NS_SASL_UPGRADE,
    NS_SESSION,
    NS_SM,
    NS_TLS,
)
from minimixproxy.wire.qualified_names import SEPARATOR
from minimixproxy.wire.stanza import Stanza, escape
from minimixproxy.wire.trees import child

# Each of these would be terminated by the proxy, not by the server, or binds the client to the server's own TLS.
HIDDEN = frozenset(
    {NS_TLS, NS_SASL, NS_SASL2, NS_COMPRESS_FEATURE, NS_CHANNEL_BINDING, NS_FAST, NS_SASL_UPGRADE}.union(
        NS_SM, NS_BIND2, NS_ISR
    )
)
#: Beside these, what has no use any more once a resource is bound.
HIDDEN_ONCE_BOUND = HIDDEN | {NS_BIND, NS_SESSION}


LEAST_LIMIT = 10_000  # bytes, RFC 6120 §13.12


def announced_limit(features: Stanza) -> int | None:
    """Return the largest stanza that a server says it takes (XEP-0478), or None."""
    limits = features.payload(NS_LIMITS, "limits")
    size = child(limits, NS_LIMITS, "max-bytes")
    text = str(size).strip() if size is not None else ""
    if not (text.isascii() and text.isdigit()):
        return None
    return max(int(text[:12]), LEAST_LIMIT)


class _Child(NamedTuple):
    uri: str
    start: int  # offset in the features' bytes


def shown_features(
    features: Stanza, namespaces: Mapping[str, str], own: bytes = b"", hidden: Container[str] = HIDDEN
) -> bytes:
    """Return the features as the client gets them: the hidden ones cut out, every other byte as it came.

    `namespaces`: the declarations of the stream header. `own`: the proxy's own features, put at the end.
    """
    raw = features.raw
    if not own and not any(uri in hidden for uri, _name in features.payloads):
        return raw
    children, end = _children(raw, namespaces)
    if not children:
        return b"<stream:features>%b</stream:features>" % own
    bounds = [child.start for child in children[1:]] + [end]
    kept = [raw[: children[0].start]]
    kept += [raw[child.start : stop] for child, stop in zip(children, bounds, strict=True) if child.uri not in hidden]
    kept += [own, raw[end:]]
    return b"".join(kept)


def _children(raw: bytes, namespaces: Mapping[str, str]) -> tuple[list[_Child], int]:
    """Return the children with their offsets, and the offset of the end tag."""
    declared = [
        (f"xmlns:{prefix}" if prefix else "xmlns", uri) for prefix, uri in namespaces.items() if prefix != "xml"
    ]
    head = b"<wrapper%b>" % b"".join(b" %b='%b'" % (name.encode(), escape(uri)) for name, uri in declared)
    children: list[_Child] = []
    depth = 0
    end = 0
    parser = expat.ParserCreate("UTF-8", SEPARATOR)

    def on_start(name: str, _attributes: object) -> None:
        nonlocal depth
        if depth == 2:
            children.append(_Child(name.rpartition(SEPARATOR)[0], parser.CurrentByteIndex - len(head)))
        depth += 1

    def on_end(_name: str) -> None:
        nonlocal depth, end
        depth -= 1
        if depth == 1:
            end = parser.CurrentByteIndex - len(head)

    parser.StartElementHandler = on_start
    parser.EndElementHandler = on_end
    parser.Parse(head + raw + b"</wrapper>", True)
    return children, end
