"""What a room has shown the account, and how it is shown again to a session that joins later. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from hashlib import sha256

from minimixproxy.jids import prepare_resource
from minimixproxy.lazystanzas import LazyStanzas
from minimixproxy.log import Logger
from minimixproxy.minimix import muc
from minimixproxy.minimix.addresses import AddressTemplate, may_name
from minimixproxy.minimix.replay import Replay
from minimixproxy.stanza import NS_CLIENT, ForkTemplate, Stanza, escape, rewrite

# What a change of the room's configuration says, and which lasting status code that switches on or off.
_SWITCHES = {
    "170": (muc.LOGGED, True),
    "171": (muc.LOGGED, False),
    "172": (muc.NON_ANONYMOUS, True),
    "173": (muc.NON_ANONYMOUS, False),
}


class RoomView:
    """Occupants, own presence, subject and lasting status codes of one room."""

    log = Logger()

    def __init__(self, room: str, max_occupants: int) -> None:
        self.room = room
        self.self_presence: Stanza | None = None
        self.subject: Stanza | None = None
        self.created = False  # by our join, and not yet told to anyone
        self.codes: frozenset[str] = frozenset()
        self.occupants: dict[str, Stanza] = {}  # by prepared nick, in order of arrival
        self.room_presence: Stanza | None = None
        self._max_occupants = max_occupants

    def __contains__(self, nick: str) -> bool:
        """Tell whether an occupant of that nick has been shown."""
        return prepare_resource(nick) in self.occupants

    def entered(self, presence: Stanza) -> None:
        """Take the self-presence that answers the join."""
        codes = muc.status_codes(presence)
        self.codes = codes & {muc.NON_ANONYMOUS, muc.LOGGED}
        self.created = muc.CREATED in codes
        self.self_presence = presence

    def occupant_shown(self, nick: str, presence: Stanza) -> None:
        """Remember another occupant's presence; beyond the bound, it is forked but not remembered."""
        key = prepare_resource(nick)
        if key not in self.occupants and len(self.occupants) >= self._max_occupants:
            self.log.warn("more than {limit} occupants in {room}", limit=self._max_occupants, room=self.room)
            return
        self.occupants[key] = presence

    def occupant_gone(self, nick: str) -> Stanza | None:
        """Forget an occupant; return the presence that it was shown by."""
        return self.occupants.pop(prepare_resource(nick), None)

    def room_shown(self, presence: Stanza) -> None:
        """Remember what the room's bare JID shows of itself, its avatar for one."""
        self.room_presence = presence

    def message_seen(self, message: Stanza) -> None:
        """Take the subject, and changes of what the lasting status codes say, from a groupchat message.

        Whoever sets the subject may be named as its sender: servers check the permission (XEP-0045 §8.1).
        """
        if muc.is_subject(message):
            self.subject = message
        else:
            for code in muc.configuration_codes(message):
                lasting, on = _SWITCHES.get(code, ("", False))
                self.codes = self.codes | {lasting} if on else self.codes - {lasting}

    def presence_for(self, presence: Stanza, session_jid: str, stream_jid: str) -> bytes:
        """Return a copy of a presence; where the room names the account stream in it, it names the session."""
        if not may_name(presence, stream_jid):
            return ForkTemplate(presence.self_contained()).copy(session_jid)
        return rewrite(AddressTemplate(presence, stream_jid).copy(session_jid), {"to": session_jid})

    def replay(
        self, session_jid: str, stream_jid: str, join_id: str | None, codes: Collection[str], history: Replay
    ) -> LazyStanzas:
        """Return all that a room shows now to one who joins, in its order (XEP-0045 §7.1).

        Other occupants, the self-presence with `codes` beside the lasting ones, `history`, the subject.
        """
        others = list(self._others())
        own = self.reflection(session_jid, stream_jid, join_id, {*self.codes, *codes})
        subject = self._subject_for(session_jid)

        def stanzas() -> Iterator[bytes]:
            for stanza in others:
                try:
                    raw = self.presence_for(stanza, session_jid, stream_jid)
                except Exception as error:  # noqa: BLE001 (whatever is wrong with one, the session gets the others)
                    self._leave_out(stanza, error)
                else:
                    yield raw
            yield own
            yield from history.to(session_jid)
            yield subject

        return LazyStanzas(len(others) + len(history) + 2, stanzas())

    def _leave_out(self, presence: Stanza, error: Exception) -> None:
        self.log.error(
            "{room}: a presence cannot be shown: {error} ({size} bytes, SHA-256 {hash})",
            room=self.room,
            error=f"{type(error).__name__}: {error}",
            size=len(presence.raw),
            hash=sha256(presence.raw).hexdigest(),
        )

    def _others(self) -> Iterator[Stanza]:
        if self.room_presence is not None:
            yield self.room_presence
        yield from self.occupants.values()

    def reflection(self, session_jid: str, stream_jid: str, stanza_id: str | None, codes: Collection[str]) -> bytes:
        """Return the account's own presence as the answer to a session's, with 110 and `codes`."""
        assert self.self_presence is not None
        stanza = self.self_presence
        raw = muc.with_status_codes(stanza, {muc.SELF, *codes})
        shown = Stanza(raw, stanza.uri, stanza.name, stanza.attributes, None, {"": NS_CLIENT})
        return rewrite(self.presence_for(shown, session_jid, stream_jid), {"id": stanza_id})

    def _subject_for(self, session_jid: str) -> bytes:
        if self.subject is not None:
            return ForkTemplate(self.subject.self_contained()).copy(session_jid)
        return b"<message type='groupchat' from='%b' to='%b'><subject/></message>" % (
            escape(self.room),
            escape(session_jid),
        )
