"""Private messages that no session has yet: kept, and given once. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from minimixproxy.bounds.byte_budget import OBJECT, ByteBudget
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import KeptPrivate, RoomJournal
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.wire.children import top_attribute
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import ForkTemplate, MalformedStanza, Stanza
from minimixproxy.xep.delays import stamp, without_delays
from minimixproxy.xep.muc import says_something

MAX_KEPT = 100  # of one room
MAX_BYTES = 1024 * 1024  # of one room


@dataclass(slots=True, eq=False)
class _Waiting:
    """A message, and the sessions that have it to acknowledge: behind which number in the order of messages they do."""

    private: KeptPrivate
    sender: str
    under_way: dict[SessionPort, int] = field(default_factory=dict)


class PrivateMessages:
    """The private messages of one occupancy that no session has; of too many, in number or bytes of `budget`, the
    oldest go of whoever has said most.

    To a session that acknowledges (XEP-0198) a message is under way until it has done so. If none of those does, it
    waits again.
    """

    log = Logger()

    __slots__ = ("_account", "_budget", "_journal", "_room", "_waiting")

    def __init__(
        self, room: str, journal: RoomJournal, budget: ByteBudget, kept: Iterable[KeptPrivate] = (), account: str = ""
    ) -> None:
        self._room = room
        self._account = account
        self._journal = journal
        self._budget = budget
        self._waiting: list[_Waiting] = []
        for private in kept:
            if self._has_place(private, sender := _sender_of(private)):
                self._waiting.append(_Waiting(private, sender))
            else:
                journal.private_given(private.sequence)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[KeptPrivate]:
        return (waiting.private for waiting in self._waiting)

    def keep(self, stanza: Stanza, now: float, to: Iterable[SessionPort] = (), sender: str | None = None) -> None:
        """Keep a message with the time of its arrival, if it says something. `to`: sessions that are given it now.

        `sender`: who says it (see `Senders`), where that is more than the nick by which it comes.
        """
        if not says_something(stanza):
            return
        raw = stamp(without_delays(stanza, self._room), self._room, now)
        private = KeptPrivate(self._journal.next_sequence(), raw)
        sender = sender if sender is not None else _sender_of(private)
        if self._has_place(private, sender):
            self._waiting.append(_Waiting(private, sender, dict.fromkeys(to, private.sequence)))
            self._journal.private_kept(private)

    def _has_place(self, private: KeptPrivate, sender: str) -> bool:
        """Make place for one; False if there is none even without the others."""
        while len(self._waiting) >= MAX_KEPT or not self._budget.take(_cost(private)):
            first = self._first_to_go(private, sender)
            if first is None or not first.under_way:
                self.log.warn(
                    "more than {limit} private messages or {bytes} bytes of {room} wait for a client of {account}, or "
                    "too much of all rooms: the oldest of {room}, of who has said most, is lost, or a new one that is "
                    "alone too large",
                    account=self._account,
                    limit=MAX_KEPT,
                    bytes=self._budget.limit,
                    room=self._room,
                )
            if first is None:
                return False
            self._done(first)
        return True

    def _first_to_go(self, new: KeptPrivate, sender: str) -> _Waiting | None:
        """Return the oldest message of the occupant who has most bytes waiting, those of a new message among them."""
        costs: Counter[str] = Counter()
        for waiting in self._waiting:
            costs[waiting.sender] += _cost(waiting.private)
        if sender in costs:
            costs[sender] += _cost(new)
        most = max(costs, key=costs.__getitem__, default=None)
        return next((waiting for waiting in self._waiting if waiting.sender == most), None)

    def _done(self, waiting: _Waiting) -> None:
        """A message waits no more."""
        self._waiting.remove(waiting)
        self._budget.give_back(_cost(waiting.private))
        self._journal.private_given(waiting.private.sequence)

    def close(self) -> None:
        """The occupancy is over, and other rooms can have the bytes. Who is being given messages gets them still."""
        self._budget.close()

    def give(self, to: str) -> LazyStanzas:
        """Return all that wait, addressed to a session; each waits no more when it is taken."""
        self._settle()

        def given() -> Iterator[bytes]:
            while self._waiting:
                waiting = self._waiting[0]
                self._done(waiting)
                yield from self._addressed(waiting, to)

        return LazyStanzas(len(self._waiting), given())

    def entrust(self, session: SessionPort) -> LazyStanzas:
        """Return all that wait, for a session that acknowledges: see `arrived`, and `gone`."""
        self._settle()
        behind, entrusted = self._journal.next_sequence(), tuple(self._waiting)
        for waiting in entrusted:
            waiting.under_way[session] = behind
        stanzas = (stanza for waiting in entrusted for stanza in self._addressed(waiting, session.jid))
        return LazyStanzas(len(entrusted), stanzas)

    def restored(self, session: SessionPort) -> None:
        """Another process had entrusted a session with all that wait: it may have some still to acknowledge."""
        behind = self._journal.next_sequence()
        for waiting in self._waiting:
            waiting.under_way[session] = behind

    def arrived(self, session: SessionPort) -> None:
        """A session has acknowledged something: what it has waits no more."""
        if not self._waiting:
            return
        reached = min(session.reached, self._journal.given_out())
        for waiting in tuple(self._waiting):
            if waiting.under_way.get(session, math.inf) <= reached:
                self._done(waiting)

    def _settle(self) -> None:
        for session in {session for waiting in self._waiting for session in waiting.under_way}:
            self.arrived(session)

    def gone(self, session: SessionPort) -> None:
        """A session is not there any more: what it has not acknowledged waits for another."""
        self.arrived(session)
        for waiting in self._waiting:
            waiting.under_way.pop(session, None)

    def _addressed(self, waiting: _Waiting, to: str) -> Iterator[bytes]:
        try:
            yield ForkTemplate(waiting.private.raw).copy(to)
        except MalformedStanza as error:
            self.log.error(
                "a private message kept of {room} for {account} is damaged, and lost: {error} ({size} bytes)",
                account=self._account,
                room=self._room,
                error=error,
                size=len(waiting.private.raw),
            )


def _sender_of(private: KeptPrivate) -> str:
    try:
        return top_attribute(private.raw, "from") or ""
    except MalformedStanza:  # kept, and damaged: found out when it is given
        return ""


def _cost(private: KeptPrivate) -> int:
    return OBJECT + len(private.raw)
