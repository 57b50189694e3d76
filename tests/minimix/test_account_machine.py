"""The core is total: `AccountMachine` with a fixed number of examples, always the same."""

from __future__ import annotations

from contextlib import AbstractContextManager
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
from hypothesis.internal.cache import LRUCache
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from tests.minimix.account_machine import AccountMachine

EXAMPLES = settings(
    max_examples=40,
    stateful_step_count=30,
    phases=(Phase.generate,),  # to make a fault smaller takes minutes: `make fuzz` does
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


def without_constants() -> AbstractContextManager[object]:
    """Keep hypothesis from the constants in all modules that are loaded: other tests before would change examples."""
    return mock.patch.multiple(providers, _get_local_constants=Constants, CONSTANTS_CACHE=LRUCache(1024))


class AccountMachineTest(SynchronousTestCase):
    def test_any_sequence(self) -> None:
        try:
            with without_constants():
                run_state_machine_as_test(AccountMachine, settings=EXAMPLES)
        except Exception as error:
            steps = "\n".join(getattr(error, "__notes__", ()))  # which trial does not show
            raise AssertionError(f"{error}\n{steps}") from error
