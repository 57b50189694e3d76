"""The tests of `make unit`, and on demand those with PostgreSQL, one at a time, in a process that runs nothing else."""

from __future__ import annotations

import importlib
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path

from mutants import postgresql

ROOT = Path(__file__).resolve().parent.parent
OTHERS = {"integration", "hostile", "fuzz", "tools"}  # packages of tests/ that need servers, or are not of the product
ALSO = {"tests.tools.test_draw_commands"}  # what is written of the product's commands


def modules() -> list[str]:
    """The names of the modules of unit tests, at any depth."""
    paths = [path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    names = {".".join(path.with_suffix("").parts): path for path in paths}
    return [name for name, path in names.items() if path.parts[1] not in OTHERS or name in ALSO]


def prepare() -> None:
    """Make this process one in which tests run: a reactor, and hypothesis always with the same examples."""
    from hypothesis import HealthCheck, Phase, settings
    from twisted.internet import asyncioreactor
    from twisted.logger import globalLogBeginner

    sys.path.insert(0, str(ROOT))
    sys.dont_write_bytecode = True
    asyncioreactor.install()
    # Until logging begins Twisted keeps what is logged, and all that this refers to: no test would see that it is gone.
    globalLogBeginner.beginLoggingTo([], discardBuffer=True, redirectStandardIO=False)
    importlib.import_module("tests")  # chooses a profile, too
    settings.register_profile(
        "mutants",
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")
    if postgresql.given():
        postgresql.join()


def names_in(module: str) -> tuple[list[str], list[str]]:
    """The tests of a module as `tests.package.test_module.Class.test_name`, and those that want PostgreSQL."""
    from twisted.trial.runner import TestLoader

    loaded = importlib.import_module(module)
    if getattr(loaded, "needs_programs", False):  # see tools/run_trial.py
        return [], []
    cases = list(_flat(TestLoader().loadModule(loaded)))
    alone = [case.id() for case in cases if not getattr(case, "needs_programs", False)]
    return alone, [case.id() for case in cases if getattr(case, "postgresql", False)]


def _flat(suite: unittest.TestSuite | unittest.TestCase) -> Iterator[unittest.TestCase]:
    if isinstance(suite, unittest.TestCase):
        yield suite
    else:
        for part in suite:
            yield from _flat(part)


def passes(name: str) -> str:
    """Run one test. Return what went wrong, "skipped", or "" if it passes."""
    from twisted.trial.reporter import TestResult

    module, case, method = name.rsplit(".", 2)
    result = TestResult()
    getattr(importlib.import_module(module), case)(method).run(result)
    if result.skips:
        return "skipped"
    if postgresql.given() and "tests.storage.cases" in sys.modules:
        postgresql.drop()
    wrong = [*result.failures, *result.errors, *result.unexpectedSuccesses]
    return str(wrong[0][-1])[-300:] or "failed" if wrong else ""
