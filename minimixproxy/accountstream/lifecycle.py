"""The life of an account stream: one table of phases, what can happen at them, and what follows.

docs/lifecycles-drawn.md is drawn from it. `phases.py` says what the phases and inputs are, `lifecycle_rules.py` and
`resuming_rules.py` what is done on the way; `AccountStream` is what others see.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.python.failure import Failure

from minimixproxy.accountstream.attempt import Connect
from minimixproxy.accountstream.lifecycle_rules import Told, Waits
from minimixproxy.accountstream.phases import Input, Phase
from minimixproxy.accountstream.resuming_rules import ResumingRules as Rules
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.lines import Line


class Transition(NamedTuple):
    """What follows."""

    to: Phase | None  # None: the phase stays, its timer too
    action: Callable[[Rules, Any], Any]  # a rule; its docstring is what the drawing says


def _nothing(why: str) -> Transition:
    """The input changes nothing."""

    def nothing(_rules: Rules, _with: object) -> None:
        pass

    nothing.__doc__ = f"Nothing: {why}."
    return Transition(None, nothing)


def _impossible(why: str) -> Transition:
    """The input cannot come; if it does, that is a fault of ours, is logged, and changes nothing."""

    def impossible(rules: Rules, _with: object) -> None:
        fault = AssertionError(f"{rules.phase.name}: {why}")
        rules.log.failure(
            "what cannot happen to the account stream of {account} has happened", Failure(fault), account=rules.account
        )

    impossible.__doc__ = f"Cannot happen: {why}."
    return Transition(None, impossible)


#: What is the same at all phases where `_AT` names nothing else.
_ELSEWHERE = {
    Input.REOPEN: _nothing("it is open, or on its way, or the credential is no good"),
    Input.MENDED: _nothing("it does not wait for a login, nor for long"),
    Input.REFUSE: _impossible("that is said only of a stream that is closed"),
    Input.TIME_UP: _impossible("no timer runs"),
    Input.SLOT: _impossible("it is not in line"),
    Input.CONNECTED: _impossible("no attempt is under way, and one that was stopped tells nothing"),
    Input.RESUMED: _impossible("nothing was to be resumed"),
    Input.CANNOT_OPEN: _impossible("no attempt is under way, and one that was stopped tells nothing"),
    Input.CREDENTIAL_REFUSED: _impossible("no attempt is under way, and one that was stopped tells nothing"),
    Input.ENDED: _impossible("nobody listens to a connection that is not open any more"),
    Input.BROKEN: _impossible("nobody listens to a connection that is not open any more"),
    Input.FULL: _impossible("nobody listens to a connection that is not open any more"),
    Input.DRAINED: _impossible("nobody listens to a connection that is not open any more"),
    Input.TOO_MUCH: _impossible("nothing waits"),
}

_AT = {
    Phase.CLOSED: {
        Input.SEND: Transition(Phase.HURRYING, Rules._keep_and_wait),
        Input.REOPEN: Transition(Phase.WAITING, Rules._wait),
        Input.REFUSE: Transition(Phase.REFUSED, Rules._is_refused),
        Input.CLOSE: Transition(None, Rules._close),
    },
    Phase.WAITING: {
        Input.TIME_UP: Transition(Phase.IN_LINE, Rules._line_up),
        Input.SEND: Transition(Phase.HURRYING, Rules._keep_and_wait),
        Input.MENDED: Transition(Phase.HURRYING, Rules._wait),
        Input.CLOSE: Transition(Phase.CLOSED, Rules._close),
    },
    Phase.HURRYING: {
        Input.TIME_UP: Transition(Phase.FIRST_IN_LINE, Rules._line_up),
        Input.SEND: Transition(None, Rules._keep),
        Input.TOO_MUCH: Transition(Phase.CLOSED, Rules._lose_overfull),
        Input.CLOSE: Transition(Phase.CLOSED, Rules._close),
    },
    Phase.IN_LINE: {
        Input.SLOT: Transition(Phase.OPENING, Rules._open),
        Input.SEND: Transition(Phase.FIRST_IN_LINE, Rules._keep_and_line_up),
        Input.MENDED: Transition(Phase.FIRST_IN_LINE, Rules._line_up),
        Input.CLOSE: Transition(Phase.CLOSED, Rules._close),
    },
    Phase.FIRST_IN_LINE: {
        Input.SLOT: Transition(Phase.OPENING, Rules._open),
        Input.SEND: Transition(None, Rules._keep),
        Input.TOO_MUCH: Transition(Phase.CLOSED, Rules._lose_overfull),
        Input.CLOSE: Transition(Phase.CLOSED, Rules._close),
    },
    Phase.OPENING: {
        Input.CONNECTED: Transition(Phase.OPEN, Rules._begin),
        Input.CANNOT_OPEN: Transition(Phase.CLOSED, Rules._lose_unopened),
        Input.CREDENTIAL_REFUSED: Transition(Phase.REFUSED, Rules._refuse),
        Input.TIME_UP: Transition(Phase.CLOSED, Rules._lose_late),
        Input.SEND: Transition(None, Rules._keep),
        Input.TOO_MUCH: Transition(Phase.CLOSED, Rules._lose_overfull),
        Input.CLOSE: Transition(Phase.CLOSED, Rules._close),
    },
    Phase.OPEN: {
        Input.SEND: Transition(None, Rules._write),
        Input.FULL: Transition(Phase.CONGESTED, Rules._count_anew),
        Input.DRAINED: _nothing("it was never full"),
        Input.TOO_MUCH: Transition(Phase.CLOSED, Rules._abort_unacknowledged),
        Input.ENDED: Transition(Phase.CLOSED, Rules._lose_open),
        Input.BROKEN: Transition(Phase.BROKEN, Rules._break),
        Input.CLOSE: Transition(Phase.CLOSED, Rules._close_open),
    },
    Phase.CONGESTED: {
        Input.SEND: Transition(None, Rules._write_counted),
        Input.FULL: _nothing("it is full already"),
        Input.DRAINED: Transition(Phase.OPEN, Rules._all_read),
        Input.TOO_MUCH: Transition(Phase.CLOSED, Rules._abort),
        Input.ENDED: Transition(Phase.CLOSED, Rules._lose_open),
        Input.BROKEN: Transition(Phase.BROKEN, Rules._break),
        Input.CLOSE: Transition(Phase.CLOSED, Rules._close_open),
    },
    Phase.BROKEN: {
        Input.TIME_UP: Transition(Phase.TO_RESUME, Rules._line_up_to_resume),
        Input.SEND: Transition(None, Rules._keep_to_resume),
        Input.TOO_MUCH: Transition(Phase.CLOSED, Rules._lose_overfull),
        Input.CLOSE: Transition(Phase.LEAVING, Rules._resume_to_leave),
    },
    Phase.TO_RESUME: {
        Input.SLOT: Transition(Phase.RESUMING, Rules._resume),
        Input.TIME_UP: Transition(Phase.CLOSED, Rules._lose_broken),
        Input.SEND: Transition(None, Rules._keep_to_resume),
        Input.TOO_MUCH: Transition(Phase.CLOSED, Rules._lose_overfull),
        Input.CLOSE: Transition(Phase.LEAVING, Rules._resume_to_leave),
    },
    Phase.RESUMING: {
        Input.RESUMED: Transition(Phase.OPEN, Rules._go_on),
        Input.CONNECTED: Transition(Phase.OPENING, Rules._lose_and_begin),
        Input.CANNOT_OPEN: Transition(Phase.BROKEN, Rules._try_again),
        Input.CREDENTIAL_REFUSED: Transition(Phase.REFUSED, Rules._refuse),
        Input.TIME_UP: Transition(Phase.BROKEN, Rules._try_again),
        Input.SEND: Transition(None, Rules._keep_to_resume),
        Input.TOO_MUCH: Transition(Phase.CLOSED, Rules._lose_overfull),
        Input.CLOSE: Transition(Phase.LEAVING, Rules._resume_to_leave),
    },
    Phase.LEAVING: {
        Input.RESUMED: Transition(Phase.CLOSED, Rules._leave),
        Input.CONNECTED: Transition(Phase.CLOSED, Rules._leave_new),
        Input.CANNOT_OPEN: Transition(Phase.CLOSED, Rules._close),
        Input.CREDENTIAL_REFUSED: Transition(Phase.CLOSED, Rules._close),
        Input.TIME_UP: Transition(Phase.CLOSED, Rules._close),
        Input.SEND: Transition(Phase.HURRYING, Rules._close_and_keep),
        Input.REOPEN: Transition(Phase.WAITING, Rules._close_and_wait),
        Input.CLOSE: Transition(Phase.CLOSED, Rules._close),
    },
    Phase.REFUSED: {
        Input.SEND: Transition(Phase.TELLING, Rules._tell_soon),
        Input.MENDED: Transition(Phase.CLOSED, _nothing("`reopen` follows where there are rooms").action),
        Input.CLOSE: Transition(None, Rules._close),  # that is no cure
    },
    Phase.TELLING: {
        Input.TIME_UP: Transition(Phase.REFUSED, Rules._tell),
        Input.SEND: Transition(None, _nothing("`refused` is on its way, and the stanza is dropped").action),
        Input.MENDED: Transition(Phase.CLOSED, _nothing("`reopen` follows where there are rooms").action),
        Input.CLOSE: Transition(Phase.REFUSED, Rules._close),
    },
}

#: What follows from each input at each phase: every one of them is there.
TABLE: dict[tuple[Phase, Input], Transition] = {
    (phase, what): _AT[phase].get(what) or _ELSEWHERE[what] for phase in Phase for what in Input
}
#: The same by phase, so that a stanza on its way costs one look-up.
_BY_PHASE = {phase: {what: TABLE[phase, what] for what in Input} for phase in Phase}


class Lifecycle(Rules):
    """At which phase one stream is. `happens` is the only way on."""

    def __init__(self, stream: Told, connect: Connect, clock: Clock, line: Line, waits: Waits) -> None:
        super().__init__(stream, connect, clock, line, waits)
        self._here = _BY_PHASE[self.phase]

    def happens(self, what: Input, with_it: Any = None) -> Any:
        """Go on to the phase that follows, and do what is to be done on the way; return what that returns."""
        to, action = self._here[what]
        if to is not None:
            self._timer.stop()
            self.phase = to
            self._here = _BY_PHASE[to]
        return action(self, with_it)
