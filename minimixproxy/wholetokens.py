"""Keeping unfinished markup from expat, where expat would then wait for more than the rest of it.

Since 2.6, and in the security updates of Debian 12 before that, expat tries a token that came in part again only when
its length has doubled ("reparse deferral"). In a stream that is too late: the stanza stays inside until the peer says
something more. Newer Pythons can switch that off; for others nothing but whole tags and references goes to expat.
"""

from __future__ import annotations

import re
from xml.parsers import expat

_QUOTE_OR_END = re.compile(rb"[>'\"]")
_LONGEST_REFERENCE = 64  # bytes; what is longer is none, or meant to cost us time


def expat_defers() -> bool:
    """Tell whether expat defers here and cannot be told not to."""
    parser = expat.ParserCreate()
    if hasattr(parser, "SetReparseDeferralEnabled"):
        return False
    started: list[str] = []
    parser.StartElementHandler = lambda name, _attributes: started.append(name)
    for piece in (b"<a>", b"<" + b"b" * 50, b"/>"):
        parser.Parse(piece, False)
    return len(started) < 2


class WholeTokens:
    """A gate that holds back a tag or a reference until its end has come.

    What is well-formed never stays: the last byte of a stanza ends a tag. White space, text and what no stanza may have
    pass at once or with the next tag.
    """

    __slots__ = ("_held", "_quote")

    def __init__(self) -> None:
        self._held = bytearray()  # nothing, or from "<" or "&" on
        self._quote = b""  # the one that the held tag is within

    @property
    def held(self) -> int:
        """The number of bytes held back."""
        return len(self._held)

    def release(self, data: bytes) -> bytes:
        """Take the next bytes of the stream; return those that may go to expat now."""
        held = self._held
        scanned = len(held)
        begin = data.rfind(b"<")
        if begin < 0 and not scanned:
            text_end = self._text_end(data, 0)
            self._held = bytearray(data[text_end:])
            return data[:text_end]
        held += data
        if begin >= 0:  # ends whatever was held: no tag has "<" inside
            begin += scanned
            self._quote = b""
            end = self._tag_end(begin)
        else:
            begin = 0
            end = self._tag_end(scanned) if held.startswith(b"<") else 0
        if end < 0:
            return self._give(begin)
        return self._give(self._text_end(held, end))

    def _give(self, end: int) -> bytes:
        given = bytes(self._held[:end])
        del self._held[:end]
        return given

    def _tag_end(self, position: int) -> int:
        """Look for the end of a tag from here on, each byte once; -1 if it has not come."""
        held = self._held
        while position >= 0:
            if self._quote:
                position = held.find(self._quote, position) + 1
                if not position:
                    return -1
                self._quote = b""
                continue
            found = _QUOTE_OR_END.search(held, position)
            if found is None:
                return -1
            position = found.end()
            if found[0] == b">":
                return position
            self._quote = bytes(found[0])
        return -1

    @staticmethod
    def _text_end(data: bytes | bytearray, begin: int) -> int:
        """The end of text, without a reference that is unfinished."""
        reference = data.rfind(b"&", max(begin, len(data) - _LONGEST_REFERENCE))
        return reference if reference >= 0 and data.find(b";", reference) < 0 else len(data)
