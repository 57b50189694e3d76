"""Jabber address translation: reversible, unambiguous, not forgeable, bounded."""

import contextlib
from base64 import b32decode, b32encode
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial import unittest

from minimixproxy.clientproxy import choosing, jat
from minimixproxy.clientproxy.jat import Translator, UnknownAddress, unescape
from minimixproxy.jids import MAX_PART, Address, InvalidJID, parse_jid

DOMAIN = "proxy.example.org"
PARTS = st.text(max_size=40) | st.text("ab@/\\ 40\u05d0\u0644\u0301\u3000\u212a", max_size=20)
ATS = st.sampled_from(["", "@"])
HOSTS = st.sampled_from(["example.org", "b", "א.example"])
RESOURCES = st.just("") | PARTS.map("/{}".format)


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    """Prepared JIDs, odd ones too."""
    while True:
        text = draw(PARTS) + draw(ATS) + draw(HOSTS) + draw(RESOURCES)
        try:
            return parse_jid(text)
        except InvalidJID:
            continue


def translator(key: bytes = b"key", **limits: Any) -> tuple[Translator, Clock]:
    clock = Clock()
    return Translator(DOMAIN, key, clock.seconds, **limits), clock


def spelled(data: bytes) -> str:
    return b32encode(data).decode().rstrip("=").lower()


def in_resource(text: str) -> Address:
    """An address of the domain with this in its resource, prepared or not."""
    return Address(DOMAIN, text, DOMAIN, f"{DOMAIN}/{text}")


class ReadableTests(unittest.TestCase):
    def test_what_fits_is_readable(self) -> None:
        translate, _ = translator()
        for jid in (
            "alice@example.org/phone",
            "alice@example.org",
            "example.org",
            "example.org/node",
            "alice@example.org/a/b@c",
            "alice@example.org/My Phone",
            "jürgen@bücher.example/küche",
            "bob\\40aim.com@gateway.example/x",
        ):
            self.assertEqual(translate.address_of(jid), f"{DOMAIN}/{jid}")
            self.assertEqual(translate.jid_of(parse_jid(f"{DOMAIN}/{jid}")).full, jid)
        self.assertEqual(len(translate), 0)

    def test_nothing_else_looks_like_a_token(self) -> None:
        translate, _ = translator()
        self.assertNotIn("@abc", translate.address_of("@abc"))

    def test_1023_bytes_fit_and_1024_do_not(self) -> None:
        translate, _ = translator()
        exact = "a@b.c/" + "x" * (MAX_PART - 6)
        self.assertEqual(translate.address_of(exact), f"{DOMAIN}/{exact}")
        address = translate.address_of(exact + "x")
        self.assertTrue(address.startswith(f"{DOMAIN}/@"))
        self.assertEqual(translate.jid_of(parse_jid(address)).full, exact + "x")

    def test_what_a_server_would_change_or_refuse_gets_a_token(self) -> None:
        translate, _ = translator()
        for jid in (
            "alice@example.org/שלום",  # mixed directions are no valid resource
            "alice@example.org/phone\U0001f600",  # unassigned in Unicode 3.2
            "alice@example.org/phone ",  # trimmed by some
        ):
            address = translate.address_of(jid)
            self.assertTrue(address.startswith(f"{DOMAIN}/@"), jid)
            self.assertEqual(translate.jid_of(parse_jid(address)).full, jid)

    def test_contacts_are_escaped_as_xep_0106_says(self) -> None:
        translate, _ = translator()
        for bare, local in (
            ("alice@example.org", "alice\\40example.org"),
            ("example.org", "example.org"),
            ("bob\\40aim.com@gateway.example", "bob\\5c40aim.com\\40gateway.example"),
        ):
            self.assertEqual(translate.contact_of(bare), f"{local}@{DOMAIN}")
            self.assertEqual(translate.jid_of(parse_jid(f"{local}@{DOMAIN}")).full, bare)
            self.assertEqual(translate.jid_of(parse_jid(f"{local}@{DOMAIN}/r")).full, f"{bare}/r")

    def test_a_contact_too_long_gets_a_token(self) -> None:
        translate, _ = translator()
        bare = "a" * 1020 + "@example.org"
        contact = translate.contact_of(bare)
        self.assertLess(len(contact), 100)
        self.assertEqual(translate.jid_of(parse_jid(contact)).full, bare)


class PropertyTests(unittest.TestCase):
    @given(addresses())
    def test_round_trip(self, address: Address) -> None:
        """Back comes what went in, even after the preparation that every server does."""
        translate, _ = translator()
        self.assertEqual(translate.jid_of(parse_jid(translate.address_of(address.full))), address)
        self.assertEqual(translate.jid_of(parse_jid(translate.contact_of(address.bare))).full, address.bare)

    @given(addresses())
    def test_another_process_knows_it(self, address: Address) -> None:
        """What is not very long needs no table: it says itself which JID it stands for."""
        ours, theirs = translator()[0], translator(b"another key")[0]
        self.assertEqual(theirs.jid_of(parse_jid(ours.address_of(address.full))), address)
        self.assertEqual(theirs.jid_of(parse_jid(ours.contact_of(address.bare))).full, address.bare)
        self.assertEqual((len(ours), len(theirs)), (0, 0))

    @given(addresses(), addresses())
    def test_two_jids_never_share_an_address(self, one: Address, other: Address) -> None:
        translate, _ = translator()
        same = parse_jid(translate.address_of(one.full)) == parse_jid(translate.address_of(other.full))
        self.assertEqual(same, one == other)
        same = parse_jid(translate.contact_of(one.bare)) == parse_jid(translate.contact_of(other.bare))
        self.assertEqual(same, one.bare == other.bare)

    @given(addresses())
    def test_no_jid_is_mistaken_for_a_token(self, address: Address) -> None:
        """A user cannot be called what a token looks like, or what is spelled."""
        self.assertFalse(address.full.startswith("@"))

    @given(st.text(max_size=30))
    def test_a_made_up_token_is_nobody(self, text: str) -> None:
        translate, _ = translator()
        translate.address_of("a@b/" + "x" * 1023)
        assume(not text.startswith("0"))
        contact = f"\\40{text}@{DOMAIN}"
        for address in (in_resource("@" + text), Address(contact, None, DOMAIN, contact)):
            self.assertRaises(UnknownAddress, translate.jid_of, address)

    @given(st.text(max_size=30) | st.text("aeimqz27=0A ", max_size=30) | st.binary(max_size=30).map(spelled))
    def test_spelled_by_somebody_else(self, text: str) -> None:
        """It is the JID that it says, in one way only, or nobody."""
        translate, _ = translator()
        try:
            found = translate.jid_of(in_resource("@0" + text))
        except UnknownAddress:
            return
        self.assertEqual(found, parse_jid(b32decode(text.upper() + "=" * (-len(text) % 8)).decode()))
        self.assertEqual(text, spelled(b32decode(text.upper() + "=" * (-len(text) % 8))))

    @given(st.text())
    def test_any_resource_is_a_jid_or_refused(self, text: str) -> None:
        translate, _ = translator()
        with contextlib.suppress(UnknownAddress):
            self.assertEqual(translate.jid_of(in_resource(text)), parse_jid(text))

    @given(st.text("\\ab@/25c40 "))
    def test_unescaping_undoes_escaping_only(self, text: str) -> None:
        escaped = text.replace("\\", "\\5c").replace("@", "\\40").replace("/", "\\2f").replace(" ", "\\20")
        self.assertEqual(unescape(escaped), text)


class SpelledTests(unittest.TestCase):
    def test_as_long_as_there_is_place(self) -> None:
        """In a resource, and in the local part, where the @ takes three characters."""
        translate, _ = translator()
        for count, is_token in ((636, False), (637, False), (638, False), (639, True)):
            jid = "a@b.c/" + "x" * (count - 7) + " "
            address = translate.address_of(jid)
            self.assertEqual((len(address) < 100, len(address) <= MAX_PART + len(DOMAIN) + 1), (is_token, True), count)
            self.assertEqual(translate.jid_of(parse_jid(address)).full, jid)
        for count, is_token in ((635, False), (636, False), (637, True)):
            bare = "\u05d0" + "a" * (count - 6) + "@b.c"
            contact = translate.contact_of(bare).rpartition("@")[0]
            self.assertEqual((len(contact) < 100, len(contact) <= MAX_PART), (is_token, True), count)

    def test_not_what_anybody_else_would_write(self) -> None:
        translate, _ = translator()
        good = spelled("alice@example.org/\u05d0".encode())
        self.assertEqual(translate.jid_of(in_resource(f"@0{good}")).full, "alice@example.org/\u05d0")
        for text in (
            good.upper(),
            good + "=",
            good[:-1],
            good + "a",
            good + " ",
            "",
            "0",
            "!",
            spelled(b"\xff"),
            spelled(b"@"),
        ):
            self.assertRaises(UnknownAddress, translate.jid_of, in_resource(f"@0{text}"))


class TokenTests(unittest.TestCase):
    LONG = "alice@example.org/" + "x" * 1023

    def test_the_same_after_a_restart_and_other_with_another_key(self) -> None:
        one, again, other = (translator(key)[0].address_of(self.LONG) for key in (b"key", b"key", b"other"))
        self.assertEqual(one, again)
        self.assertNotEqual(one, other)

    def test_expires_after_its_last_use(self) -> None:
        translate, clock = translator(lifetime=10.0)
        address = parse_jid(translate.address_of(self.LONG))
        clock.advance(9)
        self.assertEqual(translate.jid_of(address).full, self.LONG)
        clock.advance(9)
        self.assertEqual(translate.jid_of(address).full, self.LONG)
        clock.advance(10)
        self.assertRaises(UnknownAddress, translate.jid_of, address)

    def test_the_table_is_bounded_and_forgets_the_least_recently_used(self) -> None:
        forgotten: list[str] = []
        translate, _ = translator(max_tokens=3, full=forgotten.append)
        addresses = [parse_jid(translate.address_of(f"u{number}@b/" + "x" * 1023)) for number in range(3)]
        translate.jid_of(addresses[0])
        translate.address_of(self.LONG)
        self.assertEqual((len(translate), forgotten), (3, ["max_tokens"]))
        translate.jid_of(addresses[0])
        self.assertRaises(UnknownAddress, translate.jid_of, addresses[1])

    def test_a_domain_with_many_pushes_out_its_own(self) -> None:
        """Accounts, and subdomains, cost it nothing; what others have lasts."""
        translate, clock = translator(max_tokens=10)
        long = "x" * 1023
        others = [translate.address_of(f"a@b{number}.test/{long}") for number in range(4)]
        for number in range(100):
            translate.address_of(f"{number}@{number}.evil.test/{long}")
        self.assertEqual(len(translate), 10)
        for number, address in enumerate(others):
            self.assertEqual(translate.jid_of(parse_jid(address)).full, f"a@b{number}.test/{long}")
        clock.advance(10**6)
        translate.address_of(f"a@c.test/{long}")
        self.assertEqual((len(translate), list(translate._of)), (1, ["c.test"]))

    def test_the_newest_has_its_place_however_few_there_may_be(self) -> None:
        long = "x" * 1023
        for most in (1, 2, 3):
            translate, _ = translator(max_tokens=most)
            for domain in ("b.test", "b.test", "c.test", "b.test", "d.test", "d.test"):
                jid = f"{len(translate)}@{domain}/{long}"
                self.assertEqual(translate.jid_of(parse_jid(translate.address_of(jid))).full, jid, most)
            self.assertEqual(len(translate), most)

    def test_long_ones_are_not_many_in_caches(self) -> None:
        before = jat._fits_cached.cache_info().currsize, choosing._weight.cache_info().currsize
        for number in range(50):
            translator()[0].address_of(f"{number:0300}@b.test/x")
            choosing.by_sender(["a", "b"], f"{number:0300}@b.test", lambda _resource: 0)
        after = jat._fits_cached.cache_info().currsize, choosing._weight.cache_info().currsize
        self.assertEqual(after, before)

    def test_expired_ones_take_no_room(self) -> None:
        translate, clock = translator(lifetime=10.0)
        for number in range(50):
            translate.address_of(f"u{number}@b/" + "x" * 1023)
        clock.advance(10)
        translate.address_of(self.LONG)
        self.assertEqual(len(translate), 1)

    def test_the_domain_itself_is_nobody(self) -> None:
        translate, _ = translator()
        self.assertRaises(UnknownAddress, translate.jid_of, parse_jid(DOMAIN))
