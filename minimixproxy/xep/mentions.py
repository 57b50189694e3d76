"""Whether a message names somebody: in its text as clients look for it, or by what says so. Pure.

Explicit mentions (XEP-0513), references of type mention (XEP-0372), and replies (XEP-0461).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from urllib.parse import unquote

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.namespaces import NS_CLIENT, NS_MENTIONS, NS_REFERENCE, NS_REPLY
from minimixproxy.wire.children import children_of, children_once
from minimixproxy.wire.stanza import Stanza, UnusableStanza, start_tag_end

MAX_MENTIONS = 100  # of one message that are looked at
_EXPLICIT = frozenset({(NS_MENTIONS, "mention"), (NS_REFERENCE, "reference"), (NS_REPLY, "reply")})
_SPECIAL = re.compile("[&<>'\"]")
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
    pattern = _pattern(who.nick.strip(), who.bare)
    text = message.raw[start_tag_end(message.raw) :].decode("utf-8", "replace")
    # Mostly nothing like it is there at all, and no parser is needed to see that.
    if "&#" not in text and _SPECIAL.search(who.nick) is None and pattern.search(text) is None:
        return False
    bodies = (child for child in children_once(message) if (child.uri, child.name) == (NS_CLIENT, "body"))
    return any(pattern.search(_text(body)) is not None for body in bodies)


@lru_cache(maxsize=1024)
def _pattern(nick: str, bare: str) -> re.Pattern[str]:
    words = "|".join(re.escape(word) for word in (nick, bare) if word)
    return re.compile(rf"(?<![^\W\d_])(?:{words})(?![^\W\d_])", re.IGNORECASE)


def _text(body: Stanza) -> str:
    inside = body.raw[start_tag_end(body.raw) :]
    return unescape(inside.rpartition(b"</")[0].decode("utf-8", "replace"))


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
    if reference.get("type") != "mention" or not uri.startswith("xmpp:"):
        return False
    return _is_of(unquote(uri.removeprefix("xmpp:").partition("?")[0]), who)


def _reply(reply: Stanza, who: Somebody) -> bool:
    return _is_of(reply.get("to"), who)


_MEANS = {NS_MENTIONS: _mention, NS_REFERENCE: _reference, NS_REPLY: _reply}


def _is_of(address: str | None, who: Somebody) -> bool:
    try:
        found = parse_jid(address or "")
        return found.full == parse_jid(who.occupant).full or found.bare == parse_jid(who.bare).bare
    except InvalidJID:
        return False
