"""A room's presence without what nobody needs in order to know who is there. Pure."""

from __future__ import annotations

import re
from xml.parsers import expat

from minimixproxy.namespaces import NS_CLIENT, NS_MUC_USER, NS_OCCUPANT_ID, NS_STREAM
from minimixproxy.wire.qualified_names import SEPARATOR
from minimixproxy.wire.stanza import MalformedStanza, Stanza, escape
from minimixproxy.xep import muc

MAX_TEXT = 1024  # characters of a status, or of an attribute, that are kept
MAX_WHOLE = 16 * 1024  # bytes of a presence that is read again and again
_SELF = re.compile(rb"code[ \t\r\n]*=[ \t\r\n]*['\"]110['\"]")
_ITEM = ("affiliation", "role", "jid", "nick")
# Names as expat gives them here.
_X, _ROOM_ITEM, _STATUS_CODE = (f"{NS_MUC_USER}{SEPARATOR}{name}" for name in ("x", "item", "status"))
_OCCUPANT_ID = f"{NS_OCCUPANT_ID}{SEPARATOR}occupant-id"
_TEXTS = {f"{NS_CLIENT}{SEPARATOR}{name}": name for name in ("show", "status")}


def stripped(presence: Stanza) -> bytes:
    """Return a presence of a room with its kind, who it is of, show, status, item and occupant-id, and nothing else.

    Texts that are longer than `MAX_TEXT` are left out, so that the result is small whatever it is made of. It takes no
    tree, which would cost a hostile stanza many times its size.
    """
    return _Reader(presence).read()


def readable_quickly(presence: Stanza) -> Stanza:
    """Return a presence as it is, or `stripped` if it is large: the account's own is read for each session that joins.

    A client of the account may have filled it with 10,000 elements, which take some 15 ms each time.
    """
    if len(presence.raw) <= MAX_WHOLE:
        return presence
    return Stanza(stripped(presence), presence.uri, presence.name, presence.attributes, None, {"": NS_CLIENT})


def is_own(presence: Stanza) -> bool:
    """Tell, without a tree, whether a room's presence has the status code 110: it is the receiver's own."""
    raw = presence.raw
    return b"110" in raw and _SELF.search(raw) is not None and muc.SELF in _Reader(presence).codes()


class _Reader:
    """One pass over the stanza: the first two levels in it are looked at."""

    def __init__(self, presence: Stanza) -> None:
        self._presence = presence
        self._path: list[str] = []
        self._texts: dict[str, list[str]] = {}
        self._item: dict[str, str] = {}
        self._codes: list[str] = []
        self._occupant_id: str | None = None

    def read(self) -> bytes:
        self._parse()
        return self._written()

    def codes(self) -> list[str]:
        self._parse()
        return self._codes

    def _parse(self) -> None:
        raw = self._presence.self_contained()
        parser = expat.ParserCreate("UTF-8", SEPARATOR)
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.buffer_text = True  # else each line, and each entity, is one piece
        wrapped = b"<w xmlns='%b' xmlns:stream='%b'>%b</w>" % (NS_CLIENT.encode(), NS_STREAM.encode(), raw)
        try:
            parser.Parse(wrapped, True)
        except expat.ExpatError as error:
            raise MalformedStanza(str(error)) from error

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name if len(self._path) < 4 else "")
        depth = len(self._path)
        if depth == 3 and name == _OCCUPANT_ID and _is_short(attributes.get("id")):
            self._occupant_id = attributes["id"]
        elif depth == 4 and self._path[2] == _X:
            if name == _ROOM_ITEM and not self._item:
                self._item = {key: attributes[key] for key in _ITEM if _is_short(attributes.get(key))}
            elif name == _STATUS_CODE and len(self._codes) < 20 and _is_short(attributes.get("code")):
                self._codes.append(attributes["code"])

    def _end(self, _name: str) -> None:
        self._path.pop()

    def _text(self, text: str) -> None:
        if len(self._path) == 3 and self._path[2] in _TEXTS:
            self._texts.setdefault(_TEXTS[self._path[2]], []).append(text)

    def _written(self) -> bytes:
        attributes = {key: self._presence.get(key) for key in ("type", "from", "to")}
        texts = {name: "".join(pieces) for name, pieces in self._texts.items()}
        shown = [f"<{name}>%b</{name}>".encode() % escape(text) for name, text in texts.items() if _is_short(text)]
        codes = [b"<status code='%b'/>" % escape(code) for code in self._codes]
        occupant_id = b""
        if self._occupant_id is not None:
            occupant_id = b"<occupant-id xmlns='%b' id='%b'/>" % (NS_OCCUPANT_ID.encode(), escape(self._occupant_id))
        return b"<presence%b>%b<x xmlns='%b'><item%b/>%b</x>%b</presence>" % (
            _attributes(attributes),
            b"".join(shown),
            NS_MUC_USER.encode(),
            _attributes(self._item),
            b"".join(codes),
            occupant_id,
        )


def _is_short(text: str | None) -> bool:
    return text is not None and len(text) <= MAX_TEXT


def _attributes(attributes: dict[str, str | None] | dict[str, str]) -> bytes:
    return b"".join(b" %b='%b'" % (key.encode(), escape(value)) for key, value in attributes.items() if value)
