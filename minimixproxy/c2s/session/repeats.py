"""What clients say once more although it is handled, for they could not know that. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

MAX_ACCOUNTS = 2000  # of which something is known, the latest
MAX_MESSAGES = 1000  # of each, the latest
KEPT = 600.0  # seconds for a client to come back, and say it


class Repeats:
    """Messages behind one that was not handled when its session ended (XEP-0198 §4): `h` did not count them.

    Their clients say them again in their next sessions. They are known by their bytes, so each has to bear an id.
    """

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, tuple[float, set[int]]] = OrderedDict()  # until when, and which

    def __len__(self) -> int:
        return len(self._accounts)

    def expect(self, account: str, messages: Sequence[int], now: float) -> None:
        """A session of the account has ended. `messages`: hashes of the bytes of those that it had handled."""
        if not messages:
            return
        expected = set(messages[-MAX_MESSAGES:])
        _until, before = self._accounts.pop(account, (0.0, set[int]()))
        if len(before) + len(expected) <= MAX_MESSAGES:
            expected |= before
        self._accounts[account] = now + KEPT, expected
        while len(self._accounts) > MAX_ACCOUNTS or self._oldest_until < now:
            self._accounts.popitem(last=False)

    @property
    def _oldest_until(self) -> float:
        return next(iter(self._accounts.values()))[0]

    def expects(self, account: str, now: float) -> bool:
        """Tell whether a message of an account may be handled already; those of all others need not be looked at."""
        return account in self._accounts and now <= self._accounts[account][0]

    def takes(self, account: str, message: int, now: float) -> bool:
        """Tell, once, whether a message is handled already."""
        until, messages = self._accounts.get(account, (0.0, set[int]()))
        if message not in messages or now > until:
            return False
        messages.remove(message)
        if not messages:
            del self._accounts[account]
        return True
