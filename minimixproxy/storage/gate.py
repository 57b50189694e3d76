"""The gate: what a client is told waits until everything that was journalled before it is on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minimixproxy.logs.logger import Logger
from minimixproxy.timing.turn_end import TurnEnd
from minimixproxy.wire.lazy_stanzas import Output

#: What waits, in order, each with what gives it to its client.
Waiting = list[tuple[Callable[[Any], None], Any]]


class Gate:
    """Output passes at once; or it waits, in order, in a list that whoever closed the gate brought along."""

    log = Logger()

    __slots__ = ("_turn_end", "waiting")

    def __init__(self, turn_end: TurnEnd) -> None:
        self._turn_end = turn_end
        self.waiting: Waiting | None = None  # None: the gate is open

    def gated(self, deliver: Callable[[Output], None]) -> Callable[[Output], None]:
        """Return a function like `deliver` whose data may have to wait. It is called for each forked copy."""
        return _Passage(self, deliver).take

    def close(self, waiting: Waiting) -> None:
        """Have output wait in `waiting` from now on, until that is released."""
        self.waiting = waiting

    def release(self, waiting: Waiting) -> None:
        """Deliver what waited, and what is said meanwhile, behind it. Opens the gate if nothing waits for another list.

        It is one turn: each client is written to once. One receiver's fault costs only its own.
        """
        self._turn_end.begin()
        for deliver, data in waiting:  # the list may grow while it is gone through
            try:
                deliver(data)
            except Exception:  # noqa: BLE001 (the edge: logged, and the others get theirs)
                self.log.failure("a fault while a session was given what waited for it")
        if self.waiting is waiting:
            self.waiting = None
        waiting.clear()
        self._turn_end.end()


class _Passage:
    """One way through the gate."""

    __slots__ = ("_deliver", "_gate")

    def __init__(self, gate: Gate, deliver: Callable[[Any], None]) -> None:
        self._gate = gate
        self._deliver = deliver

    def take(self, data: Any) -> None:
        """Deliver `data` now, or have it wait."""
        waiting = self._gate.waiting
        if waiting is None:
            self._deliver(data)
        else:
            waiting.append((self._deliver, data))
