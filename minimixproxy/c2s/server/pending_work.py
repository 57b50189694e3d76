"""The one thing that a negotiation waits for at a time."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure


class PendingWork:
    """Runs a coroutine; nothing comes of it once it is cancelled."""

    __slots__ = ("_work",)

    def __init__(self) -> None:
        self._work: Deferred[Any] | None = None

    def run(
        self, work: Coroutine[Any, Any, Any], done: Callable[[Any], None], failed: Callable[[Failure], None]
    ) -> None:
        """Call `done` with the result, or `failed` with the failure of the work or of `done`."""
        self._work = current = Deferred.fromCoroutine(work)

        def ended(result: Any) -> None:
            if self._work is not current:
                return  # cancelled
            self._work = None
            if isinstance(result, Failure):
                failed(result)
            else:
                done(result)

        current.addBoth(ended)
        current.addErrback(failed)

    def cancel(self) -> None:
        """Stop, if there is anything to stop."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
