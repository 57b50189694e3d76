"""A stream that is cut again and again, at a server that lets it be resumed: nothing is lost, nothing comes twice."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.accountstream import resuming_rules
from minimixproxy.accountstream.errors import CannotOpen
from minimixproxy.accountstream.phases import Phase
from minimixproxy.accountstream.stream import AccountStream, StreamOptions
from minimixproxy.c2s.upstream.sending import WINDOW
from minimixproxy.minimix.subprotocols.subprotocol import ByName, Subprotocol
from minimixproxy.namespaces import NS_SM3
from minimixproxy.timing.backoff import LASTING
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.stream_management import REQUEST, Enabled, acknowledgement
from tests.accountstream.places import Places
from tests.examples import examples
from tests.minimix.fakes import BARE, STREAM, split
from tests.minimix.upstreams import Upstream

LARGE = "x" * (WINDOW // 2)


def message(number: int, *, large: bool = False) -> str:
    return f"<message id='{number}'><body>{LARGE if large else ''}</body></message>"


class Disk:
    """Calls wait for it while it is slow."""

    def __init__(self) -> None:
        self.slow = False
        self.waiting: deque[Callable[[], None]] = deque()

    def __call__(self, call: Callable[[], None]) -> None:
        if self.slow or self.waiting:
            self.waiting.append(call)
        else:
            call()

    def write(self, count: int) -> None:
        for _ in range(min(count, len(self.waiting))):
            self.waiting.popleft()()


class Hears(Subprotocol):
    """Notes what is said on the stream, and what becomes of it."""

    query = ByName("message")

    def __init__(self, disk: Disk) -> None:
        super().__init__(BARE)
        self.heard: list[int] = []
        self.on_disk: list[int] = []  # it need not hear these again if the proxy is killed
        self._disk = disk
        self.made = 0
        self.returned: list[int] = []

    def connectionMade(self) -> None:
        self.made += 1

    def received(self, stanza: Stanza) -> None:
        number = int(stanza["id"])
        self.heard.append(number)
        self._disk(lambda: self.on_disk.append(number))

    def not_sent(self, answer: Stanza) -> None:
        self.returned.append(int(answer["id"]))


class Ends:
    """An account stream, and the server at its other end, which keeps the stream when it is cut."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.upstream = Upstream()
        self.disk = Disk()
        options = StreamOptions(ping_interval=1e9, on_disk=self.disk)
        slots = Places()
        self.stream = AccountStream(BARE, self.upstream, self.clock, slots, options, lambda: 0.5)
        self.hears = Hears(self.disk)
        self.hears.setHandlerParent(self.stream)
        self.sent = 0
        self.arrived = 0  # how many of those that were sent the stream knows to have arrived
        self.said = 0
        self.heard: list[int] = []  # by the server
        self.unacknowledged: deque[tuple[int, str]] = deque()
        self.wire: deque[Stanza] = deque()  # to the server
        self.to_stream: deque[str] = deque()  # from it
        self.acknowledged = 0
        self.stream.reopen()
        self.upstream.accept(enabled=Enabled("id", None, ""))

    # The proxy

    def send(self, *, large: bool = False) -> None:
        self.stream.send(message(self.sent, large=large).encode())
        number = self.sent
        self.sent += 1
        self.stream.when_acknowledged(lambda: self.note_arrived(number))

    def note_arrived(self, number: int) -> None:
        assert self.arrived == number, "in order, each once"
        self.arrived += 1

    # The server

    @property
    def connected(self) -> bool:
        return self.stream._life.phase in (Phase.OPEN, Phase.CONGESTED)

    def says(self, *, asks: bool) -> None:
        """Something new goes to the stream; on its way it may be lost."""
        text = message(self.said)
        self.unacknowledged.append((self.said, text))
        self.said += 1
        if self.connected:
            self.to_stream.append(text)
            if asks:
                self.to_stream.append(REQUEST.decode())

    def reads(self, count: int) -> None:
        """The server handles what has come, in order."""
        self.wire.extend(split(self.upstream.take()))
        for _ in range(min(count, len(self.wire))):
            self.takes(self.wire.popleft())

    def takes(self, stanza: Stanza) -> None:
        if stanza.uri != NS_SM3:
            self.heard.append(int(stanza["id"]))
        elif stanza.name == "r":
            self.to_stream.append(acknowledgement(len(self.heard)).decode())
        elif stanza.name == "a":
            self.learns(int(stanza["h"]))

    def learns(self, h: int) -> None:
        """The stream has handled so many: the server forgets them."""
        assert self.acknowledged <= h <= self.said, h
        assert h <= len(self.hears.on_disk), "ahead of the disk"
        while self.acknowledged < h:
            self.acknowledged += 1
            self.unacknowledged.popleft()

    def delivers(self, count: int) -> None:
        """What the server has sent arrives."""
        for _ in range(min(count, len(self.to_stream))):
            if self.connected:
                self.upstream.says(self.to_stream.popleft())

    def cut(self) -> None:
        """What is on its way is lost."""
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.connectionLost(Failure(ConnectionDone()))
        self.upstream.take()
        self.wire.clear()
        self.to_stream.clear()

    def resumes(self, *, answered: bool = True, behind: bool = True) -> None:
        """A login has come so far that the stream is asked for; the answer may be lost."""
        self.clock.advance(10)
        self.goes_on(answered=answered, behind=behind)

    def goes_on(self, *, answered: bool = True, behind: bool = True) -> None:
        """If it has come so far already."""
        resumable = self.upstream.resumable
        if self.connected or resumable is None or not self.upstream.attempts:
            return
        previd, h = resumable.resuming()
        assert previd == "id"
        self.learns(h)
        if not answered:
            self.upstream.attempts.pop().errback(CannotOpen("cut"))
            return
        resumable.resumed(len(self.heard))
        again = [text for _number, text in self.unacknowledged]
        self.upstream.accept(resumed=True, behind="".join(again).encode() if behind else b"")
        if not behind:
            self.to_stream.extend(again)


class Cuts(RuleBasedStateMachine):
    """Both say things, at any time; the disk is slow; the connection breaks, and the stream is resumed."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = Ends()

    @rule(large=st.booleans())
    def send(self, large: bool) -> None:
        self.ends.send(large=large)

    @rule(asks=st.booleans())
    def say(self, asks: bool) -> None:
        self.ends.says(asks=asks)

    @rule(count=st.integers(1, 10))
    def read(self, count: int) -> None:
        self.ends.reads(count)

    @rule(count=st.integers(1, 10))
    def deliver(self, count: int) -> None:
        self.ends.delivers(count)

    @rule(slow=st.booleans())
    def disk_changes(self, slow: bool) -> None:
        self.ends.disk.slow = slow

    @rule(count=st.integers(1, 10))
    def write(self, count: int) -> None:
        self.ends.disk.write(count)

    @precondition(lambda self: self.ends.connected)
    @rule()
    def cut(self) -> None:
        self.ends.cut()

    @precondition(lambda self: not self.ends.connected)
    @rule(answered=st.booleans(), behind=st.booleans())
    def resume(self, answered: bool, behind: bool) -> None:
        self.ends.resumes(answered=answered, behind=behind)

    @invariant()
    def all_in_order(self) -> None:
        ends = self.ends
        assert ends.heard == list(range(len(ends.heard)))
        assert ends.hears.heard == list(range(len(ends.hears.heard)))
        assert ends.arrived <= len(ends.heard)
        assert ends.hears.made == 1, "handlers notice nothing"
        assert ends.stream.jid == STREAM

    def teardown(self) -> None:
        """In the end all has come to where it belongs."""
        ends = self.ends
        ends.disk.slow = False
        for _round in range(100):
            ends.disk.write(100)
            if not ends.connected:
                ends.resumes()
            ends.reads(100)
            ends.delivers(100)
            if len(ends.heard) == ends.sent == ends.arrived and len(ends.hears.heard) == ends.said:
                break
        assert len(ends.heard) == ends.sent == ends.arrived
        assert len(ends.hears.heard) == ends.said
        assert ends.hears.returned == []


class ResumingTests(SynchronousTestCase):
    def test_any_course_of_things(self) -> None:
        self.patch(resuming_rules, "RESUMING_TIMEOUT", 1e9)
        run_state_machine_as_test(Cuts, settings=settings(max_examples=examples(100), stateful_step_count=60))

    def test_resumed_and_cut_again(self) -> None:
        """Each time costs a login, whatever the server says in between: so it is done every two seconds."""
        ends = Ends()
        ends.clock.advance(60)
        resumed = 0
        for _ in range(600):
            if ends.connected:
                ends.says(asks=False)
                ends.delivers(1)
                ends.cut()
            if ends.upstream.attempts:
                resumed += 1
                ends.goes_on()
            ends.clock.advance(0.1)
        self.assertIn(resumed, range(20, 40))
        while not ends.upstream.attempts:
            ends.clock.advance(1)
        ends.goes_on()
        ends.clock.advance(LASTING)
        ends.says(asks=False)
        ends.delivers(1)
        ends.cut()
        self.assertEqual(len(ends.upstream.attempts), 1)
