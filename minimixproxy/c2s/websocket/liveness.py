"""Whether a client is there still: one that is told nothing, or says nothing, is pinged, and then given up."""

from __future__ import annotations

from typing import Protocol

from minimixproxy.timing.clock import Timer

# Seconds between two looks at a connection: a client that was told nothing meanwhile is pinged, for reverse proxies
# give up after 60. One that has said nothing by so many looks is given up, as by TCP's own probes.
LOOK_EVERY, UNHEARD = 25.0, 10


class Pinging(Protocol):
    """The connection to a client."""

    def ping(self) -> None:
        """Ping the client, if it takes something."""

    def give_up(self) -> None:
        """The client is silent: end the connection."""


class Liveness:
    """Looks at one connection. Whoever reads and writes there notes that here."""

    __slots__ = ("_connection", "_timer", "quiet", "reading", "unheard")

    def __init__(self, connection: Pinging, timer: Timer) -> None:
        """`timer`: whoever starts it for something else ends this."""
        self._connection = connection
        self._timer = timer
        self.quiet = False  # nothing was written since the last look
        self.reading = True  # the client is let say something
        self.unheard = 0  # looks since the client said something

    def watch(self) -> None:
        """Look from now on."""
        self._timer.start(LOOK_EVERY, self._look)

    def _look(self) -> None:
        self.unheard = self.unheard + 1 if self.reading else 0
        if self.unheard > UNHEARD:
            self._connection.give_up()
            return
        if self.quiet or self.unheard > 1:
            self._connection.ping()
        self.quiet = True
        self.watch()
