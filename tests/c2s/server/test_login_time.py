"""The time that a client has to log in, and when it stands still."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.server.login_time import LoginTime


class LoginTimeTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.ups: list[float] = []
        self.time = LoginTime(self.clock, 60.0, lambda: self.ups.append(self.clock.seconds()))

    def test_it_is_up(self) -> None:
        self.clock.pump([59.0, 1.0, 100.0])
        self.assertEqual(self.ups, [60.0])

    def test_it_stands_still(self) -> None:
        self.clock.advance(50)
        self.time.stand_still()
        self.clock.advance(1000)
        self.assertEqual((self.ups, self.clock.getDelayedCalls()), ([], []))
        self.time.go_on()
        self.clock.pump([9.0, 1.0])
        self.assertEqual(self.ups, [1060.0])

    def test_once_more(self) -> None:
        for _ in range(3):
            self.clock.advance(10)
            self.time.stand_still()
            self.time.stand_still()
            self.clock.advance(10)
            self.time.go_on()
            self.time.go_on()
        self.clock.pump([29.0, 1.0])
        self.assertEqual(self.ups, [90.0])

    def test_another_time(self) -> None:
        self.clock.advance(50)
        self.time.start(600)
        self.clock.advance(599)
        self.assertEqual(self.ups, [])
        self.clock.advance(1)
        self.assertEqual(self.ups, [650.0])

    def test_it_is_over(self) -> None:
        self.time.stop()
        for call in (self.time.stand_still, self.time.go_on):
            call()
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_is_over_while_it_stands_still(self) -> None:
        self.time.stand_still()
        self.time.stop()
        self.time.go_on()
        self.assertEqual(self.clock.getDelayedCalls(), [])
