"""Logins by SASL2 (XEP-0388), and what is done along with them: binding (XEP-0386), going on with a session."""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path

from twisted.logger import LogLevel, formatEvent
from twisted.trial.unittest import TestCase
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.errors import UpstreamRefused
from minimixproxy.c2s.session.client_session import ClientSession
from minimixproxy.wire.stanza import MAX_ATTRIBUTES, MAX_PAYLOADS
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.c2s.helpers import BIND, BOUND, HEADER, PLAIN_FEATURES, SERVER_FEATURES, SERVER_HEADER, Lab, LabClient, plain
from tests.c2s.server.test_negotiation import errors
from tests.c2s.server.test_offers import features
from tests.log_events import log_events
from tests.wires import Wire

SASL2, SASL = b"urn:xmpp:sasl:2", b"urn:ietf:params:xml:ns:xmpp-sasl"
DEVICE = "d4565fa7-4d72-4749-b3d3-740edbf87770"
SM, CARBONS, CSI = b"urn:xmpp:sm:3", b"urn:xmpp:carbons:2", b"urn:xmpp:csi:0"
ENABLE = b"<enable xmlns='%b' resume='true'/>" % SM
END = b"</stream:stream>"


def authenticate(
    inline: bytes = b"", mechanism: str = "PLAIN", message: bytes | None = b"\0a\0secret", agent: str = DEVICE
) -> bytes:
    initial = b"" if message is None else b"<initial-response>%b</initial-response>" % b64encode(message)
    named = b"<user-agent id='%b'><software>S</software></user-agent>" % agent.encode() if agent else b""
    content = initial + named + inline
    return b"<authenticate xmlns='%b' mechanism='%b'>%b</authenticate>" % (SASL2, mechanism.encode(), content)


def bind(*wishes: bytes, tag: bytes = b"<tag>App</tag>") -> bytes:
    return b"<bind xmlns='urn:xmpp:bind:0'>%b%b</bind>" % (tag, b"".join(wishes))


def element(name: bytes, data: bytes) -> bytes:
    return b"<%b xmlns='%b'>%b</%b>" % (name, SASL2, b64encode(data), name)


def refusal(condition: bytes) -> bytes:
    return b"<failure xmlns='%b'><%b xmlns='%b'/></failure>" % (SASL2, condition, SASL)


class Sasl2Case(TestCase):
    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()), logins=("SCRAM", "PLAIN"))
        self.events = log_events(self)
        self.lab.client().send(HEADER)
        stream = FramedXmlStream(Authenticator())
        stream.makeConnection(Wire())
        self.lab.contacts.pop().callback((stream, features("SCRAM-SHA-1", "PLAIN")))

    def told(self, text: str) -> bool:
        return any(text in (formatEvent(event) or "") for event in self.events)

    def client(self, header: bytes = HEADER) -> LabClient:
        client = self.lab.client()
        self.offer = client.send(header)
        return client

    def turn(self) -> None:
        self.lab.clock.advance(0)

    def logged_in(self, inline: bytes = b"", agent: str = DEVICE, username: str = "a") -> LabClient:
        """A client whose password the server has taken; it asks for something along with its login."""
        client = self.client()
        self.assertEqual(
            client.send(authenticate(inline, agent=agent, message=b"\0%b\0secret" % username.encode())), b""
        )
        client.accept_login()
        self.turn()
        return client

    def bound_as(self, client: LabClient) -> str:
        """The resource that the server is asked for, and the id of the request."""
        asked = client.upstream.take()
        found = re.fullmatch(
            rb"<iq type='set' id='([^']+)'><bind [^>]*><resource>([^<]+)</resource></bind></iq>", asked
        )
        assert found is not None, asked
        self.request_id = found[1]
        return found[2].decode()

    def opened(self, client: LabClient, offers: bytes = PLAIN_FEATURES) -> None:
        client.upstream.take()
        self.assertEqual(client.serve(SERVER_HEADER + offers), b"", "nothing before all is done")

    def result(self, resource: str, account: str = "a") -> bytes:
        jid = b"<jid>%b@example.org/%b</jid>" % (account.encode(), resource.encode())
        bound = b"<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>%b</bind>" % jid
        return b"<iq type='result' id='%b'>%b</iq>" % (self.request_id, bound)

    def in_session(
        self, *wishes: bytes, offers: bytes = PLAIN_FEATURES, agent: str = DEVICE
    ) -> tuple[LabClient, bytes]:
        """A bound session, and what its client was told."""
        client = self.logged_in(bind(*wishes), agent)
        self.opened(client, offers)
        return client, client.serve(self.result(self.bound_as(client)))


class OfferTest(Sasl2Case):
    def test_what_is_offered(self) -> None:
        self.client()
        self.assertIn(
            b"<authentication xmlns='urn:xmpp:sasl:2'><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism>"
            b"<inline><bind xmlns='urn:xmpp:bind:0'><inline><feature var='urn:xmpp:carbons:2'/>"
            b"<feature var='urn:xmpp:csi:0'/><feature var='urn:xmpp:sm:3'/></inline></bind><sm xmlns='urn:xmpp:sm:3'/>"
            b"<fast xmlns='urn:xmpp:fast:0'><mechanism>HT-SHA-512-NONE</mechanism>"
            b"<mechanism>HT-SHA-256-NONE</mechanism>"
            b"</fast></inline></authentication>",
            self.offer,
        )
        self.assertIn(b"<mechanisms xmlns='%b'>" % SASL, self.offer)

    def test_not_for_plain_alone(self) -> None:
        lab = Lab(Path(self.mktemp()))
        self.assertNotIn(SASL2, lab.client().send(HEADER))

    def test_not_before_tls(self) -> None:
        client = self.lab.client(secure=False)
        self.assertNotIn(SASL2, client.send(HEADER))
        self.assertEqual(client.send(authenticate()), refusal(b"encryption-required"))


class ExchangeTest(Sasl2Case):
    def test_binding_afterwards(self) -> None:
        """As Gajim does: features come with the success, without a new stream, and it binds by RFC 6120."""
        client = self.logged_in()
        self.assertEqual(client.upstream.take(), HEADER)
        answer = client.serve(SERVER_HEADER + SERVER_FEATURES)
        self.assertEqual(
            answer,
            b"<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>a@example.org</authorization-identifier>"
            b"</success><stream:features><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/><csi xmlns='urn:xmpp:csi:0'/>"
            b"<sm xmlns='urn:xmpp:sm:3'/></stream:features>",
        )
        client.send(BIND)
        client.serve(BOUND)
        self.assertEqual(self.lab.accounts.bound[-1].jid, "a@example.org/r")
        self.assertEqual(self.lab.accounts.bound[-1].language, "de")
        self.assertIn(b"<enabled ", client.send(ENABLE))

    def test_scram(self) -> None:
        client = self.client()
        client.send(authenticate(mechanism="SCRAM-SHA-1", message=b"n,,n=a,r=client"))
        server = self.lab.handed[-1]
        challenge = b"r=clientserver,s=QUFB,i=4096"
        server.says(b"<challenge xmlns='%b'>%b</challenge>" % (SASL, b64encode(challenge)))
        self.assertEqual(client.wire.take(), element(b"challenge", challenge))
        self.assertEqual(client.send(element(b"response", b"c=biws,r=clientserver,p=QUFB")), b"")
        server.says(b"<success xmlns='%b'>%b</success>" % (SASL, b64encode(b"v=QUFB")))
        client.relayed_to(server)
        self.turn()
        answer = client.serve(SERVER_HEADER + SERVER_FEATURES)
        self.assertIn(b"<additional-data>%b</additional-data>" % b64encode(b"v=QUFB"), answer)

    def test_without_initial_response(self) -> None:
        """An empty one is something else: nothing stands for it (§2.2)."""
        client = self.client()
        self.assertEqual(client.send(authenticate(message=None)), element(b"challenge", b""))
        client.send(element(b"response", b"\0a\0secret"))
        self.assertEqual(self.lab.logins[-1][0].username, "a")
        self.assertEqual(self.client().send(authenticate(message=b"")), refusal(b"malformed-request"))

    def test_refused(self) -> None:
        client = self.client()
        client.send(authenticate(bind()))
        self.lab.logins[-1][1].errback(UpstreamRefused("not-authorized"))
        self.assertEqual(client.wire.take(), refusal(b"not-authorized"))
        client.send(plain())
        client.accept_login()
        self.assertEqual(client.wire.take(), b"<success xmlns='%b'/>" % SASL, "the other profile is open too")

    def test_a_few_attempts_only(self) -> None:
        client = self.client()
        for _ in range(2):
            self.assertEqual(client.send(authenticate(mechanism="X")), refusal(b"invalid-mechanism"))
        self.assertTrue(client.send(authenticate(mechanism="X")).endswith(END))

    def test_abort(self) -> None:
        client = self.client()
        abort = b"<abort xmlns='%b'/>" % SASL2
        self.assertEqual(client.send(abort), refusal(b"aborted"))
        client.send(authenticate(message=None))
        self.assertEqual(client.send(abort), refusal(b"aborted"))
        client.send(authenticate())
        self.assertEqual(client.wire.take(), b"")
        client = self.client()
        client.send(authenticate(mechanism="SCRAM-SHA-1", message=b"n,,n=a,r=client"))
        self.assertEqual(client.send(abort), refusal(b"aborted"))

    def test_malformed(self) -> None:
        twice = b"<initial-response/><initial-response/>"
        attributes = b"".join(b" a%d='%b'" % (n, b"x" * 450) for n in range(MAX_ATTRIBUTES))
        many = authenticate().replace(b" ", attributes + b" ", 1)
        for malformed in (authenticate(twice), authenticate(bind() + bind()), many):
            self.assertIn(b"<malformed-request", self.client().send(malformed), malformed[:50])
        wrong = b"<initial-response>!</initial-response>"
        self.assertEqual(self.client().send(authenticate(wrong, message=None)), refusal(b"incorrect-encoding"))

    def test_out_of_order(self) -> None:
        """What belongs to the other profile, or comes at the wrong time, ends the stream."""
        response = element(b"response", b"")
        self.assertIn(b"<malformed-request", self.client().send(response))
        old = b"<response xmlns='%b'/>" % SASL
        for begin, then in (
            (authenticate(message=None), old),
            (authenticate(message=None), b"<abort xmlns='%b'/>" % SASL),
            (authenticate(message=None), b"<message/>"),
            (authenticate(), authenticate()),
            (authenticate(), response),
            (authenticate(), b"<message/>"),
            (b"<auth xmlns='%b' mechanism='PLAIN'/>" % SASL, response),
            (plain(), b"<abort xmlns='%b'/>" % SASL2),
        ):
            client = self.client()
            client.send(begin)
            self.assertTrue(client.send(then).endswith(END), (begin, then))
            for _login, answer in self.lab.logins:
                if not answer.called:
                    answer.errback(UpstreamRefused("temporary-auth-failure"))

    def test_authenticated_already(self) -> None:
        client, _ = self.in_session()
        self.assertTrue(client.send(authenticate()).endswith(END))

    def test_pipelined(self) -> None:
        """Behind the header, before any features: Conversations knows them from the last time."""
        client = self.lab.client()
        self.assertIn(SASL2, client.send(HEADER + authenticate()))
        client.accept_login()
        self.turn()
        self.assertIn(b"<success", client.serve(SERVER_HEADER + PLAIN_FEATURES))


class BindingTest(Sasl2Case):
    def test_all_at_once(self) -> None:
        client, answer = self.in_session(offers=SERVER_FEATURES)
        session = self.lab.accounts.bound[-1]
        self.assertRegex(session.jid, "^a@example.org/App[.][0-9a-f]{12}$")
        self.assertEqual(
            answer,
            b"<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>%b</authorization-identifier>"
            b"<bound xmlns='urn:xmpp:bind:0'></bound></success><stream:features><csi xmlns='urn:xmpp:csi:0'/>"
            b"<sm xmlns='urn:xmpp:sm:3'/></stream:features>" % session.jid.encode(),
        )
        self.assertEqual(client.upstream.take(), ENABLE, "the proxy's own, upstream")
        client.send(b"<presence/>")
        self.assertEqual(client.upstream.take(), b"<presence/>")
        self.assertFalse(session.managed)
        self.assertFalse(session.inactive)

    def test_resource(self) -> None:
        """The same for a device each time, another one for each account and tag; and its id is not to be seen."""

        def asked(inline: bytes, agent: str = DEVICE, username: str = "a") -> str:
            client = self.logged_in(inline, agent, username)
            self.opened(client)
            return self.bound_as(client)

        first = asked(bind())
        self.assertEqual(asked(bind(), DEVICE.upper()), first)
        others = {
            asked(bind(), username="b"),
            asked(bind(), agent=DEVICE.replace("d", "e")),
            asked(bind(tag=b"<tag>Other</tag>")),
            *(asked(bind(), agent) for agent in ("", "", "x", "x", DEVICE + "0")),
        }
        self.assertEqual(len(others - {first}), 8)
        self.assertTrue(all(part not in name for part in DEVICE.split("-") for name in {first, *others}))

    def test_tag(self) -> None:
        for tag, expected in (
            (b"", ""),
            (b"<tag/>", ""),
            (b"<tag> a&lt;b </tag>", "a&lt;b."),
            (b"<tag>%b</tag>" % (b"x" * 101), ""),
            (b"<tag>a&#xE000;</tag>", ""),
            ("<tag>ﬁ</tag>".encode(), "fi."),
            (b"<tag>%b</tag>" % ("\ufdfa" * 31).encode(), ""),  # too long for a resource with what is added to it
        ):
            client = self.logged_in(bind(tag=tag))
            self.opened(client)
            self.assertRegex(self.bound_as(client), f"^{re.escape(expected)}[0-9a-f]{{12}}$")

    def test_stream_management(self) -> None:
        client, answer = self.in_session(ENABLE)
        self.assertRegex(
            answer, rb"<bound xmlns='urn:xmpp:bind:0'><enabled [^>]*resume='true'[^>]*/></bound></success>"
        )
        self.assertNotIn(b"<sm ", answer)
        self.assertEqual(self.lab.accounts.account.managed, [self.lab.accounts.bound[-1]])
        client.serve(b"<message id='1'/>")
        self.assertEqual(client.send(b"<a xmlns='%b' h='1'/><presence/><r xmlns='%b'/>" % (SM, SM)), b"")
        self.lab.clock.advance(0)
        self.assertIn(b"<a xmlns='%b' h='1'/>" % SM, client.wire.take())

    def test_carbons(self) -> None:
        client = self.logged_in(bind(b"<enable xmlns='%b'/>" % CARBONS))
        self.opened(client)
        self.assertEqual(client.serve(self.result(self.bound_as(client))), b"")
        asked = client.upstream.take()
        found = re.fullmatch(rb"<iq type='set' id='([^']+)'><enable xmlns='%b'/></iq>" % CARBONS, asked)
        assert found is not None, asked
        answer = client.serve(b"<message id='m1'/><iq type='result' id='%b'/><message id='m2'/>" % found[1])
        self.assertTrue(answer.endswith(b"</stream:features><message id='m1'/><message id='m2'/>"), answer)
        self.assertTrue(self.lab.accounts.bound[-1].carbons)

    def test_carbons_that_the_server_refuses(self) -> None:
        """The session is worth more than they are."""
        client = self.logged_in(bind(b"<enable xmlns='%b'/>" % CARBONS))
        self.opened(client)
        client.serve(self.result(self.bound_as(client)))
        asked = re.findall(rb" id='([^']+)'", client.upstream.take())[0]
        error = b"<error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        answer = client.serve(b"<iq type='error' id='%b'>%b</iq>" % (asked, error))
        self.assertIn(b"<bound ", answer)
        self.assertFalse(self.lab.accounts.bound[-1].carbons)
        self.assertTrue(self.told("wants carbons, its server refuses: service-unavailable"))

    def test_inactive(self) -> None:
        inactive = b"<inactive xmlns='%b'/>" % CSI
        for offers, told in ((SERVER_FEATURES, True), (b"<stream:features/>", False)):
            client, _answer = self.in_session(inactive, offers=offers)
            self.assertTrue(self.lab.accounts.bound[-1].inactive)
            self.assertEqual(inactive in client.upstream.take(), told)

    def test_what_the_server_says_meanwhile(self) -> None:
        """It comes behind the success, in its order."""
        client = self.logged_in(bind(ENABLE))
        self.opened(client)
        resource = self.bound_as(client)
        answer = client.serve(b"<message id='1'/>" + self.result(resource) + b"<message id='2'/><message id='3'/>")
        self.assertTrue(answer.startswith(b"<success"))
        self.assertEqual(re.findall(rb"<message id='(.)'/>", answer), [b"1", b"2", b"3"])
        self.assertLess(answer.index(b"</stream:features>"), answer.index(b"<message"))

    def test_what_the_client_says_meanwhile(self) -> None:
        client = self.logged_in(bind())
        self.opened(client)
        resource = self.bound_as(client)
        self.assertEqual(client.send(b"<presence/>"), b"")
        self.assertEqual(client.upstream.take(), b"")
        client.serve(self.result(resource))
        self.assertEqual(client.upstream.take(), b"<presence/>")

    def test_in_the_same_read_as_the_login(self) -> None:
        client = self.client()
        client.send(authenticate(bind(), message=None))
        client.send(element(b"response", b"\0a\0secret"))
        client.accept_login()
        client.send(b"<presence/>")
        self.turn()
        self.opened(client)
        client.serve(self.result(self.bound_as(client)))
        self.assertEqual(client.upstream.take(), b"<presence/>")

    def error(self, client: LabClient, condition: bytes) -> bytes:
        error = b"<error type='cancel'><%b xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>" % condition
        return client.serve(b"<iq type='error' id='%b'>%b</iq>" % (self.request_id, error))

    def test_the_server_binds_nothing(self) -> None:
        client = self.logged_in(bind())
        self.opened(client)
        self.bound_as(client)
        answer = self.error(client, b"resource-constraint")
        self.assertIn(b"<temporary-auth-failure", answer)
        self.assertTrue(client.upstream.aborted)
        self.assertEqual(self.lab.accounts.bound, [])
        self.assertEqual(client.wire.producerState, "producing")
        client.send(authenticate())  # it may try again
        self.assertEqual(len(self.lab.logins), 2)

    def test_its_last_session_is_in_the_way(self) -> None:
        client = self.logged_in(bind())
        self.opened(client)
        first = self.bound_as(client)
        self.assertEqual(self.error(client, b"conflict"), b"")
        second = self.bound_as(client)
        self.assertNotEqual(first, second)
        self.assertIn(b"<bound ", client.serve(self.result(second)))

    def test_the_server_binds_another_account(self) -> None:
        """Whoever it says it let in: the session is for who has logged in, or there is none."""
        client = self.logged_in(bind())
        self.opened(client)
        answer = client.serve(self.result(self.bound_as(client), "b"))
        self.assertIn(b"<temporary-auth-failure", answer)
        self.assertEqual(self.lab.accounts.bound, [])
        self.assertTrue(client.upstream.aborted)

    def test_the_server_opens_no_stream(self) -> None:
        client = self.logged_in(bind())
        error = b"<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        self.assertIn(b"<temporary-auth-failure", client.serve(SERVER_HEADER + error))
        self.assertTrue(self.told("no stream for a@example.org at 192.0.2.1: "))

    def test_what_is_sent_ahead_is_too_much(self) -> None:
        """Nothing waits for its turn that could not be read then; it is no fault of ours, nor is it logged as one."""
        client = self.client()
        client.send(authenticate(bind()))
        client.accept_login()
        answer = client.send(b"<auth xmlns='%b' mechanism='PLAIN'>%b</auth>" % (SASL, b"<a/>" * MAX_PAYLOADS))
        self.assertEqual((errors(answer), client.wire.closing), ([b"policy-violation"], True))
        self.turn()
        self.assertTrue(client.upstream.aborted)
        self.assertEqual([event for event in self.events if event["log_level"] > LogLevel.warn], [])

    def test_gone_meanwhile(self) -> None:
        client = self.logged_in(bind())
        self.opened(client)
        self.bound_as(client)
        client.vanish()
        self.assertTrue(client.upstream.aborted)
        self.assertEqual(len(self.lab.clock.getDelayedCalls()), 1, "of the first client of the test")

    def test_gone_at_once(self) -> None:
        client = self.client()
        client.send(authenticate(bind()))
        client.accept_login()
        client.vanish()
        self.assertEqual(len(self.lab.clock.getDelayedCalls()), 1, "of the first client of the test")

    def test_the_server_says_nothing(self) -> None:
        client = self.logged_in(bind())
        self.opened(client)
        self.lab.clock.advance(61)
        self.assertIn(b"<connection-timeout", client.wire.take())
        self.assertTrue(client.upstream.aborted)

    def test_a_fault_of_ours_when_the_session_begins(self) -> None:
        def fail(*_arguments: object) -> None:
            raise RuntimeError("a fault of ours")

        self.patch(ClientSession, "start_inline", fail)
        client, answer = self.in_session()
        self.assertIn(b"<internal-server-error", answer)
        self.assertTrue(client.upstream.aborted)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class ResumingTest(Sasl2Case):
    def asleep(self) -> tuple[str, ClientSession]:
        """The id of a session whose client is gone, and which has one message for it."""
        client, answer = self.in_session(ENABLE)
        client.vanish()
        client.serve(b"<message id='m'/>")
        return re.findall(rb"<enabled [^>]*id='([^']+)'", answer)[0].decode(), self.lab.accounts.bound[-1]

    def resume(self, previd: str, h: int = 0) -> bytes:
        return b"<resume xmlns='%b' previd='%b' h='%d'/>" % (SM, previd.encode(), h)

    def test_one_answer(self) -> None:
        previd, session = self.asleep()
        client = self.client()
        client.send(authenticate(self.resume(previd) + bind(ENABLE)))
        client.accept_login()
        client.send(b"<message id='early'/>")
        self.turn()
        self.assertEqual(
            client.wire.take(),
            b"<success xmlns='urn:xmpp:sasl:2'><authorization-identifier>%b</authorization-identifier>"
            b"<resumed xmlns='urn:xmpp:sm:3' previd='%b' h='0'/></success><message id='m'/>"
            % (session.jid.encode(), previd.encode()),
        )
        self.assertFalse(session.asleep)
        self.assertTrue(client.upstream.aborted, "the login's own stream")
        self.assertEqual(len(self.lab.accounts.bound), 1)
        self.assertIs(client.session, session)
        self.assertEqual(self.lab.accounts.account.seen_from_client, [b"<message id='early'/>"])
        self.assertEqual(client.wire.producerState, "producing")

    def test_over_and_bound_anew(self) -> None:
        previd, session = self.asleep()
        session.close("reset")
        client = self.logged_in(self.resume(previd) + bind(ENABLE))
        self.opened(client)
        answer = client.serve(self.result(self.bound_as(client)))
        self.assertRegex(
            answer,
            rb"^<success [^>]*><authorization-identifier>[^<]*/App[^<]*</authorization-identifier>"
            rb"<failed [^>]*h='0'[^>]*><item-not-found [^>]*/></failed><bound [^>]*><enabled ",
        )

    def test_the_account_has_just_gone_elsewhere(self) -> None:
        """Its session went along, perhaps: the client is to come again, and not to think that it is over."""
        previd, session = self.asleep()
        self.lab.accounts.elsewhere.add("a@example.org")
        client = self.client()
        client.send(authenticate(self.resume(previd) + bind(ENABLE)))
        client.accept_login()
        self.turn()
        self.assertIn(b"<temporary-auth-failure ", client.wire.take())
        self.assertTrue(session.asleep)

    def test_over_and_nothing_else(self) -> None:
        client = self.logged_in(self.resume("gone"))
        client.upstream.take()
        answer = client.serve(SERVER_HEADER + PLAIN_FEATURES)
        self.assertIn(b"<authorization-identifier>a@example.org</authorization-identifier><failed ", answer)
        self.assertIn(b"xmpp-bind", answer)

    def test_malformed(self) -> None:
        client = self.logged_in(b"<resume xmlns='%b' previd='x'/>" % SM + bind())
        self.opened(client)
        self.assertIn(b"<bad-request ", client.serve(self.result(self.bound_as(client))))

    def test_of_another_account(self) -> None:
        previd, session = self.asleep()
        client = self.logged_in(self.resume(previd) + bind(), username="b")
        self.opened(client)
        answer = client.serve(self.result(self.bound_as(client), "b"))
        self.assertIn(b"<item-not-found ", answer)
        self.assertTrue(session.asleep)

    def test_without_a_login(self) -> None:
        previd, session = self.asleep()
        client = self.client()
        client.send(authenticate(self.resume(previd)))
        self.lab.logins[-1][1].errback(UpstreamRefused("not-authorized"))
        self.turn()
        self.assertEqual(client.wire.take(), refusal(b"not-authorized"))
        self.assertTrue(session.asleep)

    def test_more_than_was_sent(self) -> None:
        previd, session = self.asleep()
        client = self.logged_in(self.resume(previd, 9))
        self.assertIn(b"<handled-count-too-high ", client.wire.take())
        self.assertTrue(client.wire.closing)
        self.assertTrue(session.asleep)

    def test_one_session_of_a_device(self) -> None:
        """Where it could not go on, what it has left behind ends. Others of the account sleep on."""
        _previd, session = self.asleep()
        self.in_session(ENABLE, agent="")
        self.in_session(ENABLE, agent=DEVICE.replace("d", "e"))
        self.assertEqual(len(self.lab.resumable), 3)
        self.in_session(agent=DEVICE)
        self.assertTrue(session.asleep, "one that cannot be resumed is none to be told from others")
        self.in_session(ENABLE)
        self.assertFalse(session in self.lab.accounts.account.asleep[1:])
        self.assertIn(session, self.lab.accounts.account.closed)
        self.assertEqual(len(self.lab.resumable), 3)

    def test_the_device_that_goes_on(self) -> None:
        """A session is that of the device that goes on with it, as it has said last."""
        client = self.lab.client()
        session = client.bind()
        previd = re.findall(rb"id='([^']+)'", client.send(ENABLE))[0].decode()
        other = DEVICE.replace("d", "e")
        for agent, device in ((DEVICE, DEVICE), ("", DEVICE), (other, other)):
            client.vanish()
            client = self.logged_in(self.resume(previd, 0), agent)
            self.assertIn(b"<resumed ", client.wire.take())
            self.assertEqual(session.device, device)
        client.vanish()
        self.in_session(ENABLE)
        self.assertEqual(self.lab.accounts.account.closed, [])
        self.in_session(ENABLE, agent=other)
        self.assertEqual(self.lab.accounts.account.closed, [session])
        self.assertEqual(len(self.lab.resumable), 2)
        self.lab.resumable.shut_down()
        self.assertEqual((self.lab.resumable._devices, self.lab.resumable._named), ({}, {}))


class WhoTest(Sasl2Case):
    """A login as one user and a session as another is impossible."""

    def test_the_header_names_another(self) -> None:
        client = self.client(HEADER.replace(b"to=", b"from='b@example.org' to="))
        client.send(authenticate(bind()))
        client.accept_login()
        self.turn()
        self.assertIn(b"<invalid-authzid ", client.wire.take())
        self.assertTrue(client.upstream.aborted)
        client.send(authenticate(message=b"\0b\0secret"))
        client.accept_login()
        self.turn()
        self.assertIn(b"<stream:stream", client.upstream.take())

    def test_the_header_names_the_same(self) -> None:
        for named in (b"A@example.org", b"a@EXAMPLE.org/x", b"a@other.example", b"@"):
            client = self.client(HEADER.replace(b"to=", b"from='%b' to=" % named))
            client.send(authenticate(bind()))
            client.accept_login()
            self.turn()
            self.assertEqual(client.wire.take(), b"", named)

    def test_authzid(self) -> None:
        for authzid in (b"b@example.org", b"a@example.org/r", b"a@other.example", b"b"):
            answer = self.client().send(authenticate(message=authzid + b"\0a\0secret"))
            self.assertEqual(answer, refusal(b"invalid-authzid"), authzid)
        self.assertEqual(self.lab.logins, [])
