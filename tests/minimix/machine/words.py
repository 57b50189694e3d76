"""What clients, occupants and servers of the machine say: by name, with `{…}` for what is known only then."""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

ADMIN = "http://jabber.org/protocol/muc#admin"
OWNER = "http://jabber.org/protocol/muc#owner"
INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"
COMMANDS = "http://jabber.org/protocol/commands"
MUC = "http://jabber.org/protocol/muc"
USER = f"{MUC}#user"
MAM = "urn:xmpp:mam:2"
PUBSUB = "http://jabber.org/protocol/pubsub"
RSM = "http://jabber.org/protocol/rsm"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"

#: Payloads of messages; `{t}` is a token, `{id}` an id that somebody may have used.
MESSAGES = {
    "body": "<body>{t}</body>",
    "long": "<body>{t}" + "x" * 3000 + "</body>",
    "subject": "<subject>{t}</subject>",
    "both": "<subject>{t}</subject><body>{t}</body>",
    "nothing": "",
    "active": "<active xmlns='http://jabber.org/protocol/chatstates'/>",
    "marker": "<displayed xmlns='urn:xmpp:chat-markers:0' id={id}/>",
    "correction": "<body>{t}</body><replace xmlns='urn:xmpp:message-correct:0' id={id}/>",
    "retraction": "<retract xmlns='urn:xmpp:message-retract:1' id={id}/><body>{t}</body>",
    "moderation": (
        "<retract xmlns='urn:xmpp:message-retract:1' id={id}><moderated xmlns='urn:xmpp:message-moderate:1'/></retract>"
    ),
    "delayed": "<body>{t}</body><delay xmlns='urn:xmpp:delay' stamp='2001-01-01T00:00:00Z'/>",
    "encrypted": "<encrypted xmlns='eu.siacs.conversations.axolotl'>{t}</encrypted>",
    "fallback": "<body>{t}</body><x xmlns='" + USER + "'/><private xmlns='urn:xmpp:carbons:2'/>",
    "invitation": "<x xmlns='" + USER + "'><invite to='dave@a.test'><reason>{t}</reason></invite></x>",
    "language": "<body xml:lang='de'>{t}</body><body>{t}</body>",
    "prefixes": "<p:x xmlns:p='urn:x-p'><p:y p:z='1'>{t}</p:y></p:x><body>{t}</body>",
}
#: Payloads of IQs with the type that they go with.
REQUESTS = {
    "ping": ("get", "<ping xmlns='urn:xmpp:ping'/>"),
    "info": ("get", f"<query xmlns='{INFO}'/>"),
    "node": ("get", f"<query xmlns='{INFO}' node='x-roomuser-item'/>"),
    "items": ("get", f"<query xmlns='{ITEMS}'/>"),
    "commands": ("get", f"<query xmlns='{ITEMS}' node='{COMMANDS}'/>"),
    "version": ("get", "<query xmlns='jabber:iq:version'/>"),
    "vcard": ("get", "<vCard xmlns='vcard-temp'/>"),
    "role": ("set", f"<query xmlns='{ADMIN}'><item nick='ghost' role='none'/></query>"),
    "list": ("get", f"<query xmlns='{ADMIN}'><item affiliation='member'/></query>"),
    "owner": ("get", f"<query xmlns='{OWNER}'/>"),
    "destroy": ("set", f"<query xmlns='{OWNER}'><destroy/></query>"),
    "archive": ("set", f"<query xmlns='{MAM}' queryid='{{id}}'/>"),
    "page": (
        "set",
        f"<query xmlns='{MAM}' queryid='q'><set xmlns='{RSM}'><max>5</max><before/></set></query>",
    ),
    "form": ("get", f"<query xmlns='{MAM}'/>"),
    "bookmarks": (
        "get",
        f"<pubsub xmlns='{PUBSUB}'><items node='urn:xmpp:bookmarks:1'/></pubsub>",
    ),
    "private": (
        "get",
        "<query xmlns='jabber:iq:private'><storage xmlns='storage:bookmarks'/></query>",
    ),
    "publish": (
        "set",
        f"<pubsub xmlns='{PUBSUB}'><publish node='urn:xmpp:bookmarks:1'><item id='plain@muc.test'>"
        "<conference xmlns='urn:xmpp:bookmarks:1' autojoin='true'/></item></publish></pubsub>",
    ),
    "rooms": ("set", f"<command xmlns='{COMMANDS}' node='rooms'/>"),
    "leave": ("set", f"<command xmlns='{COMMANDS}' node='leave'/>"),
    "detach": ("set", f"<command xmlns='{COMMANDS}' node='detach'/>"),
    "forget": ("set", f"<command xmlns='{COMMANDS}' node='forget'/>"),
    "next": (
        "set",
        f"<command xmlns='{COMMANDS}' node='{{id}}' sessionid='{{session}}'><x xmlns='jabber:x:data' type='submit'>"
        "<field var='rooms'><value>{room}</value></field><field var='device'><value>{device}</value></field>"
        "<field var='room'><value>{room}</value></field><field var='confirm'><value>1</value></field></x></command>",
    ),
    "nothing": ("get", ""),
    "two": ("set", "<a xmlns='urn:x'/><b xmlns='urn:x'/>"),
    "strange": ("odd", "<a xmlns='urn:x'/>"),
}
#: How a room puts somebody out: status codes, what comes with them.
REMOVALS = {
    "ban": ("301", ""),
    "kick": ("307", "<item><actor nick='ghost'/></item>"),
    "affiliation": ("321", ""),
    "members": ("322", ""),
    "shutdown": ("332", ""),
    "fault": ("307 333", ""),
    "bare": ("", ""),
    "destroyed": ("", "<destroy jid='else@muc.test'><reason>gone</reason></destroy>"),
}
WISHES = (
    "",
    "",
    "<history maxstanzas='0'/>",
    "<history maxstanzas='3'/>",
    "<history maxchars='500'/>",
    "<history seconds='60'/>",
    "<history since='2023-11-14T22:13:20Z'/>",
    "<history since='9999-99-99T00:00:00Z' seconds='-1' maxstanzas='x'/>",
    "<password>secret</password>",
    "<password>wrong</password>",
)
ERRORS = (
    "service-unavailable",
    "item-not-found",
    "not-acceptable",
    "forbidden",
    "remote-server-timeout",
    "conflict",
)


def attributes(**found: str | None) -> str:
    """Return attributes as they are written; `to_` for `to`, so that Python's words can be used."""
    return "".join(f" {name.rstrip('_')}={quoteattr(text)}" for name, text in found.items() if text is not None)


def nested(levels: int) -> str:
    """Return an element that deep."""
    return "<a xmlns='urn:x-deep'>" + "<a>" * (levels - 1) + "</a>" * levels


def many(count: int) -> str:
    """Return so many payloads."""
    return "<b xmlns='urn:x-many'/>" * count
