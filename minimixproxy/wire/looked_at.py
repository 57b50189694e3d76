"""What was found out of the stanzas that were looked at last. Pure.

It may take a hundred times the bytes of a stanza, and many stanzas may be kept, as their bytes are counted: so none of
them keeps it. Nor is it kept when the stanza is gone: a password may be in it.
"""

from __future__ import annotations

from typing import Generic, TypeVar
from weakref import ref

LOOKED_AT = 4  # stanzas

Found = TypeVar("Found")


class LookedAt(Generic[Found]):
    """One kind of finding."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: tuple[tuple[ref[object], Found], ...] = ()

    def of(self, stanza: object) -> Found | None:
        """Return what was found out of a stanza, if it is still there."""
        return next((found for one, found in self._found if one() is stanza), None)

    def keep(self, stanza: object, found: Found) -> Found:
        """Keep it until others were looked at, or the stanza is gone."""
        self._found = ((ref(stanza, self._forget), found), *self._found[: LOOKED_AT - 1])
        return found

    def _forget(self, gone: ref[object]) -> None:
        self._found = tuple([one for one in self._found if one[0] is not gone])
