"""The life of an account stream: one table of stages, what can happen at them, and what follows.

docs/lifecycles-drawn.md is drawn from it. `stages.py` says what the stages and inputs are, `lifecycle_rules.py` what is
done on the way; `AccountStream` is what others see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.python.failure import Failure

from minimixproxy.accountstream.attempt import Connect
from minimixproxy.accountstream.lifecycle_rules import Rules, Told
from minimixproxy.accountstream.stages import Input, Stage
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.pacing import Slots


class Move(NamedTuple):
    """What follows."""

    to: Stage | None  # None: the stage stays, its timer too
    rule: Callable[[Rules, Any], Any]  # its docstring is what the drawing says
    possible: bool = True


def _nothing(why: str) -> Move:
    """The input changes nothing."""

    def rule(_rules: Rules, _argument: object) -> None:
        pass

    rule.__doc__ = f"Nothing: {why}."
    return Move(None, rule)


def _impossible(why: str) -> Move:
    """The input cannot come; if it does, that is a fault of ours, logged, and changes nothing."""

    def rule(rules: Rules, _argument: object) -> None:
        fault = AssertionError(f"{rules.stage.name}: {why}")
        rules.log.failure("what cannot happen to an account stream has happened", Failure(fault))

    rule.__doc__ = f"Cannot happen: {why}."
    return Move(None, rule, possible=False)


#: What is the same at all stages where `_AT` names nothing else.
_ELSEWHERE = {
    Input.REOPEN: _nothing("it is open, or on its way, or the credential is no good"),
    Input.MENDED: _nothing("it does not wait for a login, nor for long"),
    Input.REFUSE: _impossible("that is said only of an account that was just restored"),
    Input.TIME_UP: _impossible("no timer runs"),
    Input.SLOT: _impossible("it is not in line"),
    Input.CONNECTED: _impossible("no attempt is under way, and one that was stopped tells nothing"),
    Input.CANNOT_OPEN: _impossible("no attempt is under way, and one that was stopped tells nothing"),
    Input.CREDENTIAL_REFUSED: _impossible("no attempt is under way, and one that was stopped tells nothing"),
    Input.ENDED: _impossible("nobody listens to a connection that is not open any more"),
    Input.FULL: _impossible("nobody listens to a connection that is not open any more"),
    Input.DRAINED: _impossible("nobody listens to a connection that is not open any more"),
    Input.TOO_MUCH: _impossible("nothing waits"),
}

_AT = {
    Stage.CLOSED: {
        Input.SEND: Move(Stage.HURRYING, Rules._keep_and_wait),
        Input.REOPEN: Move(Stage.WAITING, Rules._wait),
        Input.REFUSE: Move(Stage.REFUSED, _nothing("whoever restores the account knows it").rule),
        Input.CLOSE: Move(None, Rules._close),
    },
    Stage.WAITING: {
        Input.TIME_UP: Move(Stage.IN_LINE, Rules._line_up),
        Input.SEND: Move(Stage.HURRYING, Rules._keep_and_wait),
        Input.MENDED: Move(Stage.HURRYING, Rules._wait),
        Input.CLOSE: Move(Stage.CLOSED, Rules._close),
    },
    Stage.HURRYING: {
        Input.TIME_UP: Move(Stage.FIRST_IN_LINE, Rules._line_up),
        Input.SEND: Move(None, Rules._keep),
        Input.TOO_MUCH: Move(Stage.CLOSED, Rules._lose_overfull),
        Input.CLOSE: Move(Stage.CLOSED, Rules._close),
    },
    Stage.IN_LINE: {
        Input.SLOT: Move(Stage.OPENING, Rules._open),
        Input.SEND: Move(Stage.FIRST_IN_LINE, Rules._keep_and_line_up),
        Input.MENDED: Move(Stage.FIRST_IN_LINE, Rules._line_up),
        Input.CLOSE: Move(Stage.CLOSED, Rules._close),
    },
    Stage.FIRST_IN_LINE: {
        Input.SLOT: Move(Stage.OPENING, Rules._open),
        Input.SEND: Move(None, Rules._keep),
        Input.TOO_MUCH: Move(Stage.CLOSED, Rules._lose_overfull),
        Input.CLOSE: Move(Stage.CLOSED, Rules._close),
    },
    Stage.OPENING: {
        Input.CONNECTED: Move(Stage.OPEN, Rules._begin),
        Input.CANNOT_OPEN: Move(Stage.CLOSED, Rules._lose),
        Input.CREDENTIAL_REFUSED: Move(Stage.REFUSED, Rules._refuse),
        Input.TIME_UP: Move(Stage.CLOSED, Rules._lose_late),
        Input.SEND: Move(None, Rules._keep),
        Input.TOO_MUCH: Move(Stage.CLOSED, Rules._lose_overfull),
        Input.CLOSE: Move(Stage.CLOSED, Rules._close),
    },
    Stage.OPEN: {
        Input.SEND: Move(None, Rules._write),
        Input.FULL: Move(Stage.CONGESTED, Rules._count_anew),
        Input.DRAINED: _nothing("it was never full"),
        Input.ENDED: Move(Stage.CLOSED, Rules._lose_open),
        Input.CLOSE: Move(Stage.CLOSED, Rules._close_open),
    },
    Stage.CONGESTED: {
        Input.SEND: Move(None, Rules._write_counted),
        Input.FULL: _nothing("it is full already"),
        Input.DRAINED: Move(Stage.OPEN, Rules._count_anew),
        Input.TOO_MUCH: Move(Stage.CLOSED, Rules._abort),
        Input.ENDED: Move(Stage.CLOSED, Rules._lose_open),
        Input.CLOSE: Move(Stage.CLOSED, Rules._close_open),
    },
    Stage.REFUSED: {
        Input.SEND: Move(Stage.TELLING, Rules._tell_soon),
        Input.MENDED: Move(Stage.CLOSED, _nothing("`reopen` follows where there are rooms").rule),
        Input.CLOSE: Move(None, Rules._close),  # that is no cure
    },
    Stage.TELLING: {
        Input.TIME_UP: Move(Stage.REFUSED, Rules._tell),
        Input.SEND: Move(None, _nothing("`refused` is on its way, and the stanza is dropped").rule),
        Input.MENDED: Move(Stage.CLOSED, _nothing("`reopen` follows where there are rooms").rule),
        Input.CLOSE: Move(Stage.REFUSED, Rules._close),
    },
}

#: What follows from each input at each stage.
TABLE: dict[Stage, dict[Input, Move]] = {
    stage: {given: _AT[stage].get(given) or _ELSEWHERE[given] for given in Input} for stage in Stage
}


class Lifecycle(Rules):
    """At which stage one stream is."""

    def __init__(self, stream: Told, connect: Connect, clock: Clock, slots: Slots, backoff: Backoff) -> None:
        super().__init__(stream, connect, clock, slots, backoff)
        self._moves = TABLE[self.stage]

    def step(self, given: Input, argument: Any = None) -> Any:
        """Go where the table says, and return what the rule returns."""
        move = self._moves[given]
        if move.to is not None:
            self._timer.stop()
            self.stage = move.to
            self._moves = TABLE[move.to]
        return move.rule(self, argument)
