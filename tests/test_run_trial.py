"""The closing line of a test run: what counts as passed and failed."""

import importlib.util
from pathlib import Path
from types import ModuleType

from twisted.trial import unittest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "run_trial.py"


def load() -> ModuleType:
    specification = importlib.util.spec_from_file_location("run_trial", TOOL)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


class ClosingLineTests(unittest.SynchronousTestCase):
    # trial's last line, and ours
    LINES = (
        ("PASSED (successes=12)", "12 passed, 0 failed, 0 skipped"),
        ("PASSED (skips=2, successes=10)\n", "10 passed, 0 failed, 2 skipped"),
        ("FAILED (failures=1, errors=2, successes=3)", "3 passed, 3 failed, 0 skipped"),
        ("FAILED (unexpectedSuccesses=1, expectedFailures=4)", "4 passed, 1 failed, 0 skipped"),
        ("PASSED", "0 passed, 0 failed, 0 skipped"),
        ("Killed", "0 passed, 0 failed, 0 skipped"),
    )

    def test_lines(self) -> None:
        tool = load()
        for summary, expected in self.LINES:
            self.assertEqual(tool.closing_line(tool.counts(summary)), expected)
