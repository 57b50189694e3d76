"""The last seconds of a session that another process of the cluster is to go on without.

What the client has said and does not know to be handled it says again in its next session. What it has not acknowledged
it is told once more. So both are waited for, but not for long: a phone may be out of coverage.
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.timing.clock import Clock, Timer

LONGEST = 2.0  # seconds; the server is asked half a second after what was said
#: Seconds for a stream to the server that is being resumed: until it is, nobody can say how far it has come.
RESUMED_WITHIN = 10.0


class Farewell:
    """Calls `done` once, when nothing `is_open` any more, or when the time is over."""

    def __init__(
        self, clock: Clock, is_open: Callable[[], bool], is_resumed: Callable[[], bool], done: Callable[[], None]
    ) -> None:
        """`is_resumed`: whether the stream to the server stands, and has come as far as before."""
        self._is_open = is_open
        self._is_resumed = is_resumed
        self._left = RESUMED_WITHIN
        self._done: Callable[[], None] | None = done
        self._timer = Timer(clock)
        self._wait()

    def _wait(self) -> None:
        self._left -= LONGEST
        self._timer.start(LONGEST, self._late)

    def _late(self) -> None:
        if self._left > 0 and not self._is_resumed():
            self._wait()
        else:
            self.end()

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
