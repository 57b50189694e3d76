"""The journal of one account's occupancy of one room: calls become rows of the batch that is being gathered."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable
from typing import Protocol
from zlib import crc32

from minimixproxy.minimix.interfaces.journal import KeptMembership, KeptMessage, KeptPrivate
from minimixproxy.storage.batch import Batch
from minimixproxy.storage.gathering import Gathering


class Rows(Protocol):
    """What the journal of a room asks of the rows of all accounts."""

    def account_id(self, bare: str) -> int:
        """Return the number of an account, which gets a row if it has none."""

    def room_added(self, bare: str, room: str, journal: SQLRoomJournal) -> int:
        """Return a number for a room's row, in the place of any that the account's room had before."""

    def room_removed(self, bare: str, room: str) -> None:
        """The room has no row any more."""

    def sealed(self, text: str | None, *place: str) -> bytes | None:
        """Return a password as the database may have it."""


class SQLRoomJournal:
    """A row of `rooms` and what goes with it. Before the first call there is no row, and `id` is 0.

    After `forgotten` nothing is taken before the next `membership`: what a room says while it is left is not kept.
    """

    __slots__ = ("_bare", "_forgotten", "_gathering", "_membership", "_room", "_rows", "_sequences", "id")

    def __init__(self, gathering: Gathering, rows: Rows, bare: str, room: str) -> None:
        self.id = 0
        self._gathering = gathering
        self._rows = rows
        self._bare = bare
        self._room = room
        self._membership: KeptMembership | None = None
        self._forgotten = False
        self._sequences = array("q")  # of the messages that have rows, in their order

    def loaded(self, number: int, membership: KeptMembership, sequences: Iterable[int]) -> None:
        """There is a row already, with messages."""
        self.id = number
        self._membership = membership
        self._sequences.extend(sequences)

    def next_sequence(self) -> int:
        gathering = self._gathering
        gathering.sequence += 1
        return gathering.sequence

    def given_out(self) -> int:
        return self._gathering.given_out()

    def membership(self, membership: KeptMembership) -> None:
        if membership == self._membership:  # which is None without a row
            return
        self._membership = membership
        self._forgotten = False
        self._write()

    def forgotten(self) -> None:
        self._forgotten = True
        if not self.id:
            return
        batch = self._gathering.batch or self._gathering.begin()
        batch.rooms.pop(self.id, None)
        batch.gone_rooms.append(self.id)
        batch.trimmed.extend(self._sequences)
        self._sequences = array("q")
        self._rows.room_removed(self._bare, self._room)
        self.id = 0
        self._membership = None

    def message_kept(self, message: KeptMessage) -> None:
        batch = self._batch()
        sequence, raw = message.sequence, message.raw
        self._sequences.append(sequence)
        batch.messages += (
            sequence,
            self.id,
            message.time,
            raw,
            message.stamped,
            message.stanza_id,
            message.amends,
            message.retracted,
            crc32(raw),
        )
        self._gathering.weigh(batch, raw)

    def message_changed(self, message: KeptMessage) -> None:
        batch = self._batch()
        raw = message.raw
        batch.changes.append((raw, message.stanza_id, message.amends, message.retracted, crc32(raw), message.sequence))
        self._gathering.weigh(batch, raw)

    def message_gone(self, sequence: int) -> None:
        place = bisect_left(self._sequences, sequence)
        if self._sequences[place : place + 1] == array("q", (sequence,)):
            del self._sequences[place]
            self._batch().trimmed.append(sequence)

    def trimmed(self, oldest: int) -> None:
        sequences = self._sequences
        if not sequences or sequences[0] >= oldest:
            return
        gone = bisect_left(sequences, oldest)
        (self._gathering.batch or self._gathering.begin()).trimmed.extend(sequences[:gone])
        del sequences[:gone]

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
        """Put all messages there are into a batch that replaces what is in the tables."""
        self._sequences = array("q")
        for message in messages:
            self._sequences.append(message.sequence)
            batch.messages += (
                message.sequence,
                self.id,
                message.time,
                message.raw,
                message.stamped,
                message.stanza_id,
                message.amends,
                message.retracted,
                crc32(message.raw),
            )
        for private in privates:
            batch.privates += (private.sequence, self.id, private.raw, crc32(private.raw))

    def _batch(self) -> Batch:
        """The batch that is being gathered. What goes with a room needs the room's row first."""
        if self._forgotten:
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
