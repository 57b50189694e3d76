"""Noting now and then which accounts have clients, a few in each turn of the reactor: there may be many."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from twisted.internet.defer import Deferred

from minimixproxy.accountstream.held_account import HeldAccount
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.timing.slices import ended_early, in_slices

AT_ONCE = 200  # accounts in one turn


class SeenClients:
    """`held` returns all accounts, `holds` tells whether one of them is held still."""

    log = Logger()

    def __init__(
        self, clock: Clock, held: Callable[[], list[HeldAccount]], holds: Callable[[HeldAccount], bool]
    ) -> None:
        self._clock = clock
        self._held = held
        self._holds = holds
        self._timer = Timer(clock)
        self._noting: Deferred[None] | None = None

    def start(self, interval: Callable[[], float]) -> None:
        """Note them every `interval()` seconds from now on."""
        self._timer.start(interval(), lambda: self._note(interval))

    def stop(self) -> None:
        """Note nothing any more."""
        self._timer.stop()
        if self._noting is not None:
            self._noting.cancel()

    def _note(self, interval: Callable[[], float]) -> None:
        self._noting = in_slices(self._clock, self._steps(self._held()), AT_ONCE)
        self._noting.addCallbacks(lambda _: self.start(interval), ended_early)

    def _steps(self, those: list[HeldAccount]) -> Iterator[int]:
        for held in those:
            try:
                if self._holds(held) and held.account.sessions:
                    held.login.client_stays()
            except Exception:  # noqa: BLE001 (one account must not cost the others)
                self.log.failure("while it is noted that {account} has clients", account=held.bare)
            yield 1
