"""A state machine of hypothesis, with one random seed after the other: `python -m fuzz.machines NAME SEED SECONDS`."""

from __future__ import annotations

import sys
import time
import traceback
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.internal.conjecture import engine, providers
from hypothesis.stateful import run_state_machine_as_test

import tests
from fuzz.quiet import quieten
from fuzz.table import machine

ROUND = 50  # examples under one seed
STEPS = 50  # of one example
FOUND = 77  # exit status, as libFuzzer's


def repeat(machine_class: Any, number: int) -> None:
    """Run one round. Raises what the machine raises, the example made small."""
    examples = settings(
        max_examples=ROUND,
        stateful_step_count=STEPS,
        derandomize=False,  # as the tests' profile has it
        database=None,
        deadline=None,
        print_blob=False,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(machine_class)
    run_state_machine_as_test(machine_class, settings=examples)


def main(name: str, first: int, seconds: float) -> int:
    """Run rounds, one at least, until the time is over or something is found; lines tell how many examples."""
    quieten()
    providers._get_local_constants = tests.local_constants
    engine.MAX_SHRINKING_SECONDS = tests.LONGEST_SHRINKING
    machine_class = machine(name)
    end = time.monotonic() + seconds
    number = first
    while number == first or time.monotonic() < end:
        try:
            repeat(machine_class, number)
        except Exception:  # noqa: BLE001 (whatever it is, it is what we look for)
            traceback.print_exc()
            print(f"seed: {number}", flush=True)
            return FOUND
        number += 1
        print(f"examples: {(number - first) * ROUND}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
