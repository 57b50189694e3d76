"""Dividing time, and keeping what was found: processes are pretended."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from fuzz import machines, runner
from fuzz.runner import FINDINGS, Outcome, Run, job_names
from fuzz.table import MACHINES, TARGETS, WEIGHT

STATISTICS = (
    "#2 INITED cov: 5 ft: 6 corp: 1/1b\n#7\tNEW    cov: 12 ft: 3 corp: 4/9b\nstat::number_of_executed_units: 1000\n"
)
CRASH = "Uncaught Python exception\nAssertionError: no\nTest unit written to {}\n" + STATISTICS


class RunTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.commands: list[list[str]] = []
        self.seconds: list[float] = []
        self.outcomes: list[Outcome] = []
        self.patch(runner, "_process", self.process)
        self.said: list[str] = []
        self.run_of_all = Run(self.directory, 7, 2, self.said.append)

    def process(self, command: list[str], seconds: float) -> Outcome:
        self.commands.append(command)
        self.seconds.append(seconds - runner.SHRINKING if "fuzz.machines" in command else seconds)
        return self.outcomes.pop(0) if self.outcomes else Outcome(0, STATISTICS, seconds)

    def test_everything_has_its_share(self) -> None:
        self.run_of_all.all(job_names(), 100.0)
        share = 200.0 / (len(TARGETS) + WEIGHT * len(MACHINES))
        self.assertAlmostEqual(sum(self.seconds), 200.0)
        self.assertEqual({round(one, 6) for one in self.seconds}, {round(share, 6), round(WEIGHT * share, 6)})
        self.assertFalse(self.run_of_all.failed)
        self.assertIn(f"{1000 * len(TARGETS)} executions", self.run_of_all.summary())
        self.assertIn("12 edges, 4 inputs", self.run_of_all.summary())

    def test_seeds_are_the_beginning_of_the_corpus(self) -> None:
        self.run_of_all.all(["jid"], 1.0)
        found = {path.read_bytes() for path in (self.directory / "corpus" / "jid").iterdir()}
        self.assertEqual(found, set(TARGETS["jid"].seeds))

    def test_after_a_finding_it_goes_on(self) -> None:
        place = self.directory / "findings" / "jid-crash-1"
        self.outcomes = [Outcome(77, CRASH.format(place), 0.5)]
        self.run_of_all.all(["jid"], 1.0)
        self.assertEqual(self.seconds, [2.0, 1.5])
        self.assertTrue(self.run_of_all.failed)
        told = place.with_name("jid-crash-1.txt").read_text()
        self.assertIn(f"-m fuzz repeat jid {place}", told)
        self.assertIn("AssertionError: no", told)
        self.assertIn(f"FOUND: {told.splitlines()[0]}", self.said[0])
        self.assertIn(f"{place}.txt", self.run_of_all.summary())

    def test_not_for_ever(self) -> None:
        self.outcomes = [Outcome(77, CRASH.format(self.directory / "findings" / "x"), 0.0) for _ in range(100)]
        self.run_of_all.all(["jid"], 1.0)
        self.assertEqual(len(self.commands), FINDINGS)

    def test_a_machine(self) -> None:
        (name, *_) = MACHINES
        self.outcomes = [Outcome(machines.FOUND, "examples: 50\nTraceback (most recent call last):\nseed: 9\n", 2.0)]
        self.run_of_all.all([name], 1.0)
        told = (self.directory / "findings" / f"{name}-9.txt").read_text()
        self.assertIn(f"-m fuzz machine {name} 9", told)
        self.assertTrue(self.run_of_all.failed)

    def test_what_cannot_be_run_is_no_success(self) -> None:
        self.outcomes = [Outcome(1, "No module named atheris", 0.1)]
        self.run_of_all.all(["jid"], 1.0)
        self.assertTrue(self.run_of_all.failed)
        self.assertIn("No module named atheris", self.run_of_all.summary())

    def test_different_seeds(self) -> None:
        self.outcomes = [Outcome(77, CRASH.format(self.directory / "findings" / "x"), 0.5)]
        self.run_of_all.all(["jid"], 1.0)
        self.assertEqual([command[5] for command in self.commands], ["-seed=7", "-seed=1000010"])
