"""Streams of this process that lead back to it: told by their ids, whatever relays and names are in between. No I/O.

A server of a domain that is the proxy itself would have it log in at itself, again and again.
"""

from __future__ import annotations

import hmac
from functools import cache
from secrets import token_bytes, token_hex

_NONCE = 16  # bytes
_MARK = 8


def new_id() -> str:
    """Return the id of a stream towards a client, which cannot be guessed (RFC 6120 §4.7.3)."""
    nonce = token_hex(_NONCE)
    return nonce + _mark(nonce)


def is_own(stream_id: str) -> bool:
    """Tell whether this process has given that id."""
    nonce, mark = stream_id[: 2 * _NONCE], stream_id[2 * _NONCE :]
    return stream_id.isascii() and len(mark) == 2 * _MARK and hmac.compare_digest(mark, _mark(nonce))


def _mark(nonce: str) -> str:
    return hmac.new(_secret(), nonce.encode("ascii"), "sha256").hexdigest()[: 2 * _MARK]


@cache
def _secret() -> bytes:
    """Return what tells this process from others; drawn when first asked for, not shared by forked processes."""
    return token_bytes(32)
