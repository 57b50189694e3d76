"""Who said a message of a room, and whether that is the occupant who now wants to change it. Pure.

By the occupant-id (XEP-0421) if the room gives one, else by the nick. A room that gives none lets its occupants write
whatever they like there.
"""

from __future__ import annotations

from minimixproxy.minimix.history.message_index import OCCUPANT, occupant_of_bytes
from minimixproxy.minimix.history.nick_tenure import NickTenure
from minimixproxy.namespaces import NS_OCCUPANT_ID
from minimixproxy.wire.children import payload_attributes, stanza_of_bytes, top_attribute
from minimixproxy.wire.stanza import MalformedStanza, Stanza

#: Bytes and tags of a kept message that is read to find out who said it: of all of them, each time that anybody who is
#: in the room takes it back, or seems to.
LARGEST, MOST_TAGS = 64 * 1024, 400


class Senders:
    """Of one room. A sender is an occupant-id, marked as such, or the address of an occupant."""

    __slots__ = ("_nicks", "_own", "gives_ids")

    def __init__(self) -> None:
        self.gives_ids = False  # the room gives every occupant an id, and lets nobody else write one
        self._own: str | None = None  # the account's, if the room gives it one
        self._nicks = NickTenure()

    def entered(self, own_presence: Stanza) -> None:
        """The room has shown the account its own presence. The account writes no occupant-id: who does, is the room."""
        ids = payload_attributes(own_presence, NS_OCCUPANT_ID, "occupant-id")
        self.gives_ids = bool(ids)
        self._own = ids[0].get("id") if ids else None

    def is_own(self, stanza: Stanza) -> bool | None:
        """Tell whether the account said a message, by its occupant-id; None if that says nothing."""
        if self._own is None:
            return None
        ids = payload_attributes(stanza, NS_OCCUPANT_ID, "occupant-id")
        return ids[0].get("id") == self._own if len(ids) == 1 else None

    def watch(self, newest: int) -> None:
        """From now on the account sees who leaves; `newest` is the sequence of the last message."""
        self._nicks.watch(newest)

    def lose_sight(self) -> None:
        """The account is not in the room, or not in step with it."""
        self._nicks.lose_sight()

    def rules_changed(self) -> None:
        """The room's configuration is another: it may not show any more who leaves."""
        self._nicks.rules_changed()

    def shown(self, occupant: str, newest: int) -> None:
        """The room shows an occupant; `newest` is the sequence of the last message."""
        self._nicks.shown(occupant, newest)

    def left(self, occupant: str) -> None:
        """An occupant left, or took another nick."""
        self._nicks.left(occupant)

    def sender_of(self, stanza: Stanza) -> str | None:
        """Return who said a message; None if that cannot be known."""
        if self.gives_ids:
            ids = payload_attributes(stanza, NS_OCCUPANT_ID, "occupant-id")
            if ids:
                return OCCUPANT + ids[0]["id"] if len(ids) == 1 and ids[0].get("id") else None
        return stanza.get("from")

    def sender_of_bytes(self, raw: bytes) -> str | None:
        """Return the same of a message that is kept; None, too, where it takes too long to tell."""
        try:
            if not self.gives_ids or b"occupant-id" not in raw:
                return top_attribute(raw, "from")
            if len(raw) <= LARGEST and raw.count(b"<") <= MOST_TAGS:
                return self.sender_of(stanza_of_bytes(raw))
            occupant = occupant_of_bytes(raw)
        except MalformedStanza:
            return None
        return OCCUPANT + occupant if occupant else None

    def is_certain(self, sender: str | None, sequence: int, *, past: bool) -> bool:
        """Tell whether that sender of a message is the one who says something now, or at a time in the past."""
        if sender is None:
            return False
        if sender.startswith(OCCUPANT):
            return True
        return not past and self._nicks.is_of_present(sender, sequence)
