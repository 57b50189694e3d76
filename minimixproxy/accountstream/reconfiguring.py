"""Telling the accounts that are held of another configuration, a few in each turn of the reactor: there may be many.

An account that comes meanwhile knows no other configuration, and one that goes needs to be told of none.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator

from twisted.internet.defer import Deferred

from minimixproxy.accountstream.held_account import HeldAccount
from minimixproxy.config.settings import Settings
from minimixproxy.jids import parse_jid
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.slices import ended_early, in_slices

#: Accounts in one turn: ten milliseconds of work, or less.
AT_ONCE = 2000
#: An account whose domain comes or goes is as much work as so many others.
AS_MANY_OTHERS = 20


class Reconfiguring:
    """What accounts do for another configuration (`reloading.Part`, and `Prepared`).

    `held` returns all accounts, `holds` tells whether one of them is held still. `served`: the domains.
    """

    log = Logger()

    def __init__(
        self,
        clock: Clock,
        served: Container[str],
        held: Callable[[], list[HeldAccount]],
        holds: Callable[[HeldAccount], bool],
    ) -> None:
        self._clock = clock
        self._served = served
        self._held = held
        self._holds = holds
        self._telling: Deferred[None] | None = None

    async def prepare(self, _new: Settings) -> Reconfiguring:
        """Nothing that accounts do for another configuration can fail."""
        return self

    def commit(self) -> Deferred[None]:
        """Have accounts whose domain is not served wait until it is. The result fires when all accounts are told."""
        self._telling = in_slices(self._clock, self._tell(self._held()), AT_ONCE)
        return self._telling.addErrback(ended_early)

    def undo(self) -> None:
        """Nothing was done."""

    def stop(self) -> None:
        """The proxy ends: tell no more of them."""
        if self._telling is not None:
            self._telling.cancel()

    def _tell(self, those: list[HeldAccount]) -> Iterator[int]:
        for held in those:
            begins_or_ends = False
            try:
                if self._holds(held):
                    begins_or_ends = held.settings_changed(served=parse_jid(held.bare).domain in self._served)
            except Exception:  # noqa: BLE001 (one account must not cost the others)
                self.log.failure("while {account} is told of another configuration", account=held.bare)
            yield AS_MANY_OTHERS if begins_or_ends else 1
