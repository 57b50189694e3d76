"""The lifecycle of an occupancy: one table of what can happen in which stage, and what follows.

Nobody waits for ever. A stage ends by itself after its time in `TIMEOUTS`. Where there is none, what waits has a
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
from minimixproxy.minimix.occupancy.stages import (
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
    Stage,
)
from minimixproxy.timing.clock import Timer

SUBJECT_TIMEOUT = 5.0  # seconds from the own presence to the subject that ends the join
LEAVE_TIMEOUT = 10.0  # seconds for a room to confirm a leave, or to remove who has refused its presence
# Seconds from the end of a leave to the next join: ejabberd loses one that comes while the room's process still ends.
REENTRY_PAUSE = 0.25

#: Seconds after which a stage is over: `Input.TIMEOUT`.
TIMEOUTS = {
    Stage.JOINING: joining.JOIN_TIMEOUT,
    Stage.ENTERED: SUBJECT_TIMEOUT,
    Stage.ASKED_OUT: LEAVE_TIMEOUT,
    Stage.REJOINING: rejoining.ANSWER_TIMEOUT,
    Stage.CHECKING: rejoining.ANSWER_TIMEOUT,
    Stage.LEAVING: LEAVE_TIMEOUT,
    Stage.PAUSING: REENTRY_PAUSE,
}

Action = Callable[..., object]


class Transition(NamedTuple):
    """What follows from an input in a stage: `action` is called with the parts and what comes with the input.

    `to`: the next stage, where time begins anew; None: the occupancy stays where it is, and time goes on.
    """

    to: Stage | None
    action: Action


def nothing(_parts: Parts, *_with: object) -> None:
    """Do nothing: the change of stage is all, or the input is of no interest."""


STAY = None
_J, _E, _C = frozenset({Stage.JOINING}), frozenset({Stage.ENTERED}), frozenset({Stage.CHECKING})
_R, _U, _D = frozenset({Stage.REJOINING}), frozenset({Stage.CATCHING_UP}), frozenset({Stage.JOINED})
_A = frozenset({Stage.ASKED_OUT})

#: By input: from which stages, to which, and what is done on the way.
RULES: dict[Input, list[tuple[frozenset[Stage], Stage | None, Action]]] = {
    # Sessions
    Input.JOIN: [
        (NEW, Stage.JOINING, joining.send),
        (FIRST, STAY, nothing),  # it waits
        (IN, STAY, joining.let_in),
        (OUT, STAY, rejoining.wait_and_try),
        (BACK, STAY, rejoining.wait),
        (LEFT, STAY, nothing),  # it waits for the next occupancy
        (ENDED, STAY, joining.refuse),
    ],
    Input.JOIN_DROPPED: [(NEW, Stage.ENDED, nothing), (ALL - NEW, STAY, nothing)],
    Input.LEAVE: [
        (FIRST | IN | BACK, Stage.LEAVING, leaving.leave),
        (NEW | OUT, Stage.ENDED, leaving.leave_out_of_reach),
        (LEFT | ENDED, STAY, nothing),
    ],
    Input.ABANDON: [
        (FIRST | IN | BACK, Stage.ENDED, leaving.say_unavailable),
        (NEW | OUT | LEFT, Stage.ENDED, nothing),
        (ENDED, STAY, nothing),
    ],
    Input.REJECTED: [
        (IN, Stage.ASKED_OUT, leaving.ask_to_be_removed),
        (ALL - IN, STAY, leaving.show_out_rejecting),
    ],
    # The room: in, or out
    Input.OWN_SHOWN: [
        (_J, Stage.ENTERED, joining.entered),
        (ASKING, Stage.CATCHING_UP, rejoining.entered),
        (_E | IN | OUT | _U | LEFT, STAY, joining.own_changed),
        (NEW | ENDED, STAY, nothing),
    ],
    Input.SUBJECT: [(_E, Stage.JOINED, joining.complete), (ALL - _E, STAY, nothing)],
    Input.REMOVED: [
        (_J, Stage.ENDED, joining.removed_before_in),
        (_E, Stage.ENDED, joining.removed),
        (IN | OUT | _U, Stage.ENDED, leaving.show_removal),
        (ASKING, Stage.ENDED, rejoining.removed),
        (LEFT, Stage.ENDED, nothing),
        (NEW | ENDED, STAY, nothing),
    ],
    Input.PUT_OUT: [
        (_J, STAY, joining.start_anew),
        (_E, Stage.ENDED, joining.removed),
        (_A, Stage.ENDED, leaving.show_removal),  # as it was asked to
        (_D | AWAY, Stage.INTERRUPTED, rejoining.put_out),
        (LEFT, Stage.ENDED, nothing),
        (NEW | ENDED, STAY, nothing),
    ],
    Input.AWAITED_OUT: [(LEFT, Stage.PAUSING, nothing), (ALL - LEFT, STAY, nothing)],
    Input.SILENTLY_OUT: [(IN, Stage.INTERRUPTED, rejoining.silently_out), (ALL - IN, STAY, nothing)],
    # The room, or its service: not let in
    Input.REFUSED: [
        (_J, Stage.ENDED, nothing),
        (ASKING, Stage.INTERRUPTED, rejoining.come_back_later),
        (ALL - _J - ASKING, STAY, nothing),
    ],
    Input.NEXT_REFUSED: [(_J, Stage.JOINING, joining.send), (ALL - _J, STAY, nothing)],
    Input.NICK_REFUSED: [
        (ASKING, Stage.INTERRUPTED, rejoining.try_another_nick),
        (ALL - ASKING, STAY, nothing),
    ],
    Input.SHUT_OUT: [(ASKING, Stage.ENDED, rejoining.shut_out), (ALL - ASKING, STAY, nothing)],
    Input.FORBIDDEN: [(_R, Stage.CHECKING, rejoining.ask_service), (ALL - _R, STAY, nothing)],
    Input.SERVICE_DOWN: [(_C, Stage.INTERRUPTED, rejoining.come_back_later), (ALL - _C, STAY, nothing)],
    Input.SERVICE_UP: [(_C, Stage.INTERRUPTED, rejoining.try_once_more), (ALL - _C, STAY, nothing)],
    Input.BANNED: [(_C, Stage.ENDED, rejoining.shut_out), (ALL - _C, STAY, nothing)],
    # The account stream
    Input.STREAM_LOST: [
        (NEW | FIRST, Stage.ENDED, joining.stream_lost),
        (IN | AWAY, Stage.INTERRUPTED, rejoining.interrupted),
        (LEFT, Stage.ENDED, nothing),
        (ENDED, STAY, nothing),
    ],
    Input.STREAM_OPENED: [(OUT, STAY, rejoining.try_now), (ALL - OUT, STAY, nothing)],
    Input.GIVEN_UP: [(ALL - ENDED, STAY, rejoining.give_up), (ENDED, STAY, nothing)],
    # Time
    Input.TIMEOUT: [
        (_J, Stage.ENDED, joining.unanswered),
        (_E, Stage.JOINED, joining.complete),
        (_A, Stage.JOINED, nothing),
        (ASKING, Stage.INTERRUPTED, rejoining.unanswered),
        (LEFT, Stage.ENDED, nothing),
        (NEW | _D | OUT | _U | ENDED, STAY, nothing),
    ],
    Input.TURN: [(OUT, Stage.REJOINING, rejoining.rejoin), (ALL - OUT, STAY, nothing)],
    Input.CAUGHT_UP: [(_U, Stage.JOINED, rejoining.caught_up), (ALL - _U, STAY, nothing)],
}

#: The same, by stage and input.
TABLE: dict[tuple[Stage, Input], Transition] = {
    (stage, what): Transition(to, action)
    for what, rules in RULES.items()
    for stages, to, action in rules
    for stage in stages
}


class Lifecycle:
    """Where one occupancy is in its life. `happens` is the only way on."""

    __slots__ = ("_parts", "_timer", "stage")

    def __init__(self, parts: Parts, stage: Stage) -> None:
        self.stage = stage
        self._parts = parts
        self._timer = Timer(parts.context.clock)

    def happens(self, what: Input, *with_it: Any) -> None:
        """Go on to the stage that follows, and do what is to be done on the way. Actions may call it again."""
        to, action = TABLE[self.stage, what]
        if to is not None:
            self._enter(to)
        action(self._parts, *with_it)
        if to is Stage.ENDED:
            leaving.end(self._parts)

    def _enter(self, stage: Stage) -> None:
        self.stage = stage
        timeout = TIMEOUTS.get(stage)
        if timeout is None:
            self._timer.stop()
        else:
            self._timer.start(timeout, self._time_is_up)

    def _time_is_up(self) -> None:
        self.happens(Input.TIMEOUT)
