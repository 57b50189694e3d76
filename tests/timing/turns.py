"""A clock by which turns of the reactor can be told apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock


class Turns(Clock):
    """What is called for at once comes in the next turn: `Clock` would make it the same one."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> Any:
        return super().callLater(delay or 0.001, callable, *args, **kw)

    def turn(self) -> None:
        """Make one turn."""
        self.advance(0.001)


def next_turn(clock: Clock) -> None:
    """Do what the reactor does in one turn: what is due, but not what comes of it."""
    for call in [call for call in clock.calls if call.getTime() <= clock.seconds()]:
        clock.calls.remove(call)
        call.called = 1
        call.func(*call.args, **call.kw)
