"""XEP-0045 on the wire: readings of room stanzas, and the few stanzas that are made here. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import islice

from twisted.words.xish import domish

from minimixproxy.jids import InvalidJID, parse_jid
from minimixproxy.namespaces import (
    NS_CHATSTATES,
    NS_CLIENT,
    NS_HINTS,
    NS_MARKERS,
    NS_MUC,
    NS_MUC_USER,
    NS_OCCUPANT_ID,
    NS_OMEMO,
    NS_SID,
)
from minimixproxy.wire.children import children_once, first_of
from minimixproxy.wire.stanza import Stanza, escape, optional_attribute, parse_element, serialize
from minimixproxy.wire.trees import child

SELF = "110"
CREATED = "201"
NICK_MODIFIED = "210"
NON_ANONYMOUS = "100"
LOGGED = "170"
NICK_CHANGED = "303"
KICKED = "307"
TECHNICAL = "333"
MAX_CODES = 100  # elements beside each other among which status codes are looked for: a room says three or four

_STATUS = (NS_MUC_USER, "status")
_MARKER = (NS_MARKERS, "displayed")

# What is in a message that only tells of a chat state: hints (XEP-0334) and ids (XEP-0359) beside it, and the thread.
_PASSING = frozenset({NS_CHATSTATES, NS_HINTS, NS_SID})

# What one reads in a body-less message that is content all the same.
ENCRYPTED = frozenset((namespace, "encrypted") for namespace in NS_OMEMO)


def whole_number(text: str | None) -> int | None:
    """Return what a peer wrote as a number of messages, characters or seconds; None if it is none. 12 digits count."""
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return int(text[:12])


def is_join(stanza: Stanza) -> bool:
    """Tell whether a presence asks to enter a room (XEP-0045 §7.2.1)."""
    return stanza.get("type") is None and stanza.has_payload(NS_MUC, "x")


def password_of(stanza: Stanza) -> str | None:
    """Return the room password of a join, or None."""
    password = first_of(join_children(stanza), NS_MUC, "password")
    return str(password.element) if password is not None else None


def join_children(join: Stanza) -> tuple[Stanza, ...]:
    """Return what stands in the `<x/>` of a presence that asks to enter a room; () if there is none."""
    x = first_of(children_once(join), NS_MUC, "x") if join.has_payload(NS_MUC, "x") else None
    return children_once(x) if x is not None else ()


@lru_cache(maxsize=2)
def status_codes(stanza: Stanza) -> frozenset[str]:
    """Return the status codes in a room's presence or message; of one that several look at they are read once."""
    x = stanza.payload(NS_MUC_USER, "x")
    if x is None:
        return frozenset()
    statuses = (child for child in islice(x.elements(), MAX_CODES) if (child.uri, child.name) == _STATUS)
    return frozenset(str(status["code"]) for status in statuses if status.hasAttribute("code"))


def configuration_codes(message: Stanza) -> frozenset[str]:
    """Return what a room's own message says of its configuration (XEP-0045 §10.2.1); an occupant cannot say it."""
    if not message.has_payload(NS_MUC_USER, "x") or "/" in (message.get("from") or "/"):
        return frozenset()
    return status_codes(message)


def with_status_codes(stanza: Stanza, codes: Collection[str]) -> bytes:
    """Return a room presence with exactly `codes` as its status codes."""
    element = parse_element(stanza.self_contained(), {"": NS_CLIENT})
    x = child(element, NS_MUC_USER, "x")
    if x is None:
        x = element.addElement((NS_MUC_USER, "x"))
    x.children = [
        child for child in x.children if not (isinstance(child, domish.Element) and (child.uri, child.name) == _STATUS)
    ]
    for code in sorted(codes):
        x.addElement("status")["code"] = code
    return serialize(element)


def removal(
    occupant: str,
    to: str,
    codes: Iterable[str],
    shown: Stanza | None = None,
    request: Stanza | None = None,
    reason: str = "",
) -> bytes:
    """Return the unavailable self-presence by which a room shows someone out.

    `shown` is the last self-presence: affiliation, occupant-id, and in a non-anonymous room the address, are as there.
    `request` is the client's own unavailable presence, if that is what is answered: its id and status come back.
    `reason` is for the user to read (XEP-0045 §8.2).
    """
    stanza_id = request.get("id") if request is not None else None
    status = request.payload(NS_CLIENT, "status") if request is not None else None
    identifier = optional_attribute("id", stanza_id)
    item = item_of(shown)
    address = b" jid='%b'" % escape(to) if item is not None and item.hasAttribute("jid") else b""
    affiliation = escape(item.getAttribute("affiliation", "none")) if item is not None else b"none"
    explanation = b"<reason>%b</reason>" % escape(reason) if reason else b""
    return b"<presence type='unavailable' from='%b' to='%b'%b>%b<x xmlns='%b'>%b%b</x>%b</presence>" % (
        escape(occupant),
        escape(to),
        identifier,
        serialize(status) if status is not None else b"",
        NS_MUC_USER.encode(),
        b"<item%b affiliation='%b' role='none'>%b</item>" % (address, affiliation, explanation),
        b"".join(b"<status code='%b'/>" % code.encode() for code in codes),
        occupant_id_of(shown),
    )


def occupant_id_of(shown: Stanza | None) -> bytes:
    """Return the `<occupant-id/>` of the occupant that a room showed by this, for another presence of it; or nothing.

    XEP-0421 §4: every presence that a room sends for an occupant carries it.
    """
    found = shown.payload(NS_OCCUPANT_ID, "occupant-id") if shown is not None else None
    identifier = found.getAttribute("id") if found is not None else None
    if identifier is None:
        return b""
    return b"<occupant-id xmlns='%b' id='%b'/>" % (NS_OCCUPANT_ID.encode(), escape(identifier))


def item_of(stanza: Stanza | None) -> domish.Element | None:
    """Return the `<item/>` in a room's presence, or None."""
    x = stanza.payload(NS_MUC_USER, "x") if stanza is not None else None
    return child(x, NS_MUC_USER, "item")


def address_of(stanza: Stanza | None) -> str | None:
    """Return the real JID of an occupant, where a room shows it."""
    item = item_of(stanza)
    return item.getAttribute("jid") if item is not None else None


def is_destroyed(stanza: Stanza) -> bool:
    """Tell whether a presence says that the room exists no more (XEP-0045 §10.9)."""
    return child(stanza.payload(NS_MUC_USER, "x"), NS_MUC_USER, "destroy") is not None


def new_nick(stanza: Stanza, room: str) -> str | None:
    """Return the nick that a 303 announces; None if it announces none that can be."""
    item = item_of(stanza)
    nick = item.getAttribute("nick") if item is not None else None
    try:
        return nick if nick is not None and parse_jid(f"{room}/{nick}") else None
    except InvalidJID:
        return None


def join_error(room: str, nick: str, to: str, stanza_id: str | None, error: bytes) -> bytes:
    """Return a presence error that answers a join; `error` is the `<error/>` element."""
    return presence_error(room, nick, to, stanza_id, b"<x xmlns='%b'/>%b" % (NS_MUC.encode(), error))


def presence_error(room: str, nick: str, to: str, stanza_id: str | None, children: bytes) -> bytes:
    """Return a presence error in a room's name; `children` end with the `<error/>` element."""
    identifier = optional_attribute("id", stanza_id)
    occupant = escape(f"{room}/{nick}")
    return b"<presence type='error' from='%b' to='%b'%b>%b</presence>" % (occupant, escape(to), identifier, children)


def error_condition(stanza: Stanza) -> str:
    """Return the defined condition of an error stanza, "" when there is none."""
    error = stanza.payload(NS_CLIENT, "error")
    if error is None:
        return ""
    return next((str(child.name) for child in error.elements() if child.name != "text"), "")


def unavailable(room: str, nick: str, request: Stanza | None = None) -> bytes:
    """Return the presence that leaves a room, with the status text of the client's own."""
    status = request.payload(NS_CLIENT, "status") if request is not None else None
    inner = serialize(status) if status is not None else b""
    return b"<presence type='unavailable' to='%b'>%b</presence>" % (escape(f"{room}/{nick}"), inner)


def is_subject(stanza: Stanza) -> bool:
    """Tell whether a groupchat message sets the subject: with a body or a thread it is a message (XEP-0045 §8.1)."""
    return stanza.has_payload(NS_CLIENT, "subject") and not (
        stanza.has_payload(NS_CLIENT, "body") or stanza.has_payload(NS_CLIENT, "thread")
    )


def is_history(stanza: Stanza) -> bool:
    """Tell whether a groupchat message is worth keeping: content, not markers or chat states alone (XEP-0334 hints).

    Clients want markers (XEP-0333) to be stored: each of all occupants is too much, and no history.
    """
    payloads = stanza.payloads
    if is_subject(stanza) or (NS_HINTS, "no-store") in payloads or (NS_HINTS, "no-permanent-store") in payloads:
        return False
    if says_something(stanza):
        return True
    return (NS_HINTS, "store") in payloads and _MARKER not in payloads


def is_chat_state(stanza: Stanza) -> bool:
    """Tell whether a message says no more than what its sender does just now (XEP-0085)."""
    return all(uri in _PASSING or (uri, name) == (NS_CLIENT, "thread") for uri, name in stanza.payloads)


def says_something(stanza: Stanza) -> bool:
    """Tell whether a message is one for people: what is encrypted (XEP-0384) need not have a body beside it."""
    payloads = stanza.payloads
    return (NS_CLIENT, "body") in payloads or not ENCRYPTED.isdisjoint(payloads)
