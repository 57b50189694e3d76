"""How this process's share of the accounts that nobody has is taken: some at a time, whatever is wrong with some."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Final

from minimixproxy.logs.logger import Logger
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.lease import HeldByAnother
from minimixproxy.timing.clock import Clock

AT_ONCE: Final = 20  # accounts that are taken in one transaction, and in one turn of the reactor
LONGEST: Final = 5.0  # seconds of taking between two looks at the cluster: another process may end meanwhile
PUT_OFF: Final = 60.0  # seconds until an account that could not be taken is tried again
#: Seconds for which an account is looked after that may be ours: what was sent may come late to the database.
UNSURE: Final = 60.0
MOST_UNSURE: Final = 10_000


class Portions:
    """A share of accounts, some at a time. One that cannot be loaded must not keep the others from being taken."""

    def __init__(self) -> None:
        self._alone: set[str] = set()  # one of these could not be taken, so they are taken one by one
        self._not_before: dict[str, float] = {}

    def of(self, share: Sequence[str], now: float) -> Iterator[Sequence[str]]:
        """Yield what is to be taken together, of those that are not put off."""
        self._not_before = {bare: until for bare, until in self._not_before.items() if until > now}
        self._alone.intersection_update(share)
        together = [bare for bare in share if bare not in self._alone and bare not in self._not_before]
        alone = [bare for bare in self._alone if bare not in self._not_before]
        for start in range(0, len(together), AT_ONCE):
            yield together[start : start + AT_ONCE]
        for bare in alone:
            yield [bare]

    def failed(self, names: Sequence[str], now: float) -> bool:
        """These could not be taken. Tell whether it is one account, which is put off."""
        if len(names) > 1:
            self._alone.update(names)
            return False
        self._not_before[names[0]] = now + PUT_OFF
        return True


class Unsure:
    """Accounts that were asked for and not given: by its lease one of them may be this process's all the same."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._not_before: dict[str, float] = {}

    def add(self, names: Sequence[str], now: float) -> None:
        """There was no answer."""
        for bare in names[: MOST_UNSURE - len(self._until)]:
            self._until[bare] = now + UNSURE

    def discard(self, bare: str) -> None:
        """There was an answer."""
        self._until.pop(bare, None)
        self._not_before.pop(bare, None)

    def due(self, now: float) -> list[str]:
        """Return which are to be looked at."""
        self._until = {bare: until for bare, until in self._until.items() if until > now}
        self._not_before = {bare: at for bare, at in self._not_before.items() if at > now}
        return [bare for bare in self._until if bare not in self._not_before]

    def asked_again(self, bare: str, now: float) -> None:
        """One that is ours is about to be asked for; if that fails, too, not again soon."""
        self._not_before[bare] = now + UNSURE / 2


class Taking:
    """`take` takes those of some accounts that nobody has, and returns which, or raises.

    `goes_on` tells whether this process does.
    """

    log = Logger()

    def __init__(
        self, take: Callable[[Sequence[str]], Awaitable[Collection[str]]], goes_on: Callable[[], bool], clock: Clock
    ) -> None:
        self.unsure = Unsure()
        self._portions = Portions()
        self._take = take
        self._goes_on = goes_on
        self._clock = clock

    async def take(self, share: Sequence[str]) -> bool:
        """Take these, for a while. Return whether that was all for now. Raises as `take` does if it was for several."""
        began = self._clock.seconds()
        for names in self._portions.of(share, began):
            if not self._goes_on() or self._clock.seconds() - began >= LONGEST:
                return False
            self.unsure.add(names, self._clock.seconds())
            try:
                taken = await self._take(names)
            except HeldByAnother:
                raise
            except Exception as error:  # whatever is wrong with one account must not cost the others
                if not self._portions.failed(names, self._clock.seconds()):
                    raise
                self._tell(names[0], error)
                return False
            # Of the others somebody was faster: perhaps we were, in an attempt whose end was not heard.
            for bare in taken:
                self.unsure.discard(bare)
        return True

    def _tell(self, bare: str, error: Exception) -> None:
        if isinstance(error, StateError):
            self.log.error("{account} cannot be taken, trying again later: {error}", account=bare, error=error)
        else:
            self.log.failure("while {account} was taken", account=bare)
