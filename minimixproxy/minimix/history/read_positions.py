"""How far each client, by resource, has seen the messages of one room. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from minimixproxy.minimix.interfaces.journal import RoomJournal

MAX_CURSORS = 256


class ReadPositions:
    """The sequence of the last message that each client has seen; the least recent of too many clients is forgotten."""

    def __init__(self, journal: RoomJournal, kept: Mapping[str, int] | None = None) -> None:
        self._journal = journal
        # Those that have seen most are the most recent.
        self._cursors = OrderedDict(sorted((kept or {}).items(), key=lambda item: item[1]))
        self._bound()

    def get(self, resource: str) -> int | None:
        """Return how far a client has seen; None if that is not known."""
        return self._cursors.get(resource)

    def attached(self, resource: str) -> None:
        """A client sees all that comes from now on."""
        self._journal.attached(resource)

    def detached(self, resource: str, sequence: int) -> None:
        """A client has gone, and has seen everything up to a message."""
        self._cursors[resource] = sequence
        self._cursors.move_to_end(resource)
        self._journal.seen(resource, sequence)
        self._bound()

    def _bound(self) -> None:
        while len(self._cursors) > MAX_CURSORS:
            resource, _ = self._cursors.popitem(last=False)
            self._journal.cursor_forgotten(resource)
