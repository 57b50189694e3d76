"""Registration before login, without sockets: what passes, who is believed, what is remembered, where it ends."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure
from twisted.trial import unittest
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.errors import UpstreamUnreachable
from minimixproxy.c2s.server import registrar
from minimixproxy.c2s.server.client_registration import LONGEST, REQUEST_TIME, ClientRegistration
from minimixproxy.c2s.server.limits import RegistrationGuard
from minimixproxy.c2s.server.negotiation import MAX_EARLY
from minimixproxy.c2s.server.offers import FRESH, PATIENCE, RETRY
from minimixproxy.c2s.upstream.connecting import server_framing
from minimixproxy.config.settings import Limits
from minimixproxy.wire.stanza import MalformedStanza, Stanza, parse_stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep import registration
from minimixproxy.xep.registration import DEEPEST_REQUEST, FEATURES, is_answer, request_of, shown, submitted
from tests.c2s.helpers import HEADER, SERVER_HEADER, Lab, LabClient, plain
from tests.c2s.server.test_negotiation import errors
from tests.log_events import observe
from tests.wires import Wire

REGISTER = "jabber:iq:register"
GET = b"<iq type='get' id='g'><query xmlns='jabber:iq:register'/></iq>"
SET = (
    b"<iq type='set' id='s'><query xmlns='jabber:iq:register'><username>a</username>"
    b"<password>secret</password></query></iq>"
)
BAD = b"<iq type='set' id='b'><query xmlns='jabber:iq:register'><remove/></query></iq>"
OFFERING = parse_stanza(
    "<features xmlns='http://etherx.jabber.org/streams'>" + shown(FEATURES[:1]).decode() + "</features>"
)
BARREN = parse_stanza("<features xmlns='http://etherx.jabber.org/streams'/>")


class RequestTest(unittest.TestCase):
    def test_what_a_client_may_ask(self) -> None:
        query = f"<query xmlns='{REGISTER}'/>"
        preauth = "<preauth xmlns='urn:xmpp:pars:0' token='t'/>"
        for iq, passes in {
            f"<iq type='get' id='1'>{query}</iq>": True,
            f"<iq type='set' id='1' to='example.org'>{query}</iq>": True,
            f"<iq type='set' id='1' to='EXAMPLE.org'>{preauth}</iq>": True,
            f"<iq type='get' id='1' to='a@example.org'>{query}</iq>": False,
            f"<iq type='get' id='1' to='example.org/x'>{query}</iq>": False,
            f"<iq type='get' id='1' to='@@'>{query}</iq>": False,
            f"<iq type='get' id='1' to='other.example'>{query}</iq>": False,
            f"<iq type='result' id='1'>{query}</iq>": False,
            f"<iq id='1'>{query}</iq>": False,
            f"<iq type='get'>{query}</iq>": False,
            f"<iq type='get' id=''>{query}</iq>": False,
            f"<iq type='get' id='1'>{query}{query}</iq>": False,
            "<iq type='get' id='1'/>": False,
            f"<iq type='get' id='1'>{preauth}</iq>": False,
            "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>": False,
            f"<message type='get' id='1'>{query}</message>": False,
            f"<iq xmlns='jabber:server' type='get' id='1'>{query}</iq>": False,
        }.items():
            self.assertEqual(request_of(parse_stanza(iq), "example.org") is not None, passes, iq)

    def test_what_the_server_gets_is_the_proxy_s_own(self) -> None:
        iq = f"<iq type='set' id='1' from='v@example.org/x' to='example.org' x='y'>  <query xmlns='{REGISTER}'/> t</iq>"
        request = request_of(parse_stanza(iq), "example.org")
        assert request is not None
        expected = b"<iq type='set' id='own' to='example.org'><query xmlns='jabber:iq:register'/></iq>"
        self.assertEqual(request.for_server("own", "example.org"), expected)

    def test_what_the_client_gets_is_addressed_as_it_asked(self) -> None:
        answer = parse_stanza("<iq type='result' id='own' from='example.org' to='x@y/z'><a xmlns='urn:a'/></iq>")
        for to, sender in (("", b""), (" to='example.org'", b" from='example.org'")):
            request = request_of(
                parse_stanza(f"<iq type='get' id='1'{to}><query xmlns='{REGISTER}'/></iq>"), "example.org"
            )
            assert request is not None
            expected = b"<iq type='result' id='1'%b><a xmlns='urn:a'/></iq>" % sender
            self.assertEqual(request.answered(answer), expected)

    def test_what_is_shown_of_what_a_server_offers(self) -> None:
        _one, two, _three = FEATURES
        for offers, expected in (
            (frozenset(), b""),
            (frozenset({two}), b"<register xmlns='%b'/>" % two.encode()),
            (
                frozenset({*FEATURES, "urn:other"}),
                b"".join(b"<register xmlns='%b'/>" % uri.encode() for uri in FEATURES),
            ),
        ):
            self.assertEqual(shown(offers), expected)

    def test_fields(self) -> None:
        x = "<x xmlns='jabber:x:data'>{}</x>"
        field = "<field var='username'>{}</field>"
        for content, name in {
            "<username>a</username>": "a",
            "<username/>": "",
            "<username xmlns='other'>a</username>": None,
            "<username>a</username><username>b</username>": None,
            "": None,
            x.format(field.format("<value>a</value>")): "a",
            x.format(field.format("<value>a</value><value>b</value>")): None,
            x.format(field.format("")) + "<username>b</username>": "b",
            x.format(field.format("<value>a</value>")) + "<username>a</username>": "a",
            x.format(field.format("<value>a</value>")) + "<username>b</username>": None,
            x.format(field.format("<value>a</value>")) * 2: "a",
            f"<x xmlns='other'>{field.format('<value>a</value>')}</x>": None,
        }.items():
            query = parse_stanza(f"<query xmlns='{REGISTER}'>{content}</query>").element
            self.assertEqual(submitted(query, "username"), name, content)

    @given(st.sampled_from(["result", "error", "get", "set", "", None]), st.text(max_size=8), st.text(max_size=12))
    def test_answers_never_raise(self, kind: str | None, identity: str, sender: str) -> None:
        stanza = parse_stanza("<iq/>")
        stanza.attributes.update({"id": identity, "from": sender, **({"type": kind} if kind is not None else {})})
        if is_answer(stanza, "own", "example.org"):
            self.assertEqual((identity, sender.lower().removesuffix(".")), ("own", "example.org"))

    @given(st.text(max_size=40))
    def test_requests_never_raise(self, content: str) -> None:
        try:
            iq = parse_stanza(f"<iq type='set' id='1'><query xmlns='{REGISTER}'>{content}</query></iq>")
        except MalformedStanza:
            return
        request = request_of(iq, "example.org")
        if request is not None and request.fault() is None:
            parse_stanza(request.for_server("own", "example.org"))


class GuardTest(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.guard = RegistrationGuard(self.clock.seconds, 2, size=3)

    def test_accounts(self) -> None:
        made = [self.guard.tries("a", makes=True) for _ in range(3)]
        self.assertEqual(made, [True, True, False])
        self.assertTrue(self.guard.tries("b", makes=True))
        self.assertTrue(self.guard.tries("a", makes=False), "to ask is no account")
        self.guard.made_nothing("a")
        self.assertTrue(self.guard.tries("a", makes=True))
        self.clock.advance(3599)
        self.assertFalse(self.guard.tries("a", makes=True))
        self.clock.advance(1)
        self.assertTrue(self.guard.tries("a", makes=True))

    def test_tries(self) -> None:
        self.assertEqual(sum(self.guard.tries("a", makes=False) for _ in range(50)), 20)
        self.assertFalse(self.guard.tries("a", makes=True))

    def test_refused_ones_are_no_way_around_tries(self) -> None:
        admitted = 0
        while self.guard.tries("a", makes=True):
            self.guard.made_nothing("a")
            admitted += 1
        self.assertEqual(admitted, 20)

    def test_clock_set_back(self) -> None:
        for _ in range(2):
            self.guard.tries("a", makes=True)
        self.clock.rightNow -= 100_000
        self.assertTrue(self.guard.tries("a", makes=True))

    def test_who_began_its_hour_first_is_forgotten_first(self) -> None:
        for address in "abc":
            self.guard.tries(address, makes=True)
            self.clock.advance(1200)
        self.guard.tries("a", makes=True)  # a new hour begins
        self.guard.tries("a", makes=True)
        self.guard.tries("d", makes=True)
        self.assertFalse(self.guard.tries("a", makes=True))

    def test_size(self) -> None:
        for address in "abcdef":
            self.guard.tries(address, makes=True)
        self.assertEqual(len(self.guard), 3)
        self.guard.made_nothing("a")  # known no more


class RegistrationTest(unittest.TestCase):
    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()), registration=True)

    def offers(self, data: bytes) -> list[bytes]:
        return re.findall(rb"<register xmlns='([^']*)'/>", data)

    def answer_contact(self, features: Stanza = OFFERING) -> tuple[FramedXmlStream, Wire]:
        """The server is there; return the stream to it."""
        wire = Wire()
        stream = FramedXmlStream(Authenticator(), server_framing(Limits()))
        stream.namespace = "jabber:client"
        stream.makeConnection(wire)
        stream.dataReceived(SERVER_HEADER)
        self.lab.contacts.pop(0).callback((stream, features))
        return stream, wire

    def known(self) -> LabClient:
        """A client of a server that is known to offer it."""
        first = self.lab.client()
        first.send(HEADER)
        self.answer_contact()
        first.vanish()
        client = self.lab.client()
        self.assertEqual(self.offers(client.send(HEADER)), [FEATURES[0].encode()])
        return client

    def registering(self, request: bytes = GET) -> tuple[LabClient, FramedXmlStream, Wire, bytes]:
        """A client whose request has come to the server; with the id that it has there."""
        client = self.known()
        self.assertEqual(client.send(request), b"")
        stream, wire = self.answer_contact()
        return client, stream, wire, self.asked(wire)

    def asked(self, wire: Wire) -> bytes:
        found = re.findall(rb"<iq type='[a-z]+' id='([0-9a-f]+)' to='example.org'>", wire.take())
        self.assertEqual(len(found), 1)
        return bytes(found[0])


class OffersTest(RegistrationTest):
    def test_the_first_client_waits_for_the_features_and_not_for_long(self) -> None:
        client = self.lab.client()
        self.assertNotIn(b"features", client.send(HEADER))
        self.assertEqual(client.wire.producerState, "paused", "it is not read meanwhile")
        self.lab.clock.advance(PATIENCE)
        self.assertEqual(client.wire.producerState, "producing")
        answer = client.wire.take()
        self.assertIn(b"PLAIN", answer)
        self.assertEqual(self.offers(answer), [])
        client.send(plain())
        self.assertEqual(len(self.lab.logins), 1)

    def test_what_it_sent_ahead_is_not_lost(self) -> None:
        client = self.lab.client()
        client.send(HEADER + plain())
        self.assertEqual(self.lab.logins, [])
        _stream, wire = self.answer_contact()
        self.assertEqual(len(self.lab.logins), 1)
        self.assertTrue(wire.aborted)  # what was opened to look is closed

    def test_too_much_sent_ahead(self) -> None:
        """A read of small elements is many, and there may be as many connections of an address."""
        for number, ends in ((MAX_EARLY, False), (MAX_EARLY + 1, True)):
            client = self.lab.client()
            answer = client.send(HEADER + b"<a/>" * number)
            self.assertEqual((errors(answer), client.wire.closing), ([b"policy-violation"] if ends else [], ends))

    def test_one_question_for_all(self) -> None:
        clients = [self.lab.client() for _ in range(3)]
        for client in clients:
            client.send(HEADER)
        self.assertEqual(len(self.lab.contacts), 1)
        self.answer_contact()
        for client in clients:
            self.assertEqual(len(self.offers(client.wire.take())), 1)
        self.assertEqual(self.lab.contacts, [])

    def test_what_is_old_is_used_while_it_is_asked_anew(self) -> None:
        self.known()
        self.lab.clock.advance(FRESH - 1)
        self.lab.client().send(HEADER)
        self.assertEqual(self.lab.contacts, [])
        self.lab.clock.advance(1)
        self.assertEqual(len(self.offers(self.lab.client().send(HEADER))), 1)
        self.answer_contact(BARREN)
        self.assertEqual(self.offers(self.lab.client().send(HEADER)), [])

    def test_a_server_that_is_down_is_left_alone_and_nobody_waits(self) -> None:
        self.lab.client().send(HEADER)
        self.lab.contacts.pop().errback(UpstreamUnreachable("down"))
        for _ in range(2):
            self.assertIn(b"PLAIN", self.lab.client().send(HEADER))
        self.assertEqual(self.lab.contacts, [])
        self.lab.clock.advance(RETRY)
        self.lab.client().send(HEADER)
        self.assertEqual(len(self.lab.contacts), 1)

    def test_client_gone_while_it_waits(self) -> None:
        client = self.lab.client()
        client.send(HEADER)
        client.vanish()
        self.answer_contact()
        self.assertEqual(client.wire.take(), b"")

    def test_a_fault_of_ours_costs_nobody_the_login(self) -> None:
        client = self.lab.client()
        client.send(HEADER)
        self.lab.contacts.pop().errback(RuntimeError("ours"))
        self.assertIn(b"PLAIN", client.wire.take())
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class PassingTest(RegistrationTest):
    def test_answers_are_believed_from_the_server_by_their_id_only(self) -> None:
        client, stream, _wire, identity = self.registering()
        for forged in (
            b"<iq type='result' id='g'/>",
            b"<iq type='result' id='%b' from='mallory@example.org'/>" % identity,
            b"<iq type='get' id='%b'/>" % identity,
            b"<message id='%b' type='error'/>" % identity,
        ):
            stream.dataReceived(forged)
            self.assertEqual(client.wire.take(), b"")
        stream.dataReceived(
            b"<iq type='result' id='%b' from='example.org'><query xmlns='jabber:iq:register'/></iq>" % identity
        )
        self.assertEqual(client.wire.take(), b"<iq type='result' id='g'><query xmlns='jabber:iq:register'/></iq>")

    def test_forms_links_and_pictures_arrive_as_they_are(self) -> None:
        """XEP-0077 §4 and §5, XEP-0158: a form, a page to register at, the picture of a CAPTCHA."""
        client, stream, _wire, identity = self.registering()
        inside = (
            b"<query xmlns='jabber:iq:register'><instructions>a &amp; b</instructions>"
            b"<x xmlns='jabber:x:data' type='form'><field var='ocr'><media xmlns='urn:xmpp:media-element'>"
            b"<uri type='image/png'>cid:x@bob.xmpp.org</uri></media></field></x>"
            b"<x xmlns='jabber:x:oob'><url>https://example.org/</url></x></query>"
            b"<data xmlns='urn:xmpp:bob' cid='x@bob.xmpp.org'>AAAA</data>"
        )
        stream.dataReceived(b"<iq type='result' id='%b' to='a@b/c'>%b</iq>" % (identity, inside))
        self.assertEqual(client.wire.take(), b"<iq type='result' id='g'>%b</iq>" % inside)

    def test_an_answer_of_too_many_tags(self) -> None:
        client, stream, wire, identity = self.registering()
        stream.dataReceived(b"<iq type='result' id='%b'>%b</iq>" % (identity, b"<a/>" * 25_000))
        self.assertIn(b"remote-server-timeout", client.wire.take())
        self.assertTrue(wire.aborted)

    def test_a_request_of_too_many_tags(self) -> None:
        big = b"<iq type='set' id='b'><query xmlns='jabber:iq:register'>%b</query></iq>" % (b"<a/>" * 900)
        client = self.known()
        self.assertIn(b"policy-violation", client.send(big))
        self.setUp()
        client, stream, _wire, identity = self.registering(GET + big)
        stream.dataReceived(b"<iq type='result' id='%b'/>" % identity)
        self.assertIn(b"policy-violation", client.wire.take())

    def test_a_tree_is_made_of_no_more_than_a_form_needs(self) -> None:
        """Before it is refused: a few thousand tags from whoever connects held everybody up."""
        self.patch(registration, "serialize", lambda _element: self.fail("made"))
        self.patch(Stanza, "element", property(lambda _stanza: self.fail("made")))
        client = self.known()
        for tags in (b"<a/>" * 600, b"<a>" * 300 + b"</a>" * 300, b"<a xmlns='x'/>" * 600):
            asked = b"<iq type='set' id='b'><query xmlns='jabber:iq:register'>%b</query></iq>" % tags
            self.assertIn(b"policy-violation", client.send(asked))

    def test_how_deep_a_request_may_be(self) -> None:
        for within, refused in ((DEEPEST_REQUEST - 1, False), (DEEPEST_REQUEST, True)):
            client = self.known()
            nested = b"<a>" * within + b"</a>" * within
            answer = client.send(b"<iq type='set' id='b'><query xmlns='jabber:iq:register'>%b</query></iq>" % nested)
            self.assertEqual(b"nested deeper than" in answer, refused)

    def test_a_server_that_talks_and_does_not_answer(self) -> None:
        client, stream, wire, _identity = self.registering()
        stream.dataReceived(b"<message/>" * 20)
        self.assertIn(b"remote-server-timeout", client.wire.take())
        self.assertTrue(wire.aborted)
        self.assertEqual(self.lab.context.registrar.open_streams, 0)

    def test_the_errors_that_stand_for_an_answer(self) -> None:
        client, _stream, _wire, _identity = self.registering()
        self.lab.clock.advance(registrar.ANSWER_TIMEOUT)
        self.assertIn(b"<error type='wait'><remote-server-timeout xmlns=", client.wire.take())

    def test_who_asks_too_often_is_sent_away(self) -> None:
        """Whatever the answers were; a new connection begins anew."""
        client = self.known()
        most = self.lab.context.registrar.requests_per_client
        self.assertEqual(most, 20, "four for each of the five accounts of an address")
        for number in range(most):
            self.assertNotIn(b"policy-violation", client.send(BAD), number)
        self.assertIn(b"<policy-violation ", client.send(BAD))
        self.assertTrue(client.wire.closing)
        self.assertNotIn(b"policy-violation", self.known_client().send(BAD))

    def known_client(self) -> LabClient:
        client = self.lab.client()
        client.send(HEADER)
        return client

    def test_a_fault_of_ours_is_logged_and_leaves_nothing(self) -> None:
        client = self.known()
        client.send(GET)
        self.lab.contacts.pop().errback(RuntimeError("ours"))
        self.assertIn(b"<internal-server-error ", client.wire.take())
        self.assertTrue(client.wire.closing)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        client.vanish()
        self.assertEqual(self.lab.context.registrar.open_streams, 0)

    def test_places(self) -> None:
        """Each client has one place, as long as its stream lasts: so many for an address, so many for a domain."""
        places = self.lab.context.registrar
        here = [places.take_place("example.org", "192.0.2.1") for _ in range(7)]
        self.assertEqual(here, [True] * registrar.STREAMS_PER_ADDRESS + [False] * 2)
        left = registrar.STREAMS_PER_DOMAIN - registrar.STREAMS_PER_ADDRESS
        elsewhere = [places.take_place("example.org", f"198.51.100.{number}") for number in range(left + 2)]
        self.assertEqual(elsewhere, [True] * left + [False] * 2)
        self.assertEqual(places.open_streams, registrar.STREAMS_PER_DOMAIN)
        self.assertTrue(places.take_place("example.net", "198.51.100.1"), "another domain has places of its own")
        places.give_place("example.org", "192.0.2.1")
        self.assertEqual([places.take_place("example.org", "192.0.2.1") for _ in range(2)], [True, False])
        self.assertEqual(places.open_streams, registrar.STREAMS_PER_DOMAIN + 1)

    def test_an_address_that_has_tried_often_has_no_more_streams(self) -> None:
        """Each stream counts as a try, also for who only looks at the form: the server would have as many logins."""
        context = self.lab.context
        client, stream, _wire, identity = self.registering()
        while context.registrar.guard.tries("192.0.2.1", makes=False):
            pass
        stream.dataReceived(b"<iq type='result' id='%b'/>" % identity)
        client.wire.take()
        client.send(GET)
        self.assertEqual(client.wire.take(), b"", "what is open stays so")
        answer = self.known_client().send(GET)
        self.assertIn(b"<error type='wait'><resource-constraint ", answer)
        self.assertIn(b"too many tries from your address", answer)
        self.assertEqual((self.lab.contacts, context.registrar.open_streams), ([], 1))

    def test_a_client_has_a_place_as_long_as_its_stream(self) -> None:
        client, stream, wire, identity = self.registering()
        self.assertEqual(self.lab.context.registrar.open_streams, 1)
        stream.dataReceived(b"<iq type='result' id='%b'/>" % identity)
        client.wire.take()
        client.send(GET)
        self.assertEqual((self.lab.context.registrar.open_streams, self.lab.contacts), (1, []))
        self.asked(wire)
        client.vanish()
        self.assertEqual(self.lab.context.registrar.open_streams, 0)
        self.assertTrue(wire.aborted)

    def test_a_server_that_offers_none_after_all(self) -> None:
        client = self.known()
        client.send(GET)
        _stream, wire = self.answer_contact(BARREN)
        self.assertIn(b"<service-unavailable ", client.wire.take())
        self.assertEqual(self.lab.context.registrar.open_streams, 0)
        self.assertTrue(wire.aborted)
        self.assertIn(b"<service-unavailable ", client.send(GET))
        self.assertEqual(self.lab.contacts, [], "it is known now")

    def test_an_account_is_counted_if_it_may_have_been_made(self) -> None:
        """A server's error makes none; and a request for the form is no try."""
        client, stream, wire, identity = self.registering(SET)
        for answer, made in (
            (
                b"<iq type='error' id='%b'><error type='modify'><not-acceptable"
                b" xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
                0,
            ),
            (b"<iq type='result' id='%b'/>", 1),
        ):
            stream.dataReceived(answer % identity)
            client.wire.take()
            self.assertEqual(self.lab.context.registrar.guard._known["192.0.2.1"].made, made)
            client.send(SET)
            identity = self.asked(wire)

    def test_what_makes_no_account_takes_none_back(self) -> None:
        """Or bad invitations would be a way to ever more accounts."""
        client, stream, wire, identity = self.registering(SET)
        guard = self.lab.context.registrar.guard
        tries = guard._known["192.0.2.1"].tries
        stream.dataReceived(b"<iq type='result' id='%b'/>" % identity)
        for request, counted in (
            (b"<iq type='set' id='p'><preauth xmlns='urn:xmpp:pars:0' token='t'/></iq>", 1),
            (GET, 1),
            (GET, 1),
        ):
            client.send(request)
            stream.dataReceived(
                b"<iq type='error' id='%b'><error type='cancel'><item-not-found"
                b" xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>" % self.asked(wire)
            )
            self.assertEqual(guard._known["192.0.2.1"][1:], (tries + counted, 1), request)

    def test_what_the_operator_reads(self) -> None:
        """Who tried to make which account, and what came of it; nothing of a client that only looks at the form."""
        told: list[str] = []

        def tell(event: LogEvent) -> None:
            if event.get("log_namespace", "").startswith("minimixproxy.c2s.server.regist"):
                told.append(formatEvent(event))

        observe(self, tell)
        client, stream, wire, identity = self.registering()
        preauth = b"<iq type='set' id='p'><preauth xmlns='urn:xmpp:pars:0' token='t'/></iq>"
        error = (
            b"<iq type='error' id='%b'><error type='cancel'><conflict"
            b" xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        )
        for request, answer in ((preauth, b""), (SET, b""), (preauth, error), (SET, error), (GET, b"")):
            stream.dataReceived((answer or b"<iq type='result' id='%b'/>") % identity)
            client.send(request)
            identity = self.asked(wire)
        outcomes = [line.rpartition(": ")[2] for line in told if "192.0.2.1" in line]
        self.assertEqual(outcomes, ["the invitation is good", "conflict", "conflict", "made"], told)

    def test_what_only_looks_like_a_request(self) -> None:
        for name, space in (("message", ""), ("presence", ""), ("iq", " xmlns='urn:other'"), ("iqs", "")):
            self.setUp()
            client = self.known()
            query = "<query xmlns='jabber:iq:register'/>"
            answer = client.send(f"<{name}{space} type='get' id='1'>{query}</{name}>".encode())
            self.assertIn(b"<not-authorized ", answer)
            self.assertEqual(self.lab.contacts, [])

    def test_a_server_that_says_nothing(self) -> None:
        client, _stream, wire, _identity = self.registering()
        self.lab.clock.advance(registrar.ANSWER_TIMEOUT)
        self.assertIn(b"remote-server-timeout", client.wire.take())
        self.assertTrue(wire.aborted)
        client.send(GET)
        stream, wire = self.answer_contact()  # the next request has a stream of its own
        stream.dataReceived(b"<iq type='result' id='%b'/>" % self.asked(wire))
        self.assertEqual(client.wire.take(), b"<iq type='result' id='g'></iq>")

    def test_a_server_that_cannot_be_reached_makes_no_account(self) -> None:
        client = self.known()
        for _ in range(8):
            client.send(SET)
            self.lab.contacts.pop().errback(UpstreamUnreachable("down"))
            self.assertIn(b"remote-server-timeout", client.wire.take())
        self.assertEqual(self.lab.context.registrar.open_streams, 0)

    def test_without_an_answer_the_account_may_have_been_made(self) -> None:
        client, stream, _wire, _identity = self.registering(SET)
        stream.connectionLost(Failure(ConnectionDone()))
        self.assertIn(b"remote-server-timeout", client.wire.take())
        admitted = [self.lab.context.registrar.guard.tries("192.0.2.1", makes=True) for _ in range(5)]
        self.assertEqual(admitted.count(True), 4)

    def test_a_server_that_hung_up_meanwhile(self) -> None:
        client, stream, _wire, identity = self.registering()
        stream.dataReceived(b"<iq type='result' id='%b'/>" % identity)
        client.wire.take()
        stream.dataReceived(b"</stream:stream>")
        stream.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.lab.context.registrar.open_streams, 0)
        client.send(GET)
        stream, wire = self.answer_contact()
        stream.dataReceived(b"<iq type='result' id='%b'/>" % self.asked(wire))
        self.assertEqual(client.wire.take(), b"<iq type='result' id='g'></iq>")

    def test_a_server_that_offers_it_no_more(self) -> None:
        client = self.known()
        client.send(GET)
        _stream, wire = self.answer_contact(BARREN)
        self.assertIn(b"service-unavailable", client.wire.take())
        self.assertNotIn(b"<iq", wire.take())
        self.assertIn(b"service-unavailable", client.send(GET))
        self.assertEqual(self.lab.contacts, [])

    def test_a_login_ends_it(self) -> None:
        client, stream, wire, identity = self.registering()
        stream.dataReceived(b"<iq type='result' id='%b'/>" % identity)
        client.send(plain())
        self.assertTrue(wire.aborted)
        self.assertEqual(len(self.lab.logins), 1)
        self.assertEqual(self.lab.context.registrar.open_streams, 0)

    def test_a_client_that_vanishes_ends_it(self) -> None:
        client, _stream, wire, _identity = self.registering(SET)
        client.vanish()
        self.assertTrue(wire.aborted)
        self.assertEqual(self.lab.context.registrar.open_streams, 0)

    def test_a_client_that_vanishes_while_a_stream_is_opened(self) -> None:
        client = self.known()
        client.send(GET)
        client.vanish()
        self.assertEqual(self.lab.cancelled, 1)
        self.assertEqual(self.lab.context.registrar.open_streams, 0)

    def test_requests_of_one_client(self) -> None:
        """Some libraries make all accounts that their tests need over one stream."""
        remove = b"<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>"
        for accounts, most in ((1, 20), (5, 20), (100, 400)):
            self.lab = Lab(Path(self.mktemp()), registration=True, registrations_per_address=accounts)
            client = self.known()
            for _ in range(most):
                self.assertIn(b"registration-required", client.send(remove))
            self.assertIn(b"policy-violation", client.send(remove))

    def test_there_is_time_for_a_form_but_not_for_ever(self) -> None:
        client, stream, _wire, identity = self.registering()
        stream.dataReceived(b"<iq type='result' id='%b'/>" % identity)
        client.wire.take()
        self.lab.clock.advance(REQUEST_TIME - 1)
        self.assertFalse(client.wire.closing)
        client.send(GET)
        self.lab.clock.advance(REQUEST_TIME - 1)
        self.assertFalse(client.wire.closing)
        self.lab.clock.advance(1)
        self.assertIn(b"connection-timeout", client.wire.take())

    def test_a_client_that_asks_again_and_again(self) -> None:
        """What no server sees is a request, too."""
        client = self.known()
        big = b"<iq type='set' id='b'><query xmlns='jabber:iq:register'>%b</query></iq>" % (b" " * 17_000)
        for _ in range(6):
            self.assertIn(b"policy-violation", client.send(big))
            self.assertFalse(client.wire.closing)
            self.lab.clock.advance(LONGEST / 6)
        self.assertIn(b"connection-timeout", client.wire.take())

    def test_time_that_is_over_is_no_time(self) -> None:
        """Not less than none: the reactor takes no such delay, and it may be late."""
        self.known()
        self.lab.clock.advance(5)
        self.assertEqual(
            ClientRegistration(self.lab.context.registrar).patience(self.lab.context.domains["example.org"]), 0.0
        )

    def test_the_places_of_a_domain(self) -> None:
        self.known()
        registrar_ = self.lab.context.registrar
        while registrar_.take_place("example.org", f"198.51.100.{registrar_.open_streams}"):
            pass
        self.assertEqual(registrar_.open_streams, registrar.STREAMS_PER_DOMAIN)
        client = self.lab.client()
        client.send(HEADER)
        self.assertIn(b"resource-constraint", client.send(GET))
        self.assertTrue(registrar_.take_place("other.example", "192.0.2.7"))


class SwitchedOffTest(unittest.TestCase):
    def test_who_asks_has_no_more_time(self) -> None:
        """Nor where its server offers none: a stranger would stay for half an hour."""
        without, barren = Lab(Path(self.mktemp()), registration=False), Lab(Path(self.mktemp()), registration=True)
        barren.context.offers.learned(barren.settings.domain["example.org"], BARREN)
        for lab in (without, barren):
            client = lab.client()
            client.send(HEADER)
            for _ in range(2):
                self.assertIn(b"service-unavailable", client.send(GET))
                self.assertFalse(client.wire.closing)
                lab.clock.advance(lab.settings.limits.authentication_timeout / 2)
            self.assertIn(b"connection-timeout", client.wire.take())

    def test_nothing_is_asked_of_the_server(self) -> None:
        lab = Lab(Path(self.mktemp()), registration=False)
        client = lab.client()
        self.assertNotIn(b"<register", client.send(HEADER))
        self.assertIn(b"service-unavailable", client.send(GET))
        self.assertIn(b"service-unavailable", client.send(SET))
        self.assertEqual(lab.contacts, [])

    def test_not_without_tls(self) -> None:
        lab = Lab(Path(self.mktemp()), registration=True)
        client = lab.client(secure=False)
        self.assertNotIn(b"<register", client.send(HEADER))
        self.assertIn(b"not-authorized", client.send(GET))
        self.assertEqual(lab.contacts, [])
