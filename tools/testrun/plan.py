"""What is to be run, and in which pieces: every test that trial finds, in exactly one of them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from pkgutil import iter_modules
from unittest import TestCase

from twisted.python.reflect import namedModule
from twisted.trial import unittest as trial
from twisted.trial.runner import ErrorHolder, TestHolder, TestLoader

DURATIONS = Path(__file__).resolve().parent.parent.parent / "tests" / "durations.txt"
# Seconds for a test that nobody has measured, with servers and without.
SLOW, QUICK = 2.0, 0.03
PIECE = 15.0  # seconds, more than which a class is taken to pieces


@dataclass(frozen=True)
class Piece:
    """Tests of one class, for one worker."""

    name: str  # of the class, in full
    tests: tuple[str, ...]  # in full
    seconds: float  # expected
    server: str = ""  # the kind that they want, if any


@dataclass
class Plan:
    """What was found: pieces, the longest first, and what could not even be loaded, by name."""

    pieces: list[Piece] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)
    timeouts: dict[str, float] = field(default_factory=dict)  # of tests that have one; trial sees to it
    needs_programs: bool = False  # whether any of them wants servers or other programs

    @property
    def tests(self) -> list[str]:
        return [test for piece in self.pieces for test in piece.tests]


def needs_programs(case: type) -> bool:
    """Whether a test class wants servers or other programs: it, its module or a package above says `needs_programs`."""
    if getattr(case, "needs_programs", False):
        return True
    parts = case.__module__.split(".")
    names = (".".join(parts[: length + 1]) for length in range(len(parts)))
    return any(getattr(namedModule(name), "needs_programs", False) for name in names)


def make_plan(names: Sequence[str], *, unit: bool, durations: Mapping[str, float]) -> Plan:
    """The plan for what is named: packages, modules, classes or single tests. `unit`: only what needs no programs."""
    plan = Plan()
    classes: dict[type, list[str]] = {}
    for test in discover(names, unit=unit):
        if isinstance(test, ErrorHolder):
            plan.broken[test.id()] = str(test.error[1] if isinstance(test.error, tuple) else test.error.getTraceback())
        elif not (needs_programs(type(test)) and unit):
            plan.needs_programs = plan.needs_programs or needs_programs(type(test))
            found = classes.setdefault(type(test), [])
            if test.id() not in found:  # a class that two modules know is found twice
                found.append(test.id())
            if isinstance(test, trial.TestCase):
                plan.timeouts[test.id()] = test.getTimeout()
    for case, tests in classes.items():
        plan.pieces.extend(pieces(case, tests, durations))
    plan.pieces.sort(key=lambda piece: -piece.seconds)
    return plan


def discover(names: Sequence[str], *, unit: bool = False) -> Iterator[TestCase | TestHolder]:
    """Every test below these names, and an ErrorHolder for each module or name that cannot be loaded.

    `unit`: packages that want programs are passed by, as to import them takes as long as to import all others.
    """
    loader = TestLoader()
    for name in names:
        for below in unit_modules(name) if unit else [name]:
            yield from flattened(loader.loadByName(below, recurse=True))


def unit_modules(name: str) -> Iterator[str]:
    """The modules with tests below a package, without packages that want programs; of any other name, that name."""
    try:
        package = namedModule(name)
    except Exception:  # noqa: BLE001 (whoever loads it tells)
        yield name
        return
    if not hasattr(package, "__path__"):
        yield name
    elif not getattr(package, "needs_programs", False):
        for found in iter_modules(package.__path__, f"{name}."):
            if found.ispkg:
                yield from unit_modules(found.name)
            elif found.name.rpartition(".")[2].startswith(TestLoader.modulePrefix):
                yield found.name


def flattened(suite: Iterable[object] | TestCase | TestHolder) -> Iterator[TestCase | TestHolder]:
    if isinstance(suite, TestCase | TestHolder):
        yield suite
    else:
        for part in suite:
            yield from flattened(part)  # type: ignore[arg-type]


def pieces(case: type, tests: Sequence[str], durations: Mapping[str, float]) -> list[Piece]:
    """The tests of a class in pieces of about PIECE seconds."""
    name = f"{case.__module__}.{case.__qualname__}"
    each = durations.get(name, SLOW if needs_programs(case) else QUICK)
    server = getattr(getattr(case, "kind", None), "__name__", "")
    number = min(len(tests), 1 + int(each * len(tests) / PIECE))
    # every number-th test: neighbours are alike, and last alike
    parts = [tuple(tests[start::number]) for start in range(number)]
    return [Piece(name, part, each * len(part), server) for part in parts]


def choose(queue: Sequence[Piece], mine: Set[str], others: Set[str]) -> int:
    """Which of these, the longest first, a worker takes that has these servers while the others have those.

    Each start of a server costs seconds of CPU, so rather one for which none is started, or one that nobody has. It
    is at least half as long as the longest: nobody is to begin that when all else is done.
    """
    long = [number for number, piece in enumerate(queue) if piece.seconds >= queue[0].seconds / 2]
    near = [number for number in long if queue[number].server in {"", *mine}]
    new = [number for number in long if queue[number].server not in others]
    return [*near, *new, 0][0]


def read_durations(path: Path = DURATIONS) -> dict[str, float]:
    """Seconds that a test of each class lasts: lines like "0.75 tests.module.Class"; nothing, if there is no file."""
    if not path.exists():
        return {}
    lines = (line.split() for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return {name: float(seconds) for seconds, name in lines}


def write_durations(measured: Mapping[str, Sequence[float]], path: Path = DURATIONS) -> None:
    """Note the mean of each class; classes that were not run keep theirs, those of QUICK tests need no line."""
    means = read_durations(path) | {name: sum(times) / len(times) for name, times in measured.items()}
    lines = ["# Seconds that a test of each class lasts, for tools/run_trial.py --record to write and to plan by."]
    lines += [f"{mean:.2f} {name}" for name, mean in sorted(means.items()) if mean >= 2 * QUICK]
    path.write_text("\n".join([*lines, ""]))
