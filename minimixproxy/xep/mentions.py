"""Whether a message names somebody: in its text as clients look for it, or by what says so. Pure.

Explicit mentions (XEP-0513), references of type mention (XEP-0372), and replies (XEP-0461).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import unescape
from urllib.parse import unquote

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.namespaces import NS_CLIENT, NS_MENTIONS, NS_REFERENCE, NS_REPLY
from minimixproxy.wire.children import children_of, children_once
from minimixproxy.wire.stanza import Stanza, UnusableStanza, start_tag_end

MAX_MENTIONS = 100  # of one message that are looked at
LONGEST_ADDRESS = 256  # characters of a JID that is read
LONGEST_URI = 9 * LONGEST_ADDRESS  # the same, where each character may be three escapes
_EXPLICIT = frozenset({(NS_MENTIONS, "mention"), (NS_REFERENCE, "reference"), (NS_REPLY, "reply")})
_SPECIAL = re.compile("[&<>'\"]")
_ESCAPES = (("&lt;", "<"), ("&gt;", ">"), ("&apos;", "'"), ("&quot;", '"'), ("&amp;", "&"))
_DOT_ABOVE = "\u0307"  # what makes the small letter of U+0130 one of two characters
MAX_PLACES = 1000  # of a name in one text that are looked at
# Groups of XEP-0513 §3.2.2, and what the one who is mentioned has.
_ASSOCIATIONS = {
    **{f"{NS_MENTIONS}#{role}s": role for role in ("moderator", "participant", "visitor")},
    **{f"{NS_MENTIONS}#{affiliation}": affiliation for affiliation in ("owner", "admin", "member", "none")},
}


@dataclass(frozen=True, slots=True)
class Somebody:
    """Who may be named. `occupant`: the address in the room; `standing`: role and affiliation there."""

    bare: str
    occupant: str
    occupant_id: str | None = None
    standing: frozenset[str] = frozenset()

    @property
    def nick(self) -> str:
        """The nick in the room."""
        return self.occupant.partition("/")[2]


def names(message: Stanza, who: Somebody) -> bool:
    """Tell whether a body has the nick, or the bare JID, as a word of its own. Raises `UnusableStanza`.

    That is what clients look for, each a little differently; this finds what any of them finds.
    """
    if (NS_CLIENT, "body") not in message.payloads:
        return False
    words = [word for word in map(_folded, (who.nick.strip(), who.bare)) if word]
    text = message.raw[start_tag_end(message.raw) :].decode("utf-8", "replace")
    # Mostly nothing like it is there at all, and no parser is needed to see that.
    if "&#" not in text and _SPECIAL.search(who.nick) is None and not _has_one(text, words):
        return False
    bodies = (child for child in children_once(message) if (child.uri, child.name) == (NS_CLIENT, "body"))
    return any(_has_one(_text(body), words) for body in bodies)


def _folded(text: str) -> str:
    """Return the same for texts that differ in case only, as a regular expression has it, in a tenth of its time."""
    return text.upper().casefold().replace(_DOT_ABOVE, "")


def _has_one(text: str, words: Sequence[str]) -> bool:
    folded = _folded(text)
    return any(_stands_alone(folded, word) for word in words)


def _stands_alone(text: str, word: str) -> bool:
    """Tell whether a word is there as no part of a longer one; where it is very often, that is not looked into."""
    at, met = text.find(word), 0
    while at >= 0 and met < MAX_PLACES:
        if not _is_letter(text[max(0, at - 1) : at]) and not _is_letter(text[at + len(word) : at + len(word) + 1]):
            return True
        at, met = text.find(word, at + 1), met + 1
    return at >= 0


def _is_letter(character: str) -> bool:
    return character.isalnum() and not character.isdecimal()


def _text(body: Stanza) -> str:
    inside = body.raw[start_tag_end(body.raw) :].rpartition(b"</")[0].decode("utf-8", "replace")
    if "&#" in inside:
        return unescape(inside)
    for escaped, plain in _ESCAPES:
        inside = inside.replace(escaped, plain)
    return inside


def is_mentioned(message: Stanza, who: Somebody) -> bool:
    """Tell whether somebody, or a group that they belong to, is mentioned explicitly. Raises `UnusableStanza`."""
    if _EXPLICIT.isdisjoint(message.payloads):
        return False
    return any(_MEANS[child.uri](child, who) for child in _mentions(message))


def _mentions(message: Stanza) -> Iterator[Stanza]:
    found = [child for child in children_once(message) if (child.uri, child.name) in _EXPLICIT]
    yield from found[:MAX_MENTIONS]


def _mention(mention: Stanza, who: Somebody) -> bool:
    """XEP-0513: a person by occupant-id or JID, or a group; nobody is to be notified if a modifier says so.

    Of a group that nobody here knows anything about, everybody may be.
    """
    group = mention.get("mentions")
    if group is not None:
        is_meant = group not in _ASSOCIATIONS or _ASSOCIATIONS[group] in who.standing
    elif mention.get("occupantid") is not None:
        is_meant = mention.get("occupantid") == who.occupant_id
    else:
        is_meant = _is_of(mention.get("jid"), who)
    return is_meant and not _is_modified(mention)


def _is_modified(mention: Stanza) -> bool:
    """Tell whether a mention is not for notifying, or only for those who are active."""
    try:
        inside = children_of(mention)
    except UnusableStanza:
        return False
    return any(child.uri == NS_MENTIONS and child.name in ("noping", "active") for child in inside)


def _reference(reference: Stanza, who: Somebody) -> bool:
    uri = reference.get("uri") or ""
    if reference.get("type") != "mention" or not uri.startswith("xmpp:") or len(uri) > LONGEST_URI:
        return False
    return _is_of(unquote(uri.removeprefix("xmpp:").partition("?")[0]), who)


def _reply(reply: Stanza, who: Somebody) -> bool:
    return _is_of(reply.get("to"), who)


_MEANS = {NS_MENTIONS: _mention, NS_REFERENCE: _reference, NS_REPLY: _reply}


def _is_of(address: str | None, who: Somebody) -> bool:
    """Tell whether an address is somebody's. To prepare a long one takes long; it counts only as the room writes it."""
    if address is None or address in (who.occupant, who.bare):
        return address is not None
    if len(address) > LONGEST_ADDRESS:
        return False
    try:
        found = parse_jid(address)
        return found.full == parse_jid(who.occupant).full or found.bare == parse_jid(who.bare).bare
    except InvalidJID:
        return False
