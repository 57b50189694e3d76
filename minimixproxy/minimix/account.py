"""One account: the sessions it has, the rooms it is in, and which stanza goes where. No I/O.

The routing tables of docs/architecture.md are `Account.from_client` and the `…_from_stream` methods.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.bounds.rate_limit import RateLimit
from minimixproxy.config.settings import Rooms
from minimixproxy.jids import Address, InvalidJID, parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.addressing.local_accounts import STREAM_MARK, ClientOf, with_clients
from minimixproxy.minimix.addressing.outgoing import is_own, relayed
from minimixproxy.minimix.bookmarks.events import MARK
from minimixproxy.minimix.bookmarks.follower import BookmarkFollower
from minimixproxy.minimix.commands.user_requests import UserRequests
from minimixproxy.minimix.history.archive import concerns_archive
from minimixproxy.minimix.history.kept_messages import BYTES_EACH
from minimixproxy.minimix.interfaces.journal import Journal, KeptAccount, KeptMembership, KeptRoom
from minimixproxy.minimix.interfaces.streams import Answered, SessionPort, StreamPort
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.minimix.room.session_presences import SessionPresences
from minimixproxy.minimix.subprotocols.iq_proxying import IQRouting
from minimixproxy.minimix.subprotocols.message_forking import MessageRouting
from minimixproxy.namespaces import NS_CLIENT, NS_DISCO_INFO, NS_MUC
from minimixproxy.safety_net import NET
from minimixproxy.timing.clock import Clock, Timer, wall_time
from minimixproxy.timing.pacing import Pacer
from minimixproxy.wire.stanza import Stanza, UnusableStanza, rewrite
from minimixproxy.xep import carbons, muc
from minimixproxy.xep.disco import CAPS, PING
from minimixproxy.xep.oversized import error_for, lost_answer
from minimixproxy.xep.stanza_errors import error_payload

ROOM_OWN = 128 * 1024  # bytes of what a room shows that no other room can use up
HISTORY_OWN = 256 * 1024  # bytes of what was said in a room that no other room can use up ...
HISTORY_BYTES = 64 * 1024 * 1024  # ... and of all rooms beyond that, or as much as one room may have, if that is more
WAITING_OWN = 16 * 1024  # bytes of what waits in a room, in each of three places, that no other room can use up ...
WAITING_BYTES = 64 * 1024 * 1024  # ... and of all rooms beyond that
#: Bytes of one presence shown to all rooms: half of what waits for a server that reads slowly (see `accountstream`).
SHOWN_TO_ALL = 2 * 1024 * 1024
#: Answers to others: all occupants of a large room may ask at once, for a picture perhaps.
ANSWERS_AT_ONCE, ANSWERS_PER_SECOND = 2000, 20.0
CLIENT_BYTES = 8 * 1024 * 1024  # of what the account's clients have kept: joins that wait, presences, ids
LINGER = 10.0  # seconds for open IQs to be answered after the last room ended

# Why devices are shown out of rooms that they did not leave: for their users to read.
LEFT = "The account has left this room: one of its devices told it to."
FORGOTTEN = "The account has left all of its rooms: one of its devices told it to forget everything."
DETACHED = "This device was detached from the room by a command. The account is still in it."


class Account:
    """One bare JID and all that belongs to it.

    `stream` is its account stream, opened when it is first written to. `idle` is called when the last session and
    the last room are gone. `client_of` finds other accounts' clients in a room (see `neighbours`). `pacer` sets the
    pace at which the rooms of all accounts are joined again.
    """

    log = Logger()

    def __init__(
        self,
        bare: str,
        stream: StreamPort,
        settings: Rooms,
        clock: Clock,
        idle: Callable[[Account], None],
        client_of: ClientOf,
        pacer: Pacer,
        journal: Journal,
    ) -> None:
        self.bare = bare
        self.rooms: dict[str, Occupancy] = {}
        self.sessions: dict[SessionPort, bytes] = {}  # with what the last undirected presence shows
        self.unattended: Callable[[], None] = lambda: None  # called when the last session is gone
        self.forgotten: Callable[[], None] = lambda: None  # called when nothing is to be kept of the account
        self.planned_jid: Callable[[], str] = lambda: ""  # the full JID that the account stream is to bind
        self._planned = ""
        self._stream = stream
        self._settings = settings
        self._clock = clock
        self._idle = idle
        self._client_of = client_of
        self._pacer = pacer
        self._journal = journal
        self._shown = ByteBudget(settings.account_memory)
        self._said = ByteBudget(max(HISTORY_BYTES, BYTES_EACH * settings.history))
        self._waiting = ByteBudget(WAITING_BYTES)
        self._client_budget = ByteBudget(CLIENT_BYTES, full=self._clients_full)
        self._undirected = SessionPresences(self._client_budget, CAPS)
        self._answers = RateLimit(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE, clock.seconds)
        self._abandoned = Timer(clock)
        self._lingering = Timer(clock)
        self._iqs = IQRouting(self, self.sessions.keys(), self.rooms.get, settings.iq_timeout, clock)
        self._messages = MessageRouting(bare, self, self.sessions.keys(), self._iqs, clock)
        self._bookmarks = BookmarkFollower(self, settings, clock)
        self._owner = UserRequests(self, bare, lambda: self.stream_jid_or_planned, clock)

    # What occupancies and IQs need (RoomOutlet) ----------------------------------------------------------------

    @property
    def stream_jid(self) -> str:
        """The full JID of the account stream; "" before it is bound."""
        return self._stream.jid

    @property
    def stream_jid_or_planned(self) -> str:
        """The full JID that the account stream has, or will ask for."""
        jid = self._stream.jid or self._planned
        if not jid:
            jid = self._planned = self.planned_jid()  # the same from now on, and wanted for every stanza
        return jid

    def send_to_room(self, data: bytes) -> None:
        """Send on the account stream, which opens if need be."""
        self._stream.send(data)

    def answer(self, data: bytes) -> None:
        """Answer somebody who asked the account stream, unless too much was answered lately."""
        if self._answers.admits(""):
            self._stream.reply(data)
        else:
            self.log.warn("{account}: too much is asked on its stream, and not answered", account=self.bare)

    def pace(self, call: Callable[[], None]) -> None:
        """Call when it is this account's turn."""
        self._pacer.ask(call)

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        """Send an IQ of the account's own."""
        self._iqs.ask(to, kind, payload, answered)

    def ask_archive(
        self, to: str, query_id: str, payload: bytes, result: Callable[[Stanza], None], answered: Answered
    ) -> None:
        """Send a query of the account's own to an archive."""
        self._iqs.ask_archive(to, query_id, payload, result, answered)

    def from_session_again(self, session: SessionPort, stanza: Stanza) -> None:
        """Route what a session said while a room was out of reach."""
        if session in self.sessions:
            self._route(session, stanza, parse_jid(stanza["to"]))

    @property
    def presence_limit(self) -> int:
        """How large the presence may be that a room is shown: what one client shows goes to all rooms at once."""
        return SHOWN_TO_ALL // max(1, len(self.rooms))

    def room_budget(self) -> ByteBudget:
        """Return a new budget for what a room shows: its own, and beyond that what other rooms leave."""
        return ByteBudget(self._settings.room_memory, self._shown, ROOM_OWN)

    def history_budget(self) -> ByteBudget:
        """Return a new budget for what was said in a room: the same."""
        return ByteBudget(sys.maxsize, self._said, HISTORY_OWN)

    def waiting_budget(self, limit: int) -> ByteBudget:
        """Return a new budget for what waits in a room: private messages, what its archive tells, or the room then."""
        return ByteBudget(limit, self._waiting, WAITING_OWN)

    def room_joined(self, room: str) -> None:
        """The account is in a room."""
        self._bookmarks.room_joined(room)

    def room_left(self, room: str) -> None:
        """The account leaves a room with its last session."""
        self._bookmarks.room_left(room)

    def requests_done(self) -> None:
        """Nothing more is asked for bookmarks now: a stream that was opened for them is closed."""
        if not self.rooms:
            self._release_stream()

    @property
    def client_budget(self) -> ByteBudget:
        """What the account's own clients have kept for them."""
        return self._client_budget

    def _clients_full(self) -> None:
        self.log.warn(
            "clients of {account} have more waiting and shown than the {limit} bytes that are kept: not all of it is",
            account=self.bare,
            limit=CLIENT_BYTES,
        )

    def broadcast_payload(self, session: SessionPort) -> bytes:
        """Return what the session's undirected presence shows; before it sent one, no more than that it is there."""
        return self.sessions.get(session, CAPS)

    def room_ended(self, room: str) -> None:
        """Forget the occupancy; who asked to join while it was leaving joins now. The last closes the stream."""
        ended = self.rooms.pop(room)
        for request in ended.take_next_joins():
            if request.session in self.sessions:
                self._join(request.session, room, request.nick, request.stanza)
        if self.rooms:
            return
        self._abandoned.stop()
        self._release_stream()
        if not self.sessions:
            self._idle(self)

    def _release_stream(self) -> None:
        """Close the account stream once all is answered: who destroys a room is told so after its end."""
        if self._iqs.waiting or self._bookmarks.busy:
            self._lingering.start(LINGER, self._close_stream)
        else:
            self._close_stream()

    def _close_stream(self) -> None:
        """Close the account stream if no room needs it."""
        self._lingering.stop()
        if not self.rooms:
            self._stream.close()
            self._iqs.stream_lost()

    # Sessions --------------------------------------------------------------------------------------------------

    def session_bound(self, session: SessionPort) -> None:
        """A client has bound its resource."""
        if not self.sessions:
            self._bookmarks.first_session()
        self.sessions[session] = CAPS
        self._abandoned.stop()

    def session_closed(self, session: SessionPort) -> None:
        """A client's stream ended: it is detached everywhere, and leaves nothing."""
        if session not in self.sessions:
            return
        del self.sessions[session]
        self._detach(session)
        self._let_go(session)
        if not self.sessions:
            self.unattended()
            self._without_sessions()

    def _let_go(self, session: SessionPort) -> None:
        """A session is the account's no longer: all that was under way for it is over, but in the rooms themselves."""
        self._undirected.forget(session)
        self._iqs.session_closed(session)
        self._messages.session_closed(session)
        self._owner.session_closed(session)

    def _without_sessions(self) -> None:
        """The rooms are kept for clients that come back, not for ever."""
        if not self.rooms:
            if self._lingering.running:
                self._release_stream()
            self._idle(self)
        elif self._settings.stay:
            self._abandoned.start(self._settings.stay, self._abandon)
        else:
            self._leave_all()

    def _abandon(self) -> None:
        self.log.info("{account} has had no client for long enough: it leaves its rooms", account=self.bare)
        self._leave_all()

    def _leave_all(self, reason: str = "") -> None:
        for occupancy in list(self.rooms.values()):
            occupancy.leave_room(reason=reason)

    def _detach(self, session: SessionPort) -> None:
        for occupancy in list(self.rooms.values()):
            occupancy.detach(session, gone=session not in self.sessions)

    def client_in(self, room: str) -> str | None:
        """Return the full JID of the client by which the account is in a room, or None."""
        occupancy = self.rooms.get(room)
        session = occupancy.client if occupancy is not None else None
        return session.jid if session is not None else None

    # From a client ---------------------------------------------------------------------------------------------

    def from_client(self, session: SessionPort, stanza: Stanza) -> bool:
        """Route a client's stanza; False: it passes upstream, byte for byte."""
        if stanza.uri != NS_CLIENT:
            return False
        if not stanza.readable:
            return self._unreadable_from_client(session, stanza)
        if MARK in stanza.raw:
            self._bookmarks.client_said(stanza)
        if stanza.name == "iq" and self._owner.from_client(session, stanza):
            return True
        to = stanza.get("to")
        if to is None:
            if stanza.name == "presence":
                self._undirected_presence(session, stanza)
            return False
        try:
            address = parse_jid(to)
        except InvalidJID:
            return False
        if not self._concerns_room(session, stanza, address):
            return False
        if not is_own(stanza.get("from"), session):
            session.close("invalid-from")
            return True
        self._route(session, stanza, address)
        return True

    def _unreadable_from_client(self, session: SessionPort, stanza: Stanza) -> bool:
        """What nobody can read is refused if it is for a room or for the account itself; all else passes."""
        to, kind = stanza.get("to"), stanza.get("type")
        if to is None:
            if stanza.name == "presence" and kind == "unavailable":
                self._undirected_presence(session, stanza)
            return False
        try:
            address = parse_jid(to)
        except InvalidJID:
            return False
        occupancy = self.rooms.get(address.bare)
        joins = stanza.name == "presence" and kind is None and NS_MUC.encode() in stanza.raw
        is_ours = to == self.stream_jid_or_planned or (occupancy is not None and occupancy.knows(session))
        if not joins and not is_ours:
            return False
        answer = error_for(stanza.name, stanza.attributes, "too many elements")
        if answer is not None:
            session.deliver(rewrite(answer.raw, {"to": session.jid}))
        return True

    def _route(self, session: SessionPort, stanza: Stanza, address: Address) -> None:
        if stanza.name == "presence":
            self._presence(session, stanza, address)
            return
        occupancy = self.rooms.get(address.bare)
        if occupancy is None:
            return
        if occupancy.interrupted:
            occupancy.outbox.add(session, stanza)
        elif stanza.name == "message":
            self._messages.from_session(session, stanza, address, occupancy)
        else:
            self._iq(session, stanza, occupancy)

    def _concerns_room(self, session: SessionPort, stanza: Stanza, address: Address) -> bool:
        """Tell whether a directed stanza is for the account to handle: the routing table's left column."""
        occupancy = self.rooms.get(address.bare)
        if stanza.name == "presence":
            kind = stanza.get("type")
            if address.resource is not None and muc.is_join(stanza):
                return True
            if occupancy is None or kind not in (None, "unavailable", "error", "probe"):
                return False
            if kind is None and address.resource is None:
                return False
            return kind == "error" or occupancy.knows(session)
        if occupancy is None or stanza.name not in ("message", "iq"):
            return False
        return occupancy.knows(session) or (address.resource is None and _asks_of_room(stanza, occupancy))

    def _undirected_presence(self, session: SessionPort, stanza: Stanza) -> None:
        kind = stanza.get("type")
        if kind == "unavailable":
            self._undirected.forget(session)
            self.sessions[session] = CAPS
            self._detach(session)
        elif kind is None:
            self.sessions[session] = self._undirected.keep(session, stanza)  # made once for all rooms
            for occupancy in list(self.rooms.values()):
                occupancy.broadcast_changed(session)

    def _presence(self, session: SessionPort, stanza: Stanza, address: Address) -> None:
        kind = stanza.get("type")
        nick = stanza["to"].partition("/")[2]
        occupancy = self.rooms.get(address.bare)
        if muc.is_join(stanza):
            self._join(session, address.bare, nick, stanza)
        elif occupancy is None:
            return
        elif kind == "unavailable":
            occupancy.leave(session, stanza)
        elif kind is None:
            occupancy.presence_from_session(session, nick, stanza)
        elif kind == "probe":
            self.send_to_room(relayed(stanza, session))
        elif session in occupancy.attached and address.resource in (
            None,
            parse_jid(f"{occupancy.room}/{occupancy.nick}").resource,
        ):
            occupancy.reject(session, stanza)
        # Any other presence error bounces a fork, and must never reach the room.

    def _join(self, session: SessionPort, room: str, nick: str, stanza: Stanza) -> None:
        occupancy = self.rooms.get(room)
        if occupancy is None:
            if len(self.rooms) >= self._settings.max_rooms:
                self.log.warn("{account} is in {limit} rooms: join refused", account=self.bare, limit=len(self.rooms))
                error = error_payload("wait", "resource-constraint", f"no more than {len(self.rooms)} rooms")
                session.deliver(muc.join_error(room, nick, session.jid, stanza.get("id"), error))
                return
            occupancy = self.rooms[room] = self._occupancy(room)
        occupancy.join(session, nick, stanza)

    def _iq(self, session: SessionPort, stanza: Stanza, occupancy: Occupancy) -> None:
        if stanza.get("type") in ("result", "error"):
            self._iqs.answer_from_session(session, stanza)
        else:
            self._iqs.request_from_session(session, stanza, occupancy)

    def from_server(self, session: SessionPort, stanza: Stanza) -> bool:
        """Look at a stanza on a client's own upstream stream; True: it must not reach the client.

        The server makes carbons of what the account stream sends and gets; the proxy has done that already. Some say
        that the account stream is unavailable when it ends, though it never was anything else. What the server lists
        for the client gets the owner's commands added.
        """
        if not stanza.readable:
            return False
        if MARK in stanza.raw:
            self._bookmarks.server_said(stanza)
        if self._owner.listings and stanza.name == "iq" and self._owner.from_server(session, stanza):
            return True
        if stanza.name == "presence":
            return stanza.get("type") == "unavailable" and self._is_stream(stanza.get("from"))
        jid = self.stream_jid_or_planned
        if stanza.name != "message" or (STREAM_MARK not in stanza.raw and jid.encode() not in stanza.raw):
            return False
        carbon = carbons.carbon_of(stanza, jid) if carbons.MARK in stanza.raw else None
        if carbon is None:
            return self._messages.from_own_archive(session, stanza, jid) or self._invitation_from_server(
                session, stanza, jid
            )
        self._messages.carbon_from_server(session, stanza, carbon)
        return True

    def _invitation_from_server(self, session: SessionPort, stanza: Stanza, jid: str) -> bool:
        """A room's invitation names who invites: another account's client rather than its account stream."""
        sender = stanza.get("from") or "/"
        if "/" in sender:
            return False  # rooms speak with their bare JID
        try:
            shown = with_clients(stanza, jid, parse_jid(sender).bare, self._client_of)
        except (InvalidJID, UnusableStanza):
            return False  # the client is to say so
        if shown is not stanza:
            session.deliver(shown.raw)
        return shown is not stanza

    def _is_stream(self, sender: str | None) -> bool:
        try:
            return sender is not None and parse_jid(sender) == parse_jid(self.stream_jid_or_planned)
        except InvalidJID:
            return False

    # From the account stream -----------------------------------------------------------------------------------

    def presence_from_stream(self, stanza: Stanza) -> None:
        """A presence of a room, of an occupant, or a presence error. One that cannot be read says nothing else."""
        if not stanza.readable:
            self._cannot_read(stanza, "too many elements")
            stanza = stanza.without_content()
        occupancy = self._sender_room(stanza)
        if occupancy is not None:
            stanza = self._among_neighbours(stanza, occupancy.room)
            occupancy.from_room.presence(stanza, stanza["from"].partition("/")[2] or None)

    def _among_neighbours(self, stanza: Stanza, room: str) -> Stanza:
        return with_clients(stanza, self._stream.jid, room, self._client_of)

    def message_from_stream(self, stanza: Stanza) -> None:
        """A groupchat or private message, an archive result, or an error for a message that was sent."""
        occupancy = self._sender_room(stanza)
        if occupancy is not None:
            self._messages.from_room(stanza, occupancy)
        else:
            self._messages.from_elsewhere(stanza)

    def iq_from_stream(self, stanza: Stanza) -> None:
        """An IQ: an answer goes to who asked, a request to who can answer."""
        try:
            if stanza.get("type") in ("result", "error"):
                occupancy = self._sender_room(stanza)
                if occupancy is not None and "/" not in stanza["from"]:  # an occupant's answer is not the room's
                    stanza = self._among_neighbours(stanza, occupancy.room)
                self._iqs.answer_from_room(stanza)
            else:
                self._iqs.request_from_room(stanza)
        except InvalidJID as error:
            self.log.warn("IQ from an invalid address: {error}", error=error)
        if self._lingering.running and not self._iqs.waiting and not self._bookmarks.busy:
            self._close_stream()

    def cannot_use(self, stanza: Stanza, reason: str) -> None:
        """A stanza on the account stream was left out, for it cannot be read."""
        self._cannot_read(stanza, reason)
        self.left_out(stanza.name, stanza.attributes)

    def _cannot_read(self, stanza: Stanza, reason: str) -> None:
        NET.unusable(stanza, f"account stream of {self.bare}", reason)

    def left_out(self, name: str, attributes: Mapping[str, str], reason: str = "too large") -> None:
        """A stanza on the account stream is not used: whoever waits for an answer is told."""
        if name != "iq":
            return
        if attributes.get("type") in ("result", "error"):
            self.iq_from_stream(lost_answer(attributes, f"the answer cannot be used: {reason}"))
        elif (answer := error_for(name, attributes, reason)) is not None:
            self.answer(rewrite(answer.raw, {"from": None}))

    def not_sent(self, answer: Stanza) -> None:
        """A stanza was too large for the account stream: its sender is given this answer, as if a room gave it."""
        if answer.name == "iq":
            self.iq_from_stream(answer)
            return
        occupancy = self._sender_room(answer)
        if occupancy is None:
            return
        if answer.name == "presence":
            occupancy.from_room.presence_refused(answer)
        else:
            self._messages.from_room(answer, occupancy)

    def _sender_room(self, stanza: Stanza) -> Occupancy | None:
        sender = stanza.get("from")
        if not sender:
            return None  # the server, for the account itself
        try:
            return self.rooms.get(parse_jid(sender).bare)
        except InvalidJID as error:
            self.log.warn("{name} from an invalid address: {error}", name=stanza.name, error=error)
            return None

    def keep_alive(self) -> None:
        """Ask the server for a sign of life on the account stream."""
        self.ask(parse_jid(self.bare).domain, "get", PING, lambda _answer: None)

    def stream_lost(self) -> None:
        """The account stream is gone: the rooms are out of reach until there is another."""
        # Occupancies first: who reads a room's archive must not take the end of the stream for that of the archive.
        for occupancy in list(self.rooms.values()):
            occupancy.stream_lost()
        self._iqs.stream_lost()
        if self.rooms:
            self._stream.reopen()

    def stream_opened(self) -> None:
        """There is an account stream: come back into the rooms."""
        for occupancy in list(self.rooms.values()):
            occupancy.stream_opened()
        self._bookmarks.stream_opened()

    def stream_refused(self) -> None:
        """The server refuses the login: no room can be reached until a client logs in anew."""
        for occupancy in list(self.rooms.values()):
            occupancy.stream_lost()
            occupancy.given_up()
        self._iqs.stream_lost()

    # By itself, and by its owner -------------------------------------------------------------------------------

    def restore(self, kept: KeptAccount) -> None:
        """Take the rooms that were kept; they are entered when the stream is open."""
        for room in kept.rooms:
            try:
                self.rooms[room.room] = self._occupancy(room.room, room)
            except Exception:  # noqa: BLE001 (one damaged room must not cost the others)
                self.log.failure("while restoring {room} of {account}", room=room.room, account=self.bare)
        if self.rooms and self._settings.stay:
            idle = max(0.0, wall_time(self._clock) - kept.last_seen)
            self._abandoned.start(max(0.0, self._settings.stay - idle), self._abandon)
        self._bookmarks.restored()

    def kept_rooms(self) -> list[KeptRoom]:
        """Return the rooms as they are to be on disk."""
        rooms = [occupancy.kept() for occupancy in self.rooms.values()]
        return [room for room in rooms if room is not None]

    def _occupancy(self, room: str, kept: KeptRoom | None = None) -> Occupancy:
        journal = self._journal.room(self.bare, room)
        return Occupancy(RoomContext(room, self, self._settings, self._clock, CAPS, journal), kept)

    def enter(self, room: str, nick: str, password: str | None = None, *, bookmarked: bool = True) -> None:
        """Join a room without a client asking for it; if the account is in already, only the bookmark is noted."""
        occupancy = self.rooms.get(room)
        if occupancy is not None:
            occupancy.note_bookmark(bookmarked)
        elif len(self.rooms) >= self._settings.max_rooms:
            self.log.warn("{account} is in too many rooms to enter {room}", account=self.bare, room=room)
        else:
            membership = KeptMembership(nick, nick, password, bookmarked, wall_time(self._clock))
            self.rooms[room] = occupancy = self._occupancy(room, KeptRoom(room, membership))
            self._lingering.stop()
            if self._stream.jid:
                occupancy.stream_opened()
            else:
                self._stream.reopen()

    def leave(self, room: str) -> None:
        """Leave a room; sessions that are attached are shown out."""
        occupancy = self.rooms.get(room)
        if occupancy is not None:
            self.room_left(room)
            occupancy.leave_room(reason=LEFT)

    def set_bookmarked(self, room: str, bookmarked: bool) -> None:
        """Note whether a bookmark keeps the account in a room."""
        occupancy = self.rooms.get(room)
        if occupancy is not None:
            occupancy.note_bookmark(bookmarked)

    def detach_device(self, session: SessionPort, room: str | None = None) -> None:
        """Show a session out of one room, or of all; the account stays."""
        for occupancy in list(self.rooms.values()):
            if room in (None, occupancy.room) and session in occupancy.attached:
                occupancy.show_out(session, DETACHED)

    def stop(self) -> None:
        """The account is no more, or the proxy ends."""
        self._bookmarks.stop()

    def end(self) -> list[SessionPort]:
        """Be no more: every room is left at once. Return the sessions, which are the account's no longer."""
        sessions = list(self.sessions)
        self.sessions.clear()
        for session in sessions:
            self._let_go(session)  # what rooms asked it is answered while the account is in them
        for occupancy in list(self.rooms.values()):
            occupancy.leave_at_once()
        self.stop()
        self._abandoned.stop()
        self._close_stream()
        return sessions

    def forget(self) -> None:
        """Leave everything, and keep nothing."""
        self._leave_all(FORGOTTEN)
        self.forgotten()


def _asks_of_room(stanza: Stanza, occupancy: Occupancy) -> bool:
    """Tell whether an IQ asks what a client may want to know before it joins, and the account can answer better."""
    if stanza.name != "iq" or occupancy.interrupted:
        return False
    return concerns_archive(stanza) or (stanza.get("type") == "get" and stanza.has_payload(NS_DISCO_INFO, "query"))
