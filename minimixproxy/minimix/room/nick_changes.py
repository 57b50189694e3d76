"""Nick changes on their way: who asked for which nick (XEP-0045 §7.6), and is answered. Pure but for the clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from minimixproxy.bounds.byte_budget import OBJECT, ByteBudget
from minimixproxy.jids import prepare_resource
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.xep import muc
from minimixproxy.xep.stanza_errors import error_payload

TIMEOUT = 30.0  # seconds; rooms leave some changes unanswered
_MAX_PENDING = 32


_Key = tuple[str, SessionPort, str | None]  # prepared nick, who asks, with which id


class _Asked(NamedTuple):
    session: SessionPort
    nick: str
    id: str | None
    deadline: float

    @property
    def cost(self) -> int:
        """The bytes that it takes to remember, about."""
        return OBJECT + len(self.nick.encode()) + len((self.id or "").encode())


class NickChanges:
    """Open requests of one occupancy. What the room does not answer is answered here, by an error.

    Then `unanswered` is called.
    """

    __slots__ = ("_budget", "_clock", "_pending", "_room", "_timer", "_unanswered")

    def __init__(self, room: str, clock: Clock, budget: ByteBudget, unanswered: Callable[[], None]) -> None:
        self._room = room
        self._unanswered = unanswered
        self._budget = budget
        self._clock = clock
        self._pending: OrderedDict[_Key, _Asked] = OrderedDict()  # the oldest first
        self._timer = Timer(clock)

    def asked(self, session: SessionPort, nick: str, stanza_id: str | None) -> bool:
        """A session's request for `nick` is to go to the room; False: too many are open, and it was told so."""
        key = prepare_resource(nick), session, stanza_id
        asked = _Asked(session, nick, stanza_id, self._clock.seconds() + TIMEOUT)
        self._take(key)  # nobody can tell the answers to two of the same id apart
        if len(self._pending) >= _MAX_PENDING or not self._budget.take(asked.cost):
            self._refuse(asked, "resource-constraint")
            return False
        self._pending[key] = asked
        if not self._timer.running:
            self._timer.start(TIMEOUT, self._expire)
        return True

    def refused(self, nick: str) -> tuple[SessionPort, str | None] | None:
        """The room does not give `nick`: return who asked first, with the id, and forget it; None if nobody did."""
        keys = self._of(nick)
        found = self._take(keys[0]) if keys else None
        return None if found is None else (found.session, found.id)

    def given(self, nick: str) -> bool:
        """The room has given `nick`: it answers all who asked for it. False if nobody did lately."""
        keys = self._of(nick)
        for key in keys:
            self._take(key)
        return bool(keys)

    def _of(self, nick: str) -> list[_Key]:
        prepared = prepare_resource(nick)
        return [key for key in self._pending if key[0] == prepared]

    def _take(self, key: _Key) -> _Asked | None:
        """Return and forget a request."""
        found = self._pending.pop(key, None)
        if found is not None:
            self._budget.give_back(found.cost)
        return found

    def forget(self, session: SessionPort) -> None:
        """The session is gone: nobody waits for its answers."""
        for key in [key for key in self._pending if key[1] is session]:
            self._take(key)

    def refuse_all(self) -> None:
        """The account is out of the room, which answers nothing any more."""
        self._timer.stop()
        for key in list(self._pending):
            asked = self._take(key)
            if asked is not None:
                self._refuse(asked, "recipient-unavailable")

    def _refuse(self, asked: _Asked, condition: str) -> None:
        error = error_payload("wait", condition)
        asked.session.deliver(muc.presence_error(self._room, asked.nick, asked.session.jid, asked.id, error))

    def _expire(self) -> None:
        now = self._clock.seconds()
        while self._pending and (oldest := next(iter(self._pending.values()))).deadline <= now:
            self._take(next(iter(self._pending)))
            self._refuse(oldest, "remote-server-timeout")
        self._unanswered()
        if self._pending and not self._timer.running:
            self._timer.start(next(iter(self._pending.values())).deadline - now, self._expire)
