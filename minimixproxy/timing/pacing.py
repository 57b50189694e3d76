"""Doing a little at a time what thousands of accounts would do at once. Pure but for the clock handed in."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock, Timer


class Pacer:
    """Makes at most `rate` calls a second, `burst` of them together, in the order in which they were asked for."""

    log = Logger()

    def __init__(self, clock: Clock, rate: float, burst: int = 1) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._filled = clock.seconds()
        self._waiting: deque[Callable[[], None]] = deque()
        self._timer = Timer(clock)

    def __len__(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    def ask(self, call: Callable[[], None]) -> None:
        """Make `call` now if the pace allows it, else later. It cannot be taken back: it has to look before it acts."""
        self._waiting.append(call)
        if not self._timer.running:
            self._work()

    def stop(self) -> None:
        """Make no more calls."""
        self._timer.stop()
        self._waiting.clear()

    def _work(self) -> None:
        now = self._clock.seconds()
        passed = max(0.0, now - self._filled)  # a clock may be set back
        self._tokens = min(self._burst, self._tokens + passed * self._rate)
        self._filled = now
        while self._waiting and self._tokens > 1 - 1e-6:
            self._tokens -= 1
            self._make(self._waiting.popleft())
        if self._waiting and not self._timer.running:
            # Not less than a clock that counts from the epoch can tell apart.
            self._timer.start(max(0.001, (1 - self._tokens) / self._rate), self._work)

    def _make(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:  # noqa: BLE001 (it may be anybody's: it must not stop what the others wait for)
            self.log.failure("a fault in what had waited for its turn")


class Slot:
    """A place in the line of `Slots`, then work under way."""

    __slots__ = ("_call", "_over", "_turns", "_under_way", "_urgent")

    def __init__(self, turns: Slots, call: Callable[[], None]) -> None:
        self._turns = turns
        self._call = call
        self._urgent: bool | None = None  # None: not in line
        self._under_way = False
        self._over = False

    @property
    def waits(self) -> bool:
        """Whether its call is still to come."""
        return not (self._under_way or self._over)

    def ask(self, *, urgent: bool = False) -> None:
        """Stand in line; once more with `urgent` to overtake those who are not in a hurry. May call at once."""
        if self._urgent is None or (urgent and not self._urgent):
            self._urgent = urgent
            self._turns.line_up(self, urgent=urgent)

    def begin(self) -> None:
        """For `Slots`: it is its turn."""
        self._under_way = True
        self._call()

    def answered(self, *, trouble: bool = False) -> None:
        """The work is done. Slots learn nothing from how it went (`lines.Place`)."""
        self.end()

    def end(self) -> None:
        """The work is done, or not wanted any more. Harmless a second time."""
        if not self._over:
            self._over = True
            self._turns.ended(under_way=self._under_way)


class Slots:
    """Lets work begin at a pace (see `Pacer`), and no more than `at_once` be under way; the urgent first."""

    def __init__(self, clock: Clock, rate: float, burst: int, at_once: int) -> None:
        self._pacer = Pacer(clock, rate, burst)
        self._at_once = at_once
        self._under_way = 0
        self._urgent: deque[Slot] = deque()
        self._patient: deque[Slot] = deque()
        self._asked = False  # the pacer owes a call
        self._stopped = False

    def turn(self, call: Callable[[], None]) -> Slot:
        """Return a turn for `call`, not in line yet. Whoever takes it has to end it."""
        return Slot(self, call)

    def line_up(self, turn: Slot, *, urgent: bool) -> None:
        """For `Slot`."""
        if turn.waits and not self._stopped:
            (self._urgent if urgent else self._patient).append(turn)
            self._more()

    def ended(self, *, under_way: bool) -> None:
        """For `Slot`."""
        if under_way:
            self._under_way -= 1
            self._more()

    def stop(self) -> None:
        """Let nothing begin any more."""
        self._stopped = True
        self._pacer.stop()
        self._urgent.clear()
        self._patient.clear()

    def _more(self) -> None:
        if not self._asked and self._under_way < self._at_once and self._next_waiting():
            self._asked = True
            self._pacer.ask(self._begin)

    def _next_waiting(self) -> deque[Slot] | None:
        """Return the line whose head is next, or None; what was given up, or stood in both lines, is gone from it."""
        for line in (self._urgent, self._patient):
            while line and not line[0].waits:
                line.popleft()
            if line:
                return line
        return None

    def _begin(self) -> None:
        self._asked = False
        line = self._next_waiting()
        if line is not None:
            self._under_way += 1
            try:
                line.popleft().begin()
            finally:
                self._more()
