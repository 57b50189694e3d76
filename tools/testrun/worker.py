"""A process that runs tests: takes names on a pipe, tells on another what comes of them. Forked by testrun.pool.

It works in a directory of its own, and prints into the file "output" there. Each line that it is given is a JSON list
of tests. Each line that it writes is a JSON object with an "event": "ready" for the next list, "begin" or "end" of a
test. When nothing more can come it stops its servers and ends.
"""

import ctypes
import faulthandler
import gc
import importlib
import io
import json
import os
import signal
import sys
import time
from bisect import insort
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from testrun.cost import cpu_with_children
from testrun.forking import renew_reactor

PR_SET_PDEATHSIG = 1
# Objects, and collections of younger ones, between two looks for garbage. By Python's own 700, 10, 10 these take a
# tenth of the tests' CPU.
GARBAGE = (20_000, 10, 30)


def main(directory: Path, orders: int, pipe: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    take_over(directory)
    os.environ.setdefault("MINIMIXPROXY_PREFORK", "1")  # tests/integration/prefork.py
    renew_reactor()
    leave_warnings_to_python()
    look_without_waiting()
    sort_calls_quickly()
    gc.set_threshold(*GARBAGE)
    from twisted.logger import FileLogObserver, formatEventAsClassicLogText, globalLogBeginner

    with open("test.log", "w", encoding="utf-8") as logged:
        observer = FileLogObserver(logged, lambda event: formatEventAsClassicLogText(event, time_of))
        globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
        work(os.fdopen(orders), os.fdopen(pipe, "w"))


def take_over(directory: Path) -> None:
    """Go to the directory, and have everything printed into a file there."""
    directory.mkdir(parents=True, exist_ok=True)
    os.chdir(directory)
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for target, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, target)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1)


def leave_warnings_to_python() -> None:
    """Python forgets by itself which warnings were shown when the filters change, as they do for each test.

    Trial sees to it once more, in each of two thousand modules: a millisecond of each test.
    """
    from twisted.trial import _synctest

    _synctest._setWarningRegistryToNone = lambda _modules: None


def look_without_waiting() -> None:
    """Trial looks twice after a test whether calls are left, and asyncio's reactor waits 10 ms each time.

    If none is left when it begins to look, nothing is worth waiting for: what is ready is done, and that is all.
    """
    from twisted.internet import reactor

    kind: Any = type(reactor)
    iterate = kind.iterate

    def look(self: Any, timeout: float) -> None:
        if timeout or self.getDelayedCalls():
            iterate(self, timeout)
        else:
            loop = self._asyncioEventloop
            loop.call_soon(loop.stop)  # ends when what is ready now was done
            loop.run_forever()

    kind.iterate = look


def sort_calls_quickly() -> None:
    """A test's clock sorts all its calls at each new one and at each step; for each call Twisted has two functions.

    A new one finds its place among those that are sorted. They are sorted again, as ever, when time passes.
    """
    from twisted.internet import base, task

    def due(call: Any) -> float:
        return float(call.time + call.delayed_time)

    def sort(self: Any) -> None:
        self.calls.sort(key=due)

    def call_later(self: Any, delay: float, call: Any, *args: object, **kw: object) -> Any:
        at = self.seconds() + delay
        made = base.DelayedCall(at, call, args, kw, self.calls.remove, lambda _call: None, self.seconds)
        insort(self.calls, made, key=due)
        return made

    task.Clock._sortCalls = sort  # type: ignore[method-assign]
    clock: Any = task.Clock
    clock.callLater = call_later


def time_of(when: float | None) -> str:
    """A time as trial's log has it. Twisted's own looks up the time zone for each line."""
    return "-" if when is None else second(int(when))


@lru_cache(maxsize=1)
def second(when: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(when))


def work(orders: IO[str], answers: IO[str]) -> None:
    def tell(**event: Any) -> None:
        answers.write(json.dumps(event) + "\n")
        answers.flush()

    tell(event="ready")
    for order in orders:
        for name in json.loads(order):
            run(name, tell)
        tell(event="ready")
    end_reactor()


def run(name: str, tell: Any) -> None:
    """Run one test and tell of it."""
    from twisted.trial.runner import LoggedSuite

    tell(event="begin", test=name, printed=printed())
    text = io.StringIO()
    result = reporter(text)
    began, cpu = time.monotonic(), used()
    # LoggedSuite: errors that are logged beside the test fail it too
    LoggedSuite([load(name)]).run(result)
    seconds, cpu = time.monotonic() - began, used() - cpu
    result.done()
    outcome = judge(result)
    said = "; ".join(reason for _, reason in result.skips) if outcome == "skipped" else text.getvalue().strip()
    tell(event="end", test=name, outcome=outcome, seconds=seconds, cpu=cpu, text=said, printed=printed())


def used() -> float:
    """CPU so far, with that of servers and proxies."""
    prefork: Any = sys.modules.get("tests.integration.prefork")
    return cpu_with_children(*(prefork.working() if prefork else ()))


def printed() -> int:
    """How much was printed so far."""
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fstat(1).st_size


def reporter(text: IO[str]) -> Any:
    """Trial's own reporter, for one test, without the summary."""
    from twisted.python import log
    from twisted.trial.reporter import Reporter

    class OneTest(Reporter):
        def done(self) -> None:
            self._publisher.removeObserver(self._observeWarnings)
            self._printErrors()  # type: ignore[no-untyped-call]

    return OneTest(text, publisher=log)  # type: ignore[no-untyped-call]


def judge(result: Any) -> str:
    """What trial counts as failed, skipped, or passed; a test of which nothing is known has failed."""
    if result.failures or result.errors or result.unexpectedSuccesses:
        return "failed"
    if result.skips:
        return "skipped"
    return "passed" if result.successes or result.expectedFailures else "failed"


def load(name: str) -> Any:
    """The test of this name. A class may be another module's: it is looked for where it says that it is."""
    owner, _, method = name.rpartition(".")
    module, _, case = owner.rpartition(".")
    return getattr(importlib.import_module(module), case)(method)


def end_reactor() -> None:
    """What trial does at the end of a run: threads stop."""
    from twisted.trial.reporter import TestResult
    from twisted.trial.runner import TrialSuite

    TrialSuite([]).run(TestResult())
