"""What a room says of itself. (Placeholder by the lead until helper "history" commits the real one: overwrite it.)"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.minimix.ports import RoomOutlet
from minimixproxy.stanza import Stanza


class RoomInfo:
    """Nothing is known."""

    def __init__(self, room: str, outlet: RoomOutlet) -> None:
        self.room = room
        self.archive: bool | None = None

    def refresh(self, done: Callable[[], None] | None = None) -> None:
        if done is not None:
            done()

    def message_seen(self, stanza: Stanza) -> None:
        """Nothing."""
