"""What was found out of the stanzas that were looked at last. Pure.

It may take a hundred times the bytes of a stanza, and many stanzas may be kept, as their bytes are counted: so none of
them keeps it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

LOOKED_AT = 4  # stanzas

Found = TypeVar("Found")


class LookedAt(Generic[Found]):
    """One kind of finding."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: tuple[tuple[object, Found], ...] = ()

    def of(self, stanza: object) -> Found | None:
        """Return what was found out of a stanza, if it is still there."""
        return next((found for one, found in self._found if one is stanza), None)

    def keep(self, stanza: object, found: Found) -> Found:
        """Keep it until others were looked at."""
        self._found = ((stanza, found), *self._found[: LOOKED_AT - 1])
        return found
