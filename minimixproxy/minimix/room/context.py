"""What every part of an occupancy, and every account, is handed."""

from __future__ import annotations

from dataclasses import dataclass, field

from minimixproxy.bounds.shared_bytes import SharedBytes
from minimixproxy.config.settings import Push, Rooms
from minimixproxy.minimix.addressing.local_accounts import ClientOf
from minimixproxy.minimix.interfaces.journal import Journal, RoomJournal
from minimixproxy.minimix.interfaces.streams import RoomOutlet
from minimixproxy.minimix.room.endings import Endings
from minimixproxy.timing.answered_lines import AnsweredLines
from minimixproxy.timing.clock import Clock


@dataclass(frozen=True, slots=True)
class RoomContext:
    """One room of one account: `room` is its bare JID, `outlet` the way to it, `caps` what the account's presence there
    advertises (XEP-0115). `told`: what rooms tell several accounts.
    """

    room: str
    outlet: RoomOutlet
    settings: Rooms
    clock: Clock
    caps: bytes
    journal: RoomJournal
    told: SharedBytes = field(default_factory=SharedBytes)


@dataclass(frozen=True, slots=True)
class AccountContext:
    """What all accounts of the proxy share: `client_of` finds the clients of others of them in a room, `rejoins` sets
    the pace at which rooms are joined again, `endings` keeps why accounts are not in rooms, `told` what rooms tell
    several.
    """

    settings: Rooms
    clock: Clock
    journal: Journal
    client_of: ClientOf
    rejoins: AnsweredLines
    push: Push
    endings: Endings = field(default_factory=Endings)
    told: SharedBytes = field(default_factory=SharedBytes)
