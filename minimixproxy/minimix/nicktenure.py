"""Since when nicks in a room have been the same occupants': for rooms that give no occupant-id (XEP-0421). Pure."""

from __future__ import annotations

MAX_LEFT = 10_000  # nicks whose leaving is remembered


class NickTenure:
    """Tells whether a message is by the occupant that has its nick now. In doubt it is not.

    Messages are named by their sequences, occupants by their addresses in the room, as it writes them.
    """

    def __init__(self) -> None:
        self._watched_from: int | None = None  # None: the account does not see who comes and goes
        self._left: dict[int, int] = {}  # hashes of occupants: when the last one of that nick left

    def watch(self, newest: int) -> None:
        """From now on the account sees who leaves. `newest`: the last message so far; whose it was is not known."""
        self._watched_from = newest
        self._left.clear()

    def lose_sight(self) -> None:
        """The account does not see who leaves."""
        self._watched_from = None
        self._left.clear()

    def left(self, occupant: str, newest: int) -> None:
        """An occupant left, or took another nick; whoever has that one next is somebody else."""
        if self._watched_from is None:
            return
        if len(self._left) >= MAX_LEFT:
            self.watch(newest)
        self._left[hash(occupant)] = newest

    def is_of_present(self, occupant: str, sequence: int) -> bool:
        """Tell whether the occupant of that nick has certainly had it since a message."""
        if self._watched_from is None or sequence <= self._watched_from:
            return False
        return sequence > self._left.get(hash(occupant), 0)
