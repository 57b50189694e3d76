"""One account's being in one room: joined once, shown to many sessions (XEP-0045). No I/O.

The lifecycle, all of it:

    JOINING --own presence, then the subject--> JOINED --leave--> LEAVING --own unavailable--> ENDED
    JOINING --error, time-out--> ENDED          JOINED --removal, stream lost--> ENDED

Sessions that join while JOINING wait and are given the replay at JOINED. Those that join while LEAVING are
handed to the next occupancy of the room.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from twisted.logger import Logger

from minimixproxy.clock import Clock, Timer
from minimixproxy.config import Rooms
from minimixproxy.jids import parse_jid, prepare_resource
from minimixproxy.minimix import muc
from minimixproxy.minimix.attached import Attached
from minimixproxy.minimix.delays import with_delay
from minimixproxy.minimix.history import History, Taken
from minimixproxy.minimix.joins import JoinRequest, WaitingJoins, join_request
from minimixproxy.minimix.journal import RoomJournal
from minimixproxy.minimix.neighbours import as_before
from minimixproxy.minimix.nickchanges import NickChanges
from minimixproxy.minimix.ports import RoomOutlet, SessionPort
from minimixproxy.minimix.presence import away_payload, join_presence, presence_payload, presence_to
from minimixproxy.minimix.relayed import relayed
from minimixproxy.minimix.roompresence import RoomPresence
from minimixproxy.minimix.roomview import RoomView
from minimixproxy.stanza import ForkTemplate, Stanza, error_payload, rewrite

JOIN_TIMEOUT = 60.0  # seconds for a room to answer a join
SUBJECT_TIMEOUT = 5.0  # seconds from the own presence to the subject that ends the join
LEAVE_TIMEOUT = 10.0  # seconds for a room to confirm a leave
MAX_HELD = 100  # private messages kept while no session is attached


class State(Enum):
    """Where an occupancy is in its life."""

    JOINING = "joining"
    JOINED = "joined"
    LEAVING = "leaving"
    ENDED = "ended"


class Occupancy:
    """The account in one room. `caps` is what its presence advertises (XEP-0115)."""

    log = Logger()

    def __init__(
        self, room: str, outlet: RoomOutlet, settings: Rooms, clock: Clock, caps: bytes, journal: RoomJournal
    ) -> None:
        self.room = room
        self.nick = ""
        self.state = State.JOINING
        self.attached = Attached(outlet, caps)
        self._waiting = WaitingJoins(room)
        self._next = WaitingJoins(room)
        self._joiner: JoinRequest | None = None  # the one whose join was sent
        self._outlet = outlet
        self._settings = settings
        self._clock = clock
        self._caps = caps
        self._view = RoomView(room, settings.max_occupants)
        self._history = History(room, settings, journal)
        self._nick_changes = NickChanges(clock)
        self._presence = RoomPresence(outlet.send_to_room, lambda: (self.room, self.nick), clock)
        self._held: deque[bytes] = deque(maxlen=MAX_HELD)
        self._fresh_until = 0.0
        self._timer = Timer(clock)  # of the present state
        self._grace = Timer(clock)
        self._candidate: SessionPort | None = None  # the session whose leave is in its grace

    # Sessions come ---------------------------------------------------------------------------------------------

    def join(self, session: SessionPort, nick: str, stanza: Stanza) -> None:
        """A session asks to join: it starts the join, waits for it, or is given a replay."""
        request = join_request(session, nick, stanza, self._clock.seconds())
        if self.state is State.LEAVING:
            self._next.add(request)
            return
        self._cancel_grace()
        if self.state is State.JOINED:
            self._attach(request)
            return
        self._waiting.add(request)
        if self._joiner is None:
            self._send_join(request)

    def take_next_joins(self) -> list[JoinRequest]:
        """Return, once, the sessions that asked to join while this occupancy was leaving."""
        return self._next.take()

    def _send_join(self, request: JoinRequest) -> None:
        self._joiner = request
        self.nick = request.nick
        self._timer.start(JOIN_TIMEOUT, self._join_timed_out)
        payload = presence_payload(request.stanza, self._caps)
        self._presence.joined_with(payload)
        occupant = f"{self.room}/{request.nick}"
        self._outlet.send_to_room(join_presence(request.stanza, payload, occupant, self._settings.history))

    def _join_timed_out(self) -> None:
        self._outlet.send_to_room(muc.unavailable(self.room, self.nick))
        self._waiting.refuse_all(error_payload("wait", "remote-server-timeout", "the room did not answer"))
        self._end()

    def _join_failed(self, stanza: Stanza) -> None:
        """The error is for those who asked for just this; then another may try."""
        assert self._joiner is not None
        self.log.info("join refused: {room}: {condition}", room=self.room, condition=muc.error_condition(stanza))
        other = self._waiting.refuse(self._joiner, stanza)
        if other is not None:
            self._send_join(other)
        else:
            self._end()

    def _complete(self) -> None:
        """The room has shown everything: now every waiting session is given its replay."""
        self._timer.stop()
        self.state = State.JOINED
        self.log.info("joined: {room} as {nick}", room=self.room, nick=self.nick)
        for request in self._waiting.take():
            self._attach(request)
        self._refresh_presence()

    def _attach(self, request: JoinRequest) -> None:
        """Show the room to a session as if it had joined just now, and attach it."""
        session = request.session
        first = request is self._joiner
        codes = set()
        if first and self._view.created:
            codes.add(muc.CREATED)
        if prepare_resource(request.nick) != prepare_resource(self.nick):
            codes.add(muc.NICK_MODIFIED)
        # A resync of an attached session has seen all, and is given what a newcomer gets.
        resource = "" if session in self.attached else _resource(session)
        history = list(self._history.select(request.wish, resource, self._clock.seconds(), everything=first))
        session.deliver(self._view.replay(session.jid, self._outlet.stream_jid, request.id, codes, history))
        self.attached.show(session, request.stanza)
        self._history.attached(_resource(session))
        while self._held:
            session.deliver(ForkTemplate(self._held.popleft()).copy(session.jid))
        self._refresh_presence()

    # Sessions go -----------------------------------------------------------------------------------------------

    def knows(self, session: SessionPort) -> bool:
        """Tell whether a session has joined, or waits to, from its own point of view."""
        return session in self.attached or session in self._waiting or session in self._next

    @property
    def client(self) -> SessionPort | None:
        """The session that stands for the account: the most recently active of those attached, or the first to wait."""
        session = self.attached.most_active()
        if session is not None:
            return session
        return self._joiner.session if self._joiner is not None and self._joiner.session in self._waiting else None

    def leave(self, session: SessionPort, stanza: Stanza) -> None:
        """A session leaves: it is told so at once; if it was the last, the account may follow.

        Several clients leave every room while they disconnect: the account leaves only if the session's stream is
        still open when the grace ends.
        """
        self._drop(session)
        session.deliver(self._removal(session, (muc.SELF,), stanza))
        if self.attached or self._waiting:
            self._refresh_presence()
        elif self.state in (State.JOINING, State.JOINED):
            self._candidate = session
            self._grace.start(self._settings.leave_grace, lambda: self.leave_room(stanza))

    def leave_room(self, request: Stanza | None = None) -> None:
        """The account leaves, with the status text of the client's own leave. Once is enough."""
        if self.state is State.LEAVING:
            return
        self.log.info("leaving: {room}", room=self.room)
        self.state = State.LEAVING
        self._cancel_grace()
        self._presence.stop()
        self._timer.start(LEAVE_TIMEOUT, self._end)
        self._outlet.send_to_room(muc.unavailable(self.room, self.nick, request))

    def _cancel_grace(self) -> None:
        self._grace.stop()
        self._candidate = None

    def detach(self, session: SessionPort) -> None:
        """A session is gone, or no longer available: the occupancy stays, even if the session just left."""
        if session is self._candidate:
            self._cancel_grace()
        elif not self.knows(session):
            return
        self._drop(session)
        self._refresh_presence()

    def _drop(self, session: SessionPort) -> None:
        self._nick_changes.forget(session)
        if session in self.attached:
            self.attached.remove(session)
            self._history.detached(_resource(session))
        self._waiting.drop(session)
        self._next.drop(session)

    def reject(self, session: SessionPort, stanza: Stanza) -> None:
        """A presence error from a session to its own occupant asks to be removed, as a bounce of its own presence.

        Alone, the account is taken out by the room; beside others, only this session is shown out.
        """
        if len(self.attached) == 1:
            self._outlet.send_to_room(relayed(stanza, session))
            return
        self._drop(session)
        session.deliver(self._removal(session, (muc.SELF, muc.KICKED, muc.TECHNICAL)))
        self._refresh_presence()

    def _removal(self, session: SessionPort, codes: tuple[str, ...], request: Stanza | None = None) -> bytes:
        occupant = f"{self.room}/{self.nick}"
        return muc.removal(occupant, session.jid, codes, self._view.self_presence, request)

    # What sessions say -----------------------------------------------------------------------------------------

    def presence_from_session(self, session: SessionPort, nick: str, stanza: Stanza) -> None:
        """An attached session directs a presence here: another nick is a change of nick, else show and status."""
        if session not in self.attached:
            return  # still waiting: its join says it
        self.attached.show(session, stanza)
        stanza_id = stanza.get("id")
        if prepare_resource(nick) != prepare_resource(self.nick):
            self._nick_changes.asked(session, nick, stanza_id)
            self._outlet.send_to_room(presence_to(self.room, nick, self._best_presence(), stanza_id))
        elif not self._refresh_presence(stanza_id):
            # The room sees no change, so only this client waits for its reflection.
            session.deliver(self._view.reflection(session.jid, self._outlet.stream_jid, stanza_id, ()))

    def broadcast_changed(self, session: SessionPort) -> None:
        """An attached session sent undirected presence: it counts from now on, here too."""
        if session in self.attached:
            self.attached.show(session, None)
            self._refresh_presence()

    def _refresh_presence(self, stanza_id: str | None = None) -> bool:
        """Show the room the most available session; False when it sees that already."""
        if self.state is not State.JOINED or self._grace.running:
            return False
        return self._presence.show(self._best_presence(), stanza_id)

    def _best_presence(self) -> bytes:
        return self.attached.presence() or away_payload(self._settings.away, self._caps)

    # What the room says ----------------------------------------------------------------------------------------

    @property
    def fresh(self) -> bool:
        """Whether traffic from the room proves that we are still in it."""
        return self.state is State.JOINED and self._clock.seconds() < self._fresh_until

    def confirmed(self) -> None:
        """The room has just shown that we are in it."""
        self._fresh_until = self._clock.seconds() + self._settings.fresh

    def presence_from_room(self, stanza: Stanza, nick: str | None) -> None:
        """Take a presence of the room or of an occupant of it."""
        self.confirmed()
        kind = stanza.get("type")
        if kind == "error":
            self._presence_error(stanza, nick)
        elif nick is None:
            self._view.room_shown(stanza)
            self.attached.fork(stanza)
        elif self._is_own(stanza, nick):
            self._own_unavailable(stanza) if kind == "unavailable" else self._own_available(stanza, nick)
        elif kind == "unavailable" and (self.state is not State.JOINING or nick in self._view):
            before = self._view.occupant_gone(nick)
            self._fork_presence(as_before(stanza, before, self._outlet.stream_jid))
        elif kind in (None, "unavailable"):
            # Some rooms show members who are not there; only to who joins.
            self._view.occupant_shown(nick, stanza)
            self._fork_presence(stanza)

    def _is_own(self, stanza: Stanza, nick: str) -> bool:
        """Tell whether a presence is our own: by our nick once that is settled, by status 110 always."""
        if self.state is not State.JOINING and prepare_resource(nick) == prepare_resource(self.nick):
            return True
        return b"110" in stanza.raw and muc.SELF in muc.status_codes(stanza)

    def _own_available(self, stanza: Stanza, nick: str) -> None:
        self.nick = nick
        if self.state is State.JOINING and self._view.self_presence is None:
            self._view.entered(stanza)
            self._timer.start(SUBJECT_TIMEOUT, self._complete)
            return
        self._view.self_presence = stanza
        self._fork_presence(stanza)

    def _own_unavailable(self, stanza: Stanza) -> None:
        codes = muc.status_codes(stanza)
        nick = muc.new_nick(stanza, self.room) if muc.NICK_CHANGED in codes else None
        self._fork_presence(stanza)
        if nick is not None:
            self._nick_changes.answered(nick)
            self.nick = nick
            return
        if self.state is State.JOINING:
            self._waiting.refuse_all(error_payload("wait", "recipient-unavailable", "removed while joining"))
        self.log.info("out of {room}: {codes}", room=self.room, codes=sorted(codes))
        self._end()

    def _presence_error(self, stanza: Stanza, nick: str | None) -> None:
        if self.state is State.JOINING and self._view.self_presence is None:
            self._join_failed(stanza)
            return
        asked = self._nick_changes.answered(nick) if nick is not None else None
        if asked is not None:
            session, stanza_id = asked
            session.deliver(rewrite(stanza.self_contained(), {"to": session.jid, "id": stanza_id}))
        else:
            self.log.info("presence error from {room}: {error}", room=self.room, error=muc.error_condition(stanza))

    def groupchat_from_room(self, stanza: Stanza) -> None:
        """Take a groupchat message: subject, history, and a copy to every attached session."""
        self.confirmed()
        self._view.message_seen(stanza)
        if self._history.take(stanza, self._clock.seconds()) is Taken.DUPLICATE:
            return
        if self.state is State.JOINED:
            self.attached.fork(stanza)
        elif self.state is State.JOINING and self._view.self_presence is not None and muc.is_subject(stanza):
            self._complete()

    def message_from_room(self, stanza: Stanza) -> None:
        """Take a private message, or another message that is not groupchat."""
        self.confirmed()
        if not self.attached and stanza.has_payload("jabber:client", "body"):
            self._held.append(with_delay(stanza, self.room, self._clock.seconds()))
        self.attached.fork(stanza)

    def _fork_presence(self, stanza: Stanza) -> None:
        self.attached.fork_presence(stanza, self._view.presence_for)

    # The end ---------------------------------------------------------------------------------------------------

    def lost(self) -> None:
        """The account stream is gone, or the room does not know us: whoever is attached is shown out (333)."""
        for session in list(self.attached):
            session.deliver(self._removal(session, (muc.SELF, muc.TECHNICAL)))
        self._waiting.refuse_all(error_payload("wait", "remote-server-timeout", "connection to the server lost"))
        self._end()

    def _end(self) -> None:
        self._timer.stop()
        self._cancel_grace()
        self._presence.stop()
        self.attached.clear()
        self.state = State.ENDED
        self._outlet.room_ended(self.room)


def _resource(session: SessionPort) -> str:
    return parse_jid(session.jid).resource or ""
