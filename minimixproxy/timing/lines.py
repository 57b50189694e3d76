"""Standing in line for something that much else waits for, too: what whoever stands there sees of the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Place(Protocol):
    """A slot: a place in line, then something under way until its end. What comes too late is harmless."""

    def ask(self, *, urgent: bool = False) -> None:
        """Stand in line; once more with `urgent` to overtake those who are not in a hurry. May call at once."""

    def answered(self, *, trouble: bool = False) -> None:
        """What was under way has come to its end; `trouble`: it was too much for who was asked, or nobody was there."""

    def end(self) -> None:
        """It is not wanted any more: nothing is to be learned from it."""


class Line(Protocol):
    """Where places are."""

    def turn(self, call: Callable[[], None]) -> Place:
        """Return a place for `call`, not in line yet. Whoever takes it has to end it."""
