"""One account's being in one room: joined once, shown to many sessions (XEP-0045). No I/O.

`lifecycle` has the table of its life; `joining`, `leaving` and `rejoining` what is done on the way; `from_room` what
the room says.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from minimixproxy.minimix.history.displayed_markers import MAX_BYTES
from minimixproxy.minimix.history.room_history import HistoryBudgets, RoomHistory
from minimixproxy.minimix.history.room_info import RoomInfo
from minimixproxy.minimix.interfaces.endings import Ending, Why
from minimixproxy.minimix.interfaces.handed import HandedRoom
from minimixproxy.minimix.interfaces.journal import KeptMembership, KeptRoom
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.occupancy import leaving
from minimixproxy.minimix.occupancy.from_room import FromRoom
from minimixproxy.minimix.occupancy.leave_grace import LeaveGrace
from minimixproxy.minimix.occupancy.lifecycle import Lifecycle
from minimixproxy.minimix.occupancy.membership import Membership
from minimixproxy.minimix.occupancy.parts import Parts
from minimixproxy.minimix.occupancy.phases import AWAY, IN, LEFT, Input, Phase, State
from minimixproxy.minimix.rejoin.archive_retry import ArchiveRetry
from minimixproxy.minimix.rejoin.attempts import RejoinAttempts
from minimixproxy.minimix.rejoin.schedule import RejoinSchedule
from minimixproxy.minimix.rejoin.self_ping import SelfPing
from minimixproxy.minimix.room.appearance import Appearance
from minimixproxy.minimix.room.attached_sessions import AttachedSessions
from minimixproxy.minimix.room.attendance import Attendance
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.minimix.room.join_ids import JoinIds
from minimixproxy.minimix.room.outbox import Outbox
from minimixproxy.minimix.room.scales import Scales
from minimixproxy.minimix.room.sessions import resource_of
from minimixproxy.minimix.room.waiting_joins import JoinRequest, join_request
from minimixproxy.timing.clock import wall_time
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc


class Occupancy:
    """The account in one room. `from_room` takes what the room says, `attached` are the sessions that hear it.

    With `kept`, the account is in the room already, as far as it and the room's journal know: it is INTERRUPTED.
    """

    __slots__ = (
        "_appearance",
        "_attendance",
        "_context",
        "_grace",
        "_lifecycle",
        "_membership",
        "_schedule",
        "attached",
        "from_room",
        "history",
        "info",
        "room",
    )

    def __init__(self, context: RoomContext, kept: KeptRoom | None = None) -> None:
        outlet, settings, clock = context.outlet, context.settings, context.clock
        self.room = context.room
        self.attached = AttachedSessions(outlet, context.caps)
        self.info = RoomInfo(context.room, outlet)
        budgets = HistoryBudgets(outlet.history_budget(), outlet.waiting_budget(MAX_BYTES), context.told)
        self.history = RoomHistory(context.room, settings, context.journal, kept, budgets)
        self._context = context
        self._appearance = Appearance(context, self.attached, self._is_visible)
        self._membership = Membership(self._appearance, context.journal, wall_time(clock))
        privates = kept.privates if kept is not None else ()
        self._attendance = Attendance(context, self._appearance, self.history, privates)
        self._grace = LeaveGrace(clock, lambda: settings.leave_grace, self._leave_with_session)
        parts = self._parts()
        self._lifecycle = Lifecycle(parts, Phase.NEW if kept is None else Phase.INTERRUPTED)
        self.from_room = FromRoom(parts, self._lifecycle)
        if kept is not None:
            self._membership.restore(kept.membership)
            parts.attempts.restore(kept.membership.missing_since)

    def _parts(self) -> Parts:
        context = self._context
        schedule = self._schedule = RejoinSchedule(context, self._appearance, self._rejoin)
        archive_retry = ArchiveRetry(context, self._heard, partial(self._membership.note_missing, None))
        return Parts(
            context=context,
            info=self.info,
            history=self.history,
            attendance=self._attendance,
            appearance=self._appearance,
            membership=self._membership,
            self_ping=SelfPing(context, lambda: f"{self.room}/{self.nick}", self.silently_out),
            attempts=RejoinAttempts(schedule, archive_retry),
            grace=self._grace,
            join_ids=JoinIds(context.clock),
            scales=Scales(context, self.info, self._appearance, self.history.senders, lambda: self._attendance.view),
            heard=self._heard,
            happens=self._happens,
        )

    # What it is ------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._lifecycle.phase.state

    @property
    def interrupted(self) -> bool:
        """Whether the account is out of the room and means to come back: what sessions say has to wait."""
        return self._lifecycle.phase in AWAY

    @property
    def leaving(self) -> bool:
        """Whether the account has said to the room that it leaves."""
        return self._lifecycle.phase in LEFT

    def _is_visible(self) -> bool:
        return self._lifecycle.phase in IN and not self._grace.running

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
    def settled(self) -> bool:
        """Whether the account is in, nobody waits for that, and all that the room has said has come to sessions."""
        waits = bool(self._attendance.waiting) or bool(self._attendance.next) or self._grace.running
        given_out = self.history.last_sequence <= self._context.journal.given_out()
        return self.state is State.JOINED and given_out and not waits

    @property
    def shown(self) -> int:
        """How many occupants the room shows."""
        return len(self._attendance.view.occupants)

    def handed(self) -> HandedRoom:
        """Return what another process is to go on with."""
        return self._attendance.handed()

    def take_over(self, handed: HandedRoom, sessions: Mapping[str, SessionPort]) -> None:
        """Go on, before it is joined again, with what another process had (see `Attendance.restore`)."""
        self._attendance.restore(handed, sessions)

    @property
    def outbox(self) -> Outbox:
        """What sessions say while the account is on its way back, and what the room has not shown yet."""
        return self._attendance.outbox

    @property
    def bookmarked(self) -> bool:
        """Whether a bookmark keeps the account in when its last session leaves (XEP-0402)."""
        return self._membership.bookmarked

    def note_bookmark(self, bookmarked: bool) -> None:
        """A bookmark keeps the account in from now on, or does so no longer."""
        self._membership.note_bookmark(bookmarked)

    @property
    def attempts(self) -> int:
        """How often the account has tried to come back since it is out."""
        return self._schedule.attempts if self.interrupted else 0

    @property
    def next_attempt_in(self) -> float:
        """Seconds until it lines up for the next try to come back; 0 if it does not wait for time to pass."""
        return self._schedule.next_in if self.interrupted else 0.0

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

    # Sessions come and go --------------------------------------------------------------------------------------

    def join(self, session: SessionPort, nick: str, stanza: Stanza) -> None:
        """A session asks to join: it starts the join, waits for it, or is given a replay."""
        request = join_request(session, nick, stanza, wall_time(self._context.clock))
        if self.leaving:
            self._attendance.next.add(request)
            return
        self._grace.cancel()
        waits = self._lifecycle.phase in IN or self._attendance.waiting.add(request)
        self._happens(Input.JOIN if waits else Input.JOIN_DROPPED, request)

    def take_next_joins(self) -> list[JoinRequest]:
        """Return, once, the sessions that asked to join while this occupancy was leaving."""
        return self._attendance.next.take()

    def leave(self, session: SessionPort, stanza: Stanza) -> None:
        """A session leaves: it is told so at once; if it was the last, the account may follow.

        A bookmark with autojoin keeps it in (XEP-0402), unless it is to follow.
        """
        self._attendance.show_out(session, (muc.SELF,), stanza)
        stays = self.bookmarked and self._context.settings.bookmarks == "follow"
        if self.attended or stays:
            self._appearance.refresh()
        elif not self.leaving:
            self._grace.begin(session, stanza)

    def detach(self, session: SessionPort, *, gone: bool) -> None:
        """A session is gone, or no longer available: the occupancy stays, even if the session just left."""
        if gone:
            self.outbox.in_flight.gone(session)
            self.outbox.drop(session)  # it may have left the room before
        if self._grace.is_of(session):
            self._grace.cancel()
        elif not self.knows(session):
            return
        if not gone:
            self._attendance.outbox.refuse_one(session, "recipient-unavailable")
        self._attendance.drop(session)
        self._appearance.refresh()

    def acknowledged(self, session: SessionPort) -> None:
        """A session has acknowledged something (XEP-0198)."""
        self._attendance.privates.arrived(session)

    def show_out(self, session: SessionPort, reason: str, codes: tuple[str, ...] = (muc.SELF, muc.KICKED)) -> None:
        """Detach a session, and let it know by a removal with these status codes. The account stays."""
        self._attendance.show_out(session, codes, reason=reason)
        self._appearance.refresh()

    def reject(self, session: SessionPort, stanza: Stanza) -> None:
        """A presence error from a session to its own occupant asks to be removed, as a bounce of its own presence.

        Alone, the account is taken out by the room; beside others, only this session is shown out.
        """
        if len(self.attached) == 1:
            self._happens(Input.REJECTED, session, stanza)
        else:
            self.show_out(session, leaving.REJECTING, leaving.REMOVED_BY_FAULT)

    # The account leaves ----------------------------------------------------------------------------------------

    def leave_room(self, request: Stanza | None = None, reason: str = "") -> None:
        """The account leaves, with the status text of the client's own leave; sessions are told the reason.

        It succeeds even if the room cannot be reached.
        """
        self._happens(Input.LEAVE, request, reason)

    def _leave_with_session(self, session: SessionPort, request: Stanza | None) -> None:
        outlet = self._context.outlet
        outlet.not_in(self.room, Ending(Why.LAST_DEVICE_LEFT, by=resource_of(session)))
        outlet.room_left(self.room)
        self.leave_room(request)

    def leave_at_once(self) -> None:
        """The account is no more: say so to the room if it can be reached, and wait for nothing."""
        self._happens(Input.ABANDON)

    # What sessions say -----------------------------------------------------------------------------------------

    def presence_from_session(self, session: SessionPort, nick: str, stanza: Stanza) -> None:
        """An attached session directs a presence here: another nick is a change of nick, else show and status."""
        if session not in self.attached:
            return  # still waiting: its join says it
        self.attached.show(session, stanza)
        stanza_id = stanza.get("id")
        view = self._attendance.view
        if not self._appearance.is_nick(nick):
            if self.interrupted:
                self.outbox.add(session, stanza)
            else:
                self._appearance.change_nick(session, nick, stanza_id)
        elif not self._appearance.refresh(stanza_id) and view.self_presence is not None:
            # The room sees no change, so only this client waits for its reflection.
            session.deliver(view.reflection(session.jid, self._context.outlet.stream_jid, stanza_id, ()))

    def broadcast_changed(self, session: SessionPort) -> None:
        """An attached session sent undirected presence: it counts from now on, here too."""
        if session in self.attached:
            self.attached.show(session, None)
            self._appearance.refresh()

    # What becomes of it ----------------------------------------------------------------------------------------

    def stream_lost(self) -> None:
        """The account stream is gone: who waits for a first join is refused, all else waits for the next stream."""
        self.outbox.doubt(self.history.last_sequence)
        self._happens(Input.STREAM_LOST)

    def stream_opened(self) -> None:
        """There is an account stream again: come back in this room's turn."""
        self._happens(Input.STREAM_OPENED)

    def silently_out(self) -> None:
        """The room does not know the account, and has not said so. Before it is in, and once it leaves, it need not."""
        self._happens(Input.SILENTLY_OUT)

    def given_up(self) -> None:
        """There will be no stream until a client logs in."""
        self._happens(Input.GIVEN_UP)

    def _rejoin(self, nick: str) -> None:
        if self._context.outlet.stream_jid:
            self._happens(Input.TURN, nick)
        else:
            self._schedule.stop()

    def _happens(self, what: Input, *with_it: Any) -> None:
        self._lifecycle.happens(what, *with_it)

    def _heard(self, stanza: Stanza, past: bool) -> None:
        self.from_room.heard(stanza, past)
