"""Writing once per receiver and reactor turn, however many stanzas there were for it."""

from __future__ import annotations

from typing import Protocol

from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.turn_shares import TurnShares


class Waiting(Protocol):
    """Something with output that waits for the end of the turn."""

    def turn_ended(self) -> None:
        """Write it."""

    def abort(self) -> None:
        """Writing failed by a fault of ours: give up on this one."""


class TurnEnd:
    """Flushes what was added during a turn of the reactor, all with one delayed call."""

    log = Logger()

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: list[Waiting] = []
        self._begun = False
        self.shares = TurnShares(clock)  # how much time there is in a turn for what is long

    def add(self, waiting: Waiting) -> None:
        """Have `waiting` flushed when the current turn is over. Do not add it twice in a turn."""
        if not self._waiting and not self._begun:
            self._clock.callLater(0, self._flush)
        self._waiting.append(waiting)

    def begin(self) -> None:
        """What follows is one turn, until `end`: for whoever knows better than the reactor."""
        self._begun = True

    def end(self) -> None:
        """Flush now."""
        self._begun = False
        if self._waiting:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            try:
                one.turn_ended()
            except Exception:  # noqa: BLE001 (one receiver's fault must not keep the others from their output)
                self.log.failure("while writing to a client")
                one.abort()
