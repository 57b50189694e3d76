"""The messages of one room's history: in order, bounded by count, bytes and age, and found by their ids. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import attrgetter

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.bounds.shared_bytes import SharedBytes, same_text
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.history.message_index import (
    OCCUPANT,
    IdentityIndex,
    SaidIndex,
    ids_of_bytes,
    occupant_of_bytes,
)
from minimixproxy.minimix.interfaces.journal import KeptMessage, RoomJournal

MAX_BYTES = 8 * 1024 * 1024  # of one room's messages ...
BYTES_EACH = 1024  # ... or this for each that may be kept, if that is more
_SLACK = 10  # a tenth of what may be kept is thrown away together
_LEAST_SLACK = 16
_MOST_GONE = 1024 * 1024  # bytes, or what is over then
_REMEMBERED = 50  # ids of messages that had no place: those of a moment ago, whose time may be that of a new one


class KeptMessages:
    """The last messages of a room, in the order in which they came. What goes is journalled now and then."""

    __slots__ = (
        "_budget",
        "_by_id",
        "_bytes",
        "_bytes_gone",
        "_crowded",
        "_crowded_out",
        "_first",
        "_identities",
        "_journal",
        "_messages",
        "_said",
        "_settings",
        "_told",
        "_unread",
        "expired_until",
    )

    def __init__(
        self,
        settings: Rooms,
        journal: RoomJournal,
        kept: Iterable[KeptMessage] = (),
        budget: ByteBudget | None = None,
        told: SharedBytes | None = None,
    ) -> None:
        """`budget`: the bytes that they may have, of the account's; what does not fit costs the oldest.

        `told`: what other accounts may have been told, too.
        """
        self._budget = budget
        self._told = told if told is not None else SharedBytes()
        self._settings = settings
        self._journal = journal
        self._messages: list[KeptMessage] = []
        self._first = 0  # what stands before it is gone, and waits to be thrown away
        self._bytes = 0  # from there on
        self._bytes_gone = 0  # before
        self._by_id: dict[str, int] = {}  # sequence, by the room's stanza-id
        self._said = SaidIndex()
        self._identities = IdentityIndex()
        for message in sorted(kept, key=_SEQUENCE):
            self._add(message)
        self._crowded = len(self._messages) >= settings.history  # earlier ones had no place, or may have had none
        self._crowded_out: dict[str, None] | None = None  # the room's ids of the last of them; few rooms have any
        self._unread = len(self._messages)  # of those, so many are not in `_said` yet
        self.expired_until = 0.0  # the time of the newest one that has grown too old
        self._bound()

    def __len__(self) -> int:
        return len(self._messages) - self._first

    def __iter__(self) -> Iterator[KeptMessage]:
        return islice(self._messages, self._first, None)

    def __reversed__(self) -> Iterator[KeptMessage]:
        return islice(reversed(self._messages), len(self))

    def had_no_place(self, stanza_id: str | None) -> bool:
        """Tell whether a message with this id from the room was here lately, and had to go for others."""
        return self._crowded_out is not None and stanza_id in self._crowded_out

    @property
    def crowded_until(self) -> float:
        """The time up to which there may have been messages that had no place; 0 if there were none.

        If the oldest and the newest are of the same time, one of that time may also be new.
        """
        if not (self._crowded and len(self)):
            return 0.0
        oldest = self._messages[self._first].time
        return oldest if oldest < self._messages[-1].time else 0.0

    def last(self, count: int) -> list[KeptMessage]:
        """Return the last `count`, or all if there are not so many."""
        return self._messages[max(self._first, len(self._messages) - count) :]

    def after(self, sequence: int) -> list[KeptMessage]:
        """Return those that came after the one of that sequence."""
        return self._messages[bisect_left(self._messages, sequence + 1, self._first, key=_SEQUENCE) :]

    def late(self, sequence: int) -> list[KeptMessage]:
        """Return those that came after the one of that sequence, and are older than one that had come before them."""
        after = self.after(sequence)
        if not after:
            return []
        before = self._messages[self._first : len(self._messages) - len(after)]
        newest = max((message.time for message in before), default=0.0)
        late = []
        for message in after:
            if message.time < newest:
                late.append(message)
            else:
                newest = message.time
        return late

    def get(self, sequence: int) -> KeptMessage | None:
        """Return one, if it is still there."""
        place = self._place(sequence)
        return self._messages[place] if place is not None else None

    def with_stanza_id(self, stanza_id: str) -> KeptMessage | None:
        """Return the one that has this id from the room."""
        sequence = self._by_id.get(stanza_id)
        return self.get(sequence) if sequence is not None else None

    def said_by(self, sender: str, sent_id: str) -> KeptMessage | None:
        """Return the last one by a sender, as `keep` was told of it, with an id that it gave."""
        if self._unread:
            self._read()
        sequence = self._said.find(sender, sent_id)
        return self.get(sequence) if sequence is not None else None

    def _read(self) -> None:
        """Take the messages of before the start into the index by occupant-id: later ones stay what they are there.

        What cannot be read without parsing it is left out. A nick says nothing of who had it then.
        """
        first, self._unread = self._messages[: self._unread], 0
        for message in first:
            try:
                occupant = occupant_of_bytes(message.raw) if b"occupant-id" in message.raw else None
                ids = ids_of_bytes(message.raw) if occupant is not None else ()
            except ValueError:
                continue  # kept by an earlier version that it was a fault of; found out when it is replayed
            if occupant is not None:
                self._said.add_earlier(OCCUPANT + occupant, ids, message.sequence)

    def same_again(self, key: int) -> list[KeptMessage]:
        """Return the last ones of an `identity`."""
        found = (self.get(sequence) for sequence in self._identities.find(key, reversed(self)))
        return [message for message in found if message is not None]

    def _place(self, sequence: int) -> int | None:
        place = bisect_left(self._messages, sequence, self._first, key=_SEQUENCE)
        found = place < len(self._messages) and self._messages[place].sequence == sequence
        return place if found else None

    def keep(self, message: KeptMessage, sender: str | None = None, ids: Iterable[str] = ()) -> None:
        """Add one, the newest, to be found by `sender` and the ids that it gave. Of too many, the oldest go."""
        if self._settings.history == 0:
            return
        self._add(message)
        if sender is not None:
            self._said.add(sender, ids, message.sequence)
        self._journal.message_kept(message)
        self._bound()
        self._throw_away()

    def _add(self, message: KeptMessage) -> None:
        message.raw = self._told.take(message.raw)
        self._messages.append(message)
        self._bytes += len(message.raw)
        if message.stanza_id is not None:
            message.stanza_id = same_text(message.stanza_id)  # the same for all accounts
            self._by_id[message.stanza_id] = message.sequence

    def change(self, message: KeptMessage) -> None:
        """Put a message in the place of the one with its sequence, which must be there."""
        place = self._place(message.sequence)
        assert place is not None
        if self._identities.used:
            self._identities.learn(reversed(self))
        before, message.raw = self._messages[place].raw, self._told.take(message.raw)
        self._bytes += len(message.raw) - len(before)
        self._told.give_back(before)
        self._messages[place] = message
        self._journal.message_changed(message)

    def remove(self, sequence: int) -> None:
        """Let go one that is of no use, if it is there."""
        place = self._place(sequence)
        if place is None:
            return
        message = self._messages.pop(place)
        self._bytes -= len(message.raw)
        self._unread -= place < self._unread
        self._forget(message)
        self._journal.message_gone(sequence)

    def expire(self, now: float) -> None:
        """Let go what is too old."""
        max_age = self._settings.history_age
        oldest = now - max_age
        self._bound()  # fewer may be kept than were
        while len(self) and self._messages[self._first].time < oldest:
            self.expired_until = max(self.expired_until, self._messages[self._first].time)
            self._drop_first()
        # What is over its age by a tenth leaves the disk too, be it ever so little.
        late = bool(self._first) and self._messages[0].time < oldest - max_age / _SLACK
        self._throw_away(late)

    def _bound(self) -> None:
        limit = self._settings.history
        max_bytes = max(MAX_BYTES, BYTES_EACH * limit)
        while len(self._messages) - self._first > limit or self._bytes > max_bytes or not self._has_budget():
            self._crowd_out(self._messages[self._first].stanza_id)
            self._drop_first()

    def _crowd_out(self, stanza_id: str | None) -> None:
        self._crowded = True
        if stanza_id is None:
            return
        if self._crowded_out is None:
            self._crowded_out = {}
        self._crowded_out.pop(stanza_id, None)
        self._crowded_out[stanza_id] = None
        if len(self._crowded_out) > _REMEMBERED:
            del self._crowded_out[next(iter(self._crowded_out))]

    def _has_budget(self) -> bool:
        """Have of the budget what the messages have; False if it is not there."""
        budget = self._budget
        if budget is None or budget.used == self._bytes != 0:
            return True
        more = self._bytes - budget.used
        if more > 0:
            return budget.take(more)
        budget.give_back(-more)
        return True

    def close(self) -> None:
        """The room is kept no more, and neither is what was said in it."""
        self._told.give_all_back(message.raw for message in self._messages)
        self._messages, self._first, self._by_id = [], 0, {}
        self._bytes = self._bytes_gone = self._unread = 0
        if self._budget is not None:
            self._budget.close()

    def _drop_first(self) -> None:
        size = len(self._messages[self._first].raw)
        self._bytes -= size
        self._bytes_gone += size
        self._first += 1

    def _throw_away(self, at_once: bool = False) -> None:
        few = self._first < max(_LEAST_SLACK, self._settings.history // _SLACK) and self._bytes_gone < _MOST_GONE
        if few and not at_once:
            return
        for message in self._messages[: self._first]:
            self._forget(message)
        last_gone = self._messages[self._first - 1].sequence
        del self._messages[: self._first]
        self._unread = max(0, self._unread - self._first)
        self._first = self._bytes_gone = 0
        oldest = self._messages[0].sequence if self._messages else last_gone + 1
        self._said.trim(oldest, len(self))
        self._identities.trim(oldest, len(self))
        self._journal.trimmed(oldest)

    def _forget(self, message: KeptMessage) -> None:
        self._told.give_back(message.raw)
        if message.stanza_id is not None and self._by_id.get(message.stanza_id) == message.sequence:
            del self._by_id[message.stanza_id]


_SEQUENCE = attrgetter("sequence")
