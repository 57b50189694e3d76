"""What changed in a room while the account was out of it, as the room would have shown it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from minimixproxy.jids import prepare_resource
from minimixproxy.minimix.room.snapshot import Snapshot, presence_for
from minimixproxy.namespaces import NS_CLIENT, NS_DELAY, NS_MUC_USER
from minimixproxy.safety_net import NET
from minimixproxy.wire.children import children_of, first_of, sole_text
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza, escape, parse_stanza, serialize, start_tag_end
from minimixproxy.xep import muc

MAX_COMPARED = 16 * 1024  # bytes of a presence that is looked into ...
ALL_COMPARED = 256 * 1024  # ... and of all together
_ANNOUNCED = {muc.LOGGED: ("170", "171"), muc.NON_ANONYMOUS: ("172", "173")}  # switched on, off


class Difference:
    """The stanzas by which a session that saw `before` comes to see `after` (XEP-0045 §7.4 and following).

    First who left, then who came or changed, then the account itself, then the room's configuration. Addressed to
    nobody. The views are taken as they are now; the stanzas are made when they are asked for, since a room may have
    tens of thousands of occupants.
    """

    def __init__(self, before: Snapshot, after: Snapshot, nick_before: str, nick: str) -> None:
        self._room = before.room
        self._occupants_before, self._occupants = before.occupants.copy(), after.occupants.copy()
        self._own_before, self._own = before.self_presence, after.self_presence
        self._of_room_before, self._of_room = before.room_presence, after.room_presence
        self._codes_before, self._codes = before.codes, after.codes
        self._nick_before, self._nick = nick_before, nick
        self._changed: list[str] | None = None  # who came or changed

    def __len__(self) -> int:
        """How many stanzas there are at most."""
        return len(self._occupants_before) + len(self._occupants) + 4

    def to(self, session_jid: str, stream_jid: str) -> LazyStanzas:
        """Return the stanzas addressed to a session; where the room names the account stream, they name the session.

        One that cannot be made is left out.
        """

        def stanzas() -> Iterator[bytes]:
            for raw in self:
                yield from self._made(raw, lambda raw: presence_for(parse_stanza(raw), session_jid, stream_jid))

        return LazyStanzas(len(self), stanzas())

    def __iter__(self) -> Iterator[bytes]:
        nick = prepare_resource(self._nick)
        renamed = prepare_resource(self._nick_before) != nick
        for key, raw in self._occupants_before.items():
            if key not in self._occupants and key != nick:
                yield from self._made(raw, _gone)
        if renamed and (own := self._own_before) is not None:
            former_nick = f"{self._room}/{self._nick_before}"
            yield from self._made(own.raw, lambda _raw: gone(own, former_nick, self._nick).raw)
        if self._changed is None:
            self._changed = list(_changes(self._occupants_before, self._occupants))
        yield from (self._occupants[key] for key in self._changed)
        of_room, former = self._of_room, self._of_room_before
        if of_room is not None and not _same(former.raw if former is not None else None, of_room.raw):
            yield of_room.raw
        if (presence := self._own) is not None:
            yield from self._made(presence.raw, lambda _raw: self._own_shown(presence))
        codes = [_ANNOUNCED[code][code not in self._codes] for code in sorted(self._codes_before ^ self._codes)]
        if codes:
            yield _announcement(self._room, codes).raw

    def _made(self, raw: bytes, make: Callable[[bytes], bytes]) -> Iterator[bytes]:
        try:
            made = make(raw)
        except Exception as error:  # noqa: BLE001 (whatever is wrong with one, the session gets the others)
            NET.unshown(raw, "a presence", self._room, error)
        else:
            if made:
                yield made

    def _own_shown(self, presence: Stanza) -> bytes:
        """Return the account's own presence, b"" if nothing in it is news."""
        before = self._own_before
        if self._nick_before != self._nick or before is None or _standing(before) != _standing(presence):
            return muc.with_status_codes(presence, {muc.SELF})
        return b""


def subject_of(view: Snapshot) -> tuple[bytes, str]:
    """Return how the subject reads, as it is written, and who set it; nothing if there is none.

    It takes no tree: occupants may set one of ten thousand elements, and all accounts come back at once.
    """
    message = view.subject
    if message is None:
        return b"", ""
    text = sole_text(message.raw, b"subject")
    if text is None:
        subject = first_of(children_of(message), NS_CLIENT, "subject")
        text = subject.raw[start_tag_end(subject.raw) :] if subject is not None else b""
    return text, message.get("from", "") or ""


def _standing(presence: Stanza) -> tuple[str | None, str | None]:
    item = muc.item_of(presence)
    return (item.getAttribute("affiliation"), item.getAttribute("role")) if item is not None else (None, None)


def _changes(before: dict[str, bytes], after: dict[str, bytes]) -> Iterator[str]:
    """Yield who is shown otherwise than before. When enough was looked into, what reads otherwise is otherwise."""
    left = ALL_COMPARED
    for key, raw in after.items():
        former = before.get(key)
        if former is None or not _reads_alike(former, raw):
            if former is not None and left > 0:
                left -= len(former) + len(raw)
                if _same(former, raw):
                    continue
            yield key


def _reads_alike(before: bytes, after: bytes) -> bool:
    return before == after or before[start_tag_end(before) :] == after[start_tag_end(after) :]


def _same(before: bytes | None, after: bytes) -> bool:
    """Tell whether two presences show the same; where that would take too long, they do not."""
    if before is None:
        return False
    if _reads_alike(before, after):
        return True
    try:
        return max(len(before), len(after)) <= MAX_COMPARED and _content(before) == _content(after)
    except ValueError:  # what cannot be read is left out when it is to be shown
        return False


def _content(presence: bytes) -> str:
    """What a presence shows, whoever it is addressed to and whenever it was sent."""
    return "".join(
        serialize(child).decode() if not isinstance(child, str) else child.strip()
        for child in parse_stanza(presence).element.children
        if isinstance(child, str) or child.uri != NS_DELAY
    )


def _gone(raw: bytes) -> bytes:
    presence = parse_stanza(raw)
    return gone(presence, presence["from"]).raw


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
        % (escape(occupant), NS_MUC_USER.encode(), written, codes, muc.occupant_id_of(shown))
    )


def _announcement(room: str, codes: list[str]) -> Stanza:
    """Return the message by which a room tells of a change of its configuration (XEP-0045 §10.2.1)."""
    statuses = b"".join(b"<status code='%b'/>" % code.encode() for code in codes)
    return parse_stanza(
        b"<message type='groupchat' from='%b'><x xmlns='%b'>%b</x></message>"
        % (escape(room), NS_MUC_USER.encode(), statuses)
    )
