"""Two ends of a stream that is cut again and again: nothing is lost, nothing comes twice, the order stays."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.stream_management.handled import Handled
from minimixproxy.stream_management.unacknowledged import MODULUS, Unacknowledged
from tests.examples import examples

NEAR_THE_END = MODULUS - 5  # so that numbers begin anew in the middle


class End:
    """One end: what it sends is in `wire` until the other end reads it."""

    def __init__(self) -> None:
        self.unacknowledged = Unacknowledged()
        self.unacknowledged.acknowledged = NEAR_THE_END
        self.handled = Handled()
        self.handled.received = NEAR_THE_END
        self.said: list[bytes] = []
        self.heard: list[bytes] = []
        self.holds: list[Callable[[], None]] = []
        self.wire: deque[bytes | int] = deque()


class Cuts(RuleBasedStateMachine):
    """Both ends send, handle now or later, acknowledge; the connection is cut, and resumed."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = (End(), End())
        self.connected = True

    @rule(which=st.booleans())
    def send(self, which: bool) -> None:
        end = self.ends[which]
        stanza = b"%d" % len(end.said)
        end.said.append(stanza)
        end.unacknowledged.add(stanza)
        if self.connected:
            end.wire.append(stanza)

    @precondition(lambda self: self.connected)
    @rule(which=st.booleans(), later=st.booleans())
    def read(self, which: bool, later: bool) -> None:
        end, other = self.ends[which], self.ends[not which]
        if not other.wire:
            return
        what = other.wire.popleft()
        if isinstance(what, int):
            end.unacknowledged.arrived(what)
            return
        if not end.handled.receive():
            return
        end.heard.append(what)
        if later:
            end.holds.append(end.handled.hold())

    @rule(which=st.booleans(), data=st.data())
    def finish(self, which: bool, data: st.DataObject) -> None:
        end = self.ends[which]
        if end.holds:
            end.holds.pop(data.draw(st.integers(0, len(end.holds) - 1)))()

    @precondition(lambda self: self.connected)
    @rule(which=st.booleans())
    def acknowledge(self, which: bool) -> None:
        self.ends[which].wire.append(self.ends[which].handled.h)

    @precondition(lambda self: self.connected)
    @rule()
    def cut(self) -> None:
        """What was on its way is lost."""
        self.connected = False
        for end in self.ends:
            end.wire.clear()

    @precondition(lambda self: not self.connected)
    @rule()
    def resume(self) -> None:
        """Each end tells how much it has handled, and is told again what it has heard behind that."""
        self.connected = True
        for end, other in (self.ends, self.ends[::-1]):
            other.handled.resume()
            end.unacknowledged.arrived(other.handled.h)
            end.wire.extend(end.unacknowledged)

    @invariant()
    def all_in_order(self) -> None:
        for end, other in (self.ends, self.ends[::-1]):
            assert end.heard == other.said[: len(end.heard)]
            assert end.unacknowledged.sent - NEAR_THE_END == len(end.said)
            assert end.unacknowledged.size == sum(map(len, end.unacknowledged))
            assert (other.handled.h - NEAR_THE_END) % MODULUS <= len(end.said)
            assert end.unacknowledged.acknowledged - NEAR_THE_END <= (other.handled.h - NEAR_THE_END) % MODULUS


class BothEndsTests(SynchronousTestCase):
    def test_any_course_of_things(self) -> None:
        run_state_machine_as_test(Cuts, settings=settings(max_examples=examples(100)))
