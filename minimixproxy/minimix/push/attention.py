"""Which messages of a client show that its user is in the chat, and sees what is said there. Pure.

Clients say much by themselves, also with nobody in front of them: that something has arrived, that a telephone rings,
that their user has gone.
"""

from __future__ import annotations

from minimixproxy.minimix.room.importance import ENVELOPE
from minimixproxy.namespaces import NS_CHATSTATES, NS_JINGLE_MESSAGE, NS_MARKERS, NS_RECEIPTS
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc

_BY_ITSELF = (
    ENVELOPE
    | {(NS_RECEIPTS, "received"), (NS_RECEIPTS, "request"), (NS_MARKERS, "received")}
    | {(NS_CHATSTATES, "inactive"), (NS_CHATSTATES, "gone")}
    | {(uri, "ringing") for uri in NS_JINGLE_MESSAGE}
)


def shows_user(message: Stanza) -> bool:
    """Tell whether a client says this because its user does something."""
    if message.get("type") == "error":
        return False
    said = set(message.payloads) - _BY_ITSELF
    if not said.isdisjoint(muc.ENCRYPTED) and b"payload" not in message.raw:
        return False  # keys alone (XEP-0384 §4.6)
    return bool(said)
