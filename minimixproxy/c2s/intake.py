"""What a client has sent, handled a little in each turn of the reactor: others have their turn in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from minimixproxy.clock import Clock
from minimixproxy.framing import Event

AT_ONCE = 4  # stanzas in one turn that the proxy itself handles; what only passes is cheap


class Intake:
    """Events of one client, in order.

    `handle` returns True if an event was work, not just to be passed on; `flush` is called at the end of a turn's.
    `pause` and `resume`: while events wait, the client is not read, so they are those of a read at most.
    """

    __slots__ = ("_clock", "_flush", "_handle", "_last", "_pause", "_resume", "_scheduled", "_waiting")

    def __init__(
        self,
        clock: Clock,
        handle: Callable[[Event], bool],
        flush: Callable[[], None],
        pause: Callable[[], None],
        resume: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._handle = handle
        self._flush = flush
        self._pause = pause
        self._resume = resume
        self._waiting: deque[Event] = deque()
        self._scheduled = False
        self._last: Callable[[], None] | None = None

    @property
    def busy(self) -> bool:
        """Whether events wait for the next turn."""
        return self._scheduled

    def take(self, events: list[Event]) -> None:
        """Handle events behind those that wait."""
        self._waiting.extend(events)
        if not self._scheduled:
            self._some()

    def at_end(self, last: Callable[[], None]) -> None:
        """Call `last` when nothing waits any more."""
        if self._scheduled:
            self._last = last
        else:
            last()

    def _some(self) -> None:
        work = 0
        while self._waiting and work < AT_ONCE:
            work += self._handle(self._waiting.popleft())
        self._flush()
        if self._waiting:
            self._scheduled = True
            self._pause()
            self._clock.callLater(0, self._go_on)

    def _go_on(self) -> None:
        self._scheduled = False
        self._some()
        if self._scheduled:
            return
        self._resume()
        last, self._last = self._last, None
        if last is not None:
            last()
