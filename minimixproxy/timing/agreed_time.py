"""What time it is for all processes of a cluster: what its database says, whatever a machine's clock shows. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minimixproxy.logs.logger import Logger

PRECISE = 1.0  # seconds by which an answer may be late, and by which times may differ
WORTH_SAYING = 5.0  # seconds by which this machine's clock is off


class AgreedTime:
    """From now on `wall_time(clock)` is this one's: what it was told last, and by `clock` the time since then.

    Until it is told, it is what it was before.
    """

    log = Logger()

    def __init__(self, clock: Any) -> None:
        self._seconds: Callable[[], float] = clock.seconds
        self._own: Callable[[], float] = getattr(clock, "wall_time", clock.seconds)
        self._ahead: float | None = None  # of `clock`
        self._said = 0.0  # by how much this machine's clock is off, as the log has it
        clock.wall_time = self.now

    def now(self) -> float:
        """Return what time it is, in seconds since the epoch."""
        return self._own() if self._ahead is None else self._seconds() + self._ahead

    def told(self, time: float, asked: float) -> None:
        """It was `time` when that was answered. `asked`: when it was asked for, by `clock`.

        An answer that came late says little of the present: it is taken only for want of another.
        """
        now = self._seconds()
        if self._ahead is not None and now > asked + PRECISE:
            return
        if self._ahead is None or abs(time - self.now()) > PRECISE:
            self._ahead = time - now
        self._say(self._own() - time)

    def _say(self, off: float) -> None:
        if abs(off - self._said) > WORTH_SAYING:
            self._said = off
            self.log.warn(
                "the clock of this machine is {off} s off from that of the database, whose time counts here",
                off=f"{off:+.0f}",
            )
