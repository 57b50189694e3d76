"""Reading a server's stream one event at a time: what comes, what ends it, and what is given back."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.errors import UpstreamProtocolError, UpstreamTLSError, UpstreamUnreachable
from minimixproxy.c2s.upstream.conversation import _MAX_WAITING, Conversation
from minimixproxy.c2s.upstream.patience import Patience
from minimixproxy.wire.events import Event
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.trees import MAX_TAGS
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.c2s.helpers import SERVER_HEADER

BROKEN = (
    (b"</stream:stream>", "closed the stream"),
    (b"</a>", "the server's stream is broken: not-well-formed"),
    (b"<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>", "ended the stream: reset"),
    (b"<features>" + b"<a/>" * MAX_TAGS + b"</features>", "too large to be read"),
    (b"<message/>" * (_MAX_WAITING + 1), "policy-violation too much at once"),
)


Read = TypeVar("Read")


class ConversationTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.xs = FramedXmlStream(Authenticator(), FramingLimits(max_stanza=1_000_000, skips=True))
        self.xs.makeConnection(StringTransport())

    def reading(self, what: Coroutine[Deferred[Any], Any, Read]) -> Deferred[Read]:
        return Deferred.fromCoroutine(what)

    def opened(self, then: Callable[[list[Event]], None] | None = None) -> Conversation:
        """A conversation in which the server has sent its header."""
        conversation = Conversation(self.xs, then)
        conversation.__enter__()
        waiting = self.reading(conversation.header())
        self.assertNoResult(waiting)
        self.xs.dataReceived(SERVER_HEADER)
        self.assertEqual(self.successResultOf(waiting).attributes["id"], "s1")
        return conversation

    def test_one_after_the_other(self) -> None:
        conversation = self.opened()
        self.xs.dataReceived(b"<message id='1'/> <message id='2'/>")
        for expected in "12":
            self.assertEqual(self.successResultOf(self.reading(conversation.element()))["id"], expected)
        waiting = self.reading(conversation.element())
        self.xs.dataReceived(b" ")
        self.assertNoResult(waiting)
        self.xs.dataReceived(b"<message id='3'/>")
        self.assertEqual(self.successResultOf(waiting)["id"], "3")

    def test_what_is_out_of_place(self) -> None:
        conversation = self.opened()
        waiting = self.reading(conversation.header())
        self.xs.dataReceived(b"<message/>")
        self.assertIn("did not answer with a stream header", str(self.failureResultOf(waiting, UpstreamProtocolError)))
        waiting = self.reading(conversation.header())
        self.xs.dataReceived(b"<stream:stream/>")  # a header within a stream is none
        self.failureResultOf(waiting, UpstreamProtocolError)
        conversation.restart()
        next_one = self.reading(conversation.element())
        self.xs.dataReceived(SERVER_HEADER)
        self.assertIn("header out of place", str(self.failureResultOf(next_one, UpstreamProtocolError)))

    def test_what_is_no_stream_of_xmpp(self) -> None:
        with Conversation(self.xs) as conversation:
            self.xs.dataReceived(b"<stream xmlns='urn:other'>")
            self.failureResultOf(self.reading(conversation.header()), UpstreamProtocolError)

    def test_what_ends_it(self) -> None:
        for said, why in BROKEN:
            self.setUp()
            conversation = self.opened()
            waiting = self.reading(conversation.element())
            self.xs.dataReceived(said)
            self.assertIn(why, self.failureResultOf(waiting, UpstreamProtocolError).getErrorMessage())

    def test_as_many_as_may_wait(self) -> None:
        conversation = self.opened()
        self.xs.dataReceived(b"<message/> " * _MAX_WAITING)
        for _ in range(_MAX_WAITING):
            self.successResultOf(self.reading(conversation.element()))

    def test_what_came_before_the_connection_was_lost_counts(self) -> None:
        for reason, error, why in (
            (ConnectionLost(), UpstreamUnreachable, "the connection was lost"),
            (SSL.Error([("", "", "bad record")]), UpstreamTLSError, "TLS failed: bad record"),
            (VerificationError([]), UpstreamTLSError, "not for this domain"),
        ):
            self.setUp()
            conversation = self.opened()
            self.xs.dataReceived(b"<message id='1'/>")
            self.xs.connectionLost(Failure(reason))
            self.assertEqual(self.successResultOf(self.reading(conversation.element()))["id"], "1")
            for _ in range(2):
                said = self.failureResultOf(self.reading(conversation.element()), error).getErrorMessage()
                self.assertIn(why, said)

    def test_who_waits_hears_of_the_end(self) -> None:
        conversation = self.opened()
        waiting = self.reading(conversation.element())
        self.xs.connectionLost(Failure(ConnectionLost()))
        self.failureResultOf(waiting, UpstreamUnreachable)

    def test_who_has_stopped_waiting_takes_nothing(self) -> None:
        conversation = self.opened()
        waiting = self.reading(conversation.element())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.xs.dataReceived(b"<message id='1'/>")
        self.assertEqual(self.successResultOf(self.reading(conversation.element()))["id"], "1")

    def test_what_is_left_is_given_back(self) -> None:
        taken: list[Event] = []
        for then in (None, taken.extend):
            self.setUp()
            seen: list[str] = []
            self.xs.addObserver("/message", lambda stanza, seen=seen: seen.append(stanza["id"]))
            conversation = self.opened(then)
            self.xs.dataReceived(b"<message id='1'/><message id='2'/><message id='3'/>")
            self.successResultOf(self.reading(conversation.element()))
            self.assertEqual(seen, [])
            conversation.__exit__()
            self.xs.dataReceived(b"<message id='4'/>")
            if then is None:
                self.assertEqual(seen, ["2", "3", "4"])
            else:
                stanzas = [event for event in taken if isinstance(event, Stanza)]
                self.assertEqual(([stanza["id"] for stanza in stanzas], seen), (["2", "3", "4"], []))
                self.assertEqual(len(stanzas), len(taken))

    def test_nothing_is_given_back_if_nothing_is_left(self) -> None:
        calls: list[list[Event]] = []
        self.opened(calls.append).__exit__()
        self.assertEqual(calls, [])

    def test_a_new_stream_forgets_the_old_one(self) -> None:
        conversation = self.opened()
        self.xs.dataReceived(b"<message id='injected'/>")
        conversation.restart()
        waiting = self.reading(conversation.header())
        self.assertNoResult(waiting)
        self.xs.dataReceived(SERVER_HEADER)
        self.successResultOf(waiting)

    def patient(self) -> tuple[Clock, Conversation]:
        """A conversation in which the server has fifteen seconds for each thing that it is to say."""
        clock = Clock()
        conversation = Conversation(self.xs, patience=Patience(clock, 15.0))
        conversation.__enter__()
        self.xs.dataReceived(SERVER_HEADER)
        self.successResultOf(self.reading(conversation.header()))
        return clock, conversation

    def test_a_silent_server(self) -> None:
        clock, conversation = self.patient()
        waiting = self.reading(conversation.element())
        clock.advance(14)
        self.assertNoResult(waiting)
        clock.advance(1)
        self.assertIn("nothing for 15 seconds", str(self.failureResultOf(waiting, UpstreamUnreachable)))
        self.xs.dataReceived(b"<message id='late'/>")
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_only_what_the_server_takes_counts(self) -> None:
        clock, conversation = self.patient()
        for number in range(5):
            clock.advance(100)  # somebody derives keys, or the machine is busy
            waiting = self.reading(conversation.element())
            clock.advance(14)
            self.xs.dataReceived(b"<message id='%d'/>" % number)
            self.assertEqual(self.successResultOf(waiting)["id"], str(number))
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_what_has_come_and_is_not_read_yet_is_not_late(self) -> None:
        """A reactor that was held up comes to its timers first."""
        clock, conversation = self.patient()
        waiting = self.reading(conversation.element())
        clock.callLater(15.0, self.xs.dataReceived, b"<message id='1'/>")
        clock.advance(15)
        self.assertEqual(self.successResultOf(waiting)["id"], "1")

    def test_who_has_stopped_waiting_for_a_silent_server(self) -> None:
        clock, conversation = self.patient()
        waiting = self.reading(conversation.element())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(clock.getDelayedCalls(), [])
