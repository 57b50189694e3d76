"""The relay: byte for byte both ways, less what the account takes; its ends; its backpressure."""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.logger import formatEvent
from twisted.python.failure import Failure
from twisted.trial import unittest

from minimixproxy.c2s.session.acknowledgements import EVERYTHING, LATE, Acknowledgements
from minimixproxy.c2s.session.client_session import UNBOUND
from minimixproxy.c2s.session.output import ClientOutput
from minimixproxy.c2s.session.paced_reading import AT_ONCE, BYTES_AT_ONCE
from minimixproxy.c2s.upstream import connecting
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.minimix.interfaces.streams import SessionPort
from minimixproxy.safety_net import NET
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.trees import MAX_TAGS
from minimixproxy.wire.xmlstream import NOTHING
from tests.c2s.helpers import BIND, BOUND, HEADER, SERVER_FEATURES, SERVER_HEADER, Lab, StubAccount, StubAccounts, plain
from tests.c2s.server.test_negotiation import END, errors
from tests.examples import examples
from tests.log_events import log_events

STANZAS = (
    b"<message to='b@example.org'><body>h\xc3\xa9 &lt;&#x1F600;</body></message>",
    b'<presence  type = "unavailable" />',
    b"<iq type='get' id='1'><query xmlns='jabber:iq:roster'></query></iq>",
    b"<r:x xmlns:r='urn:r' r:y='>'/>",
    b"<message><![CDATA[<body>]]>\xf0\x9f\x98\x80</message>",
    b"<active xmlns='urn:xmpp:csi:0'/>",
    b" ",
    b"\n",
    b"<message><body>" + b"x" * 5000 + b"</body></message>",
)
PIECES = st.lists(st.sampled_from(STANZAS), max_size=12).map(b"".join)


def chunked(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a stream anywhere, into as many reads."""
    bounds = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    return [data[start:end] for start, end in pairwise(bounds) if start < end]


class SessionTest(unittest.TestCase):
    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()))
        self.client = self.lab.client()
        self.session = self.client.bind()
        self.account = self.lab.accounts.account

    def up(self, data: bytes) -> bytes:
        """Send as the client; return what arrives at the server."""
        self.client.send(data)
        return self.client.upstream.take()

    def turn(self) -> bytes:
        """Let the reactor's turn end; return what the client got."""
        self.lab.clock.advance(0)
        return self.client.wire.take()


class IdleTest(SessionTest):
    """Most sessions say nothing for most of the time; each costs some 90 KiB, and there are thousands."""

    def test_nothing_is_kept_for_what_may_wait(self) -> None:
        """An empty deque takes 760 bytes."""
        self.up(STANZAS[0])
        self.session.deliver(STANZAS[1])
        self.session.deliver_all(LazyStanzas(1, iter([STANZAS[2]])))
        self.assertEqual(self.turn(), STANZAS[1] + STANZAS[2])
        session = self.session
        assert session._client._from_client is not None
        parts: tuple[object, ...] = (
            session._output,
            session._client._acknowledgements,
            session._client._from_client.pacing,
        )
        for part in parts:
            self.assertEqual([held for held in gc.get_referents(part) if isinstance(held, deque)], [], part)
        stream = session._server._stream
        assert stream is not None
        self.assertIs(stream._ahead, NOTHING, "which is everybody's")


class RelayTest(SessionTest):
    @settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
    @given(PIECES, st.lists(st.integers(0, 100_000), max_size=12))
    def test_every_byte_upstream_whatever_the_reads(self, data: bytes, cuts: list[int]) -> None:
        passed = b"".join(self.up(chunk) for chunk in chunked(data, cuts))
        self.turn()
        self.assertEqual(passed + self.client.upstream.take(), data)

    @settings(max_examples=examples(60), suppress_health_check=list(HealthCheck))
    @given(PIECES, st.lists(st.integers(0, 100_000), max_size=12))
    def test_every_byte_downstream_whatever_the_reads(self, data: bytes, cuts: list[int]) -> None:
        self.assertEqual(b"".join(self.client.serve(chunk) for chunk in chunked(data, cuts)), data)

    def test_one_write_for_a_read(self) -> None:
        writes: list[bytes] = []
        self.patch(self.client.upstream, "write", writes.append)
        self.account.taken_from_client = {"taken"}
        self.client.send(b"<message id='taken'/>")
        self.assertEqual(writes, [])
        self.client.send(b"".join(STANZAS))
        self.assertEqual(len(writes), 1)
        self.patch(self.client.wire, "write", writes.append)
        self.client.serve(b"".join(STANZAS))
        self.assertEqual(len(writes), 2)

    def test_large_stanzas_of_the_server(self) -> None:
        large = b"<iq type='result'><query xmlns='jabber:iq:roster'>" + b"<item/>" * 100_000 + b"</query></iq>"
        self.assertEqual(b"".join(self.client.serve(chunk) for chunk in chunked(large, [65536, 200_000])), large)

    def test_what_is_too_large_to_be_passed(self) -> None:
        """It is logged, and whoever waits for an answer is told; the session goes on."""
        self.patch(connecting, "LARGEST_FROM_SERVER", 1024**2)
        self.setUp()
        skipped = NET.skipped
        events = log_events(self)
        large = [b"<a>%b</a>" % (b"x" * 64 * 1024)] * 17
        for kind, answers in (
            (b"iq type='result' id='7'", 1),
            (b"message id='7'", 0),
            (b"message type='error' id='9'", 0),
            (b"message type='get' id='9'", 0),
            (b"iq type='get' id='8'", 0),
        ):
            shown = b"".join(self.client.serve(piece) for piece in (b"<%b>" % kind, *large, b"</%b>" % kind.split()[0]))
            self.assertEqual(shown.count(b"<policy-violation"), answers)
            self.assertLess(len(shown), 1000)
        answered = self.client.upstream.take()
        self.assertIn(b"type='error' id='8'", answered)
        self.assertEqual(answered.count(b"type='error'"), 1)
        self.assertEqual(NET.skipped, skipped + 5)
        raw = b"<message id='7'>%b</message>" % b"".join(large)
        text, *_others = [text for event in events if " a message of " in (text := formatEvent(event))]
        self.assertIn(f" a message of {len(raw)} bytes, SHA-256 {sha256(raw).hexdigest()}, is not read: ", text)
        self.assertTrue(text.startswith("session of a@example.org/r"), text)
        self.assertEqual(self.client.serve(b"<message/>"), b"<message/>")

    def test_taken_stanzas_do_not_pass(self) -> None:
        self.account.taken_from_client = {"2"}
        self.account.taken_from_server = {"3"}
        data = b"<message id='1'/><message id='2'/><message id='3'/>"
        self.assertEqual(self.up(data), b"<message id='1'/><message id='3'/>")
        self.assertEqual(self.client.serve(data), b"<message id='1'/><message id='2'/>")

    def test_what_a_server_may_take_for_a_stanza(self) -> None:
        """It would have it behind the account's back, and it would not be counted as the server counts."""
        for number, hidden in enumerate(
            (
                b"<iq xmlns='jabber:server' type='set' id='1'><query xmlns='jabber:iq:register'><remove/></query></iq>",
                b"<presence xmlns='jabber:component:accept' to='room@muc.example.org/a'/>",
                b"<message xmlns=''/>",
                b"<x:message xmlns:x='urn:x'/>",
                b"<foo/>",
                b"<a h='1'/>",
            )
        ):
            client = self.lab.client()
            client.bind()
            told = client.send(b"<message id='before'/>" + hidden + b"<message id='behind'/>")
            self.assertEqual(errors(told), [b"unsupported-stanza-type"])
            self.assertEqual(client.upstream.take(), b"<message id='before'/>" + END, hidden)
            self.assertEqual(len(self.account.seen_from_client), number + 1, "what was before")

    def test_before_binding(self) -> None:
        self.lab.clock.advance(10)
        client = self.lab.client()
        client.log_in()
        session = client.session
        self.assertEqual((session.jid, session.carbons, session.last_active), ("", False, 10))
        client.send(b"<r xmlns='urn:xmpp:sm:3'/>")
        self.lab.clock.advance(0)
        self.assertIn(b"<failed xmlns='urn:xmpp:sm:3'>", client.wire.take())
        client.vanish()
        self.assertEqual(client.upstream.take(), END)

    def test_how_deep(self) -> None:
        """Who is no stranger may nest elements: it is the server's affair. What the server says only passes."""
        deep = b"<message>" + b"<a>" * 2000 + b"</a>" * 2000 + b"</message>"
        self.assertEqual(self.up(deep), deep)
        for data in (deep, b"<message>&unknown;<a></b></message>", b"<presence/>"):
            self.assertEqual(self.client.serve(data), data)

    def test_nothing_is_asked_of_an_account_before_binding(self) -> None:
        client = self.lab.client()
        client.log_in()
        seen = len(self.account.seen_from_client)
        client.send(b"<message id='2'/><presence/>")
        self.assertEqual(client.upstream.take(), b"<message id='2'/><presence/>", "for the server to refuse")
        self.assertEqual(len(self.account.seen_from_client), seen)

    def test_what_the_account_says_waits_at_the_gate(self) -> None:
        """One stanza or a replay: both wait until what they tell of is on disk, in their order."""
        held: list[Callable[[], None]] = []

        def gated(deliver: Callable[[Any], None]) -> Callable[[Any], None]:
            return lambda data: held.append(lambda: deliver(data))

        self.patch(self.lab.accounts, "gated", gated)
        client = self.lab.client()
        session = client.bind()
        client.wire.take()
        session.deliver(b"<message id='1'/>")
        session.deliver_all(LazyStanzas(1, iter([b"<message id='2'/>"])))
        session.deliver(b"<message id='3'/>")
        self.lab.clock.advance(0)
        self.assertEqual((len(held), client.wire.take()), (3, b""))
        for release in held:
            release()
        self.lab.clock.advance(0)
        self.assertEqual(client.wire.take(), b"<message id='1'/><message id='2'/><message id='3'/>")

    def test_activity(self) -> None:
        self.lab.clock.advance(10)
        self.client.send(b" ")
        self.assertEqual(self.session.last_active, 0)
        self.client.send(b"<presence/>")
        self.assertEqual(self.session.last_active, 10)


class BindingTest(SessionTest):
    def test_the_account_is_elsewhere_by_now(self) -> None:
        """Another process of the cluster may have it: here nothing is kept of it any more."""
        client = self.lab.client()
        client.log_in()
        self.lab.accounts.bound.clear()
        self.lab.accounts.elsewhere.add("a@example.org")
        client.wire.take()
        client.send(BIND)
        told = client.serve(BOUND)
        self.assertEqual((errors(told), client.wire.closing, self.lab.accounts.bound), ([b"reset"], True, []))

    def test_bound(self) -> None:
        self.assertEqual(self.session.jid, "a@example.org/r")

    def test_the_client_hears_of_it_first(self) -> None:
        lab = self.lab

        class Eager(StubAccounts):
            def session_bound(self, session: SessionPort, login: Login) -> StubAccount:
                session.deliver(b"<message id='behind'/>")
                return lab.accounts.account

        client = lab.client()
        client.log_in()
        session = client.session
        session._link._accounts = Eager()
        client.send(BIND)
        self.assertEqual(
            client.serve(BOUND + b"<message id='same read'/>"),
            BOUND + b"<message id='behind'/><message id='same read'/>",
        )

    def test_an_error_binds_nothing(self) -> None:
        client = self.lab.client()
        client.log_in()
        client.send(BIND)
        client.serve(b"<iq type='error' id='b1'><error type='cancel'/></iq>")
        self.assertEqual(len(self.lab.accounts.bound), 1)
        client.send(BIND)
        client.serve(BOUND)
        self.assertEqual(len(self.lab.accounts.bound), 2)

    def test_however_it_was_asked_for(self) -> None:
        """Servers bind what is asked for without an id, or somebody else: nobody could end a session unknown here."""
        enable = b"<iq type='set' id='%d'><enable xmlns='urn:xmpp:carbons:2'/></iq>"
        to = b"id='b1' to='x@y.example'"
        for number, (asked, answer) in enumerate(
            (
                (b"", BOUND),
                (BIND.replace(b" id='b1'", b""), BOUND.replace(b" id='b1'", b"")),
                (BIND.replace(b"b1", b""), BOUND.replace(b"b1", b"")),
                (BIND.replace(b"'set'", b"'get'"), BOUND),
                (BIND.replace(b"<iq", b"<message").replace(b"</iq", b"</message"), BOUND),
                (BIND.replace(b"id='b1'", to), BOUND.replace(b"id='b1'", to.replace(b"to=", b"from="))),
                (BIND + enable.replace(b"%d", b"b1"), BOUND),
                (b"".join(enable % number for number in range(20)) + BIND, BOUND),
            )
        ):
            client = self.lab.client()
            client.log_in()
            client.send(asked)
            resource = b"/r%d<" % number
            self.assertEqual(
                client.serve(answer.replace(b"/r<", resource)), answer.replace(b"/r<", resource), "as it is"
            )
            self.assertEqual(self.lab.accounts.bound[number + 1 :], [client.session], asked)
            self.assertEqual(client.session.jid, f"a@example.org/r{number}")

    def test_a_second_bind_is_between_client_and_server(self) -> None:
        self.assertEqual(self.up(BIND), BIND)
        self.client.serve(BOUND.replace(b"/r<", b"/other<"))
        self.assertEqual(self.session.jid, "a@example.org/r")
        self.assertEqual(len(self.lab.accounts.bound), 1)

    def test_only_the_server_binds(self) -> None:
        """A result from somebody else passes, and nothing follows from it."""
        client = self.lab.client()
        client.log_in()
        client.send(BIND)
        forged = BOUND.replace(b"id='b1'", b"id='b1' from='mallory@example.org/x'").replace(b">a@", b">victim@")
        self.assertEqual(client.serve(forged), forged)
        self.assertEqual(len(self.lab.accounts.bound), 1)
        client.serve(BOUND)
        self.assertEqual(self.lab.accounts.bound[-1].jid, "a@example.org/r")

    def test_not_bound_in_time(self) -> None:
        """Nobody ends the session of an account that has none: it is not to stay for ever."""
        client = self.lab.client()
        client.log_in()
        self.lab.clock.advance(UNBOUND - 1)
        self.assertEqual(client.send(BIND), b"")
        self.assertFalse(client.wire.closing, "it has asked, but the server has to answer")
        self.lab.clock.advance(1)
        self.assertEqual((errors(client.wire.take()), client.wire.closing), ([b"connection-timeout"], True))
        self.lab.clock.advance(2 * UNBOUND)
        self.assertFalse(self.client.wire.closing)

    def test_bound_to_another_account(self) -> None:
        """The client gets a stream error, the operator a line, the account nothing."""
        for jid in (b"victim@example.org/x", b"a@example.com/r", b"a@example.org", b"@", b""):
            client = self.lab.client()
            client.log_in()
            client.send(BIND)
            answer = client.serve(BOUND.replace(b"a@example.org/r", jid))
            self.assertEqual(errors(answer), [b"remote-connection-failed"])
            self.assertEqual(client.upstream.take().count(END), 1)
            self.assertEqual(len(self.lab.accounts.bound), 1, jid)

    def test_nothing_of_the_same_read_binds_what_has_ended(self) -> None:
        client = self.lab.client()
        client.log_in()
        client.send(BIND + BIND.replace(b"b1", b"b2"))
        client.serve(BOUND.replace(b">a@", b">victim@") + BOUND.replace(b"b1", b"b2"))
        self.assertTrue(client.wire.closing)
        self.assertEqual(len(self.lab.accounts.bound), 1)

    def test_named_otherwise_than_bound(self) -> None:
        client = self.lab.client()
        client.send(HEADER)
        client.send(plain("A"))
        client.accept_login()
        client.send(HEADER)
        client.serve(SERVER_HEADER + SERVER_FEATURES)
        client.send(BIND)
        client.serve(BOUND)
        self.assertEqual(self.lab.accounts.bound[-1].jid, "a@example.org/r")

    def test_who_says_that_another_is_bound_is_not_heard(self) -> None:
        client = self.lab.client()
        client.log_in()
        client.send(BIND.replace(b"id='b1'", b"id='x' to='mallory@example.org/y'"))
        client.serve(BOUND.replace(b"id='b1'", b"id='x' from='mallory@example.org/y'").replace(b">a@", b">victim@"))
        self.assertEqual(len(self.lab.accounts.bound), 1)
        client.upstream.take()
        client.send(b"<message/>")
        self.assertEqual(client.upstream.take(), b"<message/>")
        self.assertEqual(client.serve(b"<message/>"), b"<message/>")

    def test_carbons(self) -> None:
        enable = b"<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>"
        self.client.send(enable)
        self.assertFalse(self.session.carbons, "not before the server agrees")
        self.client.serve(b"<iq type='result' id='other'/><iq type='error' id='c'/>")
        self.assertFalse(self.session.carbons)
        self.client.send(enable)
        self.client.serve(b"<iq type='result' id='c'/>")
        self.assertTrue(self.session.carbons)
        self.client.send(enable.replace(b"enable", b"disable"))
        self.client.serve(b"<iq type='result' id='c'/>")
        self.assertFalse(self.session.carbons)

    def test_requests_never_answered_are_bounded(self) -> None:
        for number in range(1000):
            self.client.send(b"<iq type='set' id='%d'><enable xmlns='urn:xmpp:carbons:2'/></iq>" % number)
        self.assertLessEqual(len(self.session._link.watch), 16)


class DeliveryTest(SessionTest):
    def test_joined_within_a_turn(self) -> None:
        writes: list[bytes] = []
        self.patch(self.client.wire, "write", writes.append)
        for number in range(10):
            self.session.deliver(b"<message id='%d'/>" % number)
        self.assertEqual(writes, [])
        self.lab.clock.advance(0)
        self.assertEqual(writes, [b"".join(b"<message id='%d'/>" % number for number in range(10))])

    def test_one_delayed_call_for_all_sessions(self) -> None:
        clients = [self.lab.client() for _ in range(5)]
        sessions = [client.bind() for client in clients]
        before = len(self.lab.clock.getDelayedCalls())
        for session in sessions:
            session.deliver(b"<message/>")
        self.assertEqual(len(self.lab.clock.getDelayedCalls()), before + 1)
        self.lab.clock.advance(0)
        self.assertEqual([client.wire.take() for client in clients], [b"<message/>"] * 5)

    def test_a_read_of_an_account_stream_is_a_turn(self) -> None:
        turn_end = self.session._output._turn_end
        before = len(self.lab.clock.getDelayedCalls())
        turn_end.begin()
        self.session.deliver(b"<message id='1'/>")
        self.session.deliver(b"<message id='2'/>")
        self.assertEqual(self.client.wire.take(), b"")
        turn_end.end()
        self.assertEqual(self.client.wire.take(), b"<message id='1'/><message id='2'/>")
        self.assertEqual(len(self.lab.clock.getDelayedCalls()), before)
        self.session.deliver(b"<message id='3'/>")
        self.assertEqual(self.turn(), b"<message id='3'/>")

    def test_order_with_what_the_server_sends(self) -> None:
        self.session.deliver(b"<message id='1'/>")
        self.assertEqual(self.client.serve(b"<message id='2'/>"), b"<message id='1'/><message id='2'/>")
        self.assertEqual(self.turn(), b"")

    def test_a_fault_in_one_does_not_touch_the_next(self) -> None:
        other = self.lab.client()
        other_session = other.bind()
        self.patch(self.client.wire, "write", lambda _data: 1 / 0)
        self.session.deliver(b"<message/>")
        other_session.deliver(b"<message/>")
        self.lab.clock.advance(0)
        self.assertEqual(other.wire.take(), b"<message/>")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_after_the_end(self) -> None:
        self.session.deliver(b"<message id='before'/>")
        self.session.close("conflict")
        self.session.deliver(b"<message id='after'/>")
        data = self.turn()
        self.assertIn(b"before", data)
        self.assertNotIn(b"after", data)


class EndTest(SessionTest):
    def assert_over(self) -> None:
        self.assertEqual(self.account.closed, [self.session])
        self.assertTrue(self.client.wire.closing)
        self.assertTrue(self.client.upstream.closing)
        # A transport with a producer does not close before that is done.
        self.assertIsNone(self.client.wire.producer)
        self.assertIsNone(self.client.upstream.producer)

    def test_client_closes(self) -> None:
        self.assertEqual(self.up(b"<presence type='unavailable'/>" + END), b"<presence type='unavailable'/>" + END)
        self.assertEqual(self.account.closed, [self.session])
        self.assertEqual(self.client.serve(b"<message id='last'/>"), b"<message id='last'/>")
        self.assertFalse(self.client.wire.closing)
        self.assertEqual(self.client.serve(END), END)
        self.assert_over()
        self.assertEqual(self.client.upstream.take(), b"")

    def test_one_goodbye_whatever_is_answered_behind_it(self) -> None:
        self.client.send(b"<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>" + END)
        self.client.serve(b"<message/><message/><iq type='result' id='c'/>")
        self.assertEqual(self.client.upstream.take().count(END), 1)

    def test_client_closes_while_something_is_held(self) -> None:
        """To the account it counts as not seen: given now, the client would get it twice."""
        held: list[Callable[[], None]] = []
        gated = self.lab.accounts.gated
        self.patch(self.lab.accounts, "gated", lambda deliver: lambda data: held.append(lambda: deliver(data)))
        self.addCleanup(setattr, self.lab.accounts, "gated", gated)
        client = self.lab.client()
        session = client.bind()
        session.deliver(b"<message id='1'/>")
        held.pop()()
        session.deliver(b"<message id='2'/>")
        client.send(END)
        held.pop()()
        self.lab.clock.advance(0)
        self.assertEqual(client.wire.take(), b"<message id='1'/>")

    def reach(self, until: float, since: float, under_way_since: float = EVERYTHING) -> None:
        class Reach(Acknowledgements):
            def wrote(self, size: int, *, everything: bool = True) -> None:
                """It stays at what it is."""

            def until(self) -> float:
                return until

            def since(self) -> float:
                return since

            def under_way_since(self) -> float:
                return under_way_since

        self.session._client._acknowledgements = reach = Reach(None, self.lab.clock, lambda: 0)
        reach.written = 5

    def test_client_that_closes_reads_on(self) -> None:
        self.lab.clock.advance(100)
        self.reach(7, since=1.0)
        self.assertEqual(self.session.reached, 7)
        self.client.send(END)
        self.assertEqual(self.session.reached, float("inf"))

    def test_a_client_that_closed_while_nothing_came_through(self) -> None:
        """Its word came late: nobody knows whether it is there still."""
        self.lab.clock.advance(100)
        self.client.send(END)
        for under_way_since, reached in ((94.0, 7), (96.0, EVERYTHING), (EVERYTHING, EVERYTHING)):
            self.reach(7, since=1.0, under_way_since=under_way_since)
            self.assertEqual(self.session.reached, reached)

    def reached_at_the_end(self, end: Callable[[], object]) -> float:
        """What the account is told of it when it leaves."""
        told: list[float] = []
        self.patch(self.lab.accounts.account, "session_closed", lambda session: told.append(session.reached))
        end()
        (reached,) = told
        return reached

    def test_what_was_dropped_with_the_connection_has_not_come(self) -> None:
        """It was delivered in the same turn: nothing that was written is on its way."""
        self.lab.clock.advance(100)
        self.reach(EVERYTHING, since=EVERYTHING)
        self.session.deliver(b"<message/>")
        self.assertEqual(self.reached_at_the_end(self.client.vanish), 5)

    def test_what_was_written_before_the_connection_was_lost(self) -> None:
        self.lab.clock.advance(100)
        self.reach(EVERYTHING, since=EVERYTHING)
        self.session.deliver(b"<message/>")
        self.lab.clock.advance(0)
        self.assertEqual(self.reached_at_the_end(self.client.vanish), EVERYTHING)

    def gone_while_its_words_wait(self, meanwhile: Callable[[], object]) -> float:
        """Return how far the account is told that a client has come, which goes behind a read that takes some turns."""
        self.lab.clock.advance(100)
        self.reach(EVERYTHING, since=EVERYTHING)
        self.client.send(b"<presence/>" * (3 * AT_ONCE))

        def end() -> None:
            self.client.vanish()
            meanwhile()
            self.lab.clock.advance(0)

        reached = self.reached_at_the_end(end)
        self.assertEqual(self.client.upstream.take(), b"<presence/>" * (3 * AT_ONCE) + END)
        return reached

    def test_what_is_said_to_a_client_that_is_gone_has_not_come(self) -> None:
        self.assertEqual(self.gone_while_its_words_wait(lambda: self.session.deliver(b"<message/>")), 5)

    def test_a_server_is_not_read_for_a_client_that_is_gone(self) -> None:
        states: list[str] = []
        reached = self.gone_while_its_words_wait(lambda: states.append(self.client.upstream.producerState))
        self.assertEqual(reached, EVERYTHING)
        self.assertEqual((states, self.client.upstream.producerState), (["paused"], "producing"))

    def test_a_fault_of_the_account_at_the_end(self) -> None:
        """The streams end all the same, and nobody waits for them when the proxy stops."""

        def fails(_session: object) -> None:
            raise ZeroDivisionError

        self.patch(self.account, "session_closed", fails)
        before = len(self.lab.clients)
        self.client.vanish()
        self.assertEqual(self.client.upstream.take(), END)
        self.assertEqual(len(self.lab.clients), before - 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_session_that_ends_behind_its_client(self) -> None:
        """Whatever ends it: the connection was lost before."""
        for end in (lambda: self.session.close("conflict"), lambda: self.client.serve(END)):
            self.setUp()
            self.lab.clock.advance(100)
            self.reach(7, since=99.0)
            self.client.send(b"<presence/>" * (3 * AT_ONCE))
            self.client.vanish()
            self.assertEqual(self.reached_at_the_end(end), 7)

    def test_a_client_that_closes_and_is_gone(self) -> None:
        """Both while something that it said before waits: what is known of its machine counts."""
        self.lab.clock.advance(100)
        self.reach(7, since=99.0)
        self.client.send(b"<presence/>" * (3 * AT_ONCE) + END)
        self.client.vanish()
        self.assertEqual(self.reached_at_the_end(lambda: self.lab.clock.advance(0)), 7)

    def test_too_much_that_waits_has_not_come(self) -> None:
        """However short the time in which it was too much."""
        self.lab.clock.advance(100)
        self.reach(9, since=99.0)
        self.session._output.block()

        def deliver() -> None:
            while not self.session._output.over:
                self.session.deliver(b"<message/>" * 10_000)

        self.assertEqual(self.reached_at_the_end(deliver), 5)

    def test_what_waits_when_the_server_closes_is_written(self) -> None:
        self.lab.clock.advance(100)
        self.reach(9, since=99.0)
        self.session._output.block()
        self.session.deliver(b"<message id='last'/>")
        self.assertEqual(self.reached_at_the_end(lambda: self.client.serve(END)), EVERYTHING)

    def test_what_waits_behind_lazy_stanzas_has_not_come(self) -> None:
        for behind, reached in ((False, EVERYTHING), (True, 5)):
            self.setUp()
            self.lab.clock.advance(100)
            self.reach(9, since=99.0)
            self.session._output.block()
            self.session.deliver(b"<message/>")
            self.session.deliver_all(LazyStanzas(1, iter([b"<message/>"])))
            if behind:
                self.session.deliver(b"<message/>")
                self.session.deliver_all(LazyStanzas(1, iter([b"<message/>"])))
            self.assertEqual(self.reached_at_the_end(lambda: self.client.serve(END)), reached, behind)

    def test_what_is_not_acknowledged_yet_is_on_its_way(self) -> None:
        """Unless the client is gone: then nobody knows."""
        self.lab.clock.advance(100)
        self.reach(7, since=99.0)
        self.assertEqual(self.session.reached, float("inf"))
        self.client.vanish()
        self.assertEqual(self.session.reached, 7)

    def test_behind_a_relay_the_client_s_own_word_counts(self) -> None:
        """The wire of this test is no TCP connection: nobody acknowledges on it but the client itself."""
        self.lab.clock.advance(100)
        self.client.send(b" ")
        self.lab.clock.advance(3)
        self.delivered(1)
        self.assertEqual(self.session.reached, float("inf"), "on its way, as far as anybody knows")
        self.lab.clock.advance(100)
        self.assertEqual(self.session.reached, 0)
        self.client.send(b"<presence/>")
        self.assertEqual(self.session.reached, float("inf"))
        self.lab.clock.advance(LATE)
        self.delivered(2)
        self.client.vanish()
        self.assertEqual(self.session.reached, 1)

    def delivered(self, number: int) -> None:
        """A message of this number."""
        self.lab.accounts.given = number
        self.session.deliver(b"<message/>")
        self.turn()

    def test_client_closes_and_the_server_says_nothing(self) -> None:
        self.up(END)
        self.lab.clock.advance(6)
        self.assertEqual(self.client.wire.take(), END)
        self.assert_over()

    def test_client_closes_and_the_server_hangs_up(self) -> None:
        self.up(END)
        self.lose_upstream()
        self.assertEqual(self.client.wire.take(), END)
        self.assertTrue(self.client.wire.closing)

    def test_client_vanishes(self) -> None:
        self.client.vanish()
        self.assertEqual(self.client.upstream.take(), END)
        self.assertTrue(self.client.upstream.closing)
        self.assertEqual(self.account.closed, [self.session])
        self.assertEqual(len(self.lab.clients), 0)

    def test_server_that_does_not_agree_to_the_end_is_left(self) -> None:
        self.client.vanish()
        self.lab.clock.advance(6)
        self.assertTrue(self.client.upstream.aborted)

    def test_nothing_is_left_of_a_session(self) -> None:
        self.client.vanish()
        self.lose_upstream()
        self.assertEqual(self.lab.clock.getDelayedCalls(), [])

    def test_server_closes(self) -> None:
        self.assertEqual(self.client.serve(b"<message/>" + END), b"<message/>" + END)
        self.assertEqual(self.client.upstream.take(), END)
        self.assert_over()

    def test_stream_error_of_the_server_passes(self) -> None:
        error = b"<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        self.assertEqual(self.client.serve(error + END), error + END)
        self.assert_over()

    def test_server_vanishes(self) -> None:
        self.lose_upstream()
        self.assertEqual(errors(self.client.wire.take()), [b"remote-connection-failed"])
        self.assertTrue(self.client.wire.closing)
        self.assertEqual(self.account.closed, [self.session])
        self.assertEqual(self.client.upstream.take(), b"")
        self.client.vanish()
        self.assertEqual(self.lab.clock.getDelayedCalls(), [])

    def test_server_vanishes_behind_the_end_of_the_client(self) -> None:
        self.client.send(END)
        self.lose_upstream()
        self.assertEqual(self.client.wire.take(), END)
        self.client.vanish()
        self.assertEqual(self.lab.clock.getDelayedCalls(), [])

    def test_faults_of_the_client(self) -> None:
        cases = {
            b"<message></body>": b"not-well-formed",
            b"\xff": b"not-well-formed",
            b"<!-- -->": b"restricted-xml",
            b"<?php ?>": b"restricted-xml",
            b"<message><body>" + b"x" * 300_000: b"policy-violation",
        }
        for data, condition in cases.items():
            with self.subTest(data[:20]):
                self.setUp()
                answer = self.client.send(b"<presence/>" + data)
                self.assertEqual(errors(answer), [condition])
                self.assertTrue(answer.endswith(END))
                self.assertEqual(self.client.upstream.take(), b"<presence/>" + END, "in order towards the server")
                self.assert_over()

    def test_a_broken_stream_of_the_server(self) -> None:
        self.assertEqual(errors(self.client.serve(b"<a></b>")), [b"remote-connection-failed"])
        self.assert_over()

    def test_closed_by_the_account(self) -> None:
        self.session.close("invalid-from", "not yours")
        answer = self.client.wire.take()
        self.assertEqual(errors(answer), [b"invalid-from"])
        self.assertIn(b">not yours</text>", answer)
        self.assertEqual(self.client.upstream.take(), END)
        self.assert_over()

    def test_closed_by_the_account_while_it_handles_a_stanza(self) -> None:
        def closes(session: SessionPort, _stanza: Stanza) -> bool:
            session.close("invalid-from")
            return True

        self.patch(self.account, "from_client", closes)
        self.client.send(b"<message/><message/>" + END)
        self.assertEqual(self.client.upstream.take(), END)
        self.assert_over()

    def test_closing_twice(self) -> None:
        self.session.close("conflict")
        self.session.close("conflict")
        self.client.vanish()
        self.assertEqual(self.client.wire.take().count(END), 1)
        self.assertEqual(self.account.closed, [self.session])

    def test_faults_of_the_account(self) -> None:
        """Each costs one stanza, and the log does not tell what is in it."""
        events = log_events(self)
        secret = b"<message id='explode'><body>secret words</body></message>"
        before = NET.dropped
        self.client.upstream.clear()
        self.assertEqual(self.client.send(secret + b"<message id='1'/>"), b"")
        self.assertEqual(self.client.upstream.value(), b"<message id='1'/>")
        self.assertEqual(self.client.serve(secret + b"<message id='2'/>"), b"<message id='2'/>")
        logged = "".join(formatEvent(event) for event in events)
        self.assertNotIn("secret words", logged)
        self.assertEqual(logged.count("in from_client"), 1, logged)
        self.assertEqual(logged.count("in from_server"), 1)
        self.assertEqual(logged.count(f"{len(secret)} bytes, SHA-256 {sha256(secret).hexdigest()}"), 2)
        self.assertEqual(NET.dropped, before + 2)

    def test_what_nobody_here_can_read_passes(self) -> None:
        """More tags than a tree is made of: the other side's affair, counted, and the end of nothing."""
        crowd = b"<a/>" * MAX_TAGS
        set_password = b"<iq type='set' id='u'><query xmlns='jabber:iq:register'>%b</query></iq>" % crowd
        answer = b"<iq type='result' id='b9'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>%b</bind></iq>" % crowd
        before, events = NET.skipped, log_events(self)
        self.assertEqual(self.up(set_password + b"<message/>"), set_password + b"<message/>")
        self.assertEqual(["it is not followed" in formatEvent(event) for event in events], [True])
        client = self.lab.client()
        client.log_in()
        client.send(BIND.replace(b"b1", b"b9"))
        self.assertEqual(client.serve(answer + b"<message/>"), answer + b"<message/>")
        self.assertEqual(NET.skipped, before + 1)
        self.assertEqual(len(self.lab.accounts.bound), 1)
        message = b"<message id='unusable'/>"
        self.assertEqual(self.up(message), message)
        self.assertEqual(self.client.serve(message), message)
        self.assertEqual(NET.skipped, before + 3)

    def test_a_fault_of_ours_while_the_server_is_read(self) -> None:
        """It costs this session, which is told."""
        self.patch(ClientOutput, "flush", lambda _output: 1 // 0)
        self.assertEqual(errors(self.client.serve(b"<message/>")), [b"internal-server-error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_over()

    def test_a_request_that_meets_a_fault_is_answered(self) -> None:
        for kind in (b"get", b"set"):
            self.client.send(b"<iq type='%b' id='explode' to='a@b'/>" % kind)
            self.lab.clock.advance(0)
            answer = self.client.wire.take()
            self.assertIn(b"<iq from='a@b' id='explode' type='error'>", answer)
            self.assertIn(b"<internal-server-error ", answer)
        for other in (b"iq type='result'", b"iq type='error'", b"message type='get'", b"presence"):
            self.client.send(b"<%b id='explode' to='a@b'/>" % other)
            self.assertEqual(self.turn(), b"", other)

    def test_a_client_that_is_not_read_any_more_cannot_hurt(self) -> None:
        self.session.close("conflict")
        self.client.wire.take()
        self.assertEqual(self.client.send(b"<message id='explode'/><a></b>"), b"")

    def lose_upstream(self) -> None:
        assert self.client.server is not None
        self.client.server.connectionLost(Failure(ConnectionDone()))


class RefusedElementsTest(SessionTest):
    def test_stream_management_and_compression_are_answered_here(self) -> None:
        cases = {
            b"<enable xmlns='urn:xmpp:sm:2' resume='true'/>": b"<failed xmlns='urn:xmpp:sm:2'>",
            b"<resume xmlns='urn:xmpp:sm:2' previd='x' h='1'/>": b"<failed xmlns='urn:xmpp:sm:2'>",
            b"<r xmlns='urn:xmpp:sm:2'/>": b"<failed xmlns='urn:xmpp:sm:2'>",
            b"<compress xmlns='http://jabber.org/protocol/compress'><method>zlib</method></compress>": b"<failure",
        }
        for element, answer in cases.items():
            self.client.send(b"<presence/>" + element + b"<presence/>")
            self.assertEqual(self.client.upstream.take(), b"<presence/><presence/>")
            self.assertIn(answer, self.turn())
        self.assertFalse(self.client.wire.closing)

    def test_starttls_in_session(self) -> None:
        answer = self.client.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.assertEqual(answer, b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + END)
        self.assertEqual(self.client.upstream.take(), END)

    def test_authentication_in_session(self) -> None:
        for element in (
            b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            b"<authenticate xmlns='urn:xmpp:sasl:2'/>",
        ):
            self.setUp()
            self.assertEqual(errors(self.client.send(element)), [b"unsupported-stanza-type"])
            self.assertEqual(self.client.upstream.take(), END)


class IntakeTest(SessionTest):
    """A read full of requests for the proxy itself is a little work in each turn."""

    def setUp(self) -> None:
        super().setUp()
        self.account.taken_from_client = {f"i{number}" for number in range(100)}

    def send(self, count: int, behind: bytes = b"") -> None:
        own = b"".join(b"<iq id='i%d'/>" % number for number in range(count))
        self.client.send(own + b"<iq id='passes'/>" + behind)

    def test_a_little_in_each_turn_and_in_order(self) -> None:
        self.send(2 * AT_ONCE + 1)
        self.assertEqual(len(self.account.seen_from_client), AT_ONCE)
        self.assertEqual(self.client.wire.producerState, "paused")
        self.client.send(b"<iq id='later'/>")  # what TLS had still to give
        self.assertEqual(self.client.upstream.take(), b"")
        self.assertEqual(len(self.account.seen_from_client), AT_ONCE)
        self.turn()
        self.assertEqual(self.client.upstream.take(), b"<iq id='passes'/><iq id='later'/>")
        self.assertEqual(
            self.account.seen_from_client[-3:], [b"<iq id='i8'/>", b"<iq id='passes'/>", b"<iq id='later'/>"]
        )
        self.assertEqual(self.client.wire.producerState, "producing")

    def test_large_ones_have_a_turn_each(self) -> None:
        large = b"<presence><status>%b</status></presence>" % (b"x" * BYTES_AT_ONCE)
        self.client.send(large * 3)
        self.assertEqual(self.client.upstream.take(), large)
        self.assertEqual(self.client.wire.producerState, "paused")
        self.turn()
        self.assertEqual(self.client.upstream.take(), large * 2)
        self.assertEqual(self.client.wire.producerState, "producing")

    def test_what_passes_is_no_work(self) -> None:
        self.client.send(b"<iq id='passes'/>" * 100)
        self.assertEqual(self.client.upstream.take(), b"<iq id='passes'/>" * 100)
        self.assertEqual(self.client.wire.producerState, "producing")

    def test_presences_pass_and_are_work(self) -> None:
        """One costs as much as there are rooms."""
        presence = b"<presence><show>away</show></presence>"
        self.client.send(presence * (AT_ONCE + 1))
        self.assertEqual(self.client.upstream.take(), presence * AT_ONCE)
        self.assertEqual(self.client.wire.producerState, "paused")
        self.turn()
        self.assertEqual(self.client.upstream.take(), presence)
        self.assertEqual(self.client.wire.producerState, "producing")

    def test_a_slow_server_meanwhile(self) -> None:
        self.send(2 * AT_ONCE)
        self.client.upstream.push_producer.pauseProducing()
        self.turn()
        self.assertEqual(self.client.wire.producerState, "paused")
        self.client.upstream.push_producer.resumeProducing()
        self.assertEqual(self.client.wire.producerState, "producing")
        self.send(AT_ONCE + 1)
        self.client.upstream.push_producer.pauseProducing()
        self.client.upstream.push_producer.resumeProducing()
        self.assertEqual(self.client.wire.producerState, "paused")

    def test_all_is_said_before_the_end(self) -> None:
        self.send(3 * AT_ONCE, b"</stream:stream>")
        self.assertEqual(self.account.closed, [])
        self.turn()
        self.assertEqual(len(self.account.seen_from_client), 3 * AT_ONCE + 1)
        self.assertEqual(self.client.upstream.take(), b"<iq id='passes'/>" + END)

    def test_all_is_said_by_a_client_that_is_gone(self) -> None:
        self.send(3 * AT_ONCE)
        self.client.stream.connectionLost()
        self.assertEqual(self.account.closed, [])
        self.turn()
        self.assertEqual(self.account.closed, [self.session])
        self.assertEqual(self.client.upstream.take(), b"<iq id='passes'/>" + END)

    def test_a_session_that_ends_meanwhile(self) -> None:
        self.send(3 * AT_ONCE)
        self.session.close("conflict")
        self.turn()
        self.assertEqual(len(self.account.seen_from_client), AT_ONCE)

    def test_a_client_whose_session_has_ended_is_read_to_its_end(self) -> None:
        """Some of what it said still waits; its part of the end of TLS comes behind that."""
        sasl = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'/>"
        self.client.send(b"<presence/>" * (AT_ONCE - 1) + sasl + b"<iq id='waits'/>")
        self.assertTrue(self.client.wire.closing)
        self.assertEqual(self.client.wire.producerState, "producing")
        self.turn()
        self.assertEqual(self.client.wire.producerState, "producing")


class BackpressureTest(SessionTest):
    def test_slow_client_pauses_its_server_only(self) -> None:
        other = self.lab.client()
        other.bind()
        self.client.wire.push_producer.pauseProducing()
        self.assertEqual(self.client.upstream.producerState, "paused")
        self.assertEqual(self.client.wire.producerState, "producing")
        self.assertEqual(other.upstream.producerState, "producing")
        self.client.wire.push_producer.resumeProducing()
        self.assertEqual(self.client.upstream.producerState, "producing")

    def test_slow_server_pauses_its_client_only(self) -> None:
        self.client.upstream.push_producer.pauseProducing()
        self.assertEqual(self.client.wire.producerState, "paused")
        self.client.upstream.push_producer.resumeProducing()
        self.assertEqual(self.client.wire.producerState, "producing")

    def test_a_paused_server_is_read_to_its_end_when_the_client_is_gone(self) -> None:
        """It has to agree to the end, and what it answers about the account still counts."""
        for end in (self.client.vanish, lambda: self.session.close("conflict")):
            self.client.wire.push_producer.pauseProducing()
            self.assertEqual(self.client.upstream.producerState, "paused")
            end()
            self.assertEqual(self.client.upstream.producerState, "producing")
            self.client = self.lab.client()
            self.session = self.client.bind()

    def test_a_client_is_read_to_its_end_when_its_server_is_slow(self) -> None:
        upstream = self.client.upstream

        def write(_data: bytes) -> None:
            if upstream.producer is not None:
                upstream.push_producer.pauseProducing()

        self.patch(upstream, "write", write)
        self.client.send(b"<iq id='last'></iq></wrong>")
        self.assertTrue(self.client.wire.closing)
        self.assertEqual(self.client.wire.producerState, "producing")

    def test_a_slow_client_whose_server_is_gone(self) -> None:
        valve = self.client.wire.push_producer
        assert self.client.server is not None
        self.client.server.connectionLost(Failure(ConnectionDone()))
        valve.pauseProducing()
        valve.resumeProducing()
        self.assertTrue(self.client.wire.closing)

    def test_what_comes_meanwhile_waits_in_order(self) -> None:
        self.client.wire.push_producer.pauseProducing()
        self.client.serve(b"<message id='1'/>")
        self.session.deliver(b"<message id='2'/>")
        self.assertEqual(self.turn(), b"")
        self.client.wire.push_producer.resumeProducing()
        self.assertEqual(self.client.wire.take(), b"<message id='1'/><message id='2'/>")

    def test_paused_again_by_what_waited(self) -> None:
        self.client.wire.push_producer.pauseProducing()
        self.session.deliver(b"<message/>")
        producer = self.client.wire.push_producer
        self.patch(self.client.wire, "write", lambda _data: producer.pauseProducing())
        producer.resumeProducing()
        self.assertEqual(self.client.upstream.producerState, "paused")

    def test_too_much_waiting_ends_the_session(self) -> None:
        self.client.wire.push_producer.pauseProducing()
        stanza = b"<message><body>" + b"x" * 100_000 + b"</body></message>"
        for _ in range(41):
            self.session.deliver(stanza)
        self.assertEqual(self.account.closed, [])
        self.session.deliver(stanza)
        self.session.deliver(stanza)
        self.assertEqual(self.account.closed, [self.session])
        said = self.client.wire.take()
        self.assertEqual(errors(said), [b"resource-constraint"])
        self.assertLess(len(said), 1000, "what was too much is not written after all")
        self.assertEqual(self.session._output.parts, [], "nor kept")
        self.assertEqual(self.client.upstream.take(), END)
        self.lab.clock.advance(6)
        self.assertTrue(self.client.wire.aborted)

    def test_a_burst_to_a_client_that_reads_is_no_excess(self) -> None:
        stanza = b"<presence><x>" + b"x" * 100_000 + b"</x></presence>"
        for _ in range(60):
            self.session.deliver(stanza)
        self.assertEqual(len(self.turn()), 60 * len(stanza))

    def test_an_excess_drained_in_time(self) -> None:
        stanza = b"<presence><x>" + b"x" * 1_000_000 + b"</x></presence>"
        for _ in range(5):
            self.client.wire.push_producer.pauseProducing()
            self.session.deliver(stanza)
            self.session.deliver(stanza)
            self.client.wire.push_producer.resumeProducing()
        self.assertEqual(self.account.closed, [])


class BadNeighbourTest(SessionTest):
    def test_others_are_unaffected(self) -> None:
        others = [self.lab.client() for _ in range(3)]
        for other in others:
            other.bind()
        self.client.send(b"<a></b>")
        self.client.vanish()
        for other in others:
            self.assertEqual(other.serve(b"<message/>"), b"<message/>")
            other.send(b"<presence/>")
            self.assertEqual(other.upstream.take(), b"<presence/>")
