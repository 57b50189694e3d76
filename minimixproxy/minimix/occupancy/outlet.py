"""What the occupancies of one account may do to the world outside their sessions. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sized
from typing import Protocol

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.minimix.interfaces.endings import Ending
from minimixproxy.minimix.interfaces.streams import Answered, Listener, SessionPort, StreamPort
from minimixproxy.minimix.room.budgets import Budgets
from minimixproxy.minimix.room.context import AccountContext
from minimixproxy.minimix.room.sessions import Sessions
from minimixproxy.timing.answered_line import Turn
from minimixproxy.wire.stanza import Stanza

#: Bytes of one presence shown to all rooms: half of what waits for a server that reads slowly (see `accountstream`).
SHOWN_TO_ALL = 2 * 1024 * 1024


class OutletHost(Sized, Protocol):
    """All occupancies of the account. Rooms by bare JID."""

    @property
    def listener(self) -> Listener:
        """Who is told of what is said."""

    def room_joined(self, room: str) -> None:
        """The account is in a room."""

    def room_left(self, room: str) -> None:
        """The account leaves a room with its last session."""

    def room_removed(self, room: str) -> None:
        """The room has removed the account, or does not let it come back, and means it."""

    def room_ended(self, room: str) -> None:
        """The occupancy is over."""

    def not_in(self, room: str, why: Ending) -> None:
        """Note why the account is not in the room."""

    def from_session_again(self, session: SessionPort, stanza: Stanza) -> None:
        """What a session said while a room was out of reach can be said now."""


class AccountOutlet:
    """The way to the rooms and back, for all occupancies of an account (`interfaces.streams.RoomOutlet`)."""

    def __init__(
        self, account: str, stream: StreamPort, sessions: Sessions, context: AccountContext, host: OutletHost
    ) -> None:
        self.account = account
        self.listener = host.listener
        self.budgets = Budgets(context.settings)
        self.broadcast_payload = sessions.payload
        self.room_joined = host.room_joined
        self.room_left = host.room_left
        self.room_removed = host.room_removed
        self.room_ended = host.room_ended
        self.not_in = host.not_in
        self.from_session_again = host.from_session_again
        self.when_acknowledged = stream.when_acknowledged
        self._stream = stream
        self._sessions = sessions
        self._rejoins = context.rejoins
        self._domain = account.partition("@")[2]
        self._host = host

    # To rooms and servers

    @property
    def stream_jid(self) -> str:
        """The full JID of the account stream; "" before it is bound."""
        return self._stream.jid

    def send_to_room(self, data: bytes) -> None:
        """Send on the account stream, which opens if need be."""
        self._stream.send(data)

    def ask(self, to: str, kind: str, payload: bytes, answered: Answered) -> None:
        """Send an IQ of the account's own."""
        self._stream.requests.ask(to, kind, payload, answered)

    def ask_archive(
        self, to: str, query_id: str, payload: bytes, result: Callable[[Stanza], None], answered: Answered
    ) -> None:
        """Send a query of the account's own to an archive."""
        self._stream.requests.ask_archive(to, query_id, payload, result, answered)

    def rejoin_turn(self, room: str, call: Callable[[], None]) -> Turn:
        """Return a turn to join a room again, beside all that come back by the same servers."""
        return self._rejoins.turn((self._domain, room.partition("@")[2]), self.account, call)

    # What there is room for

    @property
    def client_budget(self) -> ByteBudget:
        """What the account's own clients have kept for them."""
        return self._sessions.budget

    @property
    def presence_limit(self) -> int:
        """How large the presence may be that a room is shown: what one client shows goes to all rooms at once."""
        return SHOWN_TO_ALL // max(1, len(self._host))

    def room_budget(self) -> ByteBudget:
        """Return a new budget for what a room shows: its own, and beyond that what other rooms leave."""
        return self.budgets.room()

    def history_budget(self) -> ByteBudget:
        """Return a new budget for what was said in a room: the same."""
        return self.budgets.history()

    def waiting_budget(self, limit: int) -> ByteBudget:
        """Return a new budget for what waits in a room."""
        return self.budgets.waiting(limit)
