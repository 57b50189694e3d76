"""What others say to a domain of client_proxy: who there is, and what their stanzas are made of."""

from __future__ import annotations

import re
from typing import Any

from minimixproxy.jids import Address, InvalidJID, parse_jid
from tests.absurd import ODD_TEXT
from tests.clientproxy.scene import ALICE, BOB, DOMAIN, TARGET

OTHER = "helper@example.net"  # a second target
RESOURCES = (f"{TARGET}/one", f"{TARGET}/two", f"{TARGET}/three", f"{OTHER}/one", TARGET)
LONG = f"{'l' * 900}@example.org/{'m' * 900}"  # does not fit into a resource: written as LONG
ODD = "carol@example.org/phone\U0001f389"  # unassigned in Unicode 3.2: neither does this
USERS = (ALICE, "alice@example.org/tablet", BOB, "LONG", ODD, "example.net", "dave@example.org")
ABSURD = (DOMAIN, DOMAIN, f"{DOMAIN}/{ALICE}", f"\\40x@{DOMAIN}", *RESOURCES[:3], *USERS[:3], "example.org")
#: Whom a user seems to write to: never looked at, and never whom it reaches.
BEHIND = (
    DOMAIN,
    DOMAIN,
    f"{DOMAIN}/{BOB}",
    f"bob\\40example.net@{DOMAIN}",
    f"{DOMAIN}/@token",
    f"Node@{DOMAIN.upper()}/x",
)
#: Addresses of users that stand for nobody.
NOBODY = (
    f"{DOMAIN}/{DOMAIN}",
    f"{DOMAIN}/{TARGET}",
    f"\\40@{DOMAIN}",
    *(f"{DOMAIN}/{text}" for text in ODD_TEXT if len(text) < 100),
)
MARK = "<x xmlns='urn:mark' n='{}'/>"
MARKED = re.compile(rb"<x xmlns='urn:mark' n='(\d+)'/>")
IDS = ("1", "2", "1", "", "x" * 40)
SIDS = ("s1",)
#: What an IQ may hold: {} is where the mark stands.
ASKED = (
    "<query xmlns='jabber:iq:private'>{}</query>",
    "<query xmlns='http://jabber.org/protocol/disco#items'>{}</query>",
    "<command xmlns='http://jabber.org/protocol/commands' node='n'>{}</command>",
)
ANSWERS_HERE = (
    "<ping xmlns='urn:xmpp:ping'>{}</ping>",
    "<query xmlns='http://jabber.org/protocol/disco#info'>{}</query>",
    "<query xmlns='jabber:iq:version'>{}</query>",
    "",
    "<a xmlns='a'/>{}",
)
STEP = "<{} xmlns='http://jabber.org/protocol/ibb' sid='{}'>{}</{}>"
REPLIES = (
    "{}",
    "",
    f"<query xmlns='http://jabber.org/protocol/disco#items'><item jid='{TARGET}/one'/><item jid='@'/>{{}}</query>",
    "<command xmlns='http://jabber.org/protocol/commands' sessionid='c' status='executing'>{}</command>",
    "<command xmlns='http://jabber.org/protocol/commands' sessionid='c' status='completed'>{}</command>",
    "<query xmlns='http://jabber.org/protocol/disco#info'><identity category='a'/><feature var='jabber:iq:private'/>"
    "<feature/><identity/>{}</query>",
    "<error type='wait'><recipient-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
)
PRESENCES = (
    *("", "", "", "", "unavailable", "unavailable", "subscribe", "subscribed"),
    *("unsubscribe", "unsubscribed", "probe", "error", "odd"),
)
CONTENTS = ("", "<show>dnd</show>", "<priority>-1</priority>", "<show> </show><show/><priority>9e9</priority>")
CAPS = "<c xmlns='http://jabber.org/protocol/caps' ver='{}'/>"
LIMITS: dict[str, Any] = {"max_open": 6, "max_open_per_asker": 4, "max_resources": 3, "max_tokens": 1}
TIMEOUT, PATIENCE = 10, 3
MAX_SUBSCRIBERS = 4
LONG_ENOUGH = 4 * TIMEOUT
MOST_OWN = LIMITS["max_resources"] * (1 + TIMEOUT // PATIENCE + 1)  # of our own requests: features, pings


def address_of(name: str) -> Address:
    """Return the address of one of these."""
    return parse_jid(LONG if name == "LONG" else name)


def parsed(text: str | None) -> Address | None:
    """Return what an attribute says, or None if that is no address."""
    try:
        return parse_jid(text or "")
    except InvalidJID:
        return None
