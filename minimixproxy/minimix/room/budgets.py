"""How many bytes the rooms of one account may have: each some of its own, and more of what all share."""

from __future__ import annotations

import sys

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.history.kept_messages import BYTES_EACH

ROOM_OWN = 128 * 1024  # bytes of what a room shows that no other room can use up
HISTORY_OWN = 256 * 1024  # bytes of what was said in a room that no other room can use up ...
HISTORY_BYTES = 64 * 1024 * 1024  # ... and of all rooms beyond that, or as much as one room may have, if that is more
WAITING_OWN = 16 * 1024  # bytes of what waits in a room, in each of four places, that no other room can use up ...
WAITING_BYTES = 64 * 1024 * 1024  # ... and of all rooms beyond that


class Budgets:
    """Those of one account, by what they are for. Each function returns a new one, for one room."""

    def __init__(self, settings: Rooms) -> None:
        self._settings = settings
        self._shown = ByteBudget(settings.account_memory)
        self._said = ByteBudget(max(HISTORY_BYTES, BYTES_EACH * settings.history))
        self._waiting = ByteBudget(WAITING_BYTES)

    def room(self) -> ByteBudget:
        """For what a room shows."""
        return ByteBudget(self._settings.room_memory, self._shown, ROOM_OWN)

    def history(self) -> ByteBudget:
        """For what was said in a room."""
        return ByteBudget(sys.maxsize, self._said, HISTORY_OWN)

    def waiting(self, limit: int) -> ByteBudget:
        """`limit` bytes, for what waits in a room: private messages, markers, its archive, what it says then."""
        return ByteBudget(limit, self._waiting, WAITING_OWN)
