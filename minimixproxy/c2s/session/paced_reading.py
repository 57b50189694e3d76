"""What a client has sent, handled a little in each turn of the reactor: others have their turn in between."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from minimixproxy.timing.turn_shares import TurnShares
from minimixproxy.wire.events import Event
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.whole_messages import pieces_of

#: What the proxy itself handles in one turn: so many stanzas, or so many bytes of them; what only passes is cheap.
AT_ONCE, BYTES_AT_ONCE = 4, 16 * 1024
#: Seconds after which none is handled any more: one may take as many milliseconds as its account has rooms, and of
#: those that pass a read has more than a thousand.
WORK_TIME = 0.005
#: So many if the client is gone: its place among the connections is another's, so what it leaves must not pile up.
LEFT_AT_ONCE = 64
#: Bytes that are read into stanzas at once, and seconds after which no more are: `ssl:` and `haproxy:` bring 64 KiB.
PIECE, PIECES_TIME = 8192, 0.002


class Reader(Protocol):
    """Whose bytes they are. It is not read while something waits: so that is a read at most."""

    def read(self, data: bytes) -> tuple[list[Event], bytes]:
        """Pass on what nobody needs to look at; return events made of what else is there, and bytes for later."""

    def handle(self, event: Event) -> bool:
        """Handle an event; True: that was work, not just to pass it on."""

    def handled(self) -> None:
        """Those of this turn are handled."""

    def pause_reading(self) -> None:
        """Something waits."""

    def resume_reading(self) -> None:
        """Nothing waits any more."""

    def handling_failed(self) -> None:
        """A fault of ours; what is left is forgotten."""


class PacedReading:
    """Bytes of one client, and the events that are made of them, in order."""

    __slots__ = (
        "_account",
        "_events",
        "_handle",
        "_last",
        "_pieces",
        "_read",
        "_reader",
        "_shares",
        "busy",
    )

    def __init__(
        self,
        shares: TurnShares,
        account: str,
        reader: Reader,
    ) -> None:
        self._shares = shares
        self._account = account
        self._reader = reader
        self._read = reader.read
        self._handle = reader.handle
        # Lists, for they are short, and a deque costs each session ten times as much.
        self._pieces: list[bytes] = []
        self._events: list[Event] = []  # before what is in the pieces; the last one comes first
        self._last: Callable[[], None] | None = None
        self.busy = False  # something waits for a turn to come

    def take(self, data: bytes) -> None:
        """Handle bytes behind those that wait."""
        if len(data) <= PIECE:
            self._pieces.append(data)
        else:
            self._pieces.extend(pieces_of(data, PIECE))
        self._begin()

    def take_events(self, events: list[Event]) -> None:
        """Handle events; of bytes nothing has come yet."""
        self._events[:0] = reversed(events)
        self._begin()

    def at_end(self, last: Callable[[], None]) -> None:
        """Call `last` when nothing waits any more."""
        if self.busy:
            self._last = last
        else:
            last()

    def _begin(self) -> None:
        if self.busy:
            return
        shares = self._shares
        if shares.may_go_on(self._account):
            begun = shares.stopwatch()
            left = self._some(begun)
            shares.took(shares.stopwatch() - begun)
            if not left:
                return
        self.busy = True
        self._reader.pause_reading()
        shares.wait(self._account, self)

    def _some(self, begun: float) -> bool:
        """Handle some; True: others are left."""
        events, pieces = self._events, self._pieces
        work = size = 0
        first = True
        at_once = AT_ONCE if self._last is None else LEFT_AT_ONCE
        while work < at_once and size < BYTES_AT_ONCE:
            if events:
                event = events.pop()
                if self._handle(event):
                    work += 1
                    size += len(event.raw) if isinstance(event, Stanza) else 0
                if self._shares.stopwatch() - begun >= WORK_TIME:
                    break
            elif pieces and (first or self._shares.stopwatch() < begun + PIECES_TIME):
                first = False
                found, rest = self._read(pieces.pop(0))
                events += found[::-1]
                if rest:
                    pieces.insert(0, rest)
            else:
                break
        self._reader.handled()
        return bool(events or pieces)

    def go_on(self) -> bool:
        """Handle some in a later turn; True: others are left."""
        if self._some(self._shares.stopwatch()):
            return True
        self._over()
        return False

    def give_up(self) -> tuple[list[Event], list[bytes]]:
        """Handle nothing more; return the events that are left, and the bytes behind them."""
        left = self._events[::-1], list(self._pieces)
        self._events.clear()
        self._pieces.clear()
        self._last = None
        return left

    def abort(self) -> None:
        """Forget what is left."""
        self._events.clear()
        self._pieces.clear()
        self._reader.handling_failed()
        self._over()

    def _over(self) -> None:
        self.busy = False
        self._reader.resume_reading()
        last, self._last = self._last, None
        if last is not None:
            last()
