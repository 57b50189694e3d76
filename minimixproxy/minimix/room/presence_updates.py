"""Showing a room the account's one presence: the most available attached session's, not too often."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b

from minimixproxy.minimix.room.own_presence import presence_to
from minimixproxy.timing.clock import Clock, Timer

INTERVAL = 1.0  # seconds between two presences to one room


class PresenceUpdates:
    """Sends a presence payload to one room when it changed; changes that come too fast are sent as one.

    `send` puts a stanza on the account stream; `occupant` returns room and nick at the time of sending. Of what the
    room sees only a digest is kept: an account can be in many rooms.
    """

    __slots__ = ("_clock", "_last", "_occupant", "_send", "_shown", "_timer", "_wanted", "with_a_nick")

    def __init__(self, send: Callable[[bytes], None], occupant: Callable[[], tuple[str, str]], clock: Clock) -> None:
        self._send = send
        self._occupant = occupant
        self._clock = clock
        self._shown = b""
        self.with_a_nick: bytes | None = None  # digest of what a change of nick shows, until the answer, if it is news
        self._wanted = b""  # while the timer runs: the payload
        self._last = 0.0
        self._timer = Timer(clock)

    def joined_with(self, payload: bytes) -> None:
        """The join itself showed this."""
        self._shown, self.with_a_nick = digest(payload), None
        self._timer.stop()

    def shown_with_a_nick(self, payload: bytes) -> None:
        """A change of nick shows this too, if the room agrees to it, and takes more of it than the nick."""
        shown = digest(payload)
        self.with_a_nick = shown if shown != self._shown else None

    def nick_answered(self, *, taken: bool) -> None:
        """Whether the room shows now what came with a change of nick."""
        if taken and self.with_a_nick is not None:
            self._shown = self.with_a_nick
        self.with_a_nick = None

    def show(self, payload: bytes, stanza_id: str | None = None) -> bool:
        """Show `payload` now or soon; False when the room sees it already."""
        if digest(payload) in (self._shown, self.with_a_nick):
            self._timer.stop()  # what was to be shown soon is past
            return False
        if self._timer.running:
            self._wanted = payload
            return True
        wait = self._last + INTERVAL - self._clock.seconds()
        if wait > 0:
            self._wanted = payload
            self._timer.start(wait, self._due)
        else:
            self._put(payload, stanza_id)
        return True

    def stop(self) -> None:
        """Show nothing more."""
        self._timer.stop()
        self._wanted, self.with_a_nick = b"", None

    def _due(self) -> None:
        wanted, self._wanted = self._wanted, b""
        if digest(wanted) not in (self._shown, self.with_a_nick):
            self._put(wanted, None)

    def _put(self, payload: bytes, stanza_id: str | None) -> None:
        self._shown, self.with_a_nick = digest(payload), None
        self._last = self._clock.seconds()
        room, nick = self._occupant()
        self._send(presence_to(room, nick, payload, stanza_id))


@lru_cache(maxsize=4)
def digest(payload: bytes) -> bytes:
    """Return what a payload is known by: the same one is shown to room after room."""
    return blake2b(payload, digest_size=32).digest()
