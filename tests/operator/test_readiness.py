"""Why clients had better go elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.operator import readiness
from minimixproxy.operator.readiness import Readiness


@dataclass
class Journal:
    durable: bool = True
    error: str = ""


@dataclass
class Domain:
    domain: str
    connected: bool
    standing_by: bool = False


class ReadinessTests(SynchronousTestCase):
    def test_all_reasons_are_told(self) -> None:
        one = Readiness(lambda: ["a"], list, lambda: ["b", "c"])
        self.assertEqual((one.reasons(), Readiness().reasons()), (["a", "b", "c"], []))

    def test_state(self) -> None:
        for running, journal, reasons in (
            (True, Journal(), []),
            (False, Journal(False, "none yet"), ["state is not loaded"]),
            (True, Journal(False, "OSError: no space"), ["what clients are told is not on disk: OSError: no space"]),
            (True, Journal(False), ["what clients are told is not on disk: it does not answer"]),
        ):
            check = readiness.of_state(partial(bool, running), partial(replace, journal))
            self.assertEqual(list(check()), reasons)

    def test_servers(self) -> None:
        """As long as one can be reached its users can log in."""
        domains = ["a.test", "b.test"]
        for unreachable, reasons in (
            ([], []),
            (["b.test"], []),
            (domains, ["no server can be reached: a.test, b.test"]),
        ):
            self.assertEqual(list(readiness.of_servers(lambda: domains, partial(list, unreachable))()), reasons)

    def test_client_proxy(self) -> None:
        for domains, reasons in (
            ([Domain("x.test", True), Domain("y.test", False)], []),
            ([Domain("x.test", False, standing_by=True)], []),
            ([Domain("x.test", False)], ["no server has accepted a domain of client_proxy: x.test"]),
        ):
            self.assertEqual(list(readiness.of_client_proxy(domains)()), reasons)
