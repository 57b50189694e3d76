"""Accounts go from here to other processes while this one lives: some when it has too many, all when it is drained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred, maybeDeferred

from minimixproxy.cluster.departures import GRACE, LOGIN_TIME, Departures, Draining
from minimixproxy.cluster.interfaces import Accounts
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.handed import HandedAccount
from minimixproxy.storage.leases import Holder
from minimixproxy.timing.clock import Clock


class Held(Protocol):
    """What this process holds (`holding`)."""

    @property
    def held(self) -> Mapping[str, float]:
        """The accounts, and until when a client may be about to bind a resource."""

    @property
    def live(self) -> Sequence[Holder]:
        """Processes, at the last look."""

    @property
    def number(self) -> int:
        """This one's."""

    def is_busy(self, bare: str) -> bool:
        """Tell whether an account is asked for, or is being let go."""

    def let_go(self, bare: str, *, to_others: bool, handed: HandedAccount | None = None) -> Deferred[None]:
        """Have an account be this process's no more. Fires when that is on disk."""


class HandingOn:
    """`look` is called after each look at the cluster."""

    log = Logger()

    def __init__(self, held: Held, accounts: Accounts, clock: Clock) -> None:
        self._held = held
        self._accounts = accounts
        self._clock = clock
        self._departures = Departures()
        self._on_their_way: set[str] = set()  # their clients are told to go, or it is not on disk yet
        self._waiting: list[Deferred[None]] = []

    # What the operator wishes ----------------------------------------------------------------------------------

    def drain(self) -> None:
        """Take no more accounts, and hand each on to another process once no client uses it."""
        if not self.draining:
            self._departures.draining = Draining.IDLE

    def dismiss(self) -> None:
        """Hand on also those that clients use; some at a time, so that these do not all come again at once."""
        self._departures.draining = Draining.ALL

    def undrain(self) -> None:
        """Be as before. What is gone comes back by and by, as it does to a process that joins."""
        self._departures.draining = Draining.NO
        self._see_whether_all_are_gone()

    @property
    def draining(self) -> bool:
        """Whether this process takes no accounts."""
        return self._departures.draining is not Draining.NO

    @property
    def is_noted(self) -> bool:
        """Whether the others know it."""
        return any(holder.draining for holder in self._held.live if holder.number == self._held.number)

    @property
    def left(self) -> int:
        """How many accounts are still to go to others; none if no other process takes any, as was seen since."""
        if not self.draining:
            return 0
        held = self._held.held if self.takers() or not self.is_noted else {}
        return len(held) + sum(bare not in held for bare in self._on_their_way)

    def when_none_is_left(self) -> Deferred[None]:
        """Return what fires when no account is to go to others any more."""
        gone = Deferred[None]()
        self._waiting.append(gone)
        self._see_whether_all_are_gone()
        return gone

    # How it is done --------------------------------------------------------------------------------------------

    def takers(self) -> dict[int, int]:
        """Return the other processes that take accounts, and how many they have."""
        own = self._held.number
        return {one.number: one.accounts for one in self._held.live if one.number != own and not one.draining}

    def look(self) -> None:
        """Have some accounts go, if any are to."""
        counts, held, own = self.takers(), self._held.held, self._held.number
        if self.draining and not self.is_noted:
            return  # it would get back what it lets go
        if not self.draining:
            counts[own] = len(held)
        for bare in self._departures.due(held, counts, own, self._may_go):
            self._go(bare)
        self._see_whether_all_are_gone()

    def _may_go(self, bare: str) -> bool:
        """Tell whether an account can go just now: nothing is under way, and no client has just named it.

        Who is in the middle of a login would be told that a token or a password is wrong. A process that is drained
        does not wait for longer than a login takes: then a client that is about to use the account has to come again.
        """
        if self._held.is_busy(bare) or bare in self._on_their_way:
            return False
        if self._departures.draining is Draining.ALL:
            return True
        patience = GRACE - LOGIN_TIME if self.draining else 0.0
        settled = self._held.held[bare] - patience <= self._clock.seconds()
        may_go = self._accounts.is_idle if self.draining else self._accounts.rests
        return settled and may_go(bare)

    def _go(self, bare: str) -> None:
        if not self._accounts.knows(bare):  # a client was about to come
            self._held.let_go(bare, to_others=False)
            return
        self._on_their_way.add(bare)
        going = maybeDeferred(self._accounts.dismiss, bare).addCallback(lambda handed: self._went(bare, handed))
        going.addErrback(lambda failure: self.log.failure("while {account} was handed on", failure, account=bare))
        going.addBoth(lambda _: self._on_their_way.discard(bare))
        going.addCallback(lambda _: self._see_whether_all_are_gone())

    def _went(self, bare: str, handed: HandedAccount | None) -> Deferred[None] | None:
        """Nobody uses it any more. It may have been forgotten meanwhile, or this process is over."""
        if bare not in self._held.held or self._held.is_busy(bare) or not self._accounts.knows(bare):
            return None
        on_disk = self._held.let_go(bare, to_others=True, handed=handed)
        self._accounts.drop(bare)
        return on_disk

    def _see_whether_all_are_gone(self) -> None:
        if not self.left:
            waiting, self._waiting = self._waiting, []
            for gone in waiting:
                gone.callback(None)
