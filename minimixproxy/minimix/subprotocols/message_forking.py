"""Message forking: what a room says goes to every attached session, what a session says to its room. No I/O.

And what is one session's only: sent copies, errors to who caused them, results of archives to who asked.
"""

from __future__ import annotations

from collections import OrderedDict

from minimixproxy.jids import Address, InvalidJID, parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.addressing.local_accounts import STREAM_MARK, with_clients
from minimixproxy.minimix.addressing.outgoing import relayed
from minimixproxy.minimix.interfaces.streams import Followed, SessionPort
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.subprotocols.open_queries import OpenQueries, is_archive_result
from minimixproxy.minimix.subprotocols.parts import AccountParts
from minimixproxy.minimix.subprotocols.sent_copies import SentCopies
from minimixproxy.minimix.subprotocols.subprotocol import ByName, Subprotocol
from minimixproxy.wire.stanza import Stanza, UnusableStanza, rewrite
from minimixproxy.xep import carbons
from minimixproxy.xep.carbons import Carbon
from minimixproxy.xep.displayed import MARK
from minimixproxy.xep.muc import says_something
from minimixproxy.xep.stanza_errors import error_reply

MAX_SENT = 2000  # messages whose errors still find their sender


class MessageForkHandler(Subprotocol):
    """The messages of one account, both ways. `queries`: which session reads what an archive tells."""

    log = Logger()

    query = ByName("message")

    def __init__(self, parts: AccountParts, queries: OpenQueries) -> None:
        super().__init__(parts.bare)
        self._copies = SentCopies(parts.bare, parts.context.clock)
        self._parts = parts
        self._sessions = parts.sessions
        self._queries = queries
        self._sent: OrderedDict[int, SessionPort] = OrderedDict()  # by hash of address and id, which may be long

    # From sessions

    def from_session(self, session: SessionPort, stanza: Stanza, to: Address, occupancy: Occupancy) -> None:
        """Send on what a session says to its room or to an occupant; the other sessions see what is private."""
        if stanza.get("type") == "error":
            return  # a bounce: rooms remove who answers so
        self._remember(session, to.full, stanza.get("id"))
        data = relayed(stanza, session)
        if stanza.get("type") == "groupchat":
            self._to_all(session, stanza, data, occupancy)
            return
        self.send(data)
        if to.resource is not None:
            self._in_private(session, stanza, to.full, occupancy)

    def is_repeated(self, session: SessionPort, stanza: Stanza, to: Address, occupancy: Occupancy) -> bool:
        """Tell whether a session says to all what an earlier one of its client has said, and is not to be said again.

        What comes of it is this one's from now on.
        """
        if stanza.get("type") != "groupchat" or not occupancy.outbox.is_repeated(session, stanza):
            return False
        self.log.info("{jid} says once more what is on its way: that is left out", jid=session.jid)
        self._remember(session, to.full, stanza.get("id"))
        return True

    def _to_all(self, session: SessionPort, stanza: Stanza, data: bytes, occupancy: Occupancy) -> None:
        """Send what is for the whole room, which shows it to the account, too."""
        said = occupancy.outbox.follow(session, stanza, f"{occupancy.room}/{occupancy.nick}")
        if said is None:
            self.send(data)
        else:
            self.send(Followed(data))
            said.sent(self.parent.when_acknowledged)

    def _in_private(self, session: SessionPort, stanza: Stanza, to: str, occupancy: Occupancy) -> None:
        self._copies.sent(session, to, stanza.get("id"))
        if carbons.is_private(stanza):
            return
        for other in list(occupancy.attached):
            if other is not session and other.carbons:
                self._copies.due(other, stanza, to, self.parent.jid or session.jid)

    def _remember(self, session: SessionPort, to: str, stanza_id: str | None) -> None:
        if session not in self._sessions:
            return  # it went while this waited for the room
        key = hash((to, stanza_id or ""))
        self._sent[key] = session
        self._sent.move_to_end(key)
        if len(self._sent) > MAX_SENT:
            self._sent.popitem(last=False)

    # From servers, on a client's own stream

    def names_stream(self, data: bytes) -> bool:
        """Tell whether the account stream, or any other, may be named in there."""
        return STREAM_MARK in data or self._parts.address().encode() in data

    def from_server(self, session: SessionPort, stanza: Stanza) -> bool:
        """Look at a message that the server has for a session; True: it must not reach the client as it is.

        The server makes carbons of what the account stream sends and gets; the proxy has done that already.
        """
        if not self.names_stream(stanza.raw):
            return False
        jid = self._parts.address()
        carbon = carbons.carbon_of(stanza, jid) if carbons.MARK in stanza.raw else None
        if carbon is None:
            return self._from_own_archive(session, stanza, jid) or self._invitation(session, stanza, jid)
        self._carbon(session, stanza, carbon)
        return True

    def _from_own_archive(self, session: SessionPort, stanza: Stanza, jid: str) -> bool:
        changed = self._copies.in_archive(session, stanza, jid)
        if changed is not None:
            session.deliver_instead(changed)
        return changed is not None

    def _invitation(self, session: SessionPort, stanza: Stanza, jid: str) -> bool:
        """A room's invitation names who invites: another account's client rather than its account stream."""
        sender = stanza.get("from") or "/"
        if "/" in sender:
            return False  # rooms speak with their bare JID
        try:
            shown = with_clients(stanza, jid, parse_jid(sender).bare, self._parts.context.client_of)
        except (InvalidJID, UnusableStanza):
            return False  # the client is to say so
        if shown is not stanza:
            session.deliver_instead(shown.raw)
        return shown is not stanza

    def _carbon(self, session: SessionPort, stanza: Stanza, carbon: Carbon) -> None:
        """The server's carbon of a message from or to the account stream, meant for one of the sessions."""
        try:
            to = parse_jid(carbon.to)
        except InvalidJID:
            return
        if carbon.sent and to.resource is not None and carbon.id is not None:
            self._copies.came(session, stanza, to.full, carbon.id)

    # From rooms and others, on the account stream

    def received(self, stanza: Stanza) -> None:
        """A groupchat or private message, a result of an archive, or an error for a message that was sent."""
        occupancy = self._parts.occupancies.of_sender(stanza)
        if occupancy is not None:
            self._from_room(stanza, occupancy)
        else:
            self._from_elsewhere(stanza)

    def not_sent(self, answer: Stanza) -> None:
        """A message was too large, or may have been lost with the stream."""
        occupancy = self._parts.occupancies.of_sender(answer)
        if occupancy is not None:
            self._from_room(answer, occupancy)

    def _from_room(self, stanza: Stanza, occupancy: Occupancy) -> None:
        kind = stanza.get("type")
        if kind == "error":
            self._error(stanza, occupancy)
        elif kind == "groupchat":
            self._reflected(stanza, occupancy)
            occupancy.from_room.groupchat(stanza)
        elif is_archive_result(stanza):
            self._archive_result(stanza)
        else:
            self._copies.answered(parse_jid(stanza["from"]).full)
            occupancy.from_room.message(stanza)

    def _reflected(self, stanza: Stanza, occupancy: Occupancy) -> None:
        """What a session said is there when the room shows it: that it may be lost with the stream is no news then."""
        if (
            self._sent
            and stanza.get("from") == f"{occupancy.room}/{occupancy.nick}"
            and (stanza_id := stanza.get("id"))
        ):
            self._sent.pop(hash((occupancy.room, stanza_id)), None)

    def _archive_result(self, stanza: Stanza) -> None:
        reader = self.parent.requests.reader_of(stanza)
        if reader is not None:
            reader(stanza)
        else:
            self._deliver(stanza, self._queries.asker_of(stanza))

    def _error(self, stanza: Stanza, occupancy: Occupancy) -> None:
        """An error goes to the session that sent that id; without an id, to a lone one, or who sent so last."""
        address, stanza_id = parse_jid(stanza["from"]), stanza.get("id")
        if stanza_id is None and len(occupancy.attached) == 1:
            session: SessionPort | None = next(iter(occupancy.attached))
        else:
            keys = (hash((jid, stanza_id or "")) for jid in (address.full, address.bare))
            session = next((self._sent[key] for key in keys if key in self._sent), None)
        if session is None:
            self.log.info(
                "{peer} returns a message to {account}, and which client sent it is not known any more",
                peer=address.full,
                account=self.bare,
            )
        elif address.resource is None:
            occupancy.from_room.refused()
        if address.resource is None:  # or it is an occupant's word
            occupancy.outbox.refused(stanza_id)
        self._deliver(stanza, session)

    @staticmethod
    def _deliver(stanza: Stanza, session: SessionPort | None) -> None:
        if session is not None:
            session.deliver(rewrite(stanza.self_contained(), {"to": session.jid}))

    def _from_elsewhere(self, stanza: Stanza) -> None:
        """A message from no room: someone used the address that a room shows as the account's. All clients get it."""
        self._parts.occupancies.listener.heard_elsewhere(stanza)
        if stanza.get("type") in ("error", "groupchat"):
            return
        if (MARK in stanza.raw and self._parts.displayed(stanza)) or not says_something(stanza):
            return
        if not self._sessions:
            bounce = error_reply(stanza, "wait", "recipient-unavailable")
            self._parts.answer(stanza.get("from"), rewrite(bounce, {"from": None}))
        for session in list(self._sessions):
            self._deliver(stanza, session)

    def session_closed(self, session: SessionPort) -> None:
        """Nobody waits for the errors of its messages."""
        self._copies.session_closed(session)
        self._sent = OrderedDict((key, sender) for key, sender in self._sent.items() if sender is not session)
