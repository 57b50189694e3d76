"""What a client has sent, handled a little in each turn of the reactor: others have their turn in between."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from minimixproxy.clock import Clock
from minimixproxy.framing import Event
from minimixproxy.stanza import Stanza

#: What the proxy itself handles in one turn: so many stanzas, or so many bytes of them; what only passes is cheap.
AT_ONCE, BYTES_AT_ONCE = 4, 16 * 1024


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
        work = size = 0
        while self._waiting and work < AT_ONCE and size < BYTES_AT_ONCE:
            event = self._waiting.popleft()
            if self._handle(event):
                work += 1
                size += len(event.raw) if isinstance(event, Stanza) else 0
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
