"""Showing a room the account's one presence: the most available attached session's, not too often."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from minimixproxy.clock import Clock, Timer
from minimixproxy.minimix.presence import presence_to

INTERVAL = 1.0  # seconds between two presences to one room


class RoomPresence:
    """Sends a presence payload to one room when it changed; changes that come too fast are sent as one.

    `send` puts a stanza on the account stream; `occupant` returns room and nick at the time of sending. Of what the
    room sees only a digest is kept: an account can be in many rooms.
    """

    def __init__(self, send: Callable[[bytes], None], occupant: Callable[[], tuple[str, str]], clock: Clock) -> None:
        self._send = send
        self._occupant = occupant
        self._clock = clock
        self._shown = b""
        self._shown_before = b""  # a presence that the room may refuse
        self._wanted = b""  # while the timer runs: the payload
        self._last = 0.0
        self._timer = Timer(clock)

    def joined_with(self, payload: bytes) -> None:
        """The join itself showed this."""
        self._shown = self._shown_before = _digest(payload)
        self._timer.stop()

    def shown_with_a_nick(self, payload: bytes) -> None:
        """A change of nick, which the room may refuse, shows this too."""
        self._shown = _digest(payload)
        self._timer.stop()

    def nick_refused(self) -> None:
        """The room has not seen what came with a change of nick."""
        self._shown = self._shown_before

    def nick_given(self) -> None:
        """The room has seen what came with a change of nick."""
        self._shown_before = self._shown

    def show(self, payload: bytes, stanza_id: str | None = None) -> bool:
        """Show `payload` now or soon; False when the room sees it already."""
        if self._timer.running:
            self._wanted = payload
            return True
        if _digest(payload) == self._shown:
            return False
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
        self._wanted = b""

    def _due(self) -> None:
        wanted, self._wanted = self._wanted, b""
        if _digest(wanted) != self._shown:
            self._put(wanted, None)

    def _put(self, payload: bytes, stanza_id: str | None) -> None:
        self._shown = self._shown_before = _digest(payload)
        self._last = self._clock.seconds()
        room, nick = self._occupant()
        self._send(presence_to(room, nick, payload, stanza_id))


def _digest(payload: bytes) -> bytes:
    return blake2b(payload, digest_size=32).digest()
