"""Showing a room the account's one presence: the most available attached session's, not too often."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.clock import Clock, Timer
from minimixproxy.minimix.presence import presence_to

INTERVAL = 1.0  # seconds between two presences to one room


class RoomPresence:
    """Sends a presence payload to one room when it changed; changes that come too fast are sent as one.

    `send` puts a stanza on the account stream; `occupant` returns room and nick at the time of sending.
    """

    def __init__(self, send: Callable[[bytes], None], occupant: Callable[[], tuple[str, str]], clock: Clock) -> None:
        self._send = send
        self._occupant = occupant
        self._clock = clock
        self._shown = b""
        self._wanted = b""
        self._last = 0.0
        self._timer = Timer(clock)

    def joined_with(self, payload: bytes) -> None:
        """The join itself showed this."""
        self._shown = self._wanted = payload

    def show(self, payload: bytes, stanza_id: str | None = None) -> bool:
        """Show `payload` now or soon; False when the room sees it already."""
        self._wanted = payload
        if self._timer.running:
            return True
        if payload == self._shown:
            return False
        wait = self._last + INTERVAL - self._clock.seconds()
        if wait > 0:
            self._timer.start(wait, self._due)
        else:
            self._put(stanza_id)
        return True

    def stop(self) -> None:
        """Show nothing more."""
        self._timer.stop()

    def _due(self) -> None:
        if self._wanted != self._shown:
            self._put(None)

    def _put(self, stanza_id: str | None) -> None:
        self._shown = self._wanted
        self._last = self._clock.seconds()
        room, nick = self._occupant()
        self._send(presence_to(room, nick, self._wanted, stanza_id))
