"""A SCRAM exchange between client and server: what passes, what does not, and what comes of a server that lies."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from pathlib import Path

from twisted.logger import formatEvent
from twisted.trial.unittest import TestCase
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.errors import UpstreamError, UpstreamUnreachable
from minimixproxy.c2s.server.offers import FRESH
from minimixproxy.c2s.upstream.sasl_channel import LARGEST
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.c2s.helpers import BIND, BOUND, HEADER, SERVER_FEATURES, SERVER_HEADER, HandedServer, Lab, LabClient
from tests.c2s.server.test_negotiation import errors
from tests.c2s.server.test_offers import features
from tests.log_events import log_events
from tests.wires import Wire

SASL = b"urn:ietf:params:xml:ns:xmpp-sasl"
FIRST = b"n,,n=a,r=client"
CHALLENGE, FINAL, LAST = b"r=clientserver,s=QUFB,i=4096", b"c=biws,r=clientserver,p=QUFB", b"v=QUFB"
BEYOND = "SCRAM-SHA3-512"  # the proxy does not know its hash: whatever the account, it is for the server
ABORT = b"<abort xmlns='%b'/>" % SASL


def element(name: str, data: bytes) -> bytes:
    return b"<%b xmlns='%b'>%b</%b>" % (name.encode(), SASL, b64encode(data), name.encode())


def auth(data: bytes = FIRST, mechanism: str = "SCRAM-SHA-1") -> bytes:
    return element("auth", data).replace(b" xmlns", b" mechanism='%b' xmlns" % mechanism.encode(), 1)


def refusal(condition: str) -> bytes:
    return b"<failure xmlns='%b'><%b/></failure>" % (SASL, condition.encode())


class RelayedCase(TestCase):
    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()), logins=("SCRAM", "PLAIN"))
        self.events = log_events(self)
        self.lab.client().send(HEADER)
        self.server_offers("SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN")

    def told(self, text: str) -> bool:
        return any(text in (formatEvent(event) or "") for event in self.events)

    def server_offers(self, *names: str) -> None:
        stream = FramedXmlStream(Authenticator())
        stream.makeConnection(Wire())
        self.lab.contacts.pop().callback((stream, features(*names)))

    def client(self, address: str = "192.0.2.1") -> LabClient:
        client = self.lab.client(address=address)
        client.send(HEADER)
        return client

    def begun(self, first: bytes = FIRST, address: str = "192.0.2.1") -> tuple[LabClient, HandedServer]:
        """A client and a server after the client's first message."""
        client = self.client(address)
        self.assertEqual(client.send(auth(first)), b"")
        return client, self.lab.handed[-1]

    def challenged(self, address: str = "192.0.2.1") -> tuple[LabClient, HandedServer]:
        client, server = self.begun(address=address)
        server.says(element("challenge", CHALLENGE))
        self.assertEqual(client.wire.take(), element("challenge", CHALLENGE))
        return client, server

    def logged_in(self) -> tuple[LabClient, HandedServer]:
        client, server = self.challenged()
        self.assertEqual(client.send(element("response", FINAL)), b"")
        server.says(element("success", LAST))
        self.assertEqual(client.wire.take(), element("success", LAST))
        client.relayed_to(server)
        return client, server


class PassingTest(RelayedCase):
    def test_messages_pass_both_ways(self) -> None:
        _client, server = self.logged_in()
        self.assertEqual(
            server.sent,
            [
                auth().replace(
                    b"mechanism='SCRAM-SHA-1' xmlns='%b'" % SASL, b"xmlns='%b' mechanism='SCRAM-SHA-1'" % SASL
                ),
                element("response", FINAL),
            ],
        )
        self.assertEqual(server.over, "in")
        self.assertEqual(self.lab.logins, [], "nothing else is asked")

    def test_the_session_after_it(self) -> None:
        client, _server = self.logged_in()
        client.send(HEADER)
        client.serve(SERVER_HEADER + SERVER_FEATURES)
        client.send(BIND)
        client.serve(BOUND)
        session = self.lab.accounts.bound[-1]
        self.assertEqual(session.jid, "a@example.org/r")
        self.assertFalse(session.login.credential.known)

    def test_the_server_binds_another_account(self) -> None:
        """Whoever it says it let in: the session is for who was named, or there is none."""
        client, _server = self.logged_in()
        client.send(HEADER)
        client.serve(SERVER_HEADER + SERVER_FEATURES)
        client.send(BIND)
        answer = client.serve(BOUND.replace(b"a@", b"mallory@"))
        self.assertEqual(errors(answer), [b"remote-connection-failed"])
        self.assertEqual(self.lab.accounts.bound, [])

    def test_without_initial_response(self) -> None:
        client = self.client()
        self.assertEqual(client.send(auth(b"")), element("challenge", b"").replace(b"></challenge>", b"/>"))
        self.assertEqual(client.send(element("response", FIRST)), b"")
        self.assertEqual(b64decode(re.findall(rb">([^<]*)<", self.lab.handed[0].sent[0])[0]), FIRST)

    def test_the_last_message_as_a_challenge(self) -> None:
        client, server = self.challenged()
        client.send(element("response", FINAL))
        server.says(element("challenge", LAST))
        self.assertEqual(client.wire.take(), element("challenge", LAST))
        client.send(b"<response xmlns='%b'/>" % SASL)
        server.says(b"<success xmlns='%b'/>" % SASL)
        self.assertEqual(client.wire.take(), b"<success xmlns='%b'/>" % SASL)

    def test_what_goes_with_the_success_after_that(self) -> None:
        """It is for the client to judge: the proxy does not know what proves the server."""
        client, server = self.challenged()
        client.send(element("response", FINAL))
        server.says(element("challenge", LAST))
        client.wire.take()
        client.send(b"<response xmlns='%b'/>" % SASL)
        server.says(element("success", b"more"))
        self.assertEqual(client.wire.take(), element("success", b"more"))

    def test_every_mechanism_of_the_server(self) -> None:
        self.lab.clock.advance(FRESH)
        self.client()
        self.server_offers(BEYOND, "SCRAM-SHA-1")
        self.lab.mechanisms = (BEYOND,)
        self.client().send(auth(mechanism=BEYOND))
        self.assertIn(b"mechanism='SCRAM-SHA3-512'", self.lab.handed[-1].sent[0])

    def test_it_is_its_client_that_the_server_is_told_of(self) -> None:
        _client, _server = self.begun(address="192.0.2.77")
        peer = self.lab.peers[-1]
        assert peer is not None
        self.assertEqual(peer.key, "192.0.2.77")


class ClientTest(RelayedCase):
    """What a client says that is no SCRAM, or not for itself."""

    def test_what_goes_to_no_server(self) -> None:
        self.lab.clock.advance(FRESH)
        self.client()
        self.server_offers("SCRAM-SHA-1", BEYOND)
        for first, condition in (
            (b"", b"malformed-request"),
            (b"n,,", b"malformed-request"),
            (b"n,,n=a", b"malformed-request"),
            (b"n,,r=x,n=a", b"malformed-request"),
            (b"n,,n=a,n=b,r=x", b"malformed-request"),
            (b"n,,n=,r=x", b"malformed-request"),
            (b"n,,m=x,n=a,r=x", b"malformed-request"),
            (b"n,,n=a=2,r=x", b"malformed-request"),
            (b"n,,n=a\xff,r=x", b"malformed-request"),
            (b"p=tls-exporter,,n=a,r=x", b"malformed-request"),
            (b"x,,n=a,r=x", b"malformed-request"),
            (b"n,a=b@example.org,n=a,r=x", b"invalid-authzid"),
            (b"n,a=a@other.example,n=a,r=x", b"invalid-authzid"),
            (b"n,a=a@example.org/r,n=a,r=x", b"invalid-authzid"),
            (b"n,,n=" + b"a" * LARGEST + b",r=x", b"malformed-request"),
        ):
            for mechanism in ("SCRAM-SHA-1", BEYOND):
                client = self.client()
                text = auth(first, mechanism) if first else auth(b"", mechanism).replace(b"></", b">=</")
                self.assertEqual(errors(client.send(text)), [condition], (mechanism, first[:50]))
                self.assertFalse(client.wire.closing)
        self.assertEqual(self.lab.handed, [])

    def test_for_itself(self) -> None:
        _client, server = self.begun(b"n,a=a@example.org,n=a,r=x")
        self.assertIn(b64encode(b"n,a=a@example.org,n=a,r=x"), server.sent[0])

    def test_names(self) -> None:
        """What is counted is the account, however it is spelled."""
        for name in (b"a", b"A", b"\xc2\xaaa", "á".encode()):
            first = b"n,,n=%b,r=x" % name
            client, server = self.begun(first, f"203.0.113.{len(self.lab.handed)}")
            self.assertIn(b64encode(first), server.sent[0], "as it came")
            client.vanish()

    def test_broken_off_at_each_step_it_counts(self) -> None:
        """And the server is let go. Before the server has challenged, nothing was to be guessed, and it may answer."""
        for steps in range(3):
            for leave in ("abort", "vanish", "garbage", "time"):
                self.setUp()
                free = self.lab.settings.limits.failed_logins
                for number in range(free + 1):
                    client, server = self.begun(address=f"203.0.113.{number}")
                    if steps:
                        server.says(element("challenge", CHALLENGE))
                    if steps == 2:
                        client.send(element("response", FINAL))
                    self.leave(client, leave if steps == 1 or leave != "garbage" else "abort")
                    if steps == 0:
                        server.says(element("challenge", CHALLENGE))
                    if steps == 2:
                        server.says(refusal("not-authorized"))
                    self.assertIn(server.over, ("SaslFailure", "UpstreamRefused"))
                before = len(self.lab.handed)
                self.client("198.51.100.1").send(auth())
                self.assertEqual(len(self.lab.handed), before, (steps, leave, "the next one has to wait"))

    def leave(self, client: LabClient, how: str) -> None:
        if how == "abort":
            self.assertEqual(errors(client.send(ABORT)), [b"aborted"])
        elif how == "garbage":
            self.assertEqual(errors(client.send(b"<response xmlns='%b'>!</response>" % SASL)), [b"incorrect-encoding"])
        elif how == "vanish":
            client.vanish()
        else:
            self.lab.clock.advance(0)
            client.stream.handler.close("connection-timeout")  # type: ignore[union-attr]

    def test_another_element_in_the_middle(self) -> None:
        client, server = self.challenged()
        self.assertEqual(errors(client.send(b"<message/>")), [b"not-authorized"])
        self.assertEqual(server.over, "SaslFailure")

    def test_right_after_wrong(self) -> None:
        for _ in range(2):
            client, server = self.challenged()
            client.send(element("response", FINAL))
            server.says(refusal("not-authorized"))
            self.assertEqual(errors(client.wire.take()), [b"not-authorized"])
        self.logged_in()


class ServerTest(RelayedCase):
    """A server that refuses, lies, or is gone."""

    def refused(self, client: LabClient, server: HandedServer, *says: bytes | UpstreamError) -> list[bytes]:
        server.says(*says)
        self.assertNotEqual(server.over, "in")
        self.assertIsNotNone(server.over)
        return errors(client.wire.take())

    def test_it_refuses_at_each_step(self) -> None:
        for said, told in (
            ("not-authorized", b"not-authorized"),
            ("malformed-request", b"not-authorized"),
            ("account-disabled", b"account-disabled"),
            ("temporary-auth-failure", b"temporary-auth-failure"),
            ("invalid-mechanism", b"temporary-auth-failure"),
        ):
            self.setUp()
            if said != "not-authorized":  # that is said of accounts that do not exist: see test_local_scram
                self.assertEqual(self.refused(*self.begun(), refusal(said)), [told])
            client, server = self.challenged()
            client.send(element("response", FINAL))
            self.assertEqual(self.refused(client, server, refusal(said)), [told])

    def test_success_at_once(self) -> None:
        """Nobody has proved anything."""
        self.assertEqual(self.refused(*self.begun(), element("success", LAST)), [b"temporary-auth-failure"])
        self.assertTrue(self.told("the server lets a client in that has proved nothing"))

    def test_challenges_without_end(self) -> None:
        client, server = self.challenged()
        for _ in range(2):
            client.send(element("response", FINAL))
            server.says(element("challenge", CHALLENGE))
        self.assertEqual(errors(client.wire.take()), [b"temporary-auth-failure"])
        self.assertEqual(server.over, "UpstreamProtocolError")

    def test_what_is_no_answer(self) -> None:
        for answer in (
            b"<challenge xmlns='%b'>%b</challenge>" % (SASL, b"A" * (LARGEST + 4)),
            b"<challenge xmlns='%b'>!</challenge>" % SASL,
            b"<challenge xmlns='jabber:client'/>",
            b"<proceed xmlns='%b'/>" % SASL,
            b"<message xmlns='jabber:client'/>",
        ):
            self.assertEqual(self.refused(*self.begun(), answer), [b"temporary-auth-failure"], answer[:50])

    def test_it_is_gone(self) -> None:
        lost = UpstreamUnreachable("the connection was lost")
        self.assertEqual(self.refused(*self.begun(), lost), [b"temporary-auth-failure"])
        client, server = self.challenged()
        server.says(lost)
        self.assertEqual(client.wire.take(), b"", "it is noticed when the client responds")
        client.send(element("response", FINAL))
        self.assertEqual(server.over, "UpstreamUnreachable")

    def test_a_fault_of_the_server_s_counts_for_nobody(self) -> None:
        for _ in range(self.lab.settings.limits.failed_logins + 2):
            self.assertEqual(self.refused(*self.begun(), UpstreamUnreachable("lost")), [b"temporary-auth-failure"])

    def test_it_offers_the_mechanism_no_more(self) -> None:
        self.lab.mechanisms = ("PLAIN",)
        client = self.client()
        self.assertEqual(errors(client.send(auth())), [b"temporary-auth-failure"])
        self.assertEqual(self.lab.handed[-1].sent, [])

    def test_y_where_the_server_offers_channel_binding(self) -> None:
        """A server may take it for an attack (RFC 5802 §6). It is none, and no failure of the client."""
        self.lab.mechanisms += ("SCRAM-SHA-1-PLUS",)
        for _ in range(self.lab.settings.limits.failed_logins + 2):
            client, server = self.begun(b"y,,n=a,r=x")
            self.assertIn(b64encode(b"y,,n=a,r=x"), server.sent[0])
            server.says(refusal("malformed-request"))
            answer = client.wire.take()
            self.assertEqual(errors(answer), [b"temporary-auth-failure"])
            self.assertIn(b"enrolled", answer)
        self.assertTrue(self.told("which can do channel binding, cannot log in at example.org"))
        for first, mechanisms in ((FIRST, self.lab.mechanisms), (b"y,,n=a,r=x", ("SCRAM-SHA-1",))):
            self.lab.mechanisms = mechanisms
            client, server = self.begun(first)
            self.assertEqual(self.refused(client, server, refusal("malformed-request")), [b"not-authorized"])
