"""Limits before authentication, on a clock of our own."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.c2s.limits import ConnectionCounter, FailedLogins, LoginGuard, address_key


class AddressKeyTest(unittest.TestCase):
    def test_keys(self) -> None:
        cases = {
            "192.0.2.1": "192.0.2.1",
            "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
            "2001:db8:1:2:ffff::": "2001:db8:1:2::/64",
            "::ffff:192.0.2.1": "192.0.2.1",
            "fe80::1%eth0": "fe80::/64",
            "/run/socket": "/run/socket",
        }
        for host, key in cases.items():
            self.assertEqual(address_key(host), key)


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

    def test_success_clears_the_account_only(self) -> None:
        self.failed(12)
        for number in range(31):
            self.failed(1, account=f"{number}@example.org")
        self.guard.succeeded("192.0.2.1", "a@example.org")
        self.assertEqual(self.guard.wait("198.51.100.1", "a@example.org"), 0)
        self.assertGreater(self.guard.wait("192.0.2.1", "a@example.org"), 0)
