"""How the account appears in one room: the most available session's presence, and the nick. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from twisted.words.xish import domish

from minimixproxy.jids import prepare_resource
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.room.attached_sessions import AttachedSessions
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.minimix.room.nick_changes import NickChanges
from minimixproxy.minimix.room.own_presence import away_payload, presence_to, reduced_payload
from minimixproxy.minimix.room.presence_updates import PresenceUpdates, digest
from minimixproxy.namespaces import NS_CLIENT
from minimixproxy.timing.clock import Timer
from minimixproxy.wire.stanza import Stanza, parse_element

REGAIN = 60.0  # seconds between two attempts to get the wished nick back ...
AGAIN = 1.0  # ... and if the room says that it is free


class Appearance:
    """What one room is shown of the account, while `visible`: in the room, and not about to leave.

    `nick` is the one in use, `wished_nick` the one that it should be: asked for again while somebody else has it.
    """

    __slots__ = (
        "_asked",
        "_asked_texts",
        "_caps",
        "_changes",
        "_clock",
        "_outlet",
        "_presence",
        "_regain",
        "_settings",
        "_too_large",
        "_visible",
        "attached",
        "nick",
        "room",
        "wished_nick",
    )

    def __init__(self, context: RoomContext, attached: AttachedSessions, visible: Callable[[], bool]) -> None:
        room, outlet, clock = context.room, context.outlet, context.clock
        self.nick = ""
        self.wished_nick = ""
        self.room = room
        self._outlet = outlet
        self._settings = context.settings
        self._caps = context.caps
        self.attached = attached
        self._visible = visible
        self._presence = PresenceUpdates(outlet.send_to_room, lambda: (room, self.nick), clock)
        self._changes = NickChanges(room, clock, outlet.client_budget, self._nick_not_taken)
        self._clock = clock
        self._regain = Timer(clock)
        self._asked = 0.0  # when the wished nick was asked for last
        self._too_large: bytes | None = None  # digest of what cannot be sent
        self._asked_texts: list[bytes] = []  # of what was sent with a change of nick

    # Presence --------------------------------------------------------------------------------------------------

    def best(self) -> bytes:
        """Return the presence to show now, as a payload: with no session attached, "away"."""
        payload = self.attached.presence()
        if payload is None:
            return away_payload(self._settings.away, self._caps)
        fits = len(payload) <= self._outlet.presence_limit
        if fits and (self._too_large is None or digest(payload) != self._too_large):
            return payload
        return reduced_payload(payload, self._caps)

    def too_large(self) -> None:
        """What is shown cannot be sent: less from now on, until something else is to be shown."""
        payload = self.attached.presence()
        self._too_large = digest(payload) if payload is not None else None
        self.refresh()

    def joined_with(self, payload: bytes) -> None:
        """The join itself shows this."""
        self._presence.joined_with(payload)

    def refresh(self, stanza_id: str | None = None) -> bool:
        """Show the room the best presence; False when it sees that already."""
        return self._visible() and self._presence.show(self.best(), stanza_id)

    def stop(self) -> None:
        """Out of the room: show nothing, ask for nothing."""
        self._presence.stop()
        self._regain.stop()
        self._changes.refuse_all()

    # Nick ------------------------------------------------------------------------------------------------------

    def is_nick(self, nick: str) -> bool:
        """Tell whether a nick is the account's, after preparation."""
        return prepare_resource(nick) == prepare_resource(self.nick)

    def named(self, nick: str, wished: str | None = None) -> None:
        """The account has this nick, or asks for it; `wished`: from now on, that is the one to have."""
        self.nick = nick
        if wished is not None:
            self.wished_nick = wished

    def wish_for(self, nick: str) -> None:
        """From now on, this nick is the one to have."""
        self.wished_nick = nick

    def change_nick(self, session: SessionPort, nick: str, stanza_id: str | None) -> None:
        """A session wants the account to have another nick: the room decides."""
        if self._changes.asked(session, nick, stanza_id):
            self._ask_nick(nick, stanza_id)

    def _ask_nick(self, nick: str, stanza_id: str | None = None) -> None:
        """Ask the room for a nick; most are shown the best presence thereby, and need no other."""
        payload = self.best()
        self._presence.shown_with_a_nick(payload)
        if self._presence.with_a_nick is not None:
            self._asked_texts = _texts(parse_element(b"<presence>%b</presence>" % payload, {"": NS_CLIENT}))
        self._outlet.send_to_room(presence_to(self.room, nick, payload, stanza_id))

    def nick_refused(self, nick: str) -> tuple[SessionPort, str | None] | None:
        """The room does not give a nick: return who asked for it, with the id of the request, or None."""
        self._nick_not_taken()
        return self._changes.refused(nick)

    def _nick_not_taken(self) -> None:
        """The room shows nothing of what came with a change of nick."""
        self._presence.nick_answered(taken=False)
        self.refresh()

    def nick_changed(self, nick: str) -> None:
        """The room has given the account another nick: if a session wanted it, that is the one to have from now on."""
        if self._changes.given(nick):
            self.wished_nick = nick
        self.nick = nick
        self.seek_wished_nick()

    def own_shown(self, presence: Stanza) -> None:
        """The room shows the account. With a new nick, ejabberd does not take what else came with it."""
        if self._presence.with_a_nick is not None:
            self._presence.nick_answered(taken=self._asked_texts == _texts(presence.element))
            self.refresh()

    def seek_wished_nick(self) -> None:
        """With a nick that was only a way out, ask for the wished one from time to time."""
        if self.is_nick(self.wished_nick):
            self._regain.stop()
        elif not self._regain.running:
            self._regain.start(REGAIN, self._ask_wished_nick)

    def occupant_gone(self, nick: str) -> None:
        """Somebody's nick is free: it may be the wished one."""
        if not self._regain.running or prepare_resource(nick) != prepare_resource(self.wished_nick):
            return
        wait = self._asked + AGAIN - self._clock.seconds()
        if wait > 0:
            self._regain.start(wait, self._ask_wished_nick)
        else:
            self._ask_wished_nick()

    def _ask_wished_nick(self) -> None:
        self._regain.stop()
        if not self._visible():
            return
        self._asked = self._clock.seconds()
        self._ask_nick(self.wished_nick)
        self._regain.start(REGAIN, self._ask_wished_nick)

    def forget(self, session: SessionPort) -> None:
        """The session is gone: nobody waits for its answers."""
        self._changes.forget(session)


def _texts(presence: domish.Element) -> list[bytes]:
    """Return digests of show and status."""
    return [digest(str(child).encode()) for name in ("show", "status") for child in presence.elements(NS_CLIENT, name)]
