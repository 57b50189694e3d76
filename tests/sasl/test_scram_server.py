"""The server's part of SCRAM: the vectors of the RFCs, our client and scramp's, and clients that misbehave."""

from __future__ import annotations

import hashlib
import unicodedata
from base64 import b64encode

import scramp
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial import unittest

from minimixproxy.sasl import saslprep
from minimixproxy.sasl.channel_binding import UNBOUND, Binding, Gs2Header
from minimixproxy.sasl.downgrade import Offered
from minimixproxy.sasl.scram import MECHANISMS, Challenge, ScramError, ScramKeys, derive_keys, hash_of, stored_key_of
from minimixproxy.sasl.scram_client import ScramClient
from minimixproxy.sasl.scram_server import Proved, ScramServer, WrongProof, read_client_first
from tests.examples import examples
from tests.sasl.exchanges import BINDINGS, CHALLENGE, PLAIN_OFFER, PLUS_OFFER, VECTORS, Ends, bound

NAMES = st.text(min_size=1, max_size=30)


def possible(name: str) -> bool:
    """A client can put this name into a message."""
    try:
        ScramClient("SCRAM-SHA-1", name)
    except ScramError:
        return False
    return True


class VectorsTest(unittest.TestCase):
    def test_rfc_exchanges(self) -> None:
        for mechanism, client_nonce, server_first, client_final, server_final in VECTORS:
            hash_name = MECHANISMS[mechanism]
            nonce = server_first.split(b",")[0].decode().removeprefix("r=" + client_nonce)
            challenge = ScramClient(mechanism, "user", client_nonce).challenge(server_first)
            keys = derive_keys(hash_name, "pencil", *challenge)
            first = read_client_first(b"n,,n=user,r=" + client_nonce.encode())
            server = ScramServer(mechanism, first, {}, PLAIN_OFFER, nonce)
            self.assertEqual(server.challenge(challenge, protected=False), server_first)
            proved = server.check(client_final, stored_key_of(hash_name, keys.client_key), keys.server_key)
            self.assertEqual(proved, (keys.client_key, server_final))
            self.assertNotIn("key", repr(proved))

    def test_xep_0474_example(self) -> None:
        nonce = "12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6"
        server_nonce = "a09117a6-ac50-4f2f-93f1-93799c2bddf6"
        first = read_client_first(b"p=tls-exporter,,n=user,r=" + nonce.encode())
        offered = Offered(("SCRAM-SHA-1-PLUS", "SCRAM-SHA-1"), ("tls-exporter", "tls-server-end-point"))
        bindings = {"tls-exporter": b"THIS IS FAKE CB DATA"}
        server = ScramServer("SCRAM-SHA-1-PLUS", first, bindings, offered, server_nonce)
        challenge = ScramClient("SCRAM-SHA-1", "user", "f").challenge(b"r=ff,s=QSXCR+Q6sek8bf92,i=4096")
        self.assertEqual(
            server.challenge(challenge),
            f"r={nonce}{server_nonce},s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08=".encode(),
        )

    def test_length_of_a_nonce(self) -> None:
        """Who is told of that by a server's answer is told that the account exists."""
        for length, good in ((1024, True), (1025, False), (6050, False)):
            message = b"n,,n=user,r=" + b"x" * length
            if good:
                self.assertEqual(len(read_client_first(message).nonce), length)
            else:
                self.assertRaises(ScramError, read_client_first, message)

    def test_what_clients_add_to_find_intolerant_servers(self) -> None:
        """Monal: fields that nobody knows, in both messages, are part of what is proved."""
        ends = Ends()
        keys = ends.keys
        first = read_client_first(b"n,,n=user,r=abc,g=0C7D-1")
        server = ScramServer("SCRAM-SHA-1", first, {}, PLAIN_OFFER)
        answer = server.challenge(CHALLENGE)
        nonce = answer.split(b",")[0]
        without_proof = b"c=biws,%b,x=19C6" % nonce
        message = b",".join((b"n=user,r=abc,g=0C7D-1", answer, without_proof))
        client = scramp_proof("sha1", keys, message)
        server.check(without_proof + b",p=" + client, stored_key_of("sha1", keys.client_key), keys.server_key)


def scramp_proof(hash_name: str, keys: ScramKeys, message: bytes) -> bytes:
    """A proof, as another implementation computes it."""
    hash_function = getattr(hashlib, hash_name)
    stored_key = hash_function(keys.client_key).digest()
    signature = scramp.core.hmac(hash_function, stored_key, message)
    return b64encode(scramp.core.xor(keys.client_key, signature))


class BothEndsTest(unittest.TestCase):
    def test_every_mechanism_and_binding(self) -> None:
        for mechanism in MECHANISMS:
            Ends(mechanism).run()
            Ends(mechanism, binding=Binding(Gs2Header("y"))).run()
            Ends(mechanism, offered=PLUS_OFFER).run()
            for type_ in BINDINGS:
                proved = Ends(mechanism + "-PLUS", binding=bound(type_), offered=PLUS_OFFER).run()
                self.assertEqual(proved.client_key, Ends(mechanism).keys.client_key)

    @settings(max_examples=examples(30))
    @given(NAMES.filter(possible), NAMES, st.sampled_from(sorted(MECHANISMS)))
    def test_any_name_and_password(self, name: str, password: str, mechanism: str) -> None:
        try:
            ends = Ends(mechanism, name, password)
        except ScramError:  # SASLprep forbids the password
            return
        proved = ends.run()
        self.assertEqual(proved.client_key, ends.keys.client_key)

    @given(NAMES.filter(possible))
    def test_names_arrive_as_they_are_prepared(self, name: str) -> None:
        first = read_client_first(ScramClient("SCRAM-SHA-1", name).first())
        again = read_client_first(ScramClient("SCRAM-SHA-1", first.username).first())
        self.assertEqual(first.username, again.username)

    def test_scramp_logs_in(self) -> None:
        """Its client against our server, without channel binding and with."""
        for mechanism in MECHANISMS:
            for binding in (None, ("tls-server-end-point", BINDINGS["tls-server-end-point"])):
                name, offered = (mechanism + "-PLUS", PLUS_OFFER) if binding else (mechanism, PLAIN_OFFER)
                client = scramp.ScramClient([name], "us,=er", "pencil", channel_binding=binding)
                ends = Ends(name, "us,=er", offered=offered)
                client.set_server_first(ends.server_first(client.get_client_first().encode()).decode())
                client.set_server_final(ends.check(client.get_client_final().encode()).final.decode())

    def test_scramp_is_logged_in_to(self) -> None:
        """Our client against its server."""
        for mechanism in MECHANISMS:
            for binding in (UNBOUND, bound("tls-server-end-point")):
                name = mechanism if binding is UNBOUND else mechanism + "-PLUS"
                theirs = None if binding is UNBOUND else ("tls-server-end-point", binding.data)
                kept = scramp.ScramMechanism(name).make_auth_info("pencil", iteration_count=4096)
                server = scramp.ScramMechanism(name).make_server(lambda _user, kept=kept: kept, channel_binding=theirs)
                client = ScramClient(name, "us,=er", binding=binding)
                server.set_client_first(client.first().decode())
                challenge = client.challenge(server.get_server_first().encode())
                server.set_client_final(client.final(derive_keys(client.hash_name, "pencil", *challenge)).decode())
                client.verify(server.get_server_final().encode())


class ClientFirstTest(unittest.TestCase):
    def test_header_and_names(self) -> None:
        for message, header, username in (
            (b"n,,n=user,r=abc", Gs2Header("n"), "user"),
            (b"y,,n=user,r=abc,x=y,z=", Gs2Header("y"), "user"),
            (b"p=tls-exporter,,n=user,r=abc", Gs2Header("p", "tls-exporter"), "user"),
            (b"n,a=user@example.org,n=user,r=abc", Gs2Header("n", "", "user@example.org"), "user"),
            (b"n,a=u=2C=3D=2C,n=u=2C=3D=2C,r=abc", Gs2Header("n", "", "u,=,"), "u,=,"),
            (b"n,,n==3D2C,r=abc", Gs2Header("n"), "=2C"),  # not unescaped twice
            (b"n,,n==3D3D,r=abc", Gs2Header("n"), "=3D"),
            ("n,,n=J\u00fcrgen,r=abc".encode(), Gs2Header("n"), "J\u00fcrgen"),
            ("n,,n=Ju\u0308rgen,r=abc".encode(), Gs2Header("n"), "J\u00fcrgen"),  # NFD
            ("n,,n=\uff55\uff53\uff45\uff52,r=abc".encode(), Gs2Header("n"), "user"),  # full width
            ("n,,n=us\u00ader,r=abc".encode(), Gs2Header("n"), "user"),
            ("n,,n=\u2168,r=abc".encode(), Gs2Header("n"), "IX"),
            ("n,,n=\u0627\u0628,r=abc".encode(), Gs2Header("n"), "\u0627\u0628"),
            ("n,,n=\u0221,r=abc".encode(), Gs2Header("n"), "\u0221"),  # not assigned in Unicode 3.2
        ):
            first = read_client_first(message)
            self.assertEqual((first.header, first.username), (header, username))
            self.assertEqual(first.gs2 + first.bare, message)
            self.assertTrue(first.bare.startswith(b"n="))

    def test_malformed(self) -> None:
        cases = {
            "empty": b"",
            "no header": b"n=user,r=abc",
            "one comma": b"n,n=user",
            "no flag": b",,n=user,r=abc",
            "unknown flag": b"x,,n=user,r=abc",
            "flag in capitals": b"N,,n=user,r=abc",
            "flag with a value": b"n=tls-exporter,,n=user,r=abc",
            "no type": b"p=,,n=user,r=abc",
            "no equals sign": b"p,,n=user,r=abc",
            "a type that can be none": b"p=tls unique,,n=user,r=abc",
            "a type that is no ASCII": "p=tls-é,,n=user,r=abc".encode(),
            "authzid without a=": b"n,user,n=user,r=abc",
            "empty authzid": b"n,a=,n=user,r=abc",
            "authzid with a stray escape": b"n,a=u=2,n=user,r=abc",
            "authzid not UTF-8": b"n,a=\xff,n=user,r=abc",
            "mandatory extension": b"n,,m=x,n=user,r=abc",
            "mandatory extension behind": b"n,,n=user,r=abc,m=x",
            "no name": b"n,,r=abc",
            "no nonce": b"n,,n=user",
            "another order": b"n,,r=abc,n=user",
            "something before the name": b"n,,x=y,n=user,r=abc",
            "empty name": b"n,,n=,r=abc",
            "empty nonce": b"n,,n=user,r=",
            "nonce with a space": b"n,,n=user,r=a bc",
            "nonce not ASCII": "n,,n=user,r=abcé".encode(),
            "nonce with a line end": b"n,,n=user,r=abc\n",
            "name twice": b"n,,n=user,r=abc,n=root",
            "nonce twice": b"n,,n=user,r=abc,r=abc",
            "not UTF-8": b"n,,n=us\xffer,r=abc",
            "surrogates in UTF-8": b"n,,n=\xed\xa0\x80,r=abc",
            "a stray escape": b"n,,n=us=er,r=abc",
            "an escape in small letters": b"n,,n=us=2cer,r=abc",
            "an escape of something else": b"n,,n=us=41er,r=abc",
            "an escape at the end": b"n,,n=user=,r=abc",
            "half an escape at the end": b"n,,n=user=2,r=abc",
            "NUL": b"n,,n=us\0er,r=abc",
            "a control character": "n,,n=us\u0085er,r=abc".encode(),
            "private use": "n,,n=\ue000,r=abc".encode(),
            "nothing left of the name": "n,,n=\u00ad\u2060,r=abc".encode(),
            "both directions": "n,,n=\u0627a\u0628,r=abc".encode(),
            "a mark of direction": "n,,n=us\u202eer,r=abc".encode(),
            "a tag": "n,,n=us\U000e0041er,r=abc".encode(),
            "an extension without a name": b"n,,n=user,r=abc,=x",
            "an extension without a value": b"n,,n=user,r=abc,x",
            "an extension of two letters": b"n,,n=user,r=abc,xy=z",
            "a comma at the end": b"n,,n=user,r=abc,",
            "too long": b"n,,n=user,r=abc,x=" + b"y" * 8192,
        }
        for name, message in cases.items():
            with self.subTest(name):
                self.assertRaises(ScramError, read_client_first, message)

    def test_long_names_cost_little(self) -> None:
        """Whoever is not logged in chooses them: as long as a JID's may be, and each character is looked at once."""
        looked_at: list[str] = []
        forbidden = saslprep._PROHIBITED[0]

        def counted(char: str) -> bool:
            looked_at.append(char)
            return forbidden(char)

        self.patch(saslprep, "_PROHIBITED", (counted,))
        for name in ("a" * 1024, "\xe9" * 512, "\ufdfa" * 342, "\xad" * 600):
            self.assertRaises(ScramError, read_client_first, f"n,,n={name},r=abc".encode())
        self.assertEqual(looked_at, [])
        for name, distinct in (("a" * 1023, 0), ("\xe9" * 511, 1), ("\u3300" * 80, 4)):
            looked_at.clear()
            read_client_first(f"n,,n={name},r=abc".encode())
            self.assertEqual(len(looked_at), distinct, name[:5])
        self.assertRaises(ScramError, read_client_first, ("n,,n=" + "\ufdfa" * 341 + ",r=abc").encode())

    def test_names_that_look_alike_are_one_only_if_prepared_alike(self) -> None:
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            message = ("n,,n=" + unicodedata.normalize(form, "\u01d5ber") + ",r=abc").encode()
            self.assertEqual(read_client_first(message).username, "\u01d5ber")
        self.assertNotEqual(read_client_first("n,,n=\u0430dmin,r=a".encode()).username, "admin")  # Cyrillic
        self.assertEqual(read_client_first(b"n,,n=ADMIN,r=a").username, "ADMIN")  # case is nodeprep's affair

    @given(st.binary(max_size=100))
    def test_any_bytes_only_raise_scram_errors(self, message: bytes) -> None:
        for start in (b"", b"n,,", b"n,,n=", b"p=", b"n,a="):
            try:
                first = read_client_first(start + message)
            except ScramError:
                continue
            self.assertEqual(first.gs2 + first.bare, start + message)


class BindingTest(unittest.TestCase):
    """The flag, the mechanism and what was offered belong together."""

    def refused(self, mechanism: str, client_first: bytes, offered: Offered = PLUS_OFFER) -> ScramError:
        first = read_client_first(client_first)
        error: ScramError = self.assertRaises(ScramError, ScramServer, mechanism, first, BINDINGS, offered)
        return error

    def test_contradictions(self) -> None:
        self.refused("SCRAM-SHA-1-PLUS", b"n,,n=user,r=abc")
        self.refused("SCRAM-SHA-1-PLUS", b"y,,n=user,r=abc")
        self.refused("SCRAM-SHA-1", b"p=tls-exporter,,n=user,r=abc")
        self.refused("SCRAM-SHA-1-PLUS", b"p=tls-unique,,n=user,r=abc")
        self.refused("SCRAM-SHA-1-PLUS", b"p=TLS-EXPORTER,,n=user,r=abc")

    def test_the_offer_of_channel_binding_was_stripped(self) -> None:
        error = self.refused("SCRAM-SHA-1", b"y,,n=user,r=abc")
        self.assertEqual(str(error), "channel binding was offered, and did not arrive")
        ScramServer("SCRAM-SHA-1", read_client_first(b"y,,n=user,r=abc"), BINDINGS, PLAIN_OFFER)

    def test_another_connection(self) -> None:
        for binding in (
            bound("tls-exporter", b"f" * 32),
            bound("tls-exporter", b""),
            bound("tls-exporter", BINDINGS["tls-exporter"] + b"e"),
            bound("tls-exporter", BINDINGS["tls-server-end-point"]),
        ):
            ends = Ends("SCRAM-SHA-256-PLUS", binding=binding, offered=PLUS_OFFER)
            error = self.assertRaises(WrongProof, ends.check, ends.client_final())
            self.assertEqual(str(error), "the login is bound to another connection")

    def test_what_is_bound_is_the_header_as_it_came(self) -> None:
        """Whoever changes the flag, the type or the authorization identity on the way spoils the proof."""
        ends = Ends("SCRAM-SHA-256-PLUS", binding=bound("tls-exporter"), offered=PLUS_OFFER)
        answer = ends.server_first(ends.client.first().replace(b"tls-exporter", b"tls-server-end-point"))
        ends.client.challenge(answer)
        self.assertRaises(WrongProof, ends.check, ends.client.final(ends.keys))
        ends = Ends()
        ends.client.challenge(ends.server_first(ends.client.first().replace(b"n,,", b"n,a=root,")))
        self.assertRaises(WrongProof, ends.check, ends.client.final(ends.keys))


class ClientFinalTest(unittest.TestCase):
    def test_malformed(self) -> None:
        ends = Ends()
        final = ends.client_final()
        binding, nonce, proof = final.split(b",")
        short = b"p=" + b64encode(b"x" * 19)
        cases = {
            "empty": b"",
            "no proof": b",".join((binding, nonce)),
            "no nonce": b",".join((binding, proof)),
            "no channel binding": b",".join((nonce, proof)),
            "another order": b",".join((nonce, binding, proof)),
            "something behind the proof": final + b",x=y",
            "the proof twice": final + b"," + proof,
            "mandatory extension": b"m=x," + final,
            "mandatory extension in between": b",".join((binding, nonce, b"m=x", proof)),
            "the client's part of the nonce": b",".join((binding, nonce[:-32], proof)),
            "another nonce": b",".join((binding, nonce[:-1] + b"~", proof)),
            "a longer nonce": b",".join((binding, nonce + b"x", proof)),
            "a nonce that is no ASCII": b",".join((binding, nonce + "é".encode(), proof)),
            "binding no base64": b",".join((b"c=!!", nonce, proof)),
            "proof no base64": b",".join((binding, nonce, b"p=!!")),
            "empty proof": b",".join((binding, nonce, b"p=")),
            "short proof": b",".join((binding, nonce, short)),
            "long proof": b",".join((binding, nonce, b"p=" + b64encode(b"x" * 21))),
            "not UTF-8": b",".join((binding, nonce, b"x=\xff", proof)),
            "too long": b",".join((binding, nonce, b"x=" + b"y" * 8192, proof)),
        }
        for name, message in cases.items():
            with self.subTest(name):
                error = self.assertRaises(ScramError, ends.check, message)
                self.assertNotIsInstance(error, WrongProof)
        ends.client.verify(ends.check(final).final)  # and nothing of that has spoilt anything

    def test_wrong_keys(self) -> None:
        ends = Ends()
        for keys in (
            ScramKeys(b"\0" * 20, ends.keys.server_key),
            derive_keys("sha1", "Pencil", *CHALLENGE),
            derive_keys("sha1", "pencil", b"another salt", 4096),
            derive_keys("sha1", "pencil", CHALLENGE.salt, 4097),
            ScramKeys(stored_key_of("sha1", ends.keys.client_key), ends.keys.server_key),  # StoredKey stolen
            ScramKeys(ends.keys.server_key, ends.keys.server_key),
        ):
            self.assertRaises(WrongProof, ends.check, ends.client_final(keys))

    def test_a_proof_is_of_one_exchange(self) -> None:
        ends, other = Ends(), Ends()
        used = ends.client_final()
        ends.check(used)
        other.server_first(ends.client.first())
        self.assertRaises(ScramError, other.check, used)
        nonce = other.server.challenge(CHALLENGE).split(b",")[0]
        binding, _nonce, proof = used.split(b",")
        self.assertRaises(WrongProof, other.check, b",".join((binding, nonce, proof)))

    def test_what_was_offered_is_proved(self) -> None:
        """A client that does not look at `h` proves it all the same: who changes it spoils the proof."""
        ends = Ends()
        answer = ends.server_first()
        ends.client.challenge(answer[:-5] + b"AAAA=")
        self.assertRaises(WrongProof, ends.check, ends.client.final(ends.keys))
        ends.client.challenge(answer.partition(b",h=")[0])
        self.assertRaises(WrongProof, ends.check, ends.client.final(ends.keys))

    def test_without_protection(self) -> None:
        self.assertNotIn(b",h=", Ends().server_first(protected=False))
        self.assertIn(b",h=", Ends().server_first())

    def test_nonces_differ(self) -> None:
        self.assertNotEqual(Ends().server_first(b"n,,n=u,r=a"), Ends().server_first(b"n,,n=u,r=a"))

    def test_stored_keys_of_another_hash(self) -> None:
        """What was kept does not belong to the mechanism: nobody gets in, and nothing breaks."""
        ends = Ends()
        final = ends.client_final()
        for stored_key in (b"", b"k" * 32, ends.keys.client_key):
            self.assertRaises(WrongProof, ends.server.check, final, stored_key, ends.keys.server_key)

    @given(st.binary(max_size=60), st.integers(0, 3))
    def test_any_bytes_only_raise_scram_errors(self, noise: bytes, position: int) -> None:
        ends = Ends(password="p")
        parts = ends.client_final().split(b",")
        parts.insert(position, noise)
        for message in (noise, b",".join(parts)):
            try:
                ends.check(message)
            except ScramError:
                continue
            self.fail("a proof of something else was believed")


class HashTest(unittest.TestCase):
    def test_names(self) -> None:
        self.assertEqual(hash_of("SCRAM-SHA-512-PLUS"), "sha512")
        self.assertEqual(hash_of("SCRAM-SHA-1"), "sha1")
        for name in ("PLAIN", "SCRAM-MD5", "SCRAM-SHA-1-PLUS-PLUS", "scram-sha-1", "", "-PLUS"):
            self.assertIsNone(hash_of(name))

    def test_order(self) -> None:
        self.assertEqual(list(MECHANISMS.values()), ["sha512", "sha256", "sha1"])

    def test_challenge_is_what_the_client_reads(self) -> None:
        for challenge in (Challenge(b"\0", 4096), Challenge(b"x" * 1024, 10_000_000)):
            first = read_client_first(b"n,,n=user,r=abc")
            server = ScramServer("SCRAM-SHA-1", first, {}, PLAIN_OFFER)
            self.assertEqual(
                ScramClient("SCRAM-SHA-1", "user", "abc").challenge(server.challenge(challenge)), challenge
            )

    def test_a_proof_says_nothing_in_logs(self) -> None:
        self.assertNotIn("secret", repr(Proved(b"secret", b"secret")))
