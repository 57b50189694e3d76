"""The thread that writes: it takes a batch at a time and tells the reactor when it is on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
from enum import Enum, auto
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from minimixproxy.storage.batch import Batch, Erasure

REST = 1.0  # seconds without anything to write


class Written(Protocol):
    """Called in the reactor's thread."""

    def __call__(self, batch: Batch | None, error: Exception | None, erasure: Erasure = Erasure.NOWHERE, /) -> None:
        """Take the batch and the error that kept it from being written.

        Without a batch: what `rest` met, once for as long as it meets the same; without an error either: where nothing
        is left of what was deleted.
        """


class Writing(Protocol):
    """What writes batches, one after the other."""

    def start(self, written: Written) -> None:
        """Begin to work."""

    def write(self, batch: Batch) -> None:
        """Write a batch and call `written`."""

    def stop(self, timeout: float) -> None:
        """Finish what was given, and end. Blocks, for so many seconds at most."""


class Tables(Protocol):
    """What a thread writes to (see `Store`). All of it blocks, and may raise."""

    def write(self, batch: Batch) -> None:
        """Write a batch, or nothing of it."""

    def rest(self) -> Erasure:
        """There is nothing to write; tell what is erased now."""

    def tend(self) -> None:
        """Do what others have left to be done between two batches."""

    def end(self) -> None:
        """Nothing comes any more."""


class _Order(Enum):
    TEND = auto()
    END = auto()


class WriterThread:
    """Has each batch written in a thread of its own, in order."""

    def __init__(self, tables: Tables, reactor: Any) -> None:
        self._tables = tables
        self._reactor = reactor
        self._orders: SimpleQueue[Batch | _Order] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._met: type[Exception] | None = None  # by what is done between batches, the last time

    def start(self, written: Written) -> None:
        self._thread = threading.Thread(target=self._run, args=(written,), name="state", daemon=True)
        self._thread.start()

    def write(self, batch: Batch) -> None:
        self._orders.put(batch)

    def tend(self) -> None:
        """Have done what is to be done between two batches."""
        self._orders.put(_Order.TEND)

    def stop(self, timeout: float) -> None:
        self._orders.put(_Order.END)
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self, written: Written) -> None:
        while True:
            try:
                order = self._orders.get(timeout=REST)
            except Empty:
                self._have_rest(written)
                continue
            if order is _Order.END:
                break
            if order is _Order.TEND:
                self._in_between(self._tables.tend, written)
            else:
                self._have_written(order, written)
        self._tables.end()

    def _have_written(self, batch: Batch, written: Written) -> None:
        fault: Exception | None = None
        try:
            self._tables.write(batch)
        except Exception as error:  # noqa: BLE001 (the journal logs it and tries again)
            fault = error
        self._reactor.callFromThread(written, batch, fault)

    def _have_rest(self, written: Written) -> None:
        done = self._in_between(self._tables.rest, written)
        if done:
            self._reactor.callFromThread(written, None, None, done)

    def _in_between(self, do: Callable[[], Erasure | None], written: Written) -> Erasure | None:
        """Do something between two batches, and tell of a fault unless the last one was of its kind."""
        try:
            done = do()
        except Exception as error:  # noqa: BLE001 (the journal logs it)
            if type(error) is not self._met:
                self._met = type(error)
                self._reactor.callFromThread(written, None, error)
            return None
        self._met = None
        return done
