"""IQs that wait for their answer, matched on (peer, id), never on id alone. Pure but for the clock handed in."""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from minimixproxy.bounds.shares import Shares
from minimixproxy.jids import parse_jid
from minimixproxy.timing.clock import Clock, Timer

Asker = TypeVar("Asker")


@dataclass(slots=True)
class PendingIQ(Generic[Asker]):
    """One IQ on its way: who asked, under which id, by which address of the peer."""

    asker: Asker
    id: str
    peer: str
    deadline: float
    kind: str = ""
    wire_id: str = ""  # the id under which the peer was asked


MAX_OPEN = 2000  # IQs of one account and direction
MAX_ID_BYTES = 1024 * 1024  # of the ids of all open IQs of one direction


class TableFull(Exception):
    """As many IQs are open as are allowed, or their ids have as many bytes."""


class OpenIQs(Generic[Asker]):
    """Open IQs of one direction. `expired` is called for each that `timeout` seconds passed over.

    No room, with its occupants, has more of them open, or more bytes of their ids, than are left for all.

    Ids on the wire have nothing in common: servers show them to the occupant that is asked, and who saw one of an
    account whose address is known would know the account by others in rooms that hide addresses.
    """

    def __init__(self, clock: Clock, timeout: float, limit: int, expired: Callable[[PendingIQ[Asker]], None]) -> None:
        self._clock = clock
        self._timeout = timeout
        self._limit = limit
        self._expired = expired
        self._shares: Shares[str] = Shares()  # by room
        self._bytes = 0  # of ids
        self._bytes_of: Counter[str] = Counter()  # the same, by room
        self._open: OrderedDict[tuple[Hashable, str], PendingIQ[Asker]] = OrderedDict()
        self._timer = Timer(clock)

    def __len__(self) -> int:
        return len(self._open)

    def add(self, key: Hashable, asker: Asker, stanza_id: str, peer: str, kind: str = "", wire_id: str = "") -> str:
        """Open an IQ whose answer is to come from `key`; return its id on the wire. Raises `TableFull`.

        `wire_id`: the one that it has already, if it is asked again.
        """
        size = len(stanza_id.encode())
        if len(self._open) >= self._limit or self._bytes + size > MAX_ID_BYTES:
            raise TableFull
        room = _room_of(peer)
        if not self._shares.leave_one([room], self._limit - len(self._open)):
            raise TableFull
        if self._bytes_of[room] + size > MAX_ID_BYTES - self._bytes:
            raise TableFull
        self._shares.take([room])
        self._count(room, size)
        self._bytes += size
        wire_id = wire_id or secrets.token_hex(8)
        deadline = self._clock.seconds() + self._timeout
        self._open[(key, wire_id)] = PendingIQ(asker, stanza_id, peer, deadline, kind, wire_id)
        if not self._timer.running:
            self._timer.start(self._timeout, self._sweep)
        return wire_id

    def take(self, key: Hashable, wire_id: str) -> PendingIQ[Asker] | None:
        """Return and close the IQ that this answers; None when nobody asked."""
        pending = self._open.pop((key, wire_id), None)
        if pending is not None:
            self._closed(pending)
        return pending

    def _closed(self, pending: PendingIQ[Asker]) -> None:
        size, room = len(pending.id.encode()), _room_of(pending.peer)
        self._bytes -= size
        self._shares.give_back([room])
        self._count(room, -size)

    def _count(self, room: str, size: int) -> None:
        self._bytes_of[room] += size
        if not self._bytes_of[room]:
            del self._bytes_of[room]

    def drop(self, unwanted: Callable[[PendingIQ[Asker]], bool]) -> list[PendingIQ[Asker]]:
        """Close and return the IQs for which `unwanted` is true."""
        dropped = [pending for pending in self._open.values() if unwanted(pending)]
        self._open = OrderedDict((key, pending) for key, pending in self._open.items() if not unwanted(pending))
        for pending in dropped:
            self._closed(pending)
        if not self._open:
            self._timer.stop()
        return dropped

    def _sweep(self) -> None:
        now = self._clock.seconds()
        while self._open and next(iter(self._open.values())).deadline <= now:
            _, pending = self._open.popitem(last=False)
            self._closed(pending)
            self._expired(pending)
        if self._open and not self._timer.running:
            self._timer.start(next(iter(self._open.values())).deadline - now, self._sweep)


def _room_of(peer: str) -> str:
    """Return the room that a peer is, or is an occupant of: a bare JID; "" of the account's own server for ""."""
    return parse_jid(peer).bare if peer else ""
