"""What a message of a room means to a device that nobody looks at (XEP-0352 §4). Pure.

| message | importance |
|---|---|
| cannot be read | matters |
| of the account itself, from another of its devices too | matters: what is read there need not be shown here |
| encrypted (XEP-0384, XEP-0380): it may say anything | matters |
| call, attention, invitation (XEP-0353, XEP-0482, XEP-0224, XEP-0249) | matters |
| mentions the account (XEP-0513, XEP-0372), or replies to it (XEP-0461) | matters |
| body with the account's nick or bare JID, corrections too | matters, but for reactions and retractions |
| other body, in a private group: members only, and not anonymous | matters, but for corrections |
| other body | ordinary: waits, and keeps its place |
| subject alone | the last one counts |
| chat state alone (XEP-0085) | the last one of each occupant counts |
| marker, with a chat state or without (XEP-0333) | the last one of each occupant counts |
| anything else: reactions (XEP-0444), retractions, receipts, codes | ordinary |
"""

from __future__ import annotations

from enum import Enum

from minimixproxy.minimix.history.amendments import AMENDING
from minimixproxy.minimix.interfaces.said import Calling
from minimixproxy.namespaces import (
    NS_ATTENTION,
    NS_CALL_INVITES,
    NS_CHATSTATES,
    NS_CLIENT,
    NS_CONFERENCE,
    NS_CORRECT,
    NS_DELAY,
    NS_EME,
    NS_HINTS,
    NS_JINGLE_MESSAGE,
    NS_MARKERS,
    NS_OCCUPANT_ID,
    NS_REACTIONS,
    NS_SID,
)
from minimixproxy.wire.stanza import Stanza, UnusableStanza
from minimixproxy.xep import muc
from minimixproxy.xep.mentions import Somebody, is_mentioned, names

#: What belongs to a message, whatever it says.
ENVELOPE = frozenset(
    {(NS_SID, "stanza-id"), (NS_SID, "origin-id"), (NS_OCCUPANT_ID, "occupant-id"), (NS_DELAY, "delay")}
    | {(NS_HINTS, name) for name in ("no-store", "no-permanent-store", "no-copy", "store")}
    | {(NS_CLIENT, "thread")}
)
_CHAT_STATES = frozenset((NS_CHATSTATES, name) for name in ("active", "composing", "paused", "inactive", "gone"))
_MARKERS = frozenset((NS_MARKERS, name) for name in ("received", "displayed", "acknowledged"))
_URGENT = muc.ENCRYPTED | {(NS_EME, "encryption"), (NS_ATTENTION, "attention"), (NS_CONFERENCE, "x")}
_CALLS = frozenset({NS_CALL_INVITES, *NS_JINGLE_MESSAGE})
_RINGING = frozenset({(NS_CALL_INVITES, "invite"), *((uri, "propose") for uri in NS_JINGLE_MESSAGE)})
_REACTION = (NS_REACTIONS, "reactions")
_CORRECTION = (NS_CORRECT, "replace")


class Importance(Enum):
    """What becomes of a message for an inactive device."""

    MATTERS = "matters"
    ORDINARY = "ordinary"
    SUBJECT = "subject"
    TYPING = "typing"
    MARKER = "marker"


def of_message(message: Stanza, account: Somebody, *, all_notify: bool) -> Importance:
    """Return how much a groupchat message of another occupant matters to the account.

    `all_notify`: every message that says something does.
    """
    if not message.readable:
        return Importance.MATTERS
    try:
        return _of_readable(message, account, all_notify)
    except UnusableStanza:
        return Importance.MATTERS


def _of_readable(message: Stanza, account: Somebody, all_notify: bool) -> Importance:
    payloads = frozenset(message.payloads)
    if not payloads.isdisjoint(_URGENT) or any(uri in _CALLS for uri, _ in payloads) or is_mentioned(message, account):
        return Importance.MATTERS
    if muc.is_subject(message):
        return Importance.SUBJECT
    if (NS_CLIENT, "body") in payloads:
        return Importance.MATTERS if _notifies(message, payloads, account, all_notify) else Importance.ORDINARY
    return _of_silent(payloads)


def _notifies(message: Stanza, payloads: frozenset[tuple[str, str]], account: Somebody, all_notify: bool) -> bool:
    """Tell whether a message with a body makes clients call for their user."""
    return _is_new(payloads) and (names(message, account) or (all_notify and _CORRECTION not in payloads))


def _is_new(payloads: frozenset[tuple[str, str]]) -> bool:
    """Tell whether a body is to be read: that of reactions and retractions is for clients that do not know them."""
    return _REACTION not in payloads and payloads.isdisjoint(AMENDING - {_CORRECTION})


def _of_silent(payloads: frozenset[tuple[str, str]]) -> Importance:
    said = payloads - ENVELOPE
    if said and said <= _CHAT_STATES:
        return Importance.TYPING
    if said and said <= _CHAT_STATES | _MARKERS:
        return Importance.MARKER
    return Importance.ORDINARY


def calling(message: Stanza, account: Somebody | None) -> Calling:
    """Return how a message calls for the account; None: it is for this account alone."""
    if not message.readable:
        return Calling(says=True)
    try:
        return _calling(message, frozenset(message.payloads), account)
    except UnusableStanza:
        return Calling(says=True)


def _calling(message: Stanza, payloads: frozenset[tuple[str, str]], account: Somebody | None) -> Calling:
    """What is encrypted may name anybody, unless it is without content, as it is when only keys are told."""
    if not payloads.isdisjoint(_RINGING):
        return Calling(says=True, names=True, calls=True)
    if not payloads.isdisjoint(muc.ENCRYPTED):
        has_content = b"payload" in message.raw
        return Calling(has_content, has_content)
    if not payloads.isdisjoint(_URGENT) or (account is not None and is_mentioned(message, account)):
        return Calling(says=True, names=True)
    if (NS_CLIENT, "body") not in payloads or not _is_new(payloads):
        return Calling(says=False)
    return Calling(_CORRECTION not in payloads, account is not None and names(message, account))


def types(message: Stanza) -> bool:
    """Tell whether a chat state says that its sender is writing."""
    return (NS_CHATSTATES, "composing") in message.payloads


def is_typing(message: Stanza) -> bool:
    """Tell whether a message has a chat state, and nothing else."""
    return message.readable and _of_silent(frozenset(message.payloads)) is Importance.TYPING
