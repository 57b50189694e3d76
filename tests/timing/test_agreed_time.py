"""The time that all processes of a cluster go by, while their machines' clocks go as they like."""

from __future__ import annotations

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.timing.agreed_time import PRECISE, WORTH_SAYING, AgreedTime
from minimixproxy.timing.clock import wall_time
from tests.timing.set_clock import SetClock

HOUR = 3600.0


class AgreedTimeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = SetClock()
        self.clock.advance(1000.0)
        self.clock.set_by = -HOUR
        self.time = AgreedTime(self.clock)

    def now(self) -> float:
        return wall_time(self.clock)

    def told(self, time: float, late: float = 0.0) -> None:
        asked = self.clock.seconds()
        self.clock.advance(late)
        self.time.told(time, asked)

    def test_until_it_is_told_the_machine_s_own(self) -> None:
        self.assertEqual(self.now(), 1000.0 - HOUR)

    def test_what_it_was_told_and_the_time_since(self) -> None:
        self.told(5000.0)
        self.clock.advance(10.0)
        self.clock.set_by = HOUR
        self.assertEqual(self.now(), 5010.0)

    def test_told_again(self) -> None:
        """Little differences are the way's; a large one is a database that took another one's place."""
        self.told(5000.0)
        self.told(5000.0 + PRECISE)
        self.assertEqual(self.now(), 5000.0)
        self.told(5000.0 + HOUR)
        self.assertEqual(self.now(), 5000.0 + HOUR)

    def test_late_answers(self) -> None:
        """The first one is better than nothing."""
        self.told(5000.0, late=60.0)
        self.assertEqual(self.now(), 5000.0)
        self.told(5000.0, late=60.0)
        self.assertEqual(self.now(), 5060.0)

    def test_the_operator_is_told_once(self) -> None:
        with capturedLogs() as events:
            self.told(1000.0)
            self.told(1000.0 + 2 * PRECISE)
        (event,) = events
        self.assertIn("-3600 s off", formatEvent(event))

    def test_a_clock_that_is_set_while_it_runs(self) -> None:
        """The time stays what it is, and the operator is told."""
        self.clock.set_by = 0.0
        self.told(1000.0)
        self.clock.set_by = HOUR
        with capturedLogs() as events:
            self.told(1000.0, late=60.0)
            self.assertEqual(events, [], "the answer is too old to tell")
            self.told(1060.0)
            self.told(1060.0)
        (event,) = events
        self.assertIn("+3600 s off", formatEvent(event))
        self.assertEqual(self.now(), 1060.0)

    def test_a_clock_that_is_right(self) -> None:
        self.clock.set_by = 0.0
        with capturedLogs() as events:
            self.told(1000.0 + WORTH_SAYING - 1)
        self.assertEqual(events, [])
