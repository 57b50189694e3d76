"""Questions to one server, asked at the pace at which it answers. Pure but for the clock handed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import islice
from math import inf
from typing import NamedTuple

from minimixproxy.timing.answer_window import FIRST, AnswerWindow
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.timing.fair_queue import FairQueue
from minimixproxy.timing.pacing import Pacer

SILENT = 5.0  # seconds after which nobody waits for an answer: it counts as trouble, and keeps its place no longer
LOOKED_AT = 8  # of those who wait, the next ones: as whose the line has its turn at the ceiling
LEAST_PER_SECOND = 20.0  # are asked, however much is under way: a server that answers nothing may have come to itself


class Pace(NamedTuple):
    """What holds for a line whatever its server answers. `SILENT` and `LEAST_PER_SECOND` are for questions."""

    silent: float
    least_per_second: float
    urgent_per_second: float  # the same, while somebody is in a hurry
    rest: float = 0.0  # seconds after trouble, in which nothing begins: a server that refuses does so quickly
    first: int = FIRST  # so many at once before anything is known of the server


QUESTIONS = Pace(SILENT, LEAST_PER_SECOND, LEAST_PER_SECOND)
# Connecting, TLS, a login and a resource take a while. A server that does not answer is not to have ever more of them.
OPENINGS = Pace(silent=60.0, least_per_second=1.0, urgent_per_second=10.0, rest=0.05)


class Turn:
    """One question of an account: first not in line; then it waits, and is called; then it is under way until its end.

    Each of its methods is harmless when it is too late for it.
    """

    __slots__ = ("_call", "_line", "account", "began", "urgent")

    def __init__(self, line: AnsweredLine, account: str, call: Callable[[], None]) -> None:
        self.account = account
        self.began = inf  # not yet; -inf: never will
        self.urgent = False
        self._line = line
        self._call = call

    def ask(self, *, urgent: bool = False) -> None:
        """Stand in line; once more with `urgent` to overtake those who are not in a hurry. May call at once."""
        self._line.line_up(self, urgent=urgent)

    def begin(self) -> None:
        """For the line: it has come to this one."""
        self._call()

    def answered(self, *, trouble: bool = False) -> None:
        """There is an answer; `trouble`: one that says that it is too much for the server, or that it is not there."""
        self._line.answered(self, trouble=trouble)

    def end(self) -> None:
        """The answer, or the question, is not wanted any more: nothing is to be learned from it."""
        self._line.ended(self)


class AnsweredLine:
    """Asks as many at one time as the server's answers allow (see `AnswerWindow`), of each account about as many.

    `ceiling` is what all lines together go by; there, too, each account has its turn: one with rooms at a thousand
    servers has a thousand lines. So the line asks there as an account that waits here, and has little waiting there.
    """

    def __init__(self, clock: Clock, ceiling: Pacer, pace: Pace = QUESTIONS) -> None:
        self._clock = clock
        self._ceiling = ceiling
        self._pace = pace
        self._window = AnswerWindow(pace.first)
        self._urgent: FairQueue[Turn] = FairQueue()
        self._patient: FairQueue[Turn] = FairQueue()
        self._under_way: OrderedDict[Turn, None] = OrderedDict()  # in the order in which they began
        self._last = -inf  # when one began
        self._rests_until = -inf
        self._stopped = False
        self._owed: set[str] = set()  # as whose the ceiling owes a call, whoever is the next then
        self._timer = Timer(clock)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and nothing is under way."""
        return not (self._waiting or self._under_way)

    @property
    def _waiting(self) -> bool:
        return bool(self._urgent or self._patient)

    def _queue(self, turn: Turn) -> FairQueue[Turn]:
        return self._urgent if turn.urgent else self._patient

    @property
    def _next_queue(self) -> FairQueue[Turn]:
        return self._urgent or self._patient

    @property
    def at_once(self) -> int:
        """How many may be under way now."""
        return self._window.size

    def line_up(self, turn: Turn, *, urgent: bool) -> None:
        """For `Turn`."""
        if turn.began == inf and not self._stopped:
            if urgent and not turn.urgent:
                self._patient.discard(turn.account, turn)
                turn.urgent = True
            self._queue(turn).add(turn.account, turn)
            self._go_on(turn.account)

    def answered(self, turn: Turn, *, trouble: bool) -> None:
        """For `Turn`."""
        if turn in self._under_way:
            now = self._clock.seconds()
            self._window.answered(turn.account, turn.began, now, trouble=trouble)
            if trouble:
                self._rests_until = now + self._pace.rest
        self.ended(turn)

    def ended(self, turn: Turn) -> None:
        """For `Turn`."""
        if turn in self._under_way:
            del self._under_way[turn]
            self._queue(turn).ended(turn.account)
        elif turn.began == inf:
            turn.began = -inf
            self._queue(turn).discard(turn.account, turn)
        self._go_on()

    def stop(self) -> None:
        """Ask nothing any more."""
        self._stopped = True
        self._timer.stop()
        self._urgent, self._patient = FairQueue(), FairQueue()
        self._under_way.clear()

    # Its work

    def _may_begin(self) -> bool:
        now = self._clock.seconds() + 1e-6
        if now < self._rests_until:
            return False
        return len(self._under_way) < self._window.size or now >= self._next_in_any_case()

    def _next_in_any_case(self) -> float:
        pace = self._pace
        return self._last + 1 / (pace.urgent_per_second if self._urgent else pace.least_per_second)

    def _go_on(self, account: str = "") -> None:
        """Begin if that may be. `account`: one to look at, too, if it waits."""
        if self._waiting and self._may_begin():
            backlog = self._ceiling.backlog
            queue = self._next_queue
            some = islice(queue.owners, LOOKED_AT)
            whose = min((account, *some) if account in queue else some, key=backlog)
            # Once more if the call that is owed waits behind very many others of the same account.
            if not self._owed or 2 * (backlog(whose) + 1) < min(map(backlog, self._owed)):
                self._owed.add(whose)
                self._ceiling.ask(partial(self._begin, whose), whose)
        self._look_again()

    def _begin(self, whose: str) -> None:
        """The ceiling's call, perhaps late: there may have been trouble meanwhile, and then it comes to nothing."""
        self._owed.discard(whose)
        try:
            if self._waiting and self._may_begin():
                turn = self._next_queue.pop()
                turn.began = self._last = self._clock.seconds()
                self._window.begins(turn.began)
                self._under_way[turn] = None
                turn.begin()
        finally:
            self._go_on(whose)

    def _look_again(self) -> None:
        """Have a timer run for what time brings: the end of a rest, the least pace, and silence."""
        now = self._clock.seconds()
        next_one = self._rests_until if self._rests_until > now else self._next_in_any_case()
        due = min(
            next_one if self._waiting and not self._owed else inf,
            next(iter(self._under_way)).began + self._pace.silent if self._under_way else inf,
        )
        if due == inf:
            self._timer.stop()
        else:
            # Not less than a clock that counts from the epoch can tell apart.
            self._timer.start(max(0.001, due - now), self._time_has_passed)

    def _time_has_passed(self) -> None:
        now = self._clock.seconds()
        for turn in list(self._under_way):
            if turn.began + self._pace.silent > now + 1e-6:
                break
            self._window.answered(turn.account, turn.began, now, trouble=True)
            del self._under_way[turn]
            self._queue(turn).ended(turn.account)
        self._go_on()
