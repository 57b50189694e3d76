"""The last marker of each occupant of one room (XEP-0333), for devices that were away when it was said. Pure.

Markers are no history: none counts as a message, and of an occupant's only the last one says anything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Container, Sequence
from heapq import merge
from operator import attrgetter
from typing import NamedTuple

from minimixproxy.bounds.byte_budget import OBJECT, ByteBudget
from minimixproxy.minimix.interfaces.journal import KeptMessage

MAX_MARKERS = 100  # occupants of a room whose last marker is kept: those that have said one last
MAX_BYTES = 64 * 1024  # of all of them
MAX_SIZE = 2048  # bytes of a marker that is kept


class _Marker(NamedTuple):
    """`about`: the sequence of the message that it is about; None if that is not known."""

    message: KeptMessage
    about: int | None


class DisplayedMarkers:
    """By occupant. Each has a place in the order of messages, behind the one that it is about."""

    __slots__ = ("_budget", "_last")

    def __init__(self, budget: ByteBudget | None = None) -> None:
        """`budget`: the bytes that they may have; what does not fit costs the oldest."""
        self._budget = budget
        self._last: OrderedDict[str, _Marker] = OrderedDict()

    def __len__(self) -> int:
        return len(self._last)

    def known_as(self, sender: str, stanza_id: str | None, time: float) -> int | None:
        """Return the sequence of the known marker of that sender, if one told of the past is that, or one before."""
        known = self._last.get(sender)
        if known is None:
            return None
        message = known.message
        same = stanza_id is not None and stanza_id == message.stanza_id
        differ = stanza_id is not None and message.stanza_id is not None and not same
        is_before = time < message.time if differ else time <= message.time
        return message.sequence if same or is_before else None

    def keep(self, sender: str, message: KeptMessage, about: int | None) -> None:
        """An occupant says one: it takes the place of the one before, unless that is about a later message."""
        former = self._last.get(sender)
        if former is not None and former.about is not None and about is not None and about < former.about:
            return
        self._forget(sender)
        while len(self._last) >= MAX_MARKERS or not self._has_budget(message):
            if not self._last:
                return
            self._forget(next(iter(self._last)))
        self._last[sender] = _Marker(message, about)

    def remove(self, sequence: int) -> None:
        """One cannot be shown."""
        for sender in [sender for sender, marker in self._last.items() if marker.message.sequence == sequence]:
            self._forget(sender)

    def expire(self, oldest: float) -> None:
        """Let go those that were said before a time."""
        while self._last and (first := next(iter(self._last.items())))[1].message.time < oldest:
            self._forget(first[0])

    def close(self) -> None:
        """The room is kept no more."""
        self._last.clear()
        if self._budget is not None:
            self._budget.close()

    def among(self, given: Sequence[KeptMessage], seen: int | None) -> Sequence[KeptMessage]:
        """Return messages that a client is given, with the markers at their places among them.

        One that has seen everything up to `seen` gets those that were said since, but for those about messages that it
        neither has nor is given: its own query to an archive may bring both. A new one (None) gets those about what it
        is given.
        """
        if not self._last:
            return given
        sequences = {message.sequence for message in given}
        wanted = [marker.message for marker in self._last.values() if _is_for(marker, sequences, seen)]
        return list(merge(given, sorted(wanted, key=_SEQUENCE), key=_SEQUENCE)) if wanted else given

    def _has_budget(self, message: KeptMessage) -> bool:
        return self._budget is None or self._budget.take(_size(message))

    def _forget(self, sender: str) -> None:
        marker = self._last.pop(sender, None)
        if marker is not None and self._budget is not None:
            self._budget.give_back(_size(marker.message))


def _is_for(marker: _Marker, given: Container[int], seen: int | None) -> bool:
    if seen is None:
        return marker.about in given
    return marker.message.sequence > seen and (marker.about is None or marker.about <= seen or marker.about in given)


def _size(message: KeptMessage) -> int:
    return OBJECT + len(message.raw)


_SEQUENCE = attrgetter("sequence")
