"""JIDs: preparation by tables."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase
from twisted.words.protocols.jabber.xmpp_stringprep import Profile, nameprep

from minimixproxy import jids
from minimixproxy.jids import InvalidJID, Whose, parse_jid, prepare_local, prepare_resource, whose
from minimixproxy.lenient_profiles import NODEPREP, RESOURCEPREP, LenientProfile


class ParseJID(TestCase):
    def test_valid(self) -> None:
        for text, bare, resource in [
            ("Alice@Example.ORG/Phone", "alice@example.org", "Phone"),
            ("example.org", "example.org", None),
            ("example.org.", "example.org", None),
            ("room@conference.example.org/nick@home/x", "room@conference.example.org", "nick@home/x"),
            ("room@c.test/🎉 party", "room@c.test", "🎉 party"),
            ("straße@c.test", "strasse@c.test", None),
            ("a@b\u3002/c", "a@b", "c"),
        ]:
            address = parse_jid(text)
            self.assertEqual((address.bare, address.resource), (bare, resource))
        self.assertEqual(parse_jid("A@b/C").full, "a@b/C")
        self.assertEqual((parse_jid("a@b").local, parse_jid("b").local), ("a", None))

    def test_invalid(self) -> None:
        spelled = ["", "@b", "a@", "a@b/", "a b@c", "a@b c", "a@b..c", "a@b..", "a@.", "a@b\u3002.", "a\x00@b"]
        for text in [*spelled, "a@" + "b" * 1024, "a@b/" + "c" * 1024]:
            self.assertRaises(InvalidJID, parse_jid, text)

    def test_the_longest_domain(self) -> None:
        """As long as a part may be, as it is written and as it is prepared."""
        for longest in ("b" * 1023, "B" * 1023, "\u00fc" * 511 + "b", "\u2460" * 1000 + "b" * 23):
            self.assertLessEqual(len(longest), 1023)
            domain = parse_jid(f"a@{longest}").domain
            self.assertEqual(len(domain.encode()), 1023)
            self.assertRaises(InvalidJID, parse_jid, f"a@{longest}b")

    def test_long_ones_cost_nothing(self) -> None:
        """Neither work nor a place in a cache: whoever writes an address chooses its length."""
        self.patch(Profile, "map", lambda _profile, _text: self.fail("prepared"))
        long = "x" * 200_000
        for text in (f"{long}@b", f"b/{long}", long, f"{long}@{long}/{long}", "b/" + "\u00ad" * 200_000):
            self.assertRaises(InvalidJID, parse_jid, text)
        self.assertRaises(InvalidJID, prepare_resource, long)

    def test_those_that_become_long_cost_little(self) -> None:
        """One character may become eighteen: what is too long then is looked at no more."""
        looked_at: list[str] = []
        self.patch(Profile, "check_prohibiteds", lambda _profile, text: looked_at.append(text))
        self.patch(nameprep, "prepare", lambda _text: self.fail("a domain"))
        for text in ("\ufdfa" * 1023, "\ufdfa" * 341):
            for part in (f"{text}@", f"a@{text}", f"a@{text}.b"):
                self.assertRaises(InvalidJID, parse_jid, part)
            self.assertRaises(InvalidJID, prepare_resource, text)
            self.assertRaises(InvalidJID, prepare_local, text)
        self.assertEqual(looked_at, [])

    def test_a_long_one_costs_as_little_as_a_short_one(self) -> None:
        """Who has a long nick would make each stanza cost a hundred times as much. What it is made of is known."""
        looked_at: list[str] = []
        look = LenientProfile._look_at

        def counted(profile: LenientProfile, character: str) -> int:
            looked_at.append(character)
            return look(profile, character)

        self.patch(LenientProfile, "_look_at", counted)
        for _ in range(3):
            for text in ("\u00e9a" * 300, "\u00e9b" * 300, "ab" * 500):
                self.assertEqual(parse_jid(f"{text}@a.test/{text}").full, f"{text}@a.test/{text}")
        self.assertLessEqual(len(looked_at), 2 * len("\u00e9ab"), "each character once, by each profile")

    def test_of_ascii_the_profiles_change_letters_only(self) -> None:
        """Each character, in each place: what is let through at once is what the profiles let through."""
        for character in map(chr, range(128)):
            for text in (character, f"{character}a", f"a{character}", f"A{character}.b", f"a.{character}b"):
                self._same_as_the_profiles(text)

    @given(st.text(st.characters(max_codepoint=127), max_size=12))
    def test_ascii_is_prepared_as_by_the_profiles(self, text: str) -> None:
        self._same_as_the_profiles(text)

    def _same_as_the_profiles(self, text: str) -> None:
        for prepare, profile in [
            (prepare_local, NODEPREP),
            (prepare_resource, RESOURCEPREP),
            (jids._prepare_domain, nameprep),
        ]:
            if profile is nameprep and (not text or text.endswith(".")):
                continue  # its end is dealt with before
            try:
                expected = jids._prepared(profile, text)
            except InvalidJID:
                self.assertRaises(InvalidJID, prepare, text)
            else:
                self.assertEqual(prepare(text), expected)

    def test_caches_are_bounded_in_bytes(self) -> None:
        before = jids._parsed.cache_info().currsize, jids._prepared_resource.cache_info().currsize
        for number in range(50):
            parse_jid(f"{number:0500}@long.test/x")
            prepare_resource(f"{number:0500}")
        self.assertLessEqual(jids._parsed.cache_info().currsize, before[0])
        self.assertLessEqual(jids._prepared_resource.cache_info().currsize, before[1] + 1)

    def test_resource_bound(self) -> None:
        self.assertEqual(parse_jid("a@b/" + "c" * 1023).resource, "c" * 1023)
        for part in ("{}@b", "a@b/{}"):  # bytes, not characters
            self.assertEqual(parse_jid(part.format("\xe9" * 511)).full, part.format("\xe9" * 511))
            self.assertRaises(InvalidJID, parse_jid, part.format("\xe9" * 512))

    def test_nicks_compare_after_preparation(self) -> None:
        self.assertEqual(prepare_resource("\uff4eick"), prepare_resource("nick"))
        self.assertNotEqual(prepare_resource("Nick"), prepare_resource("nick"))

    def test_what_servers_tell_apart_is_not_one_here(self) -> None:
        """Unicode 3.2 knows neither these capitals nor the order of these marks: Prosody changes neither."""
        for one, other in [
            ("bo\u1e9e", "boss"),
            ("\u2c6d", "\u0251"),
            ("\u0243", "\u0180"),
            ("\u10a0", "\u2d00"),
            ("q\U0001e014\U0001e8d5", "q\U0001e8d5\U0001e014"),
        ]:
            self.assertNotEqual(prepare_local(one), prepare_local(other))
            self.assertEqual((prepare_local(one), prepare_resource(one)), (one, one))
        for domain in ("bo\u1e9e.test", "conference.bo\u1e9e.test"):
            self.assertRaises(InvalidJID, parse_jid, domain)

    def test_case_and_compatibility_of_what_was_known(self) -> None:
        for text, prepared in [
            ("\u00c9\u212b\uff21", "\u00e9\u00e5a"),
            ("\u0130", "i\u0307"),
            ("\u2160", "i"),
            ("e\u0301", "\u00e9"),
            ("a\u0327\u0301", "\u00e1\u0327"),
            ("a\u00adb", "ab"),
            ("\U0001f389\u00c9", "\U0001f389\u00e9"),
        ]:
            self.assertEqual(prepare_local(text), prepared)


class WhoseTests(TestCase):
    def test_addresses(self) -> None:
        """Only the server can speak without an address, from the account's bare JID, and from its own."""
        for address, expected in [
            (None, Whose.ACCOUNT),
            ("alice@a.test", Whose.ACCOUNT),
            ("ALICE@A.test.", Whose.ACCOUNT),
            ("a.test", Whose.SERVER),
            ("A.test", Whose.SERVER),
            ("alice@a.test/x", Whose.STREAM),
            ("Alice@a.TEST/x", Whose.STREAM),
            ("alice@a.test/X", Whose.OTHER),
            ("alice@a.test/y", Whose.OTHER),
            ("a.test/x", Whose.OTHER),
            ("bob@a.test", Whose.OTHER),
            ("b.test", Whose.OTHER),
            ("", Whose.OTHER),
            ("alice@", Whose.OTHER),
        ]:
            for stream in ("alice@a.test/x", "Alice@A.test/x"):
                self.assertIs(whose(address, stream), expected, address)
            self.assertIs(whose(address, ""), Whose.ACCOUNT if address is None else Whose.OTHER)
        self.assertIs(whose("alice@a.test", "alice@a.test"), Whose.ACCOUNT)
        self.assertEqual([kind for kind in Whose if kind.is_server], [Whose.ACCOUNT, Whose.SERVER])
