"""Logins wait here until the guard lets them go to the server: for time to pass, or for other attempts to end."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred

from minimixproxy.bounds.shares import Shares
from minimixproxy.c2s.server.limits import LoginGuard, Seconds
from minimixproxy.timing.clock import Clock, Timer

MAX_WAITING = 10  # logins of one account from one address
LONGEST = 180.0  # seconds in a line that moves, where that is more than patience has
LEAST = 0.001  # seconds to the next look: a clock cannot tell much less from now


class TooManyLogins(Exception):
    """A login would have to wait for too long."""


class _Waiting:
    """One login."""

    __slots__ = ("account", "address", "ready", "since", "timer")

    def __init__(self, address: str, account: str, clock: Clock) -> None:
        self.address = address
        self.account = account
        self.since = clock.seconds()
        self.timer = Timer(clock)
        self.ready: Deferred[None] = Deferred()

    @property
    def pair(self) -> tuple[str, str]:
        return (self.address, self.account)


_Queues = dict[str, OrderedDict[_Waiting, None]]


class LoginQueue:
    """Gives each login its turn: first come, first served, among those that wait for the same."""

    def __init__(self, guard: LoginGuard, clock: Clock, patience: Callable[[], Seconds]) -> None:
        """`patience` returns the seconds that a login may wait: in all, or if logins end before it, until the next."""
        self._guard = guard
        self._clock = clock
        self._patience = patience
        # In the order in which they came. Whoever waits has a connection, and an address has only so many.
        self._by_address: _Queues = {}
        self._moved: dict[str, Seconds] = {}  # when a login from an address where others wait has ended last
        self._by_account: _Queues = {}
        self._pairs: Shares[tuple[str, str]] = Shares()
        self._ended: deque[tuple[str, str]] = deque()  # what others are still to be told of

    def __len__(self) -> int:
        return self._pairs.total()

    async def begin(self, address: str, account: str) -> None:
        """Return when this login may go to the server; `end` is due then. Raises `TooManyLogins`."""
        waiting = _Waiting(address, account, self._clock)
        if self._may_begin(waiting):
            return
        try:
            self._enqueue(waiting)
            await waiting.ready
        finally:
            waiting.timer.stop()
            self._dequeue(waiting)

    def end(self, address: str, account: str) -> None:
        """A login that had its turn is over: others may have theirs."""
        self._guard.end(address, account)
        if address in self._by_address:
            self._moved[address] = self._clock.seconds()
        self._ended.append((address, account))
        if len(self._ended) > 1:
            return  # one that had its turn just now is over already: further up they are told
        while self._ended:
            address, account = self._ended[0]
            self._tell(self._by_account.get(account), partial(self._guard.wait_for_account, account))
            self._tell(self._by_address.get(address), partial(self._guard.wait_for_address, address))
            self._ended.popleft()

    def _tell(self, queue: OrderedDict[_Waiting, None] | None, wait: Callable[[], Seconds]) -> None:
        """Let as many begin as may; the first that may not learns how long it has to wait now."""
        for waiting in list(queue or ()):
            self._look_again(waiting)
            if wait() > 0:
                break

    def _may_begin(self, waiting: _Waiting) -> bool:
        """Let it begin, or say when to look again. Raises `TooManyLogins`."""
        waited = self._clock.seconds() - waiting.since
        wait = self._guard.wait(waiting.address, waiting.account, waited)
        if wait <= 0:
            self._guard.begin(waiting.address, waiting.account)
            return True
        if self._takes_too_long(waiting, waited, wait):
            raise TooManyLogins
        waiting.timer.start(max(LEAST, wait), lambda: self._look_again(waiting))
        return False

    def _takes_too_long(self, waiting: _Waiting, waited: Seconds, wait: Seconds) -> bool:
        """What has failed demands a certain time; what is open may end sooner, and where much does, a crowd comes back.

        That those before it are slow, since the machine is, or the server, is no reason to refuse it.
        """
        patience = self._patience()
        delay = self._guard.delay(waiting.address, waiting.account, waited)
        if delay > 0 and waited + delay > patience:
            return True
        still = min(waited, self._clock.seconds() - self._moved.get(waiting.address, 0.0))
        return still + wait > patience or waited + wait > max(LONGEST, patience)

    def _look_again(self, waiting: _Waiting) -> None:
        """Something has ended, or it has waited for long enough."""
        if waiting.ready.called:
            return
        try:
            if self._may_begin(waiting):
                waiting.ready.callback(None)
        except TooManyLogins as error:
            waiting.ready.errback(error)

    def _enqueue(self, waiting: _Waiting) -> None:
        self._pairs.take([waiting.pair])
        self._by_account.setdefault(waiting.account, OrderedDict())[waiting] = None
        self._by_address.setdefault(waiting.address, OrderedDict())[waiting] = None
        if self._pairs[waiting.pair] > MAX_WAITING:
            raise TooManyLogins

    def _dequeue(self, waiting: _Waiting) -> None:
        self._pairs.give_back([waiting.pair])
        for queues, key in ((self._by_account, waiting.account), (self._by_address, waiting.address)):
            del queues[key][waiting]
            if not queues[key]:
                del queues[key]
        if waiting.address not in self._by_address:
            self._moved.pop(waiting.address, None)
