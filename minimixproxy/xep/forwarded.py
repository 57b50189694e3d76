"""Messages that others have in them (XEP-0297), found in the bytes: in carbons, in results of archives. Pure.

Each of an account's clients gets one of its own, and a tree of a hostile one takes ten times as long.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass
from xml.parsers import expat

from minimixproxy.namespaces import NS_CLIENT, NS_FORWARD, NS_MUC_USER
from minimixproxy.wire.qualified_names import SEPARATOR
from minimixproxy.wire.trees import MalformedStanza, declared


def qualified(uri: str, name: str) -> str:
    """Return a name as expat tells it."""
    return f"{uri}{SEPARATOR}{name}"


_FORWARDED, _MESSAGE = {qualified(NS_FORWARD, "forwarded")}, {qualified(NS_CLIENT, "message")}
_PRIVATE = qualified(NS_MUC_USER, "x")


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Where a message is in the bytes of another: its start tag begins at `begin`, its end tag at `end`.

    `is_private`: it says that it is a room's private one (XEP-0045 §7.5), or is empty, and needs not say so.
    """

    attributes: Mapping[str, str]
    begin: int
    end: int
    is_private: bool


def forwarded_in(raw: bytes, wrappers: Container[str]) -> list[Forwarded]:
    """Return the messages that are in `<forwarded/>` in one of these elements of a stanza: one, if it is well made.

    Raises `MalformedStanza`.
    """
    return _Search(raw, wrappers).found


class _Search:
    """One pass of expat; what stands deeper than the messages is counted, and else passed over."""

    def __init__(self, raw: bytes, wrappers: Container[str]) -> None:
        self.found: list[Forwarded] = []
        self._path = (None, None, wrappers, _FORWARDED, _MESSAGE)  # from the wrapper that is put around the stanza
        self._depth = self._matched = 0  # levels, and how many of them are on that path
        self._begun, self._attributes = 0, dict[str, str]()
        self._filled = self._is_private = False
        self._before = b"<wrapper" + declared({"": NS_CLIENT}) + b">"
        self._raw = raw
        # Names are not to be remembered: here they are met once, and may be very many.
        self._parser = expat.ParserCreate("UTF-8", SEPARATOR, None)
        self._parser.StartElementHandler = self._on_start
        self._parser.EndElementHandler = self._on_end
        try:
            self._parser.Parse(self._before + raw + b"</wrapper>", True)
        except expat.ExpatError as error:  # a server's stream is not checked
            raise MalformedStanza(str(error)) from error
        finally:
            del self._parser  # its callbacks refer back to us

    def _on_start(self, name: str, attributes: dict[str, str]) -> None:
        depth = self._depth
        self._depth = depth + 1
        if self._matched != depth:
            return
        if depth == len(self._path):
            self._filled = True
            self._is_private = self._is_private or name == _PRIVATE
            return
        wanted = self._path[depth]
        if wanted is None or name in wanted:
            self._matched = depth + 1
            self._begun, self._attributes = self._position(), attributes
            self._filled = self._is_private = False

    def _on_end(self, _name: str) -> None:
        depth = self._depth
        self._depth = depth - 1
        if self._matched != depth:
            return
        self._matched = depth - 1
        if depth == len(self._path):
            end = self._position()
            is_empty = not self._filled and self._raw[end - 2 : end] == b"/>"  # expat is behind it then
            self.found.append(Forwarded(self._attributes, self._begun, end, self._is_private or is_empty))

    def _position(self) -> int:
        return self._parser.CurrentByteIndex - len(self._before)
