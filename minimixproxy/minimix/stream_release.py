"""When an account stream that no room needs any more is closed. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.minimix.interfaces.streams import StreamPort
from minimixproxy.timing.clock import Clock, Timer

LINGER = 10.0  # seconds for open IQs to be answered after the last room ended


class StreamRelease:
    """Closes the stream once all is answered, or after `LINGER`: who destroys a room is told so after its end.

    `needed`: whether there are rooms, `awaited`: whether an answer is still to come, `closed`: called afterwards.
    """

    def __init__(
        self,
        stream: StreamPort,
        clock: Clock,
        needed: Callable[[], bool],
        awaited: Callable[[], bool],
        closed: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._needed = needed
        self._awaited = awaited
        self._closed = closed
        self._timer = Timer(clock)

    def begin(self) -> None:
        """No room needs the stream any more."""
        if self._awaited():
            self._timer.start(LINGER, self.now)
        else:
            self.now()

    def look_again(self) -> None:
        """An answer has come, or is awaited no more."""
        if self._timer.running and not self._awaited():
            self.now()

    def now(self) -> None:
        """Close the stream if no room needs it."""
        self._timer.stop()
        if not self._needed():
            self._stream.close()
            self._closed()
