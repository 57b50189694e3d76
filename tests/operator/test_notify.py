"""What systemd is told: the datagrams, by a socket that stands in for its own, and when they are sent."""

from __future__ import annotations

import shutil
import tempfile
import threading
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.operator import notify
from minimixproxy.operator.notify import LONGEST, ServiceManager, message, socket_address, watchdog_interval
from minimixproxy.operator.notify_service import INTERVAL, LOOK, NotifyService
from minimixproxy.operator.status_line import status_line
from tests.log_events import log_events
from tests.notify_socket import NotifySocket


class NotifyCase(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        directory = Path(tempfile.mkdtemp())  # short: a socket's path has 107 bytes at most
        self.addCleanup(shutil.rmtree, directory)
        self.path = str(directory / "notify")
        self.systemd = NotifySocket(self.path)
        self.addCleanup(self.systemd.close)

    def manager(self, **environment: str) -> ServiceManager:
        return ServiceManager({"NOTIFY_SOCKET": self.path, **environment}, lambda: 42, lambda: 1234.5)


class MessageTests(NotifyCase):
    def test_what_each_call_says(self) -> None:
        manager = self.manager()
        calls = (
            (manager.ready, "READY=1"),
            (manager.reloading, "RELOADING=1\nMONOTONIC_USEC=1234500000"),
            (manager.stopping, "STOPPING=1"),
            (manager.alive, "WATCHDOG=1"),
            (lambda: manager.status("3 sessions"), "STATUS=3 sessions"),
            (lambda: manager.extend(1.5), "EXTEND_TIMEOUT_USEC=1500000"),
        )
        for call, said in calls:
            call()
            self.assertEqual(self.systemd.heard(), [said])

    def test_a_value_is_one_line(self) -> None:
        """An account's name must not end the proxy, nor feed its watchdog."""
        self.assertEqual(message(STATUS="a\nSTOPPING=1\r\0é"), "STATUS=a\\nSTOPPING=1\\r\\x00é".encode())

    def test_a_socket_in_no_file_system(self) -> None:
        systemd = NotifySocket("@minimixproxy-test-notify")
        self.addCleanup(systemd.close)
        ServiceManager({"NOTIFY_SOCKET": "@minimixproxy-test-notify"}).ready()
        self.assertEqual(systemd.heard(), ["READY=1"])

    def test_addresses(self) -> None:
        for name, address in (("/run/x", "/run/x"), ("@x", "\0x"), ("vsock:2:1", None), ("", None), ("x", None)):
            self.assertEqual(socket_address(name), address)

    def test_nobody_listens(self) -> None:
        manager = ServiceManager({"WATCHDOG_USEC": "1000000"})
        self.assertFalse(manager.listens)
        self.assertIsNone(manager.watchdog)
        events = log_events(self)
        manager.ready()
        self.assertEqual(events, [])

    def test_a_socket_that_is_gone_is_told_of_once(self) -> None:
        manager = self.manager()
        self.systemd.close()
        events = log_events(self)
        manager.ready()
        manager.alive()
        self.assertEqual(len(events), 1)
        self.assertIn("Connection refused", str(events[0]))

    def test_one_that_does_not_read_holds_nobody_up(self) -> None:
        self.patch(notify, "_PATIENCE", 0.001)
        manager = self.manager()
        events = log_events(self)
        for _ in range(2000):  # more than a queue of datagrams takes
            if events:
                break
            manager.alive()
        self.assertEqual(len(events), 1)


class TakingTimeTests(NotifyCase):
    def test_more_time_is_asked_for_while_this_thread_is_busy(self) -> None:
        heard: list[str] = []
        with self.manager().taking_time("reading", interval=0.001):
            while heard.count("EXTEND_TIMEOUT_USEC=60000000") < 3:  # blocks until it was
                heard += self.systemd.waits()
        self.assertEqual(heard[0], "STATUS=reading")
        self.systemd.heard()
        self.assertNotIn("asks for time", [thread.name for thread in threading.enumerate()])

    def test_not_for_ever(self) -> None:
        self.patch(notify, "_TIMES", 2)
        with self.manager().taking_time("stuck", interval=0.0):
            for thread in threading.enumerate():
                if thread.name == "asks for time":
                    thread.join()
        self.assertEqual(len(self.systemd.heard()), 3)

    def test_a_fault_passes(self) -> None:
        def fail() -> None:
            with self.manager().taking_time("in vain"):
                raise OSError("of the test")

        self.assertRaises(OSError, fail)

    def test_nobody_listens(self) -> None:
        with ServiceManager({}).taking_time("reading"):
            self.assertNotIn("asks for time", [thread.name for thread in threading.enumerate()])


class WatchdogTests(unittest.SynchronousTestCase):
    def test_interval(self) -> None:
        table: tuple[tuple[dict[str, str], float | None], ...] = (
            ({}, None),
            ({"WATCHDOG_USEC": "30000000"}, 15.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": ""}, 15.0),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
            ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "we"}, None),
            ({"WATCHDOG_USEC": "0"}, None),
            ({"WATCHDOG_USEC": "-5"}, None),
            ({"WATCHDOG_USEC": "soon"}, None),
            ({"WATCHDOG_USEC": "1"}, 0.05),
        )
        for environment, interval in table:
            self.assertEqual(watchdog_interval(environment, 42), interval, environment)


class Reactor(Clock):
    """A clock that runs, or does when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self._when_running: list[object] = []

    def callWhenRunning(self, call: object) -> None:
        self._when_running.append(call)

    def run(self) -> None:
        for call in self._when_running:
            assert callable(call)
            call()


class ServiceTests(NotifyCase):
    def setUp(self) -> None:
        super().setUp()
        self.reactor = Reactor()
        self.is_ready = True
        self.line = "fine"

    def service(self, manager: ServiceManager) -> NotifyService:
        return NotifyService(manager, self.reactor, lambda: self.is_ready, lambda: self.line)

    def start(self, **environment: str) -> NotifyService:
        service = self.service(self.manager(**environment))
        service.startService()
        return service

    def test_ready_when_the_reactor_runs(self) -> None:
        self.start()
        self.assertEqual(self.systemd.heard(), [])
        self.reactor.run()
        self.assertEqual(self.systemd.heard(), ["READY=1", "STATUS=fine"])

    def test_more_time_until_it_is_ready(self) -> None:
        self.is_ready = False
        self.start()
        self.reactor.run()
        self.reactor.advance(LOOK)
        self.assertEqual(self.systemd.heard(), ["EXTEND_TIMEOUT_USEC=60000000"] * 2)
        self.is_ready = True
        self.reactor.advance(LOOK)
        self.assertEqual(self.systemd.heard(), ["READY=1", "STATUS=fine"])
        self.is_ready = False  # nobody asks any more
        self.reactor.advance(LOOK)
        self.assertEqual(self.systemd.heard(), [])

    def test_a_reload(self) -> None:
        """It begins and ends; while the proxy is not ready, neither is told."""
        self.is_ready = False
        service = self.start()
        self.reactor.run()
        self.systemd.heard()
        ends = service.reloading()
        self.is_ready = True
        ends()
        self.assertEqual(self.systemd.heard(), [])
        ends = service.reloading()
        (told,) = self.systemd.heard()
        self.assertRegex(told, r"^RELOADING=1\nMONOTONIC_USEC=[0-9]+$")
        ends()
        self.assertEqual(self.systemd.heard(), ["READY=1"])

    def test_a_reload_that_ends_after_the_end_has_begun(self) -> None:
        service = self.start()
        self.reactor.run()
        ends = service.reloading()
        service.stopService()
        self.systemd.heard()
        ends()
        self.assertEqual(self.systemd.heard(), [])

    def test_the_status_is_told_when_it_is_another(self) -> None:
        self.start()
        self.reactor.run()
        self.systemd.heard()
        self.reactor.advance(INTERVAL)
        self.assertEqual(self.systemd.heard(), [])
        self.line = "not so fine"
        self.reactor.advance(INTERVAL - 1)
        self.assertEqual(self.systemd.heard(), [])
        self.reactor.advance(1)
        self.assertEqual(self.systemd.heard(), ["STATUS=not so fine"])

    def test_watchdog(self) -> None:
        """Fed by the reactor's timer, before it is ready, too, and until the end only."""
        self.is_ready = False
        service = self.start(WATCHDOG_USEC="10000000")
        self.reactor.run()
        self.systemd.heard()
        heard: list[str] = []
        for _ in range(20):
            self.reactor.advance(1)
            heard += self.systemd.heard()  # a queue takes ten
        self.assertEqual(heard.count("WATCHDOG=1"), 4)
        service.stopService()
        self.assertEqual(self.systemd.heard(), ["STOPPING=1"])
        self.reactor.advance(20)
        self.assertEqual(self.systemd.heard(), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_the_watchdog_outlives_a_fault_in_the_status(self) -> None:
        service = self.service(self.manager(WATCHDOG_USEC="10000000"))
        self.patch(service, "_line", lambda: 1 // 0)
        service.startService()
        self.reactor.run()
        self.reactor.advance(5)
        self.assertEqual(self.systemd.heard(), ["WATCHDOG=1", "READY=1", "WATCHDOG=1"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stopped_before_the_reactor_runs(self) -> None:
        self.start().stopService()
        self.reactor.run()
        self.assertEqual(self.systemd.heard(), ["STOPPING=1"])

    def test_without_systemd_nothing_runs(self) -> None:
        service = self.service(ServiceManager({}))
        service.startService()
        self.reactor.run()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        service.stopService()


class LineTests(unittest.SynchronousTestCase):
    def summary(self, **other: object) -> dict[str, object]:
        totals = {"sessions": 3, "sleeping": 0, "accounts": 1, "streams": {"open": 1}, "rooms": {"joined": 2}}
        good = {"troubles": [], "journal": {"durable": True, "error": ""}, "totals": totals, "client_proxy": []}
        return {**good, "cluster": None, **other}

    def totals(self, **other: object) -> dict[str, object]:
        totals = self.summary()["totals"]
        assert isinstance(totals, dict)
        return self.summary(totals={**totals, **other})

    def test_all_is_well(self) -> None:
        self.assertEqual(status_line(self.summary()), "3 sessions of 1 account; 2 times in a room")
        self.assertIn("3 sessions (1 asleep) of", status_line(self.totals(sleeping=1)))

    def test_rooms_that_it_is_not_in(self) -> None:
        self.assertIn("0 times in a room, 3 times not (yet)", status_line(self.totals(rooms={"interrupted": 3})))

    def test_accounts_that_are_in_trouble(self) -> None:
        line = status_line(self.totals(streams={"refused": 2, "waiting": 1}))
        self.assertTrue(line.endswith("; the login of 2 accounts is refused; 1 account cannot reach the server"), line)

    def wrong(self, *texts: str) -> str:
        return status_line(self.summary(troubles=[{"code": "some", "text": text} for text in texts]))

    def test_what_is_wrong_comes_first(self) -> None:
        """All of it that `minimixproxy status` tells, whatever it is, as far as a line has room for it."""
        numbers = "3 sessions of 1 account; 2 times in a room"
        self.assertEqual(self.wrong("disk full"), f"disk full; {numbers}")
        self.assertEqual(self.wrong("a", "b", "c"), f"a; b; c; {numbers}")
        self.assertEqual(self.wrong(*"abcd"), f"a; b; c; 1 more is wrong: see minimixproxy status; {numbers}")
        self.assertEqual(self.wrong(*"abcdefg"), f"a; b; c; 4 more are wrong: see minimixproxy status; {numbers}")

    def test_it_is_one_line_and_not_long(self) -> None:
        line = self.wrong(*["two\nlines" * 100] * 50)
        self.assertNotIn("\n", line)
        self.assertLess(len(line), LONGEST)
        self.assertTrue(line.endswith("2 times in a room"))
        self.assertIn(line.encode(), message(STATUS=line))

    def test_a_cluster(self) -> None:
        def line(others: int, free: int = 0) -> str:
            return status_line(self.summary(cluster={"others": [{}] * others, "free": free}))

        self.assertTrue(line(2).endswith("; 2 times in a room; one of 3 processes of the cluster"), line(2))
        self.assertTrue(line(0).endswith("; 2 times in a room; the only process of the cluster"), line(0))
        self.assertTrue(line(1, 12).endswith("; one of 2 processes of the cluster; 12 accounts with no process yet"))

    def test_client_proxy_alone(self) -> None:
        domain = {"domain": "proxy.example.org", "connected": True, "resources": 1}
        alone = self.summary(journal=None, client_proxy=[domain])
        self.assertEqual(status_line(alone), "client_proxy proxy.example.org: 1 resource")
        lost = self.summary(journal=None, client_proxy=[{**domain, "connected": False}])
        self.assertEqual(status_line(lost), "")
