"""Delays are what they are, whoever sets the clock; what is stamped is the clock's time."""

from __future__ import annotations

from twisted.internet.base import ReactorBase
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.timing import steady_time
from minimixproxy.timing.clock import wall_time
from minimixproxy.timing.steady_time import make_steady

HOUR = 3600.0


class Machine:
    """What `time` is, for the module."""

    def __init__(self) -> None:
        self.wall = 1_700_000_000.0
        self.up = 1000.0

    def time(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.up

    def passes(self, seconds: float) -> None:
        self.wall += seconds
        self.up += seconds


class Reactor(ReactorBase):
    """One that does nothing by itself."""

    def installWaker(self) -> None:
        """Nobody sleeps."""


class SteadyTimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.machine = Machine()
        self.patch(steady_time, "time", self.machine)
        self.reactor = Reactor()
        make_steady(self.reactor)

    def test_a_delay_when_the_clock_is_set(self) -> None:
        for set_by in (-HOUR, 0.0, HOUR):
            called: list[int] = []
            self.reactor.callLater(10.0, called.append, 1)
            self.machine.wall += set_by
            self.machine.passes(9.9)
            self.reactor.runUntilCurrent()
            self.assertEqual(called, [])
            self.machine.passes(0.2)
            self.reactor.runUntilCurrent()
            self.assertEqual(called, [1])

    def test_both_kinds_of_time(self) -> None:
        self.assertEqual((self.reactor.seconds(), wall_time(self.reactor)), (1_700_000_000.0, 1_700_000_000.0))
        self.machine.wall -= HOUR
        self.machine.passes(5.0)
        self.assertEqual(self.reactor.seconds(), 1_700_000_005.0)
        self.assertEqual(wall_time(self.reactor), 1_700_000_005.0 - HOUR)

    def test_once_is_enough(self) -> None:
        """Two services of one process: a delay that goes on is not touched by the second."""
        self.machine.wall += HOUR
        make_steady(self.reactor)
        self.assertEqual(self.reactor.seconds(), 1_700_000_000.0)

    def test_what_was_to_come_already(self) -> None:
        reactor, called = Reactor(), list[int]()
        reactor.seconds = self.machine.time  # as it is before
        reactor.callLater(10.0, called.append, 1)
        make_steady(reactor)
        self.machine.wall -= HOUR
        self.machine.passes(9.9)
        reactor.runUntilCurrent()
        self.assertEqual(called, [])
        self.machine.passes(0.2)
        reactor.runUntilCurrent()
        self.assertEqual(called, [1])

    def test_what_is_no_reactor_stays(self) -> None:
        make_steady(object())
