"""Push for one account (XEP-0357): who is to be told what, and when. No I/O.

Push services are told on the account stream, which opens for that if need be.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from functools import partial
from typing import NamedTuple

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import KeptPush
from minimixproxy.minimix.interfaces.said import Said
from minimixproxy.minimix.interfaces.streams import Answered, SessionPort
from minimixproxy.minimix.push import contact
from minimixproxy.minimix.push.enabling import Enabling
from minimixproxy.minimix.push.pending import NOT_FROM_HERE, Item, Pending, Recent
from minimixproxy.minimix.push.policy import DeviceFacts, Kind, MessageFacts, Notify, State, Verdict, matters, verdict
from minimixproxy.minimix.push.registrations import Registrations, is_device
from minimixproxy.minimix.room.context import AccountContext
from minimixproxy.minimix.room.sessions import Sessions
from minimixproxy.namespaces import NS_CLIENT, NS_SID
from minimixproxy.wire.children import payload_attributes
from minimixproxy.wire.stanza import Stanza, UnusableStanza
from minimixproxy.xep import displayed
from minimixproxy.xep.push import LONGEST_BODY, Disabling, Service, Summary, publication

#: Sends an IQ of the account's own: to whom, the type, the payload, and who gets the answer.
Ask = Callable[[str, str, bytes, Answered], None]


class _Message(NamedTuple):
    """A message with what the policy is to know of it."""

    facts: MessageFacts
    item: Item
    sequence: int | None
    here: frozenset[SessionPort]  # those that are in the room; all, where there is none


class Pushing:
    """Of the account `bare`. `told`: called when nothing is to be asked on the account stream any more."""

    log = Logger()

    def __init__(
        self,
        bare: str,
        context: AccountContext,
        sessions: Sessions,
        ask: Ask,
        told: Callable[[], None],
    ) -> None:
        self._bare = bare
        self._settings = context.push
        self._clock = context.clock
        self._journal = context.journal
        self._sessions = sessions
        self._ask = ask
        self._told = told
        self._registrations = Registrations(bare, context.journal)
        self._pending: dict[tuple[str, str], Pending] = {}
        self._notify: dict[str, Notify] = {}  # by room, where its bookmark says so
        self._bookmarks_read = context.settings.bookmarks == "off"
        self._enabling = Enabling(self._clock, self._enabled, self._disable)

    # Registrations ---------------------------------------------------------------------------------------------

    @property
    def active(self) -> bool:
        """Whether any device has push enabled: else nothing needs to be looked at."""
        return bool(self._pending)

    @property
    def concerned(self) -> bool:
        """Whether what the server says to clients is to be looked at."""
        return bool(self._pending or self._enabling)

    @property
    def publishing(self) -> bool:
        """Whether a push service is being told of something: the stream is to stay until it answers, or is too slow."""
        return any(pending.awaits_answer for pending in self._pending.values())

    def restore(self, kept: Iterable[KeptPush]) -> None:
        """Take what was kept."""
        self._registrations.restore(kept)
        self._changed()

    def kept(self) -> tuple[KeptPush, ...]:
        """Return what devices have enabled, as it is to be on disk."""
        return self._registrations.kept()

    def _enabled(self, session: SessionPort, service: Service, at_server: bool) -> None:
        self._registrations.enable(session, service, at_server=at_server)
        self._changed()
        self._pending[service.jid, service.node].left_to_server = False  # it is tried again

    def _disable(self, disabling: Disabling) -> None:
        """Services are told nothing more."""
        self._registrations.disable(disabling)
        self._changed()

    def _changed(self) -> None:
        former, self._pending = self._pending, {}
        for one in self._registrations:
            known = former.get((one.jid, one.node))
            if known is None or known.registration != one:
                known = Pending(one, self._settings.delay, self._clock, self)
            self._pending[one.jid, one.node] = known
        for pending in former.values():
            if pending not in self._pending.values():
                pending.stop()

    def refused(self, registration: KeptPush, reason: str) -> None:
        """A push service takes it no more: it is left to the device's server if that may do better, or disabled."""
        pending = self._pending.get((registration.jid, registration.node))
        if pending is None or pending.registration is not registration:
            return  # it was enabled anew meanwhile
        if registration.at_server and reason in NOT_FROM_HERE:
            self.log.warn(
                "{service} takes no push from the account stream of {account} ({reason}): what contacts say its server"
                " is to tell, what is said in rooms nobody does",
                service=registration.jid,
                account=self._bare,
                reason=reason,
            )
            pending.leave_to_server()
            return
        self.log.warn(
            "{service} refuses to push for {account}, or does not answer for long: it is told nothing more ({reason})",
            service=registration.jid,
            account=self._bare,
            reason=reason,
        )
        self._disable(Disabling(registration.jid, registration.node))

    def notifications(self, rooms: Mapping[str, str]) -> None:
        """Bookmarks were read: by room, what they say of notifications (XEP-0492)."""
        self._bookmarks_read = True
        former, self._notify = self._notify, {room: Notify(setting) for room, setting in rooms.items()}
        for room in (room for room, notify in self._notify.items() if notify is Notify.NEVER):
            self._read(room)
            if former.get(room) is not Notify.NEVER:
                self.log.info("{account} mutes {room}", account=self._bare, room=room)

    # Messages --------------------------------------------------------------------------------------------------

    def said(self, said: Said, here: Iterable[SessionPort]) -> None:
        """Something was said in a room, or by an occupant in private; `here`: the sessions that are in the room."""
        kind = Kind.ROOM if said.in_group else Kind.PRIVATE
        calls = said.calling
        archived = kind is Kind.PRIVATE and self._is_archived(said.message)
        facts = MessageFacts(kind, calls.says, calls.names, calls.calls, said.own, archived=archived)
        notify = self._notify_of(said)
        if matters(facts, notify):  # of what is said in rooms, little does
            sender = said.message.get("from") or said.room
            item = Item(said.room, sender, self._body(said.message), is_read=said.is_read)
            self._consider(_Message(facts, item, said.sequence, frozenset(here)), notify)

    def _notify_of(self, said: Said) -> Notify:
        if self._settings.rooms == "none":
            return Notify.NEVER
        known = self._notify.get(said.room)
        if known is not None:
            return known
        notifies = self._settings.rooms == "all" or (self._settings.rooms == "private" and said.is_private_group())
        return Notify.ALWAYS if notifies else Notify.ON_MENTION

    def from_server(self, session: SessionPort, stanza: Stanza, rooms: Container[str]) -> bool:
        """Look at a stanza that the server has for a session; True: the client gets another in its place.

        `rooms`: those that the account is in.
        """
        if stanza.name == "iq":
            changed = self._enabling.answered(session, stanza)
            if changed is not None:
                session.deliver_instead(changed)
            return changed is not None
        if stanza.name == "message" and self._pending:
            self._message(session, stanza, rooms)
        return False

    def _message(self, session: SessionPort, stanza: Stanza, rooms: Container[str]) -> None:
        try:
            if displayed.MARK in stanza.raw:
                for chat in displayed.other_chats(displayed.told_by_server(stanza, session.jid)):
                    self._read(chat)
            self._service_says(stanza)
            if not (session.asleep or session.managed) or not self._of(session):
                return
            told = contact.told_by_contact(stanza, session.jid)
        except UnusableStanza:
            return  # it is the client's affair
        if told is not None and told.peer not in rooms:
            self._told_by_contact(session, told)

    def heard_elsewhere(self, message: Stanza) -> None:
        """The account stream was told something by nobody of a room, which all sessions get."""
        if not (self._pending and message.readable):
            return
        try:
            self._service_says(message)
            told = contact.told_by_contact(message, self._bare)
        except UnusableStanza:
            return
        if told is not None:
            for session in self._sessions:
                if session.asleep:
                    self._told_by_contact(session, told, at_server=False)

    def _service_says(self, message: Stanza) -> None:
        if contact.DISABLED_MARK not in message.raw:
            return
        disabling = contact.disabled_by_service(message, self._bare)
        if disabling is not None:
            self._disable(disabling)

    def _told_by_contact(self, session: SessionPort, told: contact.Told, *, at_server: bool = True) -> None:
        facts = MessageFacts(Kind.CONTACT, told.calling.says, told.calling.names, told.calling.calls)
        item = Item(told.peer, told.sender, self._body(told.message), at_server=at_server)
        message = _Message(facts, item, None, frozenset({session}))
        concerned = [pending for pending in self._of(session) if self._session_of(pending) is session]
        decided = [self._decide(pending, message, Notify.ALWAYS) for pending in concerned]
        remembered = [recent for recent in decided if recent is not None]

        def got() -> None:
            for recent in remembered:
                recent.arrived = True

        if remembered:
            session.when_got(got)

    def _consider(self, message: _Message, notify: Notify) -> None:
        for pending in self._pending.values():
            self._decide(pending, message, notify)

    def _decide(self, pending: Pending, message: _Message, notify: Notify) -> Recent | None:
        """Have a device told; if it is awake, remember what it is perhaps not given in time, and return that."""
        session = self._session_of(pending)
        if _state_of(session) is not State.AWAKE:
            self._tell(pending, message, notify)
            return None
        if message.sequence is None and message.facts.kind is not Kind.CONTACT:
            return None
        if self._verdict(pending, message, notify, State.ASLEEP) is Verdict.NEVER:
            return None
        recent = Recent(message.sequence, message.item, partial(self._tell, pending, message, notify))
        pending.recent.append(recent)
        return recent

    def _tell(self, pending: Pending, message: _Message, notify: Notify) -> None:
        found = self._verdict(pending, message, notify, _state_of(self._session_of(pending)))
        if found is not Verdict.NEVER:
            pending.add(message.item, now=found is Verdict.NOW and self._bookmarks_read)

    def _verdict(self, pending: Pending, message: _Message, notify: Notify, state: State) -> Verdict:
        session = self._session_of(pending)
        here, got = session is not None and session in message.here, session is not None and self._has(session, message)
        device = DeviceFacts(state, here=here, got=got, server_pushes=pending.registration.at_server)
        return verdict(message.facts, device, notify, others_awake=self._others_awake(session))

    def _has(self, session: SessionPort, message: _Message) -> bool:
        """Tell whether a device that sleeps has got a message of the account stream."""
        return session.asleep and message.sequence is not None and message.sequence <= self._reached(session)

    def _reached(self, session: SessionPort) -> float:
        """What has not passed the gate yet nobody has got."""
        return min(session.reached, self._journal.given_out())

    def _session_of(self, pending: Pending) -> SessionPort | None:
        """Return a session of a device, awake if one is; None: it is gone."""
        of_device = [session for session in self._sessions if is_device(pending.registration, session)]
        return next((session for session in of_device if not session.asleep), of_device[0] if of_device else None)

    def _of(self, session: SessionPort) -> list[Pending]:
        return [pending for pending in self._pending.values() if is_device(pending.registration, session)]

    def _others_awake(self, session: SessionPort | None) -> bool:
        return any(other is not session and not other.asleep for other in self._sessions)

    def _is_archived(self, message: Stanza) -> bool:
        ids = payload_attributes(message, NS_SID, "stanza-id")
        return any(one.get("by") == self._bare for one in ids)

    def _body(self, message: Stanza) -> str | None:
        if not self._settings.body or not message.readable:
            return None
        try:
            body = message.payload(NS_CLIENT, "body")
        except UnusableStanza:
            return None
        return str(body)[:LONGEST_BODY] if body is not None else None

    # Devices ---------------------------------------------------------------------------------------------------

    def session_closed(self, session: SessionPort) -> None:
        """A session is the account's no longer."""
        self._enabling.session_closed(session)
        self.connection_lost(session)

    def connection_lost(self, session: SessionPort) -> None:
        """A device's connection is gone: what it was given and has not got is told by its push service."""
        for pending in self._of(session):
            recent = [one for one in pending.recent if one.is_open(self._reached(session))]
            pending.recent.clear()
            for one in recent:
                one.tell()

    def awake(self, session: SessionPort) -> None:
        """A device is there, or there again."""
        for pending in self._of(session):
            pending.woken()

    # What is read ----------------------------------------------------------------------------------------------

    def from_client(self, session: SessionPort, stanza: Stanza, *, noted: bool) -> None:
        """Look at a stanza of a client, which has read where it says something. `noted`: what it enables counts."""
        try:
            if stanza.name == "iq" and (noted or self._pending):
                self._enabling.asked(session, stanza)
            for chat in contact.read_by(stanza) if self._pending else ():
                self._read(chat)
        except UnusableStanza:
            return  # it is the receiver's affair

    def read_elsewhere(self, event: Stanza) -> None:
        """An event on the account stream tells which chats the account has read (XEP-0490)."""
        items = displayed.told_by_server(event, self._bare) if self._pending else []
        for chat in displayed.other_chats(items):
            self._read(chat)

    def read_further(self, room: str) -> None:
        """A device of the account has published how far it has read a room (XEP-0490)."""
        for pending in self._pending.values():
            pending.read_further(room)

    def _read(self, chat: str) -> None:
        for pending in self._pending.values():
            pending.read(chat)

    # Push services ---------------------------------------------------------------------------------------------

    def publish(self, registration: KeptPush, summary: Summary, answered: Answered) -> None:
        """Have a push service told; `answered` gets what it answers."""
        service = Service(registration.jid, registration.node, registration.options)
        sender = summary.sender if self._settings.sender else None
        self.log.info(
            "{jid} is told by {service} of {count} messages",
            jid=f"{self._bare}/{registration.resource}",
            service=registration.jid,
            count=summary.count,
        )

        def done(answer: Stanza | None) -> None:
            answered(answer)
            self._told()

        self._ask(registration.jid, "set", publication(service, Summary(summary.count, sender, summary.body)), done)

    def have_server_push(self, pending: Pending) -> None:
        """The server of a device that sleeps is to push what it has for it; it does so by itself if that is gone."""
        session = self._session_of(pending)
        if session is not None and session.asleep:
            session.have_server_push()

    def stop(self) -> None:
        """The account is no more, or the proxy ends."""
        for pending in self._pending.values():
            pending.stop()


def _state_of(session: SessionPort | None) -> State:
    if session is None:
        return State.GONE
    return State.ASLEEP if session.asleep else State.AWAKE
