"""What goes out on one connection of a managed stream to a server: little is under way at a time. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from minimixproxy.stream_management.unacknowledged import NotSent, Unacknowledged
from minimixproxy.xep.stream_management import REQUEST

# Bytes of stanzas that are under way: Prosody 0.12 reads 4 KiB at a time. If it has read only part of a stanza when the
# connection breaks, it takes for the rest of it what comes when the stream is resumed (docs/stream-management.md).
# The remaining KiB is for acknowledgements.
WINDOW = 3072


class Sending:
    """Sends stanzas in order, each once the server has acknowledged enough of those before, and asks it to.

    What is in `unacknowledged` at the beginning is sent again. `write` gets whole stanzas.
    """

    __slots__ = ("_asked", "_unacknowledged", "_waiting", "_waiting_size", "_write")

    def __init__(self, unacknowledged: Unacknowledged, write: Callable[[bytes], None]) -> None:
        self._unacknowledged = unacknowledged
        self._write = write
        self._waiting: deque[bytes] = deque(unacknowledged)  # of these, those that were not written here
        self._waiting_size = unacknowledged.size
        self._asked = False  # and the answer is still to come

    @property
    def asked(self) -> bool:
        """Whether the server was asked, and its answer is still to come."""
        return self._asked

    @property
    def waits(self) -> bool:
        """Whether the answer of the server is urgent: something waits for that to be sent, or as good as waits."""
        return self._asked and self._unacknowledged.size > WINDOW // 2

    def send(self, stanza: bytes) -> None:
        """Send a stanza now or later."""
        self._unacknowledged.add(stanza)
        self._waiting.append(stanza)
        self._waiting_size += len(stanza)
        self.go_on()

    def acknowledged(self, h: int) -> None:
        """The server has handled so many, modulo 2**32. Raises `NotSent`."""
        self._asked = False
        self._unacknowledged.arrived(h)
        if len(self._unacknowledged) < len(self._waiting):
            raise NotSent(h, self._unacknowledged.sent - len(self._waiting))
        self.go_on()

    def go_on(self) -> None:
        """Send what may be sent."""
        waiting, parts = self._waiting, []
        under_way = self._unacknowledged.size - self._waiting_size
        while waiting and (not under_way or under_way + len(waiting[0]) <= WINDOW):
            under_way += len(waiting[0])
            parts.append(waiting.popleft())
            self._waiting_size -= len(parts[-1])
        if under_way and not self._asked:
            self._asked = True
            parts.append(REQUEST)
        if parts:
            self._write(parts[0] if len(parts) == 1 else b"".join(parts))
