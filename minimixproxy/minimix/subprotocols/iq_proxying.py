"""IQs between sessions and rooms, both ways, through the one account stream. No I/O.

Rooms key an occupant by full JID, so what an attached session asks must come from the account stream; the answer
goes to the session that asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from minimixproxy.jids import Whose, parse_jid, whose
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.addressing.outgoing import relayed
from minimixproxy.minimix.history import archive
from minimixproxy.minimix.interfaces.streams import Answered, RoomOutlet, SessionPort
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.rejoin.self_ping import is_joined
from minimixproxy.minimix.subprotocols.open_iqs import OpenIQs, PendingIQ, TableFull
from minimixproxy.minimix.subprotocols.open_queries import OpenQueries, query_key
from minimixproxy.namespaces import NS_PING
from minimixproxy.timing.clock import Clock, wall_time
from minimixproxy.wire.stanza import Stanza, parse_stanza, rewrite
from minimixproxy.xep.disco import PING, answer
from minimixproxy.xep.iq import answer_to, iq
from minimixproxy.xep.muc_addresses import AddressTemplate, may_name
from minimixproxy.xep.stanza_errors import error_payload

MAX_OPEN = 2000  # IQs of one account and direction
# Seconds to a second look at whether the account is in the room: the first may have been lost with the room itself.
SELF_PING_AGAIN = 10.0
_SELF_PING = "self-ping"


class IQRouting:
    """The IQs of one account. `sessions`: all that it has; `room_of` returns its occupancy of a room, or None."""

    log = Logger()

    def __init__(
        self,
        outlet: RoomOutlet,
        sessions: Collection[SessionPort],
        room_of: Callable[[str], Occupancy | None],
        timeout: float,
        clock: Clock,
    ) -> None:
        self._outlet = outlet
        self._sessions = sessions
        self._room_of = room_of
        self._clock = clock
        self._asked: OpenIQs[SessionPort] = OpenIQs(clock, timeout, MAX_OPEN, self._no_answer_from_room)
        self._self_pings: OpenIQs[SessionPort] = OpenIQs(clock, SELF_PING_AGAIN, MAX_OPEN, self._self_ping_late)
        self._forwarded: OpenIQs[SessionPort] = OpenIQs(
            clock, timeout, MAX_OPEN, self._no_answer_from_session, sharer=lambda peer: parse_jid(peer).bare
        )
        self.queries = OpenQueries()
        self._own: OpenIQs[Answered] = OpenIQs(clock, timeout, MAX_OPEN, self._not_answered)

    # Sessions ask ----------------------------------------------------------------------------------------------

    def request_from_session(self, session: SessionPort, stanza: Stanza, occupancy: Occupancy) -> None:
        """An attached session's get or set to the room or an occupant."""
        peer = parse_jid(stanza["to"])
        if peer.resource is None and archive.concerns_archive(stanza) and stanza.get("id") is not None:
            self._ask_archive(session, stanza, occupancy)
            return
        kind = ""
        if peer.resource == parse_jid(f"{occupancy.room}/{occupancy.nick or '-'}").resource and _is_ping(stanza):
            if occupancy.from_room.fresh:
                session.deliver(answer_to(stanza, b"", sender=stanza["to"], to=session.jid))
                return
            kind = _SELF_PING
        self._ask(session, stanza, peer.full, kind)

    def _ask_archive(self, session: SessionPort, stanza: Stanza, occupancy: Occupancy) -> None:
        """A question to a room's archive: where the room keeps none, it is the account's own history."""
        if occupancy.info.archive is None:
            occupancy.info.refresh(lambda: self._answer_when_known(session, stanza, occupancy))
        else:
            self._answer_from_archive(session, stanza, occupancy)

    def _answer_when_known(self, session: SessionPort, stanza: Stanza, occupancy: Occupancy) -> None:
        """The room has told of itself, or never will: who asked may be gone by now, and the account not in it."""
        if session not in self._sessions:
            return
        if self._room_of(occupancy.room) is occupancy:
            self._answer_from_archive(session, stanza, occupancy)
        else:
            self._refuse(session, stanza, "wait", "recipient-unavailable", "the account is not in the room any more")

    def _answer_from_archive(self, session: SessionPort, stanza: Stanza, occupancy: Occupancy) -> None:
        if _has_personal_archive(occupancy):
            now = wall_time(self._clock)
            session.deliver(archive.answer(occupancy.room, occupancy.history, session.jid, stanza, now))
        else:
            self._ask(session, stanza, occupancy.room, "")

    def _ask(self, session: SessionPort, stanza: Stanza, peer: str, kind: str) -> None:
        stanza_id = stanza.get("id")
        key = query_key(stanza, parse_jid(peer).bare)
        if stanza_id is None:
            self._refuse(session, stanza, "modify", "bad-request", "an IQ needs an id")
        elif key is not None and key in self.queries:
            self._refuse(session, stanza, "wait", "resource-constraint", "a query with this queryid is open")
        else:
            try:
                table = self._self_pings if kind == _SELF_PING else self._asked
                wire_id = table.add(peer, session, stanza_id, stanza["to"], kind)
            except TableFull:
                self.log.warn("too many open IQs of {jid}", jid=session.jid)
                self._refuse(session, stanza, "wait", "resource-constraint", "too many open requests")
                return
            if key is not None:
                self.queries.opened(key, session, stanza_id)
            self._outlet.send_to_room(relayed(stanza, session, {"id": wire_id}))

    @staticmethod
    def _refuse(session: SessionPort, stanza: Stanza, kind: str, condition: str, text: str) -> None:
        error = error_payload(kind, condition, text)
        session.deliver(answer_to(stanza, error, sender=stanza["to"], to=session.jid))

    # The account asks ------------------------------------------------------------------------------------------

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        """Send an IQ of the account's own (see `interfaces.streams.OwnRequests`)."""
        try:
            peer = parse_jid(to).full if to else ""
            wire_id = self._own.add(peer, answered, "", to)
        except TableFull:
            self.log.warn("too many open IQs of the account itself, none to {peer}", peer=to)
            answered(None)
            return
        self._outlet.send_to_room(iq(kind, payload, id=wire_id, to=to or None))

    def ask_archive(
        self, to: str, query_id: str, payload: bytes, result: Callable[[Stanza], None], answered: Answered
    ) -> None:
        """Send a query of the account's own to an archive (see `interfaces.streams.OwnRequests`)."""
        key = (parse_jid(to).bare, query_id)
        self.queries.opened_by_account(key, result)

        def finished(answer: Stanza | None) -> None:
            self.queries.answered_to_account(key)
            answered(answer)

        self.ask(to, "set", payload, finished)

    @staticmethod
    def _not_answered(pending: PendingIQ[Answered]) -> None:
        pending.asker(None)

    @property
    def waiting(self) -> bool:
        """Whether an answer is still to come on the account stream."""
        return len(self._asked) + len(self._self_pings) + len(self._own) > 0

    def answer_from_room(self, stanza: Stanza) -> None:
        """A result or error on the account stream: to the session that asked, to nobody else."""
        peer = parse_jid(stanza["from"]).full if "from" in stanza.attributes else ""
        wire_id = stanza.get("id") or ""
        own = self._own.take(self._own_peer(peer), wire_id)
        if own is not None:
            own.asker(stanza if stanza.readable else None)
            return
        pending = self._asked.take(peer, wire_id) or self._self_pings.take(peer, wire_id)
        if pending is None:
            self.log.info("answer to nothing asked, from {peer}", peer=peer)
            return
        self.queries.answered(pending.asker, pending.id)
        if not stanza.readable:
            self._deliver_unread(pending, stanza)
            return
        occupancy = self._room_of(parse_jid(pending.peer).bare)
        if pending.kind == _SELF_PING and occupancy is not None and is_joined(stanza) is False:
            occupancy.silently_out()
            if occupancy.interrupted:
                self._ping_again(pending, occupancy)
                return
        if pending.kind == _SELF_PING and occupancy is not None and is_joined(stanza):
            occupancy.from_room.confirmed()
        if occupancy is not None and peer == occupancy.room and occupancy.info.learn(stanza):
            stanza = self._with_archive(stanza, occupancy)
        self._deliver_answer(pending, stanza)

    @staticmethod
    def _with_archive(stanza: Stanza, occupancy: Occupancy) -> Stanza:
        """What a room says of itself, as it is for the account's clients."""
        return stanza.with_bytes(archive.disco_with_archive(stanza)) if _has_personal_archive(occupancy) else stanza

    def _own_peer(self, peer: str) -> str:
        """The account itself answers with any of its addresses; what it is asked has none."""
        found = whose(peer or None, self._outlet.stream_jid)
        return "" if found in (Whose.ACCOUNT, Whose.STREAM) else peer

    def _deliver_unread(self, pending: PendingIQ[SessionPort], stanza: Stanza) -> None:
        """What is too large to be read passes; as the answer to a self-ping it is none."""
        if pending.kind == _SELF_PING:
            self._no_answer_from_room(pending)
        else:
            pending.asker.deliver(rewrite(stanza.self_contained(), {"to": pending.asker.jid, "id": pending.id}))

    def _deliver_answer(self, pending: PendingIQ[SessionPort], stanza: Stanza) -> None:
        session = pending.asker
        if pending.kind == _SELF_PING and is_joined(stanza):
            session.deliver(iq("result", id=pending.id, sender=pending.peer, to=session.jid))
            return
        answered = stanza.self_contained()
        peer = parse_jid(pending.peer)
        if peer.resource is None and may_name(stanza, self._outlet.stream_jid):
            # The account's own entry in a list of the room reads as the session itself.
            answered = AddressTemplate(stanza, self._outlet.stream_jid).copy(session.jid)
        session.deliver(rewrite(answered, {"to": session.jid, "id": pending.id}))

    @staticmethod
    def _ping_again(pending: PendingIQ[SessionPort], occupancy: Occupancy) -> None:
        """The account is out and comes back; the session's ping is answered then."""
        ping = iq("get", PING, id=pending.id, to=pending.peer)
        occupancy.outbox.add(pending.asker, parse_stanza(ping))

    def _self_ping_late(self, pending: PendingIQ[SessionPort]) -> None:
        """Ask again, under the same id: the answer to either counts."""
        peer, id_ = parse_jid(pending.peer).full, pending.wire_id
        try:
            self._asked.add(peer, pending.asker, pending.id, pending.peer, pending.kind, id_)
        except TableFull:
            self._no_answer_from_room(pending)
            return
        self._outlet.send_to_room(iq("get", PING, id=id_, to=peer))

    def _no_answer_from_room(self, pending: PendingIQ[SessionPort]) -> None:
        self._fail(pending.asker, pending, "remote-server-timeout")

    def _fail(self, session: SessionPort, pending: PendingIQ[SessionPort], condition: str) -> None:
        self.queries.answered(session, pending.id)
        error = error_payload("wait", condition)
        session.deliver(iq("error", error, id=pending.id, sender=pending.peer, to=session.jid))

    # Rooms ask -------------------------------------------------------------------------------------------------

    def request_from_room(self, stanza: Stanza) -> None:
        """A get or set on the account stream: answered here, or by the most recently active attached session."""
        children = answer(stanza)
        peer = stanza.get("from")
        if children is not None:
            # The server's own questions are not many, and some end streams that do not answer its pings: strangers
            # who ask too much are not to bring that about.
            by_server = whose(peer, self._outlet.stream_jid).is_server
            answered = self._outlet.send_to_room if by_server else self._outlet.answer
            answered(answer_to(stanza, children, to=peer))
            return
        occupancy = self._room_of(parse_jid(peer).bare) if peer is not None else None
        session = occupancy.client if occupancy is not None and occupancy.attached else None
        if peer is None or session is None:
            self._outlet.answer(answer_to(stanza, error_payload("cancel", "service-unavailable"), to=peer))
            return
        try:
            key = (id(session), parse_jid(peer).full)
            wire_id = self._forwarded.add(key, session, stanza.get("id") or "", peer)
        except TableFull:
            self.log.warn("too many open IQs of {peer} for {jid}", peer=peer, jid=session.jid)
            self._outlet.answer(answer_to(stanza, error_payload("wait", "resource-constraint"), to=peer))
            return
        session.deliver(rewrite(stanza.self_contained(), {"to": session.jid, "id": wire_id}))

    def answer_from_session(self, session: SessionPort, stanza: Stanza) -> None:
        """A session's result or error to a room: sent on if it was asked, else dropped."""
        pending = self._forwarded.take((id(session), parse_jid(stanza["to"]).full), stanza.get("id") or "")
        if pending is None:
            self.log.info("{jid} answers what nobody asked", jid=session.jid)
            return
        self._outlet.send_to_room(relayed(stanza, session, {"to": pending.peer, "id": pending.id}))

    def _no_answer_from_session(self, pending: PendingIQ[SessionPort]) -> None:
        error = error_payload("wait", "recipient-unavailable")
        self._outlet.answer(iq("error", error, id=pending.id, to=pending.peer))

    # Ends ------------------------------------------------------------------------------------------------------

    def session_closed(self, session: SessionPort) -> None:
        """Nobody waits for its answers; what it was asked fails."""
        for table in (self._asked, self._self_pings):
            table.drop(lambda pending: pending.asker is session)
        self.queries.session_closed(session)
        for pending in self._forwarded.drop(lambda pending: pending.asker is session):
            self._no_answer_from_session(pending)

    def stream_lost(self) -> None:
        """Nothing that was asked on the account stream is answered any more."""
        self._forwarded.drop(lambda _pending: True)
        self_pings = self._self_pings.drop(lambda _pending: True)
        for pending in self._asked.drop(lambda _pending: True) + self_pings:
            self._fail(pending.asker, pending, "remote-server-timeout")
        for own in self._own.drop(lambda _pending: True):
            own.asker(None)


def _has_personal_archive(occupancy: Occupancy) -> bool:
    return occupancy.info.archive is False and occupancy.history.keeps


def _is_ping(stanza: Stanza) -> bool:
    return stanza.get("type") == "get" and stanza.has_payload(NS_PING, "ping")
