"""Tells what happens and checks it: a step that does not come true ends the demo."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Sequence
from typing import Any, Protocol

WIDTH = 100
_BOLD, _DIM, _RED, _PLAIN = "\033[1m", "\033[2m", "\033[31m", "\033[0m"


class StepFailed(Exception):
    """Something that must happen did not. The text says what was expected of whom, and what came instead."""


class Party(Protocol):
    """Somebody who sees things. Parties wait with a time-out of their own and raise `StepFailed`."""

    name: str
    seen: list[str]  # what was seen and not yet told

    def sees(self, what: str) -> Any:
        """Wait until this is seen, and take it out of `seen`."""

    def catches_up(self) -> Any:
        """Wait until everything that was sent to this party before has arrived."""


class Narrator:
    """Prints the story to standard output; steps are numbered through all acts."""

    def __init__(self) -> None:
        self._steps = 0
        self._checks = 0
        self._begin = time.monotonic()
        self._colours = sys.stdout.isatty()

    def act(self, title: str) -> None:
        """A heading."""
        self._print(f"\n{self._in(_BOLD, title)}\n{self._in(_DIM, '=' * len(title))}")

    def step(self, title: str) -> None:
        """What is about to happen."""
        self._steps += 1
        self._print(f"\n{self._in(_BOLD, f'{self._steps}. {title}')}")

    def remark(self, text: str) -> None:
        """Something to know."""
        self._print(textwrap.fill(text, WIDTH, initial_indent="   ", subsequent_indent="   "))

    def tell(self, name: str, what: str) -> None:
        """One line about one party."""
        self._print(f"   {name:<13} {what}")

    async def sees(self, party: Party, *what: str) -> None:
        """Check that the party sees all of this, in whatever order, and tell so."""
        for one in what:
            await party.sees(one)
            self._checks += 1
            self.tell(party.name, f"sees   {one}")

    async def nothing_more(self, *parties: Party) -> None:
        """Check that all has been told of what these parties saw."""
        for party in parties:
            await party.catches_up()
        for party in parties:
            self.check(not party.seen, f"{party.name} sees nothing else, but also saw: {'; '.join(party.seen)}")

    def check(self, holds: bool, expected: str) -> None:
        """Check anything else. `expected` is printed only if it does not hold."""
        self._checks += 1
        if not holds:
            raise StepFailed(f"expected: {expected}")

    def equal(self, party: str, what: str, found: Sequence[str], expected: Sequence[str]) -> None:
        """Check a list and tell it."""
        self.tell(party, f"{what}: {', '.join(found) or 'nothing'}")
        self.check(list(found) == list(expected), f"{party} {what}: {', '.join(expected)}; found: {', '.join(found)}")

    def failed(self, reason: str) -> None:
        """The end that should not be."""
        self._print(f"\n{self._in(_RED, f'FAILED at step {self._steps}')}\n{textwrap.indent(reason, '   ')}")

    def summary(self) -> None:
        """The good end."""
        seconds = time.monotonic() - self._begin
        done = f"All {self._steps} steps went as told: {self._checks} checks in {seconds:.0f} s."
        self._print(f"\n{self._in(_BOLD, done)}")

    def _in(self, style: str, text: str) -> str:
        return f"{style}{text}{_PLAIN}" if self._colours else text

    @staticmethod
    def _print(text: str) -> None:
        print(text, flush=True)
