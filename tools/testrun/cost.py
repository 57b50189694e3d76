"""How much CPU a process has used, with all that it started."""

import os
import resource
import time
from collections.abc import Iterator

TICKS = os.sysconf("SC_CLK_TCK")
# Of the fields behind the name in /proc/PID/stat: user and system time of the process, and of its children that ended.
USED = slice(11, 15)


def cpu_with_children(*others: int) -> float:
    """Seconds of this process, of its children and theirs, those that still run too. Needs Linux's /proc.

    `others`: processes that work for this one and are no children of it.
    """
    children = [*_children(), *map(str, others)]
    return time.process_time() + sum(_used(process) for child in children for process in _family(child)) + _ended()


def _children() -> Iterator[str]:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:  # as for most tests: told by the system in a twentieth of the time
        return
    for thread in os.listdir("/proc/self/task"):
        yield from _read(f"/proc/self/task/{thread}/children").split()


def _ended() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _family(process: str) -> Iterator[str]:
    """A process, and what its first thread has started: no server starts programs in another."""
    yield process
    for child in _read(f"/proc/{process}/task/{process}/children").split():
        yield from _family(child)


def _used(process: str) -> float:
    fields = _read(f"/proc/{process}/stat").rpartition(")")[2].split()
    return sum(map(int, fields[USED])) / TICKS


def _read(path: str) -> str:
    try:
        file = os.open(path, os.O_RDONLY)  # for each test twice: a text file takes three times as long
        try:
            return os.read(file, 1 << 16).decode("utf-8", "replace")
        finally:
            os.close(file)
    except OSError:  # it has just ended
        return ""
