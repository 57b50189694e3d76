"""One account's being in one room: joined once, shown to many sessions (XEP-0045). No I/O.

The lifecycle, all of it:

    JOINING --own presence, then the subject--> JOINED --leave--> LEAVING --own unavailable--> ENDED
    JOINING --error, time-out, stream lost--> ENDED
    JOINED --stream lost, removal that nobody meant--> INTERRUPTED --> REJOINING --> JOINED
    REJOINING --error, time-out, stream lost--> INTERRUPTED
    JOINED, REJOINING --removal or error that is meant--> ENDED

Nobody waits for ever. Sessions that join while JOINING, INTERRUPTED or REJOINING wait and are given the replay at
JOINED; they are refused after `JOIN_TIMEOUT`, at LEAVING and at ENDED. Those that join while LEAVING are handed to the
next occupancy of the room. Attached sessions do not notice INTERRUPTED and REJOINING: they are shown the difference,
and what they say meanwhile waits, for as long as `Outbox` has patience.
"""

from __future__ import annotations

from enum import Enum

from minimixproxy.config.settings import Rooms
from minimixproxy.jids import prepare_resource
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.addressing.local_accounts import as_before
from minimixproxy.minimix.addressing.outgoing import relayed
from minimixproxy.minimix.history.room_history import RoomHistory, Taken
from minimixproxy.minimix.history.room_info import RoomInfo
from minimixproxy.minimix.interfaces.journal import KeptMembership, KeptRoom, RoomJournal
from minimixproxy.minimix.interfaces.streams import RoomOutlet, SessionPort
from minimixproxy.minimix.occupancy.membership import Membership
from minimixproxy.minimix.rejoin.archive_retry import ArchiveRetry
from minimixproxy.minimix.rejoin.attempt import RejoinAttempt
from minimixproxy.minimix.rejoin.difference import gone
from minimixproxy.minimix.rejoin.schedule import RejoinSchedule
from minimixproxy.minimix.rejoin.self_ping import SelfPing
from minimixproxy.minimix.room import removal
from minimixproxy.minimix.room.appearance import Appearance
from minimixproxy.minimix.room.attached_sessions import AttachedSessions
from minimixproxy.minimix.room.attendance import Attendance
from minimixproxy.minimix.room.join_ids import JoinIds
from minimixproxy.minimix.room.outbox import Outbox
from minimixproxy.minimix.room.own_presence import join_presence, presence_payload
from minimixproxy.minimix.room.snapshot import Snapshot
from minimixproxy.minimix.room.stripped_presence import is_own, readable_quickly
from minimixproxy.minimix.room.waiting_joins import Joiner, JoinRequest, join_request
from minimixproxy.namespaces import NS_CLIENT, NS_DELAY, NS_DISCO_INFO
from minimixproxy.timing.clock import Clock, Timer, wall_time
from minimixproxy.wire.stanza import Stanza, parse_stanza, rewrite, serialize
from minimixproxy.xep import muc

JOIN_TIMEOUT = 60.0  # seconds for a room to answer a join
SUBJECT_TIMEOUT = 5.0  # seconds from the own presence to the subject that ends the join
LEAVE_TIMEOUT = 10.0  # seconds for a room to confirm a leave, or to remove who has refused its presence
# Seconds from the end of a leave to the next join: ejabberd loses one that comes while the room's process still ends.
REENTRY_PAUSE = 0.25
MAX_FAREWELL = 4096  # bytes of a presence that leaves, of which the room is told the status when the grace ends
REMOVED_BY_FAULT = (muc.SELF, muc.KICKED, muc.TECHNICAL)


class State(Enum):
    """Where an occupancy is in its life."""

    JOINING = "joining"
    JOINED = "joined"
    INTERRUPTED = "interrupted"
    REJOINING = "rejoining"
    LEAVING = "leaving"
    ENDED = "ended"


class Occupancy:
    """The account in one room. `caps` is what its presence advertises (XEP-0115).

    With `kept`, the account is in the room already, as far as it and the room's journal know: it is INTERRUPTED.
    """

    log = Logger()

    def __init__(
        self,
        room: str,
        outlet: RoomOutlet,
        settings: Rooms,
        clock: Clock,
        caps: bytes,
        journal: RoomJournal,
        kept: KeptRoom | None = None,
    ) -> None:
        self.room = room
        self.state = State.JOINING
        self.attached = AttachedSessions(outlet, caps)
        self.info = RoomInfo(room, outlet)
        self.history = RoomHistory(room, settings, journal, kept, outlet.history_budget())
        self._outlet = outlet
        self._settings = settings
        self._clock = clock
        self._caps = caps
        self._appearance = Appearance(room, outlet, settings, clock, caps, self.attached, self._is_visible)
        self._membership = Membership(self._appearance, journal, wall_time(clock))
        view = Snapshot(room, settings.max_occupants, outlet.room_budget())
        privates = kept.privates if kept is not None else ()
        self._attendance = Attendance(view, outlet, settings, clock, self._appearance, self.history, journal, privates)
        self._schedule = RejoinSchedule(room, outlet, clock, self._appearance, self._rejoin)
        self._join_ids = JoinIds()
        self._attempt: RejoinAttempt | None = None
        self._archive_retry = ArchiveRetry(room, outlet, clock, settings.history, self._heard)
        self._self_ping = SelfPing(outlet, clock, settings.self_ping, lambda: f"{room}/{self.nick}", self.silently_out)
        self._missed_since: tuple[str | None, float] = (None, 0.0)
        self._fresh_until = 0.0
        self._service_answered = False  # the room's service, when the last attempt to return was refused as by a ban
        self._asked_out_until = 0.0  # a session has asked the room to remove the account: until then it may answer
        self._timer = Timer(clock)  # of the present state
        self._patience = Timer(clock)  # of those who wait for a rejoin
        self._grace = Timer(clock)
        self._candidate: SessionPort | None = None  # the session whose leave is in its grace
        if kept is not None:
            self.state = State.INTERRUPTED
            self._membership.restore(kept.membership)

    # What it is ------------------------------------------------------------------------------------------------

    @property
    def nick(self) -> str:
        """The nick that the account has in the room, or asks for."""
        return self._appearance.nick

    @property
    def membership(self) -> KeptMembership:
        """What the room is joined with."""
        return self._membership.kept

    def kept(self) -> KeptRoom | None:
        """Return what is to be on disk of it, but for the cursors; None if nothing is."""
        if not self._membership.known:
            return None
        return KeptRoom(self.room, self.membership, list(self.history.entries), {}, list(self._attendance.privates))

    @property
    def holding(self) -> Outbox:
        """What sessions say while the account is on its way back."""
        return self._attendance.holding

    @property
    def bookmarked(self) -> bool:
        """Whether a bookmark keeps the account in when its last session leaves (XEP-0402)."""
        return self._membership.bookmarked

    @bookmarked.setter
    def bookmarked(self, bookmarked: bool) -> None:
        self._membership.bookmarked = bookmarked

    @property
    def messages_kept(self) -> int:
        """How many messages are kept for clients that join."""
        return len(self.history)

    @property
    def client(self) -> SessionPort | None:
        """The session that stands for the account: the most recently active of those attached, or the first to wait."""
        return self._attendance.client

    @property
    def attended(self) -> bool:
        """Whether a session is attached, or waits to be."""
        return bool(self.attached) or bool(self._attendance.waiting)

    def knows(self, session: SessionPort) -> bool:
        """Tell whether a session has joined, or waits to, from its own point of view."""
        return session in self._attendance

    # Sessions come ---------------------------------------------------------------------------------------------

    def join(self, session: SessionPort, nick: str, stanza: Stanza) -> None:
        """A session asks to join: it starts the join, waits for it, or is given a replay."""
        request = join_request(session, nick, stanza, wall_time(self._clock))
        if self.state is State.LEAVING:
            self._attendance.next.add(request)
            return
        self._cancel_grace()
        if self.state is State.JOINED:
            self._attendance.let_in(request)
            return
        if not self._attendance.waiting.add(request):
            if self.state is State.JOINING and self._attendance.joiner is None:
                self._end()
        elif self.state is not State.JOINING:
            self._join_while_out(request)
        elif self._attendance.joiner is None:
            self._send_join(request)

    def _join_while_out(self, request: JoinRequest) -> None:
        """Somebody waits for the account to come back: try now, with the password that was just given."""
        if request.password is not None:
            self._membership.password = request.password
        if not self._patience.running:
            self._patience.start(JOIN_TIMEOUT, lambda: self._refuse_waiting("remote-server-timeout"))
        if self.state is State.INTERRUPTED and self._outlet.stream_jid:
            self._schedule.now()

    def take_next_joins(self) -> list[JoinRequest]:
        """Return, once, the sessions that asked to join while this occupancy was leaving."""
        return self._attendance.next.take()

    def _send_join(self, request: JoinRequest) -> None:
        request.sent = True
        self._attendance.joiner = Joiner(request.session, request.key, request.wish)
        self._appearance.nick = self._appearance.wished_nick = request.nick
        self._membership.password = request.password
        self._timer.start(JOIN_TIMEOUT, self._join_timed_out)
        payload = presence_payload(request.stanza, self._caps)
        self._appearance.joined_with(payload)
        occupant = f"{self.room}/{request.nick}"
        history, stanza_id = self._settings.history, self._join_ids.next()
        self._outlet.send_to_room(join_presence(request.stanza, payload, occupant, history, stanza_id))

    def _join_timed_out(self) -> None:
        self._attendance.refuse_waiting("remote-server-timeout", "the room did not answer")
        self._outlet.send_to_room(muc.unavailable(self.room, self.nick))
        self._end()

    def _join_failed(self, stanza: Stanza) -> None:
        """The error is for those who asked for just this; then another may try."""
        assert self._attendance.joiner is not None
        self.log.info("join refused: {room}: {condition}", room=self.room, condition=muc.error_condition(stanza))
        other = self._attendance.waiting.refuse(self._attendance.joiner, stanza)
        if other is not None:
            self._send_join(other)
        else:
            self._end()

    def _complete(self) -> None:
        """The room has shown everything: now every waiting session is given its replay."""
        self._timer.stop()
        self._patience.stop()
        self.history.in_step()
        joiner = self._attendance.joiner
        if joiner is not None and joiner.wish is None:  # of a first join: nobody's is sent on coming back
            self.history.room_shows(len(self.history))
        self.state = State.JOINED
        self.log.info("joined: {room} as {nick}", room=self.room, nick=self.nick)
        self._membership.keep()
        self._self_ping.start()
        self._attendance.let_in_waiting()
        self._appearance.seek_wished_nick()
        self._appearance.refresh()
        self._outlet.room_joined(self.room)

    # Sessions go -----------------------------------------------------------------------------------------------

    def leave(self, session: SessionPort, stanza: Stanza) -> None:
        """A session leaves: it is told so at once; if it was the last, the account may follow.

        Several clients leave every room while they disconnect: the account leaves only if the session's stream is
        still open when the grace ends. A bookmark with autojoin keeps it in (XEP-0402), unless it is to follow.
        """
        self._attendance.show_out(session, (muc.SELF,), stanza)
        stays = self.bookmarked and self._settings.bookmarks == "follow"
        if self.attended or stays:
            self._appearance.refresh()
        elif self.state is not State.LEAVING:
            self._candidate = session
            request = stanza if len(stanza.raw) <= MAX_FAREWELL else None
            self._grace.start(self._settings.leave_grace, lambda: self._leave_with_session(request))

    def _leave_with_session(self, request: Stanza | None = None) -> None:
        self._outlet.room_left(self.room)
        self.leave_room(request)

    def leave_room(self, request: Stanza | None = None, reason: str = "") -> None:
        """The account leaves, with the status text of the client's own leave. Once is enough.

        Sessions that are still attached did not ask for it. They are shown out as if kicked (307), with `reason`: a
        client takes what looks like the answer to a leave for the answer to its own, and stays. Those that wait are
        refused. It succeeds even if the room cannot be reached.
        """
        if self.state in (State.LEAVING, State.ENDED):
            return
        self.log.info("leaving: {room}", room=self.room)
        was = self.state
        self._membership.forget()
        self._out(State.LEAVING)
        self._refuse_waiting("recipient-unavailable", "the account leaves the room")
        self._attendance.show_out_all((muc.SELF, muc.KICKED), reason)
        if was is State.INTERRUPTED:
            self._end()
            return
        self._timer.start(LEAVE_TIMEOUT, self._end)
        self._outlet.send_to_room(muc.unavailable(self.room, self.nick, request))

    def leave_at_once(self) -> None:
        """The account is no more: say so to the room if it can be reached, and wait for nothing."""
        if self.state in (State.JOINING, State.JOINED, State.REJOINING) and self._outlet.stream_jid:
            self._outlet.send_to_room(muc.unavailable(self.room, self.nick))
        if self.state is not State.ENDED:
            self._end()

    @property
    def leaving(self) -> bool:
        """Whether the account has said to the room that it leaves."""
        return self.state is State.LEAVING

    def _cancel_grace(self) -> None:
        self._grace.stop()
        self._candidate = None

    def detach(self, session: SessionPort) -> None:
        """A session is gone, or no longer available: the occupancy stays, even if the session just left."""
        if session is self._candidate:
            self._cancel_grace()
        elif not self.knows(session):
            return
        self._attendance.drop(session)
        self._appearance.refresh()

    def show_out(self, session: SessionPort, reason: str, codes: tuple[str, ...] = (muc.SELF, muc.KICKED)) -> None:
        """Detach a session, and let it know by a removal with these status codes. The account stays."""
        self._attendance.show_out(session, codes, reason=reason)
        self._appearance.refresh()

    def reject(self, session: SessionPort, stanza: Stanza) -> None:
        """A presence error from a session to its own occupant asks to be removed, as a bounce of its own presence.

        Alone, the account is taken out by the room; beside others, only this session is shown out.
        """
        if len(self.attached) == 1 and not self.interrupted:
            self._asked_out_until = self._clock.seconds() + LEAVE_TIMEOUT
            self._outlet.send_to_room(relayed(stanza, session))
        else:
            self.show_out(session, "This device has refused a presence of the room.", REMOVED_BY_FAULT)

    # What sessions say -----------------------------------------------------------------------------------------

    def presence_from_session(self, session: SessionPort, nick: str, stanza: Stanza) -> None:
        """An attached session directs a presence here: another nick is a change of nick, else show and status."""
        if session not in self.attached:
            return  # still waiting: its join says it
        self.attached.show(session, stanza)
        stanza_id = stanza.get("id")
        if not self._appearance.is_nick(nick):
            if self.interrupted:
                self._attendance.holding.add(session, stanza)
            else:
                self._appearance.change_nick(session, nick, stanza_id)
        elif not self._appearance.refresh(stanza_id) and self._attendance.view.self_presence is not None:
            # The room sees no change, so only this client waits for its reflection.
            session.deliver(self._attendance.view.reflection(session.jid, self._outlet.stream_jid, stanza_id, ()))

    def broadcast_changed(self, session: SessionPort) -> None:
        """An attached session sent undirected presence: it counts from now on, here too."""
        if session in self.attached:
            self.attached.show(session, None)
            self._appearance.refresh()

    def _is_visible(self) -> bool:
        return self.state is State.JOINED and not self._grace.running

    # What the room says ----------------------------------------------------------------------------------------

    @property
    def fresh(self) -> bool:
        """Whether traffic from the room proves that we are still in it."""
        return self.state is State.JOINED and self._clock.seconds() < self._fresh_until

    def confirmed(self) -> None:
        """The room has just shown that we are in it."""
        self._fresh_until = self._clock.seconds() + self._settings.fresh
        self._self_ping.heard()

    @property
    def _is_entering(self) -> bool:
        """Whether the room has still to show the own presence that answers a join."""
        if self._attempt is not None:
            return self._attempt.view is not None
        return self.state is State.JOINING and self._view.self_presence is None

    @property
    def _view(self) -> Snapshot:
        """What the room shows now, which attached sessions do not see yet while it is being entered again."""
        entering = self._attempt.view if self._attempt is not None else None
        return entering or self._attendance.view

    def presence_from_room(self, stanza: Stanza, nick: str | None) -> None:
        """Take a presence of the room or of an occupant of it."""
        view = self._view
        kind = stanza.get("type")
        if kind not in (None, "unavailable", "error"):
            self.log.info("presence of an odd type from {room}: {type}", room=self.room, type=kind)
            return
        if kind != "error":
            self.confirmed()
        if kind == "unavailable":
            self.history.occupant_left(stanza["from"])
        elif kind is None and nick is not None:
            self.history.occupant_shown(stanza["from"])
        if kind == "error":
            self._presence_error(stanza, nick)
        elif nick is None:
            view.room_shown(stanza)
            self._fork_presence(stanza)
        elif self._is_own(stanza, nick):
            own = readable_quickly(stanza)
            self._own_unavailable(own, nick) if kind == "unavailable" else self._own_available(own, nick)
        elif kind == "unavailable" and (self.state is not State.JOINING or nick in view):
            before = view.occupant_gone(nick)
            self._fork_presence(as_before(stanza, before, self._outlet.stream_jid))
            self._appearance.occupant_gone(nick)
        else:
            # Some rooms show members who are not there; only to who joins.
            view.occupant_shown(nick, stanza)
            self._fork_presence(stanza)

    def _is_own(self, stanza: Stanza, nick: str) -> bool:
        """Tell whether a presence is our own: by our nick once that is settled, by status 110 always."""
        if not self._is_entering and self._appearance.is_nick(nick):
            return True
        return is_own(stanza)

    def _own_available(self, stanza: Stanza, nick: str) -> None:
        if self._is_entering and not self._join_ids.may_be_answered_by(stanza.get("id")):
            self.log.info("{room} answers a join that a leave has followed", room=self.room)
            return
        self.history.senders.entered(stanza)
        if self._attempt is not None and self._is_entering:
            self._missed_since = self._last_known()
            self._attempt.entered(stanza, self._appearance, nick, self._missed_since)
            return
        if self._is_entering:
            # Rooms may give another nick than the one asked for, a registered one for instance.
            self._appearance.nick = self._appearance.wished_nick = nick
            self._view.entered(stanza)
            self._timer.start(SUBJECT_TIMEOUT, self._complete)
            return
        shown = self._view.self_presence
        self._view.own_shown(stanza)
        if not self._appearance.is_nick(nick):
            if shown is not None:  # nothing has said yet that the account is that one now
                self._fork_presence(gone(shown, f"{self.room}/{self.nick}", nick))
            self._appearance.nick_changed(nick)
            self._membership.keep()
        self._fork_presence(stanza)
        self._appearance.own_shown(stanza)

    def _own_unavailable(self, stanza: Stanza, shown_nick: str) -> None:
        codes = muc.status_codes(stanza)
        if self.state is State.JOINING and self._is_entering:
            self._out_before_in(stanza)
            return
        if not self._appearance.is_nick(shown_nick):
            # Clients know the account by the nick that it had: under another, they would take it for somebody else.
            occupant = f"{self.room}/{self.nick}"
            stanza = parse_stanza(rewrite(stanza.self_contained(), {"from": occupant}))
        nick = muc.new_nick(stanza, self.room) if muc.NICK_CHANGED in codes else None
        if nick is not None:
            self._fork_presence(stanza)
            self._appearance.nick_changed(nick)
            self._membership.changed()
        elif self.interrupted or self.state is State.JOINED:
            self._removed(stanza)
        elif self._attendance.next:  # they asked while it was leaving
            self._timer.start(REENTRY_PAUSE, self._end)
        else:
            self._attendance.refuse_waiting("recipient-unavailable", "removed while joining")
            self._end()

    def _out_before_in(self, stanza: Stanza) -> None:
        """The room shows the account out, and has not shown it in yet: that is the end of a time before this join.

        A removal that is meant ends this one too. The room may let the account in all the same: it is to know that
        nobody wants to be in any more.
        """
        self.log.info("{room} ends what was before this join", room=self.room)
        self._view.start_anew()
        if removal.is_meant(stanza):
            self._outlet.send_to_room(muc.unavailable(self.room, self.nick))
            self._attendance.refuse_waiting("recipient-unavailable", "removed while joining")
            self._end()

    def _removed(self, stanza: Stanza) -> None:
        """The room shows the account out: for good, or by a fault from which it comes back."""
        self.log.info("out of {room}: {codes}", room=self.room, codes=sorted(muc.status_codes(stanza)))
        if self._clock.seconds() >= self._asked_out_until and not removal.is_meant(stanza):
            self.interrupted_by_room()
            return
        if self._is_entering:  # the join that is on its way comes behind this: it may be let in
            self._outlet.send_to_room(muc.unavailable(self.room, self._asked_nick))
        self.attached.fork_presence(stanza)
        self._attendance.refuse_waiting("recipient-unavailable", "removed while joining")
        self._end()

    def presence_refused(self, answer: Stanza) -> None:
        """A presence for the room was too large to be sent: a join fails, of all else a part is shown."""
        nick = answer["from"].partition("/")[2]
        if self.state is State.JOINED and self._appearance.is_nick(nick):
            if answer.get("id") is not None and (shown := list(self.attached)):
                session = shown[-1]  # the one that directed it here
                session.deliver(rewrite(answer.raw, {"to": session.jid}))
        else:
            self._presence_error(answer, nick)
        self._appearance.too_large()

    @property
    def _asked_nick(self) -> str:
        """The nick by which the account asks to enter."""
        return self._attempt.nick if self._attempt is not None else self.nick

    def _answers_join(self, error: Stanza, nick: str | None) -> bool:
        """Tell whether a presence error answers the join: others are of occupants, or of a join that is over.

        A room that leaves out the id is believed where it names the nick that was asked for, or none.
        """
        stanza_id = error.get("id")
        if not self._is_entering or self._join_ids.is_latest(stanza_id):
            return self._is_entering
        return stanza_id is None and (nick is None or prepare_resource(nick) == prepare_resource(self._asked_nick))

    def _presence_error(self, stanza: Stanza, nick: str | None) -> None:
        if self._answers_join(stanza, nick):
            self._join_failed(stanza) if self._attempt is None else self._rejoin_failed(stanza)
            return
        asked = self._appearance.nick_refused(nick) if nick is not None else None
        if asked is not None:
            session, stanza_id = asked
            session.deliver(rewrite(stanza.self_contained(), {"to": session.jid, "id": stanza_id}))
        else:
            self.log.info("presence error from {room}: {error}", room=self.room, error=muc.error_condition(stanza))
            if nick is None or self._appearance.is_nick(nick):
                self.refused()

    def refused(self) -> None:
        """What the account said in the room came back: the room may have forgotten it."""
        self._fresh_until = 0.0
        self._self_ping.doubt()

    def groupchat_from_room(self, stanza: Stanza) -> None:
        """Take a groupchat message: subject, history, and a copy to every attached session."""
        self.confirmed()
        if not stanza.readable:
            self._pass_unread(stanza)
            return
        self._view.message_seen(stanza)
        if muc.configuration_codes(stanza):
            self.history.senders.rules_changed()
        self.info.message_seen(stanza)
        if self._attempt is not None:
            self._attempt.groupchat(stanza)
        elif self.state is State.JOINING and self._view.self_presence is not None and muc.is_subject(stanza):
            self._complete()
        else:
            self._heard(stanza, self.state is State.JOINING)

    def _pass_unread(self, stanza: Stanza) -> None:
        """What is too large to be read is not kept. Who is there gets it once: not when the room's history has it."""
        if self.state is State.JOINED and not stanza.has_payload(NS_DELAY, "delay"):
            self.attached.fork(stanza)

    def _heard(self, stanza: Stanza, past: bool) -> None:
        """A message takes its place in the history; attached sessions get what they cannot have had.

        `past`: the room tells it as something said before, as it does until the subject.
        """
        taken = self.history.take(stanza, wall_time(self._clock), past=past)
        if taken is not Taken.DUPLICATE:
            self.attached.fork(stanza)

    def message_from_room(self, stanza: Stanza) -> None:
        """Take a private message, or another message that is not groupchat."""
        self.confirmed()
        if not self.attached:
            self._attendance.privates.keep(stanza, wall_time(self._clock))
        self.attached.fork(stanza)

    def _fork_presence(self, stanza: Stanza) -> None:
        if not self._is_entering:
            self.attached.fork_presence(stanza)

    # Out of the room, and in again -----------------------------------------------------------------------------

    @property
    def interrupted(self) -> bool:
        """Whether the account is out of the room and means to come back: what sessions say has to wait."""
        return self.state in (State.INTERRUPTED, State.REJOINING)

    def stream_lost(self) -> None:
        """The account stream is gone: who waits for a first join is refused, all else waits for the next stream."""
        if self.state is State.LEAVING:
            self._end()
        elif self.state is State.JOINING:
            self._attendance.refuse_waiting("remote-server-timeout", "connection to the server lost")
            self._end()
        else:
            self._interrupt()

    def stream_opened(self) -> None:
        """There is an account stream again: come back in this room's turn."""
        if self.state is State.INTERRUPTED:
            self._schedule.now()

    def interrupted_by_room(self) -> None:
        """The room has put the account out, and nobody meant it: come back after a while."""
        if self._interrupt():
            self._schedule.later()

    def silently_out(self) -> None:
        """The room does not know the account, and has not said so: come back at once.

        Before it is in, and once it leaves, the room need not know it.
        """
        if self.state is not State.JOINED:
            return
        self.log.info("silently out of {room}", room=self.room)
        if self._interrupt():
            self._schedule.now()

    def given_up(self) -> None:
        """There will be no stream until a client logs in: whoever is attached is shown out (307 and 333)."""
        self._refuse_waiting("service-unavailable")
        self._attendance.holding.refuse("recipient-unavailable")
        self._attendance.show_out_all(REMOVED_BY_FAULT, "The server refuses the account's login.")

    def _interrupt(self) -> bool:
        """The account is out, and means to come back; False if its last session has just left, and it goes along."""
        leaving = self._grace.running
        self._asked_out_until = 0.0
        self._out(State.INTERRUPTED)
        if leaving:
            self._leave_with_session()
        return not leaving

    def _refuse_waiting(self, condition: str, text: str = "the account cannot enter the room now") -> None:
        self._patience.stop()
        self._attendance.refuse_waiting(condition, text)

    def _out(self, state: State) -> None:
        """Stop everything that belongs to being in the room, or to entering it."""
        self.state = state
        self._service_answered = False
        self.history.out_of_step()
        self._cancel_grace()
        self._timer.stop()
        self._self_ping.stop()
        self._schedule.stop()
        self._appearance.stop()
        self._archive_retry.stop()
        if self._attempt is not None:
            self._attempt.stop()
            self._attempt = None

    def _rejoin(self, nick: str) -> None:
        if self.state is not State.INTERRUPTED or not self._outlet.stream_jid:
            return
        self.state = State.REJOINING
        self._attempt = RejoinAttempt(
            self.info,
            self._outlet,
            self._settings,
            self._clock,
            self._attendance,
            self._heard,
            self._caught_up,
            self._rejoin_timed_out,
        )
        password, since = self._membership.password, self._last_known()[1]
        self._attempt.join(nick, self._appearance, password, since, self._join_ids.next())

    def _last_known(self) -> tuple[str | None, float]:
        if self._archive_retry.since is not None:
            return self._archive_retry.since
        stanza_id, time = self.history.newest
        return stanza_id, time or self._membership.since

    def _caught_up(self, complete: bool) -> None:
        self._attempt = None
        self._archive_retry.end() if complete else self._archive_retry.begin(self._missed_since)
        self._schedule.succeeded()
        self._complete()
        self.holding.release(self._outlet.from_session_again)

    def _rejoin_timed_out(self) -> None:
        self.log.info("{room} does not answer the rejoin", room=self.room)
        self.interrupted_by_room()

    def _rejoin_failed(self, stanza: Stanza) -> None:
        condition = muc.error_condition(stanza)
        self.log.info("cannot return to {room}: {condition}", room=self.room, condition=condition)
        if removal.is_meant_error(stanza):
            self._kept_out(stanza) if condition != "forbidden" else self._maybe_banned(stanza)
            return
        if condition in ("conflict", "not-acceptable"):  # somebody has the nick, or it has to be the registered one
            self._out(State.INTERRUPTED)
            if self._schedule.other_nick():
                return
        self.interrupted_by_room()

    def _maybe_banned(self, stanza: Stanza) -> None:
        """A server that talks to no others says `forbidden` of its own room service, too, while that is down.

        The service may come up between the two answers. So it is a ban only if the service was there before, too.
        """
        reentry = self._attempt

        def answered(answer: Stanza | None) -> None:
            if self._attempt is not reentry:
                return
            if answer is None or answer.get("type") != "result":
                self.interrupted_by_room()
            elif self._service_answered:
                self._kept_out(stanza)
            elif self._interrupt():
                self._service_answered = True
                self._schedule.now()

        query = b"<query xmlns='%b'/>" % NS_DISCO_INFO.encode()
        self._outlet.ask(self.room.partition("@")[2], "get", query, answered)

    def _kept_out(self, stanza: Stanza) -> None:
        """The room does not let the account in any more: for its sessions, that is a removal."""
        error = stanza.payload(NS_CLIENT, "error")
        assert error is not None
        self._attendance.waiting.refuse_all(serialize(error))
        self._attendance.show_out_all(REMOVED_BY_FAULT, "The room does not let the account in again.")
        self._end()

    # The end ---------------------------------------------------------------------------------------------------

    def _end(self) -> None:
        """All is over, once: what is sent on the way here may cost the stream, which ends it too."""
        if self.state is State.ENDED:
            return
        self._out(State.ENDED)
        self._refuse_waiting("recipient-unavailable", "the account is not in the room any more")
        self._attendance.holding.refuse("recipient-unavailable")
        self._membership.forget()
        self.attached.clear()
        self._attendance.view.close()
        self.history.close()
        self._attendance.privates.close()
        self._outlet.room_ended(self.room)
