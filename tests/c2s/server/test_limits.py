"""Limits before authentication, on a clock of our own."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.c2s.server.limits import (
    ConnectionCounter,
    FailedLogins,
    LoginGuard,
)


class ConnectionCounterTest(unittest.TestCase):
    def test_maximum_per_address(self) -> None:
        counter = ConnectionCounter(2)
        self.assertEqual([counter.admit("a"), counter.admit("a"), counter.admit("a")], [True, True, False])
        self.assertTrue(counter.admit("b"))
        counter.release("a")
        self.assertTrue(counter.admit("a"))
        self.assertFalse(counter.admit("a"))

    def test_one_log_line_for_each_time_the_maximum_is_reached(self) -> None:
        counter = ConnectionCounter(1)
        counter.admit("a")
        self.assertEqual([counter.first_refusal("a"), counter.first_refusal("a")], [True, False])
        counter.release("a")
        self.assertTrue(counter.first_refusal("a"))

    def test_one_that_is_gone_makes_room_for_one(self) -> None:
        counter = ConnectionCounter(3)
        for _ in range(3):
            counter.admit("a")
        counter.release("a")
        self.assertEqual([counter.admit("a"), counter.admit("a")], [True, False])
        self.assertEqual(len(counter), 1)

    def test_nothing_stays_of_who_is_gone(self) -> None:
        counter = ConnectionCounter(2)
        for number in range(1000):
            counter.admit(str(number))
            counter.release(str(number))
        self.assertEqual(len(counter), 0)


class FailedLoginsTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.failed = FailedLogins(self.clock.seconds, free=3, base=1.0, maximum=60.0, size=3)

    def test_delay_grows_from_the_first_that_is_not_free(self) -> None:
        waits = []
        for _ in range(12):
            self.failed.failed("key")
            waits.append(self.failed.wait("key"))
        self.assertEqual(waits, [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60])

    def test_wait_runs_off(self) -> None:
        for _ in range(5):
            self.failed.failed("key")
        self.clock.advance(1.5)
        self.assertEqual(self.failed.wait("key"), 0.5)
        self.clock.advance(1.0)
        self.assertEqual(self.failed.wait("key"), 0)

    def test_success_forgets(self) -> None:
        for _ in range(6):
            self.failed.failed("key")
        self.failed.succeeded("key")
        self.failed.succeeded("never seen")
        self.assertEqual(self.failed.wait("key"), 0)

    def test_time_forgets(self) -> None:
        for _ in range(6):
            self.failed.failed("key")
        self.clock.advance(FailedLogins.FORGET_AFTER + 1)
        self.failed.failed("key")
        self.assertEqual(self.failed.wait("key"), 0)

    def test_table_is_bounded(self) -> None:
        for key in ("a", "b", "c", "a", "d"):
            self.failed.failed(key)
        self.assertEqual(len(self.failed), 3)
        for _ in range(3):
            self.failed.failed("a")
        self.assertGreater(self.failed.wait("a"), 0, "a failed lately and was kept")

    def test_failures_are_counted_for_an_hour_each(self) -> None:
        counts = [self.failed.failed("key")]
        for seconds in (0, 3600, 3600, 3600.5, 1):
            self.clock.advance(seconds)
            counts.append(self.failed.failed("key"))
        self.assertEqual(counts, [1, 2, 3, 4, 1, 2])

    def test_a_full_table_forgets_the_one_longest_without_failure(self) -> None:
        for key in ("a", "b", "c", "a", "d"):
            self.failed.failed(key)
        self.assertEqual([self.failed.failed(key) for key in ("a", "d", "b")], [3, 2, 1])

    def test_open_ones_count_as_failed(self) -> None:
        self.failed.failed("key")
        waits = []
        for _ in range(4):
            waits.append(self.failed.wait("key"))
            self.failed.begin("key")
        self.assertEqual(waits, [0, 0, 0, FailedLogins.STALLED], "one has failed, three are open: no more is free")
        self.clock.advance(3)
        self.assertEqual(self.failed.wait("key"), FailedLogins.STALLED - 3)
        self.assertEqual(self.failed.wait("other"), 0)
        self.failed.end("key")
        self.failed.end("key")
        self.assertEqual(self.failed.wait("key"), 0)
        self.failed.begin("key")
        self.assertEqual(self.failed.wait("key"), FailedLogins.STALLED, "since the last one began")
        self.clock.advance(FailedLogins.STALLED + 1)
        self.assertEqual(self.failed.wait("key"), 0, "it is not waited for any longer")
        for _ in range(3):
            self.failed.end("key")
        self.assertEqual(len(self.failed), 1, "nothing is left of the open ones")

    def test_the_longer_wait_counts(self) -> None:
        for _ in range(8):
            self.failed.failed("key")
        self.failed.begin("key")
        self.assertEqual(self.failed.wait("key"), 16, "for the failures")
        self.clock.advance(10)
        self.failed.begin("key")
        self.assertEqual(self.failed.wait("key"), FailedLogins.STALLED, "for the open one")

    def test_one_by_one(self) -> None:
        failed = FailedLogins(self.clock.seconds, free=3, base=1.0, maximum=60.0, one_by_one=True)
        failed.begin("key")
        self.assertEqual(failed.wait("key"), FailedLogins.STALLED)
        failed.end("key")
        self.assertEqual(failed.wait("key"), 0)

    def test_thousands_of_failures_overflow_nothing(self) -> None:
        for _ in range(5000):
            self.failed.failed("key")
        self.assertEqual(self.failed.wait("key"), 60)


class LoginGuardTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.guard = LoginGuard(self.clock.seconds, free=3, base=1.0, maximum=60.0)

    def failed(self, times: int, address: str = "192.0.2.1", account: str = "a@example.org") -> None:
        for _ in range(times):
            self.guard.failed(address, account)

    def test_guessing_at_one_account_from_one_address(self) -> None:
        self.failed(12)
        self.assertEqual(self.guard.wait("192.0.2.1", "a@example.org"), 60)

    def test_the_owner_elsewhere_is_delayed_a_little(self) -> None:
        self.failed(12)
        self.assertEqual(self.guard.wait("198.51.100.1", "a@example.org"), LoginGuard.ACCOUNT_MAXIMUM)

    def test_neighbours_of_a_client_with_an_old_password(self) -> None:
        self.failed(100)
        self.assertEqual(self.guard.wait("192.0.2.1", "b@example.org"), 0)

    def test_spraying_over_accounts(self) -> None:
        for number in range(31):
            self.failed(1, account=f"{number}@example.org")
        self.assertEqual(self.guard.wait("192.0.2.1", "new@example.org"), 1)
        self.assertEqual(self.guard.wait("198.51.100.1", "new@example.org"), 0)

    def test_of_one_account_the_first_five_count_for_the_address(self) -> None:
        self.failed(100)
        for number in range(25):
            self.failed(1, account=f"{number}@example.org")
        self.assertEqual(self.guard.wait("192.0.2.1", "new@example.org"), 0)
        self.assertEqual(self.guard.wait_for_address("192.0.2.1"), 0)
        self.failed(1, account="26@example.org")
        self.assertEqual(self.guard.wait("192.0.2.1", "new@example.org"), 1)
        self.assertEqual(self.guard.wait_for_address("192.0.2.1"), 1)

    def test_whoever_has_waited_for_the_account_waits_no_longer(self) -> None:
        self.failed(12)
        elsewhere = "198.51.100.1"
        self.assertEqual(self.guard.wait_for_account("a@example.org"), 10)
        for waited, left in ((0.0, 10), (4.0, 6), (10.0, 0), (20.0, 0)):
            self.assertEqual(self.guard.wait(elsewhere, "a@example.org", waited), left, waited)

    def test_settings_reach_each_table(self) -> None:
        """An account waits for no more than ten seconds, whatever is set; ten times as many are free for an address."""
        guard = LoginGuard(self.clock.seconds, free=0, base=30.0, maximum=40.0)
        guard.failed("192.0.2.1", "a@example.org")
        self.assertEqual(guard.wait("192.0.2.1", "a@example.org"), 30)
        self.assertEqual(guard.wait_for_account("a@example.org"), 10)
        guard.failed("192.0.2.1", "a@example.org")
        self.assertEqual(guard.wait("192.0.2.1", "a@example.org"), 40)
        for number in range(8):
            guard.failed("192.0.2.1", f"{number}@example.org")
        self.assertEqual(guard.wait_for_address("192.0.2.1"), 0)
        guard.failed("192.0.2.1", "new@example.org")
        self.assertEqual(guard.wait_for_address("192.0.2.1"), 30)

    def test_an_account_from_an_address_has_one_attempt_at_a_time(self) -> None:
        here, elsewhere, account = "192.0.2.1", "198.51.100.1", "a@example.org"
        self.guard.begin(here, account)
        self.assertEqual(self.guard.wait(here, account), FailedLogins.STALLED)
        self.assertEqual(self.guard.wait(elsewhere, account), 0)
        self.assertEqual(self.guard.wait(here, "b@example.org"), 0)
        self.guard.end(here, account)
        self.assertEqual(self.guard.wait(here, account), 0)

    def test_open_ones_count_for_the_account_and_the_address(self) -> None:
        for number in range(4):
            self.guard.begin(f"192.0.2.{number}", "a@example.org")
        self.assertEqual(self.guard.wait("198.51.100.1", "a@example.org"), FailedLogins.STALLED)
        for number in range(31):
            self.guard.begin("203.0.113.1", f"{number}@example.org")
        self.assertEqual(self.guard.wait("203.0.113.1", "new@example.org"), FailedLogins.STALLED)
        for number in range(31):
            self.guard.end("203.0.113.1", f"{number}@example.org")
        self.assertEqual(self.guard.wait("203.0.113.1", "new@example.org"), 0)

    def test_success_clears_what_failed_from_the_same_address(self) -> None:
        self.failed(6)
        self.guard.succeeded("192.0.2.1", "a@example.org")
        self.failed(3)
        self.assertEqual(self.guard.wait("192.0.2.1", "a@example.org"), 0)

    def test_success_clears_the_account_only(self) -> None:
        self.failed(12)
        for number in range(31):
            self.failed(1, account=f"{number}@example.org")
        self.guard.succeeded("192.0.2.1", "a@example.org")
        self.assertEqual(self.guard.wait("198.51.100.1", "a@example.org"), 0)
        self.assertGreater(self.guard.wait("192.0.2.1", "a@example.org"), 0)
