"""Messages of contacts that the server has for one session, read for push. Pure."""

from __future__ import annotations

from typing import NamedTuple

from minimixproxy.jids import InvalidJID, Whose, parse_jid, whose
from minimixproxy.minimix.interfaces.said import Calling
from minimixproxy.minimix.push.attention import shows_user
from minimixproxy.minimix.room.importance import calling
from minimixproxy.namespaces import NS_CARBONS, NS_CLIENT, NS_FORWARD, NS_PUBSUB
from minimixproxy.wire.stanza import Stanza, stanza_of
from minimixproxy.wire.trees import child
from minimixproxy.xep import displayed
from minimixproxy.xep.push import Disabling

#: In every stanza by which a push service disables itself (XEP-0357 §8).
DISABLED_MARK = b"affiliation"
LARGEST_DISABLING = 8 * 1024  # bytes of one; anybody may say what looks so, and that is read


class Told(NamedTuple):
    """A message of a contact: `peer` is its bare JID, `sender` the full one."""

    peer: str
    sender: str
    message: Stanza
    calling: Calling


def told_by_contact(stanza: Stanza, jid: str) -> Told | None:
    """Return a message for the session of `jid`, of somebody else, or the carbon of one (XEP-0280); None: neither."""
    if stanza.get("type") in ("error", "groupchat", "headline"):
        return None
    if whose(stanza.get("from"), jid) is Whose.ACCOUNT:
        inner = _copied(stanza)
        return _told(inner, jid) if inner is not None else None
    return _told(stanza, jid)


def _told(message: Stanza, jid: str) -> Told | None:
    sender = message.get("from")
    if sender is None or message.get("type") in ("error", "groupchat", "headline"):
        return None
    try:
        address = parse_jid(sender)
    except InvalidJID:
        return None
    if address.bare == parse_jid(jid).bare:
        return None
    return Told(address.bare, address.full, message, calling(message, None))


def _copied(carbon: Stanza) -> Stanza | None:
    received = carbon.payload(NS_CARBONS, "received")
    forwarded = child(received, NS_FORWARD, "forwarded")
    message = child(forwarded, NS_CLIENT, "message")
    return stanza_of(message) if message is not None else None


def read_by(stanza: Stanza) -> list[str]:
    """Return the chats that a client has read if it says this: where it says something, or that they are read."""
    if stanza.name == "iq":
        return displayed.other_chats(displayed.told_by_client(stanza)) if displayed.MARK in stanza.raw else []
    to = stanza.get("to")
    if stanza.name != "message" or to is None or not shows_user(stanza):
        return []
    try:
        return [parse_jid(to).bare]
    except InvalidJID:
        return []


def disabled_by_service(stanza: Stanza, account: str) -> Disabling | None:
    """Return what a push service disables itself for an account (XEP-0357 §8): it speaks for its own address only."""
    if stanza.get("type") == "error" or len(stanza.raw) > LARGEST_DISABLING:
        return None  # its own words come back to whoever said them
    pubsub = stanza.payload(NS_PUBSUB, "pubsub")
    affiliation = child(pubsub, NS_PUBSUB, "affiliation")
    if pubsub is None or affiliation is None or affiliation.getAttribute("affiliation") != "none":
        return None
    if whose(affiliation.getAttribute("jid"), account) is not Whose.ACCOUNT:
        return None
    try:
        return Disabling(parse_jid(stanza.get("from") or "").full, pubsub.getAttribute("node"))
    except InvalidJID:
        return None
