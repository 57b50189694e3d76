"""The time between the leave of the last session and that of the account. Pure but for the clock handed in."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza

MAX_FAREWELL = 4096  # bytes of a presence that leaves, of which the room is told the status when the grace ends


class LeaveGrace:
    """Several clients leave every room while they disconnect: the account leaves only if the session's stream is
    still open `seconds()` later. Then `over` is called with the session and its leave, None if that was too large to be
    kept.
    """

    __slots__ = ("_over", "_seconds", "_session", "_timer")

    def __init__(
        self, clock: Clock, seconds: Callable[[], float], over: Callable[[SessionPort, Stanza | None], None]
    ) -> None:
        self._seconds = seconds
        self._over = over
        self._timer = Timer(clock)
        self._session: SessionPort | None = None  # while the timer runs

    @property
    def running(self) -> bool:
        """Whether the account is about to leave."""
        return self._timer.running

    def begin(self, session: SessionPort, request: Stanza) -> None:
        """The last session has left."""
        self._session = session
        kept = request if len(request.raw) <= MAX_FAREWELL else None
        self._timer.start(self._seconds(), lambda: self._end(kept))

    def is_of(self, session: SessionPort) -> bool:
        """Tell whether it was this session that left."""
        return session is self._session

    def cancel(self) -> None:
        """The account stays, or its leave is under way."""
        self._timer.stop()
        self._session = None

    def cut_short(self) -> bool:
        """End it now, if it runs; False if not."""
        running = self.running
        if running:
            self._end(None)
        return running

    def _end(self, request: Stanza | None) -> None:
        session = self._session
        self.cancel()
        assert session is not None
        self._over(session, request)
