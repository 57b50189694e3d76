"""How clients are offered to log in: by what the server offers, by whom they say they are, and by the configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase
from twisted.words.protocols.jabber.xmlstream import Authenticator

from minimixproxy.c2s.errors import UpstreamUnreachable
from minimixproxy.c2s.server.client_headers import ClientHeaders
from minimixproxy.c2s.server.exchanges.mechanisms import offered_mechanisms
from minimixproxy.c2s.server.offers import FRESH, LOOK, MOST_MECHANISMS, PATIENCE, RETRY, offer_in
from minimixproxy.config.settings import Domain
from minimixproxy.sasl.scram import MECHANISMS
from minimixproxy.wire.framing import Framer
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from tests.c2s.helpers import HEADER, Lab, LabClient, plain
from tests.c2s.server.test_negotiation import errors
from tests.log_events import log_events
from tests.wires import Wire

SERVER = ("SCRAM-SHA-1", "PLAIN", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "X-OAUTH2", "SCRAM-SHA3-512")
RELAYED = ("SCRAM-SHA-256", "SCRAM-SHA-1", "SCRAM-SHA3-512")


def features(*names: str) -> Stanza:
    offered = "".join(f"<mechanism>{name}</mechanism>" for name in names)
    return parse_stanza(
        "<features xmlns='http://etherx.jabber.org/streams'>"
        f"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{offered}</mechanisms></features>"
    )


def domain(*logins: Any) -> Domain:
    return Domain(name="example.org", logins=logins)


class MechanismsTest(TestCase):
    def offered(self, logins: tuple[str, ...], hashes: set[str], bindings: dict[str, bytes]) -> tuple[Any, Any]:
        found = offered_mechanisms(domain(*logins), hashes, SERVER if not hashes else (), bindings)
        return tuple(found.mechanisms), found.bindings

    def test_of_whom_nothing_is_known(self) -> None:
        """What the server offers, but for what would be bound to its own TLS."""
        for bindings in ({}, {"tls-exporter": b"x"}):
            for logins, expected in (
                (("PLAIN",), ("PLAIN",)),
                (("SCRAM", "PLAIN"), (*RELAYED, "PLAIN")),
                (("PLAIN", "SCRAM"), (*RELAYED, "PLAIN")),
                (("SCRAM",), RELAYED),
            ):
                self.assertEqual(self.offered(logins, set(), bindings), (expected, None))

    def test_of_whom_keys_are_known(self) -> None:
        """Those of the keys."""
        for hashes, logins, expected in (
            ({"sha512"}, ("SCRAM", "PLAIN"), ("SCRAM-SHA-512", "PLAIN")),
            ({"sha1", "sha512"}, ("SCRAM",), ("SCRAM-SHA-512", "SCRAM-SHA-1")),
            ({"sha1"}, ("PLAIN",), ("PLAIN",)),
        ):
            self.assertEqual(self.offered(logins, hashes, {}), (expected, None))

    def test_keys_for_a_hash_that_the_server_has_given_up(self) -> None:
        bindings = {"tls-exporter": b"x"}
        for hashes, server, expected in (
            ({"sha1", "sha256"}, ("SCRAM-SHA-256", "PLAIN"), ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"]),
            ({"sha1"}, ("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"), ["SCRAM-SHA-256"]),
            ({"sha1"}, ("PLAIN",), ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"]),
            ({"sha1"}, (), ["SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"]),
        ):
            self.assertEqual(offered_mechanisms(domain("SCRAM"), hashes, server, bindings).mechanisms, expected)

    def test_bound_to_the_proxy_s_own_tls(self) -> None:
        bindings = {"tls-server-end-point": b"x", "tls-exporter": b"y", "tls-other": b"z"}
        self.assertEqual(
            self.offered(("SCRAM", "PLAIN"), {"sha1"}, bindings),
            (("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1", "PLAIN"), ["tls-exporter", "tls-server-end-point"]),
        )
        self.assertEqual(self.offered(("SCRAM",), {"sha1"}, {"tls-other": b"z"}), (("SCRAM-SHA-1",), None))

    def test_there_is_always_something(self) -> None:
        """A stream without mechanisms would be none that a client can log in on."""
        for server in (("PLAIN", "EXTERNAL"), ("SCRAM-SHA-1-PLUS",)):
            found = offered_mechanisms(domain("SCRAM"), set(), server, {})
            self.assertEqual(list(found.mechanisms), ["SCRAM-SHA-1"])
            found = offered_mechanisms(domain("SCRAM", "PLAIN"), set(), server, {})
            self.assertEqual(list(found.mechanisms), ["PLAIN"])

    def test_nobody_knows_what_the_server_offers(self) -> None:
        """A phone that has once logged in by SCRAM takes PLAIN alone for an attack, and asks its user about it."""
        for logins in (("SCRAM", "PLAIN"), ("SCRAM",)):
            found = offered_mechanisms(domain(*logins), set(), (), {})
            self.assertEqual(list(found.mechanisms), [*MECHANISMS, *logins[1:]])

    def test_what_a_server_may_call_a_mechanism(self) -> None:
        """It is shown to clients: nothing gets through that is no name, and not any number."""
        names = [
            *("SCRAM-SHA-1", "SCRAM-&lt;x/>", "SCRAM-ß", "scram-sha-1", "SCRAM-" + "X" * 15, "", " SCRAM-SHA-256"),
            *(f"SCRAM-{number}" for number in range(100)),
        ]
        found = offer_in(features(*names)).mechanisms
        self.assertEqual(len(found), MOST_MECHANISMS)
        self.assertEqual([name for name in found if not re.fullmatch(r"SCRAM-\d+", name)], [])
        self.assertEqual(offer_in(features(*names[:7])).mechanisms, ("SCRAM-SHA-1",))


class HeaderTest(TestCase):
    def test_whom_a_client_says_it_is(self) -> None:
        for sender, account in (
            ("a@example.org", "a@example.org"),
            ("A@Example.org/phone", "a@example.org"),
            ("a@other.example", None),
            ("example.org", None),
            ("example.org/x", None),
            ("@example.org", None),
            ("", None),
        ):
            header = HEADER.replace(b" to=", b" from='%b' to=" % sender.encode(), 1)
            headers = ClientHeaders({"example.org": domain("PLAIN")})
            opened: Any = Framer().feed(header)[-1]
            self.assertIsNone(headers.check(opened, logged_in=False))
            self.assertEqual(headers.account, account, sender)


class LearningTest(TestCase):
    def setUp(self) -> None:
        self.lab = Lab(Path(self.mktemp()), logins=("SCRAM", "PLAIN"))

    def mechanisms(self, client: LabClient, data: bytes = HEADER) -> list[str]:
        answer = client.send(data) if data else client.wire.take()
        return re.findall(r"<mechanism>([^<]*)</mechanism>", answer.decode().partition("<authentication")[0])

    def server_offers(self, *names: str) -> None:
        stream = FramedXmlStream(Authenticator())
        stream.makeConnection(Wire())
        self.lab.contacts.pop().callback((stream, features(*names)))

    def test_the_first_client_waits_and_others_do_not(self) -> None:
        client = self.lab.client()
        self.assertEqual(self.mechanisms(client), [])
        self.server_offers(*SERVER)
        self.assertEqual(self.mechanisms(client, b""), [*RELAYED, "PLAIN"])
        self.assertEqual(self.mechanisms(self.lab.client()), [*RELAYED, "PLAIN"])
        self.assertEqual(self.lab.contacts, [])

    def test_a_server_that_is_not_there(self) -> None:
        client = self.lab.client()
        client.send(HEADER)
        self.lab.clock.advance(PATIENCE)
        self.assertEqual(self.mechanisms(client, b""), [*MECHANISMS, "PLAIN"])
        self.lab.contacts.pop().errback(UpstreamUnreachable("down"))
        self.assertEqual(self.mechanisms(self.lab.client()), [*MECHANISMS, "PLAIN"])

    def test_servers_are_asked_at_once_and_until_they_answer(self) -> None:
        """So the first clients are offered what their server has, even if it has been down until a moment ago."""
        offers = self.lab.context.offers
        offers.start(self.lab.context.domains.values())
        for _ in range(20):
            self.lab.contacts.pop().errback(UpstreamUnreachable("down"))
            self.assertEqual(self.lab.contacts, [])
            self.assertEqual(offers.troubles(), dict.fromkeys(self.lab.context.domains, "down"))
            self.lab.clock.advance(1.5 * RETRY)
        self.server_offers(*SERVER)
        self.assertEqual(offers.troubles(), {})
        self.assertEqual(self.mechanisms(self.lab.client()), [*RELAYED, "PLAIN"])
        self.lab.clock.advance(1.5 * RETRY)
        self.assertEqual(self.lab.contacts, [])

    def test_the_log_has_it_once_until_it_is_something_else(self) -> None:
        events = log_events(self)
        offers = self.lab.context.offers
        offers.start(self.lab.context.domains.values())
        for trouble in ("down", "down", "slow", "down"):
            self.lab.contacts.pop().errback(UpstreamUnreachable(trouble))
            self.lab.clock.advance(1.5 * RETRY)
        self.assertEqual([str(event["error"]) for event in events if "error" in event], ["down", "slow", "down"])

    def test_after_a_reload(self) -> None:
        """The server may be another one: nothing is known of it, and what the former one still says is not used."""
        offers, served = self.lab.context.offers, self.lab.context.domains
        offers.ask_anew(served.values(), served)
        self.assertEqual(self.lab.contacts, [], "none is asked before all is started")
        offers.start(served.values())
        former = self.lab.contacts.pop()
        offers.ask_anew(served.values(), served)
        former.errback(UpstreamUnreachable("down"))
        self.assertEqual(offers.troubles(), {})
        self.server_offers(*SERVER)
        self.assertEqual(self.mechanisms(self.lab.client()), [*RELAYED, "PLAIN"])
        offers.ask_anew([], served)
        self.assertEqual(self.mechanisms(self.lab.client()), [*RELAYED, "PLAIN"], "this one has not changed")
        offers.ask_anew([], ())
        self.assertEqual(self.lab.contacts, [])
        self.assertEqual(offers._known, {})

    def test_no_former_server_is_asked_again(self) -> None:
        offers, served = self.lab.context.offers, self.lab.context.domains
        offers.start(served.values())
        self.lab.contacts.pop().errback(UpstreamUnreachable("down"))
        offers.ask_anew([], ())
        self.lab.clock.advance(1.5 * RETRY)
        self.assertEqual(self.lab.contacts, [])

    def test_no_server_is_asked_when_all_is_over(self) -> None:
        offers = self.lab.context.offers
        offers.start(self.lab.context.domains.values())
        self.lab.contacts.pop().errback(UpstreamUnreachable("down"))
        offers.stop()
        self.lab.clock.advance(1.5 * RETRY)
        self.assertEqual(self.lab.contacts, [])
        offers.start(self.lab.context.domains.values())
        offers.stop()
        self.lab.contacts.pop().errback(UpstreamUnreachable("down"))
        self.lab.clock.advance(1.5 * RETRY)
        self.assertEqual(self.lab.contacts, [])

    def test_what_was_known_is_offered_while_the_server_is_down(self) -> None:
        self.lab.client().send(HEADER)
        self.server_offers(*SERVER)
        self.lab.clock.advance(FRESH)
        self.lab.client().send(HEADER)
        self.lab.contacts.pop().errback(UpstreamUnreachable("down"))
        self.assertEqual(self.mechanisms(self.lab.client()), [*RELAYED, "PLAIN"])

    def test_whether_a_server_can_be_reached(self) -> None:
        """Whoever asks has it asked anew, once it is old; until then it is as it was."""
        offers, (domain,) = self.lab.context.offers, self.lab.context.domains.values()

        def unreachable() -> list[str]:
            return offers.unreachable([domain])

        self.assertEqual(unreachable(), [], "nobody knows yet")
        self.server_offers(*SERVER)
        self.lab.clock.advance(LOOK - 1)
        self.assertEqual((unreachable(), self.lab.contacts), ([], []))
        self.lab.clock.advance(1)
        self.assertEqual((unreachable(), unreachable(), len(self.lab.contacts)), ([], [], 1))
        self.lab.contacts.pop().errback(UpstreamUnreachable("down"))
        self.assertEqual((unreachable(), self.lab.contacts), (["example.org"], []))
        self.lab.clock.advance(1.5 * RETRY)
        self.assertEqual(unreachable(), ["example.org"])
        self.server_offers(*SERVER)
        self.assertEqual((unreachable(), self.lab.contacts), ([], []))

    def test_no_registration_where_it_is_switched_off(self) -> None:
        """The server is asked, but not for that."""
        client = self.lab.client()
        client.send(HEADER)
        stream = FramedXmlStream(Authenticator())
        stream.makeConnection(Wire())
        offering = parse_stanza(
            "<features xmlns='http://etherx.jabber.org/streams'>"
            "<register xmlns='http://jabber.org/features/iq-register'/></features>"
        )
        self.lab.contacts.pop().callback((stream, offering))
        self.assertNotIn(b"register", client.wire.take())
        answer = client.send(b"<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>")
        self.assertIn(b"service-unavailable", answer)
        self.assertEqual(self.lab.contacts, [])

    def test_what_is_not_offered_is_not_taken(self) -> None:
        self.lab = Lab(Path(self.mktemp()), logins=("SCRAM",))
        client = self.lab.client()
        client.send(HEADER)
        self.server_offers(*SERVER)
        client.wire.take()
        self.assertEqual(errors(client.send(plain())), [b"invalid-mechanism"])
        self.assertEqual(self.lab.logins, [])
