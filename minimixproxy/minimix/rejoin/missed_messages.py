"""What was said in a room while the account was out of it: from the room's archive, then from the room. No I/O."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.bounds.byte_budget import OBJECT
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.history.room_archive import RoomArchive
from minimixproxy.minimix.history.room_info import RoomInfo
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.timing.clock import Timer, wall_time
from minimixproxy.wire.stanza import Stanza

MAX_WAITING = 1000  # messages of the room that wait for the archive ...
MAX_BYTES = 4 * 1024 * 1024  # ... and their bytes
SUBJECT_TIMEOUT = 5.0  # seconds from the own presence to the subject, which ends the room's own history
ARCHIVE_TIMEOUT = 30.0  # seconds for the archive to tell everything
AGAIN = (1.0, 2.0, 4.0)  # seconds to further attempts at an archive that could not be read


class MissedMessages:
    """Keeps what the room says in order behind what its archive (XEP-0313) has of the time before.

    `done` gets what is told of the past, and what was said since; what is there twice, or known already, is for it to
    sort out.
    """

    log = Logger()

    def __init__(
        self,
        context: RoomContext,
        info: RoomInfo,
        done: Callable[[list[Stanza], list[Stanza]], None],
    ) -> None:
        clock = context.clock
        self._account = context.outlet.account
        self._info = info
        self._clock = clock
        self._done = done
        self._archive = RoomArchive(context.room, context.outlet, lambda: context.settings.history, self._archive_done)
        self._archived: list[Stanza] | None = None
        self._budget = context.outlet.waiting_budget(MAX_BYTES)  # of what waits for the archive
        self._read: Callable[[], None]
        self._told: list[Stanza] = []  # by the room, of the past
        self._said: list[Stanza] = []
        self._subject = Timer(clock)
        self._patience = Timer(clock)
        self._again = Timer(clock)
        self._waits = iter(AGAIN)
        self.complete: bool  # when it is done: nothing of the archive was given up

    @property
    def archive_told_all(self) -> bool:
        """Whether the room's archive has told all that was said meanwhile."""
        return self._archive.told_all

    def start(self, after_id: str | None, after_time: float) -> None:
        """Begin behind the last message that is known, by the room's id for it and by its time."""
        self._subject.start(SUBJECT_TIMEOUT, self.subject_seen)
        self._patience.start(ARCHIVE_TIMEOUT, lambda: self._give_up("it takes too long"))
        self._read = lambda: self._archive.start(after_id, after_time, wall_time(self._clock))
        self._ask()

    def _ask(self) -> None:
        self._info.refresh(self._known)

    def _known(self) -> None:
        """The room has told of itself, or has not."""
        if not self._patience.running:
            return
        if self._info.archive:
            self._read()
        elif self._info.archive is not None:
            self._archive_done([])
        elif not self._try_again():
            self._give_up("the room does not tell whether it has one")

    def add(self, stanza: Stanza, *, past: bool) -> None:
        """A message of the room, which waits for its turn. Beyond the bounds, waiting stops.

        `past`: the room's own history, as all is before the subject.
        """
        (self._told if past or self._subject.running else self._said).append(stanza)
        waiting = len(self._told) + len(self._said)
        if waiting > MAX_WAITING or not self._budget.take(OBJECT + len(stanza.raw)):
            self._too_much()

    def _too_much(self) -> None:
        if self._archived is None:
            self._give_up("too much is said meanwhile")
        elif self._subject.running:
            self.log.warn(
                "{room} tells {account} more history than can wait: what follows counts as new",
                room=self._info.room,
                account=self._account,
            )
            self.subject_seen()

    def subject_seen(self) -> None:
        """The room has told its own history: what it says from now on is live."""
        self._subject.stop()
        self._finish()

    def stop(self) -> None:
        """Nobody waits for it any more."""
        self._subject.stop()
        self._patience.stop()
        self._again.stop()
        self._archive.stop()
        self._budget.close()

    def _give_up(self, reason: str) -> None:
        self.log.warn(
            "{account} does not wait for the archive of {room} any more ({reason}): it is asked again later",
            reason=reason,
            room=self._info.room,
            account=self._account,
        )
        self._patience.stop()
        self._again.stop()
        self._archive.stop()
        self.complete = False
        self._archived = []
        self.subject_seen()

    def _archive_done(self, archived: list[Stanza]) -> None:
        if self._archive.failed and self._try_again():
            return
        self._patience.stop()
        self.complete = not self._archive.failed
        self._archived = archived
        self._finish()

    def _try_again(self) -> bool:
        """Ask once more in a while: what is not read now is missed for good. False after some attempts."""
        wait = next(self._waits, None)
        if wait is not None:
            self._again.start(wait, self._ask)
        return wait is not None

    def _finish(self) -> None:
        if self._archived is not None and not self._subject.running:
            self._budget.close()
            self._done(self._archived + self._told, self._said)
