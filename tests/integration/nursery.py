"""A process that tools/run_trial.py forks before all else; for each worker that wants one it forks what prefork.py is.

What proxies import is so imported once in a whole run, and by a process that has neither a reactor nor threads.
"""

import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from itertools import dropwhile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent.parent
MESSAGE = 10_000  # bytes, at most


class Nursery:
    """As others see it: workers have it from the process that they were forked from."""

    requests: socket.socket | None = None
    pid = 0


def begin(names: Sequence[str]) -> Callable[[], None] | None:
    """Fork it; returns None, and in each program that comes of it what that has to do.

    `names`: the tests. If it will be wanted in any case, all is imported here, and the tests need not do it again.
    """
    from tests.integration import prefork

    if "tests" in names:
        prefork.prepare()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    gc.freeze()
    Nursery.pid = os.fork()
    gc.unfreeze()
    if Nursery.pid:
        theirs.close()
        Nursery.requests = ours
        return None
    ours.close()
    _serve(theirs)
    return prefork.run_program


def end() -> None:
    """To be called when all workers have ended."""
    if Nursery.requests:
        Nursery.requests.close()
        Nursery.requests = None
        os.waitpid(Nursery.pid, 0)


def fork(orders: int, state: Path) -> bool:
    """Have it fork a process that takes orders on this socket, and has a database made; False without a nursery."""
    if Nursery.requests:
        socket.send_fds(Nursery.requests, [str(state).encode()], [orders])
    return Nursery.requests is not None


def _serve(requests: socket.socket) -> None:
    """Returns in each program that is asked for. It ends when nobody can ask any more."""
    from tests.integration import prefork

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who is interrupted closes the sockets
    empty: bytes | None = None
    while True:
        data, fds, _flags, _address = socket.recv_fds(requests, MESSAGE, 1)
        if not data:
            _end()
        if empty is None:
            prefork.prepare()
            empty = _empty_state(prefork.make_empty)
            gc.freeze()
        if not os.fork():
            requests.close()
            state = Path(os.fsdecode(data))
            state.touch(mode=0o600)
            state.write_bytes(empty)
            prefork.main(*fds)
            _tidy_up()
            return
        os.close(*fds)


def _empty_state(make: Callable[[Path], None]) -> bytes:
    with TemporaryDirectory() as directory:
        state = Path(directory) / "state.sqlite"
        make(state)
        return state.read_bytes()


def _end() -> None:
    """All that it has forked ends before it, and is counted as its own."""
    while True:
        try:
            os.wait()
        except ChildProcessError:
            os._exit(0)


def _tidy_up() -> None:
    """What is not a program's own: it was forked from one that runs tests."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ours = {os.getcwd(), str(ROOT / "tools")}  # in front of all else; behind it may be where the package is installed
    sys.path[:] = ["", *dropwhile(ours.__contains__, sys.path)]
