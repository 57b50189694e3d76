"""Stanzas that are well-formed and make no sense: what peers may send to see what breaks."""

from __future__ import annotations

from random import Random

LONG = "x" * 3000
MUC = "http://jabber.org/protocol/muc"
DISCO = "http://jabber.org/protocol/disco"

#: Text where an address, a number, a name or a time is expected.
ODD_TEXT = (
    "",
    " ",
    "@",
    "/",
    "@/",
    "a@",
    "a@b@c/d/e",
    "a b@c",
    "\u00ad",
    ".",
    "..",
    "a..b",
    f"{LONG}@a.test",
    f"a@{LONG}",
    f"a@a.test/{LONG}",
    "\u2260",
    "-1",
    "1e9",
    "9" * 5000,
    "\u0663",
    "nan",
    "9999-12-31T23:59:59-12:00",
    "0001-01-01T00:00:00+12:00",
    "true",
    "110",
    "' \" > <",
)
# Namespace and the elements of it that are read somewhere.
_ELEMENTS = {
    "jabber:client": ("body", "subject", "thread", "show", "status", "priority", "error", "message", "presence", "iq"),
    "jabber:component:accept": ("body", "error", "query"),
    MUC: ("x", "history", "password"),
    f"{MUC}#user": ("x", "item", "status", "invite", "decline", "destroy", "actor", "reason"),
    f"{MUC}#admin": ("query", "item", "actor"),
    f"{MUC}#owner": ("query", "destroy"),
    f"{DISCO}#info": ("query", "identity", "feature"),
    f"{DISCO}#items": ("query", "item"),
    "http://jabber.org/protocol/commands": ("command", "actions", "next", "execute"),
    "http://jabber.org/protocol/caps": ("c",),
    "http://jabber.org/protocol/rsm": ("set", "max", "after", "before", "first", "index"),
    "http://jabber.org/protocol/pubsub": ("pubsub", "publish", "items", "item", "retract", "affiliation"),
    "http://jabber.org/protocol/pubsub#event": ("event", "items", "item", "retract"),
    "urn:xmpp:bookmarks:1": ("conference", "nick", "password"),
    "jabber:iq:private": ("query",),
    "storage:bookmarks": ("storage", "conference"),
    "jabber:x:data": ("x", "field", "value", "reported"),
    "urn:xmpp:delay": ("delay",),
    "urn:xmpp:mam:2": ("query", "result", "fin", "prefs", "metadata"),
    "urn:xmpp:forward:0": ("forwarded",),
    "urn:xmpp:carbons:2": ("sent", "received", "private", "enable"),
    "urn:xmpp:sid:0": ("stanza-id", "origin-id"),
    "urn:xmpp:occupant-id:0": ("occupant-id",),
    "urn:xmpp:message-correct:0": ("replace",),
    "urn:xmpp:message-retract:1": ("retract", "retracted"),
    "urn:xmpp:message-retract:0": ("retract", "retracted"),
    "urn:xmpp:message-moderate:1": ("moderated",),
    "urn:xmpp:message-moderate:0": ("moderate", "moderated"),
    "urn:xmpp:fasten:0": ("apply-to",),
    "urn:xmpp:hints": ("store", "no-store", "no-copy"),
    "urn:xmpp:ping": ("ping",),
    "urn:xmpp:push:0": ("enable", "disable", "notification"),
    "urn:xmpp:mds:displayed:0": ("displayed",),
    "urn:xmpp:chat-markers:0": ("received", "displayed"),
    "urn:xmpp:receipts": ("received", "request"),
    "jabber:iq:version": ("query",),
    "urn:ietf:params:xml:ns:xmpp-bind": ("bind", "jid"),
    "urn:ietf:params:xml:ns:xmpp-stanzas": ("forbidden", "conflict", "gone", "text", "service-unavailable"),
    "": ("x",),
    "urn:x-unknown": ("x",),
}
NAMES = [(uri, name) for uri, names in _ELEMENTS.items() for name in names]
ATTRIBUTES = (
    *("id", "from", "to", "jid", "nick", "node", "var", "code", "affiliation", "role", "stamp", "queryid", "by"),
    *("sessionid", "action", "type", "maxstanzas", "maxchars", "seconds", "since", "xml:lang", "autojoin", "name"),
)
KINDS = ("get", "set", "result", "error", "groupchat", "chat", "normal", "headline", "unavailable", "probe", "")
_LEVELS = 4


class Absurd:
    """Makes stanzas as text, with no default namespace named; `addresses`, `ids` and `texts` appear beside odd ones."""

    def __init__(self, random: Random, addresses: tuple[str, ...], ids: tuple[str, ...] = ("1",)) -> None:
        self._random = random
        self._addresses = addresses
        self._ids = ids

    def stanza(self, ids: tuple[str, ...] = ()) -> str:
        """Return a message, presence or IQ; these ids among the others."""
        random = self._random
        name = random.choice(("message", "presence", "iq"))
        found = {
            "from": self._address(),
            "to": self._address(),
            "id": random.choice((*self._ids, *ids, "", LONG)),
            "type": random.choice(KINDS) if random.random() < 0.95 else random.choice(ODD_TEXT),
        }
        kept = {key: value for key, value in found.items() if random.random() < 0.85}
        if not kept.get("type"):
            kept.pop("type", None)
        inner = "".join(self._payload() for _number in range(random.randrange(4)))
        return f"<{name}{_attributes(kept)}>{inner}</{name}>"

    def _address(self) -> str:
        return self._random.choice(self._addresses if self._random.random() < 0.85 else ODD_TEXT)

    def _text(self) -> str:
        return self._random.choice((*self._addresses, *self._ids, *ODD_TEXT, *KINDS, "", ""))

    def _payload(self) -> str:
        payload = self._element(*self._random.choice(NAMES), _LEVELS)
        return payload * self._random.choice((1, 1, 1, 2))

    def _element(self, uri: str, name: str, levels: int) -> str:
        random = self._random
        count = random.choice((0, 1, 2, 5, 8))
        attributes = {attribute: self._text() for attribute in random.sample(ATTRIBUTES, count)}
        inner = [self._child(uri, levels - 1) for _number in range(random.randrange(4) if levels else 0)]
        if random.random() < 0.4:
            inner.append(_quoted(self._text())[1:-1])
        return f"<{name} xmlns='{uri}'{_attributes(attributes)}>{''.join(inner)}</{name}>"

    def _child(self, uri: str, levels: int) -> str:
        if self._random.random() < 0.7:
            return self._element(uri, self._random.choice(_ELEMENTS[uri]), levels)
        return self._element(*self._random.choice(NAMES), levels)


def _quoted(text: str) -> str:
    for plain, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("'", "&apos;")):
        text = text.replace(plain, written)
    return f"'{text}'"


def _attributes(found: dict[str, str]) -> str:
    return "".join(f" {name}={_quoted(value)}" for name, value in found.items())
