"""How far each client, by resource, has seen the messages of one room. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from minimixproxy.minimix.interfaces.journal import RoomJournal

MAX_CURSORS = 256


class ReadPositions:
    """The sequence of the last message that each client had seen when it was there last.

    The least recent of too many clients is forgotten; those that are there are not.
    """

    __slots__ = ("_cursors", "_journal", "_present")

    def __init__(self, journal: RoomJournal, kept: Mapping[str, int] | None = None) -> None:
        self._journal = journal
        # Those that have seen most are the most recent.
        self._cursors = OrderedDict(sorted((kept or {}).items(), key=lambda item: item[1]))
        self._present: dict[str, int] = {}  # the same of those that are there
        self._bound()

    def get(self, resource: str) -> int | None:
        """Return how far a client had seen when it came, or left; None if that is not known."""
        before = self._present.get(resource)
        return before if before is not None else self._cursors.get(resource)

    def joins(self, resource: str, start: int) -> None:
        """A client is to be given messages; if nothing is known of it, they are those behind `start`.

        That is on disk before it gets any: a crash must not make it a new client again, which is given only a few.
        """
        if resource in self._present:
            return
        before = self._cursors.pop(resource, None)
        if before is None:
            self._journal.seen(resource, start)
        self._present[resource] = start if before is None else before

    def attached(self, resource: str) -> None:
        """A client sees all that comes from now on."""
        self._journal.attached(resource)

    def detached(self, resource: str, sequence: int) -> None:
        """A client has gone, and has seen everything up to a message."""
        self._present.pop(resource, None)
        self._cursors[resource] = sequence
        self._cursors.move_to_end(resource)
        self._journal.seen(resource, sequence)
        self._bound()

    def _bound(self) -> None:
        while len(self._cursors) > MAX_CURSORS:
            resource, _ = self._cursors.popitem(last=False)
            self._journal.cursor_forgotten(resource)
