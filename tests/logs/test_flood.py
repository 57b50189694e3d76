"""A line for each stanza of somebody who means harm must not fill the disk; how much was left out is told."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from twisted.logger import eventAsText
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.logs.flood import BURST, BURST_OF_ALL, INTERVAL, MAX_NAMES, MAX_TOLD, PER_SECOND, LogFlood, about
from minimixproxy.logs.logger import FLOOD, Logger
from minimixproxy.logs.service import LogFloodService
from minimixproxy.safety_net import SafetyNet
from tests.clientproxy.scene import Scene
from tests.log_events import observe

KIND = "{account} says what is absurd"


class AboutTest(SynchronousTestCase):
    def test_names(self) -> None:
        for values, name in (
            ({"jid": "alice@a.test/phone"}, "alice@a.test"),
            ({"where": "session of alice@a.test/x, from the client"}, "session of alice@a.test"),
            ({"room": "r@muc.a.test", "account": "alice@a.test"}, "alice@a.test"),
            ({"sender": "stranger@b.test", "domain": "p.a.test"}, "p.a.test"),
            ({"address": "192.0.2.1", "condition": "x"}, "192.0.2.1"),
            ({"jid": None, "text": "x"}, "None"),
            ({"text": "alice@a.test"}, ""),
            ({"jid": f"{'a' * 1000}@a.test/x"}, "a" * 300),
        ):
            self.assertEqual(about(values), name)


class LogFloodTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.flood = LogFlood()
        self.flood.begin(self.clock.seconds)

    def says(self, name: str, number: int, kind: str = KIND) -> int:
        """Return how many lines of so many are written."""
        return sum(self.flood.admits(kind, {"account": name}) for _ in range(number))

    def test_each_account_has_its_own(self) -> None:
        self.assertEqual(self.says("alice@a.test", 1000), BURST)
        self.assertEqual(self.says("bob@a.test", 10), 10)
        self.assertEqual(self.says("alice@a.test", 10, "{account} says something else"), 10)
        self.assertEqual(self.flood.told(), [(KIND, "alice@a.test", 1000 - BURST)])
        self.assertEqual(self.flood.told(), [])

    def test_devices_are_one_account(self) -> None:
        written = sum(self.flood.admits("{jid}", {"jid": f"alice@a.test/{number}"}) for number in range(1000))
        self.assertEqual(written, BURST)

    def test_time(self) -> None:
        self.says("alice@a.test", 1000)
        self.clock.advance(10)
        self.assertEqual(self.says("alice@a.test", 1000), 10 * PER_SECOND)

    def test_many_accounts(self) -> None:
        """Somebody with many accounts, or with stanzas in many names, has one limit for all of them."""
        written = sum(self.says(f"a{number}@a.test", 1) for number in range(BURST_OF_ALL * 2))
        self.assertEqual(written, BURST_OF_ALL)
        told = self.flood.told()
        self.assertEqual(len(told), MAX_TOLD + 1)
        self.assertEqual(told[-1], (KIND, "", BURST_OF_ALL - MAX_TOLD))
        self.assertEqual(self.says("bob@a.test", 1, "another"), 1)

    def test_memory(self) -> None:
        for number in range(MAX_NAMES + BURST_OF_ALL + 100):
            self.says(f"a{number}@a.test", 1)
        self.assertEqual(len(self.flood._left_out), MAX_NAMES + 1)
        self.assertEqual(self.flood._left_out[KIND, ""], 100)

    def test_not_begun(self) -> None:
        self.flood.end()
        self.assertEqual(self.says("alice@a.test", 1000), 1000)
        self.assertEqual(LogFlood().admits(KIND, {}), True)


class LoggedTest(SynchronousTestCase):
    """What is written, by whoever writes it."""

    def setUp(self) -> None:
        self.lines: list[str] = []
        observe(self, self._observe)
        self.clock = Clock()
        self.service = LogFloodService(self.clock)
        self.service.startService()
        self.addCleanup(lambda: self.service.running and self.service.stopService())

    def _observe(self, event: Any) -> None:
        if str(event.get("log_namespace", "")).startswith(("minimixproxy", "tests")):
            self.lines.append(eventAsText(event, includeTimestamp=False, includeSystem=False))

    def told(self) -> list[str]:
        return [line for line in self.lines if "lines were left out" in line]

    def test_told_each_minute(self) -> None:
        for _ in range(BURST + 7):
            Logger().warn(KIND, account="alice@a.test")
        self.assertEqual((len(self.lines), self.told()), (BURST, []))
        self.clock.advance(INTERVAL)
        self.assertEqual(self.told(), ["7 lines were left out, for alice@a.test, like: " + KIND])
        self.clock.advance(INTERVAL)
        self.assertEqual(len(self.told()), 1)

    def test_told_at_the_end(self) -> None:
        for _ in range(BURST + 7):
            Logger().warn(KIND, account="alice@a.test")
        self.service.stopService()
        self.assertEqual(len(self.told()), 1)
        for _ in range(BURST * 2):
            Logger().warn(KIND, account="alice@a.test")
        self.assertEqual(len(self.lines), BURST * 3 + 1)

    def test_absurd_stanzas_are_counted_all_the_same(self) -> None:
        net = SafetyNet()
        for number in range(BURST * 3):
            net.skip("message", 10, "0" * 64, f"session of alice@a.test/{number}, from the client", "too deep")
        self.assertEqual((net.skipped, len(self.lines)), (BURST * 3, BURST))

    def test_debug_lines_are_not_bounded(self) -> None:
        """Nobody writes those who does not want all of them."""
        self.assertTrue(FLOOD.admits(KIND, {}))
        for _ in range(BURST * 2):
            Logger().debug(KIND, account="alice@a.test")
        self.assertEqual(len(self.lines), BURST * 2)

    def test_what_a_domain_says(self) -> None:
        domain = Scene().domain
        self.lines.clear()
        domain.full("max_tokens")
        domain.unusable("message", {"from": "stranger@b.test"}, "0" * 64, "too deep")
        domain.unusable("message", {}, "0" * 64, "too deep")
        left_out = f"proxy.example.org: left out a message (SHA-256 {'0' * 64})"
        self.assertEqual(
            self.lines,
            [
                "proxy.example.org: forgot the oldest: max_tokens (1 so far)",
                f"{left_out} from stranger@b.test: too deep (1 so far)",
                f"{left_out}: too deep (2 so far)",
            ],
        )

    def test_what_a_domain_drops(self) -> None:
        domain = Scene().domain
        self.lines.clear()
        for number in range(BURST * 3):
            domain.unusable("message", {"from": f"stranger{number}@b.test"}, "0" * 64, "too deep")
        self.assertEqual((domain.dropped["too deep"], len(self.lines)), (BURST * 3, BURST))
