"""Private messages that no session was there to get: kept, and given once. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from minimixproxy.bounds.byte_budget import OBJECT, ByteBudget
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import KeptPrivate, RoomJournal
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import ForkTemplate, MalformedStanza, Stanza
from minimixproxy.xep.delays import stamp, without_delays
from minimixproxy.xep.muc import says_something

MAX_KEPT = 100  # of one room
MAX_BYTES = 1024 * 1024  # of one room


class PrivateMessages:
    """The private messages of one occupancy that wait; of too many, in number or bytes of `budget`, the oldest go."""

    log = Logger()

    def __init__(self, room: str, journal: RoomJournal, budget: ByteBudget, kept: Iterable[KeptPrivate] = ()) -> None:
        self._room = room
        self._journal = journal
        self._budget = budget
        self._waiting: deque[KeptPrivate] = deque()
        for private in kept:
            if self._has_place(private):
                self._waiting.append(private)
            else:
                journal.private_given(private.sequence)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[KeptPrivate]:
        return iter(self._waiting)

    def keep(self, stanza: Stanza, now: float) -> None:
        """Keep a message with the time of its arrival, if it says something."""
        if not says_something(stanza):
            return
        raw = stamp(without_delays(stanza, self._room), self._room, now)
        private = KeptPrivate(self._journal.next_sequence(), raw)
        if self._has_place(private):
            self._waiting.append(private)
            self._journal.private_kept(private)

    def _has_place(self, private: KeptPrivate) -> bool:
        """Make place for one; False if there is none even without the others."""
        while len(self._waiting) >= MAX_KEPT or not self._budget.take(_cost(private)):
            self.log.warn(
                "more than {limit} private messages or {bytes} bytes of {room} wait for a client, or too much of all "
                "rooms: the oldest of {room} is lost, or a new one that is alone too large",
                limit=MAX_KEPT,
                bytes=self._budget.limit,
                room=self._room,
            )
            if not self._waiting:
                return False
            self._take()
        return True

    def _take(self) -> KeptPrivate:
        private = self._waiting.popleft()
        self._budget.give_back(_cost(private))
        self._journal.private_given(private.sequence)
        return private

    def close(self) -> None:
        """The occupancy is over, and other rooms can have the bytes. Who is being given messages gets them still."""
        self._budget.close()
        self._budget = ByteBudget(self._budget.limit)
        for private in self._waiting:
            self._budget.take(_cost(private))

    def give(self, to: str) -> LazyStanzas:
        """Return all that wait, addressed to a session; each waits no more when it is taken."""

        def given() -> Iterator[bytes]:
            while self._waiting:
                private = self._take()
                try:
                    raw = ForkTemplate(private.raw).copy(to)
                except MalformedStanza as error:
                    self.log.error(
                        "a private message kept of {room} is damaged, and lost: {error} ({size} bytes)",
                        room=self._room,
                        error=error,
                        size=len(private.raw),
                    )
                else:
                    yield raw

        return LazyStanzas(len(self._waiting), given())


def _cost(private: KeptPrivate) -> int:
    return OBJECT + len(private.raw)
