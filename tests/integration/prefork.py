"""Starts proxies in a tenth of the time, and the operator's commands: a process that has imported all forks for each.

Nothing random may be made at import: all would share it. Used for proxies that need no special command line, if
MINIMIXPROXY_PREFORK is set, as tools/testrun/worker.py does; all others are run as users run them. In such a run that
process is itself forked, by tests/integration/nursery.py: none of the workers has to import all once more.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from types import FrameType
from typing import IO, Any
from unittest import mock

from tests.integration import nursery

ROOT = Path(__file__).resolve().parent.parent.parent
PR_SET_PDEATHSIG = 1
MESSAGE = 200_000  # bytes, at most
MOST_SAID = 1 << 26  # bytes


def wanted() -> bool:
    return bool(os.environ.get("MINIMIXPROXY_PREFORK"))


class Forked:
    """What is used of subprocess.Popen, for a process forked elsewhere. `status` gets its exit status as text."""

    def __init__(self, pid: int, stdin: IO[bytes] | None, stdout: IO[bytes], status: IO[bytes]) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0.0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._status], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
            with self._lock:
                if self.returncode is None:
                    # nothing, if the process that forks was killed: all end with it
                    self.returncode = int(self._status.read() or -signal.SIGKILL)
        return self.returncode

    def communicate(self) -> tuple[bytes, None]:
        """Say nothing more; return what else it says, when it has ended."""
        if self.stdin:
            self.stdin.close()
        with self.stdout as stdout:
            said = stdout.read()
        self.wait()
        return said, None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Forker:
    """The process that forks, seen from here."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            # a database as the first start makes it, for that takes a third of it
            self.state = Path(mkdtemp(prefix="minimixproxy-")) / "state.sqlite"
            self._own: subprocess.Popen[bytes] | None = None
            if not nursery.fork(other.fileno(), self.state):
                self._own = self._begin(other.fileno())
        self.pid = int(self._socket.recv(100) or _ended())

    def _begin(self, number: int) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-u", "-m", "tests.integration.prefork", str(number), str(self.state)]
        return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[number])

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], directory: Path, *, listens: bool = False
    ) -> Forked:
        """Run a program with this command line. `listens`: it has a pipe to read from. What it prints is one stream."""
        reading, stdout = os.pipe()
        stdin, writing = os.pipe() if listens else (os.open(os.devnull, os.O_RDONLY), None)
        says = None if writing is None else os.fdopen(writing, "wb")
        with open(stdin, "rb") as reads, open(stdout, "wb") as pipe:
            return self._fork(arguments, environment, directory, (reads, pipe, pipe), (says, open(reading, "rb")))

    def run(
        self,
        arguments: Sequence[str],
        says: str,
        directory: Path,
        timeout: float,
        *,
        prints: IO[bytes] | None = None,
    ) -> "subprocess.CompletedProcess[str]":
        """Run a program to its end, as subprocess.run does. It prints into a file, or what else it is given."""
        with TemporaryFile() as stdin, TemporaryFile() as stdout, TemporaryFile() as stderr:
            stdin.write(says.encode())
            stdin.seek(0)
            process = self._fork(arguments, os.environ, directory, (stdin, prints or stdout, stderr), (None, stdout))
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            said = [os.pread(file.fileno(), MOST_SAID, 0).decode() for file in (stdout, stderr)]
        return subprocess.CompletedProcess(list(arguments), status, *said)

    def _fork(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        directory: Path,
        streams: Sequence[IO[bytes]],
        ours: tuple[IO[bytes] | None, IO[bytes]],
    ) -> Forked:
        order = {"arguments": list(arguments), "environment": dict(environment), "directory": str(directory)}
        ended, status = os.pipe()
        with self._lock, open(status, "wb"):
            fds = [*(stream.fileno() for stream in streams), status]
            socket.send_fds(self._socket, [json.dumps(order).encode()], fds)
            answer = self._socket.recv(100)
        return Forked(int(answer or _ended()), *ours, open(ended, "rb"))

    def stop(self) -> None:
        """End it, and what it has started and nobody has stopped."""
        self._socket.close()
        if self._own:
            self._own.wait()
        else:
            with contextlib.suppress(ProcessLookupError), open(os.pidfd_open(self.pid)) as process:
                select.select([process], [], [])
        shutil.rmtree(self.state.parent, ignore_errors=True)


def _ended() -> int:
    raise RuntimeError("the process that forks proxies has ended")


def stop() -> None:
    """To be called when all proxies are stopped."""
    if _forker.cache_info().currsize:
        forker().stop()


def forker() -> Forker:
    """Return the one of this process, whichever of its threads asks: a second, forgotten, takes its proxies along."""
    with _making:
        return _forker()


@cache
def _forker() -> Forker:
    return Forker()


_making = threading.Lock()


def working() -> list[int]:
    """The process that forks, if there is one: for the CPU that it and its proxies use."""
    return [forker().pid] if _forker.cache_info().currsize else []


def main(number: int) -> None:
    """Fork for each order; returns in the new process, to run twistd or whatever it is.

    It ends when nobody can give orders any more. It is not bound to the thread that started it, as by PR_SET_PDEATHSIG:
    trial ends its threads behind each class of tests, and the next class would be without.
    """
    orders = socket.socket(fileno=number)
    orders.send(str(os.getpid()).encode())
    watched = selectors.DefaultSelector()
    watched.register(orders, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.fileobj is not orders:
                watched.unregister(key.fileobj)
                _tell_status(*key.data)
                os.close(key.fd)
                continue
            data, fds, _flags, _address = socket.recv_fds(orders, MESSAGE, 4)
            if not data:
                sys.exit(0)
            pid = os.fork()
            if not pid:
                watched.close()  # part of a circle: collected later, it would close what has its number then
                _become(json.loads(data), fds[:3])
                return
            *streams, status = fds
            for stream in streams:
                os.close(stream)
            watched.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, status))
            orders.send(str(pid).encode())


def prepare() -> None:
    """Import what proxies need, and see to it that they can share it."""
    with mock.patch("random._urandom", _drawn), mock.patch("os.urandom", _drawn):
        for name in ("minimixproxy.tap", "minimixproxy.operator.commands"):
            importlib.import_module(name)
    for name in ("twisted.scripts.twistd", "twisted.internet.default", "twisted.internet.unix", "twisted.cred.strcred"):
        importlib.import_module(name)
    assert "twisted.internet.reactor" not in sys.modules, "a reactor does not outlive a fork"


def make_empty(state: Path) -> None:
    """Make a database that has all tables, and nothing in them."""
    from minimixproxy.storage.database import Database

    database = Database(state)
    with database.prepared():
        pass
    database.close()


def _drawn(size: int, draw: Callable[[int], bytes] = os.urandom) -> bytes:
    """Take the place of os.urandom, for which module ever is being imported: libraries may."""
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_code.co_name != "<module>":
        frame = frame.f_back
    importing = str(frame.f_globals["__name__"]) if frame else ""
    assert not importing.startswith("minimixproxy."), f"all proxies share what {importing} draws at import"
    return draw(size)


def _tell_status(pid: int, status: int) -> None:
    _pid, wait_status = os.waitpid(pid, 0)
    with open(status, "w") as pipe, contextlib.suppress(BrokenPipeError):
        pipe.write(str(os.waitstatus_to_exitcode(wait_status)))


def _become(order: Mapping[str, Any], streams: Sequence[int]) -> None:
    """Take on what a process started in the ordinary way would have."""
    _die_with_parent()
    for target, stream in enumerate(streams):
        os.dup2(stream, target)
    os.closerange(3, 65_536)
    # new ones: what there is may be set up for a terminal
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.chdir(str(order["directory"]))
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = list(order["arguments"])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def run_program() -> None:
    """Do in this process what its command line says, as the interpreter would."""
    _interpreter, *arguments = sys.argv
    match arguments:
        case ["-c", code, *rest]:
            sys.path[0], sys.argv = "", ["-c", *rest]
            exec(code, {"__name__": "__main__"})
        case ["-m", module, *rest]:
            sys.path[0], sys.argv = os.getcwd(), ["-m", *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case _:
            sys.path[0], program = os.path.split(sys.argv[0])  # as for any script
            _run_script(program)


def _run_script(program: str) -> None:
    if program == "twistd":
        from twisted.scripts.twistd import run

        run()
    else:
        from minimixproxy.operator.commands import main as operate

        sys.exit(operate())


if __name__ == "__main__":
    prepare()
    make_empty(Path(sys.argv[2]))
    gc.freeze()
    main(int(sys.argv[1]))
    run_program()
