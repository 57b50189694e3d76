"""How far somebody has read: markers in rooms (XEP-0333), and what an account tells itself (XEP-0490). Pure.

Both name a message by the id that its room gave it (XEP-0359).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from twisted.words.xish import domish

from minimixproxy.jids import InvalidJID, Whose, parse_jid, whose
from minimixproxy.namespaces import (
    NS_CLIENT,
    NS_DELAY,
    NS_HINTS,
    NS_MARKERS,
    NS_MDS,
    NS_OCCUPANT_ID,
    NS_PUBSUB,
    NS_PUBSUB_EVENT,
    NS_SID,
)
from minimixproxy.wire.children import children_of, first_of, parts_of
from minimixproxy.wire.stanza import Stanza, escape
from minimixproxy.wire.trees import child

MAX_ID = 1024  # characters of a room's id for a message
MAX_ITEMS = 1000  # rooms of which one stanza tells: the last ones count
MAX_CHATS = 100  # other chats: the first ones

#: In every stanza that tells how far the account has read (XEP-0490).
MARK = NS_MDS.encode()

#: Asks for all that the account has published of it.
ITEMS = b"<pubsub xmlns='%b'><items node='%b'/></pubsub>" % (NS_PUBSUB.encode(), MARK)

# What stays with a marker that is kept: which it is, whose, and how it wishes to be treated.
_KEPT = frozenset(
    {(NS_MARKERS, "displayed"), (NS_SID, "stanza-id"), (NS_SID, "origin-id"), (NS_OCCUPANT_ID, "occupant-id")}
    | {(NS_HINTS, "store"), (NS_DELAY, "delay"), (NS_CLIENT, "thread")}
)


class Displayed(NamedTuple):
    """The account has read a room up to a message. `room`: its bare JID; `stanza_id`: the room's own for it."""

    room: str
    stanza_id: str


# What occupants say in rooms (XEP-0333) -------------------------------------------------------------------------------


def is_marker(stanza: Stanza) -> bool:
    """Tell whether a message says that its sender has read another."""
    return stanza.has_payload(NS_MARKERS, "displayed")


def marked(stanza: Stanza) -> str | None:
    """Return the id of the message that a marker is about; None if it has none that a message could have."""
    marker = first_of(children_of(stanza), NS_MARKERS, "displayed")
    stanza_id = marker.get("id") if marker is not None else None
    return stanza_id if stanza_id and len(stanza_id) <= MAX_ID else None


def marker_alone(stanza: Stanza) -> bytes:
    """Return a marker without what is beside it: a chat state, for one, is not to be told later."""
    parts = parts_of(stanza)
    return parts.with_children(child for child in parts.children if (child.uri, child.name) in _KEPT)


# What the account tells itself (XEP-0490) -----------------------------------------------------------------------------


def subscription(jid: str) -> bytes:
    """Return the request to be told at an address of the account's (XEP-0060 §6.1), which needs no presence there."""
    return b"<pubsub xmlns='%b'><subscribe node='%b' jid='%b'/></pubsub>" % (NS_PUBSUB.encode(), MARK, escape(jid))


def told_by_client(stanza: Stanza) -> list[domish.Element]:
    """Return the items that a client's IQ publishes (XEP-0490 §3.2)."""
    if stanza.name != "iq" or stanza.get("type") != "set":
        return []
    return _items(child(stanza.payload(NS_PUBSUB, "pubsub"), NS_PUBSUB, "publish"))


def told_by_server(message: Stanza, jid: str) -> list[domish.Element]:
    """Return the items of which an event tells (XEP-0490 §3.3): nobody but the account of `jid` itself may tell it."""
    if message.name != "message" or whose(message.get("from"), jid) is not Whose.ACCOUNT:
        return []
    return _items(child(message.payload(NS_PUBSUB_EVENT, "event"), NS_PUBSUB_EVENT, "items"))


def answered(answer: Stanza) -> list[domish.Element]:
    """Return the items that the result of `ITEMS` has."""
    return _items(child(answer.payload(NS_PUBSUB, "pubsub"), NS_PUBSUB, "items"))


def of_rooms(items: Sequence[domish.Element]) -> list[Displayed]:
    """Return what items tell of rooms: the chat has given the id that is named; of contacts, the account gives it."""
    found = (_of_room(item) for item in items[-MAX_ITEMS:])
    return [one for one in found if one is not None]


def other_chats(items: Sequence[domish.Element]) -> list[str]:
    """Return the chats, by bare JID, of which items tell, but for what `of_rooms` returns."""
    found = []
    for item in items[:MAX_CHATS]:
        if _of_room(item) is not None:
            continue
        with suppress(InvalidJID):
            found.append(parse_jid(item.getAttribute("id", "")).bare)
    return found


def _items(node: domish.Element | None) -> list[domish.Element]:
    return list(node.elements(node.uri, "item")) if node is not None and node.getAttribute("node") == NS_MDS else []


def _of_room(item: domish.Element) -> Displayed | None:
    stanza_id = child(child(item, NS_MDS, "displayed"), NS_SID, "stanza-id")
    if stanza_id is None:
        return None
    named = stanza_id.getAttribute("id", "")
    try:
        room = parse_jid(item.getAttribute("id", ""))
        by = parse_jid(stanza_id.getAttribute("by", ""))
    except InvalidJID:
        return None
    if room != by or room.resource is not None or not 0 < len(named) <= MAX_ID:
        return None
    return Displayed(room.bare, named)
