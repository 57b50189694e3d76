"""The messages of one room's history: in order, bounded by count, bytes and age, and found by their ids. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import attrgetter

from minimixproxy.config import Rooms
from minimixproxy.minimix.journal import KeptMessage, RoomJournal

MAX_BYTES = 8 * 1024 * 1024  # of one room's messages ...
BYTES_EACH = 1024  # ... or this for each that may be kept, if that is more
_SLACK = 10  # a tenth of what may be kept is thrown away together
_LEAST_SLACK = 16


class KeptMessages:
    """The last messages of a room, in the order in which they came. What goes is journalled now and then."""

    def __init__(self, settings: Rooms, journal: RoomJournal, kept: Iterable[KeptMessage] = ()) -> None:
        self._limit = settings.history
        self._max_bytes = max(MAX_BYTES, BYTES_EACH * settings.history)
        self._max_age = settings.history_age
        self._journal = journal
        self._messages: list[KeptMessage] = []
        self._first = 0  # what stands before it is gone, and waits to be thrown away
        self._bytes = 0  # from there on
        self._by_id: dict[str, int] = {}  # sequence, by the room's stanza-id
        for message in sorted(kept, key=_SEQUENCE):
            self._add(message)
        self._bound()

    def __len__(self) -> int:
        return len(self._messages) - self._first

    def __iter__(self) -> Iterator[KeptMessage]:
        return islice(self._messages, self._first, None)

    def __reversed__(self) -> Iterator[KeptMessage]:
        return islice(reversed(self._messages), len(self))

    def last(self, count: int) -> list[KeptMessage]:
        """Return the last `count`, or all if there are not so many."""
        return self._messages[max(self._first, len(self._messages) - count) :]

    def after(self, sequence: int) -> list[KeptMessage]:
        """Return those that came after the one of that sequence."""
        return self._messages[bisect_left(self._messages, sequence + 1, self._first, key=_SEQUENCE) :]

    def get(self, sequence: int) -> KeptMessage | None:
        """Return one, if it is still there."""
        place = self._place(sequence)
        return self._messages[place] if place is not None else None

    def with_stanza_id(self, stanza_id: str) -> KeptMessage | None:
        """Return the one that has this id from the room."""
        sequence = self._by_id.get(stanza_id)
        return self.get(sequence) if sequence is not None else None

    def _place(self, sequence: int) -> int | None:
        place = bisect_left(self._messages, sequence, self._first, key=_SEQUENCE)
        found = place < len(self._messages) and self._messages[place].sequence == sequence
        return place if found else None

    def keep(self, message: KeptMessage) -> None:
        """Add one, the newest; the oldest go if there are too many."""
        if self._limit == 0:
            return
        self._add(message)
        self._journal.message_kept(message)
        self._bound()
        self._throw_away()

    def _add(self, message: KeptMessage) -> None:
        self._messages.append(message)
        self._bytes += len(message.raw)
        if message.stanza_id is not None:
            self._by_id[message.stanza_id] = message.sequence

    def change(self, message: KeptMessage) -> None:
        """Put a message in the place of the one with its sequence, which must be there."""
        place = self._place(message.sequence)
        assert place is not None
        self._bytes += len(message.raw) - len(self._messages[place].raw)
        self._messages[place] = message
        self._journal.message_changed(message)

    def expire(self, now: float) -> None:
        """Let go what is too old."""
        oldest = now - self._max_age
        while len(self) and self._messages[self._first].time < oldest:
            self._drop_first()
        # What is over its age by a tenth leaves the disk too, be it ever so little.
        late = bool(self._first) and self._messages[0].time < oldest - self._max_age / _SLACK
        self._throw_away(late)

    def _bound(self) -> None:
        while len(self) > self._limit or self._bytes > self._max_bytes:
            self._drop_first()

    def _drop_first(self) -> None:
        self._bytes -= len(self._messages[self._first].raw)
        self._first += 1

    def _throw_away(self, at_once: bool = False) -> None:
        if not at_once and self._first < max(_LEAST_SLACK, self._limit // _SLACK):
            return
        for message in self._messages[: self._first]:
            if message.stanza_id is not None and self._by_id.get(message.stanza_id) == message.sequence:
                del self._by_id[message.stanza_id]
        last_gone = self._messages[self._first - 1].sequence
        del self._messages[: self._first]
        self._first = 0
        self._journal.trimmed(self._messages[0].sequence if self._messages else last_gone + 1)


_SEQUENCE = attrgetter("sequence")
