"""The attempts of one occupancy to come back into its room, and what outlasts each of them. No I/O."""

from __future__ import annotations

from minimixproxy.minimix.rejoin.archive_retry import ArchiveRetry
from minimixproxy.minimix.rejoin.attempt import RejoinAttempt
from minimixproxy.minimix.rejoin.schedule import RejoinSchedule
from minimixproxy.minimix.room.snapshot import Snapshot

LastKnown = tuple[str | None, float]  # id of the last message that is known, if it has one, and its time


class RejoinAttempts:
    """`current` is the one that is under way, None if there is none."""

    __slots__ = ("_archive_retry", "current", "forbidden_before", "schedule")

    def __init__(self, schedule: RejoinSchedule, archive_retry: ArchiveRetry) -> None:
        self.schedule = schedule
        self.current: RejoinAttempt | None = None
        self.forbidden_before = False  # the last one was, while the room's service answered
        self._archive_retry = archive_retry

    @property
    def view(self) -> Snapshot | None:
        """What the room shows to the current attempt, until it is in."""
        return self.current.view if self.current is not None else None

    def begin(self, attempt: RejoinAttempt) -> None:
        """The turn of the next one has come."""
        self.current = attempt

    def missed_since(self, last_known: LastKnown) -> LastKnown:
        """Return from where on messages are missing: from `last_known`, or where an archive is still to be read."""
        return self._archive_retry.since or last_known

    def restore(self, missing_since: LastKnown | None) -> None:
        """Take from where on messages were missing before the restart."""
        self._archive_retry.misses(missing_since)

    def misses(self, since: LastKnown) -> None:
        """What was said since `since` is missing, and is read when the account is in."""
        self._archive_retry.misses(since)

    def succeeded(self, *, complete: bool) -> None:
        """What was missed has been read. If not `complete`, the rest of the archive is tried again later."""
        self.current = None
        self._archive_retry.end() if complete else self._archive_retry.begin()
        self.schedule.succeeded()

    def forbidden(self) -> None:
        """The last attempt was forbidden although the service answered; if the next is too, the account is banned."""
        self.forbidden_before = True

    def stop(self) -> None:
        """Stop all that is under way."""
        self.forbidden_before = False
        self.schedule.stop()
        self._archive_retry.stop()
        if self.current is not None:
            self.current.stop()
            self.current = None
