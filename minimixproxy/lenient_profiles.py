"""Profiles of stringprep (RFC 3454) that let code points through which Unicode 3.2 did not assign, as servers do. Pure.

Whoever has an address chooses its characters, and it is prepared for each stanza that bears it. So what the tables say
of a character is found out once.
"""

from __future__ import annotations

import stringprep
from itertools import groupby
from typing import Any
from unicodedata import ucd_3_2_0

from twisted.words.protocols.jabber import xmpp_stringprep
from twisted.words.protocols.jabber.xmpp_stringprep import B_1, MappingTableFromFunction, Profile

MAX_PART = 1023  # bytes, RFC 6122 §2.1

# What a character is, or does to a text.
_MAPPED, _UNASSIGNED, _PROHIBITED, _RIGHT_TO_LEFT = 1, 2, 4, 8


def folded(character: str) -> str:
    """Map a character as table B.2 of RFC 3454 does, of Unicode 3.2.

    Python's `map_table_b2` lowers what later versions of Unicode have made a capital too: U+1E9E to what is in `ss`, by
    which an account that the server knows under that name would be another one's here.
    """
    lowered = stringprep.map_table_b2(character)
    return character if any(map(stringprep.in_table_a1, character + lowered)) else lowered


def normalized(text: str) -> str:
    """Return NFKC of Unicode 3.2; Python puts what later versions have made combining characters into another order."""
    if text.isascii():
        return text
    runs = (("".join(run), unassigned) for unassigned, run in groupby(text, stringprep.in_table_a1))
    return "".join(run if unassigned else ucd_3_2_0.normalize("NFKC", run) for run, unassigned in runs)


def size_of(text: str) -> int:
    """Return how many bytes a text has."""
    return len(text.encode("utf-8", "surrogatepass"))


class LenientProfile:
    """A profile that takes unassigned code points for characters that are what they are."""

    def __init__(self, profile: Profile, *mappings: Any) -> None:
        """`mappings`: instead of those of the profile."""
        self._profile: Any = Profile(mappings, prohibiteds=profile.prohibiteds)
        self._traits: dict[str, int] = {}  # of characters that Unicode 3.2 knows and that were met: 100,000 at most
        self._mapped: dict[int, str] = {}  # what becomes of those that do not stay; "": nothing

    def prepare(self, text: str) -> str:
        """Return the prepared text. Raises `UnicodeError`."""
        traits = self._traits_in(text)
        mapped = text.translate(self._mapped) if traits & _MAPPED else text
        prepared = normalized(mapped) if traits & _UNASSIGNED else ucd_3_2_0.normalize("NFKC", mapped)
        if size_of(prepared) > MAX_PART:  # before the work, too: one character may have become eighteen
            raise UnicodeError(f"over {MAX_PART} bytes")
        traits = self._traits_in(prepared)
        if traits & _PROHIBITED:
            self._profile.check_prohibiteds(prepared)
        if traits & _RIGHT_TO_LEFT:
            self._profile.check_bidirectionals(prepared)
        return prepared

    def _traits_in(self, text: str) -> int:
        known = self._traits
        traits = 0
        for character in set(text):
            found = known.get(character)
            traits |= found if found is not None else self._look_at(character)
        return traits

    def _look_at(self, character: str) -> int:
        """Find out what a character is. Of those that Unicode 3.2 does not know, which are very many, none is kept."""
        if stringprep.in_table_a1(character):
            return _UNASSIGNED
        mapped = self._profile.map(character)
        traits = 0
        if mapped != character:
            traits |= _MAPPED
            self._mapped[ord(character)] = mapped
        if any(table.lookup(character) for table in self._profile.prohibiteds):
            traits |= _PROHIBITED
        if stringprep.in_table_d1(character):
            traits |= _RIGHT_TO_LEFT
        if ucd_3_2_0.category(character) not in ("Co", "Cs", "Cn"):  # nor of what nobody may write
            self._traits[character] = traits
        return traits


NODEPREP = LenientProfile(xmpp_stringprep.nodeprep, B_1, MappingTableFromFunction(folded))
RESOURCEPREP = LenientProfile(xmpp_stringprep.resourceprep, B_1)
