"""What sessions show, as it is kept: within the bytes that an account's clients may have. Pure."""

from __future__ import annotations

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.minimix.room.own_presence import presence_payload, reduced_payload
from minimixproxy.wire.stanza import Stanza


class SessionPresences:
    """One presence of each session, as a payload (see `presence_payload`).

    One that has no place in `budget` is reduced to how available it says one is.
    """

    __slots__ = ("_budget", "_caps", "_costs")

    def __init__(self, budget: ByteBudget, caps: bytes) -> None:
        self._budget = budget
        self._caps = caps
        self._costs: dict[SessionPort, int] = {}

    def keep(self, session: SessionPort, presence: Stanza) -> bytes:
        """Return what is kept of a presence, in place of the session's former one."""
        self.forget(session)
        payload = presence_payload(presence, self._caps)
        if not self._budget.take(len(payload)):
            return reduced_payload(payload, self._caps)
        self._costs[session] = len(payload)
        return payload

    def forget(self, session: SessionPort) -> None:
        """Nothing of the session is kept any more."""
        self._budget.give_back(self._costs.pop(session, 0))
