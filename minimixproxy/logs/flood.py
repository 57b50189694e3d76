"""How many lines of one kind the log takes: somebody who makes one with each stanza must not fill the disk. Pure.

A kind of line is its format. Each has a limit for each account, address, room or stream that it is about, and one for
all of them together. How many were left out is told later.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock

from minimixproxy.bounds.rate_limit import RateLimit

BURST, PER_SECOND = 50, 0.5  # lines of one kind about one
BURST_OF_ALL, PER_SECOND_OF_ALL = 2000, 20.0  # about all
MAX_NAMES = 10_000  # whose lines are counted one by one
LONGEST_NAME = 300  # characters of a name that are looked at: a stranger may have a domain with names of 3 KB
MAX_TOLD = 20  # of whom is told how many of their lines were left out, each in a line of its own
INTERVAL = 60.0  # seconds between two times that it is told

#: The fields that say about whom a line is; the first of these that it has counts.
_ABOUT = ("account", "domain", "jid", "where", "address", "room", "peer", "key", "sender")


def about(values: Mapping[str, object]) -> str:
    """Return about whom a line is: an account for all of its devices."""
    for key in _ABOUT:
        if key in values:
            return str(values[key]).partition("/")[0][:LONGEST_NAME]
    return ""


class LogFlood:
    """Admits lines. Until `begin`, all of them. The writer's thread logs, too."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._single: RateLimit | None = None
        self._all: RateLimit
        self._left_out: Counter[tuple[str, str]] = Counter()  # by kind and name

    def begin(self, seconds: Callable[[], float]) -> None:
        """Count from now on. `seconds`: the time."""
        self._all = RateLimit(PER_SECOND_OF_ALL, BURST_OF_ALL, seconds)
        self._single = RateLimit(PER_SECOND, BURST, seconds, MAX_NAMES)

    def end(self) -> None:
        """Admit all."""
        self._single = None

    def admits(self, kind: str, values: Mapping[str, object]) -> bool:
        """Tell whether a line of this format, and with these values, is written. Else it is counted."""
        single = self._single  # `end` may come meanwhile, in another thread
        if single is None:
            return True
        name = about(values)
        with self._lock:
            if single.admits(f"{kind}\0{name}") and self._all.admits(kind):
                return True
            key = (kind, name)
            self._left_out[key if key in self._left_out or len(self._left_out) < MAX_NAMES else (kind, "")] += 1
        return False

    def told(self) -> list[tuple[str, str, int]]:
        """Return what was left out since the last time: format, about whom ("" for several), and how many.

        Those with most lines come first, and each on its own; of the others, what they are together.
        """
        with self._lock:
            left_out, self._left_out = self._left_out, Counter()
        most = left_out.most_common()
        rest: Counter[str] = Counter()
        for (kind, _name), number in most[MAX_TOLD:]:
            rest[kind] += number
        return [(kind, name, number) for (kind, name), number in most[:MAX_TOLD]] + [
            (kind, "", number) for kind, number in rest.items()
        ]
