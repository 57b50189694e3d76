"""What an occupancy is made of, for the rules of its lifecycle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.history.room_history import RoomHistory
from minimixproxy.minimix.history.room_info import RoomInfo
from minimixproxy.minimix.interfaces.streams import RoomOutlet
from minimixproxy.minimix.occupancy.leave_grace import LeaveGrace
from minimixproxy.minimix.occupancy.membership import Membership
from minimixproxy.minimix.rejoin.attempts import RejoinAttempts
from minimixproxy.minimix.rejoin.self_ping import SelfPing
from minimixproxy.minimix.room.appearance import Appearance
from minimixproxy.minimix.room.attendance import Attendance
from minimixproxy.minimix.room.join_ids import JoinIds
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.stanza import Stanza


@dataclass(frozen=True, slots=True)
class Parts:
    """Each owns what it is named for; the rules bring them together."""

    room: str
    outlet: RoomOutlet
    settings: Rooms
    clock: Clock
    caps: bytes  # what the account's presence advertises (XEP-0115)
    info: RoomInfo
    history: RoomHistory
    attendance: Attendance
    appearance: Appearance
    membership: Membership
    self_ping: SelfPing
    attempts: RejoinAttempts
    grace: LeaveGrace
    join_ids: JoinIds
    heard: Callable[[Stanza, bool], None]  # takes a message of the room, and whether it is told as of the past
    happens: Callable[..., None]  # takes an `Input`, and what comes with it: the way on in the lifecycle
