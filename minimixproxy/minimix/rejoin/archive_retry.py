"""What of a room's archive could not be read when the account came back, and is read later. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minimixproxy.minimix.history.room_archive import RoomArchive
from minimixproxy.minimix.rejoin.paced_forking import PacedForking
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Timer, wall_time
from minimixproxy.wire.stanza import Stanza

FIRST_WAIT, LONGEST_WAIT = 60.0, 3600.0  # seconds between two attempts


class _Reading(NamedTuple):
    """What reads, while something is missing."""

    archive: RoomArchive
    forking: PacedForking
    backoff: Backoff


class ArchiveRetry:
    """Reads what one occupancy has missed, at most as many messages as its history keeps.

    `heard` gets them, known ones too, and that they are of the past.

    `since` is where they begin, by id and time of the last message before; None while nothing is missing.
    """

    __slots__ = ("_all_known", "_context", "_heard", "_reading", "_timer", "since")

    def __init__(
        self, context: RoomContext, heard: Callable[[Stanza, bool], None], all_known: Callable[[], None]
    ) -> None:
        """`all_known` is called when nothing is missing any more."""
        self.since: tuple[str | None, float] | None = None
        self._all_known = all_known
        self._context = context
        self._heard = heard
        self._reading: _Reading | None = None  # few rooms need it
        self._timer = Timer(context.clock)

    def misses(self, since: tuple[str | None, float] | None) -> None:
        """What was said since is not known; None: nothing is missing."""
        self.since = since

    def begin(self) -> None:
        """The account is in the room, and does not know what was said `since`: ask for it from time to time."""
        if self._reading is None:
            self._reading = self._new_reading()
        self._timer.start(self._reading.backoff.next(), self._ask)

    def end(self) -> None:
        """All is known."""
        self.stop()
        self.since = None
        self._reading = None
        self._all_known()

    def stop(self) -> None:
        """The account is not in the room now; what is missing still is."""
        self._timer.stop()
        if self._reading is not None:
            self._reading.archive.stop()
            self._reading.forking.stop()

    def _new_reading(self) -> _Reading:
        context = self._context
        forking = PacedForking(context.room, context.clock, self._heard, self._told)
        archive = RoomArchive(context.room, context.outlet, lambda: context.settings.history, forking.start)
        return _Reading(archive, forking, Backoff(FIRST_WAIT, LONGEST_WAIT))

    def _ask(self) -> None:
        assert self.since is not None
        assert self._reading is not None
        self._reading.archive.start(*self.since, wall_time(self._context.clock))

    def _told(self) -> None:
        reading = self._reading
        if reading is not None and reading.archive.failed and self.since is not None:
            self.begin()
        else:
            self.end()
