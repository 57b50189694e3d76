"""Batches are written one after the other, and what clients are told waits for that; but not for ever.

The first row that comes while nothing is being written has its batch written when the turn is over. What comes while
one batch is being written makes the next.

Trouble (the disk is full, the database locked or unreachable): the batch is tried again until it can be written.
After `PATIENCE` seconds output waits no longer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred

from minimixproxy.counting.histogram import Histogram
from minimixproxy.logs.logger import Logger
from minimixproxy.storage.batch import Batch, Erasure
from minimixproxy.storage.errors import StateError, said
from minimixproxy.storage.gate import Gate
from minimixproxy.storage.gathering import Gathering
from minimixproxy.storage.given_out import Mark
from minimixproxy.storage.lease import HeldByAnother
from minimixproxy.storage.numbering import Numbering
from minimixproxy.storage.writer import Writing
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.timing.turn_end import TurnEnd

PATIENCE = 3.0  # seconds that output waits for a batch in trouble ...
LOOKS = 3  # ... after so many looks at it
FIRST_RETRY, LONGEST_RETRY = 0.1, 5.0  # seconds between attempts
STOP_PATIENCE = 10.0  # seconds given to the last batch
WAIT_NOT = 0.0
_WAITING_LIMIT = 200_000  # stanzas that wait at the gate


WRITING = Histogram(
    "journal_write",
    "From handing a batch to the writer until it is on disk, with all that did not succeed at once.",
    (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)


@dataclass(frozen=True, slots=True)
class Outlet:
    """Where batches go, and who is asked and told.

    `complete` is called with a batch before it is written if messages of it, or of earlier ones, were let go.
    `lost` is called when another proxy has the database: nothing is written from then on, and nothing more is said.
    """

    writer: Writing
    given_out: Mark
    complete: Callable[[Batch], None]
    lost: Callable[[StateError], None]


@dataclass(frozen=True, slots=True)
class JournalStatus:
    """How writing goes. `waiting`: bytes of messages, about, that wait for the database.

    `left_out`: rows, since the start, that the database refused and that are on no disk. `lost`: another proxy has it.
    `lag`: seconds for which the batch that is being written has been with the writer, 0 if there is none.
    """

    durable: bool
    waiting: int
    error: str
    left_out: int = 0
    lost: bool = False
    lag: float = 0.0


class Durability:
    """Has what gathers written, and opens the gate behind it."""

    log = Logger()

    def __init__(self, clock: Clock, turn_end: TurnEnd) -> None:
        self.gate = Gate(turn_end)
        self.gathering = Gathering(self.gate, self._begun)
        self._clock = clock
        self._turn_end = turn_end
        self._outlet: Outlet
        self._writing: Batch | None = None
        self._done: deque[Batch] = deque()  # on disk, and being let go, the first of them
        self._lined_up = False  # for the end of the turn
        self._durable = True
        self._is_lost = False
        self._left_out = 0
        self._erasing: list[tuple[Erasure, Deferred[None]]] = []
        self._error = ""
        self._retry = Timer(clock)
        self._delay = FIRST_RETRY
        self._watch = Timer(clock)
        self._looks = 0  # at the batch that is being written
        self._stopped: Deferred[None] | None = None

    def start(self, outlet: Outlet, last_sequence: int, numbering: Numbering) -> None:
        """Begin to write, where the database ends. The writer is started here."""
        self._outlet = outlet
        self.gathering.continue_after(last_sequence, numbering)
        outlet.given_out.write(self.gathering.released)  # nobody is attached: from here on it tells what sessions get
        outlet.writer.start(self._written)

    @property
    def status(self) -> JournalStatus:
        """How writing goes."""
        batches = (self._writing, self.gathering.batch)
        waiting = sum(batch.size for batch in batches if batch is not None)
        lag = self._clock.seconds() - self._writing.begun if self._writing is not None else 0.0
        return JournalStatus(self._durable, waiting, self._error, self._left_out, self._is_lost, lag)

    # A batch is written ----------------------------------------------------------------------------------------

    def _begun(self, batch: Batch) -> None:
        """Something was journalled: what is said from now on waits for it, and it is written when the turn is over."""
        if self._durable:
            self.gate.close(batch.output)
        if not self._lined_up:
            self._lined_up = True
            self._turn_end.add(self)

    def turn_ended(self) -> None:
        """Have written what was journalled in this turn (see `TurnEnd`)."""
        self._lined_up = False
        self._write_next()

    def abort(self) -> None:
        """A fault of ours in the turn's end: try again, but not at once."""
        self._retry.start(self._delay, self._write_next)

    def _write_next(self) -> None:
        """Have the batch that was gathered written, unless one is being written."""
        gathering = self.gathering
        if gathering.batch is None or self._writing is not None or self._is_lost:
            return
        if gathering.incomplete and gathering.take_incomplete():
            self._outlet.complete(gathering.batch)
        batch = self._writing = gathering.close()
        batch.begun = self._clock.seconds()
        if not self._watch.running:
            self._watch.start(PATIENCE / LOOKS, self._look)
        self._looks = 0
        self._outlet.writer.write(batch)

    def _written(self, batch: Batch | None, error: Exception | None, erasure: Erasure = Erasure.NOWHERE) -> None:
        """The writer is done with a batch; or while there was none, it has met a fault, or come so far with erasing."""
        if isinstance(error, HeldByAnother):
            self._lose(error)
        elif batch is None:
            self._rested(error, erasure)
        elif error is not None:
            self._failed(batch, error)
        else:
            self._on_disk(batch)

    def _on_disk(self, batch: Batch) -> None:
        """Let go what waited for the batch; if one before it is just being let go, behind that."""
        self._done.append(batch)
        if len(self._done) > 1:
            return  # a writer that was done at once: whoever called it, below, goes on with this
        while self._done:
            try:
                self._let_go(self._done[0])
            except Exception:  # noqa: BLE001 (those behind it are on disk, too, and are let go all the same)
                self.log.failure("a fault while what waited for a batch was let go")
            self._done.popleft()

    def _let_go(self, batch: Batch) -> None:
        """Let the writer go on, then let go what waited for the batch."""
        WRITING.observe(self._clock.seconds() - batch.begun)
        self._writing = None
        self._left_out += batch.left_out
        if self._error:
            self._healed()
        if self.gathering.batch is not None:
            try:
                self._write_next()
            except Exception:  # noqa: BLE001 (what is on disk is let go, whatever is wrong with what is not)
                self.log.failure("a fault while the next batch was made ready: it is tried again")
                self.abort()
        self.gathering.release(batch.top)
        self.gate.release(batch.output)
        # The kernel has it now: what goes to a client is not queued, but for one that reads too slowly.
        self._outlet.given_out.write(self.gathering.released)
        self._erasing += batch.erased
        if self._erasing:
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
        done = [erased for wanted, erased in self._erasing if wanted <= erasure]
        self._erasing = [waiting for waiting in self._erasing if waiting[0] > erasure]
        for erased in done:
            erased.callback(None)

    # Trouble ---------------------------------------------------------------------------------------------------

    def _lose(self, error: HeldByAnother) -> None:
        """What waits at the gate stays there, and what is said from now on: it is on no disk."""
        if self._is_lost:
            return
        self._is_lost = True
        self._durable, self._error = False, _line(error)
        if self.gate.waiting is None:
            self.gate.close([])  # for good
        self._retry.stop()
        self._watch.stop()
        self._outlet.lost(error)
        if self._stopped is not None:
            self._end(WAIT_NOT)

    def _failed(self, batch: Batch, error: Exception) -> None:
        if not self._error:
            self.log.warn("state cannot be written, trying again: {error}", error=_line(error))
        self._error = _line(error)
        self._retry.start(self._delay, lambda: self._outlet.writer.write(batch))
        self._delay = min(self._delay * 2, LONGEST_RETRY)

    def _look(self) -> None:
        """See to it that output does not wait for ever."""
        batch = self._writing
        if batch is None:
            return
        waited = self._clock.seconds() - batch.begun
        self._looks += 1
        # A process that stood still has not waited, nor has its writer had the time.
        tried = waited >= PATIENCE and self._looks >= LOOKS
        outputs = [one.output for one in (batch, self.gathering.batch) if one is not None]
        if self._durable and (tried or sum(map(len, outputs)) > _WAITING_LIMIT):
            self._wait_no_longer()
            self.gate.close(outputs[-1])
            for output in outputs:
                self.gate.release(output)
        self._watch.start(PATIENCE / LOOKS, self._look)

    def _wait_no_longer(self) -> None:
        """Clients come before safety."""
        self._durable = False
        self._error = self._error or "writing takes too long"
        self.log.error(
            "state is not durable: {error}; clients get what is not on disk, and a crash may take it back",
            error=self._error,
        )

    def _healed(self) -> None:
        gathering = self.gathering
        if not self._durable:
            self.log.warn("state is durable again")
            self._durable = True
            gathering.release(gathering.sequence)
            if gathering.batch is not None:
                self.gate.close(gathering.batch.output)
        else:
            self.log.info("state can be written again")
        self._error = ""
        self._delay = FIRST_RETRY

    # The end ---------------------------------------------------------------------------------------------------

    def stop(self) -> Deferred[None]:
        """Write what there is, and end. What cannot be written within `STOP_PATIENCE` is lost."""
        stopped = self._stopped = Deferred[None]()
        late = self._clock.callLater(STOP_PATIENCE, self._end_late)
        stopped.addBoth(lambda _: late.cancel() if late.active() else None)
        self._write_next()
        if self._stopped is not None and (self._writing is None or self._is_lost):
            self._end()
        return stopped

    def _end_late(self) -> None:
        self.log.error("state could not be written at the end: {error}", error=self._error or "no answer")
        self._end(WAIT_NOT)

    def _end(self, timeout: float = STOP_PATIENCE) -> None:
        stopped, self._stopped = self._stopped, None
        self._retry.stop()
        self._watch.stop()
        self._outlet.given_out.write(self.gathering.released)
        self._outlet.writer.stop(timeout)
        self._outlet.given_out.close()
        if stopped is not None:
            stopped.callback(None)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {said(error)}"
