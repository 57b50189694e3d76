"""What a server offers to log in with, and what is made of it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.errors import UpstreamProtocolError, UpstreamUnfit
from minimixproxy.c2s.upstream.credentials import Credential
from minimixproxy.c2s.upstream.offer import ServerOffer, choose, read_offer
from minimixproxy.sasl.channel_binding import Binding, Gs2Header
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.scram import Challenge, ScramKeys
from minimixproxy.wire.stanza import parse_stanza

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
CB = "urn:xmpp:sasl-cb:0"
EXPORTER, END_POINT = "tls-exporter", "tls-server-end-point"
BINDINGS = {EXPORTER: b"e" * 32, END_POINT: b"p" * 32}
N, Y = Binding(Gs2Header("n")), Binding(Gs2Header("y"))


def bound(type_: str) -> Binding:
    return Binding(Gs2Header("p", type_), BINDINGS[type_])


class ReadTest(SynchronousTestCase):
    def test_mechanisms(self) -> None:
        features = parse_stanza(
            f"<features><mechanisms xmlns='{SASL}'><mechanism>PLAIN</mechanism><other>X</other>"
            "<mechanism xmlns='urn:other'>Y</mechanism><mechanism>PLAIN</mechanism></mechanisms></features>"
        )
        offer = read_offer(features, {})
        self.assertEqual(offer.offered, Offered(("PLAIN", "PLAIN")))
        self.assertEqual(offer.mechanisms, {"PLAIN"})
        self.assertEqual(
            read_offer(parse_stanza("<features><mechanisms/></features>"), {}), ServerOffer(Offered(()), {})
        )

    def test_types_of_channel_binding(self) -> None:
        for content, types in (
            ("", None),
            (f"<sasl-channel-binding xmlns='{CB}'/>", ()),
            (
                f"<sasl-channel-binding xmlns='{CB}'><channel-binding type='a'/><channel-binding/><other type='x'/>"
                "<channel-binding type='b'/></sasl-channel-binding>",
                ("a", "b"),
            ),
            ("<sasl-channel-binding xmlns='urn:other'><channel-binding type='a'/></sasl-channel-binding>", None),
        ):
            self.assertEqual(read_offer(parse_stanza(f"<features>{content}</features>"), {}).offered.bindings, types)


class ChoiceTest(SynchronousTestCase):
    password = Credential.from_password("secret")

    def chosen(
        self,
        names: str,
        types: str | None = None,
        credential: Credential = password,
        bindings: dict[str, bytes] = BINDINGS,
    ) -> tuple[str, Binding]:
        offered = Offered(tuple(names.split()), None if types is None else tuple(types.split()))
        return choose(ServerOffer(offered, bindings), credential)

    def test_channel_binding_first(self) -> None:
        for names, types, choice in (
            ("SCRAM-SHA-512 SCRAM-SHA-1-PLUS PLAIN", f"{END_POINT} {EXPORTER}", ("SCRAM-SHA-1-PLUS", bound(EXPORTER))),
            (
                "SCRAM-SHA-1-PLUS SCRAM-SHA-512-PLUS",
                f"tls-unique {END_POINT}",
                ("SCRAM-SHA-512-PLUS", bound(END_POINT)),
            ),
            ("SCRAM-SHA-256-PLUS SCRAM-SHA-256", EXPORTER, ("SCRAM-SHA-256-PLUS", bound(EXPORTER))),
        ):
            self.assertEqual(self.chosen(names, types), choice)

    def test_no_type_that_we_know(self) -> None:
        """XEP-0440 §3: "n", lest the server takes it for an attack. No type is guessed."""
        for types in (None, "", "tls-unique", "TLS-EXPORTER"):
            self.assertEqual(self.chosen("SCRAM-SHA-256-PLUS SCRAM-SHA-256", types), ("SCRAM-SHA-256", N))
            self.assertRaises(UpstreamProtocolError, self.chosen, "SCRAM-SHA-256-PLUS", types)

    def test_the_server_offers_none(self) -> None:
        for types in (None, EXPORTER):
            self.assertEqual(self.chosen("SCRAM-SHA-256 PLAIN", types), ("SCRAM-SHA-256", Y))

    def test_we_have_none(self) -> None:
        for names in ("SCRAM-SHA-256-PLUS SCRAM-SHA-256", "SCRAM-SHA-256"):
            self.assertEqual(self.chosen(names, EXPORTER, bindings={}), ("SCRAM-SHA-256", N))

    def test_the_strongest_hash(self) -> None:
        for names, choice in (
            ("PLAIN SCRAM-SHA-1 SCRAM-SHA-512 SCRAM-SHA-256", "SCRAM-SHA-512"),
            ("PLAIN SCRAM-SHA-1 SCRAM-SHA-256", "SCRAM-SHA-256"),
            ("PLAIN SCRAM-SHA-1 SCRAM-SHA3-512", "SCRAM-SHA-1"),
            ("PLAIN X-OAUTH2", "PLAIN"),
        ):
            self.assertEqual(self.chosen(names)[0], choice)

    def test_kept_keys_are_of_one_hash(self) -> None:
        keys = Credential.from_keys("sha1", Challenge(b"salt", 4096), ScramKeys(b"c" * 20, b"s" * 20))
        names = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1"
        self.assertEqual(self.chosen(names, EXPORTER, keys), ("SCRAM-SHA-1", N))
        self.assertEqual(self.chosen(names + " SCRAM-SHA-1-PLUS", EXPORTER, keys)[0], "SCRAM-SHA-1-PLUS")
        self.assertRaises(UpstreamUnfit, self.chosen, "SCRAM-SHA-256", None, keys)
        self.assertRaises(UpstreamUnfit, self.chosen, "PLAIN", None, keys)

    def test_nothing_that_we_can(self) -> None:
        for names in ("", "EXTERNAL plain", "scram-sha-1"):
            self.assertRaises(UpstreamProtocolError, self.chosen, names)
