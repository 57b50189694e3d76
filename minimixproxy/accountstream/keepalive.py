"""Whether the other end of an account stream is still there, and how its connection is ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.words.xish.xmlstream import STREAM_END_EVENT

from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.xmlstream import FramedXmlStream

CLOSE_TIMEOUT = 5.0  # seconds for a connection to end after our goodbye


class Keepalive:
    """Calls `ping` after silence, and `dead` if the other end stays silent for as long again."""

    def __init__(self, clock: Clock, interval: float, ping: Callable[[], None], dead: Callable[[float], None]) -> None:
        """`interval`: seconds of silence before a ping, and then before giving up. `dead` is given those of silence."""
        self._interval = interval
        self._clock = clock
        self._ping = ping
        self._dead = dead
        self._timer = Timer(clock)
        self._heard = 0.0
        self._pinged = False

    def start(self) -> None:
        """Watch from now on."""
        self.heard()
        self._timer.start(self._interval, self._check)

    def stop(self) -> None:
        """Watch no more."""
        self._timer.stop()

    def heard(self) -> None:
        """Something has come from the other end."""
        self._heard = self._clock.seconds()
        self._pinged = False

    def _check(self) -> None:
        silent = self._clock.seconds() - self._heard
        if self._pinged:
            self._dead(silent)
            return
        wait = self._interval - silent
        if wait <= 0:  # never dead without a ping: this process may have stood still
            wait = self._interval
            self._pinged = True
        self._timer.start(wait, self._check)
        if self._pinged:
            self._ping()


def disconnect(xmlstream: FramedXmlStream, clock: Clock) -> Deferred[None]:
    """End a connection once all is written, by force if that takes too long; the result fires when it has ended."""
    gone: Deferred[None] = Deferred()
    if xmlstream.is_lost:
        gone.callback(None)
        return gone
    late = Timer(clock)

    def ended(_reason: Any = None) -> None:
        late.stop()
        gone.callback(None)

    xmlstream.addOnetimeObserver(STREAM_END_EVENT, ended)
    late.start(CLOSE_TIMEOUT, xmlstream.transport.abortConnection)
    xmlstream.transport.loseConnection()
    return gone
