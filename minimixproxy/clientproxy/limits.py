"""Who may use the proxy, and how much. Pure: the clock is handed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable

from minimixproxy.jids import Address


class AccessList:
    """Lists of domains, bare JIDs and full JIDs. What is denied stays so; an empty allow list allows all."""

    def __init__(self, allow: Iterable[str] = (), deny: Iterable[str] = ()) -> None:
        self._allow = frozenset(allow)
        self._deny = frozenset(deny)
        self._open = not self._allow and not self._deny

    def permits(self, sender: Address) -> bool:
        """Tell whether the sender may use the proxy."""
        if self._open:
            return True
        names = {sender.domain, sender.bare, sender.full}
        return not names & self._deny and (not self._allow or bool(names & self._allow))


class RateLimit:
    """A token bucket for each asker: `rate` stanzas a second (0: no limit), `burst` at once.

    At most `max_askers` buckets are kept, the least recently used are forgotten first (`full` is told); a forgotten
    bucket is full again.
    """

    def __init__(
        self,
        rate: float,
        burst: int,
        clock: Callable[[], float],
        max_askers: int = 10_000,
        full: Callable[[str], None] = lambda table: None,
    ) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._clock = clock
        self._max_askers = max_askers
        self._full = full
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # asker -> tokens, when counted

    def admits(self, asker: str) -> bool:
        """Take one stanza of this asker (a bare JID) into account; tell whether it is within the limit."""
        if not self._rate:
            return True
        now = self._clock()
        tokens, counted = self._buckets.get(asker, (self._burst, now))
        tokens = min(self._burst, tokens + (now - counted) * self._rate)
        admitted = tokens >= 1
        self._buckets[asker] = tokens - admitted, now
        self._buckets.move_to_end(asker)
        if len(self._buckets) > self._max_askers:
            self._buckets.popitem(last=False)
            self._full("askers whose rate is counted")
        return admitted
