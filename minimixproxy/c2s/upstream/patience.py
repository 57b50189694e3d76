"""How long a server may be silent when it is to say something."""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred

from minimixproxy.c2s.errors import UpstreamUnreachable
from minimixproxy.timing.clock import Clock, Timer


class Patience:
    """Only what the server takes counts, not what is done here in between: this machine may be busy."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._seconds = seconds
        self._timer = Timer(clock)
        self._is_over = False

    async def wait(self, waiting: Deferred[None]) -> None:
        """Return when the server has said something. Raises `UpstreamUnreachable` if it takes too long."""
        self._is_over = False
        # When a busy reactor comes to its timers, what the server has said in time may not be read yet.
        self._timer.start(self._seconds, lambda: self._timer.start(0, lambda: self._give_up(waiting)))
        try:
            await waiting
        except CancelledError:
            if not self._is_over:
                raise
            raise UpstreamUnreachable(f"the server said nothing for {self._seconds:g} seconds") from None
        finally:
            self._timer.stop()

    def _give_up(self, waiting: Deferred[None]) -> None:
        self._is_over = True
        waiting.cancel()
