"""The clock that the core is handed: the part of Twisted's `IReactorTime` that it uses, as types.

Two kinds of time: `Clock.seconds` measures how long something takes, and goes on evenly when somebody sets the
machine's clock; `wall_time` is what is stamped on something. They are the same until then (see `steady_time`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred


class DelayedCall(Protocol):
    """A call that is still to come."""

    def cancel(self) -> None:
        """Let it not come."""


class Clock(Protocol):
    """A reactor, or `twisted.internet.task.Clock`."""

    def seconds(self) -> float:
        """Return the time, in seconds."""

    def callLater(self, delay: float, callable: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call `callable` in `delay` seconds; return a `DelayedCall`."""


def wall_time(clock: Clock) -> float:
    """Return what time it is, in seconds since the epoch."""
    now: Callable[[], float] = getattr(clock, "wall_time", clock.seconds)
    return now()


async def pause(clock: Clock, seconds: float) -> None:
    """Return after so many seconds."""
    waiting: Deferred[None] = Deferred(lambda _waiting: call.cancel())
    call = clock.callLater(seconds, waiting.callback, None)
    await waiting


class Timer:
    """One call that is still to come, or none: started again, it forgets the former."""

    __slots__ = ("_call", "_clock")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._call: DelayedCall | None = None

    @property
    def running(self) -> bool:
        """Whether a call is to come."""
        return self._call is not None

    def start(self, delay: float, action: Callable[[], None]) -> None:
        """Call `action` in `delay` seconds."""
        self.stop()
        self._call = self._clock.callLater(delay, self._due, action)

    def stop(self) -> None:
        """Let nothing come."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _due(self, action: Callable[[], None]) -> None:
        self._call = None
        action()
