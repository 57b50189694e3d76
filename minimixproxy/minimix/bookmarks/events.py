"""What clients write and servers tell of bookmarks: signs that they may have changed. Pure."""

from __future__ import annotations

from twisted.words.xish import domish

from minimixproxy.jids import Whose, whose
from minimixproxy.namespaces import (
    NS_BOOKMARKS,
    NS_DELAY,
    NS_PRIVATE,
    NS_PUBSUB,
    NS_PUBSUB_EVENT,
    NS_PUBSUB_OWNER,
    NS_STORAGE,
)
from minimixproxy.wire.stanza import MalformedStanza, Stanza
from minimixproxy.xep.bookmarks import Unreadable, room_address

#: In every stanza that tells of bookmarks.
MARK = b":bookmarks"
#: Of what a server tells each session: with more it is a sign that something was written, whatever that is.
MOST_TAGS = 1000

_NODES = frozenset({NS_BOOKMARKS, NS_STORAGE})


def written_by_client(stanza: Stanza) -> frozenset[str] | None:
    """Return None if a client's stanza has nothing to do with bookmarks, else the rooms whose items it writes."""
    if stanza.name != "iq" or MARK not in stanza.raw or stanza.get("type") != "set":
        return None
    try:
        query = stanza.payload(NS_PRIVATE, "query")
        pubsub = stanza.payload(NS_PUBSUB, "pubsub") or stanza.payload(NS_PUBSUB_OWNER, "pubsub")
    except MalformedStanza:
        return None  # the server is to say so
    if query is not None:
        return frozenset() if any(query.elements(NS_STORAGE, "storage")) else None
    return _written_items(pubsub) if pubsub is not None else None


def told_by_server(stanza: Stanza, bare: str) -> frozenset[str] | None:
    """Return None if a stanza from the server has nothing to do with bookmarks of `bare`, else the rooms written anew.

    It costs no more than a search, unless it has.
    """
    if MARK not in stanza.raw or stanza.name != "message" or whose(stanza.get("from"), bare) is not Whose.ACCOUNT:
        return None
    try:
        if stanza.raw.count(b"<") > MOST_TAGS:
            return frozenset() if stanza.has_payload(NS_PUBSUB_EVENT, "event") else None
        event = stanza.payload(NS_PUBSUB_EVENT, "event")
        if event is None:
            return None
        # The last item that a server shows whoever comes is not news.
        old = stanza.has_payload(NS_DELAY, "delay")
    except MalformedStanza:
        return None
    rooms = _written_items(event)
    return frozenset() if old and rooms is not None else rooms


def _written_items(container: domish.Element) -> frozenset[str] | None:
    """Return the rooms of the items in the child that names a node of bookmarks; None if there is none."""
    node = next((child for child in container.elements() if child.getAttribute("node") in _NODES), None)
    if node is None:
        return None
    rooms = set()
    for item in node.elements(node.uri, "item"):
        try:
            rooms.add(room_address(item.getAttribute("id", "")))
        except Unreadable:
            continue  # the reading says so
    return frozenset(rooms)
