"""Worker processes are forked from one that has imported all tests: none of them has to."""

import asyncio
import atexit
import os
import select
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable


class Forked:
    """A process that was forked from this one: what is used of subprocess.Popen."""

    def __init__(self, run: Callable[[], None]) -> None:
        """`run`: what it does. It must not touch what else is going on here."""
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.pid = os.fork()
        if not self.pid:
            _run_to_the_end(run)
        self._ended = os.pidfd_open(self.pid)
        self.returncode: int | None = None

    def wait(self, timeout: float) -> int:
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            _pid, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
            os.close(self._ended)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)  # it is there until it is waited for

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run_to_the_end(run: Callable[[], None]) -> None:
    """Run that, then end the process as the interpreter ends a program: nothing of who forked it is gone through."""
    status = 1
    try:
        try:
            run()
            threading._shutdown()  # type: ignore[attr-defined]  # waits for threads
            status = 0
        except BaseException:  # noqa: BLE001 (it ends here, and is printed)
            traceback.print_exc()
        finally:
            atexit._run_exitfuncs()
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
    finally:  # whatever comes in between, such as SIGTERM: else two would go on with what this one forked from does
        os._exit(status)


def renew_reactor() -> None:
    """Give the reactor that all have imported an event loop of its own: one that was forked is shared with others."""
    from twisted.internet import reactor

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    shared = vars(reactor)["_asyncioEventloop"]
    vars(reactor).clear()
    type(reactor).__init__(reactor, loop)
    shared.close()
