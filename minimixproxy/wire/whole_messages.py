"""Messages that are whole in one read, cut and addressed without a parser. Pure.

Many come at once: a page of an archive, a talk. So the work is done once for all of them, and little for each. What is
found is so if the bytes are well-formed, which expat, or who relays them, is to say.
"""

from __future__ import annotations

import re

from minimixproxy.namespaces import NS_CLIENT

_BEGIN, _END = b"<message", b"</message>"
_VALUE = rb"(?:'[^'&<\t\r\n]*'|\"[^\"&<\t\r\n]*\")"
_CLIENT = NS_CLIENT.encode()
# A start tag as most are written: it declares no other namespace, names no sender, and what it says stands there.
_PLAIN_TAG = re.compile(
    rb"<message(?: (?:to=(%b)|id=(%b)|xmlns=(?:'%b'|\"%b\")|(?!to=|id=|from=|xmlns)[a-z:]+=%b))*>"
    % (_VALUE, _VALUE, _CLIENT, _CLIENT, _VALUE)
)
# One byte is found much faster than two.
_EXCLAMATION, _QUESTION = b"!?"


def may_hide_tags(data: bytes) -> bool:
    """Tell whether there may be CDATA, a comment or a processing instruction, in which a tag is none."""
    return (_EXCLAMATION in data and b"<!" in data) or (_QUESTION in data and b"<?" in data)


def whole_messages(data: bytes) -> tuple[list[bytes], int]:
    """Return the whole messages that `data` begins with, and where the last of them ends; ([], 0): none, or who knows.

    No element in a message has its name but messages, as in an archive. So it ends where as many end tags of that name
    have come as start tags. One without end tag, `<message/>`, makes these too many: none ends behind it.
    """
    pieces = data.split(_END)
    messages: list[bytes] = []
    begun = opened = end = 0
    for number, piece in enumerate(pieces[:-1], 1):
        if not (opened or piece.startswith(_BEGIN)):
            break
        opened += piece.count(_BEGIN) - 1
        if not opened:
            messages.append(piece + _END if number - begun == 1 else _END.join((*pieces[begun:number], b"")))
            end += len(messages[-1])
            begun = number
    if messages and may_hide_tags(data):
        return [], 0
    return messages, end


def pieces_of(data: bytes, largest: int) -> list[bytes]:
    """Cut bytes into pieces of at most `largest`, behind a message where that is possible."""
    pieces: list[bytes] = []
    start, size = 0, len(data)
    while size - start > largest:
        end = data.rfind(_END, start, start + largest)
        end = end + len(_END) if end >= 0 else start + largest
        pieces.append(data[start:end])
        start = end
    return [*pieces, data[start:]]


def plain_tags(messages: bytes, number: int) -> list[tuple[bytes, bytes]] | None:
    """Return `to` and `id` of so many messages, as they are written (see `value_of`); None if a start tag is not plain.

    If there are messages in one of them, which tag is whose is not to be told so easily: None, too.
    """
    found = _PLAIN_TAG.findall(messages)
    return found if len(found) == number == messages.count(_BEGIN) else None


def value_of(written: bytes) -> str | None:
    """Return the value of an attribute of a plain tag; None if it is not there."""
    return written[1:-1].decode("utf-8", "replace") if written else None
