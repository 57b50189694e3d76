"""Worker processes: given pieces of the plan one after the other, watched, and replaced when they die or hang."""

import contextlib
import gc
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testrun import worker as work
from testrun.forking import Forked
from testrun.plan import Piece, Plan, choose

LIMIT = 300.0  # seconds for one test, or twice its time-out, by which trial itself ends it if it can
BETWEEN = 300.0  # seconds between two tests, or before the first
ENDING = 60.0  # seconds for stopping servers
SHOWN = 200_000  # bytes, the last of what was printed
DEATHS = 3  # of workers that ran no test, after which nothing more is tried


@dataclass(frozen=True)
class Result:
    """What came of a test. `text` is what trial says of it, `printed` what it and its servers printed."""

    test: str
    outcome: str  # passed, failed, skipped
    seconds: float
    cpu: float
    text: str
    printed: str = ""
    worker: int = 0


@dataclass
class Worker:
    """A process, and what it is at."""

    number: int
    process: Forked
    directory: Path
    orders: int  # a pipe, as is the next
    pipe: int
    since: float  # when it last said something
    received: bytes = b""
    waiting: list[str] = field(default_factory=list)  # tests given to it that it has not begun
    test: str | None = None
    printed: int = 0
    hung: float = 0.0  # seconds after which it was given up
    servers: set[str] = field(default_factory=set)  # the kinds that it has started

    def output(self, end: int | None = None) -> str:
        """What it printed since the present test began, up to `end`."""
        path = self.directory / "output"
        if not path.exists():
            return ""
        with path.open("rb") as file:
            end = end or file.seek(0, os.SEEK_END)
            start = file.seek(max(self.printed, end - SHOWN))
            return file.read(end - start).decode("utf-8", "replace").strip()


class Pool:
    """Runs a plan. `report` gets each result as soon as it is there; `limit` is what a test may take, if not LIMIT."""

    def __init__(
        self, plan: Plan, jobs: int, directory: Path, report: Callable[[Result], None], limit: float | None = None
    ) -> None:
        self.problems: list[str] = []  # what failed beside the tests
        self._queue = list(plan.pieces)
        self._jobs = min(jobs, len(self._queue))
        self._directory = directory
        self._report = report
        self._limit = limit
        self._timeouts = plan.timeouts
        self._workers: dict[int, Worker] = {}
        self._leaving: list[Worker] = []
        self._started = 0
        self._deaths = 0
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        """Returns when all is done, or nothing more can be."""
        # What is loaded stays: to look at all of it for garbage, again and again, takes a third of the tests' CPU.
        gc.collect()
        gc.freeze()
        try:
            while self._queue or self._workers:
                while self._queue and len(self._workers) < self._jobs:
                    self._start()
                for key, _ in self._selector.select(timeout=1.0):
                    self._read(key.data)
                self._look_for_hanging()
            self._end()
        finally:
            for worker in (*self._workers.values(), *self._leaving):
                worker.process.terminate()
            for worker in (*self._workers.values(), *self._leaving):
                self._wait(worker)

    def _start(self) -> None:
        self._started += 1
        directory = self._directory / str(self._started)
        reading, writing = os.pipe()
        orders, ordering = os.pipe()

        def run() -> None:
            self._close_all(reading, ordering)
            work.main(directory, orders, writing)

        process = Forked(run)
        os.close(writing)
        os.close(orders)
        worker = Worker(self._started, process, directory, ordering, reading, since=time.monotonic())
        self._workers[worker.number] = worker
        self._selector.register(reading, selectors.EVENT_READ, worker)

    def _close_all(self, *more: int) -> None:
        """In a new worker: it would keep the pipes of others open."""
        self._selector.close()
        for number in (*more, *(pipe for worker in self._workers.values() for pipe in (worker.orders, worker.pipe))):
            os.close(number)

    def _read(self, worker: Worker) -> None:
        data = os.read(worker.pipe, 1 << 20)
        if not data:
            self._gone(worker)
            return
        *lines, worker.received = (worker.received + data).split(b"\n")
        for line in lines:
            self._event(worker, json.loads(line))

    def _event(self, worker: Worker, event: dict[str, Any]) -> None:
        worker.since = time.monotonic()
        match event.pop("event"):
            case "ready":
                self._give(worker)
            case "begin":
                worker.test, worker.printed = event["test"], event["printed"]
                worker.waiting.remove(event["test"])
            case "end":
                worker.test = None
                end = event.pop("printed")
                printed = worker.output(end) if event["outcome"] == "failed" else ""
                self._report(Result(**event, printed=printed, worker=worker.number))
                worker.printed = end

    def _give(self, worker: Worker) -> None:
        if not self._queue:
            self._let_go(worker)
            return
        others = {server for other in self._workers.values() if other is not worker for server in other.servers}
        piece = self._queue.pop(choose(self._queue, worker.servers, others))
        worker.servers.add(piece.server)
        worker.waiting = list(piece.tests)
        with contextlib.suppress(BrokenPipeError):  # it has died: its other pipe tells
            send(worker.orders, json.dumps(worker.waiting).encode() + b"\n")

    def _let_go(self, worker: Worker) -> None:
        """Nothing more for it: it stops its servers while others work on."""
        self._forget(worker)
        self._leaving.append(worker)

    def _forget(self, worker: Worker) -> None:
        del self._workers[worker.number]
        self._selector.unregister(worker.pipe)
        os.close(worker.pipe)
        os.close(worker.orders)

    def _gone(self, worker: Worker) -> None:
        """It ended in the middle of something: that test has failed, and others get what was still to come."""
        self._forget(worker)
        how = f"worker {worker.number} {ending(self._wait(worker))}"
        if worker.hung:
            how = f"worker {worker.number} was ended, as it had said nothing for {worker.hung:.0f} s"
        if worker.test is not None:
            text = f"{how} while it ran this test"
            seconds = time.monotonic() - worker.since
            self._report(Result(worker.test, "failed", seconds, 0.0, text, worker.output(), worker.number))
        else:
            self._deaths += 1
            if self._deaths >= DEATHS:
                self._queue.clear()
            self.problems.append(f"{how} between two tests:\n{worker.output()}")
        if worker.waiting and self._deaths < DEATHS:
            self._queue.insert(0, Piece("", tuple(worker.waiting), 0.0))

    def _look_for_hanging(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers.values()):
            limit = self._longest(worker.test)
            if not worker.hung and now - worker.since > limit:
                worker.hung = limit
                worker.process.send_signal(signal.SIGUSR1)  # prints where it is
                time.sleep(2)
                worker.process.kill()

    def _longest(self, test: str | None) -> float:
        if test is None:
            return BETWEEN
        return self._limit or max(LIMIT, 2 * self._timeouts.get(test, 0.0))

    def _end(self) -> None:
        for worker in self._leaving:
            status = self._wait(worker)
            if status:
                self.problems.append(f"worker {worker.number} {ending(status)} at its end:\n{worker.output()}")
        self._leaving.clear()

    def _wait(self, worker: Worker) -> int:
        try:
            return worker.process.wait(ENDING)
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait(ENDING)
            return -signal.SIGALRM


def ending(status: int) -> str:
    if status == -signal.SIGALRM:
        return f"did not end within {ENDING:.0f} s"
    return f"died of {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"


def send(pipe: int, data: bytes) -> None:
    while data:
        data = data[os.write(pipe, data) :]
