"""The rooms that one account is in: how it comes into them and out, and that they end. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.endings import Ending, Why
from minimixproxy.minimix.interfaces.handed import HandedRoom
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMembership, KeptRoom
from minimixproxy.minimix.interfaces.streams import Listener, SessionPort, StreamPort
from minimixproxy.minimix.occupancy.leaving import REMOVED_BY_FAULT
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.occupancy.outlet import AccountOutlet
from minimixproxy.minimix.room.context import AccountContext, RoomContext
from minimixproxy.minimix.room.sessions import Sessions
from minimixproxy.timing.clock import Timer, wall_time
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.xep import muc
from minimixproxy.xep.disco import CAPS
from minimixproxy.xep.stanza_errors import error_payload

# Why devices are shown out of rooms that they did not leave: for their users to read.
LEFT = "The account has left this room: one of its devices told it to."
FEW = 256  # occupants, of whom it is looked at whether what they show can go along with an account
MAX_HANDED = 256 * 1024  # bytes of what rooms have shown that go along with an account: each is read by who takes it
DETACHED = "This device was detached from the room by a command. The account is still in it."


class OccupanciesHost(Protocol):
    """The account, as far as its rooms are concerned."""

    @property
    def push(self) -> Listener:
        """Who is told of what is said."""

    def read_up_to(self, room: str) -> str | None:
        """Return the room's id of the last message that was read there, as far as it is known."""

    def room_joined(self, room: str) -> None:
        """The account is in a room."""

    def room_left(self, room: str) -> None:
        """The account leaves a room because its last session did, or its user said so."""

    def room_removed(self, room: str) -> None:
        """The room has removed the account, or does not let it come back, and means it."""

    def last_room_ended(self) -> None:
        """It is in no room any more."""

    def from_session_again(self, session: SessionPort, stanza: Stanza) -> None:
        """What a session said while a room was out of reach can be said now."""


class Occupancies:
    """All occupancies of the account `bare`, by the bare JID of the room: `rooms`."""

    log = Logger()

    def __init__(
        self, bare: str, stream: StreamPort, sessions: Sessions, context: AccountContext, host: OccupanciesHost
    ) -> None:
        self.rooms: dict[str, Occupancy] = {}
        self.listener = host.push
        self.room_left = host.room_left
        self.room_removed = host.room_removed
        self.from_session_again = host.from_session_again
        self._bare = bare
        self._stream = stream
        self._sessions = sessions
        self._context = context
        self._host = host
        self.outlet = AccountOutlet(bare, stream, sessions, context, self)
        self._abandoned = Timer(context.clock)  # when no session has come for long enough

    def __len__(self) -> int:
        return len(self.rooms)

    def of_sender(self, stanza: Stanza) -> Occupancy | None:
        """Return the occupancy of the room that a stanza comes from, or of one of its occupants."""
        sender = stanza.get("from")
        if not sender:
            return None  # the server, for the account itself
        try:
            return self.rooms.get(parse_jid(sender).bare)
        except InvalidJID as error:
            self.log.warn(
                "{account}: a {name} comes from what is no JID: {error}",
                account=self._bare,
                name=stanza.name,
                error=error,
            )
            return None

    # Into rooms ------------------------------------------------------------------------------------------------

    def join(self, session: SessionPort, room: str, nick: str, stanza: Stanza) -> None:
        """A session asks to join a room, by a presence."""
        occupancy = self.rooms.get(room)
        if occupancy is None:
            if self._full:
                self.log.warn(
                    "{account} is in {limit} rooms, as many as it may be: another join is refused",
                    account=self._bare,
                    limit=len(self),
                )
                error = error_payload(
                    "wait", "resource-constraint", f"the account is in {len(self)} rooms, as many as it may be"
                )
                session.deliver(muc.join_error(room, nick, session.jid, stanza.get("id"), error))
                self.not_in(room, Ending(Why.TOO_MANY_ROOMS))
                return
            occupancy = self.rooms[room] = self._occupancy(room)
        occupancy.join(session, nick, stanza)

    def enter(self, room: str, nick: str, password: str | None = None, *, bookmarked: bool = True) -> None:
        """Join a room without a client asking for it; if the account is in already, only the bookmark is noted."""
        occupancy = self.rooms.get(room)
        if occupancy is not None:
            occupancy.note_bookmark(bookmarked)
        elif self._full:
            self.log.warn(
                "{account} is in as many rooms as it may be, so it does not join {room}", account=self._bare, room=room
            )
            self.not_in(room, Ending(Why.TOO_MANY_ROOMS))
        else:
            membership = KeptMembership(nick, nick, password, bookmarked, wall_time(self._context.clock))
            self.rooms[room] = occupancy = self._occupancy(room, KeptRoom(room, membership))
            if self._stream.jid:
                occupancy.stream_opened()
            else:
                self._stream.reopen()

    @property
    def _full(self) -> bool:
        return len(self.rooms) >= self._context.settings.max_rooms

    def _occupancy(self, room: str, kept: KeptRoom | None = None) -> Occupancy:
        shared = self._context
        journal = shared.journal.room(self._bare, room)
        context = RoomContext(room, self.outlet, shared.settings, shared.clock, CAPS, journal, shared.told)
        occupancy = Occupancy(context, kept)
        stanza_id = self._host.read_up_to(room)
        if stanza_id is not None:
            occupancy.history.read_up_to(stanza_id)
        return occupancy

    def restore(self, kept: KeptAccount) -> None:
        """Take the rooms that were kept; they are entered when the stream is open."""
        for room in kept.rooms:
            try:
                self.rooms[room.room] = self._occupancy(room.room, room)
            except Exception:  # noqa: BLE001 (one damaged room must not cost the others)
                self.log.failure("while restoring {room} of {account}", room=room.room, account=self._bare)
                self.not_in(room.room, Ending(Why.NOT_RESTORED))
        stay = self._context.settings.stay
        if self.rooms and stay:
            idle = max(0.0, wall_time(self._context.clock) - kept.last_seen)
            self._abandoned.start(max(0.0, stay - idle), self._abandon)

    def kept(self) -> list[KeptRoom]:
        """Return the rooms as they are to be on disk."""
        rooms = [occupancy.kept() for occupancy in self.rooms.values()]
        return [room for room in rooms if room is not None]

    # Another process of the cluster goes on with them, or had them ------------------------------------------------

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way in any room, and what those have shown that clients are in is little."""
        rooms = self.rooms.values()
        return all(room.settled for room in rooms) and sum(room.shown for room in rooms if room.attended) <= FEW

    def handed(self) -> tuple[HandedRoom, ...] | None:
        """Return what another process is to go on with; None if something is under way, or it is too much."""
        attended = [occupancy for occupancy in self.rooms.values() if occupancy.attended]
        if not all(occupancy.settled for occupancy in attended):
            return None
        rooms = tuple(occupancy.handed() for occupancy in attended)
        return rooms if sum(room.size for room in rooms) <= MAX_HANDED else None

    def take_over(self, rooms: Iterable[HandedRoom], sessions: Mapping[str, SessionPort]) -> None:
        """Go on with what another process had, for those of `sessions`, by full JID, that it had in rooms."""
        for handed in rooms:
            occupancy = self.rooms.get(handed.room)
            if occupancy is not None and occupancy.interrupted:
                occupancy.take_over(handed, sessions)
            else:
                self._not_taken_over(handed, sessions)

    @staticmethod
    def _not_taken_over(handed: HandedRoom, sessions: Mapping[str, SessionPort]) -> None:
        """The account is not to be in the room any more: whoever was has to know."""
        own = parse_stanza(handed.own) if handed.own is not None else None
        for jid, _shows in handed.attached:
            session = sessions.get(jid)
            if session is not None and own is not None:
                session.deliver(muc.removal(own["from"], jid, REMOVED_BY_FAULT, own))

    # Out of rooms ----------------------------------------------------------------------------------------------

    def leave(self, room: str, why: Why) -> None:
        """Leave a room; sessions that are attached are shown out."""
        occupancy = self.rooms.get(room)
        if occupancy is not None:
            self.not_in(room, Ending(why))
            self.room_left(room)
            occupancy.leave_room(reason=LEFT)

    def leave_all(self, why: Why, reason: str = "") -> None:
        """Leave every room, with this reason for sessions that are attached."""
        for occupancy in list(self.rooms.values()):
            self.not_in(occupancy.room, Ending(why))
            occupancy.leave_room(reason=reason)

    def leave_at_once(self) -> None:
        """Leave every room, and wait for none: the account is no more."""
        for occupancy in list(self.rooms.values()):
            occupancy.leave_at_once()
        self._abandoned.stop()

    def detach(self, session: SessionPort) -> None:
        """A session is gone, or no longer available: it is in no room, and leaves none."""
        for occupancy in list(self.rooms.values()):
            occupancy.detach(session, gone=session not in self._sessions)

    def acknowledged(self, session: SessionPort) -> None:
        """A session has acknowledged something (XEP-0198)."""
        for occupancy in self.rooms.values():
            occupancy.acknowledged(session)

    def show_out(self, session: SessionPort, room: str | None = None) -> None:
        """Show a session out of one room, or of all; the account stays."""
        for occupancy in list(self.rooms.values()):
            if room in (None, occupancy.room) and session in occupancy.attached:
                occupancy.show_out(session, DETACHED)

    def sessions_came(self) -> None:
        """There are sessions again: rooms stay."""
        self._abandoned.stop()

    def sessions_gone(self) -> None:
        """The last session is gone. The rooms are kept for clients that come back, not for ever."""
        stay = self._context.settings.stay
        if stay:
            self._abandoned.start(stay, self._abandon)
        else:
            self.leave_all(Why.NO_DEVICE)

    def _abandon(self) -> None:
        self.log.info("{account} has had no client for long enough: it leaves its rooms", account=self._bare)
        self.leave_all(Why.NO_DEVICE)

    def room_joined(self, room: str) -> None:
        """The account is in a room."""
        self._context.endings.joined(self._bare, room)
        self._host.room_joined(room)

    def not_in(self, room: str, why: Ending) -> None:
        """Note why the account is not in a room, or not any more."""
        self._context.endings.note(self._bare, room, why, wall_time(self._context.clock))

    def room_ended(self, room: str) -> None:
        """Forget the occupancy; who asked to join while it was leaving joins now."""
        ended = self.rooms.pop(room)
        for request in ended.take_next_joins():
            if request.session in self._sessions:
                self.join(request.session, room, request.nick, request.stanza)
        if not self.rooms:
            self._abandoned.stop()
            self._host.last_room_ended()

    # What concerns all rooms -----------------------------------------------------------------------------------

    def broadcast_changed(self, session: SessionPort) -> None:
        """A session shows something else in all rooms that it is in."""
        for occupancy in list(self.rooms.values()):
            occupancy.broadcast_changed(session)

    def stream_opened(self) -> None:
        """There is an account stream: come back into the rooms."""
        for occupancy in list(self.rooms.values()):
            occupancy.stream_opened()

    def unreachable(self, *, refused: bool) -> None:
        """There is no account stream; `refused`: nor will there be one until a client logs in anew."""
        for occupancy in list(self.rooms.values()):
            occupancy.stream_lost()
            if refused:
                occupancy.given_up()
