"""What an occupancy is made of, for the rules of its lifecycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minimixproxy.minimix.history.room_history import RoomHistory
from minimixproxy.minimix.history.room_info import RoomInfo
from minimixproxy.minimix.interfaces.streams import RoomOutlet
from minimixproxy.minimix.occupancy.leave_grace import LeaveGrace
from minimixproxy.minimix.occupancy.membership import Membership
from minimixproxy.minimix.rejoin.attempts import RejoinAttempts
from minimixproxy.minimix.rejoin.self_ping import SelfPing
from minimixproxy.minimix.room.appearance import Appearance
from minimixproxy.minimix.room.attendance import Attendance
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.minimix.room.join_ids import JoinIds
from minimixproxy.minimix.room.scales import Scales
from minimixproxy.wire.stanza import Stanza


@dataclass(frozen=True, slots=True)
class Parts:
    """Each owns what it is named for; the rules bring them together."""

    context: RoomContext
    info: RoomInfo
    history: RoomHistory
    attendance: Attendance
    appearance: Appearance
    membership: Membership
    self_ping: SelfPing
    attempts: RejoinAttempts
    grace: LeaveGrace
    join_ids: JoinIds
    scales: Scales
    heard: Callable[[Stanza, bool], None]  # takes a message of the room, and whether it is told as of the past
    happens: Callable[..., None]  # takes an `Input`, and what comes with it: the way on in the lifecycle

    @property
    def room(self) -> str:
        """The room's bare JID."""
        return self.context.room

    @property
    def account(self) -> str:
        """The bare JID of the account, for the log."""
        return self.context.outlet.account

    @property
    def outlet(self) -> RoomOutlet:
        """The way to the room."""
        return self.context.outlet
