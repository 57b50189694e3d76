"""One account: the subprotocols of its stream, its sessions, and which of them a stanza is for. No I/O.

The routing tables of docs/architecture.md are `from_client` and `from_server` here, and the handlers in `subprotocols`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any

from minimixproxy.bounds.shared_rate import SharedRate
from minimixproxy.jids import Address, InvalidJID, Whose, parse_jid, whose
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.addressing.outgoing import is_own
from minimixproxy.minimix.bookmarks.events import MARK
from minimixproxy.minimix.bookmarks.follower import BookmarkFollower
from minimixproxy.minimix.bookmarks.handler import BookmarkHandler
from minimixproxy.minimix.bookmarks.says import Says
from minimixproxy.minimix.commands.user_requests import UserRequests
from minimixproxy.minimix.direct_sessions import DirectSessions
from minimixproxy.minimix.interfaces.account_host import AccountHost
from minimixproxy.minimix.interfaces.endings import Ending, Why
from minimixproxy.minimix.interfaces.enrolling import Enrolled
from minimixproxy.minimix.interfaces.handed import HandedAccount, HandedSession
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptLogin, KeptRoom, TokenDevice
from minimixproxy.minimix.interfaces.streams import Answered, SessionPort, StreamPort
from minimixproxy.minimix.managed_sessions import ManagedSessions
from minimixproxy.minimix.occupancy.occupancies import Occupancies
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.minimix.occupancy.reasons import of_error, of_removal
from minimixproxy.minimix.pausing import Pausing
from minimixproxy.minimix.push.pushing import Pushing
from minimixproxy.minimix.read_state import ReadState, ReadStateHandler
from minimixproxy.minimix.room.context import AccountContext
from minimixproxy.minimix.room.outbox import is_to_all
from minimixproxy.minimix.room.own_presence import presence_of
from minimixproxy.minimix.room.sessions import Sessions
from minimixproxy.minimix.stream_release import StreamRelease
from minimixproxy.minimix.subprotocols.iq_proxying import IQProxyHandler
from minimixproxy.minimix.subprotocols.message_forking import MessageForkHandler
from minimixproxy.minimix.subprotocols.open_queries import OpenQueries
from minimixproxy.minimix.subprotocols.parts import AccountParts
from minimixproxy.minimix.subprotocols.presence_interception import MUCPresenceHandler
from minimixproxy.namespaces import NS_CLIENT, NS_MUC
from minimixproxy.wire.stanza import Stanza, rewrite
from minimixproxy.wire.whole_messages import value_of
from minimixproxy.xep import displayed
from minimixproxy.xep.oversized import error_for

#: Answers to others: all occupants of a large room may ask at once, for a picture perhaps.
ANSWERS_AT_ONCE, ANSWERS_PER_SECOND = 2000, 20.0

MAX_HANDED = 1024 * 1024  # bytes that are open with clients when their account is handed on; of more, some come again

FORGOTTEN = "The account has left all of its rooms: one of its devices told it to forget everything."


class Account:
    """The account `bare` and all that belongs to it.

    `stream` is its account stream, opened when it is first written to; `planned_jid` the full JID that it will ask for.
    `host` is told what becomes of the account.
    """

    log = Logger()

    def __init__(
        self, bare: str, stream: StreamPort, host: AccountHost, context: AccountContext, planned_jid: str
    ) -> None:
        self.bare = bare
        self.sessions = Sessions(bare)
        self.push = Pushing(bare, context, self.sessions, self.ask, self.requests_done)
        self._up_to = ReadState(self, lambda room: self.rooms.get(room), self.push.read_further)
        self.occupancies = Occupancies(bare, stream, self.sessions, context, self)
        self._direct = DirectSessions()
        self._parts = False  # its sessions go on with another process: nothing is as if there were none
        self._managed = ManagedSessions(bare, context.journal, context.clock, self.occupancies.acknowledged)
        self._stream = stream
        self._host = host
        self._planned_jid = planned_jid
        self._pausing = Pausing(bare, stream, context.clock)
        self._answers, self._answers_to_rooms = (
            SharedRate(ANSWERS_PER_SECOND, ANSWERS_AT_ONCE, context.clock.seconds) for _ in range(2)
        )
        parts = AccountParts(
            bare, self.sessions, self.occupancies, context, self.address, self._answer, self._displayed
        )
        queries = OpenQueries()
        self.presences = MUCPresenceHandler(parts)
        self.messages = MessageForkHandler(parts, queries)
        self.iqs = IQProxyHandler(parts, queries, self._iq_handled)
        self._bookmarks = BookmarkFollower(self, context.settings, context.clock, context.journal)
        self._journal = context.journal
        self._endings = context.endings
        self._user = UserRequests(self, bare, self.address, context.clock)
        self._release = StreamRelease(stream, context.clock, self._is_needed, self._awaits_answers, self._stream_closed)
        openings = BookmarkHandler(self._bookmarks), ReadStateHandler(self._up_to)
        for handler in (self.presences, self.messages, self.iqs, *openings):
            handler.setHandlerParent(stream)

    # What others see of it -------------------------------------------------------------------------------------

    @property
    def rooms(self) -> Mapping[str, Occupancy]:
        """The rooms that it is in, or about to be, by bare JID."""
        return self.occupancies.rooms

    @property
    def is_idle(self) -> bool:
        """Whether it has no clients, and nothing is under way in its rooms."""
        return not self.sessions and all(room.state is State.JOINED for room in self.rooms.values())

    @property
    def rests(self) -> bool:
        """Whether another process could have it, with its sessions, and its clients would hardly notice."""
        resting = all(session.rests for session in self.sessions)
        if not resting or self.iqs.waiting or not self.occupancies.at_rest:
            return False
        return not self.sessions or self.occupancies.handed() is not None

    @property
    def is_enrolled(self) -> bool:
        """Whether the account can be in rooms by itself."""
        return self._host.is_enrolled

    @property
    def login_refused(self) -> bool:
        """Whether there is a login for that, and the server has refused it."""
        return self._host.login_refused

    @property
    def stream_jid(self) -> str:
        """The full JID of the account stream; "" before it is bound."""
        return self._stream.jid

    def address(self) -> str:
        """Return the full JID that the account stream has, or will ask for."""
        return self._stream.jid or self._planned_jid

    def client_in(self, room: str) -> str | None:
        """Return the full JID of the client by which the account is in a room, or None."""
        occupancy = self.rooms.get(room)
        session = occupancy.client if occupancy is not None else None
        return session.jid if session is not None else None

    def bookmark_of(self, room: str) -> Says:
        """Return what is known of the bookmark of a room."""
        return self._bookmarks.says(room)

    def kept_rooms(self) -> list[KeptRoom]:
        """Return the rooms as they are to be on disk."""
        return self.occupancies.kept()

    def unfollowed(self) -> dict[str, str | None]:
        """Return the bookmarks that are not followed, as they are to be on disk."""
        return self._bookmarks.unfollowed()

    # The stream ------------------------------------------------------------------------------------------------

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        """Send an IQ of the account's own."""
        self._stream.requests.ask(to, kind, payload, answered)

    def requests_done(self) -> None:
        """Nothing more is asked for bookmarks now: a stream that was opened for them is closed."""
        if not self.rooms:
            self._release.begin()

    def _answer(self, asker: str | None, data: bytes) -> None:
        """All occupants of a room share what one asker gets: they are as many as they like. So are strangers."""
        bare = (asker or "").partition("/")[0]
        if (self._answers_to_rooms if bare in self.rooms else self._answers).admits(bare):
            self._stream.reply(data)
        else:
            self.log.warn("{account} is asked too much by others: requests stay without an answer", account=self.bare)

    def read_up_to(self, room: str) -> str | None:
        """Return the room's id of the last message that was read there, as far as it is known (XEP-0490)."""
        return self._up_to[room]

    def _displayed(self, event: Stanza) -> bool:
        """An event has come on the account stream, perhaps of how far the account has read."""
        if whose(event.get("from"), self.bare) is not Whose.ACCOUNT:
            return False
        self.push.read_elsewhere(event)
        self._up_to.on_stream(event)
        return True

    def _is_needed(self) -> bool:
        return bool(self.rooms) or self.push.publishing

    def _awaits_answers(self) -> bool:
        return self.iqs.waiting or self._stream.requests.waiting or self._bookmarks.busy

    def _iq_handled(self) -> None:
        self._release.look_again()

    def _stream_closed(self) -> None:
        """Nobody waits for what was asked on it."""
        self.iqs.unreachable(refused=False)
        self._stream.requests.unreachable(refused=False)

    # Another process of the cluster goes on with it, or had it --------------------------------------------------

    def hand_on(self, keep: Callable[[Any], KeptLogin], time: float) -> HandedAccount | None:
        """Hand on the sessions that can be; the others stay. None: none can be.

        `keep`: see `SessionPort.hand_on`. `time`: of now, seconds since the epoch.
        """
        rooms = self.occupancies.handed()
        if rooms is None or self.iqs.waiting:
            return None
        self._parts = True
        asleep_first = sorted(self.sessions, key=lambda session: not session.asleep)  # of too many, these end first
        sessions: list[HandedSession] = []
        for session in asleep_first:
            if sum(one.size for one in sessions) < MAX_HANDED and (handed := self._handed(session, keep)) is not None:
                sessions.append(handed)
        self._parts = bool(sessions)
        return HandedAccount(time, tuple(sessions), rooms) if sessions else None

    def _handed(self, session: SessionPort, keep: Callable[[Any], KeptLogin]) -> HandedSession | None:
        try:
            return session.hand_on(keep, self.sessions.payload(session))
        except Exception:  # noqa: BLE001 (the edge: one session of which that fails must not cost the others)
            self.log.failure("while {jid} was handed on", jid=session.jid)
            return None

    def take_over(self, handed: HandedAccount) -> None:
        """Go on in the rooms, before they are joined again, with sessions that were bound anew."""
        sessions = {session.jid: session for session in self.sessions}
        for one in handed.sessions:
            session = sessions.get(one.jid)
            if session is not None:
                self.sessions.shows(session, presence_of(one.shows))
        self.occupancies.take_over(handed.rooms, sessions)

    # Sessions --------------------------------------------------------------------------------------------------

    def session_bound(self, session: SessionPort) -> None:
        """A client has bound its resource. Whoever had it before has lost it (RFC 6120 §7.7.2.2), here too."""
        if not self.is_enrolled:
            self._direct.add(session)
        elif not self.sessions:
            self._bookmarks.first_session()
        self.sessions.add(session)
        for former in self.sessions.others_of(session):
            self.session_closed(former)
            former.close("conflict", "another session has taken the resource")
        self.push.awake(session)
        self.occupancies.sessions_came()
        self._up_to.session_came()

    def enrolled(self) -> None:
        """There is a login now that opens the stream: whoever joins a room from now on does so by the account."""
        if self.sessions:
            self._bookmarks.first_session()

    def session_closed(self, session: SessionPort) -> None:
        """A client's stream ended: it is detached everywhere, and leaves nothing."""
        if session not in self.sessions:
            return
        self.sessions.remove(session)
        self.occupancies.detach(session)
        self._let_go(session)
        if not self.sessions:
            self._host.unattended()
            if not self._parts:
                self._without_sessions()

    def _let_go(self, session: SessionPort) -> None:
        """A session is the account's no longer: all that was under way for it is over, but in the rooms themselves."""
        self.push.session_closed(session)
        self.iqs.session_closed(session)
        self.messages.session_closed(session)
        self._managed.remove(session)
        self._pausing.remove(session)
        self._direct.remove(session)
        self._user.session_closed(session)
        self._bookmarks.session_closed(session)

    def session_managed(self, session: SessionPort) -> None:
        """From now on a client acknowledges what it gets (XEP-0198)."""
        if session in self.sessions:
            self._managed.add(session)

    def acknowledged(self, session: SessionPort) -> None:
        """A client has acknowledged something."""
        self._managed.acknowledged(session)

    def session_sleeps(self, session: SessionPort) -> None:
        """A client's connection is gone, and its session waits to be resumed."""
        self._managed.sleeps(session)
        self.push.connection_lost(session)

    def session_wakes(self, session: SessionPort) -> None:
        """A client has another connection, and goes on with its session."""
        self.push.awake(session)

    def held_back(self, session: SessionPort, waits: bool) -> None:
        """Messages begin to wait for an inactive client (XEP-0352): it has not seen them if the proxy is killed.

        What a managed session has not acknowledged it has not seen in any case.
        """
        if session.managed or session not in self.sessions:
            return
        if waits:
            self._managed.add(session)
        else:
            self._managed.remove(session)

    def _without_sessions(self) -> None:
        if self.rooms:
            self.occupancies.sessions_gone()
        else:
            self._release.look_again()
            self._host.idle()

    # From a client ---------------------------------------------------------------------------------------------

    def from_client(self, session: SessionPort, stanza: Stanza) -> bool:
        """Route a client's stanza; False: it passes upstream, byte for byte."""
        if stanza.uri != NS_CLIENT:
            return False
        if not stanza.readable:
            return self._unreadable_from_client(session, stanza)
        if MARK in stanza.raw and self.is_enrolled:
            self._bookmarks.client_said(session, stanza)
        self.push.from_client(session, stanza, noted=self.is_enrolled)
        if displayed.MARK in stanza.raw and self.is_enrolled:
            self._up_to.from_client(stanza)
        if stanza.name == "iq" and self._user.from_client(session, stanza):
            return True
        to = stanza.get("to")
        if to is None:
            if stanza.name == "presence":
                self._undirected(session, stanza)
            return False
        try:
            address = parse_jid(to)
        except InvalidJID:
            return False
        if self._passes(session, stanza, address):
            return False
        if not self._concerns_room(session, stanza, address):
            return False
        if not is_own(stanza.get("from"), session):
            session.close("invalid-from")
            return True
        if not self._pausing.refuses(session, stanza):
            self._route(session, stanza, address)
        elif stanza.name == "presence" and address.bare not in self.rooms:
            self.occupancies.not_in(address.bare, Ending(Why.SERVER_SLOW))
        if session in self.sessions:  # it may have ended by what it was answered
            self._pausing.said(session, len(stanza.raw))
        if session.managed:
            self._stream.when_acknowledged(session.hold())
        return True

    def leaves_from_client(self, messages: bytes, receivers: Collection[bytes]) -> bool:
        """Tell of whole messages of a client whether `from_client` would let each pass, and learn nothing from it."""
        if self.push.active or MARK in messages or displayed.MARK in messages:
            return False
        return not any(map(self._may_be_ours, receivers))

    def _may_be_ours(self, written: bytes) -> bool:
        receiver = value_of(written)
        if receiver is None:
            return False
        try:
            return parse_jid(receiver).bare in self.occupancies.rooms or receiver == self.address()
        except InvalidJID:
            return False

    def _undirected(self, session: SessionPort, presence: Stanza) -> None:
        if self._direct and session in self._direct and presence.get("type") == "unavailable":
            self._direct.gone_from_all(session)
        self.presences.undirected(session, presence)

    def _passes(self, session: SessionPort, stanza: Stanza, address: Address) -> bool:
        """Tell whether a directed stanza passes, whatever it is: its session is in the room by itself, or is to be."""
        if not self._direct or session not in self._direct:
            return False
        return self._direct.passes(session, stanza, address, enrolled=self.is_enrolled)

    def _concerns_room(self, session: SessionPort, stanza: Stanza, address: Address) -> bool:
        """Tell whether a directed stanza is for the account to handle: the routing table's left column."""
        if stanza.name == "presence":
            return self.presences.concerns_room(session, stanza, address)
        if stanza.name == "iq":
            return self.iqs.concerns_room(session, stanza, address)
        occupancy = self.rooms.get(address.bare)
        return stanza.name == "message" and occupancy is not None and occupancy.knows(session)

    def _route(self, session: SessionPort, stanza: Stanza, address: Address) -> None:
        if stanza.name == "presence":
            self.presences.from_session(session, stanza, address)
            return
        occupancy = self.rooms.get(address.bare)
        if occupancy is None:
            return
        if stanza.name == "message" and self.messages.is_repeated(session, stanza, address, occupancy):
            return
        if occupancy.interrupted:
            occupancy.outbox.add(session, stanza)
        elif stanza.name == "message":
            self.messages.from_session(session, stanza, address, occupancy)
        else:
            self.iqs.from_session(session, stanza, occupancy)

    def from_session_again(self, session: SessionPort, stanza: Stanza) -> None:
        """Route what a session said while a room was out of reach; if it is gone, only what it said to all."""
        here = session in self.sessions
        if (here or is_to_all(stanza)) and not (here and self._pausing.refuses(session, stanza)):
            self._route(session, stanza, parse_jid(stanza["to"]))

    def _unreadable_from_client(self, session: SessionPort, stanza: Stanza) -> bool:
        """What nobody can read is refused if it is for a room or for the account itself; all else passes."""
        to, kind = stanza.get("to"), stanza.get("type")
        if to is None:
            if stanza.name == "presence" and kind == "unavailable":
                self._undirected(session, stanza)
            return False
        try:
            address = parse_jid(to)
        except InvalidJID:
            return False
        if to != self.address() and self._passes(session, stanza, address):
            return False
        occupancy = self.rooms.get(address.bare)
        joins = stanza.name == "presence" and kind is None and NS_MUC.encode() in stanza.raw
        is_ours = to == self.address() or (occupancy is not None and occupancy.knows(session))
        if not joins and not is_ours:
            return False
        answer = error_for(stanza.name, stanza.attributes, "too many elements")
        if joins and occupancy is None:
            self.occupancies.not_in(address.bare, Ending(Why.UNREADABLE))
        if answer is not None:
            session.deliver(rewrite(answer.raw, {"to": session.jid}))
        return True

    # From the server, on a client's own stream -----------------------------------------------------------------

    def from_server(self, session: SessionPort, stanza: Stanza) -> bool:
        """Look at a stanza on a client's own upstream stream; True: it must not reach the client as it is.

        What the server lists for the client gets the commands of the account's user added.
        """
        if not stanza.readable:
            return False
        if MARK in stanza.raw and self.is_enrolled:
            self._bookmarks.server_said(stanza)
        if self._bookmarks.awaits_answers and stanza.name == "iq":
            self._bookmarks.answered(session, stanza)
        if stanza.name == "message" and displayed.MARK in stanza.raw and self.is_enrolled:
            self._up_to.to_client(stanza)
        if self.push.concerned and self.push.from_server(session, stanza, self.rooms):
            return True
        if self._user.disco_items and stanza.name == "iq" and self._user.from_server(session, stanza):
            return True
        if stanza.name == "presence":
            if self._direct and session in self._direct:
                self._heard_directly(session, stanza)
            return self.presences.from_server(stanza)
        return stanza.name == "message" and self.messages.from_server(session, stanza)

    def leaves_from_server(self, messages: bytes) -> bool:
        """Tell of whole messages of the server whether `from_server` would let each pass, and learn nothing from it."""
        if self.push.concerned or MARK in messages or displayed.MARK in messages:
            return False
        return not self.messages.names_stream(messages)

    def _heard_directly(self, session: SessionPort, presence: Stanza) -> None:
        """A room, perhaps, has something to say to a session that is in rooms by itself."""
        room = self._direct.heard(session, presence)
        if room is not None:
            kind = presence.get("type")
            self.occupancies.not_in(
                room, of_error(Why.REFUSED_DIRECTLY, presence) if kind == "error" else of_removal(presence)
            )

    # Rooms, by itself and by its user --------------------------------------------------------------------------

    def restore(self, kept: KeptAccount) -> None:
        """Take the rooms that were kept; they are entered when the stream is open."""
        self.occupancies.restore(kept)
        self._bookmarks.restored(kept.unfollowed)
        self.push.restore(kept.push)

    def room_joined(self, room: str) -> None:
        """The account is in a room."""
        self._bookmarks.room_joined(room)

    def room_left(self, room: str) -> None:
        """The account leaves a room with its last session."""
        self._bookmarks.room_left(room)

    def room_removed(self, room: str) -> None:
        """The room has removed the account, or does not let it come back, and means it."""
        self._bookmarks.room_removed(room)

    def last_room_ended(self) -> None:
        """The account is in no room any more: its stream is closed."""
        self._release.begin()
        if not self.sessions:
            self._host.idle()

    def enter(self, room: str, nick: str, password: str | None = None, *, bookmarked: bool = True) -> None:
        """Join a room without a client asking for it; if the account is in already, only the bookmark is noted."""
        self.occupancies.enter(room, nick, password, bookmarked=bookmarked)

    def leave(self, room: str, why: Why = Why.LEFT_BY_COMMAND) -> None:
        """Leave a room; sessions that are attached are shown out."""
        self.occupancies.leave(room, why)

    def not_followed(self, room: str) -> None:
        """A bookmark says to join a room, and the account is in as many rooms as it may be."""
        self.occupancies.not_in(room, Ending(Why.TOO_MANY_ROOMS))

    def notifications(self, rooms: Mapping[str, str]) -> None:
        """Bookmarks were read: by room, what they say of notifications (XEP-0492)."""
        self.push.notifications(rooms)

    def set_bookmarked(self, room: str, bookmarked: bool) -> None:
        """Note whether a bookmark keeps the account in a room."""
        occupancy = self.rooms.get(room)
        if occupancy is not None:
            occupancy.note_bookmark(bookmarked)

    def detach_device(self, session: SessionPort, room: str | None = None) -> None:
        """Show a session out of one room, or of all; the account stays."""
        self.occupancies.show_out(session, room)

    def enroll(self, password: str) -> Awaitable[Enrolled]:
        """Ask the server about the account's password, and keep what it leaves. Raises `NotEnrolled`."""
        return self._host.enroll(password)

    @property
    def token_devices(self) -> Sequence[TokenDevice]:
        """The devices that log in by a token."""
        return self._journal.token_devices(self.bare)

    def withdraw_token(self, device: str) -> None:
        """A device is to log in by its token no more."""
        self._journal.tokens_withdrawn(self.bare, device)

    def forget(self) -> None:
        """Leave everything, and keep nothing."""
        self.occupancies.leave_all(Why.LEFT_BY_COMMAND, FORGOTTEN)
        self._endings.forgotten(self.bare)
        self._host.forgotten()

    # Its end ---------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """The account is no more, or the proxy ends."""
        self._bookmarks.stop()
        self._managed.stop()
        self.push.stop()

    def end(self) -> list[SessionPort]:
        """Be no more: every room is left at once. Return the sessions, which are the account's no longer."""
        sessions = list(self.sessions)
        for session in sessions:
            self.sessions.remove(session)
        for session in sessions:
            self._let_go(session)  # what rooms asked it is answered while the account is in them
        self.occupancies.leave_at_once()
        self.stop()
        self._release.now()
        return sessions
