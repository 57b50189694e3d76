"""The table of an account stream's life, walked: by its entries, and at random from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.accountstream.attempt import Opened, Resumable
from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.accountstream.lifecycle import TABLE
from minimixproxy.accountstream.lifecycle_rules import LONGEST_URGENT_WAIT, MAX_QUEUED, OPENING_TIMEOUT
from minimixproxy.accountstream.managed_stream import MAX_BYTES
from minimixproxy.accountstream.phases import Input, Phase, StreamState
from minimixproxy.accountstream.resuming_rules import LEAVING_TIMEOUT, RESUMING_TIMEOUT
from minimixproxy.accountstream.stream import FIRST_WAIT, LONGEST_WAIT, AccountStream, StreamOptions
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.stream_management import Enabled
from tests.accountstream.places import Places
from tests.examples import examples
from tests.minimix.fakes import BARE, HEADER, STREAM
from tests.minimix.upstreams import SilentServer, Upstream

PING_INTERVAL = 30.0
PIECE = b"<message>%b</message>" % (b"x" * 65536)
MANAGED = Enabled("id", 30, "")


class Walker:
    """A stream and all around it; the only slot can be taken by another stream, whose server is silent."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.upstream = Upstream()
        self.slots = Places(1)
        self.enabled: Enabled | None = MANAGED
        self.called: list[str] = []
        self.producers: list[IPushProducer] = []  # of all connections, former ones too
        self.other = AccountStream("other@b", SilentServer(), self.clock, self.slots, random=lambda: 0.5)
        self.stream = AccountStream(
            BARE, self.upstream, self.clock, self.slots, StreamOptions(PING_INTERVAL), lambda: 0.5
        )
        for name in ("opened", "resumed", "lost", "refused"):
            setattr(self.stream, name, lambda name=name: self.called.append(name))
        self.life = self.stream._life
        self.happened: list[tuple[Phase, Input]] = []
        happens = self.life.happens

        def noted(what: Input, with_it: Any = None) -> Any:
            self.happened.append((self.life.phase, what))
            return happens(what, with_it)

        self.life.happens = noted  # type: ignore[method-assign]

    def fail(self, error: Exception) -> None:
        if self.upstream.attempts:
            self.upstream.attempts.pop().errback(error)

    def send(self) -> None:
        self.stream.send(b"<message/>")

    def fill(self) -> None:
        for _ in range(max(MAX_QUEUED, MAX_BYTES) // len(PIECE) + 1):
            self.stream.send(PIECE)

    def connect(self, enabled: Enabled | None = None, *, resumed: bool = False) -> None:
        if self.upstream.attempts:
            self.upstream.accept(enabled=enabled, resumed=resumed)
            producer = self.upstream.transport.producer
            if producer is not None:
                self.producers.append(producer)

    def former(self) -> None:
        """Transports of connections that are done with tell that their servers do not read, and then that they do."""
        for producer in self.producers:
            if producer is not self.life.connection:
                producer.pauseProducing()
                producer.resumeProducing()

    def read(self, *, all_of_it: bool) -> None:
        producer = self.upstream.transport.producer
        if producer is not None:
            (producer.resumeProducing if all_of_it else producer.pauseProducing)()

    def resume(self) -> None:
        """The server goes on with the stream, if that is asked for."""
        if self.upstream.resumable is not None:
            self.connect(resumed=True)

    def close_in_order(self) -> None:
        """The server ends the stream: it cannot be resumed."""
        if self.upstream.xmlstream is not None and self.life.connection is not None:
            self.upstream.says("</stream:stream>")
            self.end()

    def end(self) -> None:
        if self.upstream.xmlstream is not None:
            self.upstream.xmlstream.connectionLost(Failure(ConnectionDone()))

    def time_up(self) -> None:
        calls = self.clock.getDelayedCalls()
        if calls:
            self.clock.advance(max(0.0, calls[0].getTime() - self.clock.seconds()))

    def fail_once(self) -> None:
        self.stream.reopen()
        self.fail(CannotOpen("not now"))

    def to(self, phase: Phase) -> None:
        """Come to a phase from the beginning, by what others may do and the server does."""
        for act in WAYS[phase]:
            act(self)
        assert self.life.phase is phase, self.life.phase
        self.called.clear()
        self.happened.clear()


Act = Callable[[Walker], object]


def reopen(walker: Walker) -> None:
    walker.stream.reopen()


def refuse(walker: Walker) -> None:
    walker.stream.refuse()


def take_slot(walker: Walker) -> None:
    walker.other.reopen()


def not_read(walker: Walker) -> None:
    walker.read(all_of_it=False)


def managed(walker: Walker) -> None:
    walker.connect(walker.enabled)
    walker.upstream.says("<message/>")


def breaks_again(walker: Walker) -> None:
    """It breaks at once after it was resumed, and nothing was said meanwhile."""
    walker.end()
    walker.resume()
    walker.end()


WAYS: dict[Phase, tuple[Act, ...]] = {
    Phase.CLOSED: (),
    Phase.WAITING: (Walker.fail_once, reopen),
    Phase.HURRYING: (Walker.fail_once, Walker.send),
    Phase.IN_LINE: (take_slot, reopen),
    Phase.FIRST_IN_LINE: (take_slot, Walker.send),
    Phase.OPENING: (reopen,),
    Phase.OPEN: (reopen, managed),
    Phase.CONGESTED: (reopen, managed, not_read),
    Phase.BROKEN: (reopen, managed, breaks_again),
    Phase.TO_RESUME: (reopen, managed, take_slot, Walker.end),
    Phase.RESUMING: (reopen, managed, Walker.end),
    Phase.LEAVING: (reopen, managed, Walker.end, lambda walker: walker.stream.close()),
    Phase.REFUSED: (refuse,),
    Phase.TELLING: (refuse, Walker.send),
}

#: How each input comes about, from outside.
HAPPENS: dict[Input, Act] = {
    Input.SEND: Walker.send,
    Input.REOPEN: reopen,
    Input.MENDED: lambda walker: walker.stream.mended(),
    Input.REFUSE: refuse,
    Input.CLOSE: lambda walker: walker.stream.close(),
    Input.TIME_UP: Walker.time_up,
    Input.SLOT: lambda walker: walker.other.close(),
    Input.CONNECTED: Walker.connect,
    Input.CANNOT_OPEN: lambda walker: walker.fail(CannotOpen("not now")),
    Input.CREDENTIAL_REFUSED: lambda walker: walker.fail(CredentialRefused("not-authorized")),
    Input.RESUMED: Walker.resume,
    Input.ENDED: Walker.close_in_order,
    Input.BROKEN: Walker.end,
    Input.FULL: not_read,
    Input.DRAINED: lambda walker: walker.read(all_of_it=True),
    Input.TOO_MUCH: Walker.fill,
}

#: What else may happen.
OTHERWISE: dict[str, Act] = {"a slot is taken": take_slot, "of a former connection": Walker.former}

RESUMABLE = {Phase.BROKEN, Phase.TO_RESUME, Phase.RESUMING}
TIMED = {Phase.WAITING, Phase.HURRYING, Phase.OPENING, Phase.TELLING, Phase.LEAVING} | RESUMABLE
CONNECTED = {Phase.OPEN, Phase.CONGESTED}
SLOTTED = {Phase.IN_LINE, Phase.FIRST_IN_LINE, Phase.OPENING, Phase.TO_RESUME, Phase.RESUMING}
QUEUING = {Phase.HURRYING, Phase.FIRST_IN_LINE, Phase.OPENING}
#: Which phases do not end by themselves: to send leads on from them.
AT_REST = {Phase.CLOSED, Phase.REFUSED}
NOBODY_WAITS = AT_REST | {Phase.LEAVING}


def does(kind: str, phase: Phase, what: Input) -> bool:
    """Whether a transition is of the kind "impossible", or "nothing"."""
    to, action = TABLE[phase, what]
    return to is None and action.__name__ == kind


class LifecycleTest(SynchronousTestCase):
    def holds(self, walker: Walker, where: str) -> None:
        """What a stream has is what its phase says, and nothing beside it."""
        life, phase = walker.life, walker.life.phase
        self.assertEqual(life._timer.running, phase in TIMED, where)
        self.assertEqual(life.connection is not None, phase in CONNECTED, where)
        self.assertEqual(bool(walker.stream.jid), phase in CONNECTED | RESUMABLE, where)
        self.assertEqual(life._slot is not None, phase in SLOTTED, where)
        self.assertEqual(life._attempt is not None, phase in (Phase.OPENING, Phase.RESUMING, Phase.LEAVING), where)
        if phase not in CONNECTED:
            self.assertEqual(life.managed is not None, phase in RESUMABLE | {Phase.LEAVING}, where)
        self.assertIsNone(life._bound, where)
        if phase not in QUEUING:
            self.assertEqual((life._queue, life._waiting), ([], []), where)
        if phase not in QUEUING | {Phase.CONGESTED}:
            self.assertEqual(life.queued, 0, where)
        self.assertLessEqual(life.queued, MAX_QUEUED, where)
        if life.managed is not None:
            self.assertLessEqual(life.managed.unacknowledged.size, MAX_BYTES, where)


class Table(LifecycleTest):
    def test_every_input_at_every_stage(self) -> None:
        self.assertEqual(set(TABLE), {(phase, what) for phase in Phase for what in Input})
        silent = [key for key, (_to, action) in TABLE.items() if not action.__doc__]
        self.assertEqual(silent, [], "no word on what is done, or why it is not")

    def test_each_transition(self) -> None:
        """What happens outside leads where the table says, or further if that is over at once."""
        for (phase, what), transition in TABLE.items():
            if does("impossible", phase, what):
                continue
            where = f"{what.name} at {phase.name}"
            walker = Walker()
            walker.to(phase)
            HAPPENS[what](walker)
            self.assertIn((phase, what), walker.happened, where)
            follows = walker.happened.index((phase, what)) + 1
            phases = [at for at, _what in walker.happened] + [walker.life.phase]
            self.assertIs(phases[follows], transition.to or phase, where)
            self.holds(walker, where)

    def test_what_changes_nothing(self) -> None:
        for phase, what in TABLE:
            if does("nothing", phase, what):
                walker = Walker()
                walker.to(phase)
                pending = walker.clock.getDelayedCalls()
                HAPPENS[what](walker)
                where = f"{what.name} at {phase.name}"
                self.assertEqual((walker.life.phase, walker.called), (phase, []), where)
                self.assertEqual(walker.clock.getDelayedCalls(), pending, where)

    def test_what_cannot_happen(self) -> None:
        """Nothing outside brings it about; if a fault of ours does, that is logged and changes nothing."""
        for phase, what in TABLE:
            if not does("impossible", phase, what):
                continue
            where = f"{what.name} at {phase.name}"
            walker = Walker()
            walker.to(phase)
            if what is not Input.REFUSE:  # only `Accounts` sees to that
                HAPPENS[what](walker)
                self.assertEqual(self.flushLoggedErrors(AssertionError), [], where)
                self.holds(walker, where)
            walker = Walker()
            walker.to(phase)
            walker.life.happens(what)
            self.assertEqual(len(self.flushLoggedErrors(AssertionError)), 1, where)
            self.assertEqual((walker.life.phase, walker.called), (phase, []), where)
            self.holds(walker, where)

    def test_each_stage_is_come_to_and_left(self) -> None:
        for phase in Phase:
            walker = Walker()
            walker.to(phase)
            self.holds(walker, phase.name)
            walker.stream.close()
            walker.clock.advance(3600)
            refused = walker.stream.state is StreamState.REFUSED
            self.assertEqual(refused, phase.shown is StreamState.REFUSED, phase.name)
            self.assertIn(walker.life.phase, AT_REST, phase.name)
            self.assertEqual(walker.called, [], "closing calls nothing")
            walker.other.close()
            self.assertEqual(walker.clock.getDelayedCalls(), [], phase.name)


class Waiting(LifecycleTest):
    """Whoever waits gets an answer in bounded time, also if the server never says a word."""

    ANSWERS = ("opened", "lost", "refused")

    def unmanaged(self, phase: Phase) -> Walker:
        """Come to a phase, at a server without stream management if it can be come to so."""
        walker = Walker()
        if phase not in RESUMABLE | {Phase.LEAVING}:
            walker.enabled = None
        walker.to(phase)
        return walker

    def answered(self, walker: Walker) -> float:
        """After how many seconds somebody was told how it went."""
        begin = walker.clock.seconds()
        while not walker.called:
            self.assertNotEqual(walker.clock.getDelayedCalls(), [], f"waits for ever at {walker.life.phase}")
            walker.time_up()
            self.assertLess(walker.clock.seconds() - begin, 3600, f"waits for ever at {walker.life.phase}")
        self.assertIn(walker.called[0], self.ANSWERS)
        return walker.clock.seconds() - begin

    def test_who_sends(self) -> None:
        """At most: a short wait, one silent stream before us, and then our own."""
        for phase in Phase:
            walker = self.unmanaged(phase)
            walker.send()
            bound = LONGEST_URGENT_WAIT + 2 * OPENING_TIMEOUT
            if phase in RESUMABLE:
                bound = RESUMING_TIMEOUT + OPENING_TIMEOUT
            self.assertLessEqual(self.answered(walker), bound, phase.name)

    def test_who_waits_already(self) -> None:
        for phase in set(Phase) - NOBODY_WAITS - RESUMABLE:
            walker = self.unmanaged(phase)
            self.assertLessEqual(self.answered(walker), 1.5 * LONGEST_WAIT + 2 * OPENING_TIMEOUT, phase.name)

    def test_how_long(self) -> None:
        """Each phase has its own bound."""
        bounds = {
            Phase.WAITING: FIRST_WAIT + OPENING_TIMEOUT,
            Phase.HURRYING: FIRST_WAIT + OPENING_TIMEOUT,
            Phase.IN_LINE: 2 * OPENING_TIMEOUT,
            Phase.FIRST_IN_LINE: 2 * OPENING_TIMEOUT,
            Phase.OPENING: OPENING_TIMEOUT,
            Phase.OPEN: 2 * PING_INTERVAL,
            Phase.CONGESTED: 2 * PING_INTERVAL,
            Phase.TELLING: 0.0,
        }
        self.assertEqual(set(bounds), set(Phase) - NOBODY_WAITS - RESUMABLE)
        for phase, bound in bounds.items():
            walker = self.unmanaged(phase)
            self.assertAlmostEqual(self.answered(walker), bound, 1, phase.name)

    def test_how_long_it_is_tried_to_resume(self) -> None:
        """As long as the server keeps the stream, if that is not too long; and the last attempt comes to its end."""
        for kept, bound in ((None, RESUMING_TIMEOUT), (600, RESUMING_TIMEOUT), (100, 100.0), (0, 0.0)):
            for phase in RESUMABLE | CONNECTED if kept != 0 else {Phase.BROKEN}:
                walker = Walker()
                walker.enabled = Enabled("id", kept, "")
                walker.to(phase if kept != 0 else Phase.OPEN)
                if kept == 0:
                    walker.end()
                seconds = self.answered(walker)
                where = f"{phase.name}, kept for {kept} s"
                self.assertGreaterEqual(seconds, bound - 1, where)
                noticed = 2 * PING_INTERVAL if phase in CONNECTED else 0.0
                self.assertLessEqual(seconds, noticed + bound + OPENING_TIMEOUT, where)
                self.assertEqual((walker.called, walker.life.phase), (["lost"], Phase.CLOSED), where)

    def test_how_long_it_is_tried_to_leave(self) -> None:
        walker = Walker()
        walker.to(Phase.LEAVING)
        walker.clock.advance(LEAVING_TIMEOUT)
        self.assertEqual((walker.life.phase, walker.called), (Phase.CLOSED, []))

    def test_a_hurry_shortens_a_long_wait(self) -> None:
        walker = Walker()
        self.patch(walker.stream, "lost", walker.stream.reopen)
        walker.stream.reopen()
        for _ in range(7):
            walker.fail(CannotOpen("not now"))
            walker.time_up()
        walker.fail(CannotOpen("not now"))
        self.assertEqual(walker.stream.opens_in, LONGEST_WAIT)
        walker.send()
        self.assertEqual((walker.life.phase, walker.stream.opens_in), (Phase.HURRYING, LONGEST_URGENT_WAIT))

    def test_who_hurries_is_first(self) -> None:
        """One that was patient and then is not, too."""
        walker = Walker()
        first, patient = (AccountStream(BARE, SilentServer(), walker.clock, walker.slots) for _ in range(2))
        first.reopen()
        patient.reopen()
        walker.stream.reopen()
        walker.send()
        first.close()
        walker.clock.advance(1)
        self.assertEqual((walker.stream.state, patient.state), (StreamState.OPENING, StreamState.WAITING))


class AtRandom(LifecycleTest):
    @settings(max_examples=examples(150))
    @given(
        st.lists(st.sampled_from([what.name for what in Input if what is not Input.REFUSE] + [*OTHERWISE]), max_size=40)
    )
    def test_whatever_happens(self, happening: list[str]) -> None:
        """Also what comes too late: of a connection that is done with, of an attempt that was stopped."""
        walker = Walker()
        self.patch(walker.stream, "lost", walker.stream.reopen)
        for what in happening:
            (OTHERWISE.get(what) or HAPPENS[Input[what]])(walker)
            self.holds(walker, f"{what} in {happening}")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_a_stream_that_comes_too_late(self) -> None:
        """An attempt that could not be stopped brings one: it is dropped."""
        clock, upstream = Clock(), Upstream()

        async def connect(_resumable: Resumable | None = None) -> Opened:
            try:
                await Deferred()
            except CancelledError:
                return await upstream.connect()
            raise AssertionError

        login = SilentServer()
        login.open = connect  # type: ignore[method-assign,assignment]
        stream = AccountStream(BARE, login, clock, Places(1))
        stream.reopen()
        stream.close()
        upstream.accept()
        self.assertTrue(upstream.transport.aborted)
        self.assertIs(stream.state, StreamState.CLOSED)

    def test_who_resumes_goes_before_who_is_in_no_hurry(self) -> None:
        """The server keeps its stream for some minutes only."""
        walker, began = Walker(), list[str]()
        walker.to(Phase.OPEN)
        take_slot(walker)
        walker.slots.turn(lambda: began.append("patient")).ask()
        walker.end()
        self.assertIs(walker.life.phase, Phase.TO_RESUME)
        walker.other.close()
        self.assertEqual((walker.life.phase, began), (Phase.RESUMING, []))

    def test_a_fault_of_ours_when_it_opens(self) -> None:
        """What the server says is heard all the same."""
        walker = Walker()

        def opened() -> None:
            raise RuntimeError("a fault")

        self.patch(walker.stream, "opened", opened)
        walker.stream.reopen()
        xmlstream = FramedXmlStream(Authenticator())
        xmlstream.sink = xmlstream.keep()
        xmlstream.makeConnection(walker.upstream.transport)
        xmlstream.dataReceived(HEADER + b"<a></b>")
        walker.upstream.attempts.pop().callback(Opened(xmlstream, STREAM))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(
            (walker.stream.state, walker.called), (StreamState.CLOSED, ["lost"]), "broken, and that is heard"
        )
