"""`make mutants SAMPLE=200 SEED=… ONLY=minimixproxy/minimix`: which faults in the code do the unit tests notice?

Exit status 0: it is a report; with --at-least, 1 if fewer are noticed.
"""

from __future__ import annotations

import argparse
import compileall
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from random import Random

from mutants import children, postgresql
from mutants.guards import Guards
from mutants.operators import Mutant, mutants_of
from mutants.reached import measure
from mutants.trying import Verdict, attempts
from mutants.unittests import ROOT


def sample(mutants: Iterable[Mutant], number: int, dice: Random) -> list[Mutant]:
    """Choose places at random, and of each one of the mutants that an operator makes there."""
    places: dict[tuple[str, int, int, str], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        places[mutant.path, mutant.start, mutant.end, mutant.operator].append(mutant)
    return [dice.choice(places[place]) for place in dice.sample(sorted(places), min(number, len(places)))]


def modules(only: list[str]) -> list[str]:
    """The package's modules that lie in one of these folders, or are one of these files; all if there is none."""
    found = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "minimixproxy").rglob("*.py"))
    wanted = [name.rstrip("/") for name in only]
    return [path for path in found if not wanted or any(f"{path}/".startswith(f"{name}/") for name in wanted)]


def rate(verdicts: list[Verdict]) -> str:
    killed = sum(verdict.killed for verdict in verdicts)
    return f"{100 * killed / max(1, len(verdicts)):5.1f} %  {killed:4} of {len(verdicts):4}"


def survivor(verdict: Verdict) -> str:
    source = (ROOT / verdict.mutant.path).read_bytes()
    head = f"{verdict.mutant.path}:{verdict.mutant.line(source)}: {verdict.mutant.operator} ({verdict.why})"
    return f"{head}\n{verdict.mutant.difference(source)}\n"


def report(verdicts: list[Verdict]) -> str:
    """The survivors, then the rates."""
    lines = [survivor(verdict) for verdict in sorted(verdicts, key=_place) if not verdict.killed]
    by_operator: dict[str, list[Verdict]] = defaultdict(list)
    by_package: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        by_operator[verdict.mutant.operator].append(verdict)
        by_package[verdict.package].append(verdict)
    for groups in (by_operator, by_package):
        lines += [f"{rate(groups[name])}  {name}" for name in sorted(groups)] + [""]
    slow = sum(verdict.killed and verdict.why.endswith(children.TOO_LONG) for verdict in verdicts)
    return "\n".join([*lines, f"{rate(verdicts)}  killed in all, {slow} of them as a test took too long"])


def _place(verdict: Verdict) -> tuple[str, int]:
    return verdict.mutant.path, verdict.mutant.start


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m mutants", description=__doc__)
    parser.add_argument("--sample", type=int, default=200, help="how many mutants")
    parser.add_argument("--every", action="store_true", help="no sample, but every mutant there is")
    parser.add_argument("--seed", type=int, help="of the sample; a random one otherwise")
    parser.add_argument("--only", nargs="+", default=[], metavar="PATH", help="folders or files below minimixproxy/")
    parser.add_argument("--guards", action="store_true", help="only in what guards against intruders and loss")
    parser.add_argument("--operator", default="", help="only operators whose name holds this")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--at-least", type=float, default=0.0, metavar="PERCENT", help="exit status 1 below this")
    parser.add_argument("--tell-all", action="store_true", help="say for each mutant which test noticed it")
    parser.add_argument(
        "--postgresql", action="store_true", help="also the tests that want PostgreSQL, and one for them"
    )
    return parser.parse_args()


def main() -> int:
    options = _options()
    with postgresql.shared(wanted=options.postgresql):
        return _run(options)


def _run(options: argparse.Namespace) -> int:
    seed = options.seed if options.seed is not None else Random().randrange(1_000_000)
    began = time.monotonic()
    for directory in ("minimixproxy", "tests"):
        compileall.compile_dir(ROOT / directory, quiet=1)
    children.preload()
    reached = measure(options.jobs, _tell)
    for name, why in sorted(reached.wrong.items()):
        if why != "skipped":
            _tell(f"left out, as it does not pass anyway: {name}: {why}")
    sources = {path: (ROOT / path).read_bytes() for path in modules(options.only)}
    everything = [mutant for path, source in sources.items() for mutant in mutants_of(path, source)]
    everything = [mutant for mutant in everything if options.operator in mutant.operator]
    if options.guards:
        guards = Guards()
        everything = [mutant for mutant in everything if guards.have(mutant, sources[mutant.path])]
    chosen = everything if options.every else sample(everything, options.sample, Random(seed))
    _tell(f"seed {seed}: {len(chosen)} of {len(everything)} mutants, {options.jobs} at a time")
    verdicts = []
    for verdict in attempts(chosen, sources, reached, options.jobs):
        verdicts.append(verdict)
        if options.tell_all:
            _tell(f"{'killed' if verdict.killed else 'SURVIVED'} {verdict.why}\n{survivor(verdict)}")
        elif len(verdicts) % 20 == 0:
            _tell(f"{len(verdicts)} tried, {sum(verdict.killed for verdict in verdicts)} killed")
    print(report(verdicts))
    print(f"seed {seed}, {time.monotonic() - began:.0f} s")
    killed = sum(verdict.killed for verdict in verdicts)
    return 1 if 100 * killed < options.at_least * len(verdicts) else 0


if __name__ == "__main__":
    sys.exit(main())
