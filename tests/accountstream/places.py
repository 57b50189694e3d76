"""A line for account streams that only counts (`lines.Line`): what it learns from answers is not for their tests."""

from __future__ import annotations

from collections.abc import Callable


class StandIn:
    """A place in it."""

    def __init__(self, places: Places, call: Callable[[], None]) -> None:
        self._places = places
        self.begin = call

    def ask(self, *, urgent: bool = False) -> None:
        self._places.line_up(self, urgent=urgent)

    def answered(self, *, trouble: bool = False) -> None:
        self.end()

    def end(self) -> None:
        self._places.ended(self)


class Places:
    """Lets so many be under way, the urgent first."""

    def __init__(self, at_once: int = 50) -> None:
        self._at_once = at_once
        self._waiting: dict[StandIn, bool] = {}  # and whether they are in a hurry, in the order in which they came
        self._under_way: set[StandIn] = set()
        self._over: set[StandIn] = set()

    def turn(self, call: Callable[[], None]) -> StandIn:
        return StandIn(self, call)

    def line_up(self, place: StandIn, *, urgent: bool) -> None:
        if place not in self._under_way | self._over:
            self._waiting[place] = urgent or self._waiting.get(place, False)
            self._go_on()

    def ended(self, place: StandIn) -> None:
        self._waiting.pop(place, None)
        self._under_way.discard(place)
        self._over.add(place)
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting and len(self._under_way) < self._at_once:
            place = max(self._waiting, key=self._waiting.__getitem__)  # the first of those
            del self._waiting[place]
            self._under_way.add(place)
            place.begin()
