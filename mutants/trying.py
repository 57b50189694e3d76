"""Tries mutants: for each one a process that runs the tests that reach it, the nearest first, until one fails."""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from mutants import children, faults, unittests
from mutants.operators import Mutant, assigned
from mutants.reached import Reached
from mutants.unittests import ROOT

START = 60.0  # seconds until the first test has run: most modules are imported then
PATIENCE = 10.0  # seconds for a test, and a multiple of what it takes without a fault, ...
TIMES = 20
LONGEST = 60.0  # ... which is so many at most


@dataclass(frozen=True)
class Verdict:
    mutant: Mutant
    killed: bool
    why: str  # the test that noticed, or why none did
    tests: int  # how many ran

    @property
    def package(self) -> str:
        return str(Path(self.mutant.path).parent)


def attempts(mutants: list[Mutant], sources: dict[str, bytes], reached: Reached, jobs: int) -> Iterator[Verdict]:
    """Try mutants of the sources; give the verdicts as they come. The sources have to stay as they are meanwhile."""
    chosen = {mutant: tests_for(mutant, reached) for mutant in mutants}
    for mutant in mutants:
        if not chosen[mutant]:
            yield Verdict(mutant, killed=False, why="no unit test reaches it", tests=0)

    def tasks() -> Iterator[children.Task]:
        for mutant in mutants:
            if (ROOT / mutant.path).read_bytes() != sources[mutant.path]:
                sys.exit(f"{mutant.path} has changed: begin anew")
            if chosen[mutant]:
                yield _task(mutant, chosen[mutant], reached)

    for task in children.run(tasks(), jobs):
        yield verdict(task)


def _task(mutant: Mutant, tests: list[str], reached: Reached) -> children.Task:
    def patience(said: list[Any]) -> float:
        running = said[-1] if said else None
        seconds = min(LONGEST, TIMES * reached.seconds.get(running, 0.0)) if isinstance(running, str) else 0.0
        return children.longer(seconds + (PATIENCE if len(said) > 1 else START))

    return children.Task(mutant, partial(_try, mutant, tests), patience)


def _try(mutant: Mutant, tests: list[str], say: children.Say) -> None:
    """In the child: say each test's name before it runs, and `{"failed": test}` at the end if it does."""
    path = ROOT / mutant.path
    faults.install(path, mutant.applied(path.read_bytes()), Path.cwd())
    unittests.prepare()
    for test in tests:
        say(test)
        outcome = unittests.passes(test)
        if outcome and outcome != "skipped":
            say({"failed": test})
            return


def verdict(task: children.Task) -> Verdict:
    """Whoever hangs, ends the process, or cannot be imported is noticed, too."""
    tests = [said for said in task.said if isinstance(said, str)]
    last = task.said[-1] if task.said else ""
    if isinstance(last, dict):
        return Verdict(task.subject, killed=True, why=str(last.get("failed") or last.get("fault")), tests=len(tests))
    if task.ended:
        return Verdict(task.subject, killed=True, why=f"{last} {task.ended}", tests=len(tests))
    return Verdict(task.subject, killed=False, why=f"{len(tests)} tests reach it", tests=len(tests))


def tests_for(mutant: Mutant, reached: Reached) -> list[str]:
    """The tests that reach a mutant, in the order in which they are tried."""
    tests = _reaching(mutant, reached)
    module = Path(mutant.path)
    package = ".".join(["tests", *module.parts[1:-1]])

    def order(test: str) -> tuple[int, float]:
        test_module = test.rsplit(".", 2)[0]
        own = test_module == f"{package}.test_{module.stem}"
        return (0 if own else 1 if test_module.startswith(f"{package}.test_") else 2), reached.seconds[test]

    return sorted(tests, key=order)


def _reaching(mutant: Mutant, reached: Reached) -> set[str]:
    if mutant.names is None:
        lines = reached.lines[mutant.path]
        return {test for line in range(mutant.first, mutant.last + 1) for test in lines.get(line, ())}
    # What runs while importing shows where it is used: in the product, in a test, in the module's own tests, and in
    # those of tests that import it: one that compares all of a configuration with a document names no key. With `tap`
    # come all modules, for tests of what these have registered.
    places = uses()
    tests: set[str] = set()
    names, known = set(mutant.names), set[str]()
    while names:
        name = names.pop()
        known.add(name)
        for path, first, last, within in places.get(name, ()):
            names |= within - known
            for line in range(first, last + 1):
                tests |= reached.lines[path].get(line, set())
    made = {*mutant.names, *(name for name in known if name.isupper())}
    words = {test for name in made for test in _naming(name)} | _importing(mutant.path) | _naming("import tap")
    own = "test_" + Path(mutant.path).stem
    return tests | {test for test in reached.seconds if test.rsplit(".", 2)[0] in words or f".{own}." in test}


@cache
def uses() -> dict[str, list[tuple[str, int, int, frozenset[str]]]]:
    """Name -> where the package uses it: path, lines, and the names that are made of it while importing."""
    found: dict[str, list[tuple[str, int, int, frozenset[str]]]] = defaultdict(list)
    for path in sorted((ROOT / "minimixproxy").rglob("*.py")):
        where = str(path.relative_to(ROOT))
        for statement, names in _statements(ast.parse(path.read_bytes()), frozenset(), importing=True):
            first, last = statement.lineno, statement.end_lineno or statement.lineno
            for node in ast.walk(statement):
                name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
                if name and not isinstance(getattr(node, "ctx", None), ast.Store):
                    found[name].append((where, first, last, names))
    return found


def _statements(
    node: ast.AST, names: frozenset[str], *, importing: bool
) -> Iterator[tuple[ast.stmt | ast.expr, frozenset[str]]]:
    """The innermost statements, and the heads of compound ones, with what they name while importing."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _statements(child, frozenset(), importing=False)
        elif isinstance(child, ast.stmt) and hasattr(child, "body"):
            yield from _statements(child, names, importing=importing)
        elif isinstance(child, ast.stmt):
            yield child, frozenset(assigned(child) if importing else ())
        elif isinstance(child, ast.expr):
            yield child, names
        elif isinstance(child, ast.ExceptHandler | ast.match_case | ast.withitem):
            yield from _statements(child, names, importing=importing)


@cache
def _importing(path: str) -> frozenset[str]:
    """The modules of tests that import a module as a whole."""
    package, _, name = path.removesuffix(".py").replace("/", ".").rpartition(".")
    imports = re.compile(rf"^from {re.escape(package)} import .*\b{name}\b", re.MULTILINE)
    return frozenset(
        module
        for module in unittests.modules()
        if imports.search((ROOT / (module.replace(".", "/") + ".py")).read_text("utf-8"))
    )


@cache
def _naming(name: str) -> frozenset[str]:
    """The modules of tests in which a word stands."""
    found = set()
    for module in unittests.modules():
        text = (ROOT / (module.replace(".", "/") + ".py")).read_text("utf-8")
        if name in text:
            found.add(module)
    return frozenset(found)
