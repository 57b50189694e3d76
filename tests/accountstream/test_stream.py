"""The account stream and its handlers, on an in-memory transport."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.xmlstream import Authenticator
from twisted.words.xish.xpath import XPathQuery

from minimixproxy.accountstream.account_login import LoginContext
from minimixproxy.accountstream.accounts import Accounts
from minimixproxy.accountstream.attempt import Opened
from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.accountstream.keepalive import CLOSE_TIMEOUT
from minimixproxy.accountstream.lifecycle_rules import LONGEST_URGENT_WAIT, MAX_QUEUED, OPENING_TIMEOUT, STABLE
from minimixproxy.accountstream.phases import StreamState
from minimixproxy.accountstream.stream import FIRST_WAIT, LONGEST_WAIT, MAX_REPLIES, AccountStream, StreamOptions
from minimixproxy.config.settings import Rooms, Settings
from minimixproxy.minimix.subprotocols.subprotocol import Subprotocol
from minimixproxy.safety_net import NET
from minimixproxy.wire.events import Skipped
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.oversized import Sendable
from tests.accountstream.places import Places
from tests.known_keys import MemoryKeys, Unguarded
from tests.minimix.fakes import BARE, HEADER, ROOM, STREAM, FakeSession, kinds
from tests.minimix.null_journal import NullJournal
from tests.minimix.upstreams import LOGIN, FakeLogins, Upstream

PING_INTERVAL = 30.0


class StreamTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.upstream = Upstream()
        self.turns = Places(20)
        self.stream = AccountStream(BARE, self.upstream, self.clock, self.turns, random=lambda: 0.5)
        self.called: list[str] = []
        for name in ("opened", "lost", "refused", "ping"):
            setattr(self.stream, name, lambda name=name: self.called.append(name))

    def opened(self) -> None:
        self.stream.send(b"<a/>")
        self.upstream.accept()
        self.assertEqual(self.upstream.take(), b"<a/>")
        self.called.clear()

    def fills(self) -> None:
        """As much is sent as may wait."""
        for _ in range(MAX_QUEUED // 65536):
            self.stream.send(b"x" * 65536)

    def breaks(self) -> None:
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.connectionLost(Failure(ConnectionDone()))

    @property
    def producer(self) -> IPushProducer:
        """Who is told whether the server reads."""
        return self.upstream.transport.push_producer

    def pending(self) -> list[float]:
        """In how many seconds something is to happen."""
        return [round(call.getTime() - self.clock.seconds(), 3) for call in self.clock.getDelayedCalls()]


class Lifecycle(StreamTest):
    def test_opens_with_the_first_stanza(self) -> None:
        self.assertEqual((self.stream.state, self.upstream.attempts), (StreamState.CLOSED, []))
        self.stream.send(b"<a/>")
        self.stream.send(b"<b/>")
        self.assertEqual((self.stream.state, len(self.upstream.attempts)), (StreamState.OPENING, 1))
        self.patch(self.stream, "opened", lambda: self.stream.send(b"<o/>"))
        self.upstream.accept()
        self.assertEqual((self.upstream.take(), self.stream.jid), (b"<a/><b/><o/>", STREAM))
        self.stream.send(b"<c/>")
        self.assertEqual((self.upstream.take(), self.stream.state), (b"<c/>", StreamState.OPEN))

    def test_cannot_open(self) -> None:
        for error in (CannotOpen("no way"), OSError("no way")):
            self.stream.send(b"<a/>")
            self.upstream.attempts.pop().errback(error)
            self.assertEqual((self.called, self.stream.state), (["lost"], StreamState.CLOSED))
            self.stream.close()
            self.called.clear()
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)  # one of ours, logged as such

    def test_cannot_open_at_once(self) -> None:
        self.patch(self.upstream, "connect", lambda *_: fail(CannotOpen("no way")))
        stream = AccountStream(BARE, self.upstream, self.clock, self.turns)
        self.patch(stream, "lost", lambda: self.called.append("lost"))
        stream.send(b"<a/>")
        self.assertEqual((self.called, stream.state), (["lost"], StreamState.CLOSED))

    def test_an_opening_that_takes_too_long(self) -> None:
        self.stream.send(b"<a/>")
        attempt = self.upstream.attempts[0]
        self.clock.advance(OPENING_TIMEOUT)
        self.assertEqual((attempt.called, self.called, self.stream.state), (True, ["lost"], StreamState.CLOSED))
        self.assertEqual(self.pending(), [])

    def test_closed_while_opening(self) -> None:
        self.stream.send(b"<a/>")
        attempt = self.upstream.attempts[0]
        self.stream.close()
        self.assertTrue(attempt.called)
        self.assertEqual((self.called, self.stream.state, self.pending()), ([], StreamState.CLOSED, []))

    def test_closed_while_an_opening_cannot_be_stopped(self) -> None:
        attempt: Deferred[Opened] = Deferred(lambda _: None)
        self.patch(self.upstream, "connect", lambda *_: attempt)
        stream = AccountStream(BARE, self.upstream, self.clock, self.turns)
        stream.send(b"<a/>")
        stream.close()
        self.assertEqual((stream.state, self.pending()), (StreamState.CLOSED, []))

    def test_close(self) -> None:
        self.opened()
        done = self.stream.shut_down()
        self.assertEqual(self.upstream.take(), b"</stream:stream>")
        self.assertTrue(self.upstream.transport.disconnecting)
        self.assertEqual((self.called, self.stream.jid), ([], ""))
        self.assertNoResult(done)
        self.breaks()
        self.successResultOf(done)
        self.assertEqual((self.called, self.pending()), ([], []))

    def test_close_towards_a_silent_server(self) -> None:
        self.opened()
        self.stream.close()
        self.assertFalse(self.upstream.transport.aborted)
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.upstream.transport.aborted)

    def test_connection_lost(self) -> None:
        self.opened()
        self.breaks()
        self.assertEqual((self.called, self.stream.state, self.stream.jid), (["lost"], StreamState.CLOSED, ""))
        self.stream.send(b"<again/>")
        self.assertEqual((self.stream.state, self.upstream.attempts), (StreamState.WAITING, []))
        self.clock.advance(FIRST_WAIT)
        self.upstream.accept()
        self.assertEqual(self.upstream.take(), b"<again/>")

    def test_stream_error(self) -> None:
        self.opened()
        error = "<conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
        self.upstream.says(f"<stream:error>{error}</stream:error></stream:stream>")
        self.assertEqual((self.called, self.stream.state), (["lost"], StreamState.CLOSED))
        self.assertTrue(self.upstream.transport.disconnecting)
        self.breaks()
        self.assertEqual((self.called, self.pending()), (["lost"], []))

    def test_what_is_no_stream_error(self) -> None:
        """Only the element of that name and namespace is one (RFC 6120 §4.9)."""
        self.opened()
        for xml in ("<error/>", "<error xmlns='urn:x'/>", "<stream:other/>", "<message><error/></message>"):
            self.upstream.says(xml)
            self.assertIs(self.stream.state, StreamState.OPEN, xml)
        self.upstream.says("<stream:error><reset xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")
        self.assertIs(self.stream.state, StreamState.CLOSED)
        self.assertTrue(self.upstream.transport.disconnecting, "the server has not said goodbye, and need not")
        self.clock.advance(CLOSE_TIMEOUT)
        self.assertTrue(self.upstream.transport.aborted)

    def test_pings_after_silence_and_gives_up(self) -> None:
        self.opened()
        self.clock.advance(PING_INTERVAL - 1)
        self.upstream.says("<presence/>")
        self.clock.advance(PING_INTERVAL - 1)
        self.assertEqual(self.called, [])
        self.clock.advance(1)
        self.assertEqual(self.called, ["ping"])
        self.clock.advance(PING_INTERVAL)
        self.assertEqual((self.called, self.upstream.transport.aborted), (["ping", "lost"], True))

    def test_pings_as_often_as_it_is_told(self) -> None:
        self.stream = AccountStream(BARE, self.upstream, self.clock, self.turns, StreamOptions(ping_interval=7.0))
        self.patch(self.stream, "ping", lambda: self.called.append("ping"))
        self.opened()
        self.clock.advance(6)
        self.assertEqual(self.called, [])
        self.clock.advance(1)
        self.assertEqual((self.called, self.upstream.transport.aborted), (["ping"], False))
        self.clock.advance(7)
        self.assertTrue(self.upstream.transport.aborted)

    def test_an_answered_ping_keeps_it(self) -> None:
        self.opened()
        for _ in range(5):
            self.clock.advance(PING_INTERVAL)
            self.upstream.says("<iq/>")
        self.assertEqual(self.called, ["ping"] * 5)

    def test_a_clock_set_forward_is_no_silence(self) -> None:
        self.opened()
        self.clock.advance(86400)
        self.assertEqual(self.called, ["ping"])
        self.upstream.says("<iq/>")
        self.clock.advance(PING_INTERVAL)
        self.assertEqual(self.stream.state, StreamState.OPEN)

    def test_a_server_that_does_not_read(self) -> None:
        self.opened()
        self.assertTrue(self.upstream.transport.streaming, "it is told, and not asked for more each time")
        self.producer.pauseProducing()
        self.fills()
        self.assertEqual(self.called, [])
        self.producer.resumeProducing()
        self.producer.pauseProducing()
        self.fills()
        self.assertEqual(self.called, [], "counted anew")
        self.stream.send(b"x")
        self.assertEqual((self.called, self.upstream.transport.aborted), (["lost"], True))

    def test_a_former_connection_that_does_not_read(self) -> None:
        """What its transport tells after the end is nothing to the stream that follows."""
        self.opened()
        former = self.producer
        self.breaks()
        former.pauseProducing()
        self.stream.send(b"<again/>")
        self.clock.advance(FIRST_WAIT)
        self.upstream.accept()
        self.upstream.take()
        for _ in range(MAX_REPLIES * 2 // 1024):
            self.stream.reply(b"x" * 1024)
        self.assertEqual(len(self.upstream.take()), MAX_REPLIES * 2)
        self.fills()
        self.stream.send(b"x")
        self.assertIs(self.stream.state, StreamState.OPEN)

    def test_closed_while_the_server_does_not_read(self) -> None:
        """The transport is to end once all is written, not to wait for us to produce more."""
        self.opened()
        self.producer.pauseProducing()
        self.stream.close()
        self.assertIsNone(self.upstream.transport.producer)

    def test_others_are_not_answered_by_a_server_that_does_not_read(self) -> None:
        """Somebody who asks and asks costs the account no stream."""
        self.opened()
        self.upstream.take()
        for _ in range(MAX_REPLIES * 2 // 1024):
            self.stream.reply(b"x" * 1024)  # it reads
        self.assertEqual(len(self.upstream.take()), MAX_REPLIES * 2)
        self.producer.pauseProducing()
        for _ in range(MAX_QUEUED * 2 // 1024):
            self.stream.reply(b"x" * 1024)
        self.stream.send(b"own")
        self.assertEqual(self.called, [])
        sent = self.upstream.take()
        self.assertTrue(sent.endswith(b"own"))
        self.assertLess(len(sent), MAX_REPLIES + 2048)
        self.producer.resumeProducing()
        self.stream.reply(b"again")
        self.assertEqual(self.upstream.take(), b"again")

    def test_one_stanza_that_is_more_than_may_wait(self) -> None:
        """The server may take it, for all we know: nothing waits then, neither for time to pass nor in line."""
        options = StreamOptions(sendable=Sendable(2 * MAX_QUEUED, 10))
        for comes_to in (StreamState.CLOSED, StreamState.WAITING):
            stream = AccountStream(BARE, self.upstream, self.clock, Places(0), options)
            self.patch(stream, "lost", lambda: self.called.append("lost"))
            if comes_to is StreamState.WAITING:
                stream.reopen()
            self.assertIs(stream.state, comes_to)
            stream.send(f"<message>{'x' * MAX_QUEUED}</message>".encode())
            self.assertEqual((self.called, stream.state, self.upstream.attempts), (["lost"], StreamState.CLOSED, []))
            self.called.clear()

    def test_too_much_before_it_opens(self) -> None:
        self.fills()
        self.stream.send(b"x")
        self.assertEqual((self.called, self.stream.state), (["lost"], StreamState.CLOSED))


class Answered(Subprotocol):
    """Notes what answers stanzas that were not sent."""

    query = XPathQuery("/*")

    def __init__(self, answers: list[Stanza]) -> None:
        super().__init__(BARE)
        self.answers = answers

    def received(self, stanza: Stanza) -> None:
        pass

    def not_sent(self, answer: Stanza) -> None:
        self.answers.append(answer)


class WhatCannotBeUsed(StreamTest):
    """What comes and is too large, what goes and would be, and what is no XML."""

    def setUp(self) -> None:
        super().setUp()
        self.answers: list[Stanza] = []
        Answered(self.answers).setHandlerParent(self.stream)

    def refused(self, data: str) -> tuple[bytes, list[bytes]]:
        """What the server gets in place of a stanza, and what answers it a turn later."""
        self.stream.send(data.encode())
        self.assertEqual(self.answers, [])
        self.clock.advance(0)
        answers, self.answers[:] = [answer.raw for answer in self.answers], []
        return self.upstream.take(), answers

    def test_a_fault_of_framing_ends_it_at_once(self) -> None:
        self.opened()
        self.upstream.says("<a></b>")
        self.assertEqual((self.called, self.upstream.transport.aborted), (["lost"], True))
        self.assertEqual(self.stream.state, StreamState.CLOSED)

    def test_a_stanza_too_large_to_come(self) -> None:
        left_out: list[Skipped] = []
        before = NET.skipped
        self.patch(self.stream, "left_out", left_out.append)
        self.opened()
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.framer = FastFramer(FramingLimits(300, skips=True))
        self.upstream.xmlstream.dataReceived(HEADER + b"<iq id='1'>" + b"x" * 400 + b"</iq><presence/>")
        self.assertEqual([(skipped.name, skipped.attributes) for skipped in left_out], [("iq", {"id": "1"})])
        self.assertEqual((self.called, self.stream.state, NET.skipped - before), ([], StreamState.OPEN, 1))

    def test_a_stanza_too_large_to_come_is_a_sign_of_life(self) -> None:
        self.opened()
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.framer = FastFramer(FramingLimits(300, skips=True))
        self.upstream.xmlstream.dataReceived(HEADER)
        self.clock.advance(PING_INTERVAL - 1)
        self.upstream.says(f"<message>{'x' * 400}</message>")
        self.clock.advance(PING_INTERVAL - 1)
        self.assertEqual(self.called, [])

    def test_a_stanza_too_large_to_go(self) -> None:
        self.opened()
        large = "x" * 262144
        error = (
            b"<error type='modify'><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            b"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>%b</text></error>"
        )
        cases = [
            ("<message to='r@m' id='1'>{}</message>", b"", [b"<message type='error' from='r@m' id='1'>{}</message>"]),
            (
                "<presence to='r@m/n' id='1'>{}</presence>",
                b"",
                [
                    b"<presence type='error' from='r@m/n' id='1'><x xmlns='http://jabber.org/protocol/muc'/>{}</presence>"
                ],
            ),
            ("<iq type='get' to='r@m' id='1'>{}</iq>", b"", [b"<iq type='error' from='r@m' id='1'>{}</iq>"]),
            ("<iq type='set' id='&lt;'>{}</iq>", b"", [b"<iq type='error' id='&lt;'>{}</iq>"]),
            ("<iq type='result' to='r@m' id='1'>{}</iq>", b"<iq type='error' id='1' to='r@m'>{}</iq>", []),
            ("<presence type='unavailable' to='r@m/n'>{}</presence>", b"<presence type='unavailable' to='r@m/n'/>", []),
            ("<message type='error' to='r@m'>{}</message>", b"", []),
        ]
        for data, instead, answers in cases:
            sent, got = self.refused(data.format(large))
            text = b"%d bytes are more than the 245760 that are sure to be taken" % len(data.format(large))
            self.assertEqual(sent, instead.replace(b"{}", error % b"the answer was too large"))
            self.assertEqual(got, [answer.replace(b"{}", error % text) for answer in answers])
        self.assertEqual((self.called, self.stream.state), ([], StreamState.OPEN))

    def test_an_id_too_large_to_go(self) -> None:
        """Whoever asks chooses it, and what answers bears it: nothing of that size goes, a refusal neither."""
        self.opened()
        large = "&apos;" * 44_000
        for kind in ("result", "error"):
            sent, got = self.refused(f"<iq type='{kind}' to='r@m/n' id='{large}'/>")
            self.assertEqual((sent, got), (b"", []))
        self.assertEqual((self.called, self.stream.state), ([], StreamState.OPEN))

    def test_too_deep_to_go(self) -> None:
        self.opened()
        for depth, goes in ((1000, True), (1001, False)):
            data = "<message to='r@m'>" + "<a>" * (depth - 1) + "</a>" * (depth - 1) + "</message>"
            sent, answers = self.refused(data)
            self.assertEqual((sent == data.encode(), len(answers)), (goes, 0 if goes else 1))

    def test_what_the_server_announces(self) -> None:
        """What waited for the stream to open is judged, too."""
        message = "<message to='r@m' id='1'>" + "x" * 50_000 + "</message>"
        self.stream.send(message.encode())
        attempt = self.upstream.attempts[0]
        xmlstream = FramedXmlStream(Authenticator())
        xmlstream.makeConnection(self.upstream.transport)
        attempt.callback(Opened(xmlstream, STREAM, limit=40_000))
        self.clock.advance(0)
        self.assertEqual((self.upstream.take(), len(self.answers)), (b"", 1))


class ComingBack(StreamTest):
    def setUp(self) -> None:
        super().setUp()
        self.patch(self.stream, "lost", self.stream.reopen)

    def fails(self) -> None:
        self.upstream.attempts.pop().errback(CannotOpen("not now"))

    def waits(self) -> float:
        """How long until the next attempt, which then begins."""
        (wait,) = self.pending()
        self.clock.advance(wait)
        self.assertEqual(len(self.upstream.attempts), 1)
        return wait

    def test_waits_grow_up_to_two_minutes(self) -> None:
        self.opened()
        self.breaks()
        waits = []
        for _ in range(10):
            waits.append(self.waits())
            self.fails()
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 64, 120, 120, 120])

    def test_waits_differ(self) -> None:
        for chance, expected in ((0.0, 0.5), (0.999, 1.499)):
            stream = AccountStream(BARE, self.upstream, self.clock, self.turns, random=partial(float, chance))
            self.patch(stream, "lost", stream.reopen)
            stream.send(b"<a/>")
            self.fails()
            self.assertEqual(self.pending(), [expected])
            stream.close()

    def test_a_stream_that_does_not_last_is_a_failure(self) -> None:
        """Two proxies that take a resource from each other end up doing it every two minutes."""
        self.opened()
        waits = []
        for _ in range(8):
            self.breaks()
            waits.append(self.waits())
            self.upstream.accept()
        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 64, 120])

    def test_a_stable_stream_begins_anew(self) -> None:
        self.opened()
        for stable, expected in ((0, 1), (0, 2), (STABLE - 1, 4), (STABLE, 1)):
            while stable:
                step = min(stable, PING_INTERVAL - 1)
                self.clock.advance(step)
                self.upstream.says("<iq/>")
                stable -= step
            self.breaks()
            self.assertEqual(self.waits(), expected)
            self.upstream.accept()

    def test_one_that_takes_nothing_in_any_more_was_stable(self) -> None:
        self.opened()
        for stable, wait in ((0, 1), (0, 2), (STABLE, 1)):
            for _ in range(4):
                self.clock.advance(stable / 4)
                self.upstream.says("<iq/>")
            self.producer.pauseProducing()
            self.fills()
            self.stream.send(b"x")
            self.assertEqual(self.waits(), wait)
            self.upstream.accept()

    def test_after_a_restart_at_once(self) -> None:
        self.stream.reopen()
        self.assertEqual((self.stream.state, len(self.upstream.attempts)), (StreamState.OPENING, 1))

    def test_reopen_where_it_is_not_closed(self) -> None:
        self.stream.reopen()
        self.stream.reopen()
        self.upstream.accept()
        self.stream.reopen()
        self.assertEqual((self.stream.state, self.upstream.attempts), (StreamState.OPEN, []))

    def test_a_client_waits_for_seconds_only(self) -> None:
        self.stream.reopen()
        for _ in range(9):
            self.fails()
            wait = self.waits()
        self.assertEqual(wait, LONGEST_WAIT)
        self.fails()
        self.stream.send(b"<a/>")
        self.assertEqual(self.waits(), LONGEST_URGENT_WAIT)
        self.upstream.accept()
        self.assertEqual(self.upstream.take(), b"<a/>")

    def test_whoever_closes_it_begins_anew(self) -> None:
        """Waits that grew for rooms which nobody wants any more are nobody's."""
        self.stream.reopen()
        first = 0.0
        for _ in range(6):
            self.fails()
            wait = self.waits()
            first = first or wait
        self.assertGreater(wait, first)
        self.stream.close()
        self.upstream.attempts.clear()
        self.stream.reopen()
        self.assertEqual(self.stream.state, StreamState.OPENING, "at once")
        self.fails()
        self.assertEqual(self.waits(), first)

    def test_a_client_comes_late(self) -> None:
        self.stream.reopen()
        for _ in range(9):
            self.fails()
            self.waits()
        self.fails()
        self.clock.advance(30)
        self.stream.mended()
        self.assertEqual(self.stream.state, StreamState.OPENING)

    def test_what_is_queued_when_an_attempt_fails_is_dropped(self) -> None:
        self.stream.send(b"<a/>")
        self.fails()
        self.waits()
        self.upstream.accept()
        self.assertEqual(self.upstream.take(), b"")

    def test_close_stops_the_waiting(self) -> None:
        self.stream.reopen()
        self.fails()
        self.stream.close()
        self.assertEqual((self.stream.state, self.pending()), (StreamState.CLOSED, []))

    def test_close_gives_up_its_place_in_line(self) -> None:
        others = [AccountStream(BARE, self.upstream, self.clock, self.turns) for _ in range(25)]
        for other in others:
            other.reopen()
        self.stream.reopen()
        self.assertEqual((self.stream.state, len(self.upstream.attempts)), (StreamState.WAITING, 20))
        self.stream.close()
        for other in others[:20]:
            other.close()
        self.clock.advance(10)
        self.assertEqual([other.state for other in others[20:]], [StreamState.OPENING] * 5)
        self.assertEqual((self.stream.state, len(self.upstream.attempts)), (StreamState.CLOSED, 25))


class Refused(StreamTest):
    def refuse(self) -> None:
        self.stream.send(b"<a/>")
        self.upstream.attempts.pop().errback(CredentialRefused("not-authorized"))

    def test_is_told_and_stays(self) -> None:
        self.refuse()
        self.assertEqual((self.called, self.stream.state), (["refused"], StreamState.REFUSED))
        self.stream.reopen()
        self.clock.advance(3600)
        self.assertEqual((self.called, self.upstream.attempts), (["refused"], []))

    def test_who_sends_is_told_again_once(self) -> None:
        self.refuse()
        self.called.clear()
        self.stream.send(b"<a/>")
        self.stream.send(b"<b/>")
        self.assertEqual(self.called, [], "not while sending")
        self.clock.advance(0)
        self.assertEqual((self.called, self.pending(), self.upstream.attempts), (["refused"], [], []))

    def test_mended(self) -> None:
        self.refuse()
        self.stream.send(b"<a/>")
        self.stream.mended()
        self.stream.reopen()
        self.upstream.accept()
        self.clock.advance(0)
        self.assertEqual((self.called, self.upstream.take()), (["refused", "opened"], b""))

    def test_close_is_no_cure(self) -> None:
        self.refuse()
        self.stream.close()
        self.assertEqual(self.stream.state, StreamState.REFUSED)

    def test_without_a_credential_from_the_start(self) -> None:
        self.stream.refuse()
        self.stream.reopen()
        self.assertEqual((self.stream.state, self.upstream.attempts, self.called), (StreamState.REFUSED, [], []))


class WhyNot(StreamTest):
    """What has gone wrong last, for whoever asks why the stream is not open."""

    def fault(self) -> tuple[str, float]:
        return self.stream.fault.what, self.stream.fault.when

    def test_nothing_yet(self) -> None:
        self.assertEqual(self.fault(), ("", 0.0))

    def test_cannot_be_opened(self) -> None:
        self.clock.advance(7)
        self.stream.send(b"<a/>")
        self.upstream.attempts.pop().errback(CannotOpen("connection refused"))
        self.assertEqual(self.fault(), ("connection refused", 1_700_000_007.0))

    def test_a_fault_of_ours(self) -> None:
        self.stream.send(b"<a/>")
        self.upstream.attempts.pop().errback(ValueError("internal"))
        self.assertEqual(self.fault()[0], "a fault of the proxy: see the log")
        self.flushLoggedErrors(ValueError)

    def test_refused(self) -> None:
        self.stream.send(b"<a/>")
        self.upstream.attempts.pop().errback(CredentialRefused("login refused: not-authorized"))
        self.assertEqual(self.fault()[0], "login refused: not-authorized")

    def test_refused_from_the_start(self) -> None:
        self.stream.refuse("the account is not enrolled")
        self.assertEqual(self.fault()[0], "the account is not enrolled")

    def test_late(self) -> None:
        self.stream.send(b"<a/>")
        self.clock.advance(60)
        self.assertEqual(self.fault()[0], "it did not open in time")

    def test_lost(self) -> None:
        def error() -> None:
            self.upstream.says("<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>")

        def silence() -> None:
            self.clock.pump([PING_INTERVAL] * 5)

        for end, why in (
            (error, "ended by the server: conflict"),
            (self.breaks, "the connection ended"),
            (silence, "the server was silent for "),
            (lambda: self.upstream.says("<a b/>"), "the server sent what is no XML for us: "),
        ):
            self.stream.send(b"<a/>")
            self.clock.advance(10)
            self.upstream.accept()
            self.assertIs(self.stream.state, StreamState.OPEN)
            end()
            self.assertIs(self.stream.state, StreamState.CLOSED)
            self.assertIn(why, self.fault()[0])


class Composed(SynchronousTestCase):
    """Accounts, account, stream and handlers together: what arrives as bytes reaches the session."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.upstream = Upstream()
        settings = Settings.model_construct(rooms=Rooms(bookmarks="off"))
        logins = FakeLogins(self.upstream.connect)
        self.accounts = Accounts(
            LoginContext(settings, self.clock, NullJournal(), logins, lambda _bare: "", MemoryKeys(), Unguarded())
        )
        self.phone = FakeSession("phone", self.clock)
        self.account = self.accounts.session_bound(self.phone, LOGIN)

    def join(self) -> None:
        from minimixproxy.wire.stanza import parse_stanza

        xml = f"<presence to='{ROOM}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        self.account.from_client(self.phone, parse_stanza(xml))
        self.upstream.accept()
        user = "xmlns='http://jabber.org/protocol/muc#user'"
        self.upstream.says(
            f"<presence from='{ROOM}/alice' to='{STREAM}'><x {user}><status code='110'/></x></presence>"
            f"<message type='groupchat' from='{ROOM}' to='{STREAM}'><subject/></message>"
        )

    def test_join_and_fork(self) -> None:
        self.join()
        self.upstream.says(f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}'><body>hi</body></message>")
        self.assertEqual(kinds(self.phone.received), ["presence alice 110", "subject ", "bob: hi"])

    def test_iq(self) -> None:
        self.join()
        self.upstream.take()
        self.upstream.says(f"<iq type='get' id='1' from='{ROOM}/bob' to='{STREAM}'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.assertEqual(self.upstream.take(), f"<iq type='result' id='1' to='{ROOM}/bob'></iq>".encode())

    def test_invalid_addresses_cost_nothing(self) -> None:
        self.join()
        for name in ["presence", "message", "iq"]:
            self.upstream.says(f"<{name} from='@' id='1'/>")
        self.upstream.says(f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}'><body>hi</body></message>")
        self.assertEqual(kinds(self.phone.received)[-1], "bob: hi")

    def test_stream_lost_and_back(self) -> None:
        self.join()
        assert self.upstream.xmlstream is not None
        self.upstream.xmlstream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(kinds(self.phone.received)[-1], "subject ", "it sees nothing of it")
        self.clock.advance(2 * FIRST_WAIT)
        self.upstream.accept()
        self.assertIn(f"to='{ROOM}/alice'".encode(), self.upstream.take())

    def test_same_account_until_idle(self) -> None:
        laptop = FakeSession("laptop", self.clock)
        self.assertIs(self.accounts.session_bound(laptop, LOGIN), self.account)
        self.account.session_closed(laptop)
        self.account.session_closed(self.phone)
        self.assertIsNot(self.accounts.session_bound(self.phone, LOGIN), self.account)

    def test_stop(self) -> None:
        self.join()
        self.upstream.take()
        self.accounts.startService()
        self.accounts.stopService()
        self.assertEqual(self.upstream.take(), b"</stream:stream>")
