"""SASL with a server that answers what it likes."""

from __future__ import annotations

import secrets
from base64 import b64encode

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.errors import UpstreamProtocolError, UpstreamRefused
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.c2s.upstream.sasl import PLAIN, SaslExchange, choose_mechanism, offered_mechanisms
from minimixproxy.sasl.scram import Challenge, ScramKeys
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.sasl.exchanges import VECTORS

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"


class Server:
    """Both the stream and the conversation: takes what is sent, says what it is to say."""

    def __init__(self, *says: str) -> None:
        self.says = list(says)
        self.sent: list[bytes] = []

    def send(self, data: bytes) -> None:
        self.sent.append(data)

    async def element(self) -> Stanza:
        return parse_stanza(self.says.pop(0))


class ExchangeTest(SynchronousTestCase):
    def log_in(self, mechanism: str, *says: str) -> Deferred[None]:
        self.server = Server(*says)
        self.credential = Credential.from_password("secret")
        self.credential.learn("sha256", Challenge(b"salt", 4096), ScramKeys(b"c", b"s"))
        exchange = SaslExchange(self.server.send, self.server.element, "a", self.credential)
        work = exchange.plain() if mechanism == PLAIN else exchange.scram(mechanism, KeyCache(), "a@example.org")
        return Deferred.fromCoroutine(work)

    def refused(self, mechanism: str, *says: str) -> Failure:
        failure: Failure = self.failureResultOf(self.log_in(mechanism, *says), UpstreamProtocolError, UpstreamRefused)
        return failure

    def test_success(self) -> None:
        self.successResultOf(self.log_in(PLAIN, f"<success xmlns='{SASL}'/>"))
        self.assertEqual(self.server.sent, [b"<auth xmlns='%b' mechanism='PLAIN'>AGEAc2VjcmV0</auth>" % SASL.encode()])

    def test_after_plain_no_keys_are_kept(self) -> None:
        self.successResultOf(self.log_in(PLAIN, f"<success xmlns='{SASL}'/>"))
        self.assertIsNone(self.credential.learned)
        self.refused(PLAIN, f"<failure xmlns='{SASL}'><not-authorized/></failure>")
        self.assertIsNotNone(self.credential.learned)

    def test_signature_in_a_challenge(self) -> None:
        """The server has proved itself; whether it lets the client in is said behind that."""
        mechanism, nonce, first, _final, last = VECTORS[1]
        self.patch(secrets, "token_urlsafe", lambda _size: nonce)
        says = [f"<challenge xmlns='{SASL}'>{b64encode(data).decode()}</challenge>" for data in (first, last)]
        for end, error in (
            ("<success xmlns='{}'/>", None),
            ("<challenge xmlns='{}'/>", UpstreamProtocolError),
            ("<failure xmlns='{}'><account-disabled/></failure>", UpstreamRefused),
        ):
            self.server = Server(*says, end.format(SASL))
            credential = Credential.from_password("pencil")
            exchange = SaslExchange(self.server.send, self.server.element, "user", credential)
            cache = KeyCache(maybeDeferred)
            work = Deferred.fromCoroutine(exchange.scram(mechanism, cache, "user@example.org"))
            if error is None:
                self.successResultOf(work)
            else:
                self.failureResultOf(work, error)
            self.assertEqual(credential.learned is not None, error is None)
            self.assertEqual(len(self.server.sent), 3)

    def test_what_is_no_answer(self) -> None:
        for mechanism in (PLAIN, "SCRAM-SHA-1"):
            for answer in (
                "<success xmlns='urn:other'/>",
                "<success xmlns='jabber:client'/>",
                f"<succeeded xmlns='{SASL}'/>",
                "<message xmlns='jabber:client'/>",
                "<failure xmlns='urn:other'><not-authorized/></failure>",
            ):
                said = self.refused(mechanism, answer)
                self.assertEqual(said.getErrorMessage(), "the server answered SASL with something else", answer)
                self.assertEqual(len(self.server.sent), 1)

    def test_what_is_out_of_order(self) -> None:
        said = self.refused(PLAIN, f"<challenge xmlns='{SASL}'/>").getErrorMessage()
        self.assertEqual(said, "the server did not understand PLAIN")
        said = self.refused("SCRAM-SHA-1", f"<success xmlns='{SASL}'>dj1hYWFh</success>").getErrorMessage()
        self.assertEqual(said, "the server sent SASL success instead of challenge")
        for data, why in (("?", "the server sent malformed base64"), ("", "SCRAM failed: malformed message")):
            said = self.refused("SCRAM-SHA-1", f"<challenge xmlns='{SASL}'>{data}</challenge>").getErrorMessage()
            self.assertEqual(said, why)

    def test_failures(self) -> None:
        for content, condition, text in (
            ("<account-disabled/>", "account-disabled", "account-disabled"),
            ("<text>go away</text><account-disabled/>", "account-disabled", "go away"),
            ("<text>go away</text>", "not-authorized", "go away"),
            ("<text xmlns='urn:other'>odd</text><account-disabled/>", "account-disabled", "account-disabled"),
            ("", "not-authorized", "not-authorized"),
        ):
            refusal = self.refused(PLAIN, f"<failure xmlns='{SASL}'>{content}</failure>").value
            assert isinstance(refusal, UpstreamRefused)
            self.assertEqual((refusal.condition, str(refusal)), (condition, text), content)


class ChoiceTest(SynchronousTestCase):
    def test_what_is_offered(self) -> None:
        features = parse_stanza(
            f"<features><mechanisms xmlns='{SASL}'><mechanism>PLAIN</mechanism><other>X</other>"
            "<mechanism xmlns='urn:other'>Y</mechanism></mechanisms></features>"
        )
        self.assertEqual(offered_mechanisms(features), {"PLAIN"})
        self.assertEqual(offered_mechanisms(parse_stanza("<features><mechanisms/></features>")), set())

    def test_nothing_that_we_can(self) -> None:
        for offered in (set(), {"EXTERNAL", "plain"}):
            self.assertRaises(UpstreamProtocolError, choose_mechanism, offered, Credential.from_password("secret"))
