"""Bookmarks on the wire: PEP items (XEP-0402) and the older storage in private XML (XEP-0048, XEP-0049). Pure.

What is changed keeps everything that is not known here: extensions, further attributes, other rooms, URLs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from twisted.words.xish import domish

from minimixproxy.jids import InvalidJID, parse_jid, prepare_resource
from minimixproxy.namespaces import NS_BOOKMARKS, NS_CLIENT, NS_PRIVATE, NS_PUBSUB, NS_PUBSUB_OWNER, NS_STORAGE
from minimixproxy.wire.stanza import Stanza, escape, parse_element, rewrite, serialize
from minimixproxy.wire.trees import child
from minimixproxy.xep.data_forms import submission

# Requests for everything there is.
ITEMS = b"<pubsub xmlns='%b'><items node='%b'/></pubsub>" % (NS_PUBSUB.encode(), NS_BOOKMARKS.encode())
STORAGE = b"<query xmlns='%b'><storage xmlns='%b'/></query>" % (NS_PRIVATE.encode(), NS_STORAGE.encode())

# XEP-0402 §5: what the node has to be like, so that nobody else sees it and no bookmark pushes out another.
_OPTIONS = {
    "persist_items": "true",
    "max_items": "max",
    "send_last_published_item": "never",
    "access_model": "whitelist",
}


@dataclass(frozen=True, slots=True)
class Bookmark:
    """One room. `written_as`: its address as the bookmark spells it. `xml`: the `<conference/>`, whole."""

    room: str
    autojoin: bool
    nick: str | None
    password: str | None = field(repr=False)
    written_as: str
    xml: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bookmarks:
    """All that was found in one place, by room, in its order.

    `unreadable`: addresses of bookmarks that make no sense here. `storage`: all of the private XML, None for PEP.
    """

    rooms: Mapping[str, Bookmark]
    unreadable: frozenset[str] = frozenset()
    storage: bytes | None = field(default=None, repr=False)


class Unreadable(ValueError):
    """A bookmark that makes no sense. `str()` says why."""


# Reading -------------------------------------------------------------------------------------------------------------


def read_items(answer: Stanza) -> Bookmarks:
    """Return what the result of `ITEMS` holds (XEP-0402 §3)."""
    pubsub = answer.payload(NS_PUBSUB, "pubsub")
    items = child(pubsub, NS_PUBSUB, "items")
    pairs = []
    for item in items.elements(NS_PUBSUB, "item") if items is not None else ():
        conference = child(item, NS_BOOKMARKS, "conference")
        pairs.append((item.getAttribute("id", ""), conference))
    return _bookmarks(pairs)


def read_storage(answer: Stanza) -> Bookmarks:
    """Return what the result of `STORAGE` holds (XEP-0048 §3, XEP-0049)."""
    query = answer.payload(NS_PRIVATE, "query")
    storage = child(query, NS_STORAGE, "storage")
    if storage is None:
        return Bookmarks({}, storage=_EMPTY_STORAGE)
    pairs = [(conference.getAttribute("jid", ""), conference) for conference in _conferences(storage)]
    return replace(_bookmarks(pairs), storage=serialize(storage))


_EMPTY_STORAGE = b"<storage xmlns='%b'/>" % NS_STORAGE.encode()


def _conferences(storage: domish.Element) -> list[domish.Element]:
    return list(storage.elements(NS_STORAGE, "conference"))


def _bookmarks(pairs: Iterable[tuple[str, domish.Element | None]]) -> Bookmarks:
    rooms: dict[str, Bookmark] = {}
    unreadable: set[str] = set()
    for address, conference in pairs:
        try:
            bookmark = _bookmark(address, conference)
        except Unreadable:
            unreadable.add(address)
            continue
        # A room with two bookmarks is joined if one of them says so.
        if bookmark.room not in rooms or (bookmark.autojoin and not rooms[bookmark.room].autojoin):
            rooms[bookmark.room] = bookmark
    return Bookmarks(rooms, frozenset(unreadable))


def _bookmark(address: str, conference: domish.Element | None) -> Bookmark:
    if conference is None:
        raise Unreadable("no conference in it")
    return Bookmark(
        room_address(address),
        _boolean(conference.getAttribute("autojoin", "false")),
        _nick(_child(conference, "nick")),
        _child(conference, "password") or None,
        address,
        serialize(conference),
    )


def room_address(text: str) -> str:
    """Return the prepared address of a room. Raises `Unreadable` for what is none."""
    try:
        address = parse_jid(text)
    except InvalidJID as error:
        raise Unreadable(str(error)) from error
    if address.local is None or address.resource is not None:
        raise Unreadable(f"{text[:80]!r} is no room")
    return address.bare


def _boolean(text: str) -> bool:
    """XML Schema's boolean, which XEP-0048 and XEP-0402 name."""
    if text.strip() not in ("true", "1", "false", "0"):
        raise Unreadable(f"autojoin={text[:80]!r}")
    return text.strip() in ("true", "1")


def _child(conference: domish.Element, name: str) -> str | None:
    found = child(conference, conference.uri, name)
    return str(found) if found is not None else None


def _nick(text: str | None) -> str | None:
    """A nick that no room would take is no nick."""
    try:
        return text if text and prepare_resource(text) else None
    except InvalidJID:
        return None


# Writing -------------------------------------------------------------------------------------------------------------


def new_bookmark(room: str, nick: str) -> Bookmark:
    """Return a bookmark by which a room is joined at once."""
    return Bookmark(
        room,
        True,
        nick,
        None,
        room,
        b"<conference xmlns='%b' autojoin='true'><nick>%b</nick></conference>" % (NS_BOOKMARKS.encode(), escape(nick)),
    )


def with_autojoin(bookmark: Bookmark, autojoin: bool) -> Bookmark:
    """Return a bookmark that differs in this only."""
    return replace(bookmark, autojoin=autojoin, xml=rewrite(bookmark.xml, {"autojoin": _written(autojoin)}))


def _written(value: bool) -> str:
    return "true" if value else "false"


def publication(bookmark: Bookmark, *, options: bool) -> bytes:
    """Return the request that writes a bookmark as a PEP item; `options`: only to a node as it has to be."""
    return b"<pubsub xmlns='%b'><publish node='%b'><item id='%b'>%b</item></publish>%b</pubsub>" % (
        NS_PUBSUB.encode(),
        NS_BOOKMARKS.encode(),
        escape(bookmark.written_as),
        bookmark.xml,
        b"<publish-options>%b</publish-options>" % _form("publish-options") if options else b"",
    )


def creation() -> bytes:
    """Return the request that makes the PEP node as it has to be."""
    return b"<pubsub xmlns='%b'><create node='%b'/><configure>%b</configure></pubsub>" % (
        NS_PUBSUB.encode(),
        NS_BOOKMARKS.encode(),
        _form("node_config"),
    )


def configuration() -> bytes:
    """Return the request that makes a PEP node that is there what it has to be."""
    return b"<pubsub xmlns='%b'><configure node='%b'>%b</configure></pubsub>" % (
        NS_PUBSUB_OWNER.encode(),
        NS_BOOKMARKS.encode(),
        _form("node_config"),
    )


def _form(kind: str) -> bytes:
    return submission(f"{NS_PUBSUB}#{kind}", {f"pubsub#{name}": value for name, value in _OPTIONS.items()})


def storage_request(storage: bytes) -> bytes:
    """Return the request that writes all of the private XML."""
    return b"<query xmlns='%b'>%b</query>" % (NS_PRIVATE.encode(), storage)


def storage_with(storage: bytes, bookmark: Bookmark) -> bytes:
    """Return private XML where a room has the autojoin of `bookmark`, or is added with it and the nick."""
    element = parse_element(storage, {"": NS_CLIENT})
    found = False
    for conference in _conferences(element):
        if _is_of(conference, bookmark.room):
            found = True
            conference["autojoin"] = _written(bookmark.autojoin)
    if not found:
        added = element.addElement((NS_STORAGE, "conference"))
        added["jid"], added["autojoin"] = bookmark.room, _written(bookmark.autojoin)
        if bookmark.nick is not None:
            added.addElement("nick", content=bookmark.nick)
    return serialize(element)


def _is_of(conference: domish.Element, room: str) -> bool:
    try:
        return room_address(conference.getAttribute("jid", "")) == room
    except Unreadable:
        return False
