"""The one thread that writes: it takes a batch at a time and tells the reactor when it is on disk."""

from __future__ import annotations

import threading
from collections.abc import Callable
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


class WriterThread:
    """Calls `write` for each batch, in a thread of its own."""

    def __init__(
        self, write: Callable[[Batch], None], rest: Callable[[], Erasure], end: Callable[[], None], reactor: Any
    ) -> None:
        """`rest` is called when there is nothing to write, `end` at the end, in that thread too."""
        self._write = write
        self._rest = rest
        self._end = end
        self._reactor = reactor
        self._batches: SimpleQueue[Batch | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._met: type[Exception] | None = None  # by `rest`, the last time

    def start(self, written: Written) -> None:
        self._thread = threading.Thread(target=self._run, args=(written,), name="state", daemon=True)
        self._thread.start()

    def write(self, batch: Batch) -> None:
        self._batches.put(batch)

    def stop(self, timeout: float) -> None:
        self._batches.put(None)
        if self._thread is not None:
            self._thread.join(timeout)

    def _run(self, written: Written) -> None:
        while True:
            try:
                batch = self._batches.get(timeout=REST)
            except Empty:
                self._have_rest(written)
                continue
            if batch is None:
                break
            fault: Exception | None = None
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001 (the journal logs it and tries again)
                fault = error
            self._reactor.callFromThread(written, batch, fault)
        self._end()

    def _have_rest(self, written: Written) -> None:
        try:
            done = self._rest()
        except Exception as error:  # noqa: BLE001 (the journal logs it)
            if type(error) is not self._met:
                self._met = type(error)
                self._reactor.callFromThread(written, None, error)
        else:
            self._met = None
            if done:
                self._reactor.callFromThread(written, None, None, done)
