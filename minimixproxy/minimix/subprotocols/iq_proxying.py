"""IQ proxying: IQs between sessions and rooms, both ways, through the one account stream. No I/O.

Rooms key an occupant by full JID, so what an attached session asks must come from the account stream; the answer
goes to the session that asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from minimixproxy.bounds.byte_budget import OBJECT
from minimixproxy.jids import Address, InvalidJID, parse_jid, whose
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.addressing.local_accounts import with_clients
from minimixproxy.minimix.addressing.outgoing import relayed
from minimixproxy.minimix.history import archive
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.rejoin.self_ping import is_joined
from minimixproxy.minimix.subprotocols.open_iqs import MAX_OPEN, OpenIQs, PendingIQ, TableFull
from minimixproxy.minimix.subprotocols.open_queries import OpenQueries, query_key
from minimixproxy.minimix.subprotocols.parts import AccountParts
from minimixproxy.minimix.subprotocols.subprotocol import ByName, Subprotocol
from minimixproxy.namespaces import NS_DISCO_INFO, NS_PING
from minimixproxy.timing.clock import wall_time
from minimixproxy.wire.stanza import Stanza, parse_stanza, rewrite
from minimixproxy.xep.disco import PING, answer
from minimixproxy.xep.iq import answer_to, iq
from minimixproxy.xep.muc_addresses import AddressTemplate, may_name
from minimixproxy.xep.oversized import error_for, lost_answer
from minimixproxy.xep.stanza_errors import error_payload

# Seconds to a second look at whether the account is in the room: the first may have been lost with the room itself.
SELF_PING_AGAIN = 10.0
_SELF_PING = "self-ping"


class IQProxyHandler(Subprotocol):
    """The IQs of one account's sessions and of rooms. `handled` is called with each that came on the stream, after it.

    `queries`: which session reads what an archive tells.
    """

    log = Logger()

    query = ByName("iq")

    def __init__(self, parts: AccountParts, queries: OpenQueries, handled: Callable[[], None]) -> None:
        super().__init__(parts.bare)
        clock, timeout = parts.context.clock, parts.context.settings.iq_timeout
        self._parts = parts
        self._sessions = parts.sessions
        self._rooms = parts.occupancies.rooms
        self._clock = clock
        self._queries = queries
        self._handled = handled
        self._asked: OpenIQs[SessionPort] = OpenIQs(clock, timeout, MAX_OPEN, self._no_answer_from_room)
        self._self_pings: OpenIQs[SessionPort] = OpenIQs(clock, SELF_PING_AGAIN, MAX_OPEN, self._self_ping_late)
        self._forwarded: OpenIQs[SessionPort] = OpenIQs(clock, timeout, MAX_OPEN, self._no_answer_from_session)

    # Sessions ask ----------------------------------------------------------------------------------------------

    def concerns_room(self, session: SessionPort, stanza: Stanza, address: Address) -> bool:
        """Tell whether an IQ to an address is for the account to handle: else it passes.

        The account answers better than a room what a client may want to know before it joins.
        """
        occupancy = self._rooms.get(address.bare)
        if occupancy is None:
            return False
        if occupancy.knows(session):
            return True
        if address.resource is not None or occupancy.interrupted:
            return False
        is_disco = stanza.get("type") == "get" and stanza.has_payload(NS_DISCO_INFO, "query")
        return archive.concerns_archive(stanza) or is_disco

    def from_session(self, session: SessionPort, stanza: Stanza, occupancy: Occupancy) -> None:
        """An IQ of a session to the room or an occupant: a request, or the answer to one."""
        if stanza.get("type") in ("result", "error"):
            self._answer_from_session(session, stanza)
        else:
            self._request_from_session(session, stanza, occupancy)

    def _request_from_session(self, session: SessionPort, stanza: Stanza, occupancy: Occupancy) -> None:
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
        if occupancy.info.archive is not None:
            self._answer_from_archive(session, stanza, occupancy)
        elif self._sessions.budget.take(OBJECT + len(stanza.raw)):
            occupancy.info.refresh(lambda: self._answer_when_known(session, stanza, occupancy))
        else:
            self._refuse(session, stanza, "wait", "resource-constraint", "too much waits already")

    def _answer_when_known(self, session: SessionPort, stanza: Stanza, occupancy: Occupancy) -> None:
        """The room has told of itself, or never will: who asked may be gone by now, and the account not in it."""
        self._sessions.budget.give_back(OBJECT + len(stanza.raw))
        if session not in self._sessions:
            return
        if self._rooms.get(occupancy.room) is occupancy:
            self._answer_from_archive(session, stanza, occupancy)
        else:
            self._refuse(session, stanza, "wait", "recipient-unavailable", "the account is not in the room any more")

    def _answer_from_archive(self, session: SessionPort, stanza: Stanza, occupancy: Occupancy) -> None:
        if _has_personal_archive(occupancy):
            now = wall_time(self._clock)
            for answer in archive.answer(occupancy.room, occupancy.history, session.jid, stanza, now):
                session.deliver(answer)
        else:
            self._ask(session, stanza, occupancy.room, "")

    def _ask(self, session: SessionPort, stanza: Stanza, peer: str, kind: str) -> None:
        stanza_id = stanza.get("id")
        key = query_key(stanza, parse_jid(peer).bare)
        if stanza_id is None:
            self._refuse(session, stanza, "modify", "bad-request", "an IQ needs an id")
        elif key is not None and key in self._queries:
            self._refuse(session, stanza, "wait", "resource-constraint", "a query with this queryid is open")
        else:
            try:
                table = self._self_pings if kind == _SELF_PING else self._asked
                wire_id = table.add(peer, session, stanza_id, stanza["to"], kind)
            except TableFull:
                self.log.warn("{jid} has too many requests to rooms open: another is refused", jid=session.jid)
                self._refuse(session, stanza, "wait", "resource-constraint", "too many open requests")
                return
            if key is not None:
                self._queries.opened(key, session, stanza_id)
            self.send(relayed(stanza, session, {"id": wire_id}))

    @staticmethod
    def _refuse(session: SessionPort, stanza: Stanza, kind: str, condition: str, text: str) -> None:
        error = error_payload(kind, condition, text)
        session.deliver(answer_to(stanza, error, sender=stanza["to"], to=session.jid))

    @property
    def waiting(self) -> bool:
        """Whether an answer to a session is still to come on the account stream."""
        return len(self._asked) + len(self._self_pings) > 0

    # On the account stream -------------------------------------------------------------------------------------

    def received(self, stanza: Stanza) -> None:
        """An answer goes to who asked, a request to who can answer: nobody else is to answer it, too."""
        stanza.handled = True
        try:
            if stanza.get("type") in ("result", "error"):
                self._answer_from_room(stanza)
            else:
                self._request_from_room(stanza)
        except InvalidJID as error:
            self.log.warn("{account}: an IQ comes from what is no JID: {error}", account=self.bare, error=error)

    def taken(self) -> None:
        """It may have been the last answer that was awaited."""
        self._handled()

    def not_sent(self, answer: Stanza) -> None:
        """A session's IQ was too large, or the answer to it: this error is the answer."""
        self.received(answer)

    def left_out(self, name: str, attributes: Mapping[str, str], reason: str) -> None:
        """An IQ is not used: whoever waits for an answer is told."""
        if attributes.get("type") in ("result", "error"):
            self.received(lost_answer(attributes, f"the answer cannot be used: {reason}"))
        elif (refusal := error_for(name, attributes, reason)) is not None:
            self._parts.answer(attributes.get("from"), rewrite(refusal.raw, {"from": None}))

    def _answer_from_room(self, stanza: Stanza) -> None:
        """A result or error: to the session that asked, to nobody else."""
        peer = parse_jid(stanza["from"]).full if "from" in stanza.attributes else ""
        wire_id = stanza.get("id") or ""
        pending = self._asked.take(peer, wire_id) or self._self_pings.take(peer, wire_id)
        if pending is None:
            self.log.info(
                "{peer} answers a request that {account} does not wait for, or not any more",
                peer=peer,
                account=self.bare,
            )
            return
        self._queries.answered(pending.asker, pending.id)
        if not stanza.readable:
            self._deliver_unread(pending, stanza)
            return
        stanza = self._among_neighbours(stanza)
        occupancy = self._rooms.get(parse_jid(pending.peer).bare)
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

    def _among_neighbours(self, stanza: Stanza) -> Stanza:
        occupancy = self._parts.occupancies.of_sender(stanza)
        if occupancy is None or "/" in stanza["from"]:  # an occupant's answer is not the room's
            return stanza
        return with_clients(stanza, self.parent.jid, occupancy.room, self._parts.context.client_of)

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
        if peer.resource is None and may_name(stanza, self.parent.jid):
            # The account's own entry in a list of the room reads as the session itself.
            answered = AddressTemplate(stanza, self.parent.jid).copy(session.jid)
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
        self.send(iq("get", PING, id=id_, to=peer))

    def _no_answer_from_room(self, pending: PendingIQ[SessionPort]) -> None:
        self._fail(pending.asker, pending, "remote-server-timeout")

    def _fail(self, session: SessionPort, pending: PendingIQ[SessionPort], condition: str) -> None:
        self._queries.answered(session, pending.id)
        error = error_payload("wait", condition)
        session.deliver(iq("error", error, id=pending.id, sender=pending.peer, to=session.jid))

    # Rooms ask -------------------------------------------------------------------------------------------------

    def _request_from_room(self, stanza: Stanza) -> None:
        """A get or set on the account stream: answered here, or by the most recently active attached session."""
        children = answer(stanza)
        peer = stanza.get("from")
        if children is not None:
            # The server's own questions are not many, and some end streams that do not answer its pings: strangers
            # who ask too much are not to bring that about.
            reply = answer_to(stanza, children, to=peer)
            if whose(peer, self.parent.jid).is_server:
                self.send(reply)
            else:
                self._parts.answer(peer, reply)
            return
        occupancy = self._rooms.get(parse_jid(peer).bare) if peer is not None else None
        session = occupancy.client if occupancy is not None and occupancy.attached else None
        if peer is None or session is None:
            self._parts.answer(peer, answer_to(stanza, error_payload("cancel", "service-unavailable"), to=peer))
            return
        try:
            key = (id(session), parse_jid(peer).full)
            wire_id = self._forwarded.add(key, session, stanza.get("id") or "", peer)
        except TableFull:
            self.log.warn("{peer} has too many requests open at {jid}: another is refused", peer=peer, jid=session.jid)
            self._parts.answer(peer, answer_to(stanza, error_payload("wait", "resource-constraint"), to=peer))
            return
        session.deliver(rewrite(stanza.self_contained(), {"to": session.jid, "id": wire_id}))

    def _answer_from_session(self, session: SessionPort, stanza: Stanza) -> None:
        """A session's result or error to a room: sent on if it was asked, else dropped."""
        pending = self._forwarded.take((id(session), parse_jid(stanza["to"]).full), stanza.get("id") or "")
        if pending is None:
            self.log.info("{jid} answers a request that no room waits for, or not any more", jid=session.jid)
            return
        self.send(relayed(stanza, session, {"to": pending.peer, "id": pending.id}))

    def _no_answer_from_session(self, pending: PendingIQ[SessionPort]) -> None:
        error = error_payload("wait", "recipient-unavailable")
        self._parts.answer(pending.peer, iq("error", error, id=pending.id, to=pending.peer))

    # Ends ------------------------------------------------------------------------------------------------------

    def session_closed(self, session: SessionPort) -> None:
        """Nobody waits for its answers; what it was asked fails."""
        for table in (self._asked, self._self_pings):
            table.drop(lambda pending: pending.asker is session)
        self._queries.session_closed(session)
        for pending in self._forwarded.drop(lambda pending: pending.asker is session):
            self._no_answer_from_session(pending)

    def unreachable(self, *, refused: bool) -> None:
        """Nothing that was asked on the account stream is answered any more."""
        self._forwarded.drop(lambda _pending: True)
        self_pings = self._self_pings.drop(lambda _pending: True)
        for pending in self._asked.drop(lambda _pending: True) + self_pings:
            self._fail(pending.asker, pending, "remote-server-timeout")


def _has_personal_archive(occupancy: Occupancy) -> bool:
    return occupancy.info.archive is False and occupancy.history.keeps


def _is_ping(stanza: Stanza) -> bool:
    return stanza.get("type") == "get" and stanza.has_payload(NS_PING, "ping")
