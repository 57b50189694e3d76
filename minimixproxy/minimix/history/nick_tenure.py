"""Since when nicks in a room have been the same occupants': for rooms that give no occupant-id (XEP-0421). Pure."""

from __future__ import annotations

from array import array
from bisect import bisect_left

MAX_SHOWN = 10_000  # occupants of whom is known since when they are there


class NickTenure:
    """Tells whether a message is by the occupant that has its nick now. If that is unsure, the answer is no.

    Messages are named by their sequences, occupants by their addresses in the room, as it writes them. A room need not
    show everybody who comes and goes (XEP-0045 §10.2, `presencebroadcast`): who was not shown is not known.
    """

    __slots__ = ("_from_the_start", "_since", "_watched_from")

    def __init__(self) -> None:
        self._watched_from: int | None = None  # None: the account does not see who comes and goes
        self._since: dict[int, int] = {}  # by hash of an occupant that is there: the last message before it was shown
        self._from_the_start = array("q")  # hashes, sorted, of those who were there by then: of most of a large room

    def watch(self, newest: int) -> None:
        """From now on the account sees who leaves. `newest`: the last message so far; whose it was is not known."""
        self._watched_from = newest
        self._from_the_start = array("q", sorted({*self._from_the_start, *self._since}))
        self._since = {}

    def lose_sight(self) -> None:
        """The account does not see who leaves."""
        self._watched_from = None
        self.rules_changed()

    def rules_changed(self) -> None:
        """The room may not show any more who leaves: only who is shown anew is known."""
        self._since, self._from_the_start = {}, array("q")

    def shown(self, occupant: str, newest: int) -> None:
        """The room shows an occupant, for the first time or again; `newest` is the last message so far."""
        key = hash(occupant)
        since, from_the_start = self._since, self._from_the_start
        if key in since or len(since) + len(from_the_start) >= MAX_SHOWN:
            return
        if not from_the_start or self._place(key) is None:
            since[key] = newest

    def left(self, occupant: str) -> None:
        """An occupant left, or took another nick; whoever has that one next is somebody else."""
        key = hash(occupant)
        self._since.pop(key, None)
        place = self._place(key)
        if place is not None:
            del self._from_the_start[place]

    def is_of_present(self, occupant: str, sequence: int) -> bool:
        """Tell whether the occupant of that nick has certainly had it since a message."""
        if self._watched_from is None or sequence <= self._watched_from:
            return False
        key = hash(occupant)
        since = self._since.get(key)
        return sequence > since if since is not None else self._place(key) is not None

    def _place(self, key: int) -> int | None:
        place = bisect_left(self._from_the_start, key)
        found = place < len(self._from_the_start) and self._from_the_start[place] == key
        return place if found else None
