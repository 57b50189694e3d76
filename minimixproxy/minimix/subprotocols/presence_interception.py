"""MUC presence interception (XEP-0045): joins, leaves and nicks of sessions, and what rooms show. No I/O."""

from __future__ import annotations

from minimixproxy.jids import Address, InvalidJID, parse_jid
from minimixproxy.minimix.addressing.local_accounts import with_clients
from minimixproxy.minimix.addressing.outgoing import relayed
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.subprotocols.parts import AccountParts
from minimixproxy.minimix.subprotocols.subprotocol import ByName, Subprotocol
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc


class MUCPresenceHandler(Subprotocol):
    """The presences of one account, both ways. With the stream its rooms are lost, and come back to."""

    query = ByName("presence")

    def __init__(self, parts: AccountParts) -> None:
        super().__init__(parts.bare)
        self._parts = parts
        self._sessions = parts.sessions
        self._occupancies = parts.occupancies

    # The stream

    def connectionInitialized(self) -> None:
        """The stream is open: come back into the rooms."""
        super().connectionInitialized()
        self._occupancies.stream_opened()

    def unreachable(self, *, refused: bool) -> None:
        """The rooms are out of reach until there is another stream."""
        self._occupancies.unreachable(refused=refused)
        if self._occupancies.rooms and not refused:
            self.parent.reopen()

    # From sessions

    def concerns_room(self, session: SessionPort, stanza: Stanza, address: Address) -> bool:
        """Tell whether a directed presence is for the account to handle: else it passes."""
        if address.resource is not None and muc.is_join(stanza):
            return True
        kind = stanza.get("type")
        occupancy = self._occupancies.rooms.get(address.bare)
        if occupancy is None or kind not in (None, "unavailable", "error", "probe"):
            return False
        if kind is None and address.resource is None:
            return False
        return kind == "error" or occupancy.knows(session)

    def from_session(self, session: SessionPort, stanza: Stanza, address: Address) -> None:
        """A presence directed to a room or occupant: a join, a leave, a nick, a probe, or a request to be removed."""
        kind = stanza.get("type")
        nick = stanza["to"].partition("/")[2]
        occupancy = self._occupancies.rooms.get(address.bare)
        if muc.is_join(stanza):
            self._occupancies.join(session, address.bare, nick, stanza)
        elif occupancy is None:
            return
        elif kind == "unavailable":
            occupancy.leave(session, stanza)
        elif kind is None:
            occupancy.presence_from_session(session, nick, stanza)
        elif kind == "probe":
            self.send(relayed(stanza, session))
        elif session in occupancy.attached and address.resource in (
            None,
            parse_jid(f"{occupancy.room}/{occupancy.nick}").resource,
        ):
            occupancy.reject(session, stanza)
        # Any other presence error bounces a fork, and must never reach the room.

    def undirected(self, session: SessionPort, stanza: Stanza) -> None:
        """A presence without `to`, which passes as well: rooms are shown it, or the session is in none any more."""
        kind = stanza.get("type")
        if kind == "unavailable":
            self._sessions.shows_nothing(session)
            self._occupancies.detach(session)
        elif kind is None:
            self._sessions.shows(session, stanza)
            self._occupancies.broadcast_changed(session)

    # From servers and rooms

    def from_server(self, stanza: Stanza) -> bool:
        """A presence on a client's own stream; True: the client must not see it.

        Some servers say that the account stream is unavailable when it ends, though it never was anything else.
        """
        sender = stanza.get("from")
        if stanza.get("type") != "unavailable" or sender is None:
            return False
        try:
            return parse_jid(sender) == parse_jid(self._parts.address())
        except InvalidJID:
            return False

    def received(self, stanza: Stanza) -> None:
        """A presence of a room, of an occupant, or a presence error. One that cannot be read says nothing else."""
        if not stanza.readable:
            self.cannot_read(stanza, "too many elements")
            stanza = stanza.without_content()
        occupancy = self._occupancies.of_sender(stanza)
        if occupancy is not None:
            stanza = with_clients(stanza, self.parent.jid, occupancy.room, self._parts.context.client_of)
            occupancy.from_room.presence(stanza, stanza["from"].partition("/")[2] or None)

    def not_sent(self, answer: Stanza) -> None:
        """What the account shows was too large."""
        occupancy = self._occupancies.of_sender(answer)
        if occupancy is not None:
            occupancy.from_room.presence_refused(answer)
