"""Stream management (XEP-0198, version 1.6): its elements, read and built. No state."""

from __future__ import annotations

import re
from typing import NamedTuple

from minimixproxy.namespaces import NS_SM3, NS_STANZAS, NS_STREAM_ERRORS
from minimixproxy.wire.stanza import Stanza, escape, optional_attribute
from minimixproxy.xep.stream_headers import STREAM_END

_NS = NS_SM3.encode()
FEATURE = b"<sm xmlns='%b'/>" % _NS
REQUEST = b"<r xmlns='%b'/>" % _NS
ENABLE = b"<enable xmlns='%b' resume='true'/>" % _NS
_H = b"([0-9]{1,10})"
# As libraries write it: the two attributes in either order, with either quotes.
_BARE = re.compile(
    b"|".join(
        pattern.replace(b"'", quote)
        for pattern in (
            b"<a xmlns='%b' h='([0-9]{1,10})' ?/>" % _NS,
            b"<a h='([0-9]{1,10})' xmlns='%b' ?/>" % _NS,
        )
        for quote in (b"'", b'"')
    )
)
MAX_ID = 4000  # characters of an id (§5: "up to 4000 bytes")
COUNTED = frozenset({"iq", "message", "presence"})  # only stanzas are, no other elements (§4)


class BadElement(Exception):
    """An element has not what it must have. `str()` says what is missing."""


class Enabled(NamedTuple):
    """The answer to `<enable/>`. `id` "": the stream cannot be resumed; `max`: seconds for that, None if not said."""

    id: str
    max: int | None
    location: str


class Resume(NamedTuple):
    """`<resume/>` or `<resumed/>`."""

    previd: str
    h: int


def is_of_stream_management(stanza: Stanza) -> bool:
    """Tell whether an element is one of those here."""
    return stanza.uri == NS_SM3


def is_offered(features: Stanza) -> bool:
    """Tell whether a server offers stream management."""
    return features.has_payload(NS_SM3, "sm")


# Built --------------------------------------------------------------------------------------------------------------


def acknowledgement(h: int) -> bytes:
    """Return `<a/>`."""
    return b"<a xmlns='%b' h='%d'/>" % (_NS, h)


def enabled(id: str, max: int, location: str = "") -> bytes:
    """Return the answer to `<enable/>`; `id` "": the stream cannot be resumed."""
    resumable = b" id='%b' resume='true' max='%d'" % (escape(id), max) if id else b""
    return b"<enabled xmlns='%b'%b%b/>" % (_NS, resumable, optional_attribute("location", location or None))


def resume(previd: str, h: int) -> bytes:
    """Return `<resume/>`."""
    return b"<resume xmlns='%b' previd='%b' h='%d'/>" % (_NS, escape(previd), h)


def resumed(previd: str, h: int) -> bytes:
    """Return the answer to `<resume/>`."""
    return b"<resumed xmlns='%b' previd='%b' h='%d'/>" % (_NS, escape(previd), h)


def failed(condition: str, h: int | None = None) -> bytes:
    """Return the answer to what cannot be done; `h`: how many stanzas of the stream to be resumed were handled (§5)."""
    handled = b" h='%d'" % h if h is not None else b""
    return b"<failed xmlns='%b'%b><%b xmlns='%b'/></failed>" % (_NS, handled, condition.encode(), NS_STANZAS.encode())


def handled_count_too_high(h: int, sent: int) -> bytes:
    """Return the stream error for an acknowledgement of what was never sent (§4), with the end of the stream."""
    cause = b"<handled-count-too-high xmlns='%b' h='%d' send-count='%d'/>" % (_NS, h, sent)
    condition = b"<undefined-condition xmlns='%b'/>" % NS_STREAM_ERRORS.encode()
    return b"<stream:error>%b%b</stream:error>%b" % (condition, cause, STREAM_END)


# Read ---------------------------------------------------------------------------------------------------------------


def handled_of(stanza: Stanza) -> int:
    """Return the `h` of `<a/>`, `<resume/>`, `<resumed/>`. Raises `BadElement`: it is no number of 32 bits."""
    text = stanza.get("h") or ""
    if not (text.isascii() and text.isdigit() and len(text) <= 10) or int(text) >= 2**32:
        raise BadElement("'h' is no number of 32 bits")
    return int(text)


def bare_acknowledgement(data: bytes) -> int | None:
    """Return the `h` of bytes that are an `<a/>` and nothing else, in a stream of XMPP; None: look at them properly."""
    found = _BARE.fullmatch(data)
    if found is None:
        return None
    h = int(found[found.lastindex or 0])
    return h if h < 2**32 else None


def handled_of_failed(stanza: Stanza) -> int | None:
    """Return the `h` of `<failed/>`; None if it has none that can be used."""
    try:
        return handled_of(stanza)
    except BadElement:
        return None


def resume_of(stanza: Stanza) -> Resume:
    """Read `<resume/>` or `<resumed/>`. Raises `BadElement`."""
    previd = stanza.get("previd") or ""
    if not previd or len(previd) > MAX_ID:
        raise BadElement("no usable 'previd'")
    return Resume(previd, handled_of(stanza))


def wants_resumption(enable: Stanza) -> bool:
    """Tell whether a client that enables stream management wants to be able to resume."""
    return enable.get("resume") in ("true", "1")


def wanted_max(enable: Stanza) -> int | None:
    """Return for how many seconds a client wants to be able to resume; None if it does not say so usably."""
    return _seconds(enable.get("max"))


def enabled_of(stanza: Stanza) -> Enabled:
    """Read `<enabled/>`; an id that cannot be used is as none."""
    stream_id = stanza.get("id") or ""
    resumable = stanza.get("resume") in ("true", "1") and len(stream_id) <= MAX_ID
    return Enabled(stream_id if resumable else "", _seconds(stanza.get("max")), stanza.get("location") or "")


def _seconds(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 9 else None
