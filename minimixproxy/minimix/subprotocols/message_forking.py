"""Messages between sessions and rooms: sent copies, errors to who caused them, archive results to who asked. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection

from minimixproxy.jids import Address, InvalidJID, parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.addressing.outgoing import relayed
from minimixproxy.minimix.interfaces.streams import RoomOutlet, SessionPort
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.subprotocols.iq_proxying import IQRouting
from minimixproxy.minimix.subprotocols.open_queries import is_archive_result
from minimixproxy.minimix.subprotocols.sent_copies import SentCopies
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.stanza import Stanza, rewrite
from minimixproxy.xep import carbons
from minimixproxy.xep.carbons import Carbon
from minimixproxy.xep.muc import says_something
from minimixproxy.xep.stanza_errors import error_reply

MAX_SENT = 2000  # messages whose errors still find their sender


class MessageRouting:
    """The messages of one account, `bare`; `sessions` are all that it has."""

    log = Logger()

    def __init__(
        self, bare: str, outlet: RoomOutlet, sessions: Collection[SessionPort], iqs: IQRouting, clock: Clock
    ) -> None:
        self._copies = SentCopies(bare, clock)
        self._outlet = outlet
        self._sessions = sessions
        self._iqs = iqs
        self._sent: OrderedDict[int, SessionPort] = OrderedDict()  # by hash of address and id, which may be long

    def from_session(self, session: SessionPort, stanza: Stanza, to: Address, occupancy: Occupancy) -> None:
        """Send on what a session says to its room or to an occupant; the other sessions see what is private."""
        if stanza.get("type") == "error":
            return  # a bounce: rooms remove who answers so
        self._remember(session, to.full, stanza.get("id"))
        self._outlet.send_to_room(relayed(stanza, session))
        if to.resource is not None and stanza.get("type") != "groupchat":
            self._in_private(session, stanza, to.full, occupancy)

    def _in_private(self, session: SessionPort, stanza: Stanza, to: str, occupancy: Occupancy) -> None:
        self._copies.sent(session, to, stanza.get("id"))
        if carbons.is_private(stanza):
            return
        for other in list(occupancy.attached):
            if other is not session and other.carbons:
                self._copies.due(other, stanza, to, self._outlet.stream_jid or session.jid)

    def from_own_archive(self, session: SessionPort, stanza: Stanza, stream_jid: str) -> bool:
        """Look at a message of the server that names the account stream; True: the session got another in its place."""
        changed = self._copies.in_archive(session, stanza, stream_jid)
        if changed is not None:
            session.deliver(changed)
        return changed is not None

    def carbon_from_server(self, session: SessionPort, stanza: Stanza, carbon: Carbon) -> None:
        """Take the server's carbon of a message from or to the account stream, meant for one of the sessions."""
        try:
            to = parse_jid(carbon.to)
        except InvalidJID:
            return
        if carbon.sent and to.resource is not None and carbon.id is not None:
            self._copies.came(session, stanza, to.full, carbon.id)

    def _remember(self, session: SessionPort, to: str, stanza_id: str | None) -> None:
        key = hash((to, stanza_id or ""))
        self._sent[key] = session
        self._sent.move_to_end(key)
        if len(self._sent) > MAX_SENT:
            self._sent.popitem(last=False)

    def from_room(self, stanza: Stanza, occupancy: Occupancy) -> None:
        """Take a message of an occupied room: groupchat, private, an archive's result, or an error."""
        kind = stanza.get("type")
        if kind == "error":
            self._error(stanza, occupancy)
        elif kind == "groupchat":
            occupancy.from_room.groupchat(stanza)
        elif is_archive_result(stanza):
            self._archive_result(stanza)
        else:
            self._copies.answered(parse_jid(stanza["from"]).full)
            occupancy.from_room.message(stanza)

    def _archive_result(self, stanza: Stanza) -> None:
        reader = self._iqs.queries.reader_of(stanza)
        if reader is not None:
            reader(stanza)
        else:
            self._deliver(stanza, self._iqs.queries.asker_of(stanza))

    def _error(self, stanza: Stanza, occupancy: Occupancy) -> None:
        """An error goes to the session that sent that id; without an id, to a lone one, or who sent so last."""
        address, stanza_id = parse_jid(stanza["from"]), stanza.get("id")
        if stanza_id is None and len(occupancy.attached) == 1:
            session: SessionPort | None = next(iter(occupancy.attached))
        else:
            keys = (hash((jid, stanza_id or "")) for jid in (address.full, address.bare))
            session = next((self._sent[key] for key in keys if key in self._sent), None)
        if session is None:
            self.log.info("error for a message of nobody, from {peer}", peer=address.full)
        elif address.resource is None:
            occupancy.from_room.refused()
        self._deliver(stanza, session)

    @staticmethod
    def _deliver(stanza: Stanza, session: SessionPort | None) -> None:
        if session is not None:
            session.deliver(rewrite(stanza.self_contained(), {"to": session.jid}))

    def from_elsewhere(self, stanza: Stanza) -> None:
        """A message from no room: someone used the address that a room shows as the account's. All clients get it."""
        if stanza.get("type") in ("error", "groupchat") or not says_something(stanza):
            return
        if not self._sessions:
            bounce = error_reply(stanza, "wait", "recipient-unavailable")
            self._outlet.answer(rewrite(bounce, {"from": None}))
        for session in list(self._sessions):
            self._deliver(stanza, session)

    def session_closed(self, session: SessionPort) -> None:
        """Nobody waits for the errors of its messages."""
        self._copies.session_closed(session)
        self._sent = OrderedDict((key, sender) for key, sender in self._sent.items() if sender is not session)
