"""State as tables in memory, for the machine: the product's own journal writes them, and accounts come back of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from random import Random
from typing import Any

from twisted.internet.task import Clock

from minimixproxy.jids import is_jid, is_resource
from minimixproxy.minimix.interfaces.journal import (
    KeptAccount,
    KeptLogin,
    KeptMembership,
    KeptMessage,
    KeptPrivate,
    KeptRoom,
)
from minimixproxy.storage.batch import Batch
from minimixproxy.storage.bodies import Bodies
from minimixproxy.storage.given_out import GivenOut
from minimixproxy.storage.journal import OpenState, SQLJournal
from minimixproxy.storage.loading import LoadedAccount, LoadedRoom
from minimixproxy.storage.schema import NOBODY
from minimixproxy.storage.sealing import Sealer
from minimixproxy.storage.writer import Written
from minimixproxy.timing.turn_end import TurnEnd
from tests.absurd import ODD_TEXT


class PlainSealer(Sealer):
    """Seals nothing."""

    def __init__(self) -> None:
        super().__init__(b"")

    def seal(self, value: bytes, *place: str) -> bytes:
        return value


class PlainMark(GivenOut):
    """How far messages were handed to sessions: outlives the journal, as the file does."""

    def __init__(self) -> None:
        super().__init__(Path())
        self.number: int | None = None

    def write(self, sequence: int) -> None:
        self.number = sequence

    def close(self) -> None:
        """There is nothing to close."""


class Tables:
    """What is on disk, as `schema` has it, by number."""

    def __init__(self) -> None:
        self.accounts: dict[int, tuple[Any, ...]] = {}
        self.rooms: dict[int, tuple[Any, ...]] = {}
        self.messages: dict[int, list[Any]] = {}
        self.privates: dict[int, tuple[Any, ...]] = {}
        self.cursors: dict[tuple[int, str], tuple[int | None, int | None]] = {}
        self.acknowledged: dict[tuple[int, str], int] = {}
        self.bodies = Bodies()

    def write(self, batch: Batch) -> None:
        """Do what `Store` does with a batch."""
        if batch.replaces_history:
            self.messages.clear()
            self.privates.clear()
        for number in batch.gone_rooms:
            self.rooms.pop(number, None)
        for number in batch.gone_accounts:
            self.accounts.pop(number, None)
        self.accounts |= batch.accounts
        self.rooms |= batch.rooms
        for row in _cut(batch.messages, 10):
            assert row[0] not in self.messages, "a number that is taken"
            self.messages[row[0]] = list(row)
        for sequence, change in batch.changes.items():
            if sequence in self.messages:
                self.messages[sequence][3] = change[0]
                self.messages[sequence][5:] = change[1:]
        for sequence in batch.emptied:
            self.messages[sequence][3] = b""
        for sequence in batch.disowned:
            self.messages[sequence][1:] = [NOBODY, 0.0, self.messages[sequence][3], False, None, None, False, 0, None]
        for sequence in batch.trimmed:
            self.messages.pop(sequence, None)
        for private in _cut(batch.privates, 4):
            self.privates[private[0]] = private
        for sequence in batch.given:
            self.privates.pop(sequence, None)
        for key, cursor in batch.cursors.items():
            if cursor == "gone":
                self.cursors.pop(key, None)
            elif isinstance(cursor, int):
                self.cursors[key] = (self.cursors.get(key, (None, None))[0], cursor)
            else:
                self.cursors[key] = cursor
        for device, reached in batch.acknowledged.items():
            self.acknowledged.pop(device, None)
            if reached is not None:
                self.acknowledged[device] = reached
        self.acknowledged = {key: row for key, row in self.acknowledged.items() if key[0] not in batch.gone_accounts}
        gone = set(batch.gone_rooms)
        self.privates = {key: row for key, row in self.privates.items() if row[1] not in gone}
        self.cursors = {key: row for key, row in self.cursors.items() if key[0] not in gone}

    def load(self, mark: int | None) -> list[LoadedAccount]:
        """Do what `Loader` does."""
        accounts = {row[0]: _account(row) for row in self.accounts.values()}
        rooms: dict[int, LoadedRoom] = {}
        self.rooms = {
            key: row
            for key, row in self.rooms.items()
            if row[1] in accounts
            and is_jid(row[2])
            and is_resource(row[3])  # not so: it was never entered, or is damaged
        }
        for (
            number,
            account_id,
            room,
            nick,
            wished,
            password,
            bookmarked,
            since,
            missing_id,
            missing_time,
        ) in self.rooms.values():
            secret = password.decode() if password is not None else None
            missing = (missing_id, missing_time) if missing_time is not None else None
            loaded = LoadedRoom(
                number,
                KeptRoom(
                    room,
                    KeptMembership(nick, wished if is_resource(wished) else nick, secret, bookmarked, since, missing),
                ),
            )
            account = accounts[account_id]
            account.kept.rooms.append(loaded.kept)
            account.rooms[number] = rooms[number] = loaded
        self._load_messages(rooms)
        for sequence in sorted(self.privates):
            if (room := rooms.get(self.privates[sequence][1])) is not None:
                room.kept.privates.append(KeptPrivate(sequence, self.privates[sequence][2]))
        self._settle_cursors(rooms, mark)
        return list(accounts.values())

    def _load_messages(self, rooms: dict[int, LoadedRoom]) -> None:
        ownerless = [sequence for sequence, row in self.messages.items() if row[1] not in rooms]
        for sequence in sorted(self.messages):
            row = self.messages[sequence]
            if (room := rooms.get(row[1])) is not None:
                place = sequence if row[9] is None else row[9]
                raw = self.messages[place][3]
                room.messages.append((sequence, raw, place))
                room.kept.messages.append(KeptMessage(sequence, row[2], raw, *row[4:8]))
        self.bodies = Bodies()
        said = [message for room in rooms.values() for message in room.messages]
        contents = {sequence: row[3] for sequence, row in self.messages.items()}
        for unused in self.bodies.restore(said, contents, ownerless):
            del self.messages[unused]

    def _settle_cursors(self, rooms: dict[int, LoadedRoom], mark: int | None) -> None:
        for (number, resource), (sequence, since) in list(self.cursors.items()):
            room = rooms.get(number)
            newest = room.messages[-1][0] if room is not None and room.messages else 0
            account_id = self.rooms[number][1] if room is not None else 0
            limits = (mark, self.acknowledged.get((account_id, resource)))
            until = min((limit for limit in limits if limit is not None), default=None)
            if since is not None and (until is None or since <= until):
                sequence = newest if until is None else min(newest, until)
            if room is None or sequence is None:
                del self.cursors[number, resource]
                continue
            self.cursors[number, resource] = (sequence, None)
            room.kept.cursors[resource] = sequence
        self.acknowledged.clear()

    def damage(self, chance: Random) -> None:
        """Let one row hold what no proxy has written; its types are right, else it would be left out."""
        odd = chance.choice(ODD_TEXT)
        there = (self.rooms, self.messages, self.privates, self.cursors, self.acknowledged)
        tables: list[Any] = [table for table in there if table]
        if not tables:
            return
        table: Any = chance.choice(tables)
        key = chance.choice(list(table))
        if table is self.rooms:
            row = list(table[key])
            row[chance.choice((2, 3, 4))] = odd or "?"
            row[7] = chance.choice((row[7], 0.0, 1e9, 4e9))
            row[8:] = chance.choice((row[8:], (odd, 1e9), (None, 0.0), ("s-1", 4e9)))
            table[key] = tuple(row)
        elif table is self.messages:
            table[key][3] = chance.choice((b"", b"<", b"<message/>", odd.encode()))
            table[key][2] = chance.choice((0.0, 4e9))
            table[key][6] = chance.choice((None, 1, -5, key))
        elif table is self.privates:
            table[key] = (
                key,
                table[key][1],
                chance.choice((b"", b"<", b"<message/>")),
                0,
            )
        elif table is self.acknowledged:
            table[key] = chance.choice((-1, 0, 2**62))
        else:
            table[key] = (chance.choice((-1, 2**62)), None)

    @property
    def last_sequence(self) -> int:
        seen = (cursor[0] or 0 for cursor in self.cursors.values())
        return max((0, *self.messages, *self.privates, *(one for one in seen if one < 2**40)))

    @property
    def last_id(self) -> int:
        return max((0, *self.accounts, *self.rooms))


def _cut(values: list[Any], width: int) -> Iterator[tuple[Any, ...]]:
    for start in range(0, len(values), width):
        yield tuple(values[start : start + width])


def _account(row: tuple[Any, ...]) -> LoadedAccount:
    number, bare, refused, last_seen, domain, username = row[:6]
    login = KeptLogin(domain, username) if domain is not None else None
    return LoadedAccount(number, KeptAccount(bare, login, bool(refused), last_seen), row[4:12])


class Disk:
    """Writes batches to `tables`: at the end of the turn; when it is told to, if `late`; not if it has `faults`."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self.tables = tables
        self.late = False
        self.faults = 0  # attempts that are to fail
        self._clock = clock
        self._waiting: list[Batch] = []
        self._written: Written

    def start(self, written: Written) -> None:
        self._written = written

    @property
    def busy(self) -> bool:
        return bool(self._waiting) or self.faults > 0

    def write(self, batch: Batch) -> None:
        self._waiting.append(batch)
        self._clock.callLater(0, self._work_unless_late)

    def _work_unless_late(self) -> None:
        if not self.late:
            self.work()

    def work(self) -> None:
        """Do what waits."""
        while self._waiting:
            batch = self._waiting.pop(0)
            if self.faults:
                self.faults -= 1
                self._written(batch, OSError("no space left on device"))
            else:
                self.tables.write(batch)
                self._written(batch, None)

    def stop(self, timeout: float) -> None:
        self._waiting.clear()


class Storage:
    """Tables that outlive journals."""

    def __init__(self, clock: Clock) -> None:
        self.tables = Tables()
        self.mark = PlainMark()
        self.turn_end = TurnEnd(clock)  # of the journal that was opened last
        self._clock = clock

    def open(self, in_memory: Callable[[], Iterable[KeptAccount]]) -> tuple[SQLJournal, Disk, list[KeptAccount]]:
        """Return a journal that has begun, what it writes to, and what was kept."""
        self.turn_end = TurnEnd(self._clock)
        journal = SQLJournal(self._clock, self.turn_end)
        loaded = self.tables.load(self.mark.number)
        last = max(self.tables.last_sequence, self.mark.number or 0)
        disk = Disk(self.tables, self._clock)
        rows = self.tables.bodies, self.tables.last_id, last
        state = OpenState(loaded, {}, {}, {}, *rows, disk, PlainSealer(), self.mark)
        journal.start(state, print, in_memory)
        return journal, disk, [account.kept for account in loaded]
