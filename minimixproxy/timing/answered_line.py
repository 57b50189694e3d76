"""Questions to one server, asked at the pace at which it answers. Pure but for the clock handed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from math import inf

from minimixproxy.timing.answer_window import AnswerWindow
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.timing.fair_queue import FairQueue
from minimixproxy.timing.pacing import Pacer

SILENT = 5.0  # seconds after which nobody waits for an answer: it counts as trouble, and keeps its place no longer
LEAST_PER_SECOND = 20.0  # are asked, however much is under way: a server that answers nothing may have come to itself


class Turn:
    """One question of an account: first not in line; then it waits, and is called; then it is under way until its end.

    Each of its methods is harmless when it is too late for it.
    """

    __slots__ = ("_call", "_line", "account", "began")

    def __init__(self, line: AnsweredLine, account: str, call: Callable[[], None]) -> None:
        self.account = account
        self.began = inf  # not yet; -inf: never will
        self._line = line
        self._call = call

    def ask(self) -> None:
        """Stand in line. May call at once."""
        self._line.line_up(self)

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

    `ceiling` is what all lines together go by.
    """

    def __init__(self, clock: Clock, ceiling: Pacer) -> None:
        self._clock = clock
        self._ceiling = ceiling
        self._window = AnswerWindow()
        self._waiting: FairQueue[Turn] = FairQueue()
        self._under_way: OrderedDict[Turn, None] = OrderedDict()  # in the order in which they began
        self._last = -inf  # when one began
        self._owed = False  # the ceiling owes a call
        self._timer = Timer(clock)

    @property
    def idle(self) -> bool:
        """Whether nothing waits, and nothing is under way."""
        return not (self._waiting or self._under_way)

    @property
    def at_once(self) -> int:
        """How many may be under way now."""
        return self._window.size

    def line_up(self, turn: Turn) -> None:
        """For `Turn`."""
        if turn.began == inf:
            self._waiting.add(turn.account, turn)
            self._go_on()

    def answered(self, turn: Turn, *, trouble: bool) -> None:
        """For `Turn`."""
        if turn in self._under_way:
            self._window.answered(turn.account, turn.began, self._clock.seconds(), trouble=trouble)
        self.ended(turn)

    def ended(self, turn: Turn) -> None:
        """For `Turn`."""
        if turn in self._under_way:
            del self._under_way[turn]
            self._waiting.ended(turn.account)
        elif turn.began == inf:
            turn.began = -inf
            self._waiting.discard(turn.account, turn)
        self._go_on()

    def stop(self) -> None:
        """Ask nothing any more."""
        self._timer.stop()
        self._waiting = FairQueue()
        self._under_way.clear()

    # Its work

    def _may_begin(self) -> bool:
        if len(self._under_way) < self._window.size:
            return True
        return self._clock.seconds() >= self._last + 1 / LEAST_PER_SECOND - 1e-6

    def _go_on(self) -> None:
        if self._waiting and not self._owed and self._may_begin():
            self._owed = True
            self._ceiling.ask(self._begin)
        self._look_again()

    def _begin(self) -> None:
        self._owed = False
        if self._waiting and self._may_begin():
            turn = self._waiting.pop()
            turn.began = self._last = self._clock.seconds()
            self._window.begins(turn.began)
            self._under_way[turn] = None
            try:
                turn.begin()
            finally:
                self._go_on()

    def _look_again(self) -> None:
        """Have a timer run for what time brings: the least pace, and silence."""
        due = min(
            self._last + 1 / LEAST_PER_SECOND if self._waiting and not self._owed else inf,
            next(iter(self._under_way)).began + SILENT if self._under_way else inf,
        )
        if due == inf:
            self._timer.stop()
        else:
            # Not less than a clock that counts from the epoch can tell apart.
            self._timer.start(max(0.001, due - self._clock.seconds()), self._time_has_passed)

    def _time_has_passed(self) -> None:
        now = self._clock.seconds()
        for turn in list(self._under_way):
            if turn.began + SILENT > now + 1e-6:
                break
            self._window.answered(turn.account, turn.began, now, trouble=True)
            del self._under_way[turn]
            self._waiting.ended(turn.account)
        self._go_on()
