"""Finding out that a room has forgotten the account without a word (XEP-0410). Pure but for the clock handed in."""

from __future__ import annotations

from collections.abc import Callable

from minimixproxy.minimix.interfaces.streams import OwnRequests
from minimixproxy.minimix.room.context import RoomContext
from minimixproxy.timing.clock import Timer
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep import muc
from minimixproxy.xep.disco import PING

AGAIN = 10.0  # seconds to a second look where the first is in doubt

# XEP-0410 §3.2: errors that only someone who is in the room can get.
JOINED_ERRORS = frozenset({"service-unavailable", "feature-not-implemented", "item-not-found"})


def is_joined(answer: Stanza) -> bool | None:
    """Tell what the answer to a self-ping says: in the room, out of it, or nothing (None)."""
    if answer.get("type") == "result":
        return True
    condition = muc.error_condition(answer)
    if condition in JOINED_ERRORS:
        return True
    return None if condition.startswith("remote-server-") else False


class SelfPing:
    """Pings the own occupant of one room when it has been silent for as many seconds as `self_ping` says.

    `occupant` returns its address, `out` is called when the room does not know it.
    """

    __slots__ = ("_asked", "_clock", "_doubted", "_heard", "_occupant", "_out", "_requests", "_settings", "_timer")

    def __init__(self, context: RoomContext, occupant: Callable[[], str], out: Callable[[], None]) -> None:
        self._requests: OwnRequests = context.outlet
        self._clock = context.clock
        self._settings = context.settings
        self._occupant = occupant
        self._out = out
        self._heard = 0.0
        self._asked = 0.0
        self._doubted = ""
        self._timer = Timer(context.clock)

    def start(self) -> None:
        """The account is in the room: look after it."""
        self._doubted = ""
        self._timer.start(self._settings.self_ping, self._due)

    def stop(self) -> None:
        """The account is out of the room, or on its way."""
        self._timer.stop()

    def heard(self) -> None:
        """The room has shown that the account is in it."""
        self._heard = self._clock.seconds()

    def doubt(self) -> None:
        """The room, or a server on the way, has refused what only an occupant may say: look now, but not too often."""
        if self._timer.running and self._clock.seconds() - self._asked >= AGAIN:
            self._ask_again()

    def _due(self) -> None:
        wait = self._heard + self._settings.self_ping - self._clock.seconds()
        if wait > 0:
            self._timer.start(wait, self._due)
            return
        self._timer.start(self._settings.self_ping, self._due)
        self._ask()

    def _ask(self) -> None:
        self._asked = self._clock.seconds()
        occupant = self._occupant()
        self._requests.ask(occupant, "get", PING, lambda answer: self._answered(answer, occupant))

    def _answered(self, answer: Stanza | None, occupant: str) -> None:
        if answer is None or not self._timer.running or occupant != self._occupant():
            return
        joined, in_doubt = is_joined(answer), muc.error_condition(answer) == "item-not-found"
        if in_doubt and self._doubted != occupant:
            # A nick that has just changed, or no room at all: asked once more, the second is meant.
            self._doubted = occupant
            self._timer.start(AGAIN, self._ask_again)
        elif joined and not in_doubt:
            self._doubted = ""
            self.heard()
        elif joined is not None:
            self._out()

    def _ask_again(self) -> None:
        self._timer.start(self._settings.self_ping, self._due)
        self._ask()
