"""Messages that change what was said before: corrections, retractions, moderation; and what they make of it. Pure.

XEP-0308; XEP-0424, also in its first form with XEP-0422; XEP-0425, in both its forms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from minimixproxy.minimix.interfaces.journal import KeptMessage
from minimixproxy.namespaces import (
    NS_CLIENT,
    NS_CORRECT,
    NS_DELAY,
    NS_FASTEN,
    NS_MODERATE,
    NS_MODERATE_0,
    NS_OCCUPANT_ID,
    NS_RETRACT,
    NS_RETRACT_0,
    NS_SID,
)
from minimixproxy.wire.children import Parts, children_of, first_of, payload_attributes, top_attribute
from minimixproxy.wire.stanza import (
    Stanza,
    UnusableStanza,
    escape,
    optional_attribute,
    start_tag_end,
    with_attributes_in,
)
from minimixproxy.xep import muc
from minimixproxy.xep.delays import format_time

MAX_ID = 1024  # characters of a room's id for a message
_MAX_OF_A_KIND = 4  # ids and stamps of one kind that stay with a message that is changed ...
_MAX_SIZE = 1024  # ... and bytes of one
_MAX_OF_MANY = 256  # bytes of what a retraction says that each of many messages has of it

_ATTRIBUTES = frozenset({b"from", b"to", b"id", b"type", b"xml:lang", b"xmlns"})
AMENDING = frozenset({(NS_CORRECT, "replace"), (NS_RETRACT, "retract"), (NS_FASTEN, "apply-to")})
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
    """Return what a groupchat message does to another; None for a message that stands for itself, or does nothing."""
    if AMENDING.isdisjoint(stanza.payloads):
        return None
    children = children_of(stanza)
    replace = first_of(children, NS_CORRECT, "replace")
    if replace is not None:
        return _named(Kind.CORRECTION, replace.get("id")) if _says_something(children) else None
    retract = first_of(children, NS_RETRACT, "retract")
    if retract is not None:
        return _retraction(stanza, room, retract, first_of(_inside(retract), NS_MODERATE, "moderated"))
    fastened = first_of(children, NS_FASTEN, "apply-to")
    assert fastened is not None
    moderated = first_of(_inside(fastened), NS_MODERATE_0, "moderated")
    if first_of(_inside(moderated or fastened), NS_RETRACT_0, "retract") is None:
        return None
    return _retraction(stanza, room, fastened, moderated)


def is_empty_correction(stanza: Stanza) -> bool:
    """Tell whether a message says that it corrects another, and nothing that it could say instead."""
    return (NS_CORRECT, "replace") in stanza.payloads and not _says_something(children_of(stanza))


def _says_something(children: list[Stanza]) -> bool:
    """Tell whether there is content: an encrypted one, or a body that is not empty."""
    for child in children:
        if (child.uri, child.name) in muc.ENCRYPTED:
            return True
        if (child.uri, child.name) == (NS_CLIENT, "body") and not _is_empty(child.raw):
            return True
    return False


def _is_empty(raw: bytes) -> bool:
    end = start_tag_end(raw)
    return end == len(raw) or raw.startswith(b"</", end)


def _inside(child: Stanza) -> list[Stanza]:
    """Return the children of a child; none if there are too many: they do not mean anything then."""
    try:
        return children_of(child)
    except UnusableStanza:
        return []


def _retraction(stanza: Stanza, room: str, naming: Stanza, moderated: Stanza | None) -> Amendment | None:
    target = naming.get("id")
    if moderated is None:
        return _named(Kind.RETRACTION, target)
    if stanza.get("from") != room:
        return None  # only the room itself moderates
    reasons = (child for parent in (naming, moderated) for child in _inside(parent) if child.name == "reason")
    reason = next((str(child.element) for child in reasons), None)
    return _named(Kind.MODERATION, target, moderated.get("by"), reason)


def _named(kind: Kind, target: str | None, by: str | None = None, reason: str | None = None) -> Amendment | None:
    return Amendment(kind, target, by, reason) if target else None


def ids_of(stanza: Stanza) -> tuple[str, ...]:
    """Return the ids that a sender gave a message: its attribute, and the origin-id (XEP-0359)."""
    own = stanza.get("id")
    origins = payload_attributes(stanza, NS_SID, "origin-id")
    origin = origins[0].get("id") if origins else None
    if not origin or origin == own:
        return (own,) if own else ()
    return (own, origin) if own else (origin,)


def corrected(original: bytes, correction: Stanza, room: str) -> bytes:
    """Return the original with what the correction says: its own ids and time, the other's content."""
    parts = Parts(original)
    kept = _envelope(parts.children, room)
    new = [
        child
        for child in children_of(correction)
        if (child.uri, child.name) not in _ENVELOPE and (child.uri, child.name) != (NS_CORRECT, "replace")
    ]
    return parts.with_children((*new, *kept))


def _envelope(children: list[Stanza], room: str) -> list[Stanza]:
    """Return what belongs to a message as it was sent first: the room's id for it, and little of everything else.

    Its sender may have written more there, and what is kept is read again with each change.
    """
    kept: list[Stanza] = []
    count: Counter[tuple[str, bool]] = Counter()
    for child in children:
        if (child.uri, child.name) not in _ENVELOPE:
            continue
        own = child.name == "stanza-id" and _room_id(child.attributes, room) is not None
        count[child.name, own] += 1
        if count[child.name, own] <= (1 if own else _MAX_OF_A_KIND) and (own or len(child.raw) <= _MAX_SIZE):
            kept.append(child)
    return kept


def tombstone(original: bytes, retraction: Stanza, amendment: Amendment, time: float, room: str) -> bytes:
    """Return what stands in the archive in place of a retracted message (XEP-0424 §5, XEP-0425 §5)."""
    kept = b"".join(child.self_contained() for child in _envelope(Parts(original).children, room))
    return _tombstone(original, kept, amendment, time, _id_of(retraction, room))


def slight_tombstone(original: KeptMessage, retraction: Stanza, amendment: Amendment, time: float, room: str) -> bytes:
    """Return the same for one of many, whose content is not read: without the ids that its sender gave it inside.

    And without what is long in the retraction: all of its messages would have that.
    """
    stanza_id = b""
    if original.stanza_id is not None:
        stanza_id = b"<stanza-id xmlns='%b' by='%b' id='%b'/>" % (
            NS_SID.encode(),
            escape(room),
            escape(original.stanza_id),
        )
    short = amendment._replace(by=_short(amendment.by), reason=_short(amendment.reason))
    return _tombstone(original.raw, stanza_id, short, time, _short(_id_of(retraction, room)))


def _id_of(retraction: Stanza, room: str) -> str | None:
    return stanza_id_of(retraction, room) or retraction.get("id")


def _short(text: str | None) -> str | None:
    is_short = text is not None and len(text) <= _MAX_OF_MANY and len(escape(text)) <= _MAX_OF_MANY
    return text if is_short else None


def _tombstone(original: bytes, kept: bytes, amendment: Amendment, time: float, by_id: str | None) -> bytes:
    """`kept`: what stays of the original; `by_id`: what names the retraction."""
    inner = b""
    if amendment.kind is Kind.MODERATION:
        inner = b"<moderated xmlns='%b'%b/>" % (NS_MODERATE.encode(), optional_attribute("by", amendment.by))
    if amendment.reason is not None:
        inner += b"<reason>%b</reason>" % escape(amendment.reason)
    attributes = b"".join(
        optional_attribute(name, top_attribute(original, name)) for name in ("type", "from", "to", "id")
    )
    return b"<message%b>%b<retracted xmlns='%b' stamp='%b'%b>%b</retracted></message>" % (
        attributes,
        kept,
        NS_RETRACT.encode(),
        format_time(time).encode(),
        optional_attribute("id", by_id),
        inner,
    )


def slim(raw: bytes, attributes: int) -> bytes:
    """Return a message without attributes of its own making (RFC 6120 §8.1): what is kept is read again and again.

    `attributes`: how many it has.
    """
    return with_attributes_in(raw, _ATTRIBUTES) if attributes >= len(_ATTRIBUTES) else raw


def stanza_id_of(stanza: Stanza, room: str) -> str | None:
    """Return the id that the room itself gave a message (XEP-0359): one in another's name is nobody's word.

    One that is longer than `MAX_ID` is none: it would be kept twice, and searched for.
    """
    if not stanza.has_payload(NS_SID, "stanza-id"):
        return None
    for attributes in payload_attributes(stanza, NS_SID, "stanza-id"):
        if (stanza_id := _room_id(attributes, room)) is not None:
            return stanza_id
    return None


def _room_id(attributes: Mapping[str, str], room: str) -> str | None:
    stanza_id = attributes.get("id", "")
    return stanza_id if attributes.get("by") == room and 0 < len(stanza_id) <= MAX_ID else None
