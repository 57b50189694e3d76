"""Targets: what stands in attributes and means something. JIDs, times, translated addresses (JAT)."""

from __future__ import annotations

import math
import re
import stringprep
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from fuzz.material import Material
from fuzz.target import Target, same
from minimixproxy.clientproxy.jat import Translator, UnknownAddress, unescape
from minimixproxy.jids import MAX_PART, Address, InvalidJID, Whose, parse_jid, prepare_local, prepare_resource, whose
from minimixproxy.xep.delays import LAST, format_time, parse_time, possible_time

try:
    from aioxmpp.stringprep import nodeprep, resourceprep
except ImportError:  # not for every Python: see setup.cfg
    _PREPARERS: tuple[tuple[Callable[[str], str], Callable[[str], str]], ...] = ()
else:
    _PREPARERS = (prepare_local, nodeprep), (prepare_resource, resourceprep)

# JIDs

_JIDS = (
    "Alice@Example.ORG/Phone",
    "room@conference.example.org/nick@home/x",
    "straße@bücher.example./\u212b",
    "\u0130\u05d0@\uff0e\u3002b/\u0627\u00ad",
    "a\\40b@c/ d ",
    "@/",
    "a@b\u3002/\U0001f389\u1e9e",
    "xn--bcher-kva.example",
)


def parse_address(data: bytes) -> None:
    """Any text as a JID: what is one stays as it is when it is read again, and others prepare it alike."""
    text = data.decode("utf-8", "ignore")
    try:
        address = parse_jid(text)
    except InvalidJID:
        return
    same(parse_jid(address.full), address, "prepared twice")
    same(parse_jid(address.bare).full, address.bare, "a bare JID prepared twice")
    for part in (address.local, address.domain, address.resource):
        if part is not None and not 0 < len(part.encode()) <= MAX_PART:
            raise AssertionError("a part is empty or too long")
    bare = Whose.ACCOUNT if address.resource is None else Whose.STREAM
    same(whose(text, address.full), bare, "whose it is")


def prepare(data: bytes) -> None:
    """A local part and a resource: as another implementation prepares them, for characters of Unicode 3.2.

    Python's `stringprep` turns U+04C0 into a letter that is younger, and the other one refuses that; RFC 3454 does not.
    """
    text = data.decode("utf-8", "ignore")
    if any(map(stringprep.in_table_a1, text + text.lower())):
        return
    for ours, theirs in _PREPARERS:
        same(_prepared(ours, text), _prepared(theirs, text), ours.__name__)


def _prepared(function: Callable[[str], str], text: str) -> str | None:
    try:
        prepared = function(text)
    except ValueError:
        return None
    return prepared if 0 < len(prepared.encode()) <= MAX_PART and len(text) <= MAX_PART else None


# Times

_TIMES = (
    "2002-09-10T23:08:25Z",
    "2002-09-10T23:08:25.123456+02:00",
    "1969-07-21T02:56:15-05:00",
    "2016-12-31T23:59:60Z",
    "9999-12-31T23:59:59-12:00",
    "20020910T23:08:25",
    "2000-02-29 24:00:00z",
)
_STRICT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def read_time(data: bytes) -> None:
    """Any text as a time of XEP-0082: a number or none; the standard library reads the same."""
    text = data.decode("utf-8", "ignore")
    found = parse_time(text)
    if found is not None and not (math.isfinite(found) and abs(found) < 1e12):
        raise AssertionError(f"{found} is no time")
    if _STRICT.fullmatch(text):
        expected = _standard(text)
        if expected is not None and (found is None or abs(found - expected) > 1e-5):
            raise AssertionError(f"{found} is not {expected}")
    if found is not None:
        _write_time(found)


def _standard(text: str) -> float | None:
    try:
        return (datetime.fromisoformat(text) - _BEGIN) / timedelta(seconds=1)
    except ValueError:
        return None


def _write_time(seconds: float) -> None:
    again = parse_time(format_time(seconds))
    if again is None or abs(again - min(max(0.0, seconds), LAST)) > 0.0011:
        raise AssertionError(f"{seconds} is written as {format_time(seconds)}")
    possible = possible_time(seconds, 1e9)
    if not 0 <= possible <= 1e9:
        raise AssertionError(f"{possible} is not possible")


# JAT

_DOMAIN = "proxy.example.org"
_ADDRESSES = (*_JIDS, "\\40token@x", "a" * 1023 + "@b", "a@b/" + "c" * 1023, "@mfzwizltoq", "a\\5c40b\\2fc@d")


def translate(data: bytes) -> None:
    """There and back for whoever has a JID; what is made up stands for a JID, or for nobody."""
    text = data.decode("utf-8", "ignore")
    translator = Translator(_DOMAIN, b"key", lambda: 0.0, max_tokens=4)
    try:
        jid = parse_jid(text)
    except InvalidJID:
        jid = None
    if jid is not None:
        same(translator.jid_of(parse_jid(translator.address_of(jid.full))), jid, "there and back")
        same(translator.jid_of(parse_jid(translator.contact_of(jid.bare))).full, jid.bare, "a contact and back")
    unescape(text)
    material = Material(data)
    form, rest = material.number(3), material.text()
    for made_up in (f"{_DOMAIN}/{rest}", f"{rest}@{_DOMAIN}", f"{rest}@{_DOMAIN}/{rest}")[form : form + 1]:
        _is_a_jid_or_nobody(translator, made_up)
    if len(translator) > 4:
        raise AssertionError("too many tokens")


def _is_a_jid_or_nobody(translator: Translator, text: str) -> None:
    try:
        found: Address = translator.jid_of(parse_jid(text))
    except (UnknownAddress, InvalidJID):
        return
    same(parse_jid(found.full), found, "a translated JID prepared again")


def _utf8(texts: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(text.encode() for text in texts)


TARGETS = {
    "jid": Target(parse_address, _utf8(_JIDS)),
    "stringprep": Target(prepare, _utf8(_JIDS)),
    "time": Target(read_time, _utf8(_TIMES)),
    "jat": Target(translate, _utf8(_ADDRESSES)),
}
