"""Handlers of an account stream beside hostile rooms and servers, and beside handlers that are not well made."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.words.protocols.jabber import xmlstream
from twisted.words.protocols.jabber.error import StanzaError
from twisted.words.protocols.jabber.jid import JID
from twisted.words.xish import domish
from wokkel.generic import FallbackHandler, Request
from wokkel.subprotocols import XMPPHandler

from minimixproxy.accountstream.lifecycle_rules import LONGEST_URGENT_WAIT
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.jids import InvalidJID
from minimixproxy.minimix.subprotocols.subprotocol import Subprotocol
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.stanza import Stanza
from tests.accountstream.test_handlers import IQ_TIMEOUT, TIME, AccountTest, HandlerTest, Told, Waits
from tests.minimix.fakes import BARE, ROOM, STREAM

TOO_LARGE = "x" * FramingLimits().max_stanza


class Beside(AccountTest):
    """The three subprotocols of an account."""

    def test_what_is_too_large_to_be_taken(self) -> None:
        """Rooms remove whoever answers a message or presence with an error: requests alone are answered by one."""
        self.opened()
        for start in (
            f"<message type='groupchat' id='1' from='{ROOM}/bob'",
            f"<message id='2' from='{ROOM}/bob'",
            f"<message type='error' id='3' from='{ROOM}/bob'",
            f"<presence id='4' from='{ROOM}/bob'",
            f"<iq type='result' id='5' from='{ROOM}/bob'",
        ):
            self.upstream.says(f"{start} to='{STREAM}'><x>{TOO_LARGE}</x></{start[1:].split()[0]}>")
            self.assertEqual(self.upstream.take(), b"", start)
        self.upstream.says(f"<iq type='get' id='6' from='{ROOM}/bob' to='{STREAM}'><x>{TOO_LARGE}</x></iq>")
        self.assertIn(b"<iq type='error' to='room@muc.test/bob' id='6'>", self.upstream.take())

    def test_a_message_answers_no_iq(self) -> None:
        told: list[str] = []
        self.opened()
        self.stream.requests.ask(f"{ROOM}/bob", "get", b"<x/>", lambda answer: told.append(f"answer {answer}"))
        identity = self.upstream.take().partition(b"id='")[2].partition(b"'")[0].decode()
        ends = f"id='{identity}' from='{ROOM}/bob' to='{STREAM}'><x>{TOO_LARGE}</x>"
        self.upstream.says(f"<message type='error' {ends}</message>")
        self.assertEqual(told, [])
        self.upstream.says(f"<iq type='result' {ends}</iq>")
        self.assertEqual(len(told), 1)

    def test_a_stream_that_waits_for_an_answer_that_is_too_large(self) -> None:
        """It is closed with it, not after a while."""
        self.opened()
        self.stream.requests.ask("b.test", "get", b"<x/>", lambda _answer: None)
        identity = self.upstream.take().partition(b"id='")[2].partition(b"'")[0].decode()
        self.account.requests_done()
        self.assertEqual(self.upstream.take(), b"")
        self.upstream.says(f"<iq type='result' id='{identity}' from='b.test'><x>{TOO_LARGE}</x></iq>")
        self.assertEqual(self.upstream.take(), b"</stream:stream>")

    def test_nobody_answers_twice(self) -> None:
        """Wokkel's own handler for what no other has handled."""
        FallbackHandler().setHandlerParent(self.stream)
        self.opened()
        for stanza_id, payload in (("1", "<ping xmlns='urn:xmpp:ping'/>"), ("2", "<x xmlns='urn:x'/>")):
            self.upstream.says(f"<iq type='get' id='{stanza_id}' from='bob@b.test' to='{STREAM}'>{payload}</iq>")
            self.assertEqual(self.upstream.take().count(b"<iq"), 1, payload)


class Requests(HandlerTest):
    def setUp(self) -> None:
        super().setUp()
        self.handler = XMPPHandler()
        self.handler.setHandlerParent(self.stream)
        self.opened()

    def asked(self) -> tuple[Deferred[domish.Element], str]:
        result = self.handler.request(Request(recipient=JID("b.test")))
        return result, self.upstream.take().decode().partition("id='")[2].partition("'")[0]

    def test_an_answer_is_a_tree(self) -> None:
        """As `wokkel.disco.DiscoClientProtocol` and others read it."""
        result, identity = self.asked()
        self.upstream.says(f"<iq type='result' id='{identity}' from='b.test'><query xmlns='{TIME}'/></iq>")
        self.assertEqual(self.successResultOf(result).query.uri, TIME)

    def test_errors_that_name_no_condition(self) -> None:
        """They fail the request all the same."""
        for error in ("<error code='999'/>", "<error code='404'/>", "<error/>", ""):
            result, identity = self.asked()
            self.upstream.says(f"<iq type='error' id='{identity}' from='b.test'>{error}</iq>")
            self.failureResultOf(result, StanzaError)

    def test_no_answer_is_what_wokkel_says_it_is(self) -> None:
        result, _identity = self.asked()
        self.clock.advance(IQ_TIMEOUT)
        self.failureResultOf(result, xmlstream.TimeoutError)

    def test_what_is_no_request(self) -> None:
        """It fails as the answer would, and is not sent."""
        answer = domish.Element((None, "iq"))
        answer["type"] = "result"
        nowhere = domish.Element((None, "iq"))
        nowhere["type"], nowhere["to"] = "get", "@b.test"
        for element, error in ((answer, ValueError), (nowhere, InvalidJID), (domish.Element((None, "x")), ValueError)):
            self.failureResultOf(self.handler.request(element), error)
        self.assertEqual(self.upstream.take(), b"")


class Badly(HandlerTest):
    """Handlers that are not well made."""

    def test_one_that_fails_when_it_is_made(self) -> None:
        class Raises(XMPPHandler):  # type: ignore[misc]
            def connectionMade(self) -> None:
                raise RuntimeError("a fault")

        Raises().setHandlerParent(self.stream)
        Told(self.told).setHandlerParent(self.stream)
        self.opened()
        self.asks_time("1")
        self.assertEqual(self.told, ["made", "initialized", "asked 1"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_one_that_fails_at_what_is_too_large(self) -> None:
        class Raises(Waits):
            def left_out(self, *_what: object) -> None:
                raise RuntimeError("a fault")

            def not_sent(self, _answer: Stanza) -> None:
                raise RuntimeError("a fault")

        class Notes(Waits):
            def left_out(self, *_what: object) -> None:
                self.told.append("left out")

            def not_sent(self, _answer: Stanza) -> None:
                self.told.append("not sent")

        Raises(self.told).setHandlerParent(self.stream)
        Notes(self.told).setHandlerParent(self.stream)
        self.opened()
        self.upstream.says(f"<presence><x>{TOO_LARGE}</x></presence>")
        self.stream.send(f"<presence><x>{TOO_LARGE}</x></presence>")
        self.clock.advance(0)
        self.assertEqual(self.told, ["left out", "not sent"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 2)

    def test_one_that_brings_another(self) -> None:
        """That is told of the connection once."""
        told = self.told

        class Brings(XMPPHandler):  # type: ignore[misc]
            def connectionMade(self) -> None:
                Told(told).setHandlerParent(self.parent)

        Brings().setHandlerParent(self.stream)
        self.opened()
        self.asks_time("1")
        self.assertEqual(self.told, ["made", "initialized", "asked 1"])

    def test_one_that_brings_another_when_the_stream_is_back(self) -> None:
        """That is not told that it is open before it is."""
        told = self.told

        class Brings(XMPPHandler):  # type: ignore[misc]
            def connectionMade(self) -> None:
                Told(told, "new ").setHandlerParent(self.parent)
                told.append("all made")

        Told(told).setHandlerParent(self.stream)
        self.opened()
        self.breaks()
        told.clear()
        Brings().setHandlerParent(self.stream)
        self.stream.reopen()
        self.clock.advance(10)
        self.upstream.accept()
        self.assertEqual(told, ["made", "new made", "all made", "initialized", "new initialized"])

    def test_one_of_ours_that_goes(self) -> None:
        """It is told no more, while the stream is open."""
        waits = Waits(self.told)
        waits.setHandlerParent(self.stream)
        self.opened()
        self.upstream.says("<presence id='1'/>")
        waits.disownHandlerParent(self.stream)
        self.upstream.says("<presence id='2'/>")
        self.breaks()
        self.assertEqual(self.told, ["presence 1"])

    def test_one_that_goes_while_it_is_told(self) -> None:
        class Goes(Subprotocol):
            query = Waits.query

            def received(self, stanza: Stanza) -> None:
                self.disownHandlerParent(self.parent)

            def connectionLost(self, reason: Failure) -> None:
                raise AssertionError("it has gone")

        Goes(BARE).setHandlerParent(self.stream)
        Waits(self.told).setHandlerParent(self.stream)
        self.opened()
        for stanza_id in ("1", "2"):
            self.upstream.says(f"<presence id='{stanza_id}'/>")
        self.breaks()
        self.assertEqual(self.told, ["presence 1", "presence 2", "unreachable False"])

    def test_one_that_closes_the_stream(self) -> None:
        class Closes(XMPPHandler):  # type: ignore[misc]
            def connectionInitialized(self) -> None:
                self.parent.close()

        Closes().setHandlerParent(self.stream)
        Told(self.told).setHandlerParent(self.stream)
        self.opened()
        self.assertEqual(self.told, ["made", "lost ConnectionDone"])

    def test_one_that_sends_when_the_connection_is_lost(self) -> None:
        """The stream opens for it, as for any other."""

        class Sends(XMPPHandler):  # type: ignore[misc]
            def connectionLost(self, reason: Failure) -> None:
                super().connectionLost(reason)
                self.send("<again/>")

        Sends().setHandlerParent(self.stream)
        self.opened()
        for end, wait in ((self.stream.close, 0.0), (self.breaks, LONGEST_URGENT_WAIT)):
            end()
            self.clock.advance(wait)
            self.upstream.accept()
            self.assertEqual(self.upstream.take(), b"<again/>", end)

    def test_one_that_reopens_the_stream(self) -> None:
        class Reopens(XMPPHandler):  # type: ignore[misc]
            def connectionLost(self, reason: Failure) -> None:
                self.parent.reopen()

        Reopens().setHandlerParent(self.stream)
        self.opened()
        self.stream.close()
        self.upstream.accept()
        self.assertIs(self.stream.state, StreamState.OPEN)

    def test_one_that_closes_a_stream_that_is_lost(self) -> None:
        class Closes(XMPPHandler):  # type: ignore[misc]
            def connectionLost(self, reason: Failure) -> None:
                self.parent.close()

        Closes().setHandlerParent(self.stream)
        Told(self.told).setHandlerParent(self.stream)
        for count in (1, 2):
            self.opened()
            self.breaks()
            self.assertEqual(self.told, ["made", "initialized", "lost ConnectionDone"] * count)
        self.assertEqual(self.clock.getDelayedCalls(), [])
