"""The last reasons why accounts are not in rooms, for whoever is asked. In memory, bounded. No I/O.

They are not on disk: after a restart accounts try to come back into the rooms that they were in, which tells anew why
that fails; what ended before is in the log.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from minimixproxy.bounds.byte_budget import OBJECT
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.endings import Ended, Ending

MAX_ROOMS = 50  # of one account; of more the oldest are forgotten
ACCOUNT_BYTES = 32 * 1024  # of one account; the same
ALL_BYTES = 8 * 1024 * 1024  # of all; then that account is forgotten of which nothing was noted for longest
MAX_TEXT = 300  # characters of what others have written


@dataclass(slots=True)
class _Account:
    rooms: OrderedDict[str, Ended] = field(default_factory=OrderedDict)
    size: int = OBJECT  # bytes, about


class Endings:
    """By account and room, both bare JIDs. An account need not be held to have some."""

    log = Logger()

    def __init__(self) -> None:
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        self._size = 0
        self._told = False  # that there is no place for more

    def __getitem__(self, account: str) -> Mapping[str, Ended]:
        """Return what is known of an account, by room; what was noted last comes last."""
        known = self._accounts.get(account)
        return known.rooms if known is not None else {}

    def note(self, account: str, room: str, ending: Ending, when: float) -> None:
        """Note why an account is not in a room, in place of what was noted before. `when`: since the epoch."""
        self.joined(account, room)
        ended = Ended(when, _cut(ending))
        known = self._accounts.get(account)
        if known is None:
            known = self._accounts[account] = _Account()
            self._size += known.size
        self._accounts.move_to_end(account)
        known.rooms[room] = ended
        self._grow(known, _size(room, ended))
        while len(known.rooms) > MAX_ROOMS or known.size > ACCOUNT_BYTES:
            self._grow(known, -_size(*known.rooms.popitem(last=False)))
        while self._size > ALL_BYTES:
            self._forget_oldest()

    def joined(self, account: str, room: str) -> None:
        """The account is in the room: why it was not is of no interest any more."""
        known = self._accounts.get(account)
        ended = known.rooms.pop(room, None) if known is not None else None
        if known is not None and ended is not None:
            self._grow(known, -_size(room, ended))
            if not known.rooms:
                self.forgotten(account)

    def forgotten(self, account: str) -> None:
        """Nothing is to be known of the account."""
        known = self._accounts.pop(account, None)
        if known is not None:
            self._size -= known.size

    def _grow(self, known: _Account, size: int) -> None:
        known.size += size
        self._size += size

    def _forget_oldest(self) -> None:
        self.forgotten(next(iter(self._accounts)))
        if not self._told:
            self._told = True
            self.log.info("why accounts are not in rooms is known of the last ones only: there are too many")


def _cut(ending: Ending) -> Ending:
    return Ending(ending.why, ending.condition[:MAX_TEXT], ending.text[:MAX_TEXT], ending.by[:MAX_TEXT])


def _size(room: str, ended: Ended) -> int:
    ending = ended.ending
    return OBJECT + sum(len(text.encode()) for text in (room, ending.condition, ending.text, ending.by))
