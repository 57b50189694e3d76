"""Tokens of FAST (XEP-0484) in SASL2: offered, asked for, used, and given. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from twisted.words.xish import domish

from minimixproxy.namespaces import NS_FAST
from minimixproxy.wire.stanza import escape
from minimixproxy.xep.delays import format_time
from minimixproxy.xep.sasl import SaslFailure

_NS = NS_FAST.encode()


class Use(NamedTuple):
    """What `<fast/>` says: the login is by a token. `counted`: the number of this use, None if it has none."""

    counted: int | None
    invalidate: bool


def feature(mechanisms: Iterable[str]) -> bytes:
    """Return what is offered inline; nothing if there are no mechanisms."""
    names = b"".join(b"<mechanism>%b</mechanism>" % name.encode() for name in mechanisms)
    return b"<fast xmlns='%b'>%b</fast>" % (_NS, names) if names else b""


def token(secret: str, expires: float) -> bytes:
    """Return a token for a client. `expires`: in Unix time."""
    return b"<token xmlns='%b' expiry='%b' token='%b'/>" % (_NS, format_time(expires).encode(), escape(secret))


def use_of(fast: domish.Element) -> Use:
    """Read `<fast/>`. Raises `SaslFailure`."""
    text = str(fast.getAttribute("count", ""))
    if text and not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise SaslFailure("malformed-request", "count is no number")
    return Use(int(text) if text else None, fast.getAttribute("invalidate") in ("1", "true"))
