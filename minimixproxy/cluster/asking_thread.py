"""A thread that asks the database for who has accounts: one question after the other, on one connection."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_Result = TypeVar("_Result")


class AskingThread:
    """Begins with the first question. A question that hangs keeps no process from ending."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._questions: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def run(self, work: Callable[[], _Result]) -> Deferred[_Result]:
        """Have `work` done in the thread; return its result, or what it raised."""
        done = Deferred[_Result]()

        def answer() -> None:
            try:
                result = work()
            except Exception:  # noqa: BLE001 (it is for who asked)
                self._reactor.callFromThread(done.errback, Failure())
            else:
                self._reactor.callFromThread(done.callback, result)

        self._questions.put(answer)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="leases", daemon=True)
            self._thread.start()
        return done

    def stop(self, timeout: float) -> None:
        """Answer what was asked, and end. Blocks, for so many seconds at most."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._questions.put(None)
            thread.join(timeout)

    def _work(self) -> None:
        while (answer := self._questions.get()) is not None:
            answer()
