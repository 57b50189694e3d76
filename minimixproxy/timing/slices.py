"""Long work done in slices, one in each turn of the reactor: what else there is to do gets its turn in between.

What such work looks at can change from slice to slice.
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from minimixproxy.timing.clock import Clock, Timer


def in_slices(clock: Clock, steps: Iterator[int], most: int) -> Deferred[None]:
    """Take all steps, in one turn as many as together are `most` of work; each yields how much work it was.

    A little work is done at once. It fails with what a step raises, and ends early if it is cancelled.
    """
    return _Work(clock, steps, most).begin()


def ended_early(failure: Failure) -> None:
    """An errback for whoever cancels such work, and asks no more of it. Other failures go on."""
    failure.trap(CancelledError)


class _Work:
    """One piece of work."""

    def __init__(self, clock: Clock, steps: Iterator[int], most: int) -> None:
        self._timer = Timer(clock)
        self._steps = steps
        self._most = most
        self._done: Deferred[None] = Deferred(self._cancel)

    def begin(self) -> Deferred[None]:
        self._slice()
        return self._done

    def _slice(self) -> None:
        done = 0
        try:
            for work in self._steps:
                done += work
                if self._done.called:  # cancelled by what the step has done
                    return
                if done >= self._most:
                    self._timer.start(0, self._slice)
                    return
        except Exception:  # noqa: BLE001 (a fault of ours is for who waits for the work)
            self._done.errback(Failure())
        else:
            self._done.callback(None)

    def _cancel(self, _done: Deferred[None]) -> None:
        """Nobody waits for it any more: take no further step."""
        self._timer.stop()
