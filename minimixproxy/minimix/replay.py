"""The messages that a joining client is given, made as they are asked for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from minimixproxy.minimix.delays import stamp
from minimixproxy.minimix.journal import KeptMessage


class Replay:
    """Kept messages, oldest first, each with the room's delay stamp. They can be had once."""

    def __init__(self, room: str, messages: Sequence[KeptMessage], newest: int) -> None:
        """`newest`: the sequence up to which a client has seen everything that was given all of these."""
        self._room = room
        self._messages = messages
        self._newest = newest
        self._next = 0
        self.then: Callable[[], None] | None = None  # called once, when all was taken

    def __len__(self) -> int:
        """How many messages there are in all."""
        return len(self._messages)

    def __iter__(self) -> Iterator[bytes]:
        while self._next < len(self._messages):
            message = self._messages[self._next]
            self._next += 1
            yield shown(message, self._room)
        then, self.then = self.then, None
        if then is not None:
            then()

    @property
    def finished(self) -> bool:
        """Whether all was taken."""
        return self._next == len(self._messages)

    @property
    def start(self) -> int:
        """The sequence up to which the client had seen everything before."""
        return self._messages[0].sequence - 1 if self._messages else self._newest

    @property
    def reached(self) -> int:
        """The sequence up to which the client has seen everything."""
        return self._newest if self.finished else self._messages[self._next].sequence - 1


def shown(message: KeptMessage, room: str) -> bytes:
    """Return a message with its delay stamp, which is made now: most messages are never replayed."""
    return message.raw if message.stamped else stamp(message.raw, room, message.time)
