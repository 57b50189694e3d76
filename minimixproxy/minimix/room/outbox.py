"""What sessions say to a room while the account is on its way back into it. Pure but for the clock handed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from minimixproxy.bounds.byte_budget import OBJECT, ByteBudget
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza, rewrite
from minimixproxy.xep.stanza_errors import error_reply

MAX_HELD = 100  # stanzas for one room
MAX_BYTES = 256 * 1024
PATIENCE = 60.0  # seconds


class _Held(NamedTuple):
    session: SessionPort
    stanza: Stanza
    deadline: float
    done: Callable[[], None]  # it may be acknowledged to the client now

    def refuse(self, condition: str) -> None:
        """It is not sent."""
        _refuse(self.session, self.stanza, condition)
        self.done()


class Outbox:
    """Stanzas that wait, in their order. Too many, or too long, and their sender is told that they were not sent.

    Beside the bounds of the one room, `budget` is that of all that the account's sessions have kept.
    """

    log = Logger()

    def __init__(self, clock: Clock, budget: ByteBudget) -> None:
        self._clock = clock
        self._budget = budget
        self._held: deque[_Held] = deque()
        self._bytes = 0
        self._timer = Timer(clock)

    def __len__(self) -> int:
        return len(self._held)

    def add(self, session: SessionPort, stanza: Stanza) -> None:
        """Let a session's stanza wait."""
        if len(self._held) >= MAX_HELD or self._bytes + len(stanza.raw) > MAX_BYTES:
            self.log.warn("too much waits for {room}, from {jid}", room=stanza.get("to"), jid=session.jid)
            _refuse(session, stanza, "resource-constraint")
            return
        if not self._budget.take(_cost(stanza)):
            _refuse(session, stanza, "resource-constraint")
            return
        self._held.append(_Held(session, stanza, self._clock.seconds() + PATIENCE, session.hold()))
        self._bytes += len(stanza.raw)
        if not self._timer.running:
            self._timer.start(PATIENCE, self._expire)

    def drop(self, session: SessionPort) -> None:
        """The session is gone, and what it said is not said any more."""
        for held in self._held:
            if held.session is session:
                self._given_up(held)
        self._held = deque(held for held in self._held if held.session is not session)

    def _given_up(self, held: _Held) -> None:
        """It waits no more."""
        self._bytes -= len(held.stanza.raw)
        self._budget.give_back(_cost(held.stanza))

    def release(
        self,
        send: Callable[[SessionPort, Stanza], object],
        when_acknowledged: Callable[[Callable[[], None]], object],
    ) -> None:
        """Send all; `when_acknowledged` calls what it is given once the server has what was sent."""
        for held in self._take():
            send(held.session, held.stanza)
            when_acknowledged(held.done)

    def refuse(self, condition: str) -> None:
        """Tell all senders that their stanzas were not sent."""
        for held in self._take():
            held.refuse(condition)

    def refuse_one(self, session: SessionPort, condition: str) -> None:
        """Tell a session that is in the room no more that its stanzas were not sent."""
        refused = [held for held in self._held if held.session is session]
        self.drop(session)
        for held in refused:
            held.refuse(condition)

    def _take(self) -> deque[_Held]:
        taken, self._held = self._held, deque()
        for held in taken:
            self._given_up(held)
        self._timer.stop()
        return taken

    def _expire(self) -> None:
        now = self._clock.seconds()
        while self._held and self._held[0].deadline <= now:
            held = self._held.popleft()
            self._given_up(held)
            held.refuse("remote-server-timeout")
        if self._held:
            self._timer.start(self._held[0].deadline - now, self._expire)


def _cost(stanza: Stanza) -> int:
    return OBJECT + len(stanza.raw)


def _refuse(session: SessionPort, stanza: Stanza, condition: str) -> None:
    """Answer with an error what may be answered so (RFC 6120 §8.3.1)."""
    if stanza.get("type") not in ("error", "result"):
        session.deliver(rewrite(error_reply(stanza, "wait", condition), {"to": session.jid}))
