"""Stanza errors (RFC 6120 §8.3). No state, but that they are counted."""

from __future__ import annotations

from minimixproxy.counting.tally import Tally
from minimixproxy.namespaces import NS_STANZAS
from minimixproxy.wire.stanza import Stanza, escape, optional_attribute

#: RFC 6120 §8.3.3.
CONDITIONS = frozenset(
    {
        "bad-request",
        "conflict",
        "feature-not-implemented",
        "forbidden",
        "gone",
        "internal-server-error",
        "item-not-found",
        "jid-malformed",
        "not-acceptable",
        "not-allowed",
        "not-authorized",
        "policy-violation",
        "recipient-unavailable",
        "redirect",
        "registration-required",
        "remote-server-not-found",
        "remote-server-timeout",
        "resource-constraint",
        "service-unavailable",
        "subscription-required",
        "undefined-condition",
        "unexpected-request",
    }
)
ERRORS = Tally(
    "stanza_errors",
    "Stanza errors that the proxy made itself: what it refused, or answered in place of somebody.",
    condition=CONDITIONS,
)


def error_payload(error_type: str, condition: str, text: str = "") -> bytes:
    """Return an `<error/>` element (RFC 6120 §8.3.2). It is counted."""
    ERRORS.count(condition)
    explanation = b"<text xmlns='%b'>%b</text>" % (NS_STANZAS.encode(), escape(text)) if text else b""
    return b"<error type='%b'><%b xmlns='%b'/>%b</error>" % (
        error_type.encode(),
        condition.encode(),
        NS_STANZAS.encode(),
        explanation,
    )


def error_reply(stanza: Stanza, error_type: str, condition: str, text: str = "") -> bytes:
    """Return the stanza error that answers `stanza`: addresses swapped, id kept (RFC 6120 §8.3.1)."""
    addresses = {"from": stanza.get("to") or None, "to": stanza.get("from") or None}
    attributes = {**addresses, "id": stanza.get("id"), "type": "error"}
    tag = b"".join(optional_attribute(key, value) for key, value in attributes.items())
    name = stanza.name.encode()
    return b"<%b%b>%b</%b>" % (name, tag, error_payload(error_type, condition, text), name)
