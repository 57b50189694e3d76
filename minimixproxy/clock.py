"""The clock that the core is handed: the part of Twisted's `IReactorTime` that it uses, as types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol


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
