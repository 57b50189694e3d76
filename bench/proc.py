"""What the kernel says of a process: CPU time and memory."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads, in seconds.

    From schedstat in nanoseconds: what /proc/PID/stat shows as utime and stime is this, rounded to ticks of 10 ms. A
    kernel without it is read the coarse way.
    """
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except FileNotFoundError:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_seconds_of_all(pid: int) -> float:
    """The same with that of its children, those that have ended included."""
    own = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ended = (int(own[13]) + int(own[14])) / _TICKS
    return cpu_seconds(pid) + ended + sum(map(_cpu_seconds_if_there, children(pid)))


def children(pid: int) -> list[int]:
    """The processes that it has started and that have not ended."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def _cpu_seconds_if_there(pid: int) -> float:
    try:
        return cpu_seconds(pid)
    except OSError:  # it has just ended
        return 0.0


def resident_bytes(pid: int) -> int:
    """Memory that the process holds (RSS)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
