"""Programs started by the tests: their output kept, waited for, and all of them stopped when the test run ends."""

import atexit
import contextlib
import ctypes
import fcntl
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import termios
import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread

from tests.integration import prefork
from tests.patience import patiently

START_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None)
_running: "list[LoggedProcess]" = []
_directory: Path | None = None


class ProcessFailed(Exception):
    """A program ended, or did not say in time what was waited for."""


class LoggedProcess:
    """A running program. A thread collects its output: trial forbids pipes in the reactor that outlive a test."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        pass_fds: Sequence[int] = (),
        obeys: bool = False,
        preforked: bool = False,
    ) -> None:
        """`obeys`: tell() writes to its input, which ends with this process, else there is none.

        `preforked`: the program is twistd, and may come from prefork, which knows neither `pass_fds` nor `obeys`.
        """
        self.name = name
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._ended = False
        complete = {**os.environ, **(environment or {})}
        self.process: subprocess.Popen[bytes] | prefork.Forked
        if preforked and prefork.wanted():
            self.process = prefork.forker().start(arguments, complete, directory or Path.cwd())
        else:
            self.process = _start(
                arguments,
                stdin=subprocess.PIPE if obeys else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=complete,
                cwd=directory,
                pass_fds=pass_fds,
                preexec_fn=_die_with_parent,
            )
        _running.append(self)
        assert self.process.stdout is not None
        threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True).start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def _read(self, output: IO[bytes]) -> None:
        ready = select.poll()
        ready.register(output, select.POLLIN)
        rest: bytes | None = b""
        while rest is not None:
            ready.poll()
            with self._news:
                rest = self._take(os.read(output.fileno(), 65536), rest)
                self._news.notify_all()
        self.process.wait()
        if self.process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def _take(self, data: bytes, rest: bytes) -> bytes | None:
        """Keep the lines that are whole; returns the begin of the next, None at the end of all."""
        *lines, begun = (rest + data).split(b"\n")
        if not data and begun:
            lines.append(begun)
        self.lines += [line.decode("utf-8", "replace") for line in lines]
        return begun if data else None

    def catch_up(self) -> None:
        """Block until `lines` has all that it has written by now."""
        output = self.process.stdout
        assert output is not None
        with self._news:
            caught_up = self._news.wait_for(lambda: self._ended or not _unread(output), patiently(START_TIMEOUT))
        if not caught_up:
            raise ProcessFailed(f"{self.name} writes and writes:\n{self.tail()}")

    def tell(self, line: str) -> None:
        """Write a line to its input."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def wait_for(self, pattern: str, timeout: float = START_TIMEOUT, *, start: int = 0) -> str:
        """Block until a line matches, counting from line number `start`, and return it."""
        search = re.compile(pattern).search

        def found() -> str | None:
            return next((line for line in self.lines[start:] if search(line)), None)

        with self._news:
            self._news.wait_for(lambda: found() is not None or self._ended, patiently(timeout))
            line = found()
        if line is None:
            reason = f"ended with status {self.process.returncode}" if self._ended else f"{patiently(timeout)} s passed"
            raise ProcessFailed(f"{self.name}: {reason} before {pattern!r} was logged:\n{self.tail()}")
        return line

    def says(self, pattern: str, timeout: float = 20.0, *, start: int = 0) -> "Deferred[str]":
        """Like wait_for, without blocking the reactor."""
        return deferToThread(self.wait_for, pattern, timeout, start=start)

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.lines[-lines:])

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Block until the end; returns the exit status, negative for a signal."""
        with self._news:
            if not self._news.wait_for(lambda: self._ended, patiently(timeout)):
                raise ProcessFailed(f"{self.name} still runs after {patiently(timeout)} s:\n{self.tail()}")
        return self.process.wait()

    def ends(self, timeout: float = STOP_TIMEOUT) -> "Deferred[int]":
        """Like wait, without blocking the reactor."""
        return deferToThread(self.wait, timeout)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        """End the program as kill -9 does, and wait until it is gone. Blocks."""
        if self in _running:
            _running.remove(self)
        self.process.kill()
        self.wait()

    def pause(self) -> None:
        """Stop it where it stands (SIGSTOP): its connections stay open, and nothing answers."""
        self.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self.signal(signal.SIGCONT)

    def stop(self) -> None:
        """End the program, by force if it takes too long. Blocks."""
        if self in _running:
            _running.remove(self)
        self.process.terminate()
        self.resume()  # a stopped process would not hear of it
        try:
            self.wait()
        except ProcessFailed:
            self.process.kill()
            self.process.wait()


def _unread(pipe: IO[bytes]) -> int:
    """How many bytes wait in a pipe."""
    waiting = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, waiting)
    return waiting[0]


def _start(arguments: Sequence[str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a program that ends with this process (see `_die_with_parent`), whichever thread wants it.

    The kernel binds it to the thread that starts it, and trial ends its threads behind each class of tests.
    """
    started: Future[subprocess.Popen[bytes]] = Future()

    def start() -> None:
        try:
            started.set_result(subprocess.Popen(arguments, **options))
        except Exception as error:  # noqa: BLE001 (whoever wants the program is told)
            started.set_exception(error)

    _starting().put(start)
    return started.result()


@cache
def _starting() -> "SimpleQueue[Callable[[], None]]":
    """What is put in here runs in a thread that lasts as long as this process."""
    orders: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def obey() -> None:
        while True:
            orders.get()()

    threading.Thread(target=obey, name="starts programs", daemon=True).start()
    return orders


def _die_with_parent() -> None:
    """Servers must not outlive a test run that was killed."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def temporary_directory(name: str) -> Path:
    """A new directory, removed at the end of the run unless MINIMIXPROXY_KEEP is set."""
    global _directory
    if _directory is None:
        _directory = Path(tempfile.mkdtemp(prefix="minimixproxy-"))
        # --uid tests: another user must be able to get to a directory of its own
        _directory.chmod(0o755)
    return Path(tempfile.mkdtemp(prefix=name + "-", dir=_directory))


@atexit.register
def _stop_all() -> None:
    for process in reversed(_running):
        process.process.terminate()
    for process in list(_running):
        process.stop()
    prefork.stop()
    if _directory is not None and "MINIMIXPROXY_KEEP" not in os.environ:
        shutil.rmtree(_directory, ignore_errors=True)
