"""Finding start tags that are not to be given to expat: they say too much that has to do with namespaces. Pure.

Expat compares each attribute that has a prefix with the others, and writes the name of its namespace before it: 22,000
of them held the reactor for 80 ms.
"""

from __future__ import annotations

import re

from minimixproxy.wire.long_namespaces import MAX_NAMESPACE, has_long_namespace

MOST_PREFIXED = 1000  # attributes with a prefix of one start tag; the most in use have a few
# No tag has a "<" inside, and the shortest attribute with a prefix is seven bytes: ` p:a=''`.
_LEAST = 7 * MOST_PREFIXED
_LONG = re.compile(rb"<[^<]{%d}" % _LEAST)
_WS = rb"[ \t\r\n]"
_VALUE = _WS + rb"*=" + _WS + rb"*(?:\"[^\"]*\"|'[^']*')"
_PLAIN = _WS + rb"+(?:xmlns:[^ \t\r\n=/>]+|[^ \t\r\n=/>:]+)" + _VALUE  # or a declaration
_PREFIXED = _WS + rb"+(?!xmlns:)[^ \t\r\n=/>:]+:[^ \t\r\n=/>]+" + _VALUE
# There is one way to match each attribute, so to give one back costs no more than to take it.
_MANY = re.compile(rb"<[^ \t\r\n/>!?]+(?:(?:%b)*%b){%d}" % (_PLAIN, _PREFIXED, MOST_PREFIXED + 1))


def large_tag(data: bytes | bytearray) -> str:
    """Return what is too large about a whole start tag in there, or ""."""
    if max(map(len, data.split(b"<"))) <= MAX_NAMESPACE:  # no tag is so long: mostly so
        return ""
    if has_long_namespace(data):
        return "namespace too long"
    if len(data) > _LEAST and has_many_prefixed(data):
        return "too many attributes with a prefix"
    return ""


def has_many_prefixed(data: bytes | bytearray) -> bool:
    """Tell whether a start tag in there has more than `MOST_PREFIXED` attributes with a prefix."""
    return any(_has_many(data, long.start(), data.find(b"<", long.end())) for long in _LONG.finditer(data))


def _has_many(data: bytes | bytearray, begin: int, end: int) -> bool:
    """Look at what begins there and ends before the next tag, if there is one."""
    colons = data.count(b":", begin, end) if end >= 0 else data.count(b":", begin)
    return colons > MOST_PREFIXED and _MANY.match(data, begin) is not None
