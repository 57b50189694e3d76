"""SASL with a server that answers what it likes."""

from __future__ import annotations

import secrets
from base64 import b64encode
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.errors import UpstreamProtocolError, UpstreamRefused
from minimixproxy.c2s.upstream.credentials import Credential, KeyCache
from minimixproxy.c2s.upstream.offer import PLAIN, Choice
from minimixproxy.c2s.upstream.sasl import SaslExchange
from minimixproxy.c2s.upstream.sasl_channel import SaslChannel
from minimixproxy.sasl.channel_binding import Binding, Gs2Header
from minimixproxy.sasl.downgrade import Offered, protection
from minimixproxy.sasl.scram import Challenge, ScramKeys
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.log_events import log_events
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
        return self.log_in_as("a", Choice(mechanism))

    def log_in_as(self, name: str, choice: Choice, offered: Offered | None = None) -> Deferred[None]:
        exchange = SaslExchange(SaslChannel(self.server.send, self.server.element), name, self.credential)
        if choice.mechanism == PLAIN:
            return Deferred.fromCoroutine(exchange.plain())
        return Deferred.fromCoroutine(exchange.scram(choice, KeyCache(), f"{name}@example.org", offered))

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
            exchange = SaslExchange(SaslChannel(self.server.send, self.server.element), "user", credential)
            cache = KeyCache(maybeDeferred)
            work = Deferred.fromCoroutine(exchange.scram(Choice(mechanism), cache, "user@example.org"))
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

    def test_an_account_that_does_not_exist(self) -> None:
        """As much work, and as many questions, as a wrong password takes, the second time, too."""
        refusal = f"<failure xmlns='{SASL}'><not-authorized/></failure>"
        challenge = b64encode(b"r=oursx,s=QUFB,i=5000").decode()
        self.patch(secrets, "token_urlsafe", lambda _size: "ours")
        derived: list[int] = []

        def run(work: Callable[..., ScramKeys], *args: Any) -> Deferred[ScramKeys]:
            derived.append(args[-1])
            return maybeDeferred(work, *args)

        cache = KeyCache(run)
        for name, says in (
            ("bob", (f"<challenge xmlns='{SASL}'>{challenge}</challenge>", refusal)),
            ("nobody", (refusal, refusal)),
        ):
            for expected in ([5000], []):
                derived.clear()
                self.server = Server(*says)
                channel = SaslChannel(self.server.send, self.server.element)
                exchange = SaslExchange(channel, name, Credential.from_password("guess"))
                work = exchange.scram(Choice("SCRAM-SHA-1"), cache, f"{name}@example.org")
                self.failureResultOf(Deferred.fromCoroutine(work), UpstreamRefused)
                self.assertEqual((derived, len(self.server.sent), self.server.says), (expected, 2, []), name)

    def test_an_account_that_does_not_exist_any_more(self) -> None:
        """By keys nobody guesses."""
        self.server = Server(f"<failure xmlns='{SASL}'><not-authorized/></failure>")
        self.credential = Credential.from_keys("sha1", Challenge(b"salt", 4096), ScramKeys(b"c", b"s"))
        self.failureResultOf(self.log_in_as("a", Choice("SCRAM-SHA-1")), UpstreamRefused)
        self.assertEqual(len(self.server.sent), 1)

    def test_a_password_that_nobody_has(self) -> None:
        self.server = Server(f"<failure xmlns='{SASL}'><not-authorized/></failure>")
        exchange = SaslExchange(
            SaslChannel(self.server.send, self.server.element), "a", Credential.from_password("\u0007")
        )
        work = exchange.scram(Choice("SCRAM-SHA-1"), KeyCache(maybeDeferred), "a@example.org")
        self.failureResultOf(Deferred.fromCoroutine(work), UpstreamProtocolError)

    def test_what_is_sent_when_nothing_is_said(self) -> None:
        """RFC 6120 §6.4.2: an empty initial response is not the same as none."""
        server = Server()
        channel = SaslChannel(server.send, server.element)
        channel.auth("PLAIN", b"")
        channel.respond(b"")
        expected = [f"<auth xmlns='{SASL}' mechanism='PLAIN'>=</auth>", f"<response xmlns='{SASL}'></response>"]
        self.assertEqual([sent.decode() for sent in server.sent], expected)

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


class BindingRefusedTest(ExchangeTest):
    """A server that does not take what was offered for channel binding: it is not the account's fault."""

    def answer(self, flag: str, failure: str, name: str = "a") -> Failure:
        self.server = Server(*[f"<failure xmlns='{SASL}'>{failure}</failure>"] * 2)
        self.credential = Credential.from_keys("sha256", Challenge(b"salt", 4096), ScramKeys(b"c", b"s"))
        header = Gs2Header(flag, "tls-exporter" if flag == "p" else "")
        mechanism = "SCRAM-SHA-256-PLUS" if flag == "p" else "SCRAM-SHA-256"
        work = self.log_in_as(name, Choice(mechanism, Binding(header, b"e" * 32)))
        failed: Failure = self.failureResultOf(work, UpstreamProtocolError, UpstreamRefused)
        return failed

    def test_malformed(self) -> None:
        for flag, seems in (("p", "does not take"), ("y", "wants, and does not offer,")):
            failed = self.answer(flag, "<malformed-request/>")
            failed.trap(UpstreamProtocolError)
            self.assertIn(f"the server {seems} logins bound to the connection", failed.getErrorMessage())
            self.assertIn("upstream_channel_binding = false", failed.getErrorMessage())

    def test_whose_fault_it_may_be(self) -> None:
        self.answer("n", "<malformed-request/>").trap(UpstreamRefused)
        self.answer("y", "<malformed-request/>", "a@b").trap(UpstreamRefused)  # no name of an account
        self.answer("y", "<not-authorized/>").trap(UpstreamRefused)

    def test_a_wrong_password_perhaps(self) -> None:
        events = log_events(self)
        self.answer("p", "<not-authorized/>").trap(UpstreamRefused)
        [event] = [formatEvent(event) for event in events]
        self.assertIn("(SCRAM-SHA-256-PLUS, tls-exporter), was refused: not-authorized", event)
        self.assertIn("upstream_channel_binding = false", event)
        events.clear()
        self.answer("y", "<not-authorized/>")
        self.assertEqual(events, [])


class TamperedTest(ExchangeTest):
    def test_another_list_arrived(self) -> None:
        """XEP-0474: nothing is proved to such a server."""
        self.patch(secrets, "token_urlsafe", lambda _size: "abc")
        said = b"r=abcd,s=QSXCR+Q6sek8bf92,i=4096,h=" + protection("sha1", Offered(("SCRAM-SHA-256", "SCRAM-SHA-1")))
        self.server = Server(f"<challenge xmlns='{SASL}'>{b64encode(said).decode()}</challenge>")
        self.credential = Credential.from_password("secret")
        work = self.log_in_as("a", Choice("SCRAM-SHA-1"), Offered(("SCRAM-SHA-1",)))
        failed = self.failureResultOf(work, UpstreamProtocolError)
        self.assertEqual(
            failed.getErrorMessage(),
            "what the server says it offered is not what arrived: see scram_downgrade_protection",
        )
        self.assertEqual(len(self.server.sent), 1)
