"""What every part of an occupancy is handed."""

from __future__ import annotations

from dataclasses import dataclass

from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.interfaces.journal import RoomJournal
from minimixproxy.minimix.interfaces.streams import RoomOutlet
from minimixproxy.timing.clock import Clock


@dataclass(frozen=True, slots=True)
class RoomContext:
    """One room of one account: `room` is its bare JID, `outlet` the way to it, `caps` what the account's presence there
    advertises (XEP-0115).
    """

    room: str
    outlet: RoomOutlet
    settings: Rooms
    clock: Clock
    caps: bytes
    journal: RoomJournal
