"""Each attack that `make bench` measures, while somebody else talks: he is answered, and no fault is in the log."""

from collections.abc import Callable
from typing import Any

from tests.hostile.ground import Scenario
from tests.hostile.scenarios import SCENARIOS, undisturbed
from tests.integration.cases import IntegrationTestCase, on_both_servers


class ScenarioCase(IntegrationTestCase):
    timeout = 240

    def much(self, number: int) -> int:
        return number * 2 // 5

    @property
    def proxy_port(self) -> int:
        return self.proxy.port


def _test(scenario: Scenario) -> Callable[[Any], Any]:
    async def test(self: ScenarioCase) -> None:
        attack = await scenario.prepare(self)
        start = len(self.proxy.process.lines)
        await undisturbed(self, attack)
        log = "\n".join(self.proxy.process.lines[start:])
        for words in ("account stream lost", "is broken", "silent for", "takes nothing in"):
            self.assertNotIn(words, log)

    test.__doc__ = scenario.prepare.__doc__
    return test


class ScenarioTests(ScenarioCase):
    pass


for _scenario in SCENARIOS:
    setattr(ScenarioTests, f"test_{_scenario.prepare.__name__}", _test(_scenario))

on_both_servers(ScenarioTests)
del ScenarioTests
