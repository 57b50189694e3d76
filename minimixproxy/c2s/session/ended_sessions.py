"""How much of their clients' stanzas sessions had handled that are over (XEP-0198 §5, `h` of `<failed/>`). Pure."""

from __future__ import annotations

from collections import OrderedDict

PER_ACCOUNT = 100  # the latest of each
TOGETHER = 2000


class EndedSessions:
    """Bounded, with a share for each account: who ends many sessions pushes out those of nobody else.

    Only where there are so many accounts that there is no place for one more does the account lose one that has most.
    """

    def __init__(self) -> None:
        # By account, the one whose latest session ended longest ago first; and by id, the oldest first.
        self._handled: OrderedDict[str, OrderedDict[str, int]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, session_id: str, account: str, handled: int) -> None:
        """A session is over, of whose client so many stanzas were handled."""
        own = self._handled.setdefault(account, OrderedDict())
        self._handled.move_to_end(account)
        own[session_id] = handled
        self._count += 1
        if len(own) > PER_ACCOUNT:
            self._forget_oldest(account)
        elif self._count > TOGETHER:
            # Among those that have as many, the first one: nothing of its has ended for longest.
            self._forget_oldest(max(self._handled, key=lambda account: len(self._handled[account])))

    def update(self, session_id: str, account: str, handled: int) -> None:
        """More is handled of one that is known; of others nothing is noted."""
        own = self._handled.get(account)
        if own is not None and session_id in own:
            own[session_id] = handled

    def handled(self, session_id: str, account: str) -> int | None:
        """Return how many stanzas a session of an account had handled; None if that is not known."""
        own = self._handled.get(account)
        return own.get(session_id) if own is not None else None

    def _forget_oldest(self, account: str) -> None:
        own = self._handled[account]
        own.popitem(last=False)
        self._count -= 1
        if not own:
            del self._handled[account]
