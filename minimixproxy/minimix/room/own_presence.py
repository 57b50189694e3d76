"""The one presence that a room sees for the account. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from minimixproxy.namespaces import NS_CAPS, NS_CLIENT, NS_MUC, NS_OCCUPANT_ID
from minimixproxy.wire.children import children_once, placed
from minimixproxy.wire.stanza import Stanza, escape, optional_attribute, parse_stanza, serialize
from minimixproxy.xep.muc import join_children, whole_number

# The join request; what is answered here; and what only a room may say of an occupant (XEP-0421).
_NOT_SHOWN = ((NS_MUC, "x"), (NS_CAPS, "c"), (NS_OCCUPANT_ID, "occupant-id"))

_SHOW = (NS_CLIENT, "show")
_LONGEST_SHOW = 200  # bytes; a longer one is none of those that there are

# Most available first (RFC 6121 §4.7.2.1 names the values, not their order).
_ORDER = {"chat": 0, "": 1, "dnd": 2, "away": 3, "xa": 4}


def _show_of(payload: bytes) -> str:
    if not payload.startswith(b"<show>"):
        return ""
    return payload[len(b"<show>") : payload.index(b"</show>")].strip().decode("utf-8")


def presence_payload(stanza: Stanza, caps: bytes) -> bytes:
    """Return what a client's presence shows, as the children of the account's own.

    The join request goes, and the client's caps (XEP-0115) are replaced by `caps`: who asks what they stand for
    is answered here.
    """
    children = [child for child in children_once(stanza) if (child.uri, child.name) not in _NOT_SHOWN]
    shows = [child for child in children if (child.uri, child.name) == _SHOW]
    # <show/> first, as _show_of looks for it: a status text cannot stand in its way.
    shown = [serialize(child.element) for child in shows[:1] if len(child.raw) <= _LONGEST_SHOW]
    shown += [placed(child, NS_CLIENT) for child in children if (child.uri, child.name) != _SHOW]
    return b"".join(shown) + caps


def presence_of(payload: bytes) -> Stanza:
    """Return a presence that shows a payload. Raises `UnusableStanza` if it is none."""
    return parse_stanza(b"<presence>%b</presence>" % payload)


def reduced_payload(payload: bytes, caps: bytes) -> bytes:
    """Return what is left of a presence that is too large to be sent: how available one is."""
    show = _show_of(payload)
    return (b"<show>%b</show>" % show.encode() if show and show in _ORDER else b"") + caps


def away_payload(text: str, caps: bytes) -> bytes:
    """Return what the room sees while no client is attached."""
    status = b"<status>%b</status>" % escape(text) if text else b""
    return b"<show>away</show>" + status + caps


def most_available(payloads: Iterable[bytes]) -> bytes | None:
    """Return the most available of several presences' payloads, the last of equals; None of none."""
    best: bytes | None = None
    rank = len(_ORDER)
    for payload in payloads:
        if (found := _ORDER.get(_show_of(payload), 1)) <= rank:
            best, rank = payload, found
    return best


def presence_to(room: str, nick: str, payload: bytes, stanza_id: str | None = None) -> bytes:
    """Return the presence stanza that shows `payload` in the room."""
    identifier = optional_attribute("id", stanza_id)
    return b"<presence to='%b'%b>%b</presence>" % (escape(f"{room}/{nick}"), identifier, payload)


def join_presence(stanza: Stanza, payload: bytes, occupant: str, history: int, stanza_id: str) -> bytes:
    """Return the presence by which the account joins, made from a client's own join.

    Its room password and other extensions stay. A wish for history becomes one for as much as is kept here
    (`history` messages), from which each client is then given what it wished for; with no wish, the room's default.
    """
    inner = []
    for child in join_children(stanza):
        if (child.uri, child.name) == (NS_MUC, "history"):
            inner.append(b"<history maxstanzas='%d'/>" % max(history, _maxstanzas(child)))
        else:
            inner.append(placed(child, NS_MUC))
    return b"<presence to='%b' id='%b'>%b<x xmlns='%b'>%b</x></presence>" % (
        escape(occupant),
        escape(stanza_id),
        payload,
        NS_MUC.encode(),
        b"".join(inner),
    )


def rejoin_presence(occupant: str, payload: bytes, password: str | None, since: str, stanza_id: str) -> bytes:
    """Return the presence by which the account joins without a client; `since`: a timestamp (XEP-0045 §7.2.13)."""
    secret = b"<password>%b</password>" % escape(password) if password is not None else b""
    return b"<presence to='%b' id='%b'>%b<x xmlns='%b'>%b<history since='%b'/></x></presence>" % (
        escape(occupant),
        escape(stanza_id),
        payload,
        NS_MUC.encode(),
        secret,
        escape(since),
    )


def _maxstanzas(history: Stanza) -> int:
    return min(whole_number(history.get("maxstanzas")) or 0, 10**6)
