"""When, and by which nick, an account tries to come back into a room. Pure but for the clock handed in."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.jids import is_resource, prepare_resource
from minimixproxy.minimix.rejoin.registered_nick import ask_reserved_nick
from minimixproxy.minimix.room.appearance import Appearance
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.timing.answered_line import Turn
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Timer

FIRST_WAIT = 1.0  # seconds, about
LONGEST_WAIT = 300.0
STABLE = 60.0  # seconds in the room after which a new removal is the first again
MAX_NICKS = 5  # tried in a row, the wished one first; and registered ones before, if it is another one each time


class RejoinSchedule:
    """The attempts of one occupancy: `attempt` makes one, by the nick given, the wished one if it can be had."""

    __slots__ = (
        "_appearance",
        "_asking",
        "_attempt",
        "_back_since",
        "_backoff",
        "_conflicts",
        "_context",
        "_due",
        "_due_at",
        "_renamed",
        "_timer",
        "_turn",
        "attempts",
    )

    def __init__(self, context: RoomContext, appearance: Appearance, attempt: Callable[[str], None]) -> None:
        self._context = context
        self._appearance = appearance
        self._attempt = attempt
        self._backoff = Backoff(FIRST_WAIT, LONGEST_WAIT)
        self._timer = Timer(context.clock)
        self._turn: Turn | None = None  # of an attempt: it waits for it, or the room's answer is awaited
        self._due = False  # an attempt waits for its turn
        self._asking = False  # for the registered nick
        self._renamed = 0  # so often it was another one since this has waited
        self._conflicts = 0
        self._back_since: float | None = None
        self._due_at = 0.0  # while the timer runs
        self.attempts = 0  # since the account is out

    @property
    def next_in(self) -> float:
        """Seconds until it lines up for the next attempt; 0 if no time has to pass."""
        return max(0.0, self._due_at - self._context.clock.seconds()) if self._timer.running else 0.0

    def now(self) -> None:
        """Try as soon as the pace of all rooms allows it."""
        self._timer.stop()
        if not self._due:
            self._due = True
            self._end_turn()
            self._turn = self._context.outlet.rejoin_turn(self._context.room, self._try)
            self._turn.ask()

    def once_more(self) -> None:
        """Try at once; after a wait that grows if it came back only just now: the room might go on so for ever."""
        if self._back_since is None or self._was_stable:
            self._backoff.reset()
            self.now()
        else:
            self.later()

    @property
    def _was_stable(self) -> bool:
        return self._back_since is not None and self._context.clock.seconds() - self._back_since >= STABLE

    def later(self) -> None:
        """Try after a wait that grows from failure to failure."""
        if self._was_stable:
            self._backoff.reset()
        self._back_since = None
        self._conflicts = self._renamed = 0
        delay = self._backoff.next()
        self._due_at = self._context.clock.seconds() + delay
        self._timer.start(delay, self.now)

    def other_nick(self) -> bool:
        """The room does not give the nick: try another; False when there have been enough, and it is better to wait.

        The next is the one that is registered for the account, if any (XEP-0045 §7.12): that is the one to wish for.
        """
        if self._conflicts == 0 and self._renamed < MAX_NICKS:
            self._asking = True
            ask_reserved_nick(self._context.outlet, self._context.room, self._reserved)
        elif self._conflicts < MAX_NICKS - 1:
            self._conflicts += 1
            self.now()
        else:
            return False
        return True

    def _reserved(self, nick: str | None) -> None:
        if not self._asking:
            return
        self._asking = False
        if nick is not None and prepare_resource(nick) != prepare_resource(self._appearance.wished_nick):
            self._renamed += 1
            self._appearance.wish_for(nick)
        else:
            self._conflicts = 1
        self.now()

    def answered(self, *, trouble: bool = False) -> None:
        """The room has answered the attempt; `trouble`: by an error that says that its server is in trouble."""
        if self._turn is not None:
            self._turn.answered(trouble=trouble)
            self._turn = None

    def succeeded(self) -> None:
        """The account is in the room."""
        self.stop()
        self._conflicts = self._renamed = self.attempts = 0
        self._back_since = self._context.clock.seconds()

    def stop(self) -> None:
        """Do not try: it is not wanted, or there is no stream to try on."""
        self._timer.stop()
        self._end_turn()
        self._due = self._asking = False

    def _end_turn(self) -> None:
        if self._turn is not None:
            self._turn.end()
            self._turn = None

    def _try(self) -> None:
        if self._due:
            self._due = False
            self.attempts += 1
            self._attempt(_alike(self._appearance.wished_nick, self._conflicts))


def _alike(nick: str, number: int) -> str:
    """Return another nick that reads like this one.

    One that is as long as can be gets shorter by as much. One that is written from right to left has to end with such a
    letter, so its last one is said again.
    """
    if not number:
        return nick
    marks, end = "_" * number, len(nick)
    others = (f"{nick[: max(0, end - gone)]}{marks}{nick[-1]}" for gone in range(2 * MAX_NICKS))
    return next(filter(is_resource, (nick + marks, *others)), nick)
