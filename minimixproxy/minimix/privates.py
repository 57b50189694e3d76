"""Private messages that no session was there to get: kept, and given once. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator

from twisted.logger import Logger

from minimixproxy.lazystanzas import LazyStanzas
from minimixproxy.minimix.delays import with_delay
from minimixproxy.minimix.journal import KeptPrivate, RoomJournal
from minimixproxy.stanza import NS_CLIENT, ForkTemplate, Stanza

MAX_KEPT = 100  # of one room


class Privates:
    """The private messages of one occupancy that wait; of too many, the oldest go."""

    log = Logger()

    def __init__(self, room: str, journal: RoomJournal, kept: Iterable[KeptPrivate] = ()) -> None:
        self._room = room
        self._journal = journal
        self._waiting = deque(kept)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[KeptPrivate]:
        return iter(self._waiting)

    def keep(self, stanza: Stanza, now: float) -> None:
        """Keep a message with the time of its arrival, if it says something."""
        if not stanza.has_payload(NS_CLIENT, "body"):
            return
        private = KeptPrivate(self._journal.next_sequence(), with_delay(stanza, self._room, now))
        self._waiting.append(private)
        self._journal.private_kept(private)
        if len(self._waiting) > MAX_KEPT:
            self.log.warn("more than {limit} private messages wait in {room}", limit=MAX_KEPT, room=self._room)
            self._journal.private_given(self._waiting.popleft().sequence)

    def give(self, to: str) -> LazyStanzas:
        """Return all that wait, addressed to a session; each waits no more when it is taken."""

        def given() -> Iterator[bytes]:
            while self._waiting:
                private = self._waiting.popleft()
                self._journal.private_given(private.sequence)
                yield ForkTemplate(private.raw).copy(to)

        return LazyStanzas(len(self._waiting), given())
