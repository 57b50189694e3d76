"""Divides the time between targets and machines, runs each in a process of its own, and keeps what they find."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from fuzz.dictionary import write_dictionary
from fuzz.table import MACHINES, MODULES, TARGETS, WEIGHT

LONGEST = 4096  # bytes of input
TIMEOUT = 60  # seconds that one input may take
MEMORY = 2048  # megabytes
SHRINKING = 600.0  # seconds more for a machine: what it finds is made small, which hypothesis does for 300 at most
START = 120.0  # seconds that a process may take to begin and to end, on a busy machine
FINDINGS = 5  # of one target; after these it is left alone

_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_PROGRESS = re.compile(r"#(\d+).*?cov: (\d+).*?corp: (\d+)")
_EXAMPLES = re.compile(r"^examples: (\d+)$", re.MULTILINE)
_SEED = re.compile(r"^seed: (\d+)$", re.MULTILINE)


def job_names() -> list[str]:
    """All targets and machines."""
    return [*MACHINES, *TARGETS]


@dataclass(slots=True)
class Job:
    """What became of one target or machine. `executions`: inputs, or examples of many steps."""

    name: str
    seconds: float = 0.0
    executions: int = 0
    coverage: str = ""
    findings: list[Path] = field(default_factory=list)
    fault: str = ""  # of the fuzzing itself


@dataclass(slots=True)
class Outcome:
    """How one process ended."""

    status: int
    output: str
    seconds: float


class Run:
    """One run of everything. `directory`: where corpus and findings are kept; `say`: takes lines for who looks on."""

    def __init__(self, directory: Path, seed: int, workers: int, say: Callable[[str], None]) -> None:
        self._directory = directory
        self._seed = seed
        self._workers = workers
        self._say = say
        self._jobs: list[Job] = []
        (directory / "findings").mkdir(parents=True, exist_ok=True)
        self._dictionary = write_dictionary(directory / "dictionary")

    @property
    def failed(self) -> bool:
        """Whether anything was found, or could not be run."""
        return any(job.findings or job.fault for job in self._jobs)

    def all(self, names: Sequence[str], seconds: float) -> None:
        """Run these, so many at once, within `seconds` in all."""
        share = seconds * self._workers / sum(map(_weight, names))
        with ThreadPoolExecutor(self._workers) as pool:
            self._jobs = list(pool.map(lambda name: self._one(name, share * _weight(name)), names))

    def _one(self, name: str, seconds: float) -> Job:
        job = Job(name)
        seed = self._seed
        while job.seconds < seconds and len(job.findings) < FINDINGS and not job.fault:
            step = self._machine if name in MACHINES else self._target
            step(job, seed, seconds - job.seconds)
            seed += 1_000_003
        self._say(_line(job))
        return job

    # A target

    def _target(self, job: Job, seed: int, seconds: float) -> None:
        outcome = _process(self._guided(job.name, seed, seconds), seconds)
        job.seconds += outcome.seconds
        job.executions += _number(_EXECUTED, outcome.output)
        for _number_of, coverage, corpus in _PROGRESS.findall(outcome.output)[-1:]:
            job.coverage = f"{coverage} edges, {corpus} inputs"
        found = re.search(r"Test unit written to (\S+)", outcome.output)
        if found is not None:
            self._found(job, Path(found.group(1)), outcome.output)
        elif outcome.status:
            job.fault = outcome.output[-2000:]

    def _guided(self, name: str, seed: int, seconds: float) -> list[str]:
        corpus = self._directory / "corpus" / name
        corpus.mkdir(parents=True, exist_ok=True)
        for data in TARGETS[name].seeds:
            (corpus / sha256(data).hexdigest()[:16]).write_bytes(data)
        return [
            *(sys.executable, "-m", "fuzz.guided", MODULES[name], name),
            *(f"-seed={seed % 2**31 or 1}", f"-max_total_time={max(1, round(seconds))}", f"-timeout={TIMEOUT}"),
            *(f"-max_len={LONGEST}", f"-rss_limit_mb={MEMORY}", "-print_final_stats=1", "-verbosity=1"),
            *(f"-dict={self._dictionary}", f"-artifact_prefix={self._directory / 'findings'}/{name}-", str(corpus)),
        ]

    def _found(self, job: Job, input_file: Path, output: str) -> None:
        job.findings.append(input_file)
        self._tell(input_file, f"{sys.executable} -m fuzz repeat {job.name} {input_file}", output)

    def _tell(self, place: Path, command: str, output: str) -> None:
        """Write down what was found, with the command that repeats it."""
        place.with_name(place.name + ".txt").write_text(f"{command}\n\n{_trace(output)}\n")
        self._say(f"FOUND: {command}\n{_trace(output)[-1500:]}")

    # A machine

    def _machine(self, job: Job, seed: int, seconds: float) -> None:
        command = [sys.executable, "-m", "fuzz.machines", job.name, str(seed), str(seconds)]
        outcome = _process(command, seconds + SHRINKING)
        job.seconds += outcome.seconds
        job.executions += _number(_EXAMPLES, outcome.output)
        found = _SEED.search(outcome.output)
        if found is not None:
            place = self._directory / "findings" / f"{job.name}-{found.group(1)}"
            job.findings.append(place)
            self._tell(place, f"{sys.executable} -m fuzz machine {job.name} {found.group(1)}", outcome.output)
        elif outcome.status:
            job.fault = outcome.output[-2000:]

    def summary(self) -> str:
        """Return a table of what was done."""
        lines = [f"{'target':20} {'seconds':>8} {'executions':>11}  {'coverage':26} findings"]
        lines += map(_line, self._jobs)
        total = sum(job.executions for job in self._jobs), sum(job.seconds for job in self._jobs)
        found = [place for job in self._jobs for place in job.findings]
        lines.append(f"{total[0]} executions in {total[1] / 3600:.2f} hours of one core; {len(found)} findings")
        lines += [f"  {place}.txt" for place in found]
        return "\n".join(lines)


def _line(job: Job) -> str:
    end = f"cannot be run: {job.fault}" if job.fault else str(len(job.findings))
    return f"{job.name:20} {job.seconds:8.0f} {job.executions:11}  {job.coverage:26} {end}"


def _weight(name: str) -> int:
    return WEIGHT if name in MACHINES else 1


def _process(command: list[str], seconds: float) -> Outcome:
    """Run something that ends by itself within these seconds, give or take."""
    began = time.monotonic()
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds + START + 2 * TIMEOUT,
        )
        status, output = done.returncode, done.stdout
    except subprocess.TimeoutExpired as error:
        status, output = 1, f"does not end: {error.output!r}"
    return Outcome(status, output, time.monotonic() - began)


def _number(pattern: re.Pattern[str], output: str) -> int:
    return int((pattern.findall(output) or ["0"])[-1])


def _trace(output: str) -> str:
    """Return the part of the output that says what went wrong."""
    starts = [
        at for marker in ("Uncaught Python exception", "Traceback (most recent") if (at := output.find(marker)) >= 0
    ]
    return output[min(starts, default=max(0, len(output) - 4000)) :][:8000]
