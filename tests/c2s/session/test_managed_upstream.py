"""Stream management between a session and its server (XEP-0198): what is told to whom, and streams that are resumed."""

from __future__ import annotations

import re

from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.jid import JID
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.errors import UpstreamRefused, UpstreamUnfit, UpstreamUnreachable
from minimixproxy.c2s.session.client_state import Ways
from minimixproxy.c2s.session.reconnecting import ANSWER_WITHIN as RESUMED_WITHIN
from minimixproxy.c2s.session.reconnecting import REFUSALS
from minimixproxy.c2s.session.server_management import ANSWER_WITHIN, ASK_AFTER
from minimixproxy.c2s.session.server_stream import MAX_UNACKNOWLEDGED, MAX_UNACKNOWLEDGED_BYTES, MAX_UNHANDLED
from minimixproxy.c2s.upstream import connecting
from minimixproxy.c2s.upstream.connecting import server_framing
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.counting.resumptions import RESUMPTIONS
from minimixproxy.timing.backoff import LASTING
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.c2s.helpers import SERVER_FEATURES, SERVER_HEADER
from tests.c2s.server.test_negotiation import END, errors
from tests.c2s.session.test_stream_management import ASK, MESSAGE, NS, ManagedTest, ack, failed
from tests.counted import Counted
from tests.wires import Wire

ENABLED = b"<enabled %b id='up' resume='true' max='300'/>" % NS


class UpstreamTest(ManagedTest):
    """The server has switched stream management on, the client too."""

    enabled = ENABLED

    def setUp(self) -> None:
        super().setUp()
        self.client = self.lab.client()
        self.client.log_in(features=SERVER_FEATURES)
        self.client.send(b"<iq type='set' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>")
        self.client.upstream.take()
        self.client.serve(
            b"<iq type='result' id='b1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>"
            b"<jid>a@example.org/up</jid></bind></iq>"
        )
        self.session = self.lab.accounts.bound[-1]
        self.enable_upstream()
        self.previd = self.enable(self.client)

    def enable_upstream(self) -> None:
        self.assertEqual(self.client.upstream.take(), b"<enable %b resume='true'/>" % NS)
        self.assertEqual(self.client.serve(self.enabled), b"")

    def up(self) -> bytes:
        """What the server has been sent."""
        return self.client.upstream.take()

    def serve(self, data: bytes) -> bytes:
        """Send as the server; return what the client gets in this turn."""
        return self.client.serve(data) + self.turn()

    def asked(self) -> bytes:
        """What the server is told that has been handled."""
        self.client.serve(ASK)
        return self.up()

    def lose(self) -> None:
        assert self.client.server is not None
        self.client.server.connectionLost(Failure(ConnectionLost()))

    def comes_up(self) -> Wire:
        """The server is there again: return its wire, on which the resumption is to be answered."""
        self.lab.clock.advance(0)
        wire = Wire()
        server = FramedXmlStream(Authenticator(), server_framing(self.lab.settings.limits))
        server.namespace = "jabber:client"
        server.makeConnection(wire)
        server.otherEntity = JID("example.org")  # type: ignore[assignment]
        self.client.server, self.client.upstream = server, wire
        self.lab.logins[-1][1].callback(server)
        self.assertIn(b"<stream:stream", wire.take())
        server.dataReceived(SERVER_HEADER + SERVER_FEATURES)
        return wire


class CountingTest(UpstreamTest):
    def test_a_server_that_refuses(self) -> None:
        client = self.lab.client()
        client.bind(features=SERVER_FEATURES)
        client.send(b"<message/>")
        client.serve(failed(b"internal-server-error"))
        self.assertEqual(client.upstream.take(), b"<message/>")
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(client.upstream.take(), b"")
        client.serve(b"<message/>")
        self.assertFalse(client.wire.closing)
        self.assertEqual(errors(client.serve(ASK)), [b"remote-connection-failed"], "it has refused that")

    def test_a_server_without_it_is_not_asked(self) -> None:
        client = self.lab.client()
        client.bind()
        client.send(b"<message/>")
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(client.upstream.take(), b"<message/>")

    def test_what_a_client_sent_is_handled_when_the_server_has_it(self) -> None:
        self.account.taken_from_client = {"here"}
        self.client.send(b"<message id='1'/><message id='2'/><message id='here'/>")
        self.assertEqual(self.up(), b"<message id='1'/><message id='2'/>")
        self.assertEqual(self.handled(), ack(0))
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(self.up(), ASK)
        self.assertEqual(self.serve(ack(1)), ack(1), "who asked too early is told")
        self.assertEqual(self.serve(ack(2)), ack(3), "with what was for nobody else")
        self.assertEqual(self.handled(), ack(3))

    def test_what_the_server_sent_is_handled_when_the_client_has_it(self) -> None:
        self.account.taken_from_server = {"taken"}
        self.client.serve(MESSAGE % 1 + b"<message id='taken'/>" + MESSAGE % 2)
        self.session.deliver(MESSAGE % 3)
        self.turn()
        self.assertEqual(self.asked(), ack(0))
        self.client.send(ack(1))
        self.assertEqual(self.asked(), ack(2))
        self.client.send(ack(3))
        self.assertEqual(self.asked(), ack(3))

    def test_the_account_follows_what_the_server_sent(self) -> None:
        """It learns of each when the client has it; of what the client got in its place it does not."""
        self.account.follows, self.account.taken_from_server = True, {"taken"}
        self.client.serve(b"<message id='1'/><message id='taken'/>")
        self.account.follows = False
        self.client.serve(b"<message id='2'/>")
        self.account.follows = True
        self.client.serve(b"<message id='3'/><message id='4'/>")
        self.client.send(ack(2))
        self.assertEqual(self.account.got, ["1"])
        self.client.send(ack(3))
        self.assertEqual((self.account.got, self.asked()), (["1", "3"], ack(4)))

    def test_the_account_follows_what_a_server_sent_that_does_not_manage_streams(self) -> None:
        client = self.lab.client()
        client.bind()
        self.enable(client)
        self.account.follows = True
        client.serve(b"<message id='1'/>")
        self.assertEqual(self.account.got, [])
        client.send(ack(1))
        self.assertEqual(self.account.got, ["1"])

    def test_what_a_client_gets_in_its_place_is_handled_when_the_client_has_it(self) -> None:
        """Else the server would have no more of it when a client that sleeps does not come back."""
        self.account.instead = {"1": b"<message id='1' to='me'/>"}
        self.assertEqual(self.serve(b"<message id='1'/>"), b"<message id='1' to='me'/>")
        self.assertEqual(self.asked(), ack(0))
        self.client.send(ack(1))
        self.assertEqual(self.asked(), ack(1))

    def test_what_a_client_gets_in_its_place_comes_in_its_place(self) -> None:
        """What is told of rooms may wait for the disk: results of an archive are not to come behind its last word."""
        self.session.use(Ways(self.fail, self.fail, self.fail), inactive=False)
        self.account.instead = {"2": b"<message id='2' to='me'/>"}
        got = self.serve(b"<message id='1'/><message id='2'/><iq id='3' type='result'/>")
        self.assertEqual(got, b"<message id='1'/><message id='2' to='me'/><iq id='3' type='result'/>")

    def test_what_only_the_proxy_takes(self) -> None:
        self.account.taken_from_server = {"taken"}
        self.client.serve(b"<message id='taken'/>")
        self.assertEqual(self.asked(), ack(1))

    def test_a_client_without_stream_management(self) -> None:
        client = self.lab.client()
        client.bind(features=SERVER_FEATURES)
        client.serve(ENABLED + MESSAGE % 1 + ASK)
        self.assertEqual(client.upstream.take(), ack(1))

    def test_what_came_before_it_was_switched_on_is_not_counted(self) -> None:
        client = self.lab.client()
        client.bind(features=SERVER_FEATURES)
        client.serve(MESSAGE % 1 + ENABLED + MESSAGE % 2 + ASK)
        self.assertEqual(client.upstream.take(), ack(1))

    def test_a_server_that_asked_too_early_is_told(self) -> None:
        """Prosody does not ask again before it has sent something else."""
        self.client.serve(MESSAGE % 1 + MESSAGE % 2 + ASK)
        self.assertEqual(self.up(), ack(0))
        self.client.send(ack(2))
        self.turn()
        self.assertEqual(self.up(), ack(2), "once for both")
        self.client.serve(MESSAGE % 3)
        self.client.send(ack(3))
        self.turn()
        self.assertEqual(self.up(), b"", "it has not asked")

    def test_the_end_says_what_is_handled(self) -> None:
        """Of the rest the server takes care: it would give it to another device once more."""
        ends = (lambda: self.client.send(END), lambda: self.session.close("conflict"))
        for end in ends:
            self.setUp()
            self.client.serve(MESSAGE % 1 + MESSAGE % 2)
            self.client.send(ack(1))
            end()
            self.assertEqual(self.up(), ack(1) + END)

    def test_what_comes_before_it_is_switched_on_for_a_client_that_has_it_already(self) -> None:
        client = self.lab.client()
        client.bind(features=SERVER_FEATURES)
        client.wire.take()
        self.enable(client)
        client.serve(MESSAGE % 1 + ENABLED + ASK)
        self.assertEqual(client.upstream.take(), ack(0))
        client.send(ack(1))
        client.serve(MESSAGE % 2 + ASK)
        self.assertEqual(client.upstream.take(), ack(0))

    def test_only_stanzas_count(self) -> None:
        other = b"<thing xmlns='urn:other'/>"
        self.client.send(MESSAGE % 1 + other)
        self.client.serve(ack(1))
        self.assertEqual(self.handled(), ack(1))

    def test_a_server_that_refuses_when_much_has_been_said(self) -> None:
        client = self.lab.client()
        client.bind(features=SERVER_FEATURES)
        for _ in range(MAX_UNACKNOWLEDGED // 4):
            client.send(MESSAGE % 1 * 4)
            self.turn()
        self.assertEqual(client.wire.producerState, "paused")
        client.serve(failed(b"internal-server-error"))
        self.assertEqual(client.wire.producerState, "producing")

    def test_a_client_that_says_much_in_few_words_has_to_wait(self) -> None:
        client = self.lab.client()
        client.bind(features=SERVER_FEATURES)
        client.serve(ENABLED)
        large = b"<message to='b@example.org'><body>%b</body></message>" % (b"x" * 100_000)
        for number in range(MAX_UNACKNOWLEDGED_BYTES // 100_000 + 1):
            self.assertEqual(client.wire.producerState, "producing", number)
            client.send(large)
            self.turn()
        self.assertEqual(client.wire.producerState, "paused")

    def test_words_that_cannot_be(self) -> None:
        for word in (ack(1), ack("x"), ENABLED, failed(b"item-not-found"), b"<what %b/>" % NS):
            self.setUp()
            self.assertEqual(errors(self.serve(word)), [b"remote-connection-failed"], word)

    def test_one_that_sleeps_is_not_forgotten_by_its_server(self) -> None:
        """It ends in order while the server still has all that it was not told."""
        self.client.vanish()
        self.client.serve(b"".join(MESSAGE % number for number in range(MAX_UNHANDLED)))
        self.assertEqual(self.account.closed, [])
        self.assertEqual(self.asked(), ack(0))
        self.client.serve(MESSAGE % MAX_UNHANDLED)
        self.assertEqual(self.account.closed, [self.session])
        self.assertEqual(self.up(), END)

    def test_what_was_not_handled_is_not_said_to_be_in_the_end(self) -> None:
        self.client.send(MESSAGE % 1)
        self.client.send(END)
        self.client.vanish()
        self.lab.clock.advance(100)
        _client, told = self.comes_back()
        self.assertEqual(told, failed(b"item-not-found", b" h='0'"))


class ResumedUpstreamTest(UpstreamTest):
    def test_nobody_notices(self) -> None:
        self.client.send(MESSAGE % 1 + MESSAGE % 2)
        self.up()
        self.client.serve(MESSAGE % 11 + MESSAGE % 12)
        self.client.send(ack(1))
        self.lose()
        self.client.send(MESSAGE % 3)
        wire = self.comes_up()
        self.assertEqual(wire.take(), b"<resume %b previd='up' h='1'/>" % NS)
        told = self.serve(b"<resumed %b previd='up' h='1'/>" % NS + MESSAGE % 12 + MESSAGE % 13)
        self.assertEqual(told, MESSAGE % 13, "one it has already")
        self.assertEqual(wire.take(), MESSAGE % 2 + MESSAGE % 3)
        self.assertEqual(self.account.closed, [])
        self.client.send(ack(3))
        self.assertEqual(self.asked(), ack(3))
        self.client.send(MESSAGE % 4)
        self.assertEqual(self.up(), MESSAGE % 4)
        self.client.serve(ack(4))
        self.assertEqual(self.handled(), ack(4))

    def test_what_is_acknowledged_before_the_server_answers(self) -> None:
        """It sends once more what was not handled when it was told."""
        self.client.serve(MESSAGE % 1)
        self.lose()
        wire = self.comes_up()
        self.assertEqual(wire.take(), b"<resume %b previd='up' h='0'/>" % NS)
        self.client.send(ack(1))
        told = self.serve(b"<resumed %b previd='up' h='0'/>" % NS + MESSAGE % 1 + MESSAGE % 2)
        self.assertEqual(told, MESSAGE % 2)
        self.assertEqual(self.asked(), ack(1))
        self.client.send(ack(2))
        self.assertEqual(self.asked(), ack(2))

    def test_what_the_proxy_answers_goes_behind_what_is_sent_again(self) -> None:
        self.patch(connecting, "LARGEST_FROM_SERVER", 0)
        self.client.send(MESSAGE % 1)
        self.lose()
        wire = self.comes_up()
        wire.take()
        large = b"<iq type='get' id='q' from='b@example.org'>%b</iq>" % (b" " * self.lab.settings.limits.stanza_size)
        self.serve(b"<resumed %b previd='up' h='0'/>" % NS + large)
        told = wire.take()
        self.assertRegex(told, rb"^<message id='1'/><iq [^>]*id='q'")
        self.assertEqual(told.count(b"<message") + told.count(b"<iq"), 2)
        self.serve(ack(2))
        self.assertFalse(self.client.wire.closing)
        self.assertEqual(self.handled(), ack(1))

    def test_what_was_asked_while_nobody_was_there(self) -> None:
        self.lose()
        self.client.send(MESSAGE % 1)
        self.lab.clock.advance(ASK_AFTER)
        wire = self.comes_up()
        wire.take()
        self.serve(b"<resumed %b previd='up' h='0'/>" % NS)
        self.assertEqual(wire.take(), MESSAGE % 1)
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(wire.take(), ASK)
        self.serve(ack(1))
        self.lab.clock.advance(ANSWER_WITHIN)
        self.assertFalse(wire.disconnected)

    def test_a_client_that_cannot_take_more(self) -> None:
        """Its server waits, the new connection too."""
        self.client.wire.push_producer.pauseProducing()
        self.assertEqual(self.client.upstream.producerState, "paused")
        self.lose()
        wire = self.comes_up()
        self.serve(b"<resumed %b previd='up' h='0'/>" % NS)
        self.assertEqual(wire.producerState, "paused")
        self.client.wire.push_producer.resumeProducing()
        self.assertEqual(wire.producerState, "producing")

    def test_a_client_that_closed_its_stream_meanwhile(self) -> None:
        self.client.send(MESSAGE % 1)
        self.lose()
        wire = self.comes_up()
        self.client.send(END)
        wire.take()
        self.serve(b"<resumed %b previd='up' h='0'/>" % NS)
        self.assertEqual(wire.take(), MESSAGE % 1 + END)
        self.assertEqual(self.serve(END), ack(0) + END)

    def test_one_that_accepts_the_login_and_says_no_more(self) -> None:
        self.lose()
        wire = self.comes_up()
        logins = len(self.lab.logins)
        self.lab.clock.advance(RESUMED_WITHIN)
        self.assertTrue(wire.disconnected)
        self.lab.clock.advance(1)
        self.assertEqual(len(self.lab.logins), logins + 1)
        self.assertEqual(self.account.closed, [])

    def test_one_that_goes_on_no_more_says_what_it_had_handled(self) -> None:
        self.client.send(MESSAGE % 1 + MESSAGE % 2)
        for h, known in ((b"1", b"1"), (b"9", b"0")):
            self.setUp()
            self.client.send(MESSAGE % 1 + MESSAGE % 2)
            self.lose()
            self.comes_up()
            self.serve(failed(b"item-not-found", b" h='%b'" % h))
            _client, told = self.comes_back()
            self.assertEqual(told, failed(b"item-not-found", b" h='%b'" % known))

    def test_while_the_client_sleeps_too(self) -> None:
        self.client.vanish()
        self.client.serve(MESSAGE % 1)
        self.lose()
        wire = self.comes_up()
        self.assertEqual(wire.take(), b"<resume %b previd='up' h='0'/>" % NS)
        assert self.client.server is not None
        self.client.server.dataReceived(b"<resumed %b previd='up' h='0'/>" % NS + MESSAGE % 1 + MESSAGE % 2)
        _client, told = self.comes_back()
        self.assertEqual(told, self.resumed(0) + MESSAGE % 1 + MESSAGE % 2)

    def test_a_server_that_is_to_push(self) -> None:
        """The connection to it is cut while it has something for a client that sleeps, and its stream is resumed."""
        self.client.serve(MESSAGE % 1)
        self.session.have_server_push()
        self.assertFalse(self.client.upstream.aborted, "the client is there")
        self.client.vanish()
        self.session.have_server_push()
        self.assertTrue(self.client.upstream.aborted)
        self.lose()
        self.session.have_server_push()  # it knows
        wire = self.comes_up()
        self.assertEqual(wire.take(), b"<resume %b previd='up' h='0'/>" % NS)
        assert self.client.server is not None
        self.client.server.dataReceived(b"<resumed %b previd='up' h='0'/>" % NS + MESSAGE % 1 + MESSAGE % 2)
        self.assertFalse(wire.aborted)
        _client, told = self.comes_back()
        self.assertEqual(told, self.resumed(0) + MESSAGE % 1 + MESSAGE % 2)

    def test_a_server_that_is_to_push_hears_the_client_out(self) -> None:
        self.client.serve(MESSAGE % 1)
        self.client.send(MESSAGE % 2)
        self.client.vanish()
        self.session.have_server_push()
        self.assertFalse(self.client.upstream.aborted)
        self.client.serve(ack(1))
        self.assertTrue(self.client.upstream.aborted)

    def test_a_server_that_has_nothing_to_push_or_would_not_go_on(self) -> None:
        self.client.vanish()
        self.session.have_server_push()
        self.assertFalse(self.client.upstream.aborted, "it has nothing")
        self.enabled = b"<enabled %b/>" % NS
        self.is_left_alone("it does not resume")
        self.enabled = ENABLED
        self.patch(Credential, "from_password", lambda _password: Credential.unknown())
        self.is_left_alone("nobody can log in again")

    def is_left_alone(self, why: str) -> None:
        self.setUp()
        self.client.serve(MESSAGE % 1)
        self.client.vanish()
        self.session.have_server_push()
        self.assertTrue(self.session.asleep)
        self.assertFalse(self.client.upstream.aborted, why)

    def test_that_the_client_is_inactive_is_said_again(self) -> None:
        inactive, active = (b"<%b xmlns='urn:xmpp:csi:0'/>" % word for word in (b"inactive", b"active"))
        for said, again in ((inactive, inactive), (inactive + active, b"")):
            self.setUp()
            self.client.send(said)
            self.up()
            self.lose()
            wire = self.comes_up()
            wire.take()
            self.serve(b"<resumed %b previd='up' h='0'/>" % NS)
            self.assertEqual(wire.take(), again)

    def test_a_server_that_is_away_for_a_while(self) -> None:
        self.lose()
        for _attempt in range(4):
            self.lab.clock.advance(5)
            self.lab.logins[-1][1].errback(UpstreamUnreachable("refused"))
        self.assertEqual(self.account.closed, [])
        self.lab.clock.advance(8)
        wire = self.comes_up()
        wire.take()
        self.serve(b"<resumed %b previd='up' h='0'/>" % NS)
        self.client.send(MESSAGE % 1)
        self.assertEqual(wire.take(), MESSAGE % 1)

    def resumes(self) -> None:
        """Its server goes on with the stream."""
        self.comes_up()
        self.client.serve(b"<resumed %b previd='up' h='0'/>" % NS)

    def test_one_that_resumes_and_is_gone_again(self) -> None:
        """Each login costs us both: it is logged in again every two seconds, until a connection lasts."""
        self.lose()
        self.resumes()
        before = len(self.lab.logins)
        for _second in range(600):
            self.lab.clock.advance(0.1)
            if len(self.lab.logins) > before and not self.lab.logins[-1][1].called:
                self.resumes()
                self.client.serve(b"<message id='1'/>")  # that it says something is no reason
            if self.client.server is not None and not self.client.upstream.disconnected:
                self.lose()
                self.client.server = None
        self.assertIn(len(self.lab.logins) - before, range(20, 40))
        self.assertEqual(self.account.closed, [])
        while self.lab.logins[-1][1].called:
            self.lab.clock.advance(1)
        self.resumes()
        self.lab.clock.advance(LASTING)
        before = len(self.lab.logins)
        self.lose()
        self.lab.clock.advance(0)
        self.assertEqual(len(self.lab.logins), before + 1)

    def test_one_that_does_not_come_back(self) -> None:
        self.lose()
        for _attempt in range(100):
            self.lab.clock.advance(8)
            if self.account.closed:
                break
            if not self.lab.logins[-1][1].called:
                self.lab.logins[-1][1].errback(UpstreamUnreachable("refused"))
        self.assertGreaterEqual(self.lab.clock.seconds(), 300)
        self.assertEqual(errors(self.turn()), [b"remote-connection-failed"])
        self.assertEqual(self.account.closed, [self.session])

    def test_one_that_has_forgotten(self) -> None:
        for answer in (failed(b"item-not-found", b" h='3'"), b"<resumed %b previd='up' h='9'/>" % NS):
            self.setUp()
            self.lose()
            wire = self.comes_up()
            wire.take()
            told = self.serve(answer)
            self.assertEqual(errors(told), [b"remote-connection-failed"])
            self.assertTrue(wire.closing or wire.disconnected)

    def test_they_are_counted(self) -> None:
        """Once each, however often it is tried."""
        counted = Counted(RESUMPTIONS)
        self.test_a_server_that_is_away_for_a_while()
        self.assertEqual(counted.since(), {("session", "success"): 1})
        for test in (self.test_one_that_is_down, self.test_one_that_does_not_come_back):
            self.setUp()
            test()
        self.setUp()
        self.test_one_that_refuses_the_login()
        self.assertEqual(counted.since(), {("session", "success"): 1, ("session", "failure"): 4})

    def test_one_that_is_down(self) -> None:
        """Nobody takes connections: the process that knew the stream is gone. The client is told within seconds."""
        self.lose()
        for _attempt in range(REFUSALS):
            self.assertEqual(self.account.closed, [])
            self.lab.clock.advance(2)
            error = UpstreamUnreachable("refused")
            error.__cause__ = ConnectionRefusedError()
            self.lab.logins[-1][1].errback(error)
        self.assertEqual(errors(self.turn()), [b"remote-connection-failed"])
        self.assertEqual(self.account.closed, [self.session])

    def test_one_that_refuses_the_login(self) -> None:
        """The client logs in anew: it may know another password."""
        for error in (UpstreamRefused("not-authorized"), UpstreamUnfit("another salt")):
            self.setUp()
            self.lose()
            self.lab.logins[-1][1].errback(error)
            self.assertEqual(errors(self.turn()), [b"reset"])
            self.assertEqual(self.account.closed, [self.session])

    def test_one_that_cannot_tell_who_may_log_in_just_now(self) -> None:
        self.lose()
        self.lab.logins[-1][1].errback(UpstreamRefused("temporary-auth-failure"))
        self.assertEqual(self.account.closed, [])
        self.lab.clock.advance(1)
        wire = self.comes_up()
        self.assertEqual(wire.take(), b"<resume %b previd='up' h='0'/>" % NS)

    # What a session logs in with again: what its own client has logged in with last, or made its password

    def used(self) -> str | None:
        """The password of the latest login."""
        return self.lab.logins[-1][0].credential.password

    def change_password(self, answer: bytes = b"result") -> None:
        self.client.send(
            b"<iq type='set' id='p1'><query xmlns='jabber:iq:register'>"
            b"<username>a</username><password>new</password></query></iq>"
        )
        self.client.serve(b"<iq type='%b' id='p1'/>" % answer)

    def test_the_password_that_its_client_has_changed(self) -> None:
        for answer, expected in ((b"error", "secret"), (b"result", "new")):
            self.setUp()
            self.change_password(answer)
            self.lose()
            self.assertEqual(self.used(), expected)

    def test_the_password_with_which_it_was_resumed(self) -> None:
        self.client.vanish()
        self.comes_back(password="new")
        self.assertEqual(self.lab.accounts.logins, [("a@example.org", "new")])
        self.lose()
        self.assertEqual(self.used(), "new")

    def test_resumed_by_what_nobody_here_knows(self) -> None:
        """The client has shown to its server that it knows the password (see `RelayedScram`): that is nothing new."""
        self.client.vanish()
        self.patch(Credential, "from_password", lambda _password: Credential.unknown())
        self.comes_back(password="new")
        self.lose()
        self.assertEqual(self.used(), "secret")

    def test_a_login_that_nobody_here_knows(self) -> None:
        """Nobody can log in again but the client: its session ends, in order."""
        self.patch(Credential, "from_password", lambda _password: Credential.unknown())
        self.setUp()
        logins = len(self.lab.logins)
        self.lose()
        self.assertEqual(errors(self.client.wire.take()), [b"remote-connection-failed"])
        self.lab.clock.advance(60)
        self.assertEqual(len(self.lab.logins), logins)

    def test_refused_while_its_client_comes_back_with_another_password(self) -> None:
        self.client.vanish()
        self.lose()
        refused = self.lab.logins[-1][1]
        self.comes_back(password="new")
        refused.errback(UpstreamRefused("not-authorized"))
        self.assertEqual(self.account.closed, [])
        self.lab.clock.advance(1)
        self.assertEqual(self.used(), "new")

    def test_not_the_password_that_another_session_knows(self) -> None:
        """A stolen session is not to live on with what its thief does not know."""
        other = self.lab.client()
        other.log_in(password="new")
        self.lose()
        self.assertEqual(self.used(), "secret")

    def test_a_client_that_says_much_meanwhile_has_to_wait(self) -> None:
        self.lose()
        self.fill()
        wire = self.comes_up()
        wire.take()
        self.serve(b"<resumed %b previd='up' h='0'/>" % NS)
        self.assertEqual(len(re.findall(rb"<message", wire.take())), MAX_UNACKNOWLEDGED)
        self.assertEqual(self.client.wire.producerState, "paused", "the server has acknowledged nothing yet")
        self.serve(ack(1))
        self.assertEqual(self.client.wire.producerState, "producing")

    def test_so_has_one_that_comes_back_meanwhile(self) -> None:
        self.fill()
        self.client.vanish()
        client, _told = self.comes_back()
        self.assertEqual(client.wire.producerState, "paused")
        self.client.serve(ack(MAX_UNACKNOWLEDGED))
        self.assertEqual(client.wire.producerState, "producing")

    def fill(self) -> None:
        for _ in range(MAX_UNACKNOWLEDGED // 2):
            self.assertEqual(self.client.wire.producerState, "producing")
            self.client.send(MESSAGE % 1 * 2)
            self.turn()
        self.assertEqual(self.client.wire.producerState, "paused")

    def test_a_server_that_does_not_acknowledge(self) -> None:
        self.fill()
        self.lab.clock.advance(ASK_AFTER)
        self.assertTrue(self.up().endswith(ASK))
        self.lab.clock.advance(ANSWER_WITHIN)
        self.assertTrue(self.client.upstream.disconnected)
        self.lose()
        wire = self.comes_up()
        wire.take()
        self.serve(b"<resumed %b previd='up' h='%d'/>" % (NS, MAX_UNACKNOWLEDGED))
        self.assertEqual(self.client.wire.producerState, "producing")
        self.assertEqual(self.account.closed, [])

    def test_the_client_leaves_meanwhile(self) -> None:
        for leaves in (lambda: self.client.send(END), lambda: self.session.close("conflict")):
            self.setUp()
            cancelled = self.lab.cancelled
            self.lose()
            self.lab.clock.advance(0)
            leaves()
            self.lab.clock.advance(10)
            self.assertEqual(self.lab.cancelled, cancelled + 1)
            self.assertEqual(self.account.closed, [self.session])

    def test_a_stream_that_the_server_closes_is_over(self) -> None:
        self.assertEqual(self.serve(END), ack(0) + END)
        self.lose()
        self.lab.clock.advance(10)
        self.assertEqual(len(self.lab.logins), 2)

    def test_much_at_once_is_written_in_whole_stanzas(self) -> None:
        """So that a cut is between two of them: each write is a record of TLS."""
        self.lose()
        message = b"<message>%b</message>" % (b"x" * 6000)
        self.client.send(message * 5)
        wire = self.comes_up()
        writes: list[bytes] = []
        self.patch(wire, "write", writes.append)
        self.client.serve(b"<resumed %b previd='up' h='0'/>" % NS)
        self.assertEqual(writes, [message * 2, message * 2, message])

    def test_a_server_that_resumes_and_takes_nothing(self) -> None:
        """It has half a stanza from before, and takes all that comes for the rest: nobody waits for ever."""
        self.client.send(b"<message id='1'/>")
        self.lose()
        wire = self.comes_up()
        self.client.serve(b"<resumed %b previd='up' h='0'/>" % NS)
        self.assertIn(b"<message id='1'/>", wire.take())
        self.lab.clock.advance(ASK_AFTER)
        self.assertEqual(wire.take(), ASK)
        self.client.serve(b"<message id='from the server'/>")
        self.lab.clock.advance(ANSWER_WITHIN)
        self.assertTrue(wire.aborted)
        self.lose()
        self.assertEqual(self.account.closed, [self.session])
        self.assertEqual(errors(self.client.wire.take()), [b"remote-connection-failed"])
        _client, told = self.comes_back()
        self.assertEqual(told, failed(b"item-not-found", b" h='0'"))

    def test_nobody_can_answer_who_is_not_there(self) -> None:
        """Its silence is no fault of a stream that was resumed just before it went."""
        self.lose()
        self.comes_up()
        self.client.serve(b"<resumed %b previd='up' h='0'/>" % NS)
        self.lose()
        self.client.send(b"<message id='1'/>")
        self.lab.clock.pump([ASK_AFTER] + [1.0] * int(ANSWER_WITHIN + 1))
        self.comes_up()
        self.client.serve(b"<resumed %b previd='up' h='0'/>" % NS)
        self.lose()
        self.assertEqual(self.account.closed, [])

    def test_one_that_has_answered_once_is_resumed_again(self) -> None:
        self.client.send(b"<message id='1'/>")
        self.lose()
        self.comes_up()
        self.client.serve(b"<resumed %b previd='up' h='0'/>" % NS)
        self.lab.clock.advance(ASK_AFTER)
        self.client.serve(ack(1))
        self.client.send(b"<message id='2'/>")
        self.lab.clock.advance(ASK_AFTER)
        self.lab.clock.advance(ANSWER_WITHIN)
        self.lose()
        self.comes_up()
        self.client.serve(b"<resumed %b previd='up' h='1'/>" % NS)
        self.assertEqual(self.account.closed, [])
