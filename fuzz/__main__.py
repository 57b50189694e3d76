"""`make fuzz`, and `python -m fuzz repeat TARGET FILE`: see `--help`."""

from __future__ import annotations

import argparse
import os
import secrets
import subprocess
import sys
from functools import partial
from pathlib import Path

from fuzz.runner import Run, job_names
from fuzz.table import MACHINES, TARGETS


def main() -> int:
    """Return the exit status: 1 if anything was found."""
    arguments = _arguments()
    if arguments.command == "run":
        return _run(arguments)
    if arguments.command == "machine":
        # In a process like that one: hypothesis draws on constants in all modules that are loaded.
        return subprocess.call([sys.executable, "-m", "fuzz.machines", arguments.machine, str(arguments.seed), "1e-9"])
    TARGETS[arguments.target].run(arguments.file.read_bytes())
    print("nothing is wrong with it")
    return 0


def _run(arguments: argparse.Namespace) -> int:
    names = arguments.only or job_names()
    seed = secrets.randbelow(2**31) if arguments.seed is None else arguments.seed
    say = partial(print, flush=True)
    say(f"{arguments.minutes:g} minutes, SEED={seed}, {arguments.workers} at once, in {arguments.directory}")
    run = Run(arguments.directory, seed, arguments.workers, say)
    run.all(names, arguments.minutes * 60)
    print(run.summary())
    return 1 if run.failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="fuzz for a while")
    run.add_argument("--minutes", type=float, default=10.0, help="in all, of the clock")
    run.add_argument("--seed", type=int, help="another one each time if it is not given")
    run.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes at once")
    run.add_argument("--directory", type=Path, default=Path(".fuzz"), help="corpus and findings")
    run.add_argument("only", nargs="*", choices=[*job_names(), []], help="not all targets and machines, but these")
    repeat = commands.add_parser("repeat", help="run a target once, on what was found")
    repeat.add_argument("target", choices=list(TARGETS))
    repeat.add_argument("file", type=Path)
    one = commands.add_parser("machine", help="run one round of a state machine again")
    one.add_argument("machine", choices=list(MACHINES))
    one.add_argument("seed", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
