"""The sessions of one account that are in a room, or wait to be: let in, shown out, gone. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minimixproxy.minimix.history.private_messages import MAX_BYTES, PrivateMessages
from minimixproxy.minimix.history.room_history import RoomHistory
from minimixproxy.minimix.interfaces.handed import HandedRoom
from minimixproxy.minimix.interfaces.journal import KeptPrivate
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.room.appearance import Appearance
from minimixproxy.minimix.room.attached_sessions import AttachedSessions
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.minimix.room.outbox import Outbox
from minimixproxy.minimix.room.own_presence import presence_of
from minimixproxy.minimix.room.sessions import resource_of
from minimixproxy.minimix.room.snapshot import Snapshot
from minimixproxy.minimix.room.waiting_joins import Joiner, JoinRequest, WaitingJoins
from minimixproxy.timing.clock import Timer, wall_time
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc
from minimixproxy.xep.stanza_errors import error_payload


class Attendance:
    """Who is attached, who waits for a join that is under way, and who for the next occupancy of the room.

    `view` is what the room has shown, and what a session is shown that comes later.
    """

    __slots__ = (
        "_appearance",
        "_clock",
        "_history",
        "_outlet",
        "_patience",
        "_settings",
        "attached",
        "joiner",
        "next",
        "outbox",
        "privates",
        "view",
        "waiting",
    )

    def __init__(
        self, context: RoomContext, appearance: Appearance, history: RoomHistory, privates: Iterable[KeptPrivate]
    ) -> None:
        room, outlet, clock = context.room, context.outlet, context.clock
        self.view = Snapshot.empty(context)
        self.attached: AttachedSessions = appearance.attached
        self.waiting = WaitingJoins(room, outlet.client_budget)
        self.next = WaitingJoins(room, outlet.client_budget)
        self.joiner: Joiner | None = None  # the one whose join was sent
        self.outbox = Outbox(clock, outlet.client_budget)
        self.privates = PrivateMessages(
            room, context.journal, outlet.waiting_budget(MAX_BYTES), privates, outlet.account
        )
        self._outlet = outlet
        self._settings = context.settings
        self._clock = clock
        self._appearance = appearance
        self._history = history
        self._patience = Timer(clock)  # of those who wait

    def __contains__(self, session: SessionPort) -> bool:
        """Tell whether a session has joined, or waits to, from its own point of view."""
        return session in self.attached or session in self.waiting or session in self.next

    @property
    def client(self) -> SessionPort | None:
        """The session that stands for the account: the most recently active of those attached, or the first to wait."""
        session = self.attached.most_active()
        if session is not None:
            return session
        return self.joiner.session if self.joiner is not None and self.joiner.session in self.waiting else None

    # In --------------------------------------------------------------------------------------------------------

    def sends(self, request: JoinRequest) -> None:
        """The join of one of those who wait is sent now."""
        request.is_sent()
        self.joiner = Joiner(request.session, request.key, request.wish)

    def refuse_joiner(self, error: Stanza) -> JoinRequest | None:
        """The room's error is for those who asked for just this; return another one, who may try."""
        assert self.joiner is not None
        return self.waiting.refuse(self.joiner, error)

    def has_patience(self, seconds: float) -> None:
        """Whoever waits is refused then, at the latest: counted from the first call."""
        if not self._patience.running:
            self._patience.start(seconds, lambda: self.refuse_waiting("remote-server-timeout"))

    def entered(self, view: Snapshot) -> None:
        """The room has shown itself anew."""
        self.view = view

    def let_in_waiting(self) -> None:
        """The room has shown everything: every waiting session is given its replay."""
        self._patience.stop()
        for request in self.waiting.take():
            self.let_in(request)
        self.joiner = None

    def let_in(self, request: JoinRequest) -> None:
        """Show the room to a session as if it had joined just now, and attach it."""
        session = request.session
        first = request.sent
        differs = not self._appearance.is_nick(request.nick)
        codes = set()
        if first and self.view.created:
            codes.add(muc.CREATED)
        if differs:
            codes.add(muc.NICK_MODIFIED)
        # A resync of an attached session has seen all, and is given what a newcomer gets.
        resource = "" if session in self.attached else resource_of(session)
        history = self._history.select(request.wish, resource, wall_time(self._clock), everything=first)
        if resource:
            self._history.attached(resource, managed=session.managed)
        session.deliver_all(self.view.replay(session.jid, self._outlet.stream_jid, request.id, codes, history))
        if self.privates:
            privates = self.privates
            session.deliver_all(privates.entrust(session) if session.managed else privates.give(session.jid))
        self.attached.show(session, request.stanza)
        self._appearance.refresh()
        if differs and not first and self._settings.nick_on_join == "change":
            self._appearance.change_nick(session, request.nick, request.id)

    # Another process of the cluster goes on with it, or had it -------------------------------------------------

    def handed(self) -> HandedRoom:
        """Return what another process is to go on with."""
        return self.view.handed(tuple((session.jid, shows) for session, shows in self.attached.directed()))

    def restore(self, handed: HandedRoom, sessions: Mapping[str, SessionPort]) -> None:
        """Take what another process was shown, and those of `sessions`, by full JID, that it had attached."""
        self.view.restore(handed)
        for jid, shows in handed.attached:
            session = sessions.get(jid)
            if session is not None:
                self._history.attached(resource_of(session), managed=session.managed)
                self.attached.show(session, presence_of(shows) if shows is not None else None)
                self.privates.restored(session)

    # Out -------------------------------------------------------------------------------------------------------

    def drop(self, session: SessionPort) -> None:
        """A session is attached no more, and waits for nothing."""
        self._appearance.forget(session)
        self.outbox.drop(session)
        if session in self.attached:
            self.attached.remove(session)
            self._history.detached(resource_of(session), session.reached)
            self.privates.gone(session)
        self.waiting.drop(session)
        self.next.drop(session)

    def show_out(
        self, session: SessionPort, codes: tuple[str, ...], request: Stanza | None = None, reason: str = ""
    ) -> None:
        """Drop a session, and let it know by a removal with these status codes; `request` is what it answers."""
        self.outbox.refuse_one(session, "recipient-unavailable")
        self.drop(session)
        occupant = f"{self.view.room}/{self._appearance.nick}"
        session.deliver(muc.removal(occupant, session.jid, codes, self.view.self_presence, request, reason))

    def show_out_all(self, codes: tuple[str, ...], reason: str) -> None:
        """Show out all that are attached, who did not ask for it."""
        for session in list(self.attached):
            self.show_out(session, codes, reason=reason)

    def close(self) -> None:
        """The occupancy is over: nobody is attached, and nothing kept."""
        self.attached.clear()
        self.view.close()
        self.privates.close()

    def refuse_waiting(self, condition: str, text: str = "the account cannot enter the room now") -> None:
        """Those who wait for the join are told that it failed."""
        self._patience.stop()
        self.waiting.refuse_all(error_payload("wait", condition, text))
