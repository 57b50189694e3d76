"""What changed in a room while the account was out of it, as the room would have shown it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from minimixproxy.jids import prepare_resource
from minimixproxy.minimix import muc
from minimixproxy.minimix.roomview import RoomView
from minimixproxy.stanza import NS_CLIENT, Stanza, escape, parse_stanza, serialize, start_tag_end

MAX_COMPARED = 16 * 1024  # bytes of a presence that is looked into
_ANNOUNCED = {muc.LOGGED: ("170", "171"), muc.NON_ANONYMOUS: ("172", "173")}  # switched on, off


def difference(before: RoomView, after: RoomView, nick_before: str, nick: str) -> Iterator[Stanza]:
    """Yield the stanzas by which a session that saw `before` comes to see `after` (XEP-0045 §7.4 and following).

    First who left, then who came or changed, then the account itself, then the room's configuration. Addressed to
    nobody.
    """
    for key, raw in before.occupants.items():
        if key not in after.occupants and key != prepare_resource(nick):
            presence = parse_stanza(raw)
            yield gone(presence, presence["from"])
    if prepare_resource(nick_before) != prepare_resource(nick) and before.self_presence is not None:
        yield gone(before.self_presence, f"{before.room}/{nick_before}", nick)
    for key, raw in after.occupants.items():
        if not _same(before.occupants.get(key), raw):
            yield parse_stanza(raw)
    of_room, former = after.room_presence, before.room_presence
    if of_room is not None and not _same(former.raw if former is not None else None, of_room.raw):
        yield of_room
    yield from _own(before, after, nick_before != nick)
    codes = [_ANNOUNCED[code][code not in after.codes] for code in sorted(before.codes ^ after.codes)]
    if codes:
        yield _announcement(before.room, codes)


def subject_of(view: RoomView) -> tuple[str, str]:
    """Return how the subject reads, and who set it; both "" if there is none."""
    if view.subject is None:
        return "", ""
    subject = view.subject.payload(NS_CLIENT, "subject")
    return str(subject) if subject is not None else "", view.subject.get("from", "") or ""


def _own(before: RoomView, after: RoomView, renamed: bool) -> Iterator[Stanza]:
    presence = after.self_presence
    if presence is None:
        return
    if renamed or before.self_presence is None or _standing(before.self_presence) != _standing(presence):
        yield presence.with_bytes(muc.with_status_codes(presence, {muc.SELF}))


def _standing(presence: Stanza) -> tuple[str | None, str | None]:
    item = muc.item_of(presence)
    return (item.getAttribute("affiliation"), item.getAttribute("role")) if item is not None else (None, None)


def _same(before: bytes | None, after: bytes) -> bool:
    """Tell whether two presences show the same; where that would take too long, they do not."""
    if before is None:
        return False
    if before[start_tag_end(before) :] == after[start_tag_end(after) :]:
        return True
    return max(len(before), len(after)) <= MAX_COMPARED and _content(before) == _content(after)


def _content(presence: bytes) -> str:
    """What a presence shows, whoever it is addressed to and whenever it was sent."""
    return "".join(
        serialize(child).decode() if not isinstance(child, str) else child.strip()
        for child in parse_stanza(presence).element.children
        if isinstance(child, str) or child.uri != muc.NS_DELAY
    )


def gone(shown: Stanza, occupant: str, new_nick: str | None = None) -> Stanza:
    """Return the presence of an occupant who left, or who has another nick now (303)."""
    item = muc.item_of(shown)
    attributes = {
        "affiliation": item.getAttribute("affiliation", "none") if item is not None else "none",
        "role": "none" if new_nick is None or item is None else item.getAttribute("role", "none"),
    }
    jid = muc.address_of(shown)
    if jid is not None:
        attributes["jid"] = jid
    if new_nick is not None:
        attributes["nick"] = new_nick
    written = b"".join(b" %b='%b'" % (name.encode(), escape(value)) for name, value in attributes.items())
    codes = b"<status code='303'/><status code='110'/>" if new_nick is not None else b""
    return parse_stanza(
        b"<presence type='unavailable' from='%b'><x xmlns='%b'><item%b/>%b</x>%b</presence>"
        % (escape(occupant), muc.NS_MUC_USER.encode(), written, codes, muc.occupant_id_of(shown))
    )


def _announcement(room: str, codes: list[str]) -> Stanza:
    """Return the message by which a room tells of a change of its configuration (XEP-0045 §10.2.1)."""
    statuses = b"".join(b"<status code='%b'/>" % code.encode() for code in codes)
    return parse_stanza(
        b"<message type='groupchat' from='%b'><x xmlns='%b'>%b</x></message>"
        % (escape(room), muc.NS_MUC_USER.encode(), statuses)
    )
