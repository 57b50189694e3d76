"""Negotiation with clients: every way through it, and every way out of it."""

from __future__ import annotations

import gc
import re
from pathlib import Path
from weakref import ref

from twisted.logger import LogLevel, formatEvent
from twisted.test import iosim
from twisted.trial import unittest

from minimixproxy.c2s.errors import (
    UpstreamImpossible,
    UpstreamProtocolError,
    UpstreamRefused,
    UpstreamTLSError,
    UpstreamUnreachable,
)
from minimixproxy.c2s.server.client_headers import MAX_LANG, MAX_NAMESPACE
from minimixproxy.c2s.server.client_login import LOGINS
from minimixproxy.c2s.server.negotiation import TRANSITIONS, Negotiation
from minimixproxy.c2s.server.negotiation_states import WAITING, State
from minimixproxy.c2s.transport.client_stream import LARGEST_OF_STRANGER
from minimixproxy.counting.tally import OTHER
from minimixproxy.wire.events import Event
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.xep.sasl import failure
from tests.c2s.helpers import (
    BIND,
    HEADER,
    SERVER_FEATURES,
    SERVER_HEADER,
    Lab,
    LabClient,
    LabConnection,
    Recorder,
    certified,
    connected,
    plain,
)
from tests.counted import Counted
from tests.log_events import log_events

END = b"</stream:stream>"


def errors(data: bytes) -> list[bytes]:
    """The conditions of the stream errors and SASL failures in what a client got."""
    return re.findall(rb"<(?:stream:error|failure [^>]*)><([a-z-]+)", data)


RESPONSE = b"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>AGEAYg==</response>"


class NegotiationTest(unittest.TestCase):
    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()))

    def refused(self, client: LabClient, data: bytes, condition: bytes) -> bytes:
        """Send something; the stream must end with one header, the condition, and the connection closed."""
        answer = client.send(data)
        self.assertEqual(errors(answer), [condition], (data[:100], answer))
        self.assertTrue(answer.endswith(END))
        self.assertTrue(client.wire.closing)
        return answer


class HeaderTest(NegotiationTest):
    def test_plain_offers_tls_only(self) -> None:
        answer = self.lab.client(secure=False).send(HEADER)
        self.assertIn(b" from='example.org'", answer)
        self.assertIn(b" version='1.0'", answer)
        self.assertIn(b" xml:lang='de'", answer)
        self.assertIn(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>", answer)
        self.assertNotIn(b"mechanism", answer)

    def test_secure_offers_plain_only(self) -> None:
        answer = self.lab.client().send(HEADER)
        self.assertIn(b"<mechanism>PLAIN</mechanism>", answer)
        self.assertNotIn(b"starttls", answer)

    def test_ids_differ(self) -> None:
        ids = {re.findall(rb" id='([^']*)'", self.lab.client().send(HEADER))[0] for _ in range(5)}
        self.assertEqual(len(ids), 5)
        self.assertTrue(all(len(one) >= 16 for one in ids))

    def test_faulty_headers(self) -> None:
        cases = {
            b"to='other.example'": b"host-unknown",
            b"": b"improper-addressing",
            b"to=''": b"improper-addressing",
            b"to='a@example.org'": b"improper-addressing",
            b"to='@@@'": b"improper-addressing",
            b"to='example.org/x'": b"improper-addressing",
        }
        for to, condition in cases.items():
            answer = self.refused(self.lab.client(), HEADER.replace(b"to='example.org'", to), condition)
            self.assertEqual(answer.count(b"<stream:stream"), 1)
            self.assertLess(answer.index(b"<stream:stream"), answer.index(b"<stream:error"))

    def test_versions(self) -> None:
        for version in (
            b"",
            b"version='0.9'",
            b"version='x'",
            b"version='1'",
            b"version='1.'",
            b"version='9" + b"9" * 99 + b".0'",
        ):
            head, tail = HEADER.rsplit(b"version='1.0'", 1)
            self.refused(self.lab.client(), head + version + tail, b"unsupported-version")
        head, tail = HEADER.rsplit(b"version='1.0'", 1)
        self.assertEqual(errors(self.lab.client().send(head + b"version='1.1'" + tail)), [])

    def test_namespaces(self) -> None:
        for old, new in (
            (b"jabber:client", b"jabber:server"),
            (b"xmlns='jabber:client' ", b""),
            (b"http://etherx.jabber.org/streams", b"urn:other"),
            (b"stream:stream", b"stream:other"),
        ):
            self.refused(self.lab.client(), HEADER.replace(old, new), b"invalid-namespace")

    def test_prefix_other_than_stream(self) -> None:
        header = HEADER.replace(b"stream:", b"s:").replace(b":stream=", b":s=")
        self.assertEqual(errors(self.lab.client().send(header)), [])

    def test_domain_is_prepared(self) -> None:
        self.assertEqual(errors(self.lab.client().send(HEADER.replace(b"example.org", b"EXAMPLE.org."))), [])

    def test_garbage(self) -> None:
        cases = {
            b"GET / HTTP/1.1\r\n\r\n": b"not-well-formed",
            b"\x16\x03\x01\x02\x00\x01\x00": b"not-well-formed",
            b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a/>": b"restricted-xml",
            b"<!-- --><stream:stream>": b"restricted-xml",
            b"<?xml version='1.0' encoding='UTF-16'?><a>": b"unsupported-encoding",
            HEADER + b"<a></b>": b"not-well-formed",
            HEADER + b"\xff": b"not-well-formed",
            HEADER + b"text": b"not-well-formed",
        }
        for data, condition in cases.items():
            for secure in (False, True):
                with self.subTest(data=data, secure=secure):
                    client = self.lab.client(secure=secure)
                    answer = client.send(data)
                    self.assertRegex(answer, b"<stream:stream [^>]* from='example.org'")
                    found = errors(answer)[-1]
                    # expat tells some of the same faults by other names
                    self.assertIn(found, {condition, b"not-well-formed", b"bad-format", b"invalid-xml"})
                    self.assertTrue(client.wire.closing)

    def test_header_without_end(self) -> None:
        client = self.lab.client()
        answer = b""
        for _ in range(300):
            answer += client.send(b"<stream:stream xmlns:a='" if not answer else b"x" * 1024)
            if client.wire.closing:
                break
        else:
            answer += client.send(b"x")
        self.assertIn(errors(answer), ([b"policy-violation"], [b"not-well-formed"]))

    def test_oversized_stanza_before_login(self) -> None:
        client = self.lab.client()
        client.send(HEADER)
        answer = client.send(b"<message><body>")
        while not client.wire.closing:
            answer = client.send(b"x" * 65536)
        self.assertEqual(errors(answer), [b"policy-violation"])

    def test_deep_nesting(self) -> None:
        client = self.lab.client()
        client.send(HEADER)
        self.refused(client, b"<a>" * 1001, b"policy-violation")

    def test_a_million_attributes(self) -> None:
        client = self.lab.client()
        client.send(HEADER)
        answer = client.send(b"<a " + b" ".join(b"a%d=''" % number for number in range(100_000)))
        self.assertEqual(errors(answer), [b"policy-violation"])

    def test_what_stands_behind_the_fault(self) -> None:
        """In the same read: the stream is over."""
        for behind in (b"<r xmlns='urn:xmpp:sm:3'/>", END, b"<message/>", b"</a>", HEADER):
            client = self.lab.client()
            client.send(HEADER)
            self.refused(client, b"<message/>" + behind, b"not-authorized")

    def test_whose_domain_answers(self) -> None:
        """That of the header before, if there was a good one."""
        domains = self.lab.context.domains
        domains = self.lab.context.domains = {"first.example": domains["example.org"], **domains}
        client = self.lab.client()
        client.send(HEADER)
        client.send(plain())
        client.accept_login()
        client.wire.take()
        self.assertIn(b" from='example.org'", client.send(b"<html>"))
        self.assertIn(b" from='first.example'", self.lab.client().send(b"<html>"))

    def test_names_of_another_namespace(self) -> None:
        """They are no part of logging in, whatever they are called."""
        for secure, element in (
            (False, "<starttls/>"),
            (True, "<auth mechanism='PLAIN'>AGEAYg==</auth>"),
            (True, "<auth xmlns='urn:other' mechanism='PLAIN'>AGEAYg==</auth>"),
            (True, "<response>AGEAYg==</response>"),
            (True, "<abort/>"),
        ):
            client = self.lab.client(secure=secure)
            client.send(HEADER)
            self.assertEqual(errors(client.send(element.encode())), [b"not-authorized"], element)
        self.assertEqual(self.lab.logins, [])

    def test_closed_twice(self) -> None:
        """The proxy stops while a client is closing: nobody hears of it twice."""
        told = log_events(self)
        client = self.lab.client()
        client.send(HEADER)
        assert client.stream.handler is not None
        for _ in range(2):
            client.stream.handler.close("system-shutdown")
        self.assertEqual(client.wire.take().count(END), 1)
        self.assertEqual(sum("no login from 192.0.2.1" in (formatEvent(event) or "") for event in told), 1)

    def test_client_closes(self) -> None:
        client = self.lab.client()
        client.send(HEADER)
        self.assertEqual(client.send(END), END)
        self.assertTrue(client.wire.closing)


class StartTLSTest(NegotiationTest):
    def test_authentication_before_tls(self) -> None:
        client = self.lab.client(secure=False)
        client.send(HEADER)
        self.assertEqual(errors(client.send(plain())), [b"encryption-required"])
        self.assertEqual(self.lab.logins, [])
        self.assertIn(b"<proceed", client.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"))

    def test_stanza_before_tls(self) -> None:
        client = self.lab.client(secure=False)
        client.send(HEADER)
        self.refused(client, b"<message/>", b"not-authorized")

    def test_starttls_within_tls(self) -> None:
        client = self.lab.client()
        client.send(HEADER)
        answer = client.send(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        self.assertEqual(answer, b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + END)
        self.assertTrue(client.wire.closing)

    def test_with_real_tls(self) -> None:
        client, pump = self.over_tls(b"")
        self.assertIn(b"<mechanism>PLAIN</mechanism>", client.received)
        client.transport.write(plain())
        pump.flush()
        self.assertEqual(self.lab.logins[0][0].account, "a@example.org")

    def test_plain_text_injected_behind_starttls_is_not_read(self) -> None:
        for injected in (plain() + b"<message/>", b" " * 5000 + HEADER + plain(), HEADER + plain() + b" " * 5000):
            client, _pump = self.over_tls(injected)
            self.assertIn(b"<mechanism>PLAIN</mechanism>", client.received)
            self.assertEqual(self.lab.logins, [])

    def over_tls(self, injected: bytes) -> tuple[Recorder, iosim.IOPump]:
        """Go through STARTTLS, with `injected` in the same packet as the request."""
        from minimixproxy.c2s.transport.connection import SecurableConnection
        from minimixproxy.c2s.transport.tls import client_factory
        from minimixproxy.config.settings import Domain

        client = Recorder()
        client_bottom = SecurableConnection(client)
        stream = LabConnection(self.lab).upper
        pump = connected(client_bottom, stream.bottom)
        stream.hand_to(Negotiation(stream, self.lab.context, secure=False))
        client.transport.write(HEADER)
        pump.flush()
        client.transport.write(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>" + injected)
        pump.flush()
        self.assertTrue(client.received.endswith(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"))
        client.received = b""
        trust = self.lab.settings.domain["example.org"].certificate
        assert trust is not None
        client_bottom.start_tls(client_factory(Domain(name="example.org", upstream_trust=trust), direct=False))
        pump.flush()
        client.transport.write(HEADER)
        pump.flush()
        self.assertNotIn(b"starttls", client.received)
        return client, pump


class SaslTest(NegotiationTest):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.lab.client()
        self.client.send(HEADER)

    def test_what_a_failure_looks_like(self) -> None:
        for text, explanation in (("", b""), ("a<b", b"<text xml:lang='en'>a&lt;b</text>")):
            expected = b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><aborted/>%b</failure>" % explanation
            self.assertEqual(failure("aborted", text), expected)

    def test_a_fault_of_ours_ends_this_stream_only(self) -> None:
        other = self.lab.client()
        before = TRANSITIONS[State.SECURE, "auth"]
        self.addCleanup(TRANSITIONS.__setitem__, (State.SECURE, "auth"), before)

        def fail(_negotiation: Negotiation, _stanza: object) -> None:
            raise RuntimeError("a fault of ours")

        TRANSITIONS[State.SECURE, "auth"] = fail
        self.refused(self.client, plain(), b"internal-server-error")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertIn(b"PLAIN", other.send(HEADER))

    def test_a_password_that_nobody_can_have(self) -> None:
        """It is as wrong as any, and counts; anybody can say one, so it is no error for the operator to look into."""
        events = log_events(self)
        for _ in range(self.lab.settings.limits.failed_logins + 1):
            client = self.lab.client()
            client.send(HEADER)
            client.send(plain(password="\ue000"))
            self.lab.logins[-1][1].errback(UpstreamImpossible("SCRAM failed: it holds what SASLprep forbids"))
            self.assertEqual(errors(client.wire.take()), [b"not-authorized"])
        said = {formatEvent(event) for event in events if event["log_level"] > LogLevel.debug}
        self.assertEqual(said, {"failed login from 192.0.2.1 as a@example.org: not-authorized"})
        logins = len(self.lab.logins)
        client = self.lab.client()
        client.send(HEADER + plain())
        self.assertEqual(len(self.lab.logins), logins, "it has to wait")

    def test_one_login_at_a_time(self) -> None:
        """While the server is asked there is no second one, else each connection would be good for any number."""
        for second in (plain(password="other"), RESPONSE):
            client = self.lab.client(address="192.0.2.99")
            client.send(HEADER)
            asked = len(self.lab.logins)
            client.send(plain())
            self.assertEqual(len(self.lab.logins), asked + 1)
            self.refused(client, second, b"not-authorized")
            self.assertEqual(len(self.lab.logins), asked + 1)
            for _login, answer in self.lab.logins[asked:]:
                answer.errback(UpstreamRefused("not-authorized"))

    def auth(self, text: bytes, mechanism: bytes = b"PLAIN") -> bytes:
        return self.client.send(
            b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='%b'>%b</auth>" % (mechanism, text)
        )

    def respond(self, text: bytes) -> bytes:
        return self.client.send(b"<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>%b</response>" % text)

    def test_success(self) -> None:
        self.assertEqual(self.client.send(plain("a", "secret")), b"")
        login = self.lab.logins[0][0]
        self.assertEqual((login.username, login.credential.password), ("a", "secret"))
        self.assertNotIn("secret", repr(login))
        self.client.accept_login()
        self.assertEqual(self.client.wire.take(), b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")

    def test_without_initial_response(self) -> None:
        self.assertEqual(self.auth(b""), b"<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        self.assertEqual(self.respond(b"AGEAc2VjcmV0"), b"")
        self.assertEqual(self.lab.logins[0][0].username, "a")

    def test_abort(self) -> None:
        self.auth(b"")
        answer = self.client.send(b"<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        self.assertEqual(errors(answer), [b"aborted"])
        self.client.send(plain())
        self.assertEqual(len(self.lab.logins), 1)

    def test_abort_while_the_server_is_asked(self) -> None:
        answer = self.client.send(plain() + b"<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        self.assertEqual(errors(answer), [b"aborted"])
        self.client.send(plain())
        self.assertEqual(len(self.lab.logins), 1, "one after the other")
        self.client.accept_login()
        self.assertTrue(self.client.upstream.disconnected or self.client.upstream.disconnecting)
        self.assertEqual((len(self.lab.logins), self.client.wire.take()), (2, b""))

    def test_what_is_broken_off_counts(self) -> None:
        """Whatever the guesser does before the server answers."""
        for number in range(20):
            client = self.lab.client()
            client.send(HEADER)
            client.send(plain("a", f"guess {number}"))
            if number % 2:
                client.vanish()
            else:
                client.send(b"<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
            if not self.lab.logins[-1][1].called:
                self.lab.logins[-1][1].errback(UpstreamRefused("not-authorized"))
        self.assertEqual(len(self.lab.logins), self.lab.settings.limits.failed_logins + 1)
        self.assertEqual(self.lab.cancelled, 0)

    def test_how_logins_end_is_counted(self) -> None:
        """One that is broken off is counted once, by a word or without one."""
        counted, aborted = Counted(LOGINS), ("PLAIN", "aborted")
        for number, said in enumerate((b"<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", b"")):
            client = self.lab.client()
            client.send(HEADER)
            client.send(plain("a", "guess"))
            client.send(said)
            client.vanish()
            self.assertEqual(counted.since(), {aborted: number + 1})
        self.auth(b"!!!!")
        self.auth(b"!!!!", b"EVIL" * 100)
        self.assertEqual(
            counted.since(), {aborted: 2, ("PLAIN", "incorrect-encoding"): 1, (OTHER, "invalid-mechanism"): 1}
        )

    def test_failures_of_the_message(self) -> None:
        cases = {
            b"=": b"malformed-request",
            b"!!!!": b"incorrect-encoding",
            b"AGEAc2VjcmV": b"incorrect-encoding",
            "ä".encode(): b"incorrect-encoding",
            b"YWJj": b"malformed-request",  # no NUL
            b"AABzZWNyZXQ=": b"malformed-request",  # no name
            b"AGEA": b"malformed-request",  # no password
            b"AGEAYgBj": b"malformed-request",  # too many parts
            b"AP8Ac2VjcmV0": b"malformed-request",  # not UTF-8
            b"AA" * 10000: b"malformed-request",  # too long
        }
        for text, condition in cases.items():
            self.setUp()
            self.assertEqual(errors(self.auth(text)), [condition], text[:50])
            self.assertFalse(self.client.wire.closing)
        self.assertEqual(self.lab.logins, [])

    def test_oversized_base64_up_to_the_limit_and_beyond(self) -> None:
        self.assertEqual(errors(self.auth(b"A" * (LARGEST_OF_STRANGER - 2048))), [b"malformed-request"])
        answer = self.auth(b"A" * LARGEST_OF_STRANGER)
        self.assertEqual(errors(answer), [b"policy-violation"])
        self.assertTrue(self.client.wire.closing)

    def test_other_mechanisms(self) -> None:
        self.assertEqual(errors(self.auth(b"biws", b"SCRAM-SHA-1")), [b"invalid-mechanism"])
        answer = self.client.send(b"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>")
        self.assertEqual(errors(answer), [b"invalid-mechanism"])

    def test_authzid(self) -> None:
        for authzid in ("a@example.org", "A@Example.ORG"):
            self.setUp()
            self.client.send(plain(authzid=authzid))
            self.assertEqual(len(self.lab.logins), 1, authzid)
        for authzid in ("b@example.org", "a@other.example", "example.org", "a@example.org/r", "@@"):
            self.setUp()
            answer = self.client.send(plain(authzid=authzid))
            self.assertEqual(errors(answer), [b"invalid-authzid"], authzid)
            self.assertEqual(self.lab.logins, [])

    def test_response_out_of_order(self) -> None:
        self.assertEqual(errors(self.respond(b"AGEAc2VjcmV0")), [b"malformed-request"])

    def test_a_few_attempts_only(self) -> None:
        self.auth(b"=")
        self.auth(b"=")
        answer = self.auth(b"=")
        self.assertEqual(errors(answer), [b"malformed-request", b"policy-violation"])
        self.assertTrue(self.client.wire.closing)

    def test_what_the_server_says(self) -> None:
        cases = (
            (UpstreamRefused("not-authorized", "no"), b"not-authorized"),
            (UpstreamRefused("account-disabled"), b"account-disabled"),
            (UpstreamRefused("credentials-expired"), b"credentials-expired"),
            (UpstreamRefused("malformed-request"), b"not-authorized"),
            (UpstreamRefused("temporary-auth-failure"), b"temporary-auth-failure"),
            (UpstreamRefused("mechanism-too-weak"), b"temporary-auth-failure"),
            (UpstreamUnreachable("tcp:10.0.0.1:5222: refused"), b"temporary-auth-failure"),
            (UpstreamTLSError("expired"), b"temporary-auth-failure"),
            (UpstreamProtocolError("wrong server signature"), b"temporary-auth-failure"),
        )
        for error, condition in cases:
            self.setUp()
            self.client.send(plain())
            self.lab.logins[-1][1].errback(error)
            answer = self.client.wire.take()
            self.assertEqual(errors(answer), [condition], error)
            self.assertNotIn(b"10.0.0.1", answer, "where the server is is nobody's business")
            unusable = not isinstance(error, UpstreamRefused)
            self.assertEqual(b">the server of example.org cannot be used now</text>" in answer, unusable)
            self.assertFalse(self.client.wire.closing)

    def test_the_log_says_from_where_a_login_failed(self) -> None:
        """docs/log.md promises it to fail2ban: the address first, and in this line only if it was refused."""
        events = log_events(self)
        for condition in ("not-authorized", "account-disabled", "temporary-auth-failure"):
            self.setUp()
            self.client.send(plain())
            self.lab.logins[-1][1].errback(UpstreamRefused(condition))
        self.assertEqual(
            [said for event in events if "ogin" in (said := formatEvent(event) or "")],
            [
                "failed login from 192.0.2.1 as a@example.org: not-authorized",
                "failed login from 192.0.2.1 as a@example.org: account-disabled",
                "the server cannot take a login of a@example.org from 192.0.2.1 now: temporary-auth-failure",
            ],
        )

    def test_a_fault_of_ours_is_logged_and_temporary(self) -> None:
        self.client.send(plain())
        self.lab.logins[-1][1].errback(ZeroDivisionError())
        self.assertEqual(errors(self.client.wire.take()), [b"temporary-auth-failure"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_stanzas_and_other_elements_before_login(self) -> None:
        for stanza in (
            b"<message/>",
            b"<presence/>",
            BIND,
            b"<x xmlns='urn:x'/>",
            b"<authenticate xmlns='urn:xmpp:sasl:1'/>",
            b"<next xmlns='urn:xmpp:sasl:2' task='x'/>",
        ):
            self.setUp()
            self.refused(self.client, stanza, b"not-authorized")

    def test_stream_management_and_compression_before_login(self) -> None:
        self.assertIn(b"<failed xmlns='urn:xmpp:sm:3'>", self.client.send(b"<resume xmlns='urn:xmpp:sm:3'/>"))
        answer = self.client.send(b"<compress xmlns='http://jabber.org/protocol/compress'/>")
        self.assertIn(b"<failure xmlns='http://jabber.org/protocol/compress'>", answer)
        self.assertFalse(self.client.wire.closing)

    def test_stream_management_again_and_again_before_login(self) -> None:
        """Each answer is twenty times as large as `<s:r/>`, and nobody who is not logged in need read them."""
        for secure in (False, True):
            client = self.lab.client(secure=secure)
            client.send(HEADER.replace(b" to=", b" xmlns:s='urn:xmpp:sm:3' to="))
            for _ in range(10):
                self.assertEqual(client.send(b"<s:r/>").count(b"<failed "), 1)
            self.refused(client, b"<s:r/>" * 10_000, b"policy-violation")

    def test_who_is_refused_costs_no_more_than_what_it_is_refused_for(self) -> None:
        read: list[int] = []
        feed = FastFramer.feed

        def counted(framer: FastFramer, data: bytes) -> list[Event]:
            read.append(len(data))
            return feed(framer, data)

        self.patch(FastFramer, "feed", counted)
        self.refused(self.client, b"<a/>" * 16_000, b"not-authorized")
        self.assertLess(sum(read), 5000)

    def test_stanzas_while_the_server_is_asked(self) -> None:
        self.client.send(plain())
        self.refused(self.client, b"<message/>", b"not-authorized")
        self.client.accept_login()
        self.assertTrue(self.client.upstream.disconnected or self.client.upstream.disconnecting)

    def test_white_space_while_the_server_is_asked(self) -> None:
        self.client.send(plain() + b"\n")
        self.client.accept_login()
        self.assertIn(b"<success", self.client.wire.take())

    def test_client_gone_while_the_server_is_asked(self) -> None:
        self.client.send(plain())
        self.client.vanish()
        self.assertEqual(self.lab.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.lab.clients), 0)
        self.client.accept_login()
        self.assertTrue(self.client.upstream.disconnected or self.client.upstream.disconnecting)


class TimesTest(NegotiationTest):
    def test_time_to_authenticate(self) -> None:
        stages = ((), (HEADER,), (HEADER, plain()))
        for stage in stages:
            client = self.lab.client()
            for data in stage:
                client.send(data)
            self.lab.clock.advance(59)
            self.assertFalse(client.wire.closing)
            self.lab.clock.advance(2)
            answer = client.wire.take()
            self.assertEqual(errors(answer), [b"connection-timeout"])
            self.assertTrue(client.wire.closing)
            self.assertEqual(answer.count(b"<stream:stream"), 0 if stage else 1)

    def test_time_in_line_is_not_the_clients(self) -> None:
        """On a busy machine the line is long, and who stands in it can do nothing for that."""
        client = self.lab.client()
        client.send(HEADER)
        self.lab.clock.advance(55)
        first = self.lab.client()
        first.send(HEADER)
        first.send(plain())
        client.send(plain())
        self.assertEqual(len(self.lab.logins), 1, "the other has to wait")
        self.lab.clock.advance(9)
        self.assertFalse(client.wire.closing)
        self.lab.clock.advance(1)
        self.assertEqual(len(self.lab.logins), 2, "its turn")
        self.lab.clock.advance(4)
        self.assertFalse(client.wire.closing)
        self.lab.clock.advance(2)
        self.assertEqual(errors(client.wire.take()), [b"connection-timeout"])

    def test_gone_while_in_line(self) -> None:
        clients = [self.lab.client() for _ in range(2)]
        for client in clients:
            client.send(HEADER)
            client.send(plain())
        for client in reversed(clients):
            client.vanish()
        self.assertEqual((len(self.lab.logins), self.lab.clock.getDelayedCalls()), (1, []))

    def test_a_client_that_does_not_let_itself_be_closed(self) -> None:
        client = self.lab.client()
        self.lab.clock.advance(61)
        client.wire.disconnected = False
        self.lab.clock.advance(6)
        self.assertTrue(client.wire.aborted)

    def test_no_timeout_once_in_session(self) -> None:
        client = self.lab.client()
        client.bind()
        self.lab.clock.advance(1000)
        self.assertFalse(client.wire.closing)

    def failed_logins(self, times: int, address: str = "192.0.2.1", username: str = "a") -> None:
        for _ in range(times):
            client = self.lab.client(address=address)
            client.send(HEADER)
            client.send(plain(username))
            self.lab.logins[-1][1].errback(UpstreamRefused("not-authorized"))
            client.vanish()

    def test_growing_delay(self) -> None:
        self.failed_logins(4)
        asked = len(self.lab.logins)
        client = self.lab.client()
        client.send(HEADER)
        client.send(plain())
        self.assertEqual(len(self.lab.logins), asked)
        self.lab.clock.advance(1.01)
        self.assertEqual(len(self.lab.logins), asked + 1)
        client.accept_login()
        self.assertIn(b"<success", client.wire.take())

    def asks_at_once(self, username: str, address: str) -> bool:
        """Tell whether a login goes to the server without waiting; the server accepts it then."""
        asked = len(self.lab.logins)
        client = self.lab.client(address=address)
        client.send(HEADER)
        client.send(plain(username))
        if len(self.lab.logins) == asked:
            client.vanish()
            return False
        client.accept_login()
        client.vanish()
        return True

    def test_whose_failures_count(self) -> None:
        """Those of one account for this account, wherever from; and none before a login that was right."""
        for number in range(4):
            self.failed_logins(1, f"203.0.113.{number}")
        self.assertTrue(self.asks_at_once("b", "198.51.100.1"))
        self.assertFalse(self.asks_at_once("a", "198.51.100.1"))
        self.lab.clock.advance(10)
        self.assertTrue(self.asks_at_once("a", "198.51.100.1"))
        self.failed_logins(2)
        self.assertTrue(self.asks_at_once("a", "198.51.100.1"))

    def test_too_long_a_delay_is_no_wait(self) -> None:
        for _ in range(12):
            self.failed_logins(1)
            self.lab.clock.advance(61)
        client = self.lab.client()
        client.send(HEADER)
        client.send(plain())
        self.lab.logins[-1][1].errback(UpstreamRefused("not-authorized"))
        client.wire.take()
        asked = len(self.lab.logins)
        self.assertEqual(errors(client.send(plain())), [b"temporary-auth-failure"])
        self.assertEqual(len(self.lab.logins), asked)

    def test_an_account_that_strangers_guess_at_is_open_to_its_owner(self) -> None:
        for _ in range(12):
            self.failed_logins(1)
            self.lab.clock.advance(61)
        owner = self.lab.client(address="198.51.100.7")
        owner.send(HEADER)
        owner.send(plain())
        self.lab.clock.advance(10)
        owner.accept_login()
        self.assertIn(b"<success", owner.wire.take())


class JoiningTest(NegotiationTest):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.lab.client()
        self.client.send(HEADER)
        self.client.send(plain())
        self.client.accept_login()
        self.client.wire.take()

    def test_header_passes_both_ways(self) -> None:
        header = HEADER.replace(b"version=", b"xmlns:x='urn:x' from='a@example.org' version=", 2)
        header = HEADER[: HEADER.index(b"<stream")] + header[header.index(b"<stream") :]
        self.client.send(header)
        self.assertEqual(self.client.upstream.take(), header)
        self.assertEqual(self.client.wire.producerState, "paused")
        served = SERVER_HEADER.replace(b" id=", b" xmlns:y='urn:y' id=")
        answer = self.client.serve(b"<?xml version='1.0'?>" + served + SERVER_FEATURES)
        sm, end = b"<sm xmlns='urn:xmpp:sm:3'/>", b"</stream:features>"
        features = SERVER_FEATURES.replace(sm, b"").replace(end, sm + end)
        self.assertEqual(answer, b"<?xml version='1.0'?>" + served + features)
        self.assertEqual(self.client.wire.producerState, "producing")

    def test_language(self) -> None:
        """What the account says to a client is in the client's own, if there is a choice."""
        tags = {" xml:lang='de'": "de", "": "", f" xml:lang='{'x' * MAX_LANG}'": "x" * MAX_LANG}
        for written, language in (*tags.items(), (f" xml:lang='{'x' * (MAX_LANG + 1)}'", "")):
            header = HEADER.replace(b" xml:lang='de'", written.encode())
            self.setUp()
            self.client.send(header)
            self.client.serve(SERVER_HEADER + SERVER_FEATURES)
            session = self.client.session
            self.assertEqual(session.language, language)

    def test_a_long_namespace(self) -> None:
        """It would be written on each stanza to a room that uses its prefix."""
        for length, taken in ((MAX_NAMESPACE, True), (MAX_NAMESPACE + 1, False)):
            self.setUp()
            header = HEADER.replace(b" to=", b" xmlns:p='%b' to=" % (b"u" * length))
            if taken:
                self.assertEqual(self.client.send(header), b"")
            else:
                self.refused(self.client, header, b"policy-violation")

    def test_prefixes_other_than_stream_are_translated(self) -> None:
        self.client.send(HEADER.replace(b"stream:", b"s:").replace(b":stream=", b":s="))
        sent = self.client.upstream.take()
        self.assertIn(b"<stream:stream ", sent)
        self.assertIn(b" xml:lang='de'", sent)
        self.assertIn(b" to='example.org'", sent)

    def test_stanzas_sent_early_come_after_the_header(self) -> None:
        self.client.send(HEADER + BIND)
        self.assertNotIn(b"<bind", self.client.upstream.take())
        self.client.serve(SERVER_HEADER + SERVER_FEATURES)
        self.assertEqual(self.client.upstream.take(), BIND)

    def test_server_stanzas_in_the_same_read_as_the_features(self) -> None:
        self.client.send(HEADER)
        answer = self.client.serve(SERVER_HEADER + SERVER_FEATURES + b"<message id='early'/>")
        self.assertTrue(answer.endswith(b"</stream:features><message id='early'/>"))

    def test_another_domain_than_logged_in_to(self) -> None:
        self.refused(self.client, HEADER.replace(b"example.org", b"other.example"), b"host-unknown")
        self.assertTrue(self.client.upstream.aborted)

    def test_another_domain_that_is_served_too(self) -> None:
        self.lab.context.domains["other.example"] = certified("other.example", Path(self.mktemp()))
        self.refused(self.client, HEADER.replace(b"example.org", b"other.example"), b"not-authorized")
        self.assertEqual(self.client.upstream.take(), b"")
        self.assertTrue(self.client.upstream.aborted)
        other = self.lab.client()  # without a login, it may be any
        self.assertIn(b"from='other.example'", other.send(HEADER.replace(b"example.org", b"other.example")))

    def test_what_the_operator_reads_if_the_server_opens_no_stream(self) -> None:
        events = log_events(self)
        self.test_server_answers_with_a_stream_error()
        self.assertIn("no stream for a@example.org at 192.0.2.1: ", "\n".join(formatEvent(event) for event in events))

    def test_stanza_instead_of_header(self) -> None:
        self.refused(self.client, b"<message/>", b"invalid-namespace")

    def test_server_gone_between(self) -> None:
        from twisted.internet.error import ConnectionDone
        from twisted.python.failure import Failure

        assert self.client.server is not None
        self.client.server.connectionLost(Failure(ConnectionDone()))
        answer = self.client.wire.take()
        self.assertEqual(errors(answer), [b"remote-connection-failed"])
        self.assertTrue(answer.startswith(b"<?xml version='1.0'?><stream:stream"))

    def test_server_answers_with_a_stream_error(self) -> None:
        self.client.send(HEADER)
        error = b"<stream:error><system-shutdown xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error>"
        self.assertEqual(errors(self.client.serve(SERVER_HEADER + error)), [b"remote-connection-failed"])

    def test_server_says_nothing(self) -> None:
        self.client.send(HEADER)
        self.lab.clock.advance(61)
        self.assertEqual(errors(self.client.wire.take()), [b"connection-timeout"])
        self.assertTrue(self.client.upstream.aborted)

    def test_nothing_is_left_of_it_in_a_session(self) -> None:
        """Thousands of sessions are there for days."""
        negotiation = ref(self.client.stream.handler)
        self.client.send(HEADER)
        self.client.serve(SERVER_HEADER + SERVER_FEATURES)
        self.lab.logins.clear()
        gc.collect()
        self.assertIsNone(negotiation())

    def test_a_fault_of_ours_when_the_session_begins(self) -> None:
        """It ends this client's streams, both of them."""

        def fail(*_arguments: object) -> None:
            raise RuntimeError("a fault of ours")

        self.patch(self.lab.context, "start_session", fail)
        self.client.send(HEADER)
        answer = self.client.serve(SERVER_HEADER + SERVER_FEATURES)
        self.assertEqual(errors(answer), [b"internal-server-error"])
        self.assertTrue(self.client.wire.closing)
        self.assertTrue(self.client.upstream.aborted)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_client_gone_while_joining(self) -> None:
        self.client.send(HEADER)
        self.client.vanish()
        self.assertTrue(self.client.upstream.aborted)
        self.assertEqual(self.lab.clock.getDelayedCalls(), [])


class TableTest(unittest.TestCase):
    def test_every_state_but_the_waiting_ones_has_a_way_on(self) -> None:
        with_transitions = {state for state, _kind in TRANSITIONS}
        self.assertEqual(set(State) - with_transitions, {*WAITING, State.OVER})
