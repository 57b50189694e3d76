"""How far what was written to a client has come: a phone out of coverage is noticed minutes after its last byte.

The kernel knows how many bytes the client's machine has not acknowledged. From that, and the sizes of the last writes,
it follows which of them have arrived. Linux only. With each write goes how far the messages of all rooms had been given
out by then: that, and no clock, says what the client has seen, however slow the machine is.

Behind a relay (`haproxy:`), on a UNIX socket, or on another system nobody says how far a client has come: a relay
acknowledges for it. There only what was written before the client last said something has arrived, and of that only
what the relay has got. It is the safe side: what came since is given once more to a client that comes back, and nothing
is lost.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from minimixproxy.c2s.transport.connection import is_tcp
from minimixproxy.timing.clock import Clock

if sys.platform == "linux":
    import fcntl
    import termios

# Writes are remembered for some minutes: the last ones each, those before with what was written within two seconds.
EACH = 50
TOGETHER = 2.0  # seconds
MAX_WRITES = 150
_TLS_RECORD = 16384
EVERYTHING = float("inf")
# What was written just before the client spoke may have crossed that on the way.
CROSSING = 1.0  # seconds
# So long a client that speaks has to be there still, or its words may have been late: it left while nothing came
# through, and its words and its end came together.
LATE = 5.0  # seconds


# One write, or several taken together: when the last one was, how many bytes they are, encrypted, and what had been
# given out by then.
_Write = tuple[float, int, int]


class Acknowledgements:
    """The last writes to one client over `transport`, and what the client's end is known to have of them."""

    __slots__ = (
        "_before",
        "_began",
        "_burst",
        "_clock",
        "_framed",
        "_heard",
        "_lost",
        "_older",
        "_overhead",
        "_position",
        "_recent",
        "_sure",
        "_transport",
        "relayed",
        "written",
    )
    _began: float  # when the first of the older writes that count as one was, if there are any

    def __init__(
        self, transport: Any, clock: Clock, position: Callable[[], int], *, relayed: bool = False, overhead: int = 0
    ) -> None:
        """`position`: returns up to which message the rooms have been given out.

        `relayed`: a relay acknowledges for the client. So it is taken to be for anything but TCP.
        `overhead`: bytes that TLS adds to each of its records.
        """
        if wrapped := isinstance(transport, ProtocolWrapper):  # of `haproxy:`
            transport = transport.transport
        known = sys.platform == "linux" and isinstance(transport, tcp.Connection) and is_tcp(transport)
        self.relayed = relayed or wrapped or not known
        self._clock = clock
        self._position = position
        self._overhead = overhead
        self._framed: Callable[[], int] | None = None
        # Lists: short ones cost each session a tenth of what a deque does.
        self._recent: list[_Write] = []
        self._older: list[_Write] = []
        self.written = 0  # what had been given out when everything was written last
        self._sure = 0  # what had been given out with the last write that is not remembered any more
        self._heard = self._burst = -EVERYTHING  # when the client spoke last, and when it began to
        self._before = EVERYTHING  # what had arrived by then
        self._lost: int | None = None  # unacknowledged bytes when the connection ended
        self._transport = transport if known else None
        if not self.relayed:
            self._look_at_the_end(transport)

    def in_frames(self, last: Callable[[], int]) -> None:
        """What is written is put into frames before TLS; `last` returns how many bytes the last write became."""
        self._framed = last

    def _look_at_the_end(self, transport: Any) -> None:
        """Ask the kernel before Twisted closes the socket: afterwards nobody can be asked."""
        lose = transport.connectionLost

        def lost(reason: Failure) -> None:
            self._lost = self._unacknowledged()
            self._transport = None
            lose(reason)

        transport.connectionLost = lost

    def wrote(self, size: int, *, everything: bool = True) -> None:
        """So many bytes were written with one call, before TLS. `everything`: so is now all that was delivered."""
        recent = self._recent
        if self._framed is not None:
            size = self._framed()
        if everything:
            self.written = self._position()
        records = 1 + (size - 1) // _TLS_RECORD
        recent.append((self._clock.seconds(), size + self._overhead * records, self.written))
        if len(recent) > EACH:
            self._put_to_the_older(recent.pop(0))

    def _put_to_the_older(self, write: _Write) -> None:
        older = self._older
        time, size, position = write
        if older and time < self._began + TOGETHER:
            older[-1] = (time, older[-1][1] + size, position)
            return
        if len(older) == MAX_WRITES - EACH:
            self._sure = older.pop(0)[2]
        self._began = time
        older.append(write)

    def question(self) -> bytes:
        """Nothing is asked."""
        return b""

    def heard(self) -> None:
        """The client said something. Needs to be called only if `relayed`.

        What the relay has not got itself has not arrived: if nothing came through for a while, the words were late.
        """
        now = self._clock.seconds()
        if now > self._heard + LATE:
            self._burst, self._before = now, self._look()[0]
        self._heard = now
        arrived = now - CROSSING
        first = self._older or self._recent
        if not first or first[0][0] > arrived:
            return
        left = len(self._older) + len(self._recent) - self._under_way()
        for writes in (self._older, self._recent):
            while writes and writes[0][0] <= arrived and left > 0:
                self._sure = writes.pop(0)[2]
                left -= 1

    def _under_way(self) -> int:
        """Return how many of the last writes the relay's machine has not acknowledged."""
        unacknowledged, behind, count = self._unacknowledged(), 0, 0
        for writes in (self._recent, self._older):
            for _time, size, _position in reversed(writes):
                if behind >= unacknowledged:
                    return count
                behind += size
                count += 1
        return count

    def until(self) -> float:
        """Return what had been given out by the last write that has arrived, `EVERYTHING` if nothing is on its way."""
        until = self._look()[0]
        return min(until, self._before) if self._clock.seconds() < self._burst + LATE else until

    def since(self) -> float:
        """Return when the first write was that has not arrived, as far as anybody knows; infinity if there is none."""
        return self._look()[1]

    def under_way_since(self) -> float:
        """Return when the first write was that the other machine, be it a relay's, has not got; infinity: none."""
        writes = [*self._older, *self._recent]
        count = self._under_way()
        return writes[-count][0] if count else EVERYTHING

    def _look(self) -> tuple[float, float]:
        """Return how far everything has arrived, and when the first write was that has not."""
        on_its_way: float = EVERYTHING
        if not self.relayed:
            on_its_way = self._unacknowledged() if self._lost is None else self._lost
        behind, since = 0, EVERYTHING
        for writes in (self._recent, self._older):
            for time, size, position in reversed(writes):
                if behind >= on_its_way:
                    return (position if behind else EVERYTHING), since
                behind += size
                since = time
        return (self._sure if behind else EVERYTHING), since

    def _unacknowledged(self) -> int:
        transport = self._transport
        if transport is None:
            return 0
        waiting = len(transport.dataBuffer) - transport.offset + transport._tempDataLen
        try:
            answer = fcntl.ioctl(transport.fileno(), termios.TIOCOUTQ, b"\0\0\0\0")
        except (OSError, ValueError):
            return int(waiting)
        (in_kernel,) = struct.unpack("i", answer)
        return int(waiting + in_kernel)
