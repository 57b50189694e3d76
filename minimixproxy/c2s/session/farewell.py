"""The last seconds of a session that another process of the cluster is to go on without.

What the client has said and does not know to be handled it says again in its next session. What it has not acknowledged
it is told once more. So both are waited for, but not for long: a phone may be out of coverage.
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.timing.clock import Clock, Timer

LONGEST = 2.0  # seconds; the server is asked half a second after what was said


class Farewell:
    """Calls `done` once, when nothing `is_open` any more, or when the time is over."""

    def __init__(self, clock: Clock, is_open: Callable[[], bool], done: Callable[[], None]) -> None:
        self._is_open = is_open
        self._done: Callable[[], None] | None = done
        self._timer = Timer(clock)
        self._timer.start(LONGEST, self.end)

    def look(self) -> None:
        """Something was handled or acknowledged."""
        if not self._is_open():
            self.end()

    def end(self) -> None:
        """Wait no longer: the connection is gone, perhaps."""
        self._timer.stop()
        done, self._done = self._done, None
        if done is not None:
            done()
