"""What goes to one client: joined per read or reactor turn, held while the client reads too slowly, and bounded."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.c2s.clientstream import ClientStream
from minimixproxy.c2s.turn import TurnEnd


class ClientOutput:
    """The output of a session."""

    __slots__ = ("_limit", "_on_overflow", "_scheduled", "_stream", "_turn_end", "_waiting", "blocked", "over", "parts")

    def __init__(self, stream: ClientStream, turn_end: TurnEnd, limit: int, on_overflow: Callable[[int], None]) -> None:
        """`limit`: bytes that may wait while the client is blocked; `on_overflow` is told how many are waiting then."""
        self._stream = stream
        self._turn_end = turn_end
        self._limit = limit
        self._on_overflow = on_overflow
        self._scheduled = False
        self._waiting = 0  # bytes delivered since the client is blocked
        self.parts: list[bytes] = []  # append what `flush` will follow in the same call; for all else see `deliver`
        self.blocked = False  # the client reads too slowly
        self.over = False  # the last bytes are out

    def deliver(self, data: bytes) -> None:
        """Write `data` when the turn is over, or when the client can take it."""
        if self.over:
            return
        self.parts.append(data)
        if self.blocked:
            self._waiting += len(data)
            if self._waiting > self._limit:
                self.parts.clear()
                self._on_overflow(self._waiting)
        elif not self._scheduled:
            self._scheduled = True
            self._turn_end.add(self)

    def turn_ended(self) -> None:
        """Write what was delivered in this turn (see `TurnEnd`)."""
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write what there is, with one call."""
        parts = self.parts
        if not parts or self.blocked or self.over:
            return
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._stream.transport.write(data)

    def close(self, data: bytes) -> None:
        """Write everything and `data`, and close the client's connection."""
        last = b"".join((*self.parts, data))
        self.stop()
        self._stream.transport.unregisterProducer()
        self._stream.close(last)

    def stop(self) -> None:
        """Write nothing more."""
        self.over = True
        self.parts.clear()

    def abort(self) -> None:
        """Give the client up without a word."""
        self._stream.transport.abortConnection()

    def block(self) -> None:
        """The transport has more than enough to send."""
        self.blocked = True

    def unblock(self) -> None:
        """The transport has sent it all: write what waited, which may block again."""
        self.blocked = False
        self._waiting = 0
        self.flush()
