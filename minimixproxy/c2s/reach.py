"""How far what was written to a client has come: a phone out of coverage is noticed minutes after its last byte.

The kernel knows which bytes the client's machine has not acknowledged. From that, and the sizes of the last writes, it
follows until when everything has arrived. Linux only.

Behind a relay (`haproxy:`), on a UNIX socket, or on another system nobody says how far a client has come: a relay
acknowledges for it. There only what was written before the client last said something has arrived. It is the safe side:
what came since is given once more to a client that comes back, and nothing is lost.
"""

from __future__ import annotations

import struct
import sys
from collections import deque
from itertools import chain
from typing import Any

from twisted.internet import tcp
from twisted.python.failure import Failure

from minimixproxy.clock import Clock

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


class Reach:
    """The last writes to one client over `transport`, and what the client's end is known to have of them."""

    __slots__ = ("_began", "_clock", "_earlier", "_heard", "_last", "_lost", "_overhead", "_transport", "relayed")

    def __init__(self, transport: Any, clock: Clock, *, relayed: bool = False, overhead: int = 0) -> None:
        """`relayed`: a relay acknowledges for the client. So it is taken to be for anything but TCP.

        `overhead`: bytes that TLS adds to each of its records.
        """
        known = sys.platform == "linux" and isinstance(transport, tcp.Connection) and not relayed
        self.relayed = not known
        self._heard = 0.0  # when the client said something last, if relayed
        self._clock = clock
        self._overhead = overhead
        self._last: deque[tuple[float, int]] = deque()  # when, and how many bytes with those of TLS
        self._earlier: deque[tuple[float, int]] = deque(maxlen=MAX_WRITES - EACH)
        self._began = 0.0  # when the first of those was that the last of `_earlier` is made of
        self._lost: int | None = None  # unacknowledged bytes when the connection ended
        self._transport = transport if known else None
        if self._transport is not None:
            self._look_at_the_end(self._transport)

    def _look_at_the_end(self, transport: Any) -> None:
        """Ask the kernel before Twisted closes the socket: afterwards nobody can be asked."""
        lose = transport.connectionLost

        def lost(reason: Failure) -> None:
            self._lost = self._unacknowledged()
            self._transport = None
            lose(reason)

        transport.connectionLost = lost

    def wrote(self, size: int) -> None:
        """So many bytes were written with one call, before TLS."""
        if len(self._last) == EACH:
            self._put_together(*self._last.popleft())
        records = 1 + (size - 1) // _TLS_RECORD
        self._last.append((self._clock.seconds(), size + self._overhead * records))

    def _put_together(self, time: float, size: int) -> None:
        if self._earlier and time < self._began + TOGETHER:
            self._earlier[-1] = (time, self._earlier[-1][1] + size)
        else:
            self._began = time
            self._earlier.append((time, size))

    @property
    def last_write(self) -> float:
        """When something was written last; minus infinity if nothing was."""
        return self._last[-1][0] if self._last else -EVERYTHING

    def heard(self) -> None:
        """The client said something. Needs to be called only if `relayed`."""
        self._heard = self._clock.seconds()

    def until(self) -> float:
        """Return the time until which everything written has arrived, `EVERYTHING` when nothing is on its way."""
        if self.relayed:
            until = self._heard - CROSSING
            return until if self.last_write > until else EVERYTHING
        on_its_way = self._unacknowledged() if self._lost is None else self._lost
        if on_its_way == 0:
            return EVERYTHING
        oldest, behind = EVERYTHING, 0  # bytes written after the write that is looked at
        for time, size in chain(reversed(self._last), reversed(self._earlier)):
            if behind >= on_its_way:
                return time
            oldest, behind = time, behind + size
        return oldest - 1

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
