"""What of a room's archive could not be read when the account came back, and is read later. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.minimix.history.room_archive import RoomArchive
from minimixproxy.minimix.rejoin.paced_forking import PacedForking
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Timer, wall_time
from minimixproxy.wire.stanza import Stanza

FIRST_WAIT, LONGEST_WAIT = 60.0, 3600.0  # seconds between two attempts


class ArchiveRetry:
    """Reads what one occupancy has missed, at most as many messages as its history keeps.

    `heard` gets them, known ones too, and that they are of the past.

    `since` is where they begin, by id and time of the last message before; None while nothing is missing.
    """

    __slots__ = ("_all_known", "_archive", "_backoff", "_clock", "_forking", "_timer", "since")

    def __init__(
        self, context: RoomContext, heard: Callable[[Stanza, bool], None], all_known: Callable[[], None]
    ) -> None:
        """`all_known` is called when nothing is missing any more."""
        self.since: tuple[str | None, float] | None = None
        self._all_known = all_known
        self._clock = context.clock
        self._forking = PacedForking(context.room, context.clock, heard, self._told)
        self._archive = RoomArchive(context.room, context.outlet, lambda: context.settings.history, self._forking.start)
        self._timer = Timer(context.clock)
        self._backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)

    def misses(self, since: tuple[str | None, float] | None) -> None:
        """What was said since is not known; None: nothing is missing."""
        self.since = since

    def begin(self) -> None:
        """The account is in the room, and does not know what was said `since`: ask for it from time to time."""
        self._timer.start(self._backoff.next(), self._ask)

    def end(self) -> None:
        """All is known."""
        self.stop()
        self.since = None
        self._all_known()
        self._backoff.reset()

    def stop(self) -> None:
        """The account is not in the room now; what is missing still is."""
        self._timer.stop()
        self._archive.stop()
        self._forking.stop()

    def _ask(self) -> None:
        assert self.since is not None
        self._archive.start(*self.since, wall_time(self._clock))

    def _told(self) -> None:
        if self._archive.failed and self.since is not None:
            self.begin()
        else:
            self.end()
