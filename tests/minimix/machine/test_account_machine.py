"""The core is total: `AccountMachine` with a fixed number of examples, always the same."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from tests.examples import examples
from tests.minimix.machine.account_machine import AccountMachine

EXAMPLES = settings(
    max_examples=examples(20),  # of some 70 happenings each: `make fuzz` goes on, by the hundred
    stateful_step_count=30,
    phases=(Phase.generate,),  # to make a fault smaller takes minutes: `make fuzz` does
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)


class AccountMachineTest(SynchronousTestCase):
    def test_any_sequence(self) -> None:
        try:
            run_state_machine_as_test(AccountMachine, settings=EXAMPLES)
        except Exception as error:
            steps = "\n".join(getattr(error, "__notes__", ()))  # which trial does not show
            raise AssertionError(f"{error}\n{steps}") from error
