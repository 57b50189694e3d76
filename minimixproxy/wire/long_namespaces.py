"""Finding names of namespaces that are too long to be given to expat. Pure.

Expat writes the name of its namespace before each attribute, and before each element that we are told of. A stanza of
80 KB, half of it one name and half attributes with its prefix, took 0.75 s and 1 GB; it grows with the square.
"""

from __future__ import annotations

import re

from minimixproxy.wire.stanza import start_tag_attributes, start_tag_end
from minimixproxy.wire.trees import MalformedStanza

MAX_NAMESPACE = 256  # bytes; the longest ones in use have a hundred
_LONG_VALUE = re.compile(rb"=[ \t\r\n]*(?:\"[^\"<]{%d}|'[^'<]{%d})" % (MAX_NAMESPACE + 1, MAX_NAMESPACE + 1))


def has_long_namespace(data: bytes | bytearray) -> bool:
    """Tell whether a whole start tag in there declares a namespace of more than `MAX_NAMESPACE` bytes.

    Each byte is looked at a few times at most, and what may be text only where it looks like a declaration.
    """
    if len(data) <= MAX_NAMESPACE:
        return False
    position = 0
    while (found := _LONG_VALUE.search(data, position)) is not None:
        begin = data.rfind(b"<", position, found.start())
        try:
            end = start_tag_end(data, begin) if begin >= 0 else -1
        except MalformedStanza:  # an end tag, behind which this is text; or no XML, as expat will find
            end = -1
        if end > found.start() and _declares_long(bytes(data[begin:end])):
            return True
        position = max(end, found.end())
    return False


def _declares_long(tag: bytes) -> bool:
    attributes = start_tag_attributes(tag, 0)
    return any(len(value) > MAX_NAMESPACE and key.split(b":")[0] == b"xmlns" for key, value in attributes.items())
