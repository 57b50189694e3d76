"""Run tests in parallel and close with one plain line, "N passed, N failed, N skipped".

Usage: run_trial.py [--jobs N] [--unit] [--install] [--record] [--temp-directory DIRECTORY] TESTS...

Test classes, the longest first, go to worker processes, each with servers, ports and directories of its own. What a
failing test and its servers printed is shown in one piece. The exit status is 0 if all passed that were found, and 1
if one failed, did not run, or none was found.
"""

import argparse
import fcntl
import importlib
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import asyncioreactor

sys.path.insert(0, str(Path(__file__).resolve().parent))

from testrun.plan import Plan, make_plan, read_durations, write_durations
from testrun.pool import Pool, Result

LINE = "=" * 100
MANY = 16  # workers
OUTCOMES = ("passed", "failed", "skipped")
INSTALL = Path(__file__).with_name("install-system")
MARKER = "_trial_marker"  # trial's own: what has none is not emptied


class Report:
    """Prints what comes of tests, and keeps count."""

    def __init__(self, plan: Plan) -> None:
        self.results: dict[str, Result] = {}
        self.failed: list[str] = []
        self._classes = {test: piece.name for piece in plan.pieces for test in piece.tests}
        self._tests: dict[str, list[str]] = {}
        for test, name in self._classes.items():
            self._tests.setdefault(name, []).append(test)
        self._left = Counter(self._classes.values())
        self._began = time.monotonic()

    def __call__(self, result: Result) -> None:
        self.results[result.test] = result
        if result.outcome == "failed":
            where = f"in worker {result.worker}, after {result.seconds:.1f} s"
            self.fault(result.test, where, result.text, result.printed)
        elif result.text:
            print(f"{result.outcome} {result.test}: {result.text}")  # why it was skipped, or a warning
        name = self._classes[result.test]
        self._left[name] -= 1
        if not self._left[name]:
            self._class_done(name)

    def fault(self, name: str, where: str, text: str, printed: str = "") -> None:
        self.failed.append(name)
        print(f"{LINE}\nFAILED {name} ({where})\n{text}")
        if printed:
            print(f"--- printed meanwhile:\n{printed}")
        print(LINE, flush=True)

    def _class_done(self, name: str) -> None:
        done = [self.results[test] for test in self._tests[name] if test in self.results]
        counts = Counter(result.outcome for result in done)
        what = ", ".join(f"{counts[outcome]} {outcome}" for outcome in OUTCOMES if counts[outcome])
        seconds = sum(result.seconds for result in done)
        print(f"{time.monotonic() - self._began:6.1f} s  {name}: {what} ({seconds:.1f} s)", flush=True)

    def durations(self) -> dict[str, list[float]]:
        """Seconds of every test that passed, by class."""
        found: dict[str, list[float]] = {}
        for test, result in self.results.items():
            if result.outcome == "passed":
                found.setdefault(self._classes[test], []).append(result.seconds)
        return found


def closing_line(passed: int, failed: int, skipped: int) -> str:
    return f"{passed} passed, {failed} failed, {skipped} skipped"


def finish(plan: Plan, report: Report, problems: list[str]) -> int:
    """Print what has not been said yet and the closing line; returns the exit status."""
    for name, why in plan.broken.items():
        report.fault(name, "could not be loaded", why)
    for problem in problems:
        report.fault("the run itself", "no test", problem)
    for test in plan.tests:
        if test not in report.results:
            report.fault(test, "was found, and not run", "")
    if report.failed:
        print("\n".join(["Failed:", *(f"  {name}" for name in report.failed)]))
    counts = Counter(result.outcome for result in report.results.values())
    print(closing_line(counts["passed"], len(report.failed), counts["skipped"]), flush=True)
    return 0 if counts["passed"] and not report.failed else 1


def times(report: Report, path: Path, wall: float) -> None:
    """Print what the run cost and the slowest tests; all go to a file: seconds, and CPU with servers and proxies."""
    results = sorted(report.results.values(), key=lambda result: -result.seconds)
    lines = [f"{one.seconds:7.2f} {one.cpu:6.2f}  {one.test}" for one in results]
    path.write_text("\n".join([*lines, ""]))
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    cpu = sum(usage.ru_utime + usage.ru_stime for usage in used)
    print("\n".join([f"The slowest (seconds, and of CPU; all are in {path}):", *lines[:10]]))
    print(f"{wall:.0f} s, and {cpu:.0f} s of CPU with all servers and proxies")


def own_directory(wanted: Path) -> Path:
    """An empty directory of this name, or if another run has that, with a number. Held until this process ends."""
    for number in itertools.count():
        path = wanted.with_name(f"{wanted.name}-{number}") if number else wanted
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            continue
        empty(path)
        return path
    raise AssertionError


def empty(path: Path) -> None:
    """Remove what an earlier run left, and nothing else."""
    found = list(path.iterdir())
    if found and path / MARKER not in found:
        raise SystemExit(f"{path} is not empty, and was not made by a test run")
    (path / MARKER).touch()
    for item in found:
        if item.is_dir() and not item.is_symlink():
            shutil.rmtree(item, ignore_errors=True)
        elif item.name != MARKER:
            item.unlink()


def arguments(line: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("tests", nargs="+", help="packages, modules, classes or tests, by name")
    parser.add_argument("--jobs", type=int, help="number of workers, if not as many as keep all cores at work")
    parser.add_argument("--unit", action="store_true", help="only what needs no server and no other program")
    parser.add_argument(
        "--install", action="store_true", help="first install the Debian packages that these tests need"
    )
    parser.add_argument("--limit", type=float, help="seconds that one test may take")
    parser.add_argument("--record", action="store_true", help="note in tests/durations.txt how long tests took")
    parser.add_argument("--temp-directory", type=Path, default=Path("_trial_temp"), help="_trial_temp")
    return parser.parse_args(line)


def install(plan: Plan, run: Callable[[list[str]], object] = subprocess.check_call) -> None:
    """Install what servers and clients of Debian these tests need: none, if they need no programs."""
    if plan.needs_programs:
        run([str(INSTALL)])


def workers(cores: int, *, unit: bool) -> int:
    """How many keep these cores at work: with servers most of the time is waiting. Each takes about a gigabyte."""
    return cores + 2 if unit else min(4 * cores, MANY)


def prepare(*, unit: bool) -> None:
    """See to it that bytecode is kept, and what hypothesis finds out about Unicode: for all workers and proxies.

    `unit`: tests/examples.py has some of the examples tried.
    """
    if unit:
        os.environ.setdefault("MINIMIXPROXY_TEST_PART", "8")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", os.path.abspath(".hypothesis"))


def found_nursery() -> Any:
    """What starts proxies for the tests in this directory, if they have any."""
    there = Path("tests/integration/nursery.py").exists()
    return importlib.import_module("tests.integration.nursery") if there else None


def main(line: list[str]) -> int:
    options = arguments(line)
    prepare(unit=options.unit)
    jobs = options.jobs or workers(os.cpu_count() or 1, unit=options.unit)
    sys.path.insert(0, os.getcwd())
    nursery = found_nursery()
    program = nursery and nursery.begin(options.tests)
    if program:
        program()
        return 0
    asyncioreactor.install()  # slixmpp and aioxmpp need an asyncio loop; Twisted can share theirs
    plan = make_plan(options.tests, unit=options.unit, durations=read_durations())
    if options.install:
        install(plan)
    report = Report(plan)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    directory = own_directory(options.temp_directory.absolute())
    print(f"{len(plan.tests)} tests, at most {jobs} workers, in {directory}", flush=True)
    pool = Pool(plan, jobs, directory, report, options.limit)
    began = time.monotonic()
    pool.run()
    if nursery:
        nursery.end()
    times(report, directory / "times", time.monotonic() - began)
    if options.record:
        write_durations(report.durations())
    return finish(plan, report, pool.problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
