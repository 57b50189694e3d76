"""Handing on what was said in a room meanwhile: many messages, a few in each turn of the reactor. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from minimixproxy.bounds.byte_budget import OBJECT
from minimixproxy.safety_net import NET
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza

#: Bytes of messages in one turn, or one message. An occupant can have each 4 of them be an element that takes a
#: microsecond to read.
AT_ONCE = 64 * 1024
_NOTHING: deque[tuple[Stanza, bool]] = deque(maxlen=0)  # an empty one is large, and each room has two


class PacedForking:
    """`heard` gets each message, and whether it is told as something of the past; then `done` is called, unless `stop`.

    The first few at once, the others in the turns that follow.
    """

    __slots__ = ("_done", "_heard", "_room", "_running", "_timer", "_waiting")

    def __init__(
        self, room: str, clock: Clock, heard: Callable[[Stanza, bool], None], done: Callable[[], None]
    ) -> None:
        self._room = room
        self._heard = heard
        self._done = done
        self._waiting = _NOTHING
        self._timer = Timer(clock)
        self._running = False

    @property
    def running(self) -> bool:
        """Whether there is more to tell."""
        return self._running

    def start(self, past: Iterable[Stanza], live: Iterable[Stanza] = ()) -> None:
        """Hand on what was said, in this order."""
        self._waiting = deque((message, True) for message in past)
        self._waiting.extend((message, False) for message in live)
        self._running = True
        self._go_on()

    def add(self, message: Stanza, *, past: bool) -> None:
        """Something comes meanwhile: as much of what waits is handed on, so that it does not become more and more."""
        self._waiting.append((message, past))
        self._tell(OBJECT + len(message.raw))

    def stop(self) -> None:
        """Nobody listens any more."""
        self._running = False
        self._timer.stop()
        self._waiting = _NOTHING

    def _go_on(self) -> None:
        self._tell(AT_ONCE)
        if self._waiting:
            self._timer.start(0, self._go_on)
        elif self._running:
            self._running = False
            self._waiting = _NOTHING
            self._done()

    def _tell(self, size: int) -> None:
        """Hand on one message at least, and so many bytes of them."""
        while self._waiting and size > 0:
            message, past = self._waiting.popleft()
            size -= OBJECT + len(message.raw)
            try:
                self._heard(message, past)
            except Exception:  # noqa: BLE001 (it costs itself, and not those that come behind it)
                NET.caught(message, f"what was said meanwhile in {self._room}")
