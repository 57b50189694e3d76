"""No test may fail since the machine is slow."""

import ast
from collections.abc import Iterator
from pathlib import Path

from hypothesis import HealthCheck, settings
from twisted.trial.unittest import SynchronousTestCase

import tests

PROFILE = Path(tests.__file__)
FILES = sorted(set(PROFILE.parent.rglob("*.py")) - {PROFILE})
SETTING = ("settings", "register_profile")
ALL_CHECKS = "list(HealthCheck)"
# What a bare `settings` may not say again: the profile in tests/__init__.py does, for all.
OF_THE_PROFILE = {"deadline", "derandomize", "database"}


def faults(source: str) -> Iterator[str]:
    """What in a test module would let hypothesis fail it for time, with line numbers."""
    if not any(f"{name}(" in source for name in SETTING):
        return  # as most: to take them apart takes a while
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not ast.unparse(node.func).endswith(SETTING):
            continue
        for keyword in node.keywords:
            value = ast.unparse(keyword.value)
            if keyword.arg == "max_examples" and value.isdigit():
                yield f"{node.lineno}: tests/examples.py says how many, for `make unit`"
            elif keyword.arg in OF_THE_PROFILE:
                yield f"{node.lineno}: {keyword.arg} is set in tests/__init__.py, for all"
            elif keyword.arg == "suppress_health_check" and value != ALL_CHECKS and "too_slow" not in value:
                yield f"{node.lineno}: {value} lets the check for slowness through"


class HypothesisTests(SynchronousTestCase):
    def test_the_profile(self) -> None:
        profile = settings.default
        assert profile is not None
        self.assertIsNone(profile.deadline)
        self.assertIn(HealthCheck.too_slow, profile.suppress_health_check)
        self.assertTrue(profile.print_blob)

    def test_nobody_sets_a_deadline(self) -> None:
        found = [f"{file}:{fault}" for file in FILES for fault in faults(file.read_text("utf-8"))]
        self.assertEqual(found, [])

    def test_one_that_does_is_found(self) -> None:
        for line in (
            "@settings(deadline=200)\ndef f(): pass",
            "@settings(max_examples=200)\ndef f(): pass",
            "run(settings=hypothesis.settings(deadline=None))",
            "settings(suppress_health_check=[HealthCheck.filter_too_much])",
        ):
            self.assertEqual(len(list(faults(line))), 1, line)
        self.assertEqual(
            list(faults(f"@settings(max_examples=examples(5), suppress_health_check={ALL_CHECKS})\ndef f(): 0")), []
        )
