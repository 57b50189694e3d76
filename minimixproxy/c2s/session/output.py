"""What goes to one client: joined per read or reactor turn, held while the client cannot take it, and bounded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from itertools import chain, islice
from typing import Protocol

from minimixproxy.counting.traffic import CLIENTS
from minimixproxy.direct_transport import Transport
from minimixproxy.stream_management.unacknowledged import Unacknowledged
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.wire.lazy_stanzas import LazyStanzas

_CHUNK = 32 * 1024  # bytes of lazy stanzas that are written together
LAZY_TIME = 0.0025  # seconds, about, in which lazy stanzas are made and written for one client in one turn
_REFERENCE = 8  # bytes that a stanza costs before it is made
_LAZY_COST = 256  # and all that are delivered together
#: Lazy stanzas, each with what was delivered before them; mostly there are none, and no deque either.
_Ahead = deque[tuple[list[bytes], Iterator[bytes]]] | tuple[()]
MAX_UNACKNOWLEDGED = 2000  # stanzas that a client may leave unacknowledged before it is told more
MAX_EXCUSED = 20_000  # the same for one that is let wait itself, so that its word on them is not read


class Stream(Protocol):
    """What is asked of the client's stream."""

    @property
    def transport(self) -> Transport:
        """Where to write."""

    def close(self, data: bytes = b"") -> None:
        """Send the last bytes, and close."""


class Writes(Protocol):
    """Who is told of what was written."""

    def question(self) -> bytes:
        """Return what is to go out behind the stanzas that are about to be written, if they are kept."""

    def wrote(self, size: int, *, everything: bool = True) -> None:
        """So many bytes were written with one call. `everything`: so is now all that was delivered."""


class OutputHost(Protocol):
    """Who has an output."""

    def flows(self, free: bool) -> None:
        """The client can take more just now, or cannot: what others say to it has to wait."""

    def overflows(self, waiting: int) -> None:
        """More bytes wait than may."""


class ClientOutput:
    """The output of a session. It outlives the client's connection: without one, what is delivered waits.

    With stream management (see `manage`), stanzas that were written are kept until they are acknowledged.
    """

    __slots__ = (
        "_ahead",
        "_dropped",
        "_elements",
        "_free",
        "_full",
        "_host",
        "_limit",
        "_managed",
        "_paced",
        "_scheduled",
        "_slow",
        "_stream",
        "_taking",
        "_turn_end",
        "_waiting",
        "_writes",
        "asleep",
        "blocked",
        "excused",
        "over",
        "parts",
    )

    def __init__(
        self,
        stream: Stream | None,
        turn_end: TurnEnd,
        writes: Writes,
        limit: int,
        host: OutputHost,
    ) -> None:
        """`stream`: None if it begins asleep. `limit`: bytes that may wait while the client is blocked."""
        self._stream = stream  # None: it sleeps
        self._writes = writes
        self._turn_end = turn_end
        self._limit = limit
        self._host = host
        self._scheduled = False
        self._waiting = 0  # bytes delivered since the client is blocked
        # What goes before `parts`: lazy stanzas, each time behind what was delivered before them.
        self._ahead: _Ahead = ()
        self.parts: list[bytes] = []  # append what `flush` will follow in the same call; for all else see `deliver`
        self._elements: list[bytes] = []  # of stream management, which does not count them; they go behind `parts`
        self._managed: Unacknowledged | None = None
        self._paced = False  # more lazy stanzas are written in turns to come
        self._dropped = False
        self._free = True  # others need not wait, as the host knows it
        self._slow = False  # the client reads too slowly
        self._full = False  # it acknowledges too slowly
        self.excused = False  # if it does: its word may be behind what it has to wait with
        self.asleep = self.blocked = stream is None  # there is no connection; what is delivered waits
        self._taking = True  # what is delivered
        self.over = False  # the last bytes are out

    def deliver(self, data: bytes) -> None:
        """Write a stanza when the turn is over, or when the client can take it."""
        if not self._taking:
            return
        self.parts.append(data)
        if self.blocked or self._paced:
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
        if self.blocked or self._paced:
            self._wait(_LAZY_COST + _REFERENCE * len(stanzas))
        else:
            self._schedule()

    def say(self, element: bytes) -> None:
        """Write an element that is no stanza; without a connection, and once the output is over, it is not said."""
        if self.over or self.asleep:
            return
        if self._managed is None:
            self.parts.append(element)
        else:
            self._elements.append(element)
        if self._slow:
            self._wait(len(element))
        else:
            self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._turn_end.add(self)

    def _wait(self, size: int) -> None:
        self._waiting += size
        # One stanza of the server alone may be larger than all the rest may be.
        kept = min(self._managed.size, self._limit // 2) if self._managed is not None else 0
        if self._waiting + kept > self._limit:
            self._drop()
            self._host.overflows(self._waiting)

    @property
    def incomplete(self) -> bool:
        """Something that was delivered was dropped; or would be by `close`, since it is behind lazy stanzas.

        Of the lazy ones themselves, those who made them know how many were taken.
        """
        behind = bool(self._ahead and self.parts) or any(chunk for chunk, _ in islice(self._ahead, 1, None))
        return self._dropped or behind

    @property
    def queued(self) -> int:
        """Bytes that wait to be written, and of those written that are not acknowledged; but not what is not made."""
        kept = self._managed.size if self._managed is not None else 0
        return sum(map(len, self.waiting)) + kept

    @property
    def unmade(self) -> bool:
        """Something was delivered that is made only when it is written: nobody knows how much that is."""
        return bool(self._ahead)

    @property
    def managed(self) -> bool:
        """Whether stanzas are kept until they are acknowledged."""
        return self._managed is not None

    @property
    def waiting(self) -> Iterator[bytes]:
        """What was delivered and is not written, but for what is not made yet."""
        return chain(*(chunk for chunk, _ in self._ahead), self.parts)

    def all_waiting(self) -> list[bytes] | None:
        """Make what is lazy, and return all that was delivered and is not written; None if some of it was dropped."""
        for chunk, stanzas in self._ahead:
            chunk.extend(stanzas)
        return None if self._dropped else list(self.waiting)

    @property
    def waits(self) -> bool:
        """Something that was delivered is not written."""
        return bool(self._dropped or self.parts or self._ahead)

    def _drop(self) -> None:
        # Who acknowledges has not acknowledged what was never made, either.
        ahead = bool(self._ahead) if self.managed else any(chunk for chunk, _ in self._ahead)
        self._dropped = self._dropped or bool(self.parts) or ahead
        self.parts.clear()
        self._ahead = ()
        self._elements.clear()

    def turn_ended(self) -> None:
        """Write what was delivered in this turn (see `TurnEnd`)."""
        self._scheduled = False
        self.flush()

    def flush(self) -> None:
        """Write what there is, with one call but for what is lazy."""
        if self._ahead:
            if not self._paced:
                self._flush_ahead()
            if self._ahead and not self.blocked:
                return
        parts = self.parts
        if self.blocked or self.over or not (parts or self._elements):
            self._flush_elements()
            return
        if self._managed is not None:
            self._flush_managed(self._managed)
            return
        assert self._stream is not None
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        size = len(data)
        CLIENTS.sent += len(parts)
        CLIENTS.sent_bytes += size
        parts.clear()
        self._stream.transport.write(data)  # what `_write` does: each forked copy comes here
        self._writes.wrote(size)

    def _flush_managed(self, managed: Unacknowledged) -> None:
        parts, elements = self.parts, self._elements
        stanzas = parts[0] if len(parts) == 1 else b"".join(parts)
        managed.add_all(parts, len(stanzas))
        CLIENTS.sent += len(parts)
        parts.clear()
        if stanzas and (question := self._writes.question()):
            elements.append(question)
        data = b"".join((stanzas, *elements)) if elements else stanzas
        elements.clear()
        self._write(data)
        if stanzas:
            self._writes.wrote(len(data))
            self._watch(managed)

    def _write(self, data: bytes) -> None:
        assert self._stream is not None
        CLIENTS.sent_bytes += len(data)
        self._stream.transport.write(data)

    def _flush_elements(self) -> None:
        """Ask a client that acknowledges slowly nevertheless."""
        if self._elements and not (self._slow or self.asleep or self.over):
            data = b"".join(self._elements)
            self._elements.clear()
            self._write(data)

    def _watch(self, managed: Unacknowledged) -> None:
        """Let a client that acknowledges slowly take no more for a while.

        One that is excused is told more: but what is beyond the limit is not kept, and is not there if it loses its
        connection. That is a server's way, too. Otherwise it would wait for itself.
        """
        if len(managed) < MAX_UNACKNOWLEDGED and managed.size <= self._limit // 2:
            return
        if self.excused and len(managed) < MAX_EXCUSED:
            managed.forget(MAX_UNACKNOWLEDGED, self._limit // 2)
        else:
            self._full = True
            self._flows()

    def _flush_ahead(self) -> None:
        """Write lazy stanzas until the client can take no more, or for a while: others have their turn in between."""
        shares = self._turn_end.shares
        if not shares.may_go_on(self):
            self._wait_for_turn()
            return
        begun = shares.stopwatch()
        try:
            self._write_ahead(begun + LAZY_TIME)
        finally:
            shares.took(shares.stopwatch() - begun)
        if self._ahead and not self.blocked:
            self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        if not self._paced:
            self._paced = True
            self._turn_end.shares.wait(self, self)
            self._tell_host()

    def go_on(self) -> bool:
        """Write on in a later turn; True: there is more (`TurnShares`)."""
        self._write_ahead(self._turn_end.shares.stopwatch() + LAZY_TIME)
        if self._ahead and not self.blocked:
            return True
        self._paced = False
        if not self.over:
            self._flows()
        return False

    def flush_at_once(self) -> None:
        """Do as `flush`, however long it takes to make what is lazy."""
        self._write_ahead(math.inf)
        self.flush()

    def _write_ahead(self, until: float) -> None:
        stopwatch = self._turn_end.shares.stopwatch
        while self._ahead and not self.blocked:
            self._write_chunk(*self._ahead[0])
            if stopwatch() >= until:
                break
        if not self._ahead:
            self._ahead = ()

    def _write_chunk(self, chunk: list[bytes], stanzas: Iterator[bytes]) -> None:
        """Write what `chunk` has, and lazy stanzas behind it."""
        assert self._ahead
        size = sum(map(len, chunk))
        for stanza in stanzas:
            chunk.append(stanza)
            size += len(stanza)
            if size >= _CHUNK:
                break
        else:
            self._ahead.popleft()
        data = b"".join(chunk)
        if self._managed is not None:
            self._managed.add_all(chunk, len(data))
            data = b"".join((data, *self._elements))
            self._elements.clear()
        CLIENTS.sent += len(chunk)
        chunk.clear()
        self._write(data)
        self._writes.wrote(len(data), everything=not (self._ahead or self.parts))
        if self._managed is not None:
            self._watch(self._managed)

    # Stream management -----------------------------------------------------------------------------------------

    def manage(self, unacknowledged: Unacknowledged, writes: Writes, answer: bytes) -> None:
        """From `answer` on, keep stanzas that are written in `unacknowledged`, and tell `writes` of them.

        Nothing may wait to be written.
        """
        self._write(answer)
        self._managed = unacknowledged
        self._writes = writes

    def manage_asleep(self, unacknowledged: Unacknowledged, writes: Writes) -> None:
        """The same for a session that another process had, and that has no connection here yet."""
        self._managed = unacknowledged
        self._writes = writes

    def excuse(self, excused: bool = True) -> None:
        """Whether the client cannot be heard, for it has to wait itself."""
        self.excused = excused
        if excused and self._full and self._managed is not None and len(self._managed) < MAX_EXCUSED:
            self._full = False
            self._managed.forget(MAX_UNACKNOWLEDGED, self._limit // 2)
            self._flows()

    def acknowledged(self) -> None:
        """The client has acknowledged something."""
        if self._full:
            self._full = False
            self._flows()

    def fall_asleep(self) -> None:
        """The connection is gone, and another may come: what is delivered waits."""
        self._elements.clear()
        self._stream = None
        self.asleep, self._slow, self._full = True, False, False
        self._flows()

    def wake(self, stream: Stream, answer: bytes) -> None:
        """There is another connection: write an answer, then what was not acknowledged, then what waited."""
        self._stream = stream
        self.asleep = False
        self._write(b"".join((answer, *(self._managed or ()))))  # which may block
        self._flows()

    # Its end ---------------------------------------------------------------------------------------------------

    def close(self, data: bytes) -> None:
        """Write everything that is made and `data`, and close the client's connection if there is one."""
        stream = self._stream
        if stream is None:
            self.stop()
            return
        made = self._ahead[0][0] if self._ahead else self.parts
        last = b"".join((*made, *self._elements, data))
        made.clear()
        self.stop()
        stream.transport.unregisterProducer()
        stream.close(last)

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
        self._paced = False
        if self._stream is not None:
            self._stream.transport.abortConnection()

    # Backpressure ----------------------------------------------------------------------------------------------

    def block(self) -> None:
        """The transport has more than enough to send."""
        if not self.asleep:
            self._slow = True
            self._flows()

    def unblock(self) -> None:
        """The transport has sent it all: write what waited, which may block again."""
        if not self.asleep:
            self._slow = False
            self._flows()

    def _flows(self) -> None:
        """Something of what blocks has changed."""
        self.blocked = self.asleep or self._slow or self._full
        if not self.blocked:
            self.flush()  # which may block again
            if not self._ahead and not self.parts:
                self._waiting = 0
        self._tell_host()

    def _tell_host(self) -> None:
        free = self.asleep or not (self.blocked or self._paced)
        if free is not self._free:
            self._free = free
            self._host.flows(free)
