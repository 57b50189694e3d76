"""Accounts come back after a restart, a few in each turn of the reactor: they may be in tens of thousands of rooms.

Whoever asks for one that still waits has it restored first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from twisted.internet.defer import Deferred

from minimixproxy.minimix.interfaces.journal import KeptAccount
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.slices import ended_early, in_slices

ROOMS_AT_ONCE = 20  # in one turn, and at least one account: some ten milliseconds
AS_MANY_ROOMS = 2  # an account is as much work as so many of its rooms

_Result = TypeVar("_Result")


class Returning:
    """`restore` makes an account of what was kept of it."""

    def __init__(self, clock: Clock, restore: Callable[[KeptAccount], None]) -> None:
        self._clock = clock
        self._restore = restore
        self._waiting: dict[str, KeptAccount] = {}
        self._working: list[Deferred[None]] = []

    def begin(self, kept: Iterable[KeptAccount], done: Callable[[], None]) -> None:
        """Restore these, in their order; call `done` then. The first few are there when this returns."""
        names = [account.bare for account in kept]
        self._waiting.update((account.bare, account) for account in kept)
        work = in_slices(self._clock, self._steps(names), ROOMS_AT_ONCE)
        self._working.append(work)
        work.addBoth(self._over, work)
        work.addCallback(lambda _: done())
        work.addErrback(ended_early)

    def _over(self, result: _Result, work: Deferred[None]) -> _Result:
        self._working.remove(work)
        return result

    def first(self, bare: str) -> None:
        """Restore an account now, if it waits."""
        account = self._waiting.pop(bare, None)
        if account is not None:
            self._restore(account)

    def has(self, bare: str) -> bool:
        """Tell whether an account waits."""
        return bare in self._waiting

    @property
    def waiting(self) -> list[KeptAccount]:
        """What was kept of those that are still to be restored."""
        return list(self._waiting.values())

    def stop(self) -> None:
        """Restore no more of them: they are on disk as they were."""
        for work in list(self._working):
            work.cancel()

    def _steps(self, names: list[str]) -> Iterator[int]:
        for bare in names:
            account = self._waiting.get(bare)
            if account is not None:
                self.first(bare)
                yield AS_MANY_ROOMS + len(account.rooms)
