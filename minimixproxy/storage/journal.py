"""The journal of all accounts in a database: what is journalled in a turn of the reactor becomes one transaction.

Calls fill a batch; the first one that comes while nothing is being written has it written when the turn is over. What
comes while one batch is being written makes the next. Output to clients waits at the gate with the batch before it.

Trouble (the disk is full, the database locked or unreachable): the batch is tried again until it can be written.
After `patience` seconds output waits no longer. What gathers meanwhile is bounded; beyond that messages are let go, and
all messages that there are then get written once writing works again (`snapshot`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import time
from typing import Any

from twisted.internet.defer import Deferred

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptLogin, RoomJournal
from minimixproxy.storage.batch import Batch, Erasure
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.gate import Gate
from minimixproxy.storage.given_out import GivenOut
from minimixproxy.storage.lease import HeldByAnother
from minimixproxy.storage.loading import LoadedAccount
from minimixproxy.storage.room_journal import SQLRoomJournal
from minimixproxy.storage.sealing import Sealer
from minimixproxy.storage.writer import Writing
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.wire.lazy_stanzas import Output

PATIENCE = 3.0  # seconds that output waits for a batch in trouble ...
LOOKS = 3  # ... after so many looks at it
LIMIT = 64 * 1024 * 1024  # bytes of messages, about, that wait to be written
FIRST_RETRY, LONGEST_RETRY = 0.1, 5.0  # seconds between attempts
STOP_PATIENCE = 10.0  # seconds given to the last batch
WAIT_NOT = 0.0
_HELD_LIMIT = 200_000  # stanzas that wait at the gate


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """How writing goes. `waiting`: bytes of messages, about, that wait for the database.

    `left_out`: rows, since the start, that the database refused and that are on no disk.
    """

    durable: bool
    waiting: int
    error: str
    left_out: int = 0


class _Account:
    """What is to be known of an account to write its row."""

    __slots__ = ("bare", "id", "last_seen", "login", "refused", "rooms")

    def __init__(self, number: int, bare: str) -> None:
        self.id = number
        self.bare = bare
        self.refused = False
        self.last_seen = 0.0
        self.login: tuple[Any, ...] = (None,) * 8  # the row's columns from `domain` on, sealed
        self.rooms: dict[str, SQLRoomJournal] = {}  # those that have a row

    def row(self) -> tuple[Any, ...]:
        return (self.id, self.bare, self.refused, self.last_seen, *self.login)


class SQLJournal:
    """Implements `minimix.interfaces.journal.Journal`. Call `restore` and `start` before anything is journalled."""

    log = Logger()

    def __init__(self, clock: Clock, turn_end: TurnEnd) -> None:
        self.gathering: Batch | None = None
        self.sequence = 0  # the last one given
        self.limit = LIMIT
        self.patience = PATIENCE
        #: Called when another proxy has the database: nothing is written from then on, and nothing more is said.
        self.lost: Callable[[StateError], None] = lambda _error: None
        #: All that is in memory, asked for when messages had to be let go. None: they stay lost to the database.
        self.snapshot: Callable[[], Iterable[KeptAccount]] | None = None
        self._clock = clock
        self._turn_end = turn_end
        self._gate = Gate(turn_end)
        self._accounts: dict[str, _Account] = {}
        self._last_id = 0
        self._writing: Batch | None = None
        self._lined_up = False
        self._released = 0
        self._durable = True
        self._incomplete = False  # messages were let go
        self._is_lost = False
        self._left_out = 0
        self._erasing: list[tuple[Erasure, Deferred[None]]] = []
        self._error = ""
        self._retry = Timer(clock)
        self._delay = FIRST_RETRY
        self._watch = Timer(clock)
        self._looks = 0  # at the batch that is being written
        self._stopped: Deferred[None] | None = None
        self._writer: Writing
        self._sealer: Sealer
        self._mark: GivenOut

    def restore(self, accounts: Iterable[LoadedAccount], last_id: int, last_sequence: int) -> None:
        """Continue where the database ends."""
        self._last_id = last_id
        self.sequence = self._released = last_sequence
        for loaded in accounts:
            kept = loaded.kept
            account = self._accounts[kept.bare] = _Account(loaded.id, kept.bare)
            account.refused, account.last_seen, account.login = kept.refused, kept.last_seen, tuple(loaded.login)
            for room in loaded.rooms.values():
                journal = account.rooms[room.kept.room] = SQLRoomJournal(self, kept.bare, room.kept.room)
                journal.loaded(room.id, room.kept.membership, room.sequences)

    def start(self, writer: Writing, sealer: Sealer, mark: GivenOut) -> None:
        """Begin to write. `writer` is started here."""
        self._writer, self._sealer, self._mark = writer, sealer, mark
        mark.write(self.sequence)  # nobody is attached: from here on it tells what sessions get
        writer.start(self._written)

    # Journal ---------------------------------------------------------------------------------------------------

    def room(self, bare: str, room: str) -> RoomJournal:
        account = self._accounts.get(bare)
        known = account.rooms.get(room) if account is not None else None
        return known or SQLRoomJournal(self, bare, room)

    def account_kept(self, bare: str, login: KeptLogin | None, last_seen: float) -> None:
        account = self._accounts.get(bare) or self._new_account(bare)
        account.last_seen = last_seen
        if login is not None:
            account.login = self._sealed_login(bare, login)
        (self.gathering or self.begin()).accounts[account.id] = account.row()

    def account_refused(self, bare: str, refused: bool) -> None:
        account = self._accounts.get(bare)
        if account is not None and account.refused != refused:
            account.refused = refused
            (self.gathering or self.begin()).accounts[account.id] = account.row()

    def account_forgotten(self, bare: str) -> bool:
        account = self._accounts.get(bare)
        if account is None:
            return False
        for room in list(account.rooms.values()):
            room.forgotten()
        batch = self.gathering or self.begin()
        batch.accounts.pop(account.id, None)
        batch.gone_accounts.append(account.id)
        batch.erases = True
        del self._accounts[bare]
        return True

    def erased(self, *, copies: bool) -> Deferred[None]:
        done = Deferred[None]()
        batch = self.gathering or self.begin()
        batch.erased.append((Erasure.FILE if copies else Erasure.LOG, done))
        batch.erases = True
        batch.writes_anew = batch.writes_anew or copies
        return done

    def gated(self, deliver: Callable[[Output], None]) -> Callable[[Output], None]:
        return self._gate.gated(deliver)

    # For SQLRoomJournal ----------------------------------------------------------------------------------------

    def begin(self) -> Batch:
        """Return a new batch, which `gathering` is from now on."""
        batch = self.gathering = Batch()
        if self._durable:
            self._gate.close(batch.output)
        if self._writing is None and not self._lined_up:
            self._lined_up = True
            self._turn_end.add(self)
        return batch

    def turn_ended(self) -> None:
        """Have written what was journalled in this turn."""
        self._lined_up = False
        self._dispatch()

    def abort(self) -> None:
        """A fault of ours in the turn's end: try again, but not at once."""
        self._retry.start(self._delay, self._dispatch)

    def given_out(self) -> int:
        """Return the sequence up to which messages have passed the gate."""
        return self.sequence if self._gate.is_open else self._released

    def account_id(self, bare: str) -> int:
        """Return the number of an account, which gets a row if it has none."""
        account = self._accounts.get(bare)
        if account is None:
            self.account_kept(bare, None, time())
            account = self._accounts[bare]
        return account.id

    def rooted(self, bare: str, room: str, journal: SQLRoomJournal) -> int:
        """Return a number for a room's row, in the place of any that the account's room had before."""
        former = self._accounts[bare].rooms.get(room)
        if former is not None:
            former.forgotten()
        self._accounts[bare].rooms[room] = journal
        self._last_id += 1
        return self._last_id

    def unrooted(self, bare: str, room: str) -> None:
        """The room has no row any more."""
        self._accounts[bare].rooms.pop(room, None)

    def sealed(self, text: str | None, *place: str) -> bytes | None:
        """Return a password as the database may have it."""
        return None if text is None else self._sealer.seal(text.encode(), *place)

    def overflow(self, batch: Batch) -> None:
        """Too much waits: messages are let go."""
        batch.drop_history()
        if not self._incomplete:
            self._incomplete = True
            self.log.error("state: more than {bytes} bytes wait to be written: messages are let go", bytes=self.limit)

    def _new_account(self, bare: str) -> _Account:
        self._last_id += 1
        account = self._accounts[bare] = _Account(self._last_id, bare)
        return account

    def _sealed_login(self, bare: str, login: KeptLogin) -> tuple[Any, ...]:
        return (
            login.domain,
            login.username,
            login.hash_name,
            login.salt,
            login.iterations,
            self._sealer.seal(login.client_key, bare, "client_key") if login.client_key else None,
            self._sealer.seal(login.server_key, bare, "server_key") if login.server_key else None,
            self.sealed(login.password, bare, "password"),
        )

    # Writing ---------------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        """Have the batch that was gathered written, unless one is being written."""
        batch = self.gathering
        if batch is None or self._writing is not None or self._is_lost:
            return
        if self._incomplete:
            self._complete(batch)
        self.gathering = None
        self._writing = batch
        batch.top = self.sequence
        batch.begun = self._clock.seconds()
        if not self._watch.running:
            self._watch.start(self.patience / LOOKS, self._look)
        self._looks = 0
        self._writer.write(batch)

    def _written(self, batch: Batch | None, error: Exception | None, erasure: Erasure = Erasure.NOWHERE) -> None:
        """The writer is done with a batch; or while there was none, it has met a fault, or come so far with erasing."""
        if isinstance(error, HeldByAnother):
            self._lose(error)
            return
        if batch is None:
            self._rested(error, erasure)
            return
        if error is not None:
            self._failed(batch, error)
            return
        self._writing = None
        self._left_out += batch.left_out
        if self._error:
            self._healed()
        self._dispatch()
        self._release(batch)
        self._erasing += batch.erased
        self._erased(batch.erasure)
        if self._writing is None and self._stopped is not None:
            self._end()

    def _rested(self, error: Exception | None, erasure: Erasure) -> None:
        """While there was no batch, something failed, which the next batch meets too; or something was erased."""
        if error is not None:
            self.log.warn("state: {error}", error=_line(error))
        else:
            self._erased(erasure)

    def _erased(self, erasure: Erasure) -> None:
        """So much is left of what was deleted: tell those who wait for that."""
        if erasure is Erasure.NOWHERE or not self._erasing:
            return
        done = [erased for wanted, erased in self._erasing if wanted <= erasure]
        self._erasing = [waiting for waiting in self._erasing if waiting[0] > erasure]
        for erased in done:
            erased.callback(None)

    def _release(self, batch: Batch) -> None:
        """The batch is on disk: let go what waited for it."""
        self._released = max(self._released, batch.top)
        self._gate.release(batch.output)
        # The kernel has it now: what goes to a client is not queued, but for one that reads too slowly.
        self._mark.write(self._released)

    def _lose(self, error: HeldByAnother) -> None:
        """What is held at the gate stays there: it is on no disk."""
        if self._is_lost:
            return
        self._is_lost = True
        self._durable, self._error = False, _line(error)
        self._retry.stop()
        self._watch.stop()
        self.lost(error)
        if self._stopped is not None:
            self._end(WAIT_NOT)

    def _failed(self, batch: Batch, error: Exception) -> None:
        if not self._error:
            self.log.warn("state cannot be written, trying again: {error}", error=_line(error))
        self._error = _line(error)
        self._retry.start(self._delay, lambda: self._writer.write(batch))
        self._delay = min(self._delay * 2, LONGEST_RETRY)

    def _look(self) -> None:
        """See to it that output does not wait for ever."""
        batch = self._writing
        if batch is None:
            return
        waited = self._clock.seconds() - batch.begun
        self._looks += 1
        # A process that stood still has not waited, nor has its writer had the time.
        tried = waited >= self.patience and self._looks >= LOOKS
        held = len(batch.output) + (len(self.gathering.output) if self.gathering is not None else 0)
        if self._durable and (tried or held > _HELD_LIMIT):
            self._open_gate(batch)
        self._watch.start(self.patience / LOOKS, self._look)

    def _open_gate(self, batch: Batch) -> None:
        """Clients come before safety."""
        self._durable = False
        self._error = self._error or "writing takes too long"
        self.log.error(
            "state is not durable: {error}; clients get what is not on disk, and a crash may take it back",
            error=self._error,
        )
        waiting = [one.output for one in (batch, self.gathering) if one is not None]
        self._gate.close(waiting[-1])
        for output in waiting:
            self._gate.release(output)

    def _healed(self) -> None:
        if not self._durable:
            self.log.warn("state is durable again")
            self._durable = True
            self._released = self.sequence
            if self.gathering is not None:
                self._gate.close(self.gathering.output)
        else:
            self.log.info("state can be written again")
        self._error = ""
        self._delay = FIRST_RETRY

    def _complete(self, batch: Batch) -> None:
        """Messages were let go: have all that there are now written instead."""
        self._incomplete = False
        if self.snapshot is None:
            self.log.error("state lacks messages that were let go")
            return
        batch.drop_history()
        batch.replaces_history = True
        for account in self.snapshot():
            for room in account.rooms:
                journal = self.room(account.bare, room.room)
                if isinstance(journal, SQLRoomJournal) and journal.id:
                    journal.history(batch, room.messages, room.privates)
        self.log.warn("state has all messages again")

    # The end ---------------------------------------------------------------------------------------------------

    @property
    def status(self) -> JournalStatus:
        """How writing goes."""
        batches = (self._writing, self.gathering)
        waiting = sum(batch.size for batch in batches if batch is not None)
        return JournalStatus(self._durable, waiting, self._error, self._left_out)

    def stop(self) -> Deferred[None]:
        """Write what there is, and end. What cannot be written within `STOP_PATIENCE` is lost."""
        stopped = self._stopped = Deferred[None]()
        late = self._clock.callLater(STOP_PATIENCE, self._end_late)
        stopped.addBoth(lambda _: late.cancel() if late.active() else None)
        self._dispatch()
        if self._writing is None or self._is_lost:
            self._end()
        return stopped

    def _end_late(self) -> None:
        self.log.error("state could not be written at the end: {error}", error=self._error or "no answer")
        self._end(WAIT_NOT)

    def _end(self, timeout: float = STOP_PATIENCE) -> None:
        stopped, self._stopped = self._stopped, None
        self._retry.stop()
        self._watch.stop()
        self._writer.stop(timeout)
        self._mark.write(self._released)
        self._mark.close()
        if stopped is not None:
            stopped.callback(None)


def _line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
