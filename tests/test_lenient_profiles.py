"""Profiles that find out once what a character is: they prepare as those do that ask the tables each time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase
from twisted.words.protocols.jabber import xmpp_stringprep
from twisted.words.protocols.jabber.xmpp_stringprep import B_1, MappingTableFromFunction, Profile

from minimixproxy.lenient_profiles import MAX_PART, NODEPREP, RESOURCEPREP, LenientProfile, folded, normalized, size_of
from tests.examples import some_of

FOLD = MappingTableFromFunction(folded)
PLAIN = [
    (NODEPREP, Profile((B_1, FOLD), prohibiteds=xmpp_stringprep.nodeprep.prohibiteds)),
    (RESOURCEPREP, Profile((B_1,), prohibiteds=xmpp_stringprep.resourceprep.prohibiteds)),
]
# Of each kind of table; what later versions of Unicode know, and what nobody may write.
CODES = (
    "aZ \xad\xe9\xc9\u0130\u0131\u0301\u05d0\u0627\u06dd\u1e9e\u2160\u3000\ufdfa\ufdd0\uff21\U0001f389\U000e0001\x00"
)


def prepared(profile: Profile, text: str) -> str:
    result = normalized(profile.map(text))
    if size_of(result) > MAX_PART:
        raise UnicodeError
    profile.check_prohibiteds(result)
    profile.check_bidirectionals(result)
    return str(result)


class LenientProfileTests(TestCase):
    def assert_alike(self, profile: LenientProfile, plain: Profile, text: str) -> None:
        try:
            expected = prepared(plain, text)
        except UnicodeError:
            self.assertRaises(UnicodeError, profile.prepare, text)
        else:
            self.assertEqual(profile.prepare(text), expected)

    @given(st.one_of(st.text(st.sampled_from(CODES), max_size=6), st.text(max_size=20)))
    def test_any_text(self, text: str) -> None:
        for profile, plain in PLAIN:
            self.assert_alike(profile, plain, text)

    def test_each_character(self) -> None:
        many = some_of((*range(0x80, 0x3400), *range(0xF900, 0x10400)))
        for code in (*range(0x80), *many, 0xAC00, 0xD800, 0xE000, 0x1D400, 0xE0001, 0x10FFFF):
            for profile, plain in PLAIN:
                self.assert_alike(profile, plain, chr(code))

    def test_what_is_not_known_takes_no_place(self) -> None:
        """There are a million code points, and whoever has an address chooses them."""
        profile = LenientProfile(xmpp_stringprep.resourceprep, B_1)
        self.assertEqual(
            profile.prepare("".join(map(chr, range(0x1F600, 0x1F650)))), "".join(map(chr, range(0x1F600, 0x1F650)))
        )
        for code in (0xE000, 0xD800, 0x10FFFD, 0xFFFE):
            self.assertRaises(UnicodeError, profile.prepare, chr(code))
        self.assertEqual((profile._traits, profile._mapped), ({}, {}))
