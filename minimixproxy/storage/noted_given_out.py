"""How far messages were handed to sessions, noted in the database: another process of the cluster goes on from there.

It goes along with what is written next, or by itself soon after. What was handed over behind the last note comes twice
if the process is killed, to those clients that do not acknowledge.
"""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.storage.cluster_lease import ClusterLease
from minimixproxy.timing.clock import Clock, Timer

NOTED_AFTER = 0.05  # seconds, if nothing else is written meanwhile


class NotedGivenOut:
    """The mark of one process (`given_out.Mark`)."""

    def __init__(self, lease: ClusterLease, clock: Clock, tend: Callable[[], None]) -> None:
        """`tend`: has the writer's thread do what is due between two batches."""
        self._lease = lease
        self._tend = tend
        self._timer = Timer(clock)

    def write(self, sequence: int) -> None:
        """Everything up to `sequence` has been handed over."""
        self._lease.given_out = sequence
        if not self._timer.running:
            self._timer.start(NOTED_AFTER, self._note)

    def _note(self) -> None:
        if self._lease.has_news:
            self._tend()

    def close(self) -> None:
        """Note no more."""
        self._timer.stop()
