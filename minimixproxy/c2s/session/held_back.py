"""What is held back for one client while it is inactive: the last state of each thing, and messages in order. Pure.

What is told in the end is what would have been told at once, in the same order, less states that another has replaced:
of an occupant who came and went in between, nothing. When something matters, all messages that wait are told before
it, and what is to be known before them: who says something, and who has whose nick. Other states go along if they are
few.
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.weighed import Change, Weighed, What

NOTHING_WAITS = float("inf")
MAX_HELD = 500  # stanzas, and nicks that somebody is to have ...
MAX_BYTES = 512 * 1024  # ... and their bytes, which all sessions of an account share
FEW = 10  # states of a room go along with what matters there

_Key = tuple[str, str, What]  # room, prepared nick, what of it
_OF_OCCUPANTS = (What.TYPING, What.PRIVATE_TYPING, What.MARKER)


class _Held:
    """A stanza that waits. `known`: the client knows already of what it changes; `before`: what that showed."""

    __slots__ = ("before", "known", "weighed")

    def __init__(self, weighed: Weighed, known: bool, before: int | None) -> None:
        self.weighed = weighed
        self.known = known
        self.before = before

    @property
    def is_no_news(self) -> bool:
        """Whether the client knows just that."""
        change = self.weighed.change
        return self.known and change is not None and change.shows is not None and change.shows == self.before


class HeldBack:
    """Stanzas in the order in which they are to be told. `tell` gets those that have waited enough.

    `whose` returns the full JID of the client, for the log.
    """

    log = Logger()

    __slots__ = ("_announced", "_latest", "_next", "_queue", "_size", "_tell", "_whose", "limit")

    def __init__(self, tell: Callable[[Weighed], None], whose: Callable[[], str]) -> None:
        self._tell = tell
        self._whose = whose
        self._queue: dict[int, _Held] = {}
        self._latest: dict[_Key, int] = {}  # which one of the queue may be replaced
        self._announced: set[_Key] = set()  # nicks that a change of nick tells of, in the queue or told
        self._next = 0
        self._size = 0
        self.limit = NOTHING_WAITS  # the sequence up to which no message waits

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def size(self) -> int:
        """Bytes of what waits."""
        return self._size

    # Waiting ---------------------------------------------------------------------------------------------------

    def hold(self, weighed: Weighed) -> None:
        """Have a stanza wait that does not matter. Beyond the bounds, all are told."""
        if weighed.change is None:
            self._hold_message(weighed)
        else:
            self._hold_change(weighed, weighed.change)
        if len(self._queue) > MAX_HELD or self._size > MAX_BYTES or len(self._announced) >= MAX_HELD:
            self.log.debug(
                "{jid} is inactive, and {count} stanzas of rooms wait for it, {bytes} bytes: it is told them now",
                jid=self._whose(),
                count=len(self._queue),
                bytes=self._size,
            )
            self.release()

    def _hold_message(self, weighed: Weighed) -> None:
        self._said_by(weighed)
        self._append(weighed, known=True, before=None)
        if weighed.sequence is not None:
            self.limit = min(self.limit, weighed.sequence - 1)

    def _said_by(self, weighed: Weighed) -> None:
        """That its sender is there stays before a message; who says something types no more."""
        for what in (What.PRESENCE, What.TYPING):
            key = (weighed.room, weighed.sender, what)
            number = self._latest.get(key)
            if number is not None and not self._queue[number].known:
                del self._latest[key]
                if what is What.TYPING:
                    self._drop(number)

    def _hold_change(self, weighed: Weighed, change: Change) -> None:
        key = (weighed.room, weighed.sender, change.what)
        known, before = self._known(key, change)
        if change.what is What.PRESENCE and change.ends:
            self._forget_gone(key)
        if change.ends and not known:
            return
        self._latest[key] = self._append(weighed, known=known, before=before)
        if change.what is What.PRESENCE and not change.ends:
            self._follow(key)
        if change.becomes is not None:
            self._renamed(key, (weighed.room, change.becomes, change.what))

    def _known(self, key: _Key, change: Change) -> tuple[bool, int | None]:
        """Return whether the client knows what is changed, and by what; what the change replaces is dropped."""
        number = self._latest.pop(key, None)
        if number is None:
            announced = key in self._announced
            self._announced.discard(key)
            return change.had or announced, None if announced else change.shown_before
        held = self._queue[number]
        former = held.weighed.change
        assert former is not None
        if former.ends and not change.ends and (change.whose is None or change.whose != former.whose):
            return False, None  # somebody else has the nick now: that the first one left is told, too
        self._drop(number)
        return held.known, held.before

    def _forget_gone(self, key: _Key) -> None:
        """Who is gone types no more, and nobody asks what they have read."""
        for what in _OF_OCCUPANTS:
            number = self._latest.pop((key[0], key[1], what), None)
            if number is not None:
                self._drop(number)

    def _follow(self, key: _Key) -> None:
        """What else an occupant shows stays behind their presence."""
        for what in _OF_OCCUPANTS:
            follower = (key[0], key[1], what)
            number = self._latest.get(follower)
            if number is not None:
                self._next += 1
                self._queue[self._next] = self._queue.pop(number)
                self._latest[follower] = self._next

    def _renamed(self, key: _Key, new: _Key) -> None:
        """By a change of nick the client learns the new one. Nothing replaces it, nor what was before it."""
        del self._latest[key]
        self._latest.pop(new, None)
        self._announced.add(new)

    def _append(self, weighed: Weighed, *, known: bool, before: int | None) -> int:
        self._next += 1
        self._queue[self._next] = _Held(weighed, known, before)
        self._size += weighed.size
        return self._next

    def _drop(self, number: int) -> None:
        self._size -= self._queue.pop(number).weighed.size

    # Telling ---------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Tell all that waits."""
        self._tell_but(set())
        self._announced.clear()

    def release_before(self, weighed: Weighed) -> None:
        """Tell what is to be told before something that matters, in order."""
        self._said_by(weighed)
        of_room = sum(key[0] == weighed.room for key in self._latest)
        waits_on = {number for key, number in self._latest.items() if of_room > FEW or key[0] != weighed.room}
        self._tell_but(waits_on)

    def _tell_but(self, waits_on: set[int]) -> None:
        if len(waits_on) == len(self._queue):
            return
        queue = self._queue
        self._queue = {number: queue[number] for number in sorted(waits_on)}
        self._latest = {key: number for key, number in self._latest.items() if number in waits_on}
        self._size = sum(held.weighed.size for held in self._queue.values())
        for number, held in queue.items():
            if number not in waits_on and not held.is_no_news:
                self._tell(held.weighed)
        self.limit = NOTHING_WAITS
