"""The time that a client has from its connection to the end of its login."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.timing.clock import Clock, Timer


class LoginTime:
    """It stands still while the client's login waits for its turn, which has bounds of its own (see `LoginQueue`)."""

    def __init__(self, clock: Clock, seconds: float, is_up: Callable[[], None]) -> None:
        self._clock = clock
        self._is_up = is_up
        self._timer = Timer(clock)
        self._ends = 0.0
        self._left: float | None = None  # seconds, while it stands still
        self.start(seconds)

    def start(self, seconds: float) -> None:
        """From now on there are so many seconds."""
        self._ends = self._clock.seconds() + seconds
        self._timer.start(seconds, self._is_up)

    def stand_still(self) -> None:
        """It is not the client that takes its time."""
        if self._timer.running:
            self._left = max(0.0, self._ends - self._clock.seconds())
            self._timer.stop()

    def go_on(self) -> None:
        """It may be, from now on."""
        left, self._left = self._left, None
        if left is not None:
            self.start(left)

    def stop(self) -> None:
        """The login has come to its end, or the client is gone."""
        self._timer.stop()
        self._left = None
