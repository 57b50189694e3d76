"""Running tests in parallel: all that are found are run, and whatever goes wrong fails the run and is shown."""

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial import unittest

from tests.tools.scripts import load

TOOL = Path(__file__).resolve().parents[2] / "tools" / "run_trial.py"
MIXED = """
import os, signal, unittest

print("not within a test")

class Various(unittest.TestCase):
    def test_passes(self): print("nobody wants to see this")
    def test_fails(self):
        print("said before it failed")
        self.assertEqual(1, 2, "not equal")
    def test_kills_its_worker(self):
        print("last words")
        os.kill(os.getpid(), signal.SIGKILL)
    def test_zz_after_that(self): pass

class Other(unittest.TestCase):
    @unittest.skip("not today")
    def test_skipped(self): pass
    def test_passes(self): pass

class Imported(unittest.TestCase):
    def test_once(self): pass
"""
SERVERS = """
import unittest, warnings
from twisted.trial import unittest as trial
from sample.test_mixed import Imported

class NeedsServer(unittest.TestCase):
    needs_programs = True
    def test_server(self): pass

class Needs(unittest.TestCase):
    def test_nothing(self): pass

class Logs(trial.TestCase):
    def test_logs_an_error(self):
        from twisted.python import log
        log.err(ValueError("logged beside"))

def warn():
    warnings.warn("again", UserWarning)

class Warns(trial.TestCase):
    def test_is_seen(self):
        warn()
        self.assertEqual(len(self.flushWarnings([warn])), 1)
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # once for each place
            warn()
        self.assertEqual(len(self.flushWarnings([warn])), 1)
    test_is_seen_again = test_is_seen
"""
WORKS = """
import subprocess, sys, time
while time.process_time() < 0.12: pass
if len(sys.argv) > 1:
    command = [sys.executable, "-S", "-c", sys.orig_argv[3]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        print("done", flush=True)
        sys.stdin.read()
else:
    print("done", flush=True)
    sys.stdin.read()
"""
ENDS_BADLY = """
import atexit, os, unittest

class EndsBadly(unittest.TestCase):
    def test_passes(self): atexit.register(os._exit, 3)
"""


class RunTests(unittest.SynchronousTestCase):
    """Small test runs, as `make test` has them."""

    def setUp(self) -> None:
        self.project = Path(self.mktemp()).absolute()
        (self.project / "sample").mkdir(parents=True)
        (self.project / "sample" / "__init__.py").touch()

    def module(self, name: str, text: str) -> None:
        (self.project / "sample" / f"{name}.py").write_text(text)

    def run_trial(self, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, str(TOOL), *arguments]
        done = subprocess.run(
            command, cwd=self.project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        return done.returncode, done.stdout.rstrip()

    def test_all_kinds(self) -> None:
        self.module("test_mixed", MIXED)
        self.module("test_servers", SERVERS)
        self.module("test_broken", "import nothing_of_this_name")
        self.module("test_ends_badly", ENDS_BADLY)
        status, output = self.run_trial("--jobs", "2", "sample")
        self.assertEqual(output.splitlines()[-1], "9 passed, 5 failed, 1 skipped", output)
        self.assertEqual(status, 1)
        self.assertIn("13 tests, at most 2 workers", output)
        for expected in (
            "FAILED sample.test_mixed.Various.test_fails",
            "not equal",
            "said before it failed",
            "died of SIGKILL while it ran this test\n--- printed meanwhile:\nlast words",
            "logged beside",
            "skipped sample.test_mixed.Other.test_skipped: not today",
            "No module named 'nothing_of_this_name'",
            "ended with status 3 at its end",
        ):
            self.assertIn(expected, output)
        self.assertNotIn("nobody wants to see this", output)
        failed = output[output.rindex("Failed:") :]
        for name in ("Various.test_fails", "Various.test_kills_its_worker", "Logs.test_logs_an_error", "test_broken"):
            self.assertIn(name, failed)

    def test_one_that_hangs(self) -> None:
        hangs = "import threading, unittest\nclass Hangs(unittest.TestCase):\n    def test_hangs(self):\n"
        self.module("test_hangs", hangs + "        print('began')\n        threading.Event().wait()\n")
        # a busy machine is to get as far as where it hangs within that
        status, output = self.run_trial("--limit", "2", "sample.test_hangs.Hangs.test_hangs")
        self.assertEqual((status, output.splitlines()[-1]), (1, "0 passed, 1 failed, 0 skipped"), output)
        self.assertIn("FAILED sample.test_hangs.Hangs.test_hangs", output)
        self.assertIn("had said nothing for 2 s while it ran this test\n--- printed meanwhile:\nbegan", output)
        self.assertIn('test_hangs.py", line 5 in test_hangs', output)  # where it hangs

    def test_workers_that_break_between_tests(self) -> None:
        one = "class Breaks{}(unittest.TestCase):\n    def test_passes(self):\n        json.loads = None\n"
        text = "import json, unittest\n" + "".join(one.format(number) for number in range(4))
        self.module("test_breaks", text)
        status, output = self.run_trial("--jobs", "1", "sample.test_breaks")
        # three workers are tried, and the fourth test is not run any more
        self.assertEqual((status, output.splitlines()[-1]), (1, "3 passed, 4 failed, 0 skipped"), output)
        self.assertEqual(output.count("ended with status 1 between two tests"), 3)
        self.assertIn("FAILED sample.test_breaks.Breaks3.test_passes (was found, and not run)", output)


class ForkedTests(unittest.SynchronousTestCase):
    def test_it_ends_whatever_happens_at_its_end(self) -> None:
        """Told to end while it stops its servers, for one: two would go on with what it was forked from does."""
        program = f"""
import atexit, os, sys
sys.path.insert(0, {str(TOOL.parent)!r})
from testrun.forking import Forked

class Broken:
    def __getattr__(self, name): return getattr(sys.__stdout__, name)
    def flush(self): sys.exit("told to end")

def run(): sys.stdout = Broken()

forked = None
try:
    forked = Forked(run)
finally:
    print("ended" if forked else "goes on", forked and forked.wait(60), flush=True)
"""
        done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, "ended 0\n"))


class CountTests(unittest.SynchronousTestCase):
    """What was found and what was run are held against each other."""

    def setUp(self) -> None:
        self.tool = load("run_trial")
        self.printed = io.StringIO()
        self.patch(sys, "stdout", self.printed)

    def lines(self) -> list[str]:
        return self.printed.getvalue().splitlines()

    def plan(self, *tests: str) -> Any:
        piece = sys.modules["testrun.plan"].Piece("sample.Case", tests, 1.0)
        return self.tool.Plan([piece])

    def test_nothing_found(self) -> None:
        plan = self.tool.Plan()
        self.assertEqual(self.tool.finish(plan, self.tool.Report(plan), []), 1)
        self.assertEqual(self.lines(), ["0 passed, 0 failed, 0 skipped"])

    def test_a_directory_of_somebody_else(self) -> None:
        path = Path(self.mktemp())
        path.mkdir()
        (path / "thesis").touch()
        self.assertRaises(SystemExit, self.tool.own_directory, path)
        self.assertEqual([item.name for item in path.iterdir()], ["thesis"])

    def test_two_runs_in_one_directory(self) -> None:
        path = Path(self.mktemp())
        first, second = self.tool.own_directory(path), self.tool.own_directory(path)
        self.assertEqual([first.name, second.name], [path.name, f"{path.name}-1"])

    def test_unit(self) -> None:
        """What needs servers is left out: a class, or all that is below a package that says so."""
        planning = sys.modules["testrun.plan"]
        for module, attributes, expected in (
            (__name__, {}, False),
            (__name__, {"needs_programs": True}, True),
            ("tests.integration.ports", {}, True),
        ):
            case = type("Case", (), {"__module__": module, **attributes})
            self.assertIs(planning.needs_programs(case), expected, (module, attributes))
        for unit in (True, False):
            plan = self.tool.make_plan(["tests.test_documents"], unit=unit, durations={})
            self.assertIs("tests.test_documents.ManPageTests.test_lint" in plan.tests, not unit)

    def test_only_what_is_needed_is_installed(self) -> None:
        for test, needed in (("tests.tools.test_ports", 0), ("tests.integration.test_harness", 1)):
            ran: list[list[str]] = []
            self.tool.install(self.tool.make_plan([test], unit=False, durations={}), ran.append)
            self.assertEqual([Path(command[0]).name for command in ran], ["install-system"] * needed, test)

    def test_servers_are_started_once(self) -> None:
        """A worker goes on with the servers that it has, but nobody begins the longest piece when all else is done."""
        planning = sys.modules["testrun.plan"]
        queue = [planning.Piece("", (), seconds, server) for seconds, server in ((9, "a"), (8, "b"), (8, ""), (3, "c"))]
        for left, mine, others, expected in (
            (queue, {"b"}, {"a"}, 1),
            (queue, {"c"}, {"a", "b"}, 2),
            (queue[:2], {"c"}, {"a"}, 1),
            (queue[:2], {"c"}, {"b"}, 0),
            (queue[:2], {"c"}, {"a", "b"}, 0),
            (queue[:1] + queue[3:], {"c"}, {"a"}, 0),
        ):
            self.assertEqual(planning.choose(left, mine, others), expected, (left, mine, others))

    def test_pieces_say_which_server_they_want(self) -> None:
        module = "tests.integration.test_demo", "tests.integration.test_check"
        plan = self.tool.make_plan(module, unit=False, durations={})
        wanted = {piece.name.rpartition(".")[2]: piece.server for piece in plan.pieces}
        self.assertEqual((wanted["DemoTests"], wanted["WrongTests"]), ("", "Prosody"), wanted)

    def test_one_left_out(self) -> None:
        plan = self.plan("sample.Case.test_one", "sample.Case.test_two")
        report = self.tool.Report(plan)
        report(self.tool.Result("sample.Case.test_one", "passed", 0.1, 0.1, ""))
        self.assertEqual(self.tool.finish(plan, report, []), 1)
        self.assertIn("FAILED sample.Case.test_two (was found, and not run)", self.lines()[1])
        self.assertEqual(self.lines()[-1], "1 passed, 1 failed, 0 skipped")

    def test_a_problem_of_a_worker(self) -> None:
        plan = self.plan("sample.Case.test_one")
        report = self.tool.Report(plan)
        report(self.tool.Result("sample.Case.test_one", "passed", 0.1, 0.1, ""))
        self.assertEqual(self.tool.finish(plan, report, ["worker 1 died"]), 1)
        self.assertEqual(self.lines()[-1], "1 passed, 1 failed, 0 skipped")

    def test_all_pieces_have_all_tests(self) -> None:
        tests = [f"sample.Case.test_{number}" for number in range(100)]
        planning = sys.modules["testrun.plan"]
        for seconds in (0.0, 0.1, 1.0, 100.0):
            pieces = planning.pieces(type(self), tests, {f"{__name__}.CountTests": seconds})
            self.assertEqual(sorted(test for piece in pieces for test in piece.tests), sorted(tests))
            self.assertEqual(sum(len(piece.tests) for piece in pieces), 100)

    def test_durations(self) -> None:
        planning = sys.modules["testrun.plan"]
        path = Path(self.mktemp())
        self.assertEqual(planning.read_durations(path), {})
        planning.write_durations({"a.Slow": [1.0, 2.0], "a.Quick": [0.01]}, path)
        planning.write_durations({"a.Other": [3.0]}, path)
        self.assertEqual(planning.read_durations(path), {"a.Slow": 1.5, "a.Other": 3.0})

    def test_workers(self) -> None:
        counts = [(self.tool.workers(cores, unit=False), self.tool.workers(cores, unit=True)) for cores in (1, 2, 64)]
        self.assertEqual(counts, [(4, 3), (8, 4), (16, 66)])

    def test_cpu_of_children(self) -> None:
        """Of those that still run, of theirs, and of those that have ended: each here uses a tenth of a second."""
        cpu = load("testrun/cost").cpu_with_children
        before = cpu()
        command = [sys.executable, "-S", "-c", WORKS, "works, and has a child that does"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), b"done\n")
            self.assertGreater(cpu() - before, 0.2)
            self.assertGreater(cpu(process.pid) - cpu(), 0.2)  # counted once more, as one that is no child would be
        self.assertGreater(cpu() - before, 0.2)
