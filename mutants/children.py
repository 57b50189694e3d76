"""Processes of their own for what may hang, take all the memory or end the process: each one forked, watched, ended.

They are forked from a process that has imported the libraries, which are most of the time of a start, and nothing of
minimixproxy: a child imports that itself, as it is or with a fault.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import selectors
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MEMORY = 4 * 1024**3  # bytes of addresses
TOO_LONG = "took too long"
Say = Callable[[Any], None]
Work = Callable[[Say], object]


def longer(seconds: float) -> float:
    """So many seconds of a machine that does nothing else, or more: a busy one is slow, and not wrong."""
    return seconds * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@dataclass
class Task:
    """`work` runs in the child and says things that JSON can hold; each has to come within `patience(said)` seconds."""

    subject: Any
    work: Work
    patience: Callable[[list[Any]], float]
    said: list[Any] = field(default_factory=list)
    ended: str = ""  # "" for well, or what went wrong


@dataclass
class _Child:
    task: Task
    process: int
    pipe: int
    directory: str
    rest: bytes = b""
    deadline: float = 0.0

    def hear(self) -> bool:
        """Take what it says; return whether there is more to come."""
        data = os.read(self.pipe, 65536)
        *lines, self.rest = (self.rest + data).split(b"\n")
        self.task.said += [json.loads(line) for line in lines]
        self.deadline = time.monotonic() + self.task.patience(self.task.said)
        return bool(data)

    def end(self, why: str = "") -> None:
        for kill in (os.killpg, os.kill):  # one that has only just begun has no group of its own yet
            with contextlib.suppress(ProcessLookupError, PermissionError):
                kill(self.process, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
        if why or status not in (0, -signal.SIGKILL):
            self.task.ended = why or f"ended with status {status}"
        os.close(self.pipe)
        shutil.rmtree(self.directory, ignore_errors=True)


def run(tasks: Iterator[Task], jobs: int) -> Iterator[Task]:
    """Run tasks, `jobs` at a time; give each when it has ended."""
    with selectors.DefaultSelector() as selector:
        running: dict[int, _Child] = {}
        try:
            while True:
                while len(running) < jobs and (task := next(tasks, None)) is not None:
                    child = _start(task)
                    running[child.pipe] = child
                    selector.register(child.pipe, selectors.EVENT_READ)
                if not running:
                    return
                yield from _step(selector, running)
        finally:
            for child in running.values():
                child.end("broken off")


def _step(selector: selectors.BaseSelector, running: dict[int, _Child]) -> Iterator[Task]:
    """Wait for one of them to say something or to take too long."""
    now = time.monotonic()
    wait = max(0.0, min(child.deadline for child in running.values()) - now)
    heard = {key.fd for key, _ in selector.select(wait)}
    now = time.monotonic()
    for pipe, child in list(running.items()):
        why = ""
        if pipe in heard:
            if child.hear():
                continue
        elif now < child.deadline:
            continue
        else:
            why = TOO_LONG
        selector.unregister(pipe)
        del running[pipe]
        child.end(why)
        yield child.task


def _start(task: Task) -> _Child:
    sys.stdout.flush()
    directory = tempfile.mkdtemp(prefix="mutants-")
    os.chmod(directory, 0o711)  # tests ask what another user may read in it
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.close(reading)
        _child(task, writing, directory)
    os.close(writing)
    deadline = time.monotonic() + task.patience([])
    return _Child(task, process, reading, directory, deadline=deadline)


def _child(task: Task, pipe: int, directory: str) -> None:
    """Never returns."""
    status = 1
    gc.freeze()  # what is the parent's is no garbage here: looking at each of it would copy a gigabyte
    try:
        os.setsid()
        os.chdir(directory)
        os.environ["TMPDIR"] = tempfile.tempdir = directory
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(nothing, number)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        task.work(lambda message: _write(pipe, message))
        status = 0
    except BaseException:  # noqa: BLE001 (there is nobody else to tell)
        _write(pipe, {"fault": traceback.format_exc(limit=-3)})
    finally:
        os._exit(status)


def _write(pipe: int, message: Any) -> None:
    data = json.dumps(message).encode() + b"\n"
    while data:
        data = data[os.write(pipe, data) :]


def preload() -> None:
    """Import what minimixproxy and its tests use, except for what chooses a reactor."""
    for name in Path(__file__).with_name("libraries.txt").read_text("ascii").split():
        with contextlib.suppress(ImportError):
            __import__(name)
    assert "twisted.internet.reactor" not in sys.modules
