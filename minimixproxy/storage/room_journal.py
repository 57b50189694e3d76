"""The journal of one account's occupancy of one room: calls become rows of the batch that is being gathered."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Protocol
from zlib import crc32

from minimixproxy.minimix.interfaces.journal import KeptMembership, KeptMessage, KeptPrivate
from minimixproxy.storage.batch import Batch
from minimixproxy.storage.bodies import Placed, Placing
from minimixproxy.storage.gathering import Gathering


class Rows(Protocol):
    """What the journal of a room asks of the rows of all accounts."""

    def account_id(self, bare: str) -> int:
        """Return the number of an account, which gets a row if it has none."""

    def room_added(self, bare: str, room: str, journal: SQLRoomJournal) -> int:
        """Return a number for a room's row, in the place of any that the account's room had before."""

    def room_removed(self, bare: str, room: str) -> None:
        """The room has no row any more."""

    @property
    def bodies(self) -> Placing:
        """Which rows have what messages say."""

    def sealed(self, text: str | None, *place: str) -> bytes | None:
        """Return a password as the database may have it."""


class SQLRoomJournal:
    """A row of `rooms` and what goes with it. Before the first call there is no row, and `id` is 0.

    After `forgotten` nothing is taken before the next `membership`: what a room says while it is left is not kept.
    """

    __slots__ = (
        "_bare",
        "_forgotten",
        "_gathering",
        "_membership",
        "_parted",
        "_places",
        "_raws",
        "_room",
        "_rows",
        "_sequences",
        "id",
    )

    def __init__(self, gathering: Gathering, rows: Rows, bare: str, room: str) -> None:
        self.id = 0
        self._gathering = gathering
        self._rows = rows
        self._bare = bare
        self._room = room
        self._membership: KeptMembership | None = None
        self._forgotten = False
        self._parted = False
        self._sequences = array("q")  # of the messages that have rows, in their order
        self._places = array("q")  # of each the row that has what it says ...
        self._raws: list[bytes] = []  # ... which is this

    def loaded(self, number: int, membership: KeptMembership, messages: Iterable[Placed]) -> None:
        """There is a row already, with messages."""
        self.id = number
        self._membership = membership
        for message in messages:
            self._add(*message)

    def next_sequence(self) -> int:
        gathering = self._gathering
        gathering.sequence += gathering.step
        return gathering.sequence

    def given_out(self) -> int:
        return self._gathering.given_out()

    def part(self) -> None:
        """The account is another process's from now on: its rows stay as they are, and nothing more is taken."""
        self._parted = True

    def membership(self, membership: KeptMembership) -> None:
        if membership == self._membership or self._parted:  # it is None without a row
            return
        self._membership = membership
        self._forgotten = False
        self._write()

    def forgotten(self) -> None:
        self._forgotten = True
        if not self.id or self._parted:
            return
        batch = self._gathering.batch or self._gathering.begin()
        batch.rooms.pop(self.id, None)
        batch.gone_rooms.append(self.id)
        self._let_go(batch, 0, len(self._sequences))
        self._rows.room_removed(self._bare, self._room)
        self.id = 0
        self._membership = None

    def message_kept(self, message: KeptMessage) -> None:
        if self._forgotten or self._parted:
            return
        batch = self._batch()
        self._gathering.weigh(batch, self._insert(batch, message))

    def message_changed(self, message: KeptMessage) -> None:
        index = self._index(message.sequence)
        if index is None:
            return
        batch, before = self._batch(), self._raws[index]
        place = self._rows.bodies.changed(batch, before, self._places[index], message, self.next_sequence)
        self._places[index], self._raws[index] = place, message.raw
        self._gathering.weigh(batch, message.raw)

    def message_gone(self, sequence: int) -> None:
        index = self._index(sequence)
        if index is not None:
            self._let_go(self._batch(), index, index + 1)

    def trimmed(self, oldest: int) -> None:
        sequences = self._sequences
        if not sequences or sequences[0] >= oldest or self._parted:
            return
        self._let_go(self._gathering.batch or self._gathering.begin(), 0, bisect_left(sequences, oldest))

    def attached(self, resource: str) -> None:
        cursors = self._batch().cursors
        now, before = self.next_sequence(), cursors.get((self.id, resource))
        if before == "gone":
            cursors[self.id, resource] = (None, now)
        elif isinstance(before, tuple):
            cursors[self.id, resource] = (before[0], before[1] or now)
        elif before is None:
            cursors[self.id, resource] = now

    def seen(self, resource: str, sequence: int) -> None:
        self._batch().cursors[self.id, resource] = (sequence, None)

    def cursor_forgotten(self, resource: str) -> None:
        self._batch().cursors[self.id, resource] = "gone"

    def private_kept(self, private: KeptPrivate) -> None:
        batch = self._batch()
        batch.privates += (private.sequence, self.id, private.raw, crc32(private.raw))
        self._gathering.weigh(batch, private.raw)

    def private_given(self, sequence: int) -> None:
        self._batch().given.append(sequence)

    def history(self, batch: Batch, messages: Iterable[KeptMessage], privates: Iterable[KeptPrivate]) -> None:
        """Put all messages there are into a batch that replaces what is in the tables; after `no_history`."""
        for message in messages:
            self._insert(batch, message)
        for private in privates:
            batch.privates += (private.sequence, self.id, private.raw, crc32(private.raw))

    def no_history(self) -> None:
        """No message has a row any more."""
        self._sequences, self._places, self._raws = array("q"), array("q"), []

    def _insert(self, batch: Batch, message: KeptMessage) -> bytes:
        """Give a message a row. Return what of its bytes the row has: none, if another row has them."""
        sequence, raw = message.sequence, message.raw
        place = self._rows.bodies.kept(message)
        self._add(sequence, raw, place)
        own, body = (raw, None) if place == sequence else (b"", place)
        batch.messages += (
            sequence,
            self.id,
            message.time,
            own,
            message.stamped,
            message.stanza_id,
            message.amends,
            message.retracted,
            crc32(raw),
            body,
        )
        return own

    def _add(self, sequence: int, raw: bytes, place: int) -> None:
        self._sequences.append(sequence)
        self._places.append(place)
        self._raws.append(raw)

    def _index(self, sequence: int) -> int | None:
        index = bisect_left(self._sequences, sequence)
        found = index < len(self._sequences) and self._sequences[index] == sequence
        return index if found else None

    def _let_go(self, batch: Batch, start: int, end: int) -> None:
        bodies = self._rows.bodies
        for index in range(start, end):
            bodies.gone(batch, self._sequences[index], self._raws[index], self._places[index])
        for column in (self._sequences, self._places, self._raws):
            del column[start:end]

    def _batch(self) -> Batch:
        """The batch that is being gathered. What goes with a room needs the room's row first."""
        if self._forgotten or self._parted:
            return Batch()  # never written
        if not self.id:
            self._write()
        return self._gathering.batch or self._gathering.begin()

    def _write(self) -> None:
        account_id = self._rows.account_id(self._bare)
        if not self.id:
            self.id = self._rows.room_added(self._bare, self._room, self)
        membership = self._membership
        batch = self._gathering.batch or self._gathering.begin()
        if membership is None:
            batch.rooms[self.id] = (self.id, account_id, self._room, None, None, None, False, 0.0, None, None)
            return
        password = self._rows.sealed(membership.password, self._bare, self._room, "password")
        batch.rooms[self.id] = (
            self.id,
            account_id,
            self._room,
            membership.nick,
            membership.wished_nick,
            password,
            membership.bookmarked,
            membership.since,
            *(membership.missing_since or (None, None)),
        )
