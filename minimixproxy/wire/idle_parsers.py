"""Parsers that stand between two stanzas, for whichever stream needs one next. Pure.

Once all that came is read, a stream has nothing in its parser but what its header declares. A parser for each stream is
6 KiB that mostly do nothing; a new one for each read would cost as much as the stanza in it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from xml.parsers import expat

from minimixproxy.wire.trees import declarations

MOST = 64  # parsers, one for each kind of header
_NAME = re.compile(rb"<([^\s/>]+)")

IdleParser = tuple[expat.XMLParserType, int]
"""A parser without handlers, and how many bytes it was given."""


class IdleParsers:
    """One for each kind of header: a stream needs it for as long as a read is handled, mostly."""

    def __init__(self) -> None:
        self._idle: dict[bytes, IdleParser] = {}  # by the header that they stand behind; used last, last

    def __len__(self) -> int:
        return len(self._idle)

    def give(self, header: bytes, idle: IdleParser) -> None:
        """Keep a parser that stands behind this header, or behind nothing but whole stanzas there."""
        self._idle[header] = idle
        if len(self._idle) > MOST:
            del self._idle[next(iter(self._idle))]

    def take(self, header: bytes) -> IdleParser | None:
        """Return such a parser, if there is one."""
        return self._idle.pop(header, None)


IDLE = IdleParsers()  # of this process


def kind_of_header(header: bytes, namespaces: Mapping[str, str]) -> bytes:
    """Return what of a header matters to a parser: the name of its element, and what it declares."""
    named = _NAME.match(header)
    assert named is not None, "it was parsed"
    return _kind(named[1], tuple(sorted(namespaces.items())))


@lru_cache(maxsize=MOST)
def _kind(name: bytes, namespaces: tuple[tuple[str, str], ...]) -> bytes:
    return b"<" + name + declarations(dict(namespaces)) + b">"
