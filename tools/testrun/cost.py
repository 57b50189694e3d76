"""How much CPU a process has used, with all that it started."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
# Of the fields behind the name in /proc/PID/stat: user and system time of the process, and of its children that ended.
USED = slice(11, 15)


def cpu_with_children() -> float:
    """Seconds of this process, of its children and theirs, those that still run too. Needs Linux's /proc."""
    return sum(map(_used, _family(os.getpid())))


def _family(process: int) -> Iterator[int]:
    yield process
    with suppress(OSError):  # it has just ended
        for thread in os.listdir(f"/proc/{process}/task"):
            for child in Path(f"/proc/{process}/task/{thread}/children").read_text().split():
                yield from _family(int(child))


def _used(process: int) -> float:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[USED])) / TICKS
