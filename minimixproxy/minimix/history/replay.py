"""The messages that a joining client is given, made as they are asked for. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from minimixproxy.minimix.interfaces.journal import KeptMessage
from minimixproxy.wire.stanza import rewrite
from minimixproxy.xep.delays import stamp


class Replay:
    """Kept messages, oldest first, each with the room's delay stamp. They can be had once.

    One that cannot be made is left out, and `faulty` is told.
    """

    def __init__(
        self,
        room: str,
        messages: Sequence[KeptMessage],
        newest: int,
        faulty: Callable[[KeptMessage, Exception], None],
        seen: int | None = None,
    ) -> None:
        """`newest`: the sequence up to which a client has seen everything that was given all of these.

        `seen`: the sequence up to which it has seen everything already; some of these may be before it.
        """
        self._room = room
        self._messages = messages
        self._newest = newest
        self._faulty = faulty
        self._seen = seen
        self._next = 0
        self._then: Callable[[], None] | None = None

    def __len__(self) -> int:
        """How many messages there are in all, faulty ones too."""
        return len(self._messages)

    def __iter__(self) -> Iterator[bytes]:
        return self._made(lambda raw: raw)

    def to(self, jid: str) -> Iterator[bytes]:
        """Return the messages addressed to a client."""
        return self._made(lambda raw: rewrite(raw, {"to": jid}))

    def when_taken(self, then: Callable[[], None] | None) -> None:
        """Call `then`, once, when all was taken; None: nobody is to know any more."""
        self._then = then

    def _made(self, finish: Callable[[bytes], bytes]) -> Iterator[bytes]:
        while self._next < len(self._messages):
            message = self._messages[self._next]
            self._next += 1
            try:
                raw = finish(shown(message, self._room))
            except Exception as error:  # noqa: BLE001 (whatever is wrong with it, the client gets the others)
                self._faulty(message, error)
            else:
                yield raw
        then, self._then = self._then, None
        if then is not None:
            then()

    @property
    def finished(self) -> bool:
        """Whether all was taken."""
        return self._next == len(self._messages)

    @property
    def start(self) -> int:
        """The sequence up to which the client had seen everything before."""
        return self._at_least_seen(self._messages[0].sequence - 1 if self._messages else self._newest)

    @property
    def reached(self) -> int:
        """The sequence up to which the client has seen everything."""
        return self._newest if self.finished else self._at_least_seen(self._messages[self._next].sequence - 1)

    def _at_least_seen(self, sequence: int) -> int:
        return sequence if self._seen is None else max(self._seen, sequence)


def shown(message: KeptMessage, room: str) -> bytes:
    """Return a message with its delay stamp, which is made now: most messages are never replayed.

    Raises `MalformedStanza` if there is nothing in it.
    """
    return message.raw if message.stamped else stamp(message.raw, room, message.time)
