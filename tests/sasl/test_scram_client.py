"""The client's part of SCRAM against the vectors of the RFCs, and against servers that misbehave."""

from __future__ import annotations

from base64 import b64decode, b64encode
from itertools import product

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.sasl import scram
from minimixproxy.sasl.channel_binding import Binding, Gs2Header
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.scram import MAX_ITERATIONS, Challenge, ScramError, ScramKeys, derive_keys
from minimixproxy.sasl.scram_client import ScramClient, Tampered
from tests.sasl.exchanges import VECTORS, bound

# XEP-0474 §4.3
SERVER_FIRST = (
    b"r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,s=QSXCR+Q6sek8bf92,i=4096,"
    b"h=G6k/rBLDqgOhRRaCuuatSDFkJ08="
)
SALTS = (b"s", b"salt" * 100)
OFFERED = Offered(("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"), ("tls-server-end-point", "tls-exporter"))


def answered(server_first: bytes) -> ScramClient:
    client = ScramClient("SCRAM-SHA-1", "user", "abc")
    challenge = client.challenge(server_first)
    client.final(derive_keys("sha1", "pencil", *challenge))
    return client


class VectorsTest(unittest.TestCase):
    def test_rfc_exchanges(self) -> None:
        for mechanism, nonce, server_first, client_final, server_final in VECTORS:
            client = ScramClient(mechanism, "user", nonce)
            self.assertEqual(client.first(), b"n,,n=user,r=" + nonce.encode())
            challenge = client.challenge(server_first)
            self.assertEqual(challenge.iterations, 4096)
            self.assertEqual(client.final(derive_keys(client.hash_name, "pencil", *challenge)), client_final)
            client.verify(server_final)

    def test_user_name_is_prepared_and_escaped(self) -> None:
        client = ScramClient("SCRAM-SHA-1", "I\u00adX,a=\u2168", "n")
        self.assertEqual(client.first(), b"n,,n=IX=2Ca=3DIX,r=n")

    def test_no_name_is_left(self) -> None:
        for name in ("", "\u00ad", "\u2060\ufe0f"):
            self.assertRaises(ScramError, ScramClient, "SCRAM-SHA-1", name)

    def test_nonces_differ(self) -> None:
        self.assertNotEqual(ScramClient("SCRAM-SHA-1", "u").first(), ScramClient("SCRAM-SHA-1", "u").first())

    def test_keys_are_the_same_by_either_library(self) -> None:
        passwords = ("pencil", "\xe9" * 80, "a b" * 50)  # also longer than a block of any hash
        cases = list(product(scram.MECHANISMS.values(), passwords, SALTS))
        self.patch(scram, "_BY_CRYPTOGRAPHY", True)
        found = [derive_keys(name, password, salt, 4096) for name, password, salt in cases]
        self.patch(scram, "_BY_CRYPTOGRAPHY", False)
        self.assertEqual([derive_keys(name, password, salt, 4096) for name, password, salt in cases], found)

    def test_keys_are_not_shown(self) -> None:
        self.assertNotIn("secret", repr(ScramKeys(b"secret", b"secret")))

    def test_forbidden_password_is_a_scram_error_without_the_password(self) -> None:
        error = self.assertRaises(ScramError, derive_keys, "sha1", "se\u0007cret", b"salt", 4096)
        self.assertNotIn("cret", str(error))


class ChannelBindingTest(unittest.TestCase):
    def test_xep_0474_example(self) -> None:
        """§4.3: with channel binding and a hash of what was offered; the example's proof covers a field of its own."""
        nonce = "12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6"
        client = ScramClient("SCRAM-SHA-1-PLUS", "user", nonce, bound("tls-exporter", b"THIS IS FAKE CB DATA"))
        self.assertEqual(client.first(), b"p=tls-exporter,,n=user,r=" + nonce.encode())
        challenge = client.challenge(SERVER_FIRST, OFFERED)
        final = client.final(derive_keys("sha1", "pencil", *challenge))
        self.assertTrue(final.startswith(b"c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB,r=" + nonce.encode()))

    def test_flags(self) -> None:
        for binding, header in ((Binding(Gs2Header("y")), b"y,,"), (bound("tls-server-end-point", b"x"), b"p=tls-")):
            client = ScramClient("SCRAM-SHA-256", "user", "n", binding)
            self.assertTrue(client.first().startswith(header))
            client.challenge(b"r=nm,s=AAAA,i=4096")
            field = client.final(ScramKeys(b"k" * 32, b"s" * 32)).split(b",")[0]
            self.assertEqual(b64decode(field.removeprefix(b"c=")), binding.input)
        self.assertNotIn("secret", repr(bound("tls-exporter", b"secret")))


class DowngradeTest(unittest.TestCase):
    """XEP-0474: what the server says it offered."""

    def client(self) -> ScramClient:
        return ScramClient("SCRAM-SHA-1", "user", "12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6")

    def test_as_offered(self) -> None:
        self.client().challenge(SERVER_FIRST, OFFERED)
        self.client().challenge(SERVER_FIRST)  # the caller has no list
        self.client().challenge(SERVER_FIRST.partition(b",h=")[0], OFFERED)  # the server says nothing

    def test_tampered(self) -> None:
        mechanisms, bindings = OFFERED
        assert bindings is not None
        for offered in (
            Offered(mechanisms[:1], bindings),
            Offered(mechanisms, bindings[:1]),
            Offered(mechanisms, ()),
            Offered(mechanisms),
            Offered((*mechanisms, "SCRAM-SHA-256"), bindings),
            Offered((*mechanisms, mechanisms[0]), bindings),
        ):
            self.assertRaises(Tampered, self.client().challenge, SERVER_FIRST, offered)
        start = SERVER_FIRST.partition(b",h=")[0]
        for said in (b"", b"AAAA", "é".encode(), b"g" + SERVER_FIRST.partition(b",h=")[2][1:]):
            self.assertRaises(Tampered, self.client().challenge, start + b",h=" + said, OFFERED)


class ServerMisbehavesTest(unittest.TestCase):
    def test_first_messages_refused(self) -> None:
        cases = {
            "nonce not continued": b"r=xyz,s=QSXCR+Q6sek8bf92,i=4096",
            "nonce only repeated": b"r=abc,s=QSXCR+Q6sek8bf92,i=4096",
            "another nonce, and longer": b"r=xyzabcd,s=QSXCR+Q6sek8bf92,i=4096",
            "nonce not ASCII": "r=abcé,s=QSXCR+Q6sek8bf92,i=4096".encode(),
            "mandatory extension": b"m=x,r=abcd,s=QSXCR+Q6sek8bf92,i=4096",
            "no salt": b"r=abcd,i=4096",
            "empty salt": b"r=abcd,s=,i=4096",
            "salt no base64": b"r=abcd,s=!!,i=4096",
            "huge salt": b"r=abcd,s=" + b64encode(b"x" * 2000) + b",i=4096",
            "too few iterations": b"r=abcd,s=QSXCR+Q6sek8bf92,i=4095",
            "absurdly many": b"r=abcd,s=QSXCR+Q6sek8bf92,i=%d" % (MAX_ITERATIONS + 1),
            "a thousand digits": b"r=abcd,s=QSXCR+Q6sek8bf92,i=" + b"9" * 1000,
            "more digits than Python takes": b"r=abcd,s=QSXCR+Q6sek8bf92,i=" + b"9" * 5000,
            "not a number": b"r=abcd,s=QSXCR+Q6sek8bf92,i=0x1000",
            "negative": b"r=abcd,s=QSXCR+Q6sek8bf92,i=-4096",
            "given twice": b"r=abcd,s=QSXCR+Q6sek8bf92,i=4096,i=4097",
            "not UTF-8": b"r=abcd,s=\xff,i=4096",
            "a name of two letters": b"r=abcd,s=QSXCR+Q6sek8bf92,i=4096,xy=z",
            "a name of no letter": b"r=abcd,s=QSXCR+Q6sek8bf92,i=4096,=z",
            "a name that is no letter": b"r=abcd,s=QSXCR+Q6sek8bf92,i=4096,1=z",
            "a letter that is no ASCII": "r=abcd,s=QSXCR+Q6sek8bf92,i=4096,é=z".encode(),
            "no value": b"r=abcd,s=QSXCR+Q6sek8bf92,i=4096,x",
            "another order": b"s=QSXCR+Q6sek8bf92,r=abcd,i=4096",
            "one byte too long": b"r=abcd,s=AAAA,i=4096,x=" + b"y" * (8192 - 22),
            "a salt one byte too long": b"r=abcd,s=" + b64encode(b"x" * 1025) + b",i=4096",
            "digits that are no ASCII": "r=abcd,s=AAAA,i=४०९६".encode(),
            "empty": b"",
            "too long": b"r=abcd,s=QSXCR+Q6sek8bf92,i=4096,x=" + b"y" * 10000,
        }
        for name, message in cases.items():
            with self.subTest(name):
                self.assertRaises(ScramError, ScramClient("SCRAM-SHA-1", "user", "abc").challenge, message)

    def test_what_is_just_within_bounds(self) -> None:
        for message, challenge in (
            (b"r=abcd,s=AAAA,i=4096,x=" + b"y" * (8192 - 23), Challenge(b"\0\0\0", 4096)),
            (b"r=abcd,s=AAAA,i=%d" % MAX_ITERATIONS, Challenge(b"\0\0\0", MAX_ITERATIONS)),
            (b"r=abcd,s=" + b64encode(b"x" * 1024) + b",i=4096", Challenge(b"x" * 1024, 4096)),
            (b"r=abcd,s=AA==,i=04096", Challenge(b"\0", 4096)),
        ):
            self.assertEqual(ScramClient("SCRAM-SHA-1", "user", "abc").challenge(message), challenge)

    def test_an_error_beside_the_right_signature(self) -> None:
        mechanism, nonce, server_first, _client_final, server_final = VECTORS[0]
        for message, right in ((server_final, True), (server_final + b",e=x", False), (b"e=x," + server_final, False)):
            client = ScramClient(mechanism, "user", nonce)
            client.final(derive_keys(client.hash_name, "pencil", *client.challenge(server_first)))
            if right:
                client.verify(message)
            else:
                self.assertRaises(ScramError, client.verify, message)

    def test_later_extensions_are_ignored(self) -> None:
        client = ScramClient("SCRAM-SHA-1", "user", "abc")
        self.assertEqual(client.challenge(b"r=abcd,s=AAAA,i=4096,x=y"), Challenge(b"\0\0\0", 4096))

    def test_final_messages_refused(self) -> None:
        for message in (b"v=" + b64encode(b"x" * 20), b"v=", b"e=invalid-proof", b"x=y", b"", b"v=!!"):
            with self.subTest(message):
                self.assertRaises(ScramError, answered(b"r=abcd,s=AAAA,i=4096").verify, message)

    def test_signature_before_the_proof(self) -> None:
        self.assertRaises(ScramError, ScramClient("SCRAM-SHA-1", "user").verify, b"v=")

    @given(st.binary(max_size=200))
    def test_any_bytes_only_raise_scram_errors(self, message: bytes) -> None:
        client = answered(b"r=abcd,s=AAAA,i=4096")
        self.assertRaises(ScramError, client.verify, message)
        try:
            client.challenge(message)
        except ScramError:
            pass
        else:
            self.assertTrue(message.startswith(b"r=abc"))
