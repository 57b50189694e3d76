"""Going through all accounts and their rooms, a few in each turn of the reactor: there may be tens of thousands.

What is found is of no one moment: while it is gone through, accounts come and go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from twisted.internet.defer import Deferred, DeferredLock, succeed

from minimixproxy.operator.reported import OUT, Pair, Reported, ReportedAccount, ReportedStream, in_trouble
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.slices import in_slices

AT_ONCE = 2000  # accounts and rooms that are looked at in one turn
FRESH = 30.0  # seconds for which what was found is good enough for who asks for more of it

BLOCKED, NOT_ENROLLED, TROUBLE = "blocked", "not-enrolled", "trouble"


class Wanted(NamedTuple):
    """Which accounts: all by default. `like` is a part of the address, `room` a room's whole address.

    `state`: of the stream or of one of the rooms; or `TROUBLE`, `BLOCKED`, or `NOT_ENROLLED`.
    """

    like: str = ""
    room: str = ""
    state: str = ""


ALL = Wanted()


class Found(NamedTuple):
    """An account that was wanted; those in trouble come first."""

    well: bool
    bare: str


@dataclass(slots=True)
class Surveyed:
    """What was found: numbers of all accounts, and those that were wanted, in order."""

    accounts: int = 0
    sessions: int = 0
    sleeping: int = 0
    not_enrolled: int = 0
    streams: Counter[str] = field(default_factory=Counter)
    rooms: Counter[str] = field(default_factory=Counter)
    by_domain: dict[str, Counter[str]] = field(default_factory=dict)  # states of streams that are needed
    wanted: list[Found] = field(default_factory=list)

    def totals(self) -> dict[str, object]:
        """Return the numbers, as what JSON has."""
        return {
            "accounts": self.accounts,
            "not_enrolled": self.not_enrolled,
            "sessions": self.sessions,
            "sleeping": self.sleeping,
            "streams": dict(sorted(self.streams.items())),
            "rooms": dict(sorted(self.rooms.items())),
        }


class Surveys:
    """Makes surveys, one after the other."""

    def __init__(self, clock: Clock, reported: Reported) -> None:
        self._clock = clock
        self._reported = reported
        self._one = DeferredLock()
        self.last: Surveyed | None = None  # the last one that has come to its end
        self._last: tuple[Wanted, float] | None = None  # what was wanted there, and when

    def take(self, wanted: Wanted = ALL) -> Deferred[Surveyed]:
        """Go through all accounts. If there are few, the result is there at once."""
        return self._one.run(self._begin, wanted)

    def more(self, wanted: Wanted) -> Deferred[Surveyed]:
        """Do as `take`, for who asks for more of what was just found: that need not be looked for again."""
        before, when = self._last or (None, 0.0)
        if self.last is not None and before == wanted and self._clock.seconds() - when < FRESH:
            return succeed(self.last)
        return self.take(wanted)

    def _begin(self, wanted: Wanted) -> Deferred[Surveyed]:
        found = Surveyed()
        looking = in_slices(self._clock, survey(found, self._reported, wanted), AT_ONCE)
        return looking.addCallback(lambda _: self._found(found, wanted))

    def _found(self, found: Surveyed, wanted: Wanted) -> Surveyed:
        found.wanted.sort()
        self.last, self._last = found, (wanted, self._clock.seconds())
        return found


def survey(found: Surveyed, reported: Reported, wanted: Wanted) -> Iterator[int]:
    """Go through all accounts; yield, now and then, how many accounts and rooms were looked at since the last time."""
    for account, stream in list(reported.accounts()):
        yield from _one(found, Pair(account, stream), wanted, reported)


def _one(found: Surveyed, pair: Pair, wanted: Wanted, reported: Reported) -> Iterator[int]:
    account, stream = pair
    shown = stream_state(account, stream, reported)
    _count(found, account, shown)
    out = False
    states = set()
    rooms = list(account.rooms.values())
    for number, occupancy in enumerate(rooms, 1):
        state = occupancy.state.value
        found.rooms[state] += 1
        states.add(state)
        out = out or state in OUT
        if number % 100 == 0:
            yield 100
    yield 1 + len(rooms) % 100
    well = not (in_trouble(account, stream) or out)
    if wanted.like.casefold() not in account.bare:
        return
    if wanted.room and wanted.room not in account.rooms and wanted.room not in reported.endings(account.bare):
        return
    if wanted.room:
        there = account.rooms.get(wanted.room)
        states = {there.state.value} if there is not None else set()
        well = well and there is not None
    if wanted.state in ({"", shown} | states) or (wanted.state == TROUBLE and not well):
        found.wanted.append(Found(well, account.bare))


def _count(found: Surveyed, account: ReportedAccount, state: str) -> None:
    found.accounts += 1
    found.streams[state] += 1
    found.sessions += len(account.sessions)
    found.sleeping += sum(session.asleep for session in account.sessions)
    found.not_enrolled += state == NOT_ENROLLED
    if account.rooms:
        found.by_domain.setdefault(account.bare.rpartition("@")[2], Counter())[state] += 1


def stream_state(account: ReportedAccount, stream: ReportedStream, reported: Reported) -> str:
    """Return the state of an account's stream, or that the account is blocked, or no login is known for one."""
    if account.bare in reported.blocked:
        return BLOCKED
    if not account.is_enrolled and not account.login_refused:
        return NOT_ENROLLED
    return str(stream.state.value)
