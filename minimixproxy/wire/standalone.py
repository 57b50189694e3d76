"""Elements of a stream that stand by themselves, as in messages of a WebSocket: they declare what they use. Pure."""

from __future__ import annotations

from minimixproxy.namespaces import NS_CLIENT, NS_STREAM
from minimixproxy.wire.stanza import rewrite, start_tag_attributes
from minimixproxy.wire.whole_messages import may_hide_tags

_STANZAS = (b"<message ", b"<presence ", b"<iq ")
_MESSAGE, _MESSAGE_END = b"<message ", b"</message>"
_CLIENT = b" xmlns='%b'" % NS_CLIENT.encode()
_DECLARED_MESSAGE = b"<message xmlns='%b' " % NS_CLIENT.encode()
_QUOTE, _DOUBLE_QUOTE = b"'\""  # as numbers: one byte is found faster so


def standalone(raw: bytes) -> bytes:
    """Return an element of a stream with its default namespace declared, and the prefix `stream` if it may be used."""
    return standalone_part(raw, 0, len(raw), b"stream:" in raw)


def standalone_part(data: bytes, start: int, end: int, prefixed: bool) -> bytes:
    """Return the element that stands there. `prefixed`: it may use the prefix `stream`."""
    if not prefixed and data.startswith(_STANZAS, start) and _is_plain(data[start : data.find(b">", start)]):
        name_end = data.find(b" ", start)
        return b"".join((data[start:name_end], _CLIENT, data[name_end:end]))
    return _slowly(data[start:end])


def standalone_messages(data: bytes) -> tuple[list[bytes], int]:
    """Return the message stanzas that `data` begins with, none of which uses a prefix, and where the last one ends.

    That is for what rooms say, of which every session has a copy: the work is done once for all that is written, and
    little for each. It comes to what `simple_stanza_end` and `standalone_part` find one by one, but returns none of
    them if any of them is unusual.
    """
    pieces = data.split(_MESSAGE_END)
    rest = pieces.pop()
    if data.count(b"<message") != len(pieces) or may_hide_tags(data):
        return [], 0
    messages: list[bytes] = []
    for piece in pieces:
        if piece.startswith(_DECLARED_MESSAGE):  # so are copies for a client that needs it
            messages.append(piece + _MESSAGE_END)
        elif piece.startswith(_MESSAGE) and _is_plain(piece[: piece.find(b">")]):
            messages.append(_DECLARED_MESSAGE + piece[len(_MESSAGE) :] + _MESSAGE_END)
        else:
            return [], 0
    return messages, len(data) - len(rest)


def _is_plain(tag: bytes) -> bool:
    """Tell of a start tag, up to its first `>`, whether it is all of it and surely declares no default namespace.

    Of one with one kind of quotes, an even number of them is whole: no `>` of a value was found. If `xmlns` is in there
    it may be part of a value.
    """
    return b"xmlns" not in tag and _DOUBLE_QUOTE not in tag and not tag.count(_QUOTE) % 2


def _slowly(raw: bytes) -> bytes:
    declared = start_tag_attributes(raw, 0)
    missing: dict[str, str | None] = {}
    if b"xmlns" not in declared:
        missing["xmlns"] = NS_CLIENT
    if b"stream:" in raw and b"xmlns:stream" not in declared:
        missing["xmlns:stream"] = NS_STREAM
    return rewrite(raw, missing) if missing else raw
