"""What is journalled gathers here until it can be written: the next batch, and the numbers of messages."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.logs.logger import Logger
from minimixproxy.storage.batch import ROW_SIZE, Batch
from minimixproxy.storage.gate import Gate
from minimixproxy.storage.numbering import Numbering

LIMIT = 64 * 1024 * 1024  # bytes of messages, about, that wait to be written


class Gathering:
    """`batch`: the one that rows are put into, None if there are none: then `begin` makes one.

    What gathers is bounded; beyond that messages are let go, and `incomplete` says so.
    """

    log = Logger()

    __slots__ = ("_begun", "_gate", "_numbering", "batch", "incomplete", "limit", "released", "sequence", "step")

    def __init__(self, gate: Gate, begun: Callable[[Batch], None]) -> None:
        """`begun` is called with each batch when it begins."""
        self.batch: Batch | None = None
        self.sequence = 0  # the last one given
        self._numbering = Numbering()
        self.step = self._numbering.step  # to the next one
        self.released = 0  # up to this one messages have passed the gate after they were written
        self.limit = LIMIT
        self.incomplete = False
        self._gate = gate
        self._begun = begun

    def begin(self) -> Batch:
        """Return a new batch, which `batch` is from now on."""
        batch = self.batch = Batch()
        self._begun(batch)
        return batch

    def close(self) -> Batch:
        """Return the batch, to be written: what comes from now on is in the next."""
        batch, self.batch = self.batch, None
        assert batch is not None
        batch.close(self.sequence)
        return batch

    def take_incomplete(self) -> bool:
        """Tell, once, whether messages had no place: whoever asks writes them all anew."""
        incomplete, self.incomplete = self.incomplete, False
        return incomplete

    def continue_after(self, sequence: int, numbering: Numbering) -> None:
        """The database ends with this one: all that it has were given out."""
        self._numbering, self.step = numbering, numbering.step
        self.sequence = self.released = numbering.last_before(sequence)

    def go_above(self, sequence: int) -> None:
        """An account has come from another process, with numbers up to this one."""
        if sequence > self.sequence:
            self.sequence = self._numbering.last_before(sequence)

    def release(self, sequence: int) -> None:
        """Up to this one messages are on disk, or wait for that no longer."""
        self.released = max(self.released, sequence)

    def given_out(self) -> int:
        """Return the sequence up to which messages have passed the gate."""
        return self.sequence if self._gate.waiting is None else self.released

    def weigh(self, batch: Batch, raw: bytes) -> None:
        """A message entered the batch. When too much waits, messages are let go."""
        batch.size += len(raw) + ROW_SIZE
        if batch.size > self.limit:
            batch.drop_history()
            if not self.incomplete:
                self.incomplete = True
                self.log.error(
                    "more than {bytes} bytes of state wait to be written: messages are not kept on disk for now",
                    bytes=self.limit,
                )
