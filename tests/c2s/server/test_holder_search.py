"""In a cluster: when a client's account is looked for, what becomes of the answer, and what the client sees of it."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial import unittest

from minimixproxy.c2s.server.elsewhere import Cluster, Elsewhere, HolderUnknown, Introduction, NotHandedOver
from minimixproxy.c2s.server.holder_search import LAST_PAUSE, TRIES
from minimixproxy.c2s.server.named_account import named_account
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.wire.events import Event
from minimixproxy.wire.stanza import Stanza
from tests.c2s.helpers import HEADER, LabClient, plain
from tests.c2s.server.test_negotiation import RESPONSE, errors
from tests.c2s.server.test_sasl2 import Sasl2Case, authenticate

THERE = Elsewhere(7, 9, "unix:/there", "node-b")
NAMED = HEADER.replace(b" to=", b" from='a@example.org' to=")
AUTH = b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%b'>%b</auth>"
SASL = b"urn:ietf:params:xml:ns:xmpp-sasl"


class FakePipe:
    """Takes a client, and keeps what it had sent ahead."""

    def __init__(self) -> None:
        self.stream: ClientStream | None = None
        self.early: list[Event] = []

    def start(self, stream: ClientStream, early: list[Event], domain: str) -> None:
        self.stream, self.early = stream, early
        stream.transport.resumeProducing()


class FakeCluster:
    """The test answers each question."""

    def __init__(self) -> None:
        self.found: list[tuple[str, Deferred[Elsewhere | None]]] = []
        self.claimed: list[tuple[str, Deferred[Elsewhere | None]]] = []
        self.piped: list[tuple[Elsewhere, Introduction, Deferred[FakePipe]]] = []
        self.cancelled = 0

    async def find(self, bare: str) -> Elsewhere | None:
        self.found.append((bare, Deferred(self._cancel)))
        return await self.found[-1][1]

    async def claim(self, bare: str) -> Elsewhere | None:
        self.claimed.append((bare, Deferred(self._cancel)))
        return await self.claimed[-1][1]

    async def pipe(self, elsewhere: Elsewhere, client: Introduction) -> FakePipe:
        self.piped.append((elsewhere, client, Deferred(self._cancel)))
        return await self.piped[-1][2]

    def _cancel(self, _deferred: object) -> None:
        self.cancelled += 1

    @property
    def asked(self) -> list[str]:
        return [bare for bare, _answer in self.found]


class HolderSearchCase(Sasl2Case):
    def setUp(self) -> None:
        super().setUp()
        self.cluster = FakeCluster()
        self.lab.context.cluster = Cluster(self.cluster, self.cluster)


class ByHeaderTest(HolderSearchCase):
    def test_held_elsewhere(self) -> None:
        client = self.lab.client()
        self.assertEqual(client.send(NAMED), b"")
        self.assertEqual(client.wire.producerState, "paused")
        self.assertEqual(self.cluster.asked, ["a@example.org"])
        self.cluster.found[0][1].callback(THERE)
        elsewhere, introduction, reached = self.cluster.piped[0]
        self.assertEqual(elsewhere, THERE)
        self.assertTrue(introduction.header.startswith(b"<stream:stream"))
        self.assertEqual((introduction.offered, introduction.opening), (None, b""))
        self.assertEqual(str(introduction.peer), "192.0.2.1:40000")
        client.send(plain())  # it was in the same read, say
        pipe = FakePipe()
        reached.callback(pipe)
        self.assertIs(pipe.stream, client.stream)
        self.assertEqual([event.raw for event in pipe.early if isinstance(event, Stanza)], [plain()])
        self.assertEqual(client.wire.producerState, "producing")
        self.lab.clock.advance(3600)  # the time for its login is not ours any more
        self.assertEqual((client.wire.take(), client.wire.closing), (b"", False))

    def test_held_here(self) -> None:
        client = self.lab.client()
        client.send(NAMED + plain())
        self.cluster.found[0][1].callback(None)
        self.assertIn(b"<mechanism>PLAIN", client.wire.take())
        self.assertEqual(len(self.lab.logins), 1)
        self.assertEqual(self.cluster.asked, ["a@example.org"])  # not once more
        client.accept_login()
        self.cluster.claimed[0][1].callback(None)
        self.assertIn(b"<success", client.wire.take())

    def test_another_account_than_in_the_header(self) -> None:
        client = self.lab.client()
        client.send(NAMED)
        self.cluster.found[0][1].callback(None)
        self.assertIn(b"<invalid-authzid/>", client.send(plain("b")))
        self.assertEqual((self.cluster.asked, self.lab.logins), (["a@example.org"], []))
        client.send(plain())
        self.assertEqual(len(self.lab.logins), 1)

    def test_refused_once(self) -> None:
        client = self.lab.client()
        client.send(NAMED)
        self.cluster.found[0][1].callback(THERE)
        self.cluster.piped[0][2].errback(NotHandedOver("it is another incarnation"))
        self.assertEqual(len(self.cluster.found), 2)
        self.assertTrue(self.told("a@example.org: its holder node-b does not take a client"))
        self.cluster.found[1][1].callback(None)
        self.assertIn(b"<mechanism>PLAIN", client.wire.take())

    def test_refused_each_time(self) -> None:
        client = self.lab.client()
        client.send(NAMED)
        for number in range(TRIES):
            if number == TRIES - 1:
                self.assertEqual(len(self.cluster.found), number)
                self.lab.clock.advance(LAST_PAUSE)
            self.cluster.found[number][1].callback(THERE)
            self.cluster.piped[number][2].errback(NotHandedOver("nobody is there"))
        self.assertEqual(errors(client.wire.take()), [b"remote-connection-failed"])
        self.assertTrue(self.told("out of reach: nobody is there"))

    def test_nobody_knows(self) -> None:
        client = self.lab.client()
        client.send(NAMED)
        self.cluster.found[0][1].errback(HolderUnknown("the database is out of reach"))
        self.assertEqual(errors(client.wire.take()), [b"remote-connection-failed"])

    def test_a_fault(self) -> None:
        client = self.lab.client()
        client.send(NAMED)
        self.cluster.found[0][1].errback(RuntimeError("a fault"))
        self.assertEqual(errors(client.wire.take()), [b"internal-server-error"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertFalse(self.told("out of reach"), "that is something else")

    def test_too_late(self) -> None:
        client = self.lab.client()
        client.send(NAMED)
        self.lab.clock.advance(3600)
        self.assertEqual(errors(client.wire.take()), [b"connection-timeout"])
        self.assertEqual(self.cluster.cancelled, 1)

    def test_gone_meanwhile(self) -> None:
        client = self.lab.client()
        client.send(NAMED)
        self.cluster.found[0][1].callback(THERE)
        client.vanish()
        self.assertEqual(self.cluster.cancelled, 1)

    def test_before_tls(self) -> None:
        client = self.lab.client(secure=False)
        self.assertIn(b"<starttls", client.send(NAMED))
        self.assertEqual(self.cluster.asked, [])


class ByLoginTest(HolderSearchCase):
    def test_held_elsewhere(self) -> None:
        for first in (plain(), authenticate()):
            client = self.client()
            self.assertEqual(client.send(first), b"")
            self.assertEqual(self.cluster.asked[-1], "a@example.org")
            self.cluster.found[-1][1].callback(THERE)
            introduction = self.cluster.piped[-1][1]
            self.assertEqual((introduction.opening, introduction.response), (first, b""))
            assert introduction.offered is not None
            self.assertIn("PLAIN", introduction.offered.mechanisms)
            pipe = FakePipe()
            self.cluster.piped[-1][2].callback(pipe)
            self.assertIs(pipe.stream, client.stream)
        self.assertEqual(self.lab.logins, [])

    def test_held_here(self) -> None:
        client = self.client()
        client.send(plain())
        self.cluster.found[0][1].callback(None)
        self.assertEqual(len(self.lab.logins), 1)

    def test_no_name_in_it(self) -> None:
        """It is for the exchange to say what is wrong."""
        client = self.client()
        for mechanism, text in ((b"PLAIN", b"AAAA"), (b"PLAIN", b"!"), (b"SCRAM-SHA-1", b"AAAA"), (b"X", b"=")):
            self.assertIn(b"<failure", client.send(AUTH % (mechanism, text)))
            client = self.client()
        self.assertEqual(self.cluster.asked, [])

    def test_without_initial_response(self) -> None:
        client = self.client()
        self.assertEqual(client.send(AUTH % (b"PLAIN", b"")), b"<challenge xmlns='%b'/>" % SASL)
        self.assertEqual(client.send(RESPONSE), b"")
        self.assertEqual(self.cluster.asked, ["a@example.org"])
        self.cluster.found[0][1].callback(THERE)
        introduction = self.cluster.piped[0][1]
        self.assertEqual((introduction.opening, introduction.response), (AUTH % (b"PLAIN", b""), RESPONSE))

    def test_without_initial_response_by_sasl2(self) -> None:
        client = self.client()
        self.assertIn(b"<challenge xmlns='urn:xmpp:sasl:2'", client.send(authenticate(message=None)))
        said = b"<response xmlns='urn:xmpp:sasl:2'>%b</response>" % b64encode(b"\0a\0secret")
        client.send(said)
        self.cluster.found[0][1].callback(None)
        self.assertEqual(self.lab.logins[0][0].username, "a")

    def test_without_initial_response_here(self) -> None:
        client = self.client()
        client.send(AUTH % (b"PLAIN", b""))
        client.send(RESPONSE)
        self.cluster.found[0][1].callback(None)
        self.assertEqual(self.lab.logins[0][0].username, "a")

    def test_broken_off_before_it_is_named(self) -> None:
        client = self.client()
        client.send(AUTH % (b"PLAIN", b""))
        self.assertIn(b"<aborted/>", client.send(b"<abort xmlns='%b'/>" % SASL))
        self.assertEqual(client.send(plain()), b"")
        self.assertEqual(self.cluster.asked, ["a@example.org"])

    def test_broken_off_before_it_is_named_by_sasl2(self) -> None:
        client = self.client()
        client.send(authenticate(message=None))
        self.assertIn(b"<aborted ", client.send(b"<abort xmlns='urn:xmpp:sasl:2'/>"))
        self.assertEqual(client.send(authenticate()), b"", "it may begin anew")
        self.assertEqual(self.cluster.asked, ["a@example.org"])

    def test_not_offered_without_initial_response(self) -> None:
        self.assertIn(b"<invalid-mechanism/>", self.client().send(AUTH % (b"X", b"")))

    def test_out_of_reach(self) -> None:
        client = self.client()
        client.send(plain())
        self.cluster.found[0][1].errback(HolderUnknown("the database is out of reach"))
        self.assertIn(b"<temporary-auth-failure/>", client.wire.take())
        client.send(plain())
        self.assertEqual(len(self.cluster.found), 2)


class ClaimTest(HolderSearchCase):
    def proved(self, first: bytes) -> LabClient:
        client = self.client()
        client.send(first)
        self.cluster.found[-1][1].callback(None)
        client.accept_login()
        self.assertEqual(self.cluster.claimed[-1][0], "a@example.org")
        self.assertEqual(client.wire.take(), b"")
        return client

    def test_held_here_from_now_on(self) -> None:
        client = self.proved(plain())
        client.send(b"<message/>")  # of the old stream
        self.cluster.claimed[0][1].callback(None)
        self.assertEqual(client.wire.take(), b"<success xmlns='%b'/>" % SASL)
        client.send(HEADER)
        self.assertIn(b"<stream:stream", client.upstream.take())

    def test_held_here_from_now_on_by_sasl2(self) -> None:
        client = self.proved(authenticate())
        client.send(b"<presence/>")  # of its session
        self.cluster.claimed[0][1].callback(None)
        self.lab.clock.advance(0)
        self.assertIn(b"<stream:stream", client.upstream.take())

    def test_held_elsewhere_by_now(self) -> None:
        for first in (plain(), authenticate()):
            client = self.proved(first)
            self.cluster.claimed[-1][1].callback(THERE)
            self.assertEqual(errors(client.wire.take()), [b"reset"])
            self.assertTrue(client.upstream.aborted)
        self.assertTrue(self.told("a@example.org is held by node-b by now"))

    def test_out_of_reach(self) -> None:
        client = self.proved(plain())
        self.cluster.claimed[0][1].errback(HolderUnknown("the database is out of reach"))
        self.assertIn(b"<temporary-auth-failure/>", client.wire.take())
        self.assertTrue(client.upstream.aborted)

    def test_gone_meanwhile(self) -> None:
        client = self.proved(plain())
        client.vanish()
        self.assertEqual(self.cluster.cancelled, 1)
        self.assertTrue(client.upstream.aborted)


class NamedAccountTest(unittest.SynchronousTestCase):
    def test_table(self) -> None:
        token = b"a\0" + b"x" * 32
        for mechanism, message, account in (
            ("PLAIN", b"\0a\0p", "a@example.org"),
            ("PLAIN", b"a@example.org\0A\0p", "a@example.org"),
            ("PLAIN", b"\0a", None),
            ("PLAIN", b"\0a b\0p", None),
            ("PLAIN", b"\0a@b\0p", None),
            ("SCRAM-SHA-1", b"n,,n=a,r=x", "a@example.org"),
            ("SCRAM-SHA-256-PLUS", b"p=tls-exporter,,n=a,r=x", "a@example.org"),
            ("SCRAM-SHA3-512", b"y,,n=a,r=x", "a@example.org"),
            ("SCRAM-SHA-1", b"n,,r=x", None),
            ("HT-SHA-256-NONE", token, "a@example.org"),
            ("HT-SHA-256-EXPR", token, "a@example.org"),
            ("HT-SHA-256-NONE", token[:-1], None),
            ("HT-SHA-3-NONE", token, None),
            ("EXTERNAL", b"a@example.org", None),
            (None, b"\0a\0p", None),
        ):
            text = b64encode(message).decode()
            self.assertEqual(named_account(mechanism, text, "example.org"), account, (mechanism, message))

    @given(st.sampled_from(["PLAIN", "SCRAM-SHA-1", "HT-SHA-256-NONE"]), st.binary() | st.text())
    def test_anything(self, mechanism: str, said: bytes | str) -> None:
        text = b64encode(said).decode() if isinstance(said, bytes) else said
        account = named_account(mechanism, text, "example.org")
        self.assertTrue(account is None or account.endswith("@example.org"))
