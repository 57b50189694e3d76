"""Protection against lists of mechanisms that are tampered with on their way (XEP-0474, version 0.5). Pure.

What a server has offered is hashed into its challenge, and so into everything that the two ends prove to each other.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

# Neither can stand in XML.
_BETWEEN = b"\x1e"
_LISTS = b"\x1f"


class Offered(NamedTuple):
    """What a server offers on one stream, as it stands in the features: of SASL1, or of SASL2."""

    mechanisms: Sequence[str]
    bindings: Sequence[str] | None = None  # types of channel binding (XEP-0440); None: the server does not list them


def protection(hash_name: str, offered: Offered) -> bytes:
    """Return the value of `h` in a challenge. §4.1."""
    text = _joined(offered.mechanisms)
    if offered.bindings is not None:
        text += _LISTS + _joined(offered.bindings)
    return b64encode(hashlib.new(hash_name, text).digest())


def _joined(names: Sequence[str]) -> bytes:
    return _BETWEEN.join(sorted(name.encode("utf-8", "surrogatepass") for name in names))
