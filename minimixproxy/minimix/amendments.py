"""Messages that change what was said before: corrections, retractions, moderation; and what they make of it. Pure.

XEP-0308; XEP-0424, also in its first form with XEP-0422; XEP-0425, in both its forms.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from twisted.words.xish import domish

from minimixproxy.jids import parse_jid
from minimixproxy.minimix.delays import format_time
from minimixproxy.minimix.muc import NS_DELAY
from minimixproxy.stanza import (
    NS_CLIENT,
    Stanza,
    escape,
    optional_attribute,
    parse_element,
    serialize,
    start_tag_attributes,
)

NS_CORRECT = "urn:xmpp:message-correct:0"
NS_RETRACT = "urn:xmpp:message-retract:1"
NS_RETRACT_0 = "urn:xmpp:message-retract:0"
NS_FASTEN = "urn:xmpp:fasten:0"
NS_MODERATE = "urn:xmpp:message-moderate:1"
NS_MODERATE_0 = "urn:xmpp:message-moderate:0"
NS_SID = "urn:xmpp:sid:0"
NS_OCCUPANT_ID = "urn:xmpp:occupant-id:0"

_AMENDING = frozenset({(NS_CORRECT, "replace"), (NS_RETRACT, "retract"), (NS_FASTEN, "apply-to")})
# What belongs to a message as it was sent first, and not to what it says.
_ENVELOPE = frozenset(
    {(NS_SID, "stanza-id"), (NS_SID, "origin-id"), (NS_OCCUPANT_ID, "occupant-id"), (NS_DELAY, "delay")}
)


class Kind(Enum):
    """What is done to the message that an amendment names."""

    CORRECTION = "correction"
    RETRACTION = "retraction"
    MODERATION = "moderation"  # a retraction by the room


class Amendment(NamedTuple):
    """What a message does to another, which it names by `target`. `reason` and `by` are a moderator's."""

    kind: Kind
    target: str
    by: str | None = None
    reason: str | None = None


def amendment_of(stanza: Stanza, room: str) -> Amendment | None:
    """Return what a groupchat message does to another; None for a message that stands for itself."""
    if _AMENDING.isdisjoint(stanza.payloads):
        return None
    replace = stanza.payload(NS_CORRECT, "replace")
    if replace is not None:
        return _named(Amendment(Kind.CORRECTION, replace.getAttribute("id", "")))
    retract = stanza.payload(NS_RETRACT, "retract")
    if retract is not None:
        moderated = next(retract.elements(NS_MODERATE, "moderated"), None)
        return _retraction(stanza, room, retract, moderated)
    fastened = stanza.payload(NS_FASTEN, "apply-to")
    assert fastened is not None
    moderated = next(fastened.elements(NS_MODERATE_0, "moderated"), None)
    if next((moderated or fastened).elements(NS_RETRACT_0, "retract"), None) is None:
        return None
    return _retraction(stanza, room, fastened, moderated)


def _retraction(
    stanza: Stanza, room: str, naming: domish.Element, moderated: domish.Element | None
) -> Amendment | None:
    target = naming.getAttribute("id", "")
    if moderated is None:
        return _named(Amendment(Kind.RETRACTION, target))
    if stanza.get("from") != room:
        return None  # only the room itself moderates
    reasons = (child for parent in (naming, moderated) for child in parent.elements() if child.name == "reason")
    reason = next((str(child) for child in reasons), None)
    return _named(Amendment(Kind.MODERATION, target, moderated.getAttribute("by"), reason))


def _named(amendment: Amendment) -> Amendment | None:
    return amendment if amendment.target else None


def ids_of(stanza: Stanza) -> frozenset[str]:
    """Return the ids that a sender gave a message: its attribute, and the origin-id (XEP-0359)."""
    origin = stanza.payload(NS_SID, "origin-id")
    ids = (stanza.get("id"), origin.getAttribute("id") if origin is not None else None)
    return frozenset(one for one in ids if one)


def same_sender(stanza: Stanza, other: Stanza) -> bool:
    """Tell whether two groupchat messages are by the same occupant: by nick, and by occupant-id where there is one."""
    return _sender(stanza) == _sender(other)


def _sender(stanza: Stanza) -> tuple[str | None, str | None]:
    occupant = stanza.payload(NS_OCCUPANT_ID, "occupant-id")
    return parse_jid(stanza["from"]).resource, occupant.getAttribute("id") if occupant is not None else None


def corrected(original: Stanza, correction: Stanza) -> bytes:
    """Return the original with what the correction says: its own ids and time, the other's content."""
    element = parse_element(original.self_contained(), {"": NS_CLIENT})
    content = parse_element(correction.self_contained(), {"": NS_CLIENT})
    kept = [child for child in element.elements() if (child.uri, child.name) in _ENVELOPE]
    new = [
        child
        for child in content.elements()
        if (child.uri, child.name) not in _ENVELOPE and (child.uri, child.name) != (NS_CORRECT, "replace")
    ]
    element.children = []
    for child in (*new, *kept):
        element.addChild(child)
    return serialize(element)


def tombstone(original: Stanza, retraction: Stanza, amendment: Amendment, time: float, room: str) -> bytes:
    """Return what stands in the archive in place of a retracted message (XEP-0424 §5, XEP-0425 §5)."""
    kept = (child for child in original.elements() if (child.uri, child.name) in _ENVELOPE)
    inner = b""
    if amendment.kind is Kind.MODERATION:
        inner = b"<moderated xmlns='%b'%b/>" % (NS_MODERATE.encode(), optional_attribute("by", amendment.by))
    if amendment.reason is not None:
        inner += b"<reason>%b</reason>" % escape(amendment.reason)
    attributes = b"".join(optional_attribute(name, original.get(name)) for name in ("type", "from", "to", "id"))
    return b"<message%b>%b<retracted xmlns='%b' stamp='%b'%b>%b</retracted></message>" % (
        attributes,
        b"".join(serialize(child) for child in kept),
        NS_RETRACT.encode(),
        format_time(time).encode(),
        optional_attribute("id", stanza_id_of(retraction, room) or retraction.get("id")),
        inner,
    )


def stanza_id_of(stanza: Stanza, room: str) -> str | None:
    """Return the id that the room itself gave a message (XEP-0359): one in another's name is nobody's word."""
    if not stanza.has_payload(NS_SID, "stanza-id"):
        return None
    raw = stanza.raw
    if raw.count(b"<stanza-id") == 1 and b":stanza-id" not in raw:
        # It is that one. Nearly every message of most rooms has one, and a tree costs ten times as much.
        attributes = start_tag_attributes(raw, raw.index(b"<stanza-id"))
        by, stanza_id = attributes.get(b"by", b""), attributes.get(b"id", b"")
        if b"&" not in by and b"&" not in stanza_id:
            return stanza_id.decode() if stanza_id and by == room.encode() else None
    for element in stanza.elements(NS_SID, "stanza-id"):
        if element.getAttribute("by") == room and element.getAttribute("id"):
            return str(element["id"])
    return None
