"""Keeping unfinished markup from expat, which reads a tag or a reference from its beginning each time that more comes.

A tag that drips in would cost time in the square of its length. Since 2.6, and in the security updates of Debian 12
before that, expat tries a token that came in part again only when its length has doubled ("reparse deferral"). In a
stream that is too late: the stanza stays inside until the peer says something more. So nothing but whole tags and
references goes to expat.
"""

from __future__ import annotations

import re

_QUOTE_OR_END = re.compile(rb"[>'\"]")


class ExpatGuard:
    """A gate that holds back a tag or a reference until its end has come.

    What is well-formed never stays: the last byte of a stanza ends a tag. White space and text pass at once or with the
    next tag. Comments and their like, which no stanza may have, may pass in part: what comes behind is not looked at.
    """

    __slots__ = ("_quote", "_scanned", "unfinished")

    def __init__(self) -> None:
        self.unfinished = bytearray()  # what is held back: nothing, or from "<" or "&" on
        self._scanned: int  # how much of that has been looked at, if there is any
        self._quote: bytes  # the one that the held tag is within

    @property
    def held(self) -> int:
        """The number of bytes held back."""
        return len(self.unfinished)

    def release(self, data: bytes) -> bytes:
        """Take the next bytes of the stream; return those that may go to expat now, `data` itself if that is all."""
        if not self.unfinished:
            last = data.rfind(b"<")
            if data.startswith(b"/", last + 1) and last >= 0 and data.find(b">", last) == len(data) - 1:
                return data  # ends with an end tag: mostly so
            if last < 0 and b"&" not in data:
                return data
        held = self.unfinished
        before = len(held)
        held += data
        last = data.rfind(b"<")
        if last >= 0:  # ends whatever was held: no tag has "<" inside
            self._quote = b""
            return self._give(self._from_tag(before + last, before + last))
        if held.startswith(b"<"):
            return self._give(self._from_tag(0, self._scanned))
        if b";" not in data and b"&" not in data:  # of a reference
            return self._give(0)
        return self._give(self._text_end(before))

    def _from_tag(self, begin: int, scanned: int) -> int:
        """Return the end of what may go if the last tag begins here; up to `scanned` it has been looked at."""
        end = self._tag_end(scanned)
        return begin if end < 0 else self._text_end(end)

    def _give(self, end: int) -> bytes:
        given = bytes(self.unfinished[:end])
        del self.unfinished[:end]
        self._scanned = len(self.unfinished)
        return given

    def _tag_end(self, position: int) -> int:
        """Look for the end of a tag from here on, each byte once; -1 if it has not come."""
        held = self.unfinished
        while True:
            if self._quote:
                position = held.find(self._quote, position) + 1
                if not position:
                    return -1
                self._quote = b""
            found = _QUOTE_OR_END.search(held, position)
            if found is None:
                return -1
            position = found.end()
            if found[0] == b">":
                return position
            self._quote = bytes(found[0])

    def _text_end(self, begin: int) -> int:
        """Return the end of the text that begins here, without a reference that is unfinished."""
        held = self.unfinished
        reference = held.rfind(b"&", begin)
        return reference if reference >= 0 and held.find(b";", reference) < 0 else len(held)
