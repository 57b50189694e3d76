"""Logins of every kind by way of another process: what the client proves, it proves to the holder of its account."""

from __future__ import annotations

import re
from collections.abc import Callable

from minimixproxy.c2s.server.holder_search import LAST_PAUSE
from minimixproxy.c2s.transport import client_stream
from minimixproxy.cluster.edge_pipe import LEAVE_TIME
from minimixproxy.sasl.channel_binding import UNBOUND, Binding
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.scram import ScramKeys, derive_keys
from minimixproxy.sasl.scram_client import ScramClient
from tests.c2s.helpers import BIND, BOUND, HEADER, PLAIN_FEATURES, SERVER_HEADER, LabClient, plain
from tests.c2s.server.exchanges.test_local_scram import ACCOUNT, Server, data_of, keys
from tests.c2s.server.test_dialogue import challenge
from tests.c2s.server.test_fast import NONE, proof, wanted
from tests.c2s.server.test_negotiation import errors
from tests.c2s.server.test_offers import features
from tests.c2s.server.test_sasl2 import DEVICE, ENABLE, authenticate, bind
from tests.c2s.websocket.lab import WebSocketLab
from tests.cluster.test_pipe import NAMED, SASL, PipeCase
from tests.sasl.exchanges import BINDINGS, bound


def auth(first: bytes, mechanism: str) -> bytes:
    return (
        challenge(first)
        .replace(b"<challenge", b"<auth mechanism='%b'" % mechanism.encode())
        .replace(b"</challenge", b"</auth")
    )


def response(data: bytes) -> bytes:
    return challenge(data).replace(b"challenge", b"response")


class ScramCase(PipeCase):
    logins = ("SCRAM", "PLAIN")

    def setUp(self) -> None:
        super().setUp()
        for lab in (self.pair.edge, self.pair.holder):
            lab.context.offers.learned(lab.context.domains["example.org"], features("SCRAM-SHA-256", "PLAIN"))
            lab.mechanisms = ("SCRAM-SHA-256",)
        self.pair.holder.known_keys.keys[ACCOUNT] = (keys(),)

    def offered(self, shown: bytes) -> Offered:
        names = re.findall(rb"<mechanism>([^<]*)<", shown.partition(b"<authentication")[0])
        types = re.findall(rb"<channel-binding type='([^']*)'", shown)
        return Offered([name.decode() for name in names], [type_.decode() for type_ in types] or None)

    def log_in(self, header: bytes, mechanism: str, binding: Binding = UNBOUND) -> bytes:
        """Return the last answer."""
        offered = self.offered(self.send(header))
        self.assertIn(mechanism, offered.mechanisms)
        scram = ScramClient(mechanism, "a", binding=binding)
        self.assertEqual(self.send(auth(scram.first(), mechanism)), b"")
        server = Server(self.pair.holder.handed[-1], {"a": keys()}, [])
        server.answer()
        said = scram.challenge(data_of(self.flushed()), offered)
        answer = self.send(response(scram.final(derive_keys("sha256", "secret", *said))))
        server.answer()
        answer += self.flushed()
        if answer.startswith(b"<success"):
            scram.verify(data_of(answer))
        self.assertEqual(self.pair.edge.handed, [])
        return answer


class ScramTest(ScramCase):
    def test_named_in_the_header(self) -> None:
        self.assertIn(b"<success", self.log_in(NAMED, "SCRAM-SHA-256"))

    def test_named_by_its_login(self) -> None:
        """What the edge has offered is what the holder proves that it was (XEP-0474)."""
        self.assertIn(b"<success", self.log_in(HEADER, "SCRAM-SHA-256"))

    def test_bound_to_the_tls_of_the_edge(self) -> None:
        self.patch(client_stream, "bindings_as_server", lambda _layer: BINDINGS)
        for type_ in BINDINGS:
            self.client = self.pair.edge.client()
            self.assertIn(b"<success", self.log_in(NAMED, "SCRAM-SHA-256-PLUS", bound(type_)))

    def test_bound_to_another_connection(self) -> None:
        other = {type_: b"x" * len(data) for type_, data in BINDINGS.items()}
        self.patch(client_stream, "bindings_as_server", lambda _layer: other)
        answer = self.log_in(NAMED, "SCRAM-SHA-256-PLUS", bound("tls-exporter"))
        self.assertIn(b"<not-authorized/>", answer)


class FastTest(ScramCase):
    def test_token(self) -> None:
        """One is given by the holder, and lets its client in by the edge."""
        self.send(HEADER)
        self.send(authenticate(bind() + wanted(), message=b"\0a\0secret"))
        login = self.pair.holder.logins[-1][0]
        known = keys()
        shown = ScramKeys(known.client_key or b"", known.server_key)
        login.credential.learn(known.hash_name, known.challenge, shown)
        there = self.accepted()
        self.pair.holder.clock.advance(0)
        there.serve(SERVER_HEADER + PLAIN_FEATURES)
        asked = there.upstream.take()
        resource = re.findall(rb"<resource>([^<]*)<", asked)[0]
        bound_to = BOUND.replace(b"/r<", b"/%b<" % resource)
        there.serve(bound_to.replace(b"b1", re.findall(rb"<iq [^>]*id='([^']*)'", asked)[0]))
        answer = self.flushed()
        secret = re.findall(rb" token='([^']+)'", answer)[0].decode()

        self.client = self.pair.edge.client()
        self.assertIn(b"<mechanism>%b</mechanism></fast>" % NONE.encode(), self.send(HEADER))
        fast = b"<fast xmlns='urn:xmpp:fast:0'/>"
        logins = len(self.pair.holder.logins)
        self.send(authenticate(fast, NONE, b"a\0" + proof(secret), DEVICE))
        self.pair.holder.clock.advance(0)
        self.assertEqual(len(self.pair.holder.logins), logins + 1, "its stream, by the account's keys")
        self.accepted()
        self.assertEqual(self.pair.edge.logins, [])

    def test_wrong_token(self) -> None:
        self.send(HEADER)
        fast = b"<fast xmlns='urn:xmpp:fast:0'/>"
        answer = self.send(authenticate(fast, NONE, b"a\0" + proof("another"), DEVICE))
        self.assertIn(b"<not-authorized", answer)


class WebSocketTest(PipeCase):
    lab = WebSocketLab

    def test_session(self) -> None:
        for header in (NAMED, HEADER):
            self.client = self.pair.edge.client(address="192.0.2.77")
            there = self.session(header)
            self.send(BIND)
            self.assertIn(b"<bind", there.upstream.take())
            there.serve(BOUND)
            self.assertEqual(self.flushed(), BOUND)
            self.assertIs(self.pair.holder.accounts.bound[-1].standalone, True)

    def test_success_and_header_in_one_piece(self) -> None:
        """As the holder's bytes may come: the header of the second stream is an `<open/>` again."""
        self.send(NAMED)
        edge = self.pair.joints[0].edge
        data = b"<success xmlns='%b'/>" % SASL + SERVER_HEADER + PLAIN_FEATURES
        for place in range(len(data)):
            edge.dataReceived(data[place : place + 1])
        answer = self.client.wire.take()
        self.assertIn(b"<success", answer)
        self.assertIn(b"<stream:stream", answer)
        self.assertIn(b"<stream:features", answer)

    def test_sasl2(self) -> None:
        self.session_by_sasl2()

    def test_holder_gone(self) -> None:
        """The stream is not closed, for it may be resumed; an element that is not whole is left out."""
        for half in (b"", b"<message><body>half</body>"):
            self.client = self.pair.edge.client()
            self.session()
            self.pair.joints[-1].edge.dataReceived(half)
            self.pair.joints[-1].cut()
            told = self.flushed()
            self.assertEqual((b"<message" in told, b"<close" in told, errors(told)), (False, False, []))
            self.assertTrue(self.client.wire.closing)

    def test_the_end_within_an_element(self) -> None:
        """Whatever ends the stream here: it is no fault of ours that is logged."""
        ends: tuple[tuple[bytes, Callable[[], bytes | None]], ...] = (
            (b"system-shutdown", self.dismissed_without_the_holder),
            (b"not-well-formed", lambda: self.client.send(b"<a></b>")),
        )
        for condition, end in ends:
            self.client = self.pair.edge.client()
            self.session()
            self.pair.joints[-1].edge.dataReceived(b"<message><body>half</body>")
            self.assertEqual(errors((end() or b"") + self.flushed()), [condition])
        self.assertFalse(self.told("no XML"))

    def dismissed_without_the_holder(self) -> None:
        self.pair.edge.clients.dismiss()
        self.pair.edge.clock.advance(LEAVE_TIME)

    def test_the_edge_leaves(self) -> None:
        """The holder ends the stream, but one that can be resumed: its `<close/>` would say that it is over."""
        for managed in (False, True):
            self.client = self.pair.edge.client()
            there = self.session()
            self.send(BIND)
            there.serve(BOUND)
            self.flushed()
            if managed:
                self.assertIn(b"<enabled", self.send(ENABLE))
            there.serve(b"<message><body>late</body></message>")
            self.pair.edge.clients.dismiss()
            told = self.flushed()
            self.assertTrue(told.startswith(b"<message><body>late</body></message>"), told)
            end = ([], False) if managed else ([b"system-shutdown"], True)
            self.assertEqual((errors(told), b"</stream:stream>" in told), end)
            self.assertTrue(self.client.wire.closing)

    def test_refused(self) -> None:
        self.pair.held.clear()
        self.assertEqual(self.send(NAMED) + self.flushed(), b"")
        self.pair.edge.clock.advance(LAST_PAUSE)
        self.assertIn(b"<remote-connection-failed", self.flushed())

    def test_login_refused_here(self) -> None:
        self.pair.there.clear()
        self.send(NAMED)
        self.send(plain())
        self.assertEqual(len(self.pair.edge.logins), 1)


class ResumingTest(PipeCase):
    """A session is its holder's: it outlives the edge, and goes on through another one."""

    def managed(self) -> tuple[LabClient, bytes]:
        """Return the server's side of a session with stream management, and the id of that."""
        there = self.session()
        self.send(BIND)
        there.serve(BOUND)
        self.flushed()
        there.upstream.take()
        answer = self.send(ENABLE)
        return there, re.findall(rb"<enabled [^>]* id='([^']+)'", answer)[0]

    def said(self, data: bytes) -> bytes:
        answer = self.send(data)
        self.pair.holder.clock.advance(0)
        return answer + self.flushed()

    def comes_back(self, previd: bytes) -> bytes:
        """The client logs in once more, and resumes; return what it is told."""
        self.session()
        return self.said(b"<resume xmlns='urn:xmpp:sm:3' previd='%b' h='0'/>" % previd)

    def test_the_edge_dies(self) -> None:
        there, previd = self.managed()
        self.pair.joints[0].cut()
        self.assertEqual(there.upstream.take(), b"", "it sleeps")
        there.serve(b"<message id='missed'/>")
        self.client = self.pair.edge.client()
        answer = self.comes_back(previd)
        self.assertIn(b"<resumed ", answer)
        self.assertIn(b"id='missed'", answer)
        self.said(b"<message id='back'/>")
        self.assertEqual(there.upstream.take(), b"<message id='back'/>")

    def test_at_the_holder_itself(self) -> None:
        _there, previd = self.managed()
        self.client.vanish()
        self.pair.flush()
        client = self.pair.holder.client()
        client.log_in()
        answer = client.send(b"<resume xmlns='urn:xmpp:sm:3' previd='%b' h='0'/>" % previd)
        self.pair.holder.clock.advance(0)
        self.assertIn(b"<resumed ", answer + client.wire.take())

    def test_before_the_edge_is_known_to_be_dead(self) -> None:
        """The pipe that is left is closed."""
        _there, previd = self.managed()
        first, self.client = self.client, self.pair.edge.client()
        self.assertIn(b"<resumed ", self.comes_back(previd))
        self.pair.flush()
        self.assertTrue(self.pair.joints[0].over)
        self.assertTrue(first.wire.closing)

    def test_the_edge_stops(self) -> None:
        """To the session it is a client whose connection broke: it may come back."""
        there, previd = self.managed()
        self.pair.edge.clients.dismiss()
        self.flushed()
        self.assertEqual(there.upstream.take(), b"")
        self.client = self.pair.edge.client()
        self.assertIn(b"<resumed ", self.comes_back(previd))
