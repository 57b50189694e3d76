"""The lifecycle of an occupancy: one table of what can happen in which phase, and what follows.

Nobody waits for ever. A phase ends by itself after its time in `TIMEOUTS`. Where there is none, what waits has a
time-out of its own:

- `JOINED`: nobody waits.
- `INTERRUPTED`: sessions that asked to join are refused when their patience is over (`rejoining.PATIENCE`), and what
  attached ones say is refused when that of `Outbox` is.
- `CATCHING_UP`: the same; and the room's archive has to answer in time (`missed_messages`).
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import Any, NamedTuple

from minimixproxy.counting.tally import Tally
from minimixproxy.minimix.occupancy import joining, leaving, rejoining
from minimixproxy.minimix.occupancy.parts import Parts
from minimixproxy.minimix.occupancy.phases import ALL, ASKING, AWAY, BACK, FIRST, IN, LEFT, Input, Phase
from minimixproxy.minimix.occupancy.reasons import reason
from minimixproxy.minimix.rejoin.missed_messages import SUBJECT_TIMEOUT
from minimixproxy.timing.clock import Timer

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

#: By input: from which phases, to which, and what is done on the way.
RULES: dict[Input, list[tuple[Set[Phase], Phase | None, Action]]] = {
    # Sessions
    Input.JOIN: [
        ({Phase.NEW}, Phase.JOINING, joining.send),
        (FIRST, STAY, nothing),  # it waits
        (IN, STAY, joining.let_in),
        ({Phase.INTERRUPTED}, STAY, rejoining.wait_and_try),
        (BACK, STAY, rejoining.wait),
        (LEFT, STAY, nothing),  # it waits for the next occupancy
        ({Phase.ENDED}, STAY, joining.refuse),
    ],
    Input.JOIN_DROPPED: [({Phase.NEW}, Phase.ENDED, nothing), (ALL - {Phase.NEW}, STAY, nothing)],
    Input.LEAVE: [
        (FIRST | IN | BACK, Phase.LEAVING, leaving.leave),
        ({Phase.NEW, Phase.INTERRUPTED}, Phase.ENDED, leaving.leave_out_of_reach),
        (LEFT | {Phase.ENDED}, STAY, nothing),
    ],
    Input.ABANDON: [
        (FIRST | IN | BACK, Phase.ENDED, leaving.say_unavailable),
        (LEFT | {Phase.NEW, Phase.INTERRUPTED}, Phase.ENDED, nothing),
        ({Phase.ENDED}, STAY, nothing),
    ],
    Input.REJECTED: [
        (IN, Phase.ASKED_OUT, leaving.ask_to_be_removed),
        (ALL - IN, STAY, leaving.show_out_rejecting),
    ],
    # The room: in, or out
    Input.OWN_SHOWN: [
        ({Phase.JOINING}, Phase.ENTERED, joining.entered),
        (ASKING, Phase.CATCHING_UP, rejoining.entered),
        (IN | LEFT | {Phase.ENTERED, Phase.INTERRUPTED, Phase.CATCHING_UP}, STAY, joining.own_changed),
        ({Phase.NEW, Phase.ENDED}, STAY, nothing),
    ],
    Input.SUBJECT: [({Phase.ENTERED}, Phase.JOINED, joining.complete), (ALL - {Phase.ENTERED}, STAY, nothing)],
    Input.REMOVED: [
        ({Phase.JOINING}, Phase.ENDED, joining.removed_before_in),
        ({Phase.ENTERED}, Phase.ENDED, joining.removed),
        (IN | {Phase.INTERRUPTED, Phase.CATCHING_UP}, Phase.ENDED, leaving.show_removal),
        (ASKING, Phase.ENDED, rejoining.removed),
        (LEFT, Phase.ENDED, nothing),
        ({Phase.NEW, Phase.ENDED}, STAY, nothing),
    ],
    Input.PUT_OUT: [
        ({Phase.JOINING}, STAY, joining.start_anew),
        ({Phase.ENTERED}, Phase.ENDED, joining.removed),
        ({Phase.ASKED_OUT}, Phase.ENDED, leaving.show_removal),  # as it was asked to
        (AWAY | {Phase.JOINED}, Phase.INTERRUPTED, rejoining.put_out),
        (LEFT, Phase.ENDED, nothing),
        ({Phase.NEW, Phase.ENDED}, STAY, nothing),
    ],
    Input.AWAITED_OUT: [(LEFT, Phase.PAUSING, nothing), (ALL - LEFT, STAY, nothing)],
    Input.SILENTLY_OUT: [(IN, Phase.INTERRUPTED, rejoining.silently_out), (ALL - IN, STAY, nothing)],
    # The room, or its service: not let in
    Input.REFUSED: [
        ({Phase.JOINING}, Phase.ENDED, nothing),
        (ASKING, Phase.INTERRUPTED, rejoining.come_back_later),
        (ALL - ASKING - {Phase.JOINING}, STAY, nothing),
    ],
    Input.NEXT_REFUSED: [({Phase.JOINING}, Phase.JOINING, joining.send), (ALL - {Phase.JOINING}, STAY, nothing)],
    Input.NICK_REFUSED: [
        (ASKING, Phase.INTERRUPTED, rejoining.try_another_nick),
        (ALL - ASKING, STAY, nothing),
    ],
    Input.SHUT_OUT: [(ASKING, Phase.ENDED, rejoining.shut_out), (ALL - ASKING, STAY, nothing)],
    Input.FORBIDDEN: [
        ({Phase.REJOINING}, Phase.CHECKING, rejoining.ask_service),
        (ALL - {Phase.REJOINING}, STAY, nothing),
    ],
    Input.SERVICE_DOWN: [
        ({Phase.CHECKING}, Phase.INTERRUPTED, rejoining.come_back_later),
        (ALL - {Phase.CHECKING}, STAY, nothing),
    ],
    Input.SERVICE_UP: [
        ({Phase.CHECKING}, Phase.INTERRUPTED, rejoining.try_once_more),
        (ALL - {Phase.CHECKING}, STAY, nothing),
    ],
    Input.BANNED: [({Phase.CHECKING}, Phase.ENDED, rejoining.shut_out), (ALL - {Phase.CHECKING}, STAY, nothing)],
    # The account stream
    Input.STREAM_LOST: [
        (FIRST | {Phase.NEW}, Phase.ENDED, joining.stream_lost),
        (IN | AWAY, Phase.INTERRUPTED, rejoining.interrupted),
        (LEFT, Phase.ENDED, nothing),
        ({Phase.ENDED}, STAY, nothing),
    ],
    Input.STREAM_OPENED: [
        ({Phase.INTERRUPTED}, STAY, rejoining.try_now),
        (ALL - {Phase.INTERRUPTED}, STAY, nothing),
    ],
    Input.GIVEN_UP: [(ALL - {Phase.ENDED}, STAY, rejoining.give_up), ({Phase.ENDED}, STAY, nothing)],
    # Time
    Input.TIMEOUT: [
        ({Phase.JOINING}, Phase.ENDED, joining.unanswered),
        ({Phase.ENTERED}, Phase.JOINED, joining.complete),
        ({Phase.ASKED_OUT}, Phase.JOINED, nothing),
        (ASKING, Phase.INTERRUPTED, rejoining.unanswered),
        (LEFT, Phase.ENDED, nothing),
        (ALL - set(TIMEOUTS), STAY, nothing),
    ],
    Input.TURN: [
        ({Phase.INTERRUPTED}, Phase.REJOINING, rejoining.rejoin),
        (ALL - {Phase.INTERRUPTED}, STAY, nothing),
    ],
    Input.CAUGHT_UP: [
        ({Phase.CATCHING_UP}, Phase.JOINED, rejoining.caught_up),
        (ALL - {Phase.CATCHING_UP}, STAY, nothing),
    ],
}

#: The same, by phase and input.
TABLE: dict[tuple[Phase, Input], Transition] = {
    (phase, what): Transition(to, action)
    for what, rules in RULES.items()
    for phases, to, action in rules
    for phase in phases
}


_NAMES = {what: what.name.lower() for what in Input}
_PHASES = {phase: phase.name.lower() for phase in Phase}
CHANGES = Tally(
    "occupancy_changes",
    "Changes of the phase in which an account's being in a room is, by what has happened and the phase it led to.",
    {(_NAMES[what], _PHASES[step.to]) for (_phase, what), step in TABLE.items() if step.to is not None},
    event=_NAMES.values(),
    phase=_PHASES.values(),
)


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
            why = reason(self.phase, what, to, *with_it)
            if why is not None:
                self._parts.outlet.not_in(self._parts.room, why)
            CHANGES.count(_NAMES[what], _PHASES[to])
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
