"""Sessions that were bound before their account was enrolled: they are in rooms by themselves. No I/O."""

from __future__ import annotations

from minimixproxy.jids import Address, InvalidJID, parse_jid
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.namespaces import NS_MUC
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc

MOST_ROOMS = 1000  # of one session that are followed; of more, everything passes to its end


class DirectSessions:
    """While the account is not enrolled all that they say passes.

    Once it is enrolled, a session goes on as it is in the rooms that it is in by itself, until it leaves them. What it
    joins then, the account does.
    """

    def __init__(self) -> None:
        self._rooms: dict[SessionPort, set[str] | None] = {}  # those that it is in; None: there are too many

    def __len__(self) -> int:
        return len(self._rooms)

    def __contains__(self, session: object) -> bool:
        return session in self._rooms

    def add(self, session: SessionPort) -> None:
        """A session whose account is not enrolled."""
        self._rooms[session] = set()

    def remove(self, session: SessionPort) -> None:
        """It is gone, if it was one of these."""
        self._rooms.pop(session, None)

    def passes(self, session: SessionPort, stanza: Stanza, address: Address, *, enrolled: bool) -> bool:
        """Tell whether a directed stanza of a session's client passes, whatever it is. `enrolled`: the account now."""
        rooms = self._rooms[session]
        if rooms is None:
            return True
        room = address.bare
        if stanza.name == "presence":
            if stanza.get("type") == "unavailable" and room in rooms:
                rooms.discard(room)
                return True
            if not enrolled and address.resource is not None and _joins(stanza):
                rooms.add(room)
                if len(rooms) > MOST_ROOMS:
                    self._rooms[session] = None
        return not enrolled or room in rooms

    def gone_from_all(self, session: SessionPort) -> None:
        """A session is no longer available: it is in no room any more."""
        if self._rooms[session] is not None:
            self._rooms[session] = set()

    def heard(self, session: SessionPort, presence: Stanza) -> str | None:
        """The server has a presence for a session: return the room if it has removed it, or not let it in."""
        rooms = self._rooms[session]
        if not rooms or presence.get("type") not in ("unavailable", "error"):
            return None
        try:
            room = parse_jid(presence.get("from") or "").bare
        except InvalidJID:
            return None
        if room in rooms and (presence.get("type") == "error" or muc.SELF in muc.status_codes(presence)):
            rooms.discard(room)
            return room
        return None


def _joins(presence: Stanza) -> bool:
    if not presence.readable:
        return presence.get("type") is None and NS_MUC.encode() in presence.raw
    return muc.is_join(presence)
