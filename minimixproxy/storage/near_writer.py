"""Writes small batches at once, in the reactor's thread, while the disk is quick; all others in the writer's thread.

Waking a thread and being woken by it takes longer than to write a message to an SQLite file, which is a copy into the
kernel's memory. Whatever may wait for the disk is the thread's: it opens the file, takes the write-ahead log over into
it, and writes what comes next, which begins that log anew (see `Store`). It changes and deletes what was said long ago,
which has to be read from the disk for that. A write that was slow all the same, because it waited and not because other
programs had the processor, sends those after it to the thread, for a while that grows.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Protocol

from minimixproxy.storage.batch import Batch
from minimixproxy.storage.writer import WriterThread, Written

SLOW = 0.003  # seconds for which a write may hold the reactor
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds without another, after one that took longer
QUICK_ENOUGH = 1000  # writes without a slow one, until the next pause is a first one
MOST_BYTES = 128 * 1024  # of messages, about, in a batch that is written here ...
MOST_ROWS = 200  # ... and rows


class QuickTables(Protocol):
    """What `Store` offers to a thread that must not wait."""

    @property
    def wants_tending(self) -> bool:
        """Whether the thread has something to do between two batches."""

    def write_at_once(self, batch: Batch) -> bool:
        """Write a batch if that needs no waiting; else return False, and nothing of it is written."""


class NearWriter:
    """Implements `Writing`. Batches come one at a time, so their order is kept wherever each is written."""

    def __init__(
        self,
        tables: QuickTables,
        thread: WriterThread,
        clock: Callable[[], float] = time.monotonic,
        waits: Callable[[], int] | None = None,
    ) -> None:
        """`clock`: seconds. `waits`: how often this thread has waited for anything; None: the kernel is asked."""
        self._tables = tables
        self._thread = thread
        self._clock = clock
        self._waits = waits or waits_of_thread
        self._written: Written
        self._not_before = 0.0
        self._pause = FIRST_PAUSE
        self._quick = 0  # writes since the last slow one

    def start(self, written: Written) -> None:
        self._written = written
        self._thread.start(written)

    def write(self, batch: Batch) -> None:
        began = self._clock()
        if began < self._not_before or not is_small(batch):
            self._thread.write(batch)
            return
        waits = self._waits()
        done = self._tables.write_at_once(batch)
        now = self._clock()
        self._took(now, slow=now - began > SLOW and self._waits() != waits)
        if not done:
            self._thread.write(batch)
            return
        if self._tables.wants_tending:
            self._thread.tend()
        self._written(batch, None)

    def stop(self, timeout: float) -> None:
        self._thread.stop(timeout)

    def _took(self, now: float, *, slow: bool) -> None:
        if slow:
            self._quick = 0
            self._not_before = now + self._pause
            self._pause = min(self._pause * 2, LONGEST_PAUSE)
        else:
            self._quick += 1
            if self._quick >= QUICK_ENOUGH:
                self._pause = FIRST_PAUSE


def waits_of_thread() -> int:
    """Return how often the calling thread has given the processor away by itself, as it does to wait for a disk."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


def is_small(batch: Batch) -> bool:
    """Tell whether a batch is written within a millisecond or two, as almost all are: what was said in one turn."""
    if batch.only_messages:
        return batch.size <= MOST_BYTES
    if batch.replaces_history or batch.erases or batch.gone_accounts or batch.gone_rooms or batch.blocked:
        return False
    if batch.gone_keys or batch.gone_tokens or batch.login_keys or batch.size > MOST_BYTES:
        return False
    if any((batch.trimmed, batch.disowned, batch.emptied, batch.given, batch.changes)):
        return False  # messages of long ago: each may be read from the disk
    tables = (batch.accounts, batch.rooms, batch.cursors, batch.acknowledged, batch.login_tokens)
    # a batch's size counts `ROW_SIZE` for each message, so that many small ones are bounded, too
    return sum(len(rows) for rows in tables) <= MOST_ROWS
