"""What a client may cost before it is known: connections per address, and failed logins. Pure, the clock handed in."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import NamedTuple

from minimixproxy.bounds.shares import Shares

Seconds = float

_TABLE_SIZE = 16384


class ConnectionCounter:
    """How many connections each address has open."""

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self._open: Shares[str] = Shares()
        self._refused: set[str] = set()

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, key: str) -> bool:
        """Count one more connection, or return False if the address has its maximum."""
        if not self._open.leave_one([key], self.maximum):
            return False
        self._open.take([key])
        return True

    def release(self, key: str) -> None:
        """A connection that was admitted is gone."""
        self._refused.discard(key)
        self._open.give_back([key])

    def first_refusal(self, key: str) -> bool:
        """Tell whether it is time for a log line: the address was not refused since it last closed a connection."""
        if key in self._refused:
            return False
        self._refused.add(key)
        return True


class _Attempts(NamedTuple):
    """Failed ones, with the time of the last failure; or open ones, with the time when the last began."""

    number: int
    last: Seconds


class FailedLogins:
    """Remembers failed logins per key (an address, an account) and says how long the next attempt has to wait.

    `free` failures cost nothing; each further one doubles the wait, from `base` to at most `maximum` seconds. A key is
    forgotten after an hour without failure, or when the table is full and it is the one longest without failure.

    Attempts that are open count as if they were going to fail: where the next one would not be free then, it waits for
    them to end, but no longer than `STALLED` seconds after the last of them began.
    """

    FORGET_AFTER: Seconds = 3600.0
    STALLED: Seconds = 10.0

    def __init__(
        self,
        clock: Callable[[], Seconds],
        free: int,
        base: Seconds,
        maximum: Seconds,
        size: int = _TABLE_SIZE,
        *,
        one_by_one: bool = False,
    ) -> None:
        """`one_by_one`: an attempt waits for the one before it even if both are free."""
        self._clock = clock
        self._one_by_one = one_by_one
        self._free = free
        self._base = base
        self._maximum = maximum
        self._size = size
        self._failures: OrderedDict[Hashable, _Attempts] = OrderedDict()
        self._open: dict[Hashable, _Attempts] = {}

    def set_delays(self, free: int, base: Seconds, maximum: Seconds) -> None:
        """Have other delays from now on, for what failed before, too."""
        self._free, self._base, self._maximum = free, base, maximum

    def __len__(self) -> int:
        return len(self._failures) + len(self._open)

    def begin(self, key: Hashable) -> None:
        """An attempt begins."""
        number = self._open[key].number if key in self._open else 0
        self._open[key] = _Attempts(number + 1, self._clock())

    def end(self, key: Hashable) -> None:
        """An attempt that began has ended, however."""
        open_ = self._open.pop(key)
        if open_.number > 1:
            self._open[key] = open_._replace(number=open_.number - 1)

    def failed(self, key: Hashable) -> int:
        """Count a failure; return how many there are now."""
        now = self._clock()
        number = self._count(key, now) + 1
        self._failures[key] = _Attempts(number, now)
        self._failures.move_to_end(key)
        if len(self._failures) > self._size:
            self._failures.popitem(last=False)
        return number

    def succeeded(self, key: Hashable) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)

    def wait(self, key: Hashable) -> Seconds:
        """Return the seconds that an attempt under this key must wait, counted from now; 0 for none."""
        now = self._clock()
        open_ = self._open.get(key)
        for_open = 0.0
        if open_ is not None and (self._one_by_one or self._count(key, now) + open_.number > self._free):
            for_open = max(0.0, open_.last + self.STALLED - now)
        return max(for_open, self.delay(key))

    def delay(self, key: Hashable) -> Seconds:
        """Return the part of `wait` that what has failed demands, whatever is open."""
        now = self._clock()
        over = self._count(key, now) - self._free
        if over <= 0:
            return 0.0
        # The exponent is bounded first: a float overflows at 1024.
        delay = min(self._base * 2.0 ** min(over - 1, 64), self._maximum)
        return max(0.0, self._failures[key].last + delay - now)

    def _count(self, key: Hashable, now: Seconds) -> int:
        known = self._failures.get(key)
        if known is None or now - known.last > self.FORGET_AFTER:
            return 0
        return known.number


class LoginGuard:
    """Delays logins by what failed before and what is open, for an account from an address, an account, and an address.

    An account from an address has one attempt at a time. An account alone is delayed little, however many guess at it,
    else strangers could lock its owner out. An address is delayed only after many failures, and of those that one
    account keeps failing from it only the first few count: behind the address may be many people, one of them with an
    old password in a client that tries for ever.
    """

    ACCOUNT_MAXIMUM: Seconds = 10.0
    ADDRESS_FREE_FACTOR = 10
    COUNTED_PER_PAIR = 5

    def __init__(self, clock: Callable[[], Seconds], free: int, base: Seconds, maximum: Seconds) -> None:
        """`free`, `base`, `maximum`: as for `FailedLogins`."""
        self._pairs = FailedLogins(clock, free, base, maximum, one_by_one=True)
        self._accounts = FailedLogins(clock, free, base, maximum)
        self._addresses = FailedLogins(clock, free, base, maximum)
        self.set_delays(free, base, maximum)

    def set_delays(self, free: int, base: Seconds, maximum: Seconds) -> None:
        """Have other delays from now on, for what failed before, too."""
        self._pairs.set_delays(free, base, maximum)
        self._accounts.set_delays(free, min(base, self.ACCOUNT_MAXIMUM), min(maximum, self.ACCOUNT_MAXIMUM))
        self._addresses.set_delays(max(free, 1) * self.ADDRESS_FREE_FACTOR, base, maximum)

    def wait(self, address: str, account: str, waited: Seconds = 0.0) -> Seconds:
        """Return the seconds that an attempt must wait after `waited` seconds; less if others end sooner."""
        for_account = min(self._accounts.wait(account), max(0.0, self.ACCOUNT_MAXIMUM - waited))
        return max(self._pairs.wait((address, account)), for_account, self._addresses.wait(address))

    def delay(self, address: str, account: str, waited: Seconds = 0.0) -> Seconds:
        """Return the part of `wait` that what has failed demands, whatever is open."""
        for_account = min(self._accounts.delay(account), max(0.0, self.ACCOUNT_MAXIMUM - waited))
        return max(self._pairs.delay((address, account)), for_account, self._addresses.delay(address))

    def wait_for_account(self, account: str) -> Seconds:
        """Return the seconds for which nobody may try this account who has not waited for as long as it demands."""
        return self._accounts.wait(account)

    def wait_for_address(self, address: str) -> Seconds:
        """Return the seconds for which nobody may try from this address."""
        return self._addresses.wait(address)

    def begin(self, address: str, account: str) -> None:
        """This attempt goes to the server. `end` is due when it is over, after `failed` or `succeeded`."""
        for table, key in self._tables(address, account):
            table.begin(key)

    def end(self, address: str, account: str) -> None:
        """The attempt is over."""
        for table, key in self._tables(address, account):
            table.end(key)

    def _tables(self, address: str, account: str) -> tuple[tuple[FailedLogins, Hashable], ...]:
        return ((self._pairs, (address, account)), (self._accounts, account), (self._addresses, address))

    def failed(self, address: str, account: str) -> None:
        """The server refused this login."""
        self._accounts.failed(account)
        if self._pairs.failed((address, account)) <= self.COUNTED_PER_PAIR:
            self._addresses.failed(address)

    def succeeded(self, address: str, account: str) -> None:
        """The server accepted this login. What else failed from the address stays."""
        self._pairs.succeeded((address, account))
        self._accounts.succeeded(account)


class _Registrations(NamedTuple):
    since: Seconds
    tries: int = 0
    made: int = 0


class RegistrationGuard:
    """Admits so many new accounts of an address in an hour, and ten times as many tries that may come to nothing.

    What is under way counts as made, so that many at once are no way around it. A full table forgets the address that
    began its hour first.
    """

    PERIOD: Seconds = 3600.0
    TRIES_FACTOR = 10

    def __init__(self, clock: Callable[[], Seconds], most: int, size: int = _TABLE_SIZE) -> None:
        """`most`: accounts of one address in an hour."""
        self._clock = clock
        self.most = most
        self._size = size
        self._known: OrderedDict[str, _Registrations] = OrderedDict()

    def __len__(self) -> int:
        return len(self._known)

    def tries(self, address: str, *, makes: bool) -> bool:
        """Count a try, if there may be one. `makes`: it makes an account, unless `made_nothing` follows."""
        now = self._clock()
        known = self._known.get(address)
        if known is None or not 0 <= now - known.since < self.PERIOD:
            self._known.pop(address, None)
            known = _Registrations(now)
        if known.tries >= self.most * self.TRIES_FACTOR or (makes and known.made >= self.most):
            return False
        self._known[address] = known._replace(tries=known.tries + 1, made=known.made + makes)
        if len(self._known) > self._size:
            self._known.popitem(last=False)
        return True

    def made_nothing(self, address: str) -> None:
        """A try that would have made an account was refused."""
        known = self._known.get(address)
        if known is not None:
            self._known[address] = known._replace(made=max(0, known.made - 1))
