"""Nick changes on their way: who asked for which nick (XEP-0045 §7.6). Pure but for the clock handed in."""

from __future__ import annotations

from collections import OrderedDict

from minimixproxy.clock import Clock
from minimixproxy.jids import prepare_resource
from minimixproxy.minimix.ports import SessionPort

TIMEOUT = 30.0  # seconds; some changes are never answered
_MAX_PENDING = 32


class NickChanges:
    """Open requests of one occupancy, by prepared nick; the oldest goes when there are too many."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pending: OrderedDict[str, tuple[SessionPort, str | None, float]] = OrderedDict()

    def asked(self, session: SessionPort, nick: str, stanza_id: str | None) -> None:
        """A session's request for `nick` goes to the room."""
        self._expire()
        self._pending[prepare_resource(nick)] = (session, stanza_id, self._clock.seconds() + TIMEOUT)
        self._pending.move_to_end(prepare_resource(nick))
        if len(self._pending) > _MAX_PENDING:
            self._pending.popitem(last=False)

    def answered(self, nick: str) -> tuple[SessionPort, str | None] | None:
        """Return who asked for `nick`, with the id of the request, and forget it; None if nobody did lately."""
        self._expire()
        found = self._pending.pop(prepare_resource(nick), None)
        return None if found is None else found[:2]

    def forget(self, session: SessionPort) -> None:
        """The session is gone: nobody waits for its answers."""
        self._pending = OrderedDict((nick, entry) for nick, entry in self._pending.items() if entry[0] is not session)

    def _expire(self) -> None:
        now = self._clock.seconds()
        while self._pending and next(iter(self._pending.values()))[2] <= now:
            self._pending.popitem(last=False)
