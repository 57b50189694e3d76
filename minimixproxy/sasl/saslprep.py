"""SASLprep, the preparation of user names and passwords (RFC 4013), for queries: unassigned code points pass."""

from __future__ import annotations

import stringprep

from minimixproxy.jids import normalized

_PROHIBITED = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


class SaslprepError(ValueError):
    """Text that SASLprep forbids. The text itself is not repeated: it may be a password."""


def saslprep(text: str) -> str:
    """Return `text` mapped and normalised. Raises `SaslprepError` for what RFC 4013 §2.3 and §2.4 forbid."""
    if text.isascii():
        if text.isprintable():  # nearly all that comes: of ASCII, only control characters are forbidden
            return text
        mapped = text
    else:
        spaced = "".join(" " if stringprep.in_table_c12(char) else char for char in text)
        visible = "".join(char for char in spaced if not stringprep.in_table_b1(char))
        mapped = normalized(visible)
    if any(forbidden(char) for char in set(mapped) for forbidden in _PROHIBITED):
        raise SaslprepError("prohibited character")
    _check_direction(mapped)
    return mapped


def _check_direction(text: str) -> None:
    """RFC 3454 §6: right-to-left text must begin and end so, and hold nothing left-to-right."""
    if not any(map(stringprep.in_table_d1, text)):
        return
    if any(map(stringprep.in_table_d2, text)):
        raise SaslprepError("mixed directions")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise SaslprepError("right-to-left text must begin and end so")
