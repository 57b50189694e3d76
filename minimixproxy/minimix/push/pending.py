"""What one device is still to be told, and is being told, by its push service. No I/O; the clock is handed in.

One publication is under way at a time. What comes meanwhile waits for the next, at the earliest `delay` seconds after.
A message is told again only if the answer says that it has not been told: no answer says nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from minimixproxy.counting.tally import Tally
from minimixproxy.minimix.interfaces.journal import KeptPush
from minimixproxy.minimix.interfaces.streams import Answered
from minimixproxy.namespaces import NS_CLIENT
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc
from minimixproxy.xep.push import Summary

MAX_CHATS = 100  # that wait for one device: of one more, only the number of messages is known
MAX_RECENT = 20  # messages that a device that is awake may not have got yet
PAUSE = 1.0  # seconds between two publications, at least: who says much does not decide how many there are
RETRY_FIRST, RETRY_LONGEST = 10.0, 3600.0  # seconds
LONGEST_REASON = 40  # characters of an error's condition in the log
MAX_FAILURES = 16  # in a row, after which a service is taken to be gone (XEP-0357 §7.1)

#: Errors of a service that may be over soon, or are of the way to it. All others disable it.
_PASSING = frozenset(
    {"internal-server-error", "recipient-unavailable", "remote-server-not-found", "remote-server-timeout"}
    | {"resource-constraint", "service-unavailable"}
)

#: Errors of a service that does not take it from whom it came: it may take it from the account's server.
NOT_FROM_HERE = frozenset({"forbidden", "not-allowed", "not-authorized"})


class Outcome(Enum):
    """What an answer of a push service means."""

    TOLD = "told"
    UNKNOWN = "unknown"
    LATER = "later"
    DISABLED = "disabled"


PUBLICATIONS = Tally(
    "push_publications",
    "What push services were told, by what they said to that: told, to be told later, no more, or nothing that helps.",
    result=(outcome.name.lower() for outcome in Outcome),
)


def outcome_of(answer: Stanza | None) -> Outcome:
    """Return what an answer means (XEP-0357 §7.1); None: there was none, or none that can be read."""
    if answer is None:
        return Outcome.UNKNOWN
    if answer.get("type") != "error":
        return Outcome.TOLD
    if not answer.readable:
        return Outcome.UNKNOWN
    error = answer.payload(NS_CLIENT, "error")
    waits = error is not None and error.getAttribute("type") == "wait"
    return Outcome.LATER if waits or muc.error_condition(answer) in _PASSING else Outcome.DISABLED


def _reason_of(answer: Stanza | None) -> str:
    """Return what an error says, in one word, for the log."""
    if answer is None or not answer.readable:
        return "no answer"
    return (muc.error_condition(answer) or "no reason")[:LONGEST_REASON]


@dataclass(frozen=True, slots=True)
class Item:
    """One message, or the last of some. `chat`: the room's or contact's bare JID; `body`: only if it is to be told.

    `is_read`: whether a device has published that it is read (XEP-0490); None: nobody would know of this message.
    `at_server`: it came on the device's own stream, so its server has it until the device acknowledges it.
    """

    chat: str
    sender: str
    body: str | None = field(default=None, repr=False)
    count: int = 1
    is_read: Callable[[], bool] | None = field(default=None, repr=False)
    at_server: bool = False


@dataclass(slots=True, eq=False)
class Recent:
    """A message that a device that is awake was given.

    What the account stream heard has a `sequence`, up to which the device tells what it has got. What came on the
    device's own stream has none, and is noted when it has `arrived`.
    """

    sequence: int | None
    item: Item
    tell: Callable[[], None]  # as if it came now
    arrived: bool = False

    def is_open(self, reached: float) -> bool:
        """Tell whether a device that has got all up to `reached` has not got this."""
        return self.sequence > reached if self.sequence is not None else not self.arrived


class Teller(Protocol):
    """Who does what is decided here."""

    def publish(self, registration: KeptPush, summary: Summary, answered: Answered) -> None:
        """Have a push service told; `answered` gets what it answers."""

    def have_server_push(self, pending: Pending) -> None:
        """Have the device's server push what it has for it."""

    def refused(self, registration: KeptPush, reason: str) -> None:
        """The service takes it no more."""


class Pending:
    """Of one device, by `registration`.

    Once it is `left_to_server`, that is to push what it has for the device, and of the rest nothing is told.
    """

    def __init__(
        self,
        registration: KeptPush,
        delay: float,
        clock: Clock,
        teller: Teller,
    ) -> None:
        self.registration = registration
        self.recent: deque[Recent] = deque(maxlen=MAX_RECENT)
        self._delay = delay
        self._clock = clock
        self.left_to_server = False
        self._teller = teller
        self._waiting: dict[str, Item] = {}  # by chat, the latest last
        self._under_way: dict[str, Item] | None = None
        self._timer = Timer(clock)
        self._due = 0.0
        self._earliest = 0.0  # the next publication
        self._backoff = Backoff(RETRY_FIRST, RETRY_LONGEST)
        self._failures = 0

    @property
    def awaits_answer(self) -> bool:
        """Whether a publication is under way."""
        return self._under_way is not None

    def add(self, item: Item, *, now: bool) -> None:
        """A message is to be told: now, or after the delay."""
        if self.left_to_server and not item.at_server:
            return
        before = self._waiting.pop(item.chat, None)
        if before is None and len(self._waiting) >= MAX_CHATS:
            before = self._waiting.pop(next(iter(self._waiting)))
        count = before.count if before is not None else 0
        self._waiting[item.chat] = replace(item, count=item.count + count)
        self._schedule(0.0 if now else self._delay)

    def _schedule(self, wait: float) -> None:
        """Publish in `wait` seconds, or when it is to be anyway, if that is sooner."""
        if self._under_way is not None:
            return  # the answer to it does
        now = self._clock.seconds()
        due = max(now + wait, self._earliest)
        if not self._timer.running or due < self._due:
            self._due = due
            self._timer.start(due - now, self._now)

    def read(self, chat: str, is_over: Callable[[Item], bool] = lambda _item: True) -> None:
        """The user has read a chat, or is there: nothing of it is to be told, but for what is not over."""

        def over(item: Item) -> bool:
            return item.chat == chat and is_over(item)

        if self.recent:
            self.recent = deque((one for one in self.recent if not over(one.item)), MAX_RECENT)
        for items in (self._waiting, self._under_way):
            if items is not None and chat in items and over(items[chat]):
                del items[chat]
        if not self._waiting:
            self._timer.stop()

    def read_further(self, chat: str) -> None:
        """Somebody has published how far a chat is read: what was said since is told all the same."""
        self.read(chat, lambda item: item.is_read is None or item.is_read())

    def woken(self) -> None:
        """The device is there: it is told by itself."""
        self._waiting.clear()
        if self._under_way is not None:
            self._under_way.clear()
        self._timer.stop()

    def leave_to_server(self) -> None:
        """The service takes nothing from here: the server is to tell it what it can."""
        self.left_to_server = True
        self._waiting = {chat: item for chat, item in self._waiting.items() if item.at_server}
        if self._waiting:
            self._schedule(0.0)

    def stop(self) -> None:
        """Nothing is to be told any more, and what is answered from now on means nothing."""
        self.woken()
        self.recent.clear()
        self._under_way = None

    def _now(self) -> None:
        for item in list(self._waiting.values()):
            if item.is_read is not None and item.is_read():  # that was published before the message came
                del self._waiting[item.chat]
        if not self._waiting:
            return
        if self.left_to_server:
            self._waiting.clear()
            self._pause()
            self._teller.have_server_push(self)
            return
        self._under_way, self._waiting = self._waiting, {}
        last = next(reversed(self._under_way.values()))
        count = sum(item.count for item in self._under_way.values())
        self._teller.publish(self.registration, Summary(count, last.sender, last.body), self._answered)

    def _answered(self, answer: Stanza | None) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way is None:  # it was stopped
            return
        outcome = outcome_of(answer)
        PUBLICATIONS.count(outcome.name.lower())
        if outcome is Outcome.TOLD:
            self._failures = 0
            self._backoff.reset()
            self._pause()
        else:
            self._failures += 1
            if outcome is Outcome.DISABLED or self._failures >= MAX_FAILURES:
                self._restore(under_way)
                self._teller.refused(self.registration, _reason_of(answer))
                return
            self._earliest = self._clock.seconds() + self._backoff.next()
            if outcome is Outcome.LATER:
                self._restore(under_way)
        if self._waiting:
            self._schedule(0.0)

    def _pause(self) -> None:
        self._earliest = self._clock.seconds() + max(self._delay, PAUSE)

    def _restore(self, not_told: dict[str, Item]) -> None:
        """What was not told goes before what has come meanwhile."""
        came, self._waiting = self._waiting, not_told
        for chat, item in came.items():
            before = self._waiting.pop(chat, None)
            count = item.count + (before.count if before is not None else 0)
            self._waiting[chat] = replace(item, count=count)
        while len(self._waiting) > MAX_CHATS:
            gone = self._waiting.pop(next(iter(self._waiting)))
            eldest = next(iter(self._waiting.values()))
            self._waiting[eldest.chat] = replace(eldest, count=eldest.count + gone.count)
