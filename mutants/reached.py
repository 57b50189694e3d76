"""Which test reaches which line, measured once with coverage and kept in `.mutants/`.

Each module of tests is measured in a process of its own, and again when it, something of the tests that it imports, or
a module of the product that it reached has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mutants import children, faults, postgresql, unittests
from mutants.unittests import ROOT

CACHE = ROOT / ".mutants"
PATIENCE = 180.0  # seconds without a word from a test
CONFIGURATION = (
    "[run]\ncontext = ${MUTANTS_TEST}\nparallel = True\nsigterm = True\npatch = _exit\nsource_pkgs = minimixproxy\n"
)


@dataclass
class Reached:
    """The seconds that each test takes, the tests that reach each line of a file, and those that do not pass anyway."""

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(set)))
    wrong: dict[str, str] = field(default_factory=dict)

    def add(self, measured: dict[str, Any]) -> None:
        """Of those that want PostgreSQL only if there is one."""
        left_out = set() if postgresql.given() else set(measured["postgresql"])
        seconds = {test: taken for test, taken in measured["seconds"].items() if test not in left_out}
        self.seconds |= seconds
        self.wrong |= {test: why for test, why in measured["wrong"].items() if test not in left_out}
        for path, lines in measured["lines"].items():
            for line, tests in lines.items():
                self.lines[path][int(line)].update(test for test in tests if test in seconds)


def measure(jobs: int, tell: Callable[[str], None]) -> Reached:
    """Return what is reached, measuring what is not known."""
    CACHE.mkdir(exist_ok=True)
    reached = Reached()
    to_do = []
    files = _files()
    for module in unittests.modules():
        known = _known(module, files)
        if known is None:
            to_do.append(module)
        else:
            reached.add(known)
    if to_do:
        tell(f"measuring which lines {len(to_do)} modules of tests reach")
    for task in children.run((_task(module) for module in to_do), jobs):
        if task.ended:
            sys.exit(f"{task.subject}: {task.ended}: {task.said[-1:]}")
        if _files() != files:
            sys.exit("files have changed meanwhile: begin anew")
        measured = task.said[-1]
        measured["digest"] = _digest(measured, files)
        _file(task.subject).write_text(json.dumps(measured), "utf-8")
        reached.add(measured)
    return reached


def _task(module: str) -> children.Task:
    return children.Task(module, partial(_measure, module), lambda _said: children.longer(PATIENCE))


def _file(module: str) -> Path:
    return CACHE / f"{module}.json"


def _files() -> dict[str, bytes]:
    """What the files hold that a measurement depends on, as hashes."""
    paths = [path for folder in ("minimixproxy", "tests") for path in (ROOT / folder).rglob("*.py")]
    return {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).digest() for path in paths}


def _known(module: str, files: dict[str, bytes]) -> dict[str, Any] | None:
    """What was measured before, if nothing that it depends on has changed."""
    try:
        measured: dict[str, Any] = json.loads(_file(module).read_text("utf-8"))
    except FileNotFoundError:
        return None
    if "imported" not in measured:  # it is of another version of this
        return None
    if postgresql.given() and not {*measured["postgresql"]} <= {*measured["seconds"], *measured["wrong"]}:
        return None
    if any(why != "skipped" for why in measured["wrong"].values()):  # perhaps the machine was too busy
        return None
    return measured if measured["digest"] == _digest(measured, files) else None


def _digest(measured: dict[str, Any], files: dict[str, bytes]) -> str:
    """Of what is imported of the tests, and of the product's files that are reached."""
    paths = [*measured["imported"], *sorted(measured["lines"])]
    return hashlib.sha256(b"".join(files.get(path, b"-") for path in paths)).hexdigest()


def _imported() -> list[str]:
    """The files of tests that this process has imported: the module itself, and what it shares with others."""
    found = [Path(path) for module in list(sys.modules.values()) if (path := getattr(module, "__file__", None))]
    return sorted(str(path.relative_to(ROOT)) for path in found if path.is_relative_to(ROOT / "tests"))


def _measure(module: str, say: children.Say) -> None:
    """In the child: run all tests of a module."""
    import coverage

    os.environ["MUTANTS_TEST"] = module
    _measure_processes_too(Path.cwd())
    unittests.prepare()
    measurer = coverage.Coverage(data_file=None, config_file=False, include=[str(ROOT / "minimixproxy" / "*")])
    measurer.start()
    seconds: dict[str, float] = {}
    wrong: dict[str, str] = {}
    alone, with_postgresql = unittests.names_in(module)
    for name in [*alone, *(with_postgresql if postgresql.given() else ())]:
        measurer.switch_context(name)
        os.environ["MUTANTS_TEST"] = name
        began = time.monotonic()
        outcome = unittests.passes(name)
        if outcome:
            wrong[name] = outcome
        else:
            seconds[name] = round(time.monotonic() - began, 4)
        say(name)
    measurer.stop()
    lines = _lines([measurer.get_data(), *_of_processes(Path.cwd())])
    found = {"seconds": seconds, "wrong": wrong, "lines": lines}
    say({**found, "postgresql": with_postgresql, "imported": _imported()})


def _measure_processes_too(directory: Path) -> None:
    """What tests start is measured by coverage in the same way."""
    configuration = directory / "coveragerc"
    configuration.write_text(f"{CONFIGURATION}data_file = {directory}/processes\n", "utf-8")
    os.environ["COVERAGE_PROCESS_START"] = str(configuration)
    os.environ["PYTHONPATH"] = faults.PYTHONPATH


def _of_processes(directory: Path) -> Iterator[Any]:
    import coverage

    for path in directory.glob("processes.*"):
        data = coverage.CoverageData(basename=str(path))
        data.read()
        yield data


def _lines(measured: list[Any]) -> dict[str, dict[int, list[str]]]:
    """Path -> line -> tests. What was reached while importing is nobody's."""
    found: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for data in measured:
        for path in data.measured_files():
            if not Path(path).is_relative_to(ROOT):
                continue  # a process that imports what is installed
            for line, contexts in data.contexts_by_lineno(path).items():
                if tests := {context for context in contexts if context}:
                    found[str(Path(path).relative_to(ROOT))][line] |= tests
    return {path: {line: sorted(tests) for line, tests in lines.items()} for path, lines in found.items()}
