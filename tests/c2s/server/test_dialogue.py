"""A login exchange of several steps, whatever the mechanism: every step, and every way to break it off."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from minimixproxy.c2s.errors import UpstreamRefused, UpstreamUnreachable
from minimixproxy.c2s.server import negotiation_context
from minimixproxy.c2s.server.exchanges.login_exchange import Client, Dialogue, Exchange, ExchangeContext, LoggedIn
from minimixproxy.c2s.upstream.connecting import Login
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.c2s.upstream.sasl_channel import LARGEST
from minimixproxy.xep.sasl import SaslFailure
from tests.c2s.helpers import HEADER, Lab, LabClient
from tests.c2s.server.test_negotiation import errors

SASL = b"urn:ietf:params:xml:ns:xmpp-sasl"
ABORT = b"<abort xmlns='%b'/>" % SASL
AUTH = b"<auth xmlns='%b' mechanism='RIDDLE'>Zmlyc3Q=</auth>" % SASL


def challenge(data: bytes) -> bytes:
    return b"<challenge xmlns='%b'>%b</challenge>" % (SASL, b64encode(data))


def response(data: bytes) -> bytes:
    return b"<response xmlns='%b'>%b</response>" % (SASL, b64encode(data))


class Riddle:
    """Asks twice within its attempt, then has the server decide; `said` is what the client has said."""

    questions: tuple[bytes, ...] = (b"one", b"two")

    def __init__(self, client: Client, context: ExchangeContext) -> None:
        self.said: list[bytes | None] = []
        self.failure: BaseException | None = None
        self._login = Login(client.domain, "a", Credential.from_password("x"), context.keys)
        self._client = client
        self._context = context

    async def __call__(self, dialogue: Dialogue) -> LoggedIn:
        self.said.append(dialogue.first)
        return await self._context.attempts.attempt("a@example.org", self._client.peer, lambda: self._ask(dialogue))

    async def _ask(self, dialogue: Dialogue) -> LoggedIn:
        try:
            for question in self.questions:
                self.said.append(await dialogue.challenge(question))
        except SaslFailure as failure:
            self.failure = failure
            raise
        return LoggedIn(await self._context.connect(self._login, self._client.peer), self._login, b"good")


class DialogueTest(TestCase):
    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()))
        self.riddles: list[Riddle] = []
        self.patch(negotiation_context, "exchange_by", self.exchange_by)

    def exchange_by(self, mechanism: str | None, client: Client, context: ExchangeContext) -> Exchange:
        if mechanism != "RIDDLE":
            raise SaslFailure("invalid-mechanism")
        self.riddles.append(Riddle(client, context))
        return self.riddles[-1]

    def client(self, address: str = "192.0.2.1") -> LabClient:
        client = self.lab.client(address=address)
        client.send(HEADER)
        return client

    def asked(self, client: LabClient) -> None:
        """Answer both riddles: the server is asked then."""
        self.assertEqual(client.send(AUTH), challenge(b"one"))
        self.assertEqual(client.send(response(b"1")), challenge(b"two"))
        self.assertEqual(client.send(response(b"2")), b"")

    def fails(self, client: LabClient, data: bytes, condition: bytes) -> None:
        answer = client.send(data)
        self.assertEqual(errors(answer), [condition])
        self.assertFalse(client.wire.closing)

    def test_to_its_end(self) -> None:
        client = self.client()
        self.asked(client)
        self.assertEqual(self.riddles[0].said, [b"first", b"1", b"2"])
        client.accept_login()
        self.assertEqual(client.wire.take(), b"<success xmlns='%b'>Z29vZA==</success>" % SASL)

    def test_without_initial_response(self) -> None:
        for text, first in ((b"", None), (b"=", b""), (b" \n ", None)):
            self.client(f"192.0.2.{len(text)}").send(AUTH.replace(b"Zmlyc3Q=", text))
            self.assertEqual(self.riddles[-1].said, [first])

    def test_empty_data_both_ways(self) -> None:
        self.patch(Riddle, "questions", (b"", b"two"))
        client = self.client()
        self.assertEqual(client.send(AUTH), b"<challenge xmlns='%b'/>" % SASL)
        self.assertEqual(client.send(b"<response xmlns='%b'/>" % SASL), challenge(b"two"))
        client.send(b"<response xmlns='%b'>=</response>" % SASL)
        self.assertEqual(self.riddles[0].said, [b"first", b"", b""])

    def test_aborted_at_each_step(self) -> None:
        """Each time it counts, and each time the client may try again."""
        for steps in range(3):
            address = f"203.0.113.{steps}"
            client = self.client(address)
            client.send(AUTH)
            for _ in range(steps):
                client.send(response(b"x"))
            self.fails(client, ABORT, b"aborted")
            if steps == 2:
                self.assertFalse(self.lab.logins[-1][1].called, "what is asked upstream goes on")
                self.lab.logins[-1][1].errback(UpstreamRefused("not-authorized"))
            else:
                assert isinstance(self.riddles[-1].failure, SaslFailure)
                self.assertEqual(self.riddles[-1].failure.condition, "aborted")
        client = self.client("198.51.100.1")
        for _ in range(2):
            client.send(AUTH)
            client.send(ABORT)
        self.assertEqual(self.client("198.51.100.2").send(AUTH), b"", "five failures of the account: it waits")

    def test_gone_at_each_step(self) -> None:
        for steps in range(3):
            client = self.client(f"203.0.113.{steps}")
            client.send(AUTH)
            for _ in range(steps):
                client.send(response(b"x"))
            client.vanish()
            self.assertEqual(len(self.lab.clients), 0)
        client.accept_login()
        self.assertTrue(client.upstream.disconnected or client.upstream.disconnecting)
        self.assertEqual(self.lab.clock.getDelayedCalls(), [])

    def test_time_is_up_at_each_step(self) -> None:
        for steps in range(3):
            client = self.client(f"203.0.113.{steps}")
            client.send(AUTH)
            for _ in range(steps):
                client.send(response(b"x"))
            self.lab.clock.advance(61)
            self.assertEqual(errors(client.wire.take()), [b"connection-timeout"])
            if steps < 2:
                self.assertIsNotNone(self.riddles[-1].failure)

    def test_responses_that_cannot_be_read(self) -> None:
        for text, condition in (
            (b"!", b"incorrect-encoding"),
            ("ä".encode(), b"incorrect-encoding"),
            (b"A" * (LARGEST + 4), b"malformed-request"),
        ):
            self.setUp()
            client = self.client()
            client.send(AUTH)
            self.fails(client, b"<response xmlns='%b'>%b</response>" % (SASL, text), condition)
            self.assertEqual(client.send(AUTH), challenge(b"one"), "the next one begins anew")

    def test_more_responses_than_challenges(self) -> None:
        for data in (response(b"1") * 3, response(b"1") + response(b"2") + AUTH):
            client = self.client()
            client.send(AUTH)
            self.assertEqual(errors(client.send(data)), [b"not-authorized"])
            self.assertTrue(client.wire.closing)
            self.lab.logins[-1][1].errback(UpstreamRefused("not-authorized"))

    def test_another_exchange_in_the_middle(self) -> None:
        client = self.client()
        client.send(AUTH)
        self.assertEqual(errors(client.send(AUTH)), [b"not-authorized"])
        self.assertTrue(client.wire.closing)
        self.assertEqual(len(self.riddles), 1)

    def test_all_at_once(self) -> None:
        """A client that knows what is asked need not wait."""
        client = self.client()
        self.assertEqual(client.send(AUTH + response(b"1") + response(b"2")), challenge(b"one") + challenge(b"two"))
        self.assertEqual(self.riddles[0].said, [b"first", b"1", b"2"])

    def test_aborted_while_it_waits_for_its_turn(self) -> None:
        """Nothing was given away, so nothing counts; and whoever is next has its turn."""
        first = self.client()
        first.send(AUTH)
        second = self.client()
        self.assertEqual(second.send(AUTH), b"")
        third = self.client()
        third.send(AUTH)
        self.fails(second, ABORT, b"aborted")
        self.fails(first, ABORT, b"aborted")
        self.assertEqual(third.wire.take(), challenge(b"one"))

    def test_what_the_server_says_at_the_end(self) -> None:
        for error, condition in (
            (UpstreamRefused("not-authorized"), b"not-authorized"),
            (UpstreamUnreachable("gone"), b"temporary-auth-failure"),
        ):
            client = self.client()
            self.asked(client)
            self.lab.logins[-1][1].errback(error)
            self.assertEqual(errors(client.wire.take()), [condition])

    def test_a_fault_of_ours_in_an_exchange(self) -> None:
        async def fail(_riddle: Riddle, _dialogue: Dialogue) -> LoggedIn:
            raise ZeroDivisionError

        self.patch(Riddle, "_ask", fail)
        self.fails(self.client(), AUTH, b"temporary-auth-failure")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_it_asks_on_when_its_client_is_gone(self) -> None:
        """It goes on as long as the server is asked, and learns then that nobody is there."""
        asked: list[Deferred[None]] = [Deferred()]

        async def slow(riddle: Riddle, dialogue: Dialogue) -> LoggedIn:
            await asked[0]
            try:
                await dialogue.challenge(b"one")
            except SaslFailure as failure:
                riddle.failure = failure
                raise
            raise AssertionError("nobody is there")

        self.patch(Riddle, "_ask", slow)
        client = self.client()
        client.send(AUTH)
        client.vanish()
        asked[0].callback(None)
        self.assertIsInstance(self.riddles[0].failure, SaslFailure)
