"""How the cluster stands, as this process saw it last; the log is told who has come and who is gone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from minimixproxy.logs.logger import Logger
from minimixproxy.storage.lease import LEASE
from minimixproxy.storage.leases import Holder, Survey
from minimixproxy.timing.clock import Clock

MOST_TOLD: Final = 20  # names in a status report


class View:
    """What other modules ask of the last look. Before the first one nobody is seen."""

    log = Logger()

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen_at: float | None = None
        self.live: Sequence[Holder] = ()  # processes, this one among them
        self.free = 0  # accounts that no process has; see `storage.leases.MOST_ORPHANS`
        self.left_by: Sequence[str] = ()  # names of processes that have ended, whose accounts are not all taken yet

    def seen(self, survey: Survey, own: int) -> Sequence[int]:
        """Take what a look has shown; return the numbers of processes that are over. `own`: this process's."""
        before, self.live = self.live, survey.live
        self._seen_at = self._clock.seconds()
        self.free, self.left_by = len(survey.orphans), list(dict.fromkeys(survey.left_by))[:MOST_TOLD]
        for holder in survey.buried:
            self.log.warn(
                "{name} has given no sign of life for {lease:.0f} s: the others take its accounts",
                name=holder.name,
                lease=LEASE,
            )
        others = {holder.number: holder for holder in self.live if holder.number != own}
        known = {holder.number: holder for holder in before if holder.number != own}
        over, buried = sorted(known.keys() - others.keys()), {holder.number for holder in survey.buried}
        self._tell_of_those_gone(known[number] for number in over if number not in buried)
        self._tell_of_those_come((others[number] for number in sorted(others.keys() - known.keys())), not before)
        return over

    def _tell_of_those_gone(self, holders: Iterable[Holder]) -> None:
        for gone in holders:
            self.log.info(
                "{name}, number {number}, is no more in the cluster; it had {accounts} accounts a moment ago",
                name=gone.name,
                number=gone.number,
                accounts=gone.accounts,
            )

    def _tell_of_those_come(self, holders: Iterable[Holder], at_first: bool) -> None:
        for come in holders:
            self.log.info(
                "{name} at {address} is in the cluster already, as number {number}"
                if at_first
                else "{name} at {address} has come into the cluster, as number {number}",
                name=come.name,
                address=come.address,
                number=come.number,
            )

    @property
    def age(self) -> float | None:
        """How many seconds ago the last look was, None if there was none."""
        return None if self._seen_at is None else self._clock.seconds() - self._seen_at

    def accounts(self, own: int, held: int) -> int:
        """Return how many accounts there are in the cluster, about: the others say now and then how many they have.

        `own`: this process's number; `held`: how many it has.
        """
        return held + self.free + sum(holder.accounts for holder in self.live if holder.number != own)
