"""When, and by which nick, an account tries to come back into a room. Pure but for the clock handed in."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.clock import Clock, Timer
from minimixproxy.minimix.backoff import Backoff
from minimixproxy.minimix.ports import RoomOutlet

FIRST_WAIT = 1.0  # seconds, about
LONGEST_WAIT = 300.0
STABLE = 60.0  # seconds in the room after which a new removal is the first again
MAX_NICKS = 5  # tried in a row, the wished one first


class Return:
    """The attempts of one occupancy. `attempt` makes one, by the nick given; `wished` returns the nick to have."""

    def __init__(
        self, outlet: RoomOutlet, clock: Clock, wished: Callable[[], str], attempt: Callable[[str], None]
    ) -> None:
        self._outlet = outlet
        self._clock = clock
        self._wished = wished
        self._attempt = attempt
        self._backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        self._timer = Timer(clock)
        self._due = False  # an attempt waits for its turn
        self._conflicts = 0
        self._back_since: float | None = None

    def now(self) -> None:
        """Try as soon as the pace of all rooms allows it."""
        self._timer.stop()
        if not self._due:
            self._due = True
            self._outlet.pace(self._try)

    def later(self) -> None:
        """Try after a wait that grows from failure to failure."""
        if self._back_since is not None and self._clock.seconds() - self._back_since >= STABLE:
            self._backoff.reset()
        self._back_since = None
        self._conflicts = 0
        self._timer.start(self._backoff.next(), self.now)

    def other_nick(self) -> bool:
        """The nick is taken: try the next one; False when there have been enough, and it is better to wait."""
        self._conflicts += 1
        if self._conflicts >= MAX_NICKS:
            return False
        self.now()
        return True

    def succeeded(self) -> None:
        """The account is in the room."""
        self.stop()
        self._conflicts = 0
        self._back_since = self._clock.seconds()

    def stop(self) -> None:
        """Do not try: it is not wanted, or there is no stream to try on."""
        self._timer.stop()
        self._due = False

    def _try(self) -> None:
        if self._due:
            self._due = False
            self._attempt(self._wished() + "_" * self._conflicts)
