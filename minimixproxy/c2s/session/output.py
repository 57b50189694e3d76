"""What goes to one client: joined per read or reactor turn, held while the client reads too slowly, and bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Protocol

from minimixproxy.c2s.session.acknowledgements import Acknowledgements
from minimixproxy.c2s.transport.connection import Transport
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.wire.lazy_stanzas import LazyStanzas

_CHUNK = 32 * 1024  # bytes of lazy stanzas that are written together
_REFERENCE = 8  # bytes that a stanza costs before it is made
_LAZY_COST = 256  # and all that are delivered together
#: Lazy stanzas, each with what was delivered before them; mostly there are none, and no deque either.
_Ahead = deque[tuple[list[bytes], Iterator[bytes]]] | tuple[()]


class Stream(Protocol):
    """What is asked of the client's stream."""

    @property
    def transport(self) -> Transport:
        """Where to write."""

    def close(self, data: bytes = b"") -> None:
        """Send the last bytes, and close."""


class ClientOutput:
    """The output of a session."""

    __slots__ = (
        "_acknowledgements",
        "_ahead",
        "_dropped",
        "_limit",
        "_on_overflow",
        "_scheduled",
        "_stream",
        "_taking",
        "_turn_end",
        "_waiting",
        "blocked",
        "over",
        "parts",
    )

    def __init__(
        self,
        stream: Stream,
        turn_end: TurnEnd,
        acknowledgements: Acknowledgements,
        limit: int,
        on_overflow: Callable[[int], None],
    ) -> None:
        """`limit`: bytes that may wait while the client is blocked; `on_overflow` is told how many are waiting then."""
        self._stream = stream
        self._acknowledgements = acknowledgements
        self._turn_end = turn_end
        self._limit = limit
        self._on_overflow = on_overflow
        self._scheduled = False
        self._waiting = 0  # bytes delivered since the client is blocked
        # What goes before `parts`: lazy stanzas, each time behind what was delivered before them.
        self._ahead: _Ahead = ()
        self.parts: list[bytes] = []  # append what `flush` will follow in the same call; for all else see `deliver`
        self._dropped = False
        self.blocked = False  # the client reads too slowly
        self._taking = True  # what is delivered
        self.over = False  # the last bytes are out

    def deliver(self, data: bytes) -> None:
        """Write `data` when the turn is over, or when the client can take it."""
        if not self._taking:
            return
        self.parts.append(data)
        if self.blocked:
            self._wait(len(data))
        elif not self._scheduled:
            self._scheduled = True
            self._turn_end.add(self)

    def deliver_all(self, stanzas: LazyStanzas) -> None:
        """Write stanzas that are made when the client can take them; what is delivered later goes behind them."""
        if not self._taking:
            return
        ahead = self._ahead = self._ahead or deque()
        ahead.append((self.parts[:], iter(stanzas)))
        self.parts.clear()
        if self.blocked:
            self._wait(_LAZY_COST + _REFERENCE * len(stanzas))
        elif not self._scheduled:
            self._scheduled = True
            self._turn_end.add(self)

    def _wait(self, size: int) -> None:
        self._waiting += size
        if self._waiting > self._limit:
            self._drop()
            self._on_overflow(self._waiting)

    @property
    def incomplete(self) -> bool:
        """Something that was delivered was dropped; or would be by `close`, since it is behind lazy stanzas.

        Of the lazy ones themselves, those who made them know how many were taken.
        """
        behind = bool(self._ahead and self.parts) or any(chunk for chunk, _ in islice(self._ahead, 1, None))
        return self._dropped or behind

    def _drop(self) -> None:
        self._dropped = self._dropped or bool(self.parts) or any(chunk for chunk, _ in self._ahead)
        self.parts.clear()
        self._ahead = ()

    def turn_ended(self) -> None:
        """Write what was delivered in this turn (see `TurnEnd`)."""
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write what there is, with one call but for what is lazy."""
        if self._ahead:
            self._flush_ahead()
        parts = self.parts
        if not parts or self.blocked or self.over:
            return
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        parts.clear()
        self._stream.transport.write(data)
        self._acknowledgements.wrote(len(data))

    def _flush_ahead(self) -> None:
        """Write lazy stanzas until the client can take no more."""
        while self._ahead and not self.blocked:
            chunk, stanzas = self._ahead[0]
            size = sum(map(len, chunk))
            for stanza in stanzas:
                chunk.append(stanza)
                size += len(stanza)
                if size >= _CHUNK:
                    break
            else:
                self._ahead.popleft()
            data = b"".join(chunk)
            chunk.clear()
            self._stream.transport.write(data)
            self._acknowledgements.wrote(len(data), everything=not (self._ahead or self.parts))
        if not self._ahead:
            self._ahead = ()

    def close(self, data: bytes) -> None:
        """Write everything that is made and `data`, and close the client's connection."""
        made = self._ahead[0][0] if self._ahead else self.parts
        last = b"".join((*made, data))
        made.clear()
        self.stop()
        self._stream.transport.unregisterProducer()
        self._stream.close(last)

    def stop_taking(self) -> None:
        """The session has left its account: what waits for it at the gate has not been seen, to the account."""
        self._taking = False

    def stop(self) -> None:
        """Write nothing more."""
        self.over = True
        self._taking = False
        self._drop()

    def abort(self) -> None:
        """Give the client up without a word."""
        self._stream.transport.abortConnection()

    def block(self) -> None:
        """The transport has more than enough to send."""
        self.blocked = True

    def unblock(self) -> None:
        """The transport has sent it all: write what waited, which may block again."""
        self.blocked = False
        self.flush()
        if not self._ahead and not self.parts:
            self._waiting = 0
