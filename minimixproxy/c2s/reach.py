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
from typing import Any

from twisted.internet import tcp
from twisted.python.failure import Failure

from minimixproxy.clock import Clock

if sys.platform == "linux":
    import fcntl
    import termios

# Writes are remembered for five minutes, those of two seconds as one: a dead connection is noticed in less.
TOGETHER = 2.0  # seconds
MAX_WRITES = 150
_TLS_RECORD = 16384
_TLS_OVERHEAD = 22  # bytes of a TLS 1.3 record beside its data, at least (RFC 8446 §5.2)
EVERYTHING = float("inf")
# What was written just before the client spoke may have crossed that on the way.
CROSSING = 1.0  # seconds


class Reach:
    """The last writes to one client over `transport`, and what the client's end is known to have of them."""

    __slots__ = ("_began", "_clock", "_heard", "_lost", "_transport", "_writes", "relayed")

    def __init__(self, transport: Any, clock: Clock, *, relayed: bool = False) -> None:
        """`relayed`: a relay acknowledges for the client. So it is taken to be for anything but TCP."""
        known = sys.platform == "linux" and isinstance(transport, tcp.Connection) and not relayed
        self.relayed = not known
        self._heard = 0.0  # when the client said something last, if relayed
        self._clock = clock
        self._began = 0.0  # when the first of the last writes that count as one was
        self._writes: deque[tuple[float, int]] = deque(maxlen=MAX_WRITES)
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
        """So many bytes were written, before TLS."""
        now = self._clock.seconds()
        if self._writes and now < self._began + TOGETHER:
            self._writes[-1] = (now, self._writes[-1][1] + size)
        else:
            self._began = now
            self._writes.append((now, size))

    def heard(self) -> None:
        """The client said something. Needs to be called only if `relayed`."""
        self._heard = self._clock.seconds()

    def until(self) -> float:
        """Return the time until which everything written has arrived, `EVERYTHING` when nothing is on its way."""
        if self.relayed:
            until = self._heard - CROSSING
            return until if self._writes and self._writes[-1][0] > until else EVERYTHING
        on_its_way = self._unacknowledged() if self._lost is None else self._lost
        if on_its_way == 0:
            return EVERYTHING
        behind = 0  # bytes written after the write that is looked at
        for time, size in reversed(self._writes):
            encrypted = size + _TLS_OVERHEAD * (1 + size // _TLS_RECORD)
            if behind + encrypted // 2 >= on_its_way:
                return time
            behind += encrypted
        return self._writes[0][0] - 1 if self._writes else EVERYTHING

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
