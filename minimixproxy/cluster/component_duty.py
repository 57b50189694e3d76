"""One domain of `[[client_proxy]]` that all processes of a cluster may connect: one of them does, the others stand by.

Who has the domain's lease connects the component. A lease is worth as much as the row of its process, so a component
acts only while that is good for some time yet: it looks by itself before each read, each write and each connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final, NamedTuple

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure

from minimixproxy.cluster.interfaces import Among, Component
from minimixproxy.logs.logger import Logger
from minimixproxy.storage.errors import StateError
from minimixproxy.storage.lease import HeldByAnother
from minimixproxy.storage.leases import Holder
from minimixproxy.timing.clock import Clock, Timer

LOOK: Final = 1.0  # seconds between looks at who has the domain
#: Seconds without a connection, after which another process is to try whether it reaches the server.
OUT_OF_REACH: Final = 30.0
MARGIN: Final = 1.0  # seconds before the process's row runs out, when the connection ends: others may connect then
ABSTINENCE: Final = 10.0  # seconds for another process to take what was let go of


class Phase(Enum):
    """Where a process stands with a domain."""

    STANDING_BY = "standing by"  # another process has the domain, or it is not known yet who has
    ACTING = "acting"  # the domain is this process's, which keeps the component connected
    LETTING_GO = "letting go"  # the component's connection ends, and the domain is let go of when it has ended
    ABSTAINING = "abstaining"  # the domain was let go of: another process is to take it first
    ENDING = "ending"  # as letting go, and for good
    OVER = "over"  # this process has no part in it: it has not begun, or has ended


class Input(Enum):
    """What can happen."""

    START = "start"
    OURS = "the database says that this process has the domain"
    NOT_OURS = "the database says that another process has the domain, or nobody"
    ROW_OVER = "this process's row is about to run out"
    GIVE_WAY = "it would be better off elsewhere"
    ENDED = "the connection has ended"
    TIME_UP = "time is up"
    STOP = "stop"


class ComponentDuty(Service):
    """`make` returns the component; it is given what tells whether it may act, and ends at once if it may not."""

    log = Logger()

    def __init__(
        self, domain: str, make: Callable[[Callable[[], bool]], Component], among: Among, clock: Clock
    ) -> None:
        self.domain = domain
        self.phase = Phase.OVER
        self._make = make
        self._among = among
        self._clock = clock
        self._component: Component | None = None
        self._holder: Holder | None = None  # as was seen last
        self._reached_at = 0.0  # when the component was connected last, or began
        self._dropped = 0  # by former components
        self._looks = Timer(clock)
        self._abstinence = Timer(clock)
        self._watch = Timer(clock)
        self._over: list[Deferred[None]] = []  # who waits for the end

    # What others ask --------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the server has accepted the component, as this process's."""
        return self._component is not None and self._component.connected

    @property
    def standing_by(self) -> bool:
        """Whether another process is to be connected, not this one."""
        return self._component is None

    @property
    def dropped(self) -> int:
        """How many stanzas went nowhere."""
        return self._dropped + (self._component.dropped if self._component is not None else 0)

    def status(self) -> Mapping[str, object]:
        """Return what the operator is told of it (docs/status.md)."""
        nothing: dict[str, object] = {"connected": False, "resources": 0, "requests": 0, "targets": {}}
        told = nothing if self._component is None else self._component.status()
        holder = self._holder.name if self._holder is not None else None
        return {**told, "domain": self.domain, "holder": holder, "standing_by": self.standing_by}

    def startService(self) -> None:
        """Begin to look: state is open."""
        super().startService()  # type: ignore[no-untyped-call]
        self._happens(Input.START)
        self._look()

    def stopService(self) -> Deferred[None]:
        """Fires when the component's connection has ended. Then the domain is free as soon as the database answers."""
        super().stopService()  # type: ignore[no-untyped-call]
        self._looks.stop()
        over = Deferred[None]()
        self._over.append(over)
        self._happens(Input.STOP)
        return over

    # Looking ----------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """See who has the domain. Who stands by takes it, if nobody has it."""
        takes = self.phase is Phase.STANDING_BY and not (self._among.draining and self._among.others_take)
        domain = self.domain
        looking = self._among.ask(lambda leases: leases.hold(domain) if takes else leases.holder(domain))
        looking.addCallbacks(self._seen, self._not_seen)
        looking.addErrback(lambda failure: self.log.failure("while {domain} was looked for", failure, domain=domain))
        looking.addBoth(lambda _: self._looks.start(LOOK, self._look) if self.running else None)

    def _seen(self, holder: Holder | None) -> None:
        if holder != self._holder and holder is not None and holder.number != self._among.number:
            self.log.info("{domain}: {name} has it, and this process stands by", domain=self.domain, name=holder.name)
        self._holder = holder
        ours = holder is not None and holder.number == self._among.number
        self._happens(Input.OURS if ours else Input.NOT_OURS)
        if self.phase is Phase.ACTING and (why := self._better_elsewhere()):
            self.log.warn("{domain}: let go of, for another process to take: {why}", domain=self.domain, why=why)
            self._happens(Input.GIVE_WAY)

    def _not_seen(self, failure: Failure) -> None:
        """The database does not answer, which is said elsewhere; or this process is over."""
        failure.trap(StateError)
        if failure.check(HeldByAnother):
            self._seen(None)

    def _better_elsewhere(self) -> str:
        """Return why another process had better have the domain, "" if not so."""
        now = self._clock.seconds()
        if self.connected:
            self._reached_at = now
        if not self._among.others_take:
            return ""
        if self._among.draining:
            return "this process is drained"
        unreached = now - self._reached_at
        return f"not connected for {unreached:.0f} s" if unreached >= OUT_OF_REACH else ""

    # What follows -----------------------------------------------------------------------------------------------

    def _happens(self, what: Input) -> None:
        transition = TABLE[self.phase, what]
        if transition.to is not None:
            self.phase = transition.to
        transition.action(self)

    def _stand_by(self) -> None:
        """Look each second, and take the domain when nobody has it."""

    def _begin(self) -> None:
        """Connect the component."""
        self.log.info("{domain}: this process has it, and connects the component", domain=self.domain)
        self._reached_at = self._clock.seconds()
        left = self._among.row_left()
        self._component = self._make(lambda: left() > MARGIN)
        self._component.startService()
        self._watch_over(left)

    def _watch_over(self, left: Callable[[], float]) -> None:
        """End in time, also if the database does not answer."""
        if left() <= MARGIN:
            self._happens(Input.ROW_OVER)
        else:
            self._watch.start(min(left() - MARGIN, LOOK), lambda: self._watch_over(left))

    def _end(self) -> None:
        """End the component's connection: who waits for an answer gets an error."""
        self._watch.stop()
        component = self._component
        assert component is not None, "it has begun"
        ending = maybeDeferred(component.stopService)
        ending.addErrback(lambda failure: self.log.failure("while {domain} ended", failure, domain=self.domain))
        ending.addCallback(lambda _: self._has_ended(component))

    def _has_ended(self, component: Component) -> None:
        self._component = None
        self._dropped += component.dropped
        self._happens(Input.ENDED)

    def _let_go(self) -> None:
        """Have the domain be nobody's, if it is this process's; if that fails, it is as the database says."""
        domain = self.domain
        freeing = self._among.ask(lambda leases: leases.release(domain))
        freeing.addErrback(lambda failure: failure.trap(StateError) and None)
        freeing.addErrback(lambda failure: self.log.failure("while {domain} was let go of", failure, domain=domain))

    def _abstain(self) -> None:
        """Let go of the domain, and take it no more for some seconds."""
        self._let_go()
        self._abstinence.start(ABSTINENCE, lambda: self._happens(Input.TIME_UP))

    def _go_on_ending(self) -> None:
        """Go on with that."""

    def _finish(self) -> None:
        """Let go of the domain, which an answer on its way may make this process's; tell who waits for that."""
        self._abstinence.stop()
        self._let_go()
        self._tell()

    def _tell(self) -> None:
        """Tell who waits for the end."""
        waiting, self._over = self._over, []
        for over in waiting:
            over.callback(None)


class Transition(NamedTuple):
    """What follows."""

    to: Phase | None  # None: the phase stays
    action: Callable[[ComponentDuty], Any]


def _nothing(why: str) -> Transition:
    """The input changes nothing."""

    def nothing(_duty: ComponentDuty) -> None:
        pass

    nothing.__doc__ = f"Nothing: {why}."
    return Transition(None, nothing)


_LATE = _nothing("it was asked for before the last change, which goes on")
_AS_IT_WAS = _nothing("it is so already")
_NO_COMPONENT = _nothing("this process has no component whose connection could end")
_NO_TIMER = _nothing("no time was set")
_AGAIN = _nothing("it has begun already")

#: What is the same at all phases where `_AT` names nothing else.
_ELSEWHERE = {
    Input.START: _AGAIN,
    Input.OURS: _LATE,
    Input.NOT_OURS: _LATE,
    Input.ROW_OVER: _NO_COMPONENT,
    Input.GIVE_WAY: _NO_COMPONENT,
    Input.ENDED: _NO_COMPONENT,
    Input.TIME_UP: _NO_TIMER,
}

_AT = {
    Phase.STANDING_BY: {
        Input.OURS: Transition(Phase.ACTING, ComponentDuty._begin),
        Input.NOT_OURS: _AS_IT_WAS,
        Input.STOP: Transition(Phase.OVER, ComponentDuty._finish),
    },
    Phase.ACTING: {
        Input.OURS: _AS_IT_WAS,
        Input.NOT_OURS: Transition(Phase.LETTING_GO, ComponentDuty._end),
        Input.ROW_OVER: Transition(Phase.LETTING_GO, ComponentDuty._end),
        Input.GIVE_WAY: Transition(Phase.LETTING_GO, ComponentDuty._end),
        Input.STOP: Transition(Phase.ENDING, ComponentDuty._end),
    },
    Phase.LETTING_GO: {
        Input.ENDED: Transition(Phase.ABSTAINING, ComponentDuty._abstain),
        Input.STOP: Transition(Phase.ENDING, ComponentDuty._go_on_ending),
    },
    Phase.ABSTAINING: {
        Input.TIME_UP: Transition(Phase.STANDING_BY, ComponentDuty._stand_by),
        Input.STOP: Transition(Phase.OVER, ComponentDuty._finish),
    },
    Phase.ENDING: {
        Input.ENDED: Transition(Phase.OVER, ComponentDuty._finish),
        Input.STOP: _AGAIN,
    },
    Phase.OVER: {
        Input.START: Transition(Phase.STANDING_BY, ComponentDuty._stand_by),
        Input.STOP: Transition(None, ComponentDuty._tell),
    },
}

TABLE: dict[tuple[Phase, Input], Transition] = {
    (phase, what): _AT[phase].get(what) or _ELSEWHERE[what] for phase in Phase for what in Input
}
