"""The lifecycle of an occupancy: one table of what can happen in which phase, and what follows.

Nobody waits for ever. A phase ends by itself after its time in `TIMEOUTS`. Where there is none, what waits has a
time-out of its own:

- `JOINED`: nobody waits.
- `INTERRUPTED`: sessions that asked to join are refused when their patience is over (`rejoining.PATIENCE`), and what
  attached ones say is refused when that of `Outbox` is.
- `CATCHING_UP`: the same; and the room's archive has to answer in time (`missed_messages`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from minimixproxy.minimix.occupancy import joining, leaving, rejoining
from minimixproxy.minimix.occupancy.parts import Parts
from minimixproxy.minimix.occupancy.phases import (
    ALL,
    ASKING,
    AWAY,
    BACK,
    ENDED,
    FIRST,
    IN,
    LEFT,
    NEW,
    OUT,
    Input,
    Phase,
)
from minimixproxy.timing.clock import Timer

SUBJECT_TIMEOUT = 5.0  # seconds from the own presence to the subject that ends the join
LEAVE_TIMEOUT = 10.0  # seconds for a room to confirm a leave, or to remove who has refused its presence
# Seconds from the end of a leave to the next join: ejabberd loses one that comes while the room's process still ends.
REENTRY_PAUSE = 0.25

#: Seconds after which a phase is over: `Input.TIMEOUT`.
TIMEOUTS = {
    Phase.JOINING: joining.JOIN_TIMEOUT,
    Phase.ENTERED: SUBJECT_TIMEOUT,
    Phase.ASKED_OUT: LEAVE_TIMEOUT,
    Phase.REJOINING: rejoining.ANSWER_TIMEOUT,
    Phase.CHECKING: rejoining.ANSWER_TIMEOUT,
    Phase.LEAVING: LEAVE_TIMEOUT,
    Phase.PAUSING: REENTRY_PAUSE,
}

Action = Callable[..., object]


class Transition(NamedTuple):
    """What follows from an input in a phase: `action` is called with the parts and what comes with the input.

    `to`: the next phase, where time begins anew; None: the occupancy stays where it is, and time goes on.
    """

    to: Phase | None
    action: Action


def nothing(_parts: Parts, *_with: object) -> None:
    """Do nothing: the change of phase is all, or the input is of no interest."""


STAY = None
_J, _E, _C = frozenset({Phase.JOINING}), frozenset({Phase.ENTERED}), frozenset({Phase.CHECKING})
_R, _U, _D = frozenset({Phase.REJOINING}), frozenset({Phase.CATCHING_UP}), frozenset({Phase.JOINED})
_A = frozenset({Phase.ASKED_OUT})

#: By input: from which phases, to which, and what is done on the way.
RULES: dict[Input, list[tuple[frozenset[Phase], Phase | None, Action]]] = {
    # Sessions
    Input.JOIN: [
        (NEW, Phase.JOINING, joining.send),
        (FIRST, STAY, nothing),  # it waits
        (IN, STAY, joining.let_in),
        (OUT, STAY, rejoining.wait_and_try),
        (BACK, STAY, rejoining.wait),
        (LEFT, STAY, nothing),  # it waits for the next occupancy
        (ENDED, STAY, joining.refuse),
    ],
    Input.JOIN_DROPPED: [(NEW, Phase.ENDED, nothing), (ALL - NEW, STAY, nothing)],
    Input.LEAVE: [
        (FIRST | IN | BACK, Phase.LEAVING, leaving.leave),
        (NEW | OUT, Phase.ENDED, leaving.leave_out_of_reach),
        (LEFT | ENDED, STAY, nothing),
    ],
    Input.ABANDON: [
        (FIRST | IN | BACK, Phase.ENDED, leaving.say_unavailable),
        (NEW | OUT | LEFT, Phase.ENDED, nothing),
        (ENDED, STAY, nothing),
    ],
    Input.REJECTED: [
        (IN, Phase.ASKED_OUT, leaving.ask_to_be_removed),
        (ALL - IN, STAY, leaving.show_out_rejecting),
    ],
    # The room: in, or out
    Input.OWN_SHOWN: [
        (_J, Phase.ENTERED, joining.entered),
        (ASKING, Phase.CATCHING_UP, rejoining.entered),
        (_E | IN | OUT | _U | LEFT, STAY, joining.own_changed),
        (NEW | ENDED, STAY, nothing),
    ],
    Input.SUBJECT: [(_E, Phase.JOINED, joining.complete), (ALL - _E, STAY, nothing)],
    Input.REMOVED: [
        (_J, Phase.ENDED, joining.removed_before_in),
        (_E, Phase.ENDED, joining.removed),
        (IN | OUT | _U, Phase.ENDED, leaving.show_removal),
        (ASKING, Phase.ENDED, rejoining.removed),
        (LEFT, Phase.ENDED, nothing),
        (NEW | ENDED, STAY, nothing),
    ],
    Input.PUT_OUT: [
        (_J, STAY, joining.start_anew),
        (_E, Phase.ENDED, joining.removed),
        (_A, Phase.ENDED, leaving.show_removal),  # as it was asked to
        (_D | AWAY, Phase.INTERRUPTED, rejoining.put_out),
        (LEFT, Phase.ENDED, nothing),
        (NEW | ENDED, STAY, nothing),
    ],
    Input.AWAITED_OUT: [(LEFT, Phase.PAUSING, nothing), (ALL - LEFT, STAY, nothing)],
    Input.SILENTLY_OUT: [(IN, Phase.INTERRUPTED, rejoining.silently_out), (ALL - IN, STAY, nothing)],
    # The room, or its service: not let in
    Input.REFUSED: [
        (_J, Phase.ENDED, nothing),
        (ASKING, Phase.INTERRUPTED, rejoining.come_back_later),
        (ALL - _J - ASKING, STAY, nothing),
    ],
    Input.NEXT_REFUSED: [(_J, Phase.JOINING, joining.send), (ALL - _J, STAY, nothing)],
    Input.NICK_REFUSED: [
        (ASKING, Phase.INTERRUPTED, rejoining.try_another_nick),
        (ALL - ASKING, STAY, nothing),
    ],
    Input.SHUT_OUT: [(ASKING, Phase.ENDED, rejoining.shut_out), (ALL - ASKING, STAY, nothing)],
    Input.FORBIDDEN: [(_R, Phase.CHECKING, rejoining.ask_service), (ALL - _R, STAY, nothing)],
    Input.SERVICE_DOWN: [(_C, Phase.INTERRUPTED, rejoining.come_back_later), (ALL - _C, STAY, nothing)],
    Input.SERVICE_UP: [(_C, Phase.INTERRUPTED, rejoining.try_once_more), (ALL - _C, STAY, nothing)],
    Input.BANNED: [(_C, Phase.ENDED, rejoining.shut_out), (ALL - _C, STAY, nothing)],
    # The account stream
    Input.STREAM_LOST: [
        (NEW | FIRST, Phase.ENDED, joining.stream_lost),
        (IN | AWAY, Phase.INTERRUPTED, rejoining.interrupted),
        (LEFT, Phase.ENDED, nothing),
        (ENDED, STAY, nothing),
    ],
    Input.STREAM_OPENED: [(OUT, STAY, rejoining.try_now), (ALL - OUT, STAY, nothing)],
    Input.GIVEN_UP: [(ALL - ENDED, STAY, rejoining.give_up), (ENDED, STAY, nothing)],
    # Time
    Input.TIMEOUT: [
        (_J, Phase.ENDED, joining.unanswered),
        (_E, Phase.JOINED, joining.complete),
        (_A, Phase.JOINED, nothing),
        (ASKING, Phase.INTERRUPTED, rejoining.unanswered),
        (LEFT, Phase.ENDED, nothing),
        (NEW | _D | OUT | _U | ENDED, STAY, nothing),
    ],
    Input.TURN: [(OUT, Phase.REJOINING, rejoining.rejoin), (ALL - OUT, STAY, nothing)],
    Input.CAUGHT_UP: [(_U, Phase.JOINED, rejoining.caught_up), (ALL - _U, STAY, nothing)],
}

#: The same, by phase and input.
TABLE: dict[tuple[Phase, Input], Transition] = {
    (phase, what): Transition(to, action)
    for what, rules in RULES.items()
    for phases, to, action in rules
    for phase in phases
}


class Lifecycle:
    """Where one occupancy is in its life. `happens` is the only way on."""

    __slots__ = ("_parts", "_timer", "phase")

    def __init__(self, parts: Parts, phase: Phase) -> None:
        self.phase = phase
        self._parts = parts
        self._timer = Timer(parts.context.clock)

    def happens(self, what: Input, *with_it: Any) -> None:
        """Go on to the phase that follows, and do what is to be done on the way. Actions may call it again."""
        to, action = TABLE[self.phase, what]
        if to is not None:
            self._enter(to)
        action(self._parts, *with_it)
        if to is Phase.ENDED:
            leaving.end(self._parts)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        timeout = TIMEOUTS.get(phase)
        if timeout is None:
            self._timer.stop()
        else:
            self._timer.start(timeout, self._time_is_up)

    def _time_is_up(self) -> None:
        self.happens(Input.TIMEOUT)
