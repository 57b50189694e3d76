"""Sessions whose connections on both sides are cut again and again, at any byte: nothing lost, nothing twice, in order.

The model ends (see `model_ends`) read and acknowledge when they like; the account takes some stanzas and gives others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.errors import UpstreamUnreachable
from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.c2s.helpers import BIND, BOUND, SERVER_FEATURES, Lab
from tests.c2s.session.both_ends import END, NS, End, stanza
from tests.c2s.session.model_ends import TAKEN, Account, ModelClient, ModelServer
from tests.examples import examples

SOME = st.sampled_from((10_000, 10_000, 45, 20, 1))  # bytes: all, or a few
FLOWS = st.sampled_from((10_000, 10_000, 0, 20))


class Cuts(RuleBasedStateMachine):
    """One session, with both ends of it."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.lab = lab = Lab(directory)
        self.account = lab.accounts.account = Account()
        self.client, self.server = ModelClient(lab), ModelServer()
        self.count = 0
        self.said: list[str] = []  # by the client, once each
        self.begin()

    def begin(self) -> None:
        lab_client = self.client.connect()
        lab_client.log_in(features=SERVER_FEATURES)
        lab_client.send(BIND)
        lab_client.serve(BOUND + b"<enabled %b id='up' resume='true' max='100000'/>" % NS)
        self.session = self.lab.accounts.bound[-1]
        answer = lab_client.send(b"<enable %b resume='true'/>" % NS)
        self.client.previd = answer.split(b" id='")[1].split(b"'")[0]
        assert lab_client.server is not None
        self.server.join(lab_client.server, lab_client.upstream)
        lab_client.upstream.take()
        lab_client.wire.take()

    def name(self, kind: str, taken: bool) -> str:
        self.count += 1
        return f"{TAKEN if taken else kind}{self.count}"

    # What is said -------------------------------------------------------------------------------------------------

    @rule(server=st.booleans(), taken=st.lists(st.booleans(), min_size=1, max_size=3), size=FLOWS)
    def says(self, server: bool, taken: list[bool], size: int) -> None:
        for one in taken:
            name = self.name("s" if server else "c", one)
            if server:
                self.server.say(name)
            else:
                self.said.append(name)
                self.client.say(name)
        self.flows(server, size)

    @rule(lazy=st.integers(0, 3))
    def account_gives(self, lazy: int) -> None:
        names = [self.name("a", False) for _ in range(lazy or 1)]
        self.account.expected += names
        if lazy:
            self.session.deliver_all(LazyStanzas(lazy, iter(map(stanza, names))))
        else:
            self.session.deliver(stanza(names[0]))

    @rule(server=st.booleans(), size=FLOWS)
    def asks(self, server: bool, size: int) -> None:
        (self.server if server else self.client).ask()
        self.flows(server, size)

    @rule(server=st.booleans(), size=FLOWS)
    def acknowledges(self, server: bool, size: int) -> None:
        (self.server if server else self.client).acknowledge()
        self.flows(server, size)

    # What is on its way -------------------------------------------------------------------------------------------

    @rule(server=st.booleans(), size=SOME)
    def flows(self, server: bool, size: int) -> None:
        end = self.server if server else self.client
        if end.link is not None:
            end.link.flow(size)

    @rule(server=st.booleans(), size=SOME)
    def reads(self, server: bool, size: int) -> None:
        (self.server if server else self.client).read(size)

    @rule(server=st.booleans(), slow=st.booleans())
    def is_slow(self, server: bool, slow: bool) -> None:
        link = (self.server if server else self.client).link
        if link is not None and link.stands and link.wire.producer is not None:
            if slow:
                link.wire.push_producer.pauseProducing()
            else:
                link.wire.push_producer.resumeProducing()

    @rule(seconds=st.sampled_from((0, 0, 0.5, 2, 50)))
    def time_goes_by(self, seconds: float) -> None:
        self.lab.clock.advance(seconds)

    # Cuts ---------------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.client.connected)
    @rule(size=FLOWS)
    def client_is_cut(self, size: int) -> None:
        self.cut(self.client)
        if size:
            self.client_comes_back(forgetful=False, size=size)

    @precondition(lambda self: self.server.connected)
    @rule(size=FLOWS)
    def server_is_cut(self, size: int) -> None:
        self.cut(self.server)
        if size:
            self.lab.clock.advance(0)
            self.server_comes_back(refused=False, size=size)

    def cut(self, end: End) -> None:
        assert end.link is not None
        link, end.link, end.questions = end.link, None, 0
        link.cut()
        end.resumes = True

    @precondition(lambda self: self.client.connected)
    @rule(size=FLOWS)
    def client_changes_its_network(self, size: int) -> None:
        self.client.leave()
        self.client.resumes = True
        if size:
            self.client_comes_back(forgetful=False, size=size)

    @precondition(lambda self: self.client.left)
    @rule(size=SOME, gone=st.booleans())
    def what_it_left(self, size: int, gone: bool) -> None:
        if gone:
            self.client.left.pop(0).cut()
        else:
            self.client.left[0].flow(size)

    @precondition(lambda self: not self.client.connected)
    @rule(forgetful=st.booleans(), size=FLOWS)
    def client_comes_back(self, forgetful: bool, size: int) -> None:
        self.client.forgetful = self.client.forgetful or forgetful
        self.client.resume()
        self.flows(False, size)

    @precondition(lambda self: not self.server.connected)
    @rule(refused=st.booleans(), size=FLOWS)
    def server_comes_back(self, refused: bool, size: int) -> None:
        waiting = self.waiting
        if refused and waiting is not None:
            waiting.errback(UpstreamUnreachable("refused"))
        elif waiting is not None:
            waiting.callback(self.server.accept(self.lab))
            self.flows(True, size)

    @property
    def waiting(self) -> Deferred[FramedXmlStream] | None:
        """The proxy's attempt to go on with the stream."""
        return next((waiting for _login, waiting in self.lab.logins if not waiting.called), None)

    # What holds ---------------------------------------------------------------------------------------------------

    @invariant()
    def what_was_written(self) -> None:
        for end, handled in ((self.client, self.of_client), (self.server, self.of_server)):
            if end.link is not None:
                end.written(handled)
                if end.link.wire.disconnected:
                    self.cut(end)
        for link in self.client.left:
            link.wire.take()
            if link.wire.disconnected:
                link.cut()

    def of_client(self, name: str) -> bool:
        """Whether a stanza of the client is handled: the account has taken it, or the server."""
        return name in (self.account.of_client if name.startswith(TAKEN) else self.server.heard)

    def of_server(self, name: str) -> bool:
        return name in (self.account.of_server if name.startswith(TAKEN) else self.client.heard)

    @invariant()
    def in_order(self) -> None:
        account, client, server = self.account, self.client, self.server
        assert not client.refused and not client.over and not server.over and not account.closed
        assert client.heard == account.expected[: len(client.heard)], (client.heard, account.expected)
        assert account.of_server == server.numbered[: len(account.of_server)]
        passed = [name for name in account.of_client if not name.startswith(TAKEN)]
        assert server.heard == passed[: len(server.heard)], (server.heard, passed)
        if client.forgetful:
            rest = iter(self.said)
            assert all(name in rest for name in account.of_client), (account.of_client, self.said)
        else:
            assert account.of_client == self.said[: len(account.of_client)], (account.of_client, self.said)

    # The end ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Nothing is left behind, however the session ends."""
        ends = (self.all_comes, self.all_comes, self.is_closed, self.sleeps_too_long, self.server_forgets)
        ends[self.count % len(ends)]()
        assert self.account.closed == [self.session]
        self.nothing_is_left()

    def is_closed(self) -> None:
        self.session.close("conflict")

    def sleeps_too_long(self) -> None:
        self.is_cut()
        for _turn in range(50):  # what has come is handled first
            self.lab.clock.advance(0)
        self.lab.clock.advance(self.lab.settings.sessions.resume)

    def server_forgets(self) -> None:
        if self.server.connected:
            self.cut(self.server)
        self.server.forgets = True
        for _attempt in range(3):  # one may be in the middle
            self.lab.clock.advance(10)
            self.server_comes_back(refused=False, size=1_000_000)
            self.pump()

    def is_cut(self) -> None:
        while self.client.left:
            self.client.left.pop().cut()
        if self.client.connected:
            self.cut(self.client)

    def all_comes(self) -> None:
        client, server = self.client, self.server
        for number in range(40):
            if number in (0, 20):
                client.ask()
                server.ask()
            self.go_on()
        assert client.heard == self.account.expected
        assert self.account.of_server == server.numbered
        assert not client.unacknowledged() and not server.unacknowledged()
        if not client.forgetful:
            assert self.account.of_client == self.said
        assert server.heard == [name for name in self.account.of_client if not name.startswith(TAKEN)]
        server.say(self.name("s", False))
        server.ask()
        self.pump()
        client.acknowledge()
        self.pump()
        assert not server.unacknowledged(), "it had asked too early, and is told"
        server.say(self.name("s", False))
        self.pump()
        client.acknowledge()
        client.send(END)
        self.pump()
        assert server.over and not server.unacknowledged()
        server.send(END)
        self.pump()
        assert client.over

    def go_on(self) -> None:
        """Everybody does what is due."""
        client, server = self.client, self.server
        if not client.connected:
            client.resume()
        while client.left:
            client.left.pop().cut()
        if not server.connected:
            self.server_comes_back(refused=False, size=1_000_000)
        for end in (client, server):
            self.is_slow(end is server, False)
            if end.questions:
                end.acknowledge()
        self.pump()
        self.lab.clock.advance(1)

    def pump(self) -> None:
        """Everything that is on its way comes."""
        for end in (self.client, self.server, self.client):
            if end.link is not None:
                end.link.flow(1_000_000)
            self.lab.clock.advance(0)
            self.what_was_written()
            end.read(1_000_000)

    def nothing_is_left(self) -> None:
        h = self.lab.resumable.handled_of_ended(self.client.previd.decode(), "a@example.org")
        assert h is not None and self.client.told <= h
        assert all(map(self.of_client, self.client.numbered[:h])), "what it is told in the end is true"
        assert self.server.link is None or self.server.link.wire.closing or self.server.link.wire.disconnected
        for link in (self.client.link, self.server.link, *self.client.left):
            if link is not None:
                link.cut()  # the client may have had another one, on which it had not resumed yet
        self.lab.clock.advance(CLOSE_TIMEOUT)  # of logins that were only to resume
        assert self.waiting is None
        assert self.lab.clock.getDelayedCalls() == []
        assert (len(self.lab.resumable), self.lab.resumable.sleeping, len(self.lab.clients)) == (0, 0, 0)


class CutsTests(SynchronousTestCase):
    def test_any_course_of_things(self) -> None:
        directory = Path(self.mktemp())
        machine: Any = lambda: Cuts(directory)  # noqa: E731 (a class is expected)
        run_state_machine_as_test(machine, settings=settings(max_examples=examples(100), stateful_step_count=40))
