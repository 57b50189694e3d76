"""A long scripted conversation outside rooms, for the transparency test: what each client sends, step by step.

`{alice}`, `{bob}` are bare JIDs, `{alice/phone}` … full ones. Own ids begin with "t-"; the test leaves them alone when
it evens out the ids that servers make.
"""

from typing import NamedTuple

NS_PING = "urn:xmpp:ping"


class Step(NamedTuple):
    name: str
    sender: str
    stanzas: str


def _message(identity: str, to: str, content: str, attributes: str = "type='chat'") -> str:
    return f"<message id='t-{identity}' to='{to}' {attributes}>{content}</message>"


def _iq(identity: int | str, kind: str, content: str, to: str = "") -> str:
    address = f" to='{to}'" if to else ""
    return f"<iq id='t-{identity}' type='{kind}'{address}>{content}</iq>"


VCARD = "<vCard xmlns='vcard-temp'><FN>Alice &amp; Co</FN><DESC>two\nlines\tand 'quotes'</DESC></vCard>"
NICK = (
    "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='http://jabber.org/protocol/nick'>"
    "<item id='t-item'><nick xmlns='http://jabber.org/protocol/nick'>Ally</nick></item></publish></pubsub>"
)
NICK_READ = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='http://jabber.org/protocol/nick'/></pubsub>"
INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
ITEMS = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
ROSTER = "<query xmlns='jabber:iq:roster'/>"
BOB_IN_ROSTER = "<query xmlns='jabber:iq:roster'><item jid='{bob}' name='B &lt;o> b'><group>x</group></item></query>"
SUBSCRIBE = "<presence id='t-9' to='{bob}' type='subscribe'><status>let me &amp; me in</status></presence>"
AWAY = "<presence id='t-13'><show>away</show><status xml:lang='de'>weg</status><priority>3</priority></presence>"
STORE = "<query xmlns='jabber:iq:private'><a xmlns='urn:x:a'>1</a></query>"
STORED = "<query xmlns='jabber:iq:private'><a xmlns='urn:x:a'/></query>"
CARBONS = "<enable xmlns='urn:xmpp:carbons:2'/>"
ARCHIVE = (
    "<query xmlns='urn:xmpp:mam:2' queryid='t-q'><x xmlns='jabber:x:data' type='submit'>"
    "<field var='FORM_TYPE' type='hidden'><value>urn:xmpp:mam:2</value></field></x>"
    "<set xmlns='http://jabber.org/protocol/rsm'><max>5</max><before/></set></query>"
)

# Stanzas that a proxy which parses and writes anew would hardly give back as they came.
ODD_CONTENTS = {
    "entities": "<body>&lt;b&gt; &amp;amp; &quot;x&quot; &apos;y&apos; &#x41;&#66;</body>",
    "cdata": "<body><![CDATA[<not> & an element ]]]]><![CDATA[> end]]></body>",
    "quotes": """<body>"double" 'single'</body><x xmlns="urn:x:a" a='"' b="'"/>""",
    "white space": "\n  <body>  two  spaces\n\tand a tab </body>\n\n  <x   xmlns = 'urn:x:a'\n a='1'   />  ",
    "empty elements": "<body>e</body><a xmlns='urn:x:a'></a><a xmlns='urn:x:a'/><a xmlns='urn:x:a' ><b/></a>",
    "prefixes": "<body>p</body><p:a xmlns:p='urn:x:p' p:b='1' b='2'><p:c/><c/></p:a>",
    "a prefix bound twice": "<body>q</body><p:a xmlns:p='urn:x:p'><p:b xmlns:p='urn:x:q'/></p:a>",
    "a nested message": (
        "<body>n</body><x xmlns='urn:x:a'><message xmlns='jabber:client' from='nobody@nowhere' to='someone@else'>"
        "<body>inner</body></message></x>"
    ),
    "look-alikes in attributes": "<body>l</body><x xmlns='urn:x:a' y=\" to='a@b' id='1' />&lt;/message>\"/>",
    "other languages": "<body xml:lang='de'>Grüße</body><body xml:lang='ja'>こんにちは</body>",
    "beyond the basic plane": "<body>👩‍👩‍👧 \U0001d54f \u0301e</body>",
    "a carriage return": "<body>a&#13;b&#xD;&#10;c</body>",
    "a large body": f"<body>{'0123456789' * 8000}</body>",
    "no body": "<active xmlns='http://jabber.org/protocol/chatstates'/>",
    "a delay of its own": "<body>d</body><delay xmlns='urn:xmpp:delay' from='me@here' stamp='2002-09-10T23:08:25Z'/>",
    "an encrypted payload": "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>",
}


def steps(server: str) -> list[Step]:
    """The conversation on that server's domain. Clients are alice/phone, alice/laptop and bob/desk, all online."""
    phone, laptop, desk = "alice/phone", "alice/laptop", "bob/desk"
    return [
        Step("features of the server", phone, _iq(1, "get", INFO, server)),
        Step("items of the server", phone, _iq(2, "get", ITEMS, server)),
        Step("own account", phone, _iq(3, "get", INFO, "{alice}")),
        Step("carbons", phone, _iq(4, "set", CARBONS)),
        Step("more carbons", laptop, _iq(5, "set", CARBONS)),
        Step("roster", phone, _iq(6, "get", ROSTER)),
        Step("roster on the other device", laptop, _iq(7, "get", ROSTER)),
        Step("roster entry", phone, _iq(8, "set", BOB_IN_ROSTER)),
        Step("subscribe", phone, SUBSCRIBE),
        Step("subscribed", desk, "<presence id='t-10' to='{alice}' type='subscribed'/>"),
        Step("the other way", desk, "<presence id='t-11' to='{alice}' type='subscribe'/>"),
        Step("and back", laptop, "<presence id='t-12' to='{bob}' type='subscribed'/>"),
        Step("away", phone, AWAY),
        Step("vCard", phone, _iq(14, "set", VCARD)),
        Step("vCard read", desk, _iq(15, "get", "<vCard xmlns='vcard-temp'/>", "{alice}")),
        Step("nickname by PEP", laptop, _iq(16, "set", NICK)),
        Step("nickname read", desk, _iq(17, "get", NICK_READ, "{alice}")),
        *(
            Step(f"{name}, to the server", phone, _message(f"a{number}", "{bob/desk}", content))
            for number, (name, content) in enumerate(ODD_CONTENTS.items())
        ),
        *(
            Step(f"{name}, from the server", desk, _message(f"b{number}", "{alice/phone}", content))
            for number, (name, content) in enumerate(ODD_CONTENTS.items())
        ),
        Step("to the bare JID", desk, _message("c1", "{alice}", "<body>to all devices</body>")),
        Step("from the other device", laptop, _message("c2", "{bob}", "<body>from the laptop</body>")),
        Step("to oneself", phone, _message("c3", "{alice/laptop}", "<body>note</body>")),
        Step("normal", desk, _message("c4", "{alice}", "<subject>s</subject><body>normal</body>", "")),
        Step("headline", desk, _message("c5", "{alice}", "<body>headline</body>", "type='headline'")),
        Step("to nobody", phone, _message("c6", f"nobody-here@{server}", "<body>anyone?</body>")),
        Step("to no server", phone, _message("c7", "someone@nowhere.invalid", "<body>anyone?</body>")),
        Step("ping of a device", desk, _iq("p1", "get", f"<ping xmlns='{NS_PING}'/>", "{alice/phone}")),
        Step("its answer", phone, "<iq id='t-p1' type='result' to='{bob/desk}'/>"),
        Step("an answer nobody waits for", phone, "<iq id='t-p2' type='result' to='{bob/desk}'/>"),
        Step(
            "an error",
            phone,
            "<iq id='t-p3' type='error' to='{bob/desk}'><error type='cancel'>"
            "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
        ),
        Step("an unknown request", phone, _iq("p4", "get", "<query xmlns='urn:x:unknown'/>", server)),
        Step("archive", phone, _iq("m1", "set", ARCHIVE)),
        Step("private storage", phone, _iq("s1", "set", STORE)),
        Step("private storage read", laptop, _iq("s2", "get", STORED)),
        Step("inactive", phone, "<inactive xmlns='urn:xmpp:csi:0'/>"),
        Step("while inactive", desk, _message("i1", "{alice/phone}", "<body>urgent</body>")),
        Step("active", phone, "<active xmlns='urn:xmpp:csi:0'/>"),
        Step("block", phone, _iq("l1", "set", "<block xmlns='urn:xmpp:blocking'><item jid='{bob}'/></block>")),
        Step("blocked", desk, _message("l2", "{alice/phone}", "<body>hello?</body>")),
        Step("unblock", phone, _iq("l3", "set", "<unblock xmlns='urn:xmpp:blocking'><item jid='{bob}'/></unblock>")),
        Step("white space between stanzas", phone, "  \n " + _message("w1", "{bob/desk}", "<body>w</body>") + "\n"),
        Step(
            "two stanzas at once",
            desk,
            _message("w2", "{alice/phone}", "<body>1</body>") + _message("w3", "{alice/phone}", "<body>2</body>"),
        ),
        Step("unavailable", phone, "<presence type='unavailable'><status>bye</status></presence>"),
        Step("while unavailable", desk, _message("w4", "{alice}", "<body>laptop only</body>")),
    ]
