"""Which stanzas of rooms and occupants a sleeping device is told of: what hostile ones would make of it, too."""

from __future__ import annotations

from typing import Any

from minimixproxy.config.settings import Push
from minimixproxy.minimix.push import pushing
from minimixproxy.minimix.room import scales
from tests.minimix.fakes import BARE, ROOM, STREAM
from tests.minimix.push.test_pushing import PushCase, PushWorld

BODY = "<body>alice: come</body>"
OWN_ID = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='me'/>"
FIX = "<replace xmlns='urn:xmpp:message-correct:0' id='x'/>"
REACTION = "<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>a</reaction></reactions>"
RETRACTION = "<retract xmlns='urn:xmpp:message-retract:1' id='x'/>"
MODERATION = RETRACTION.replace("/>", "><moderated xmlns='urn:xmpp:message-moderate:1'/></retract>")
CHAT = "http://jabber.org/protocol/chatstates"
MARKERS = "urn:xmpp:chat-markers:0"
MENTION = f"<mention xmlns='urn:xmpp:mentions:0' jid='{ROOM}/alice'>{{}}</mention>"
REPLY = f"<reply xmlns='urn:xmpp:reply:0' to='{ROOM}/{{}}' id='x'/>"
KEYS = "<encrypted xmlns='urn:xmpp:omemo:2'><header sid='1'/></encrypted>"
PAST = f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2001-01-01T00:00:00Z'/>"
MANY = "<a/>" * 2000

# what it is | from | type | what is in it | told, where mentions are | told, where all is
TABLE = f"""
nothing of interest      | bob   | groupchat | <body>hello</body>                                   | no  | yes
the nick                 | bob   | groupchat | {BODY}                                               | yes | yes
the nick, in capitals    | bob   | groupchat | <body>ALICE?</body>                                  | yes | yes
the address              | bob   | groupchat | <body>ask {BARE} then</body>                         | yes | yes
a part of a word         | bob   | groupchat | <body>malice, alices</body>                          | no  | yes
of the room itself       |       | groupchat | {BODY}                                               | yes | yes
the account's own        | alice | groupchat | {BODY}                                               | no  | no
its own, by its id       | other | groupchat | {BODY}{OWN_ID}                                       | no  | no
a subject                | bob   | groupchat | <subject>alice: come</subject>                       | no  | no
a message with a subject | bob   | groupchat | <subject>x</subject>{BODY}                           | yes | yes
no body                  | bob   | groupchat | <x xmlns='nick:alice'/>                              | no  | no
typing                   | bob   | groupchat | <composing xmlns='{CHAT}'/>                          | no  | no
a marker                 | bob   | groupchat | <displayed xmlns='{MARKERS}' id='x'/>                | no  | no
a receipt                | bob   | groupchat | <received xmlns='urn:xmpp:receipts' id='x'/>         | no  | no
a reaction               | bob   | groupchat | {REACTION}                                           | no  | no
one that says so         | bob   | groupchat | {BODY}{REACTION}                                     | no  | no
a retraction             | bob   | groupchat | {BODY}{RETRACTION}                                   | no  | no
a moderator's            |       | groupchat | {MODERATION}                                         | no  | no
a correction             | bob   | groupchat | <body>hello</body>{FIX}                              | no  | no
one that names           | bob   | groupchat | {BODY}{FIX}                                          | yes | yes
one of nothing           | bob   | groupchat | {FIX}                                                | no  | no
an error                 | bob   | error     | {BODY}<error/>                                       | no  | no
a forged past            | bob   | groupchat | {BODY}{PAST}                                         | yes | yes
a mention                | bob   | groupchat | <body>x</body>{MENTION.format("")}                   | yes | yes
one that does not ping   | bob   | groupchat | <body>x</body>{MENTION.format("<noping/>")}          | no  | yes
a reply                  | bob   | groupchat | <body>x</body>{REPLY.format("alice")}                | yes | yes
to somebody else         | bob   | groupchat | <body>x</body>{REPLY.format("carol")}                | no  | yes
keys                     | bob   | groupchat | <body>alice: come</body>{KEYS}                       | no  | no
a call                   | bob   | groupchat | <invite xmlns='urn:xmpp:call-invites:0' id='x'/>     | yes | yes
its end                  | bob   | groupchat | <retract xmlns='urn:xmpp:call-invites:0' id='x'/>    | no  | no
too much to be read      | bob   | groupchat | {MANY}{BODY}                                         | no  | no
in private               | bob   | chat      | <body>psst</body>                                    | yes | yes
with no type             | bob   | normal    | <body>psst</body>                                    | yes | yes
typing, in private       | bob   | chat      | <composing xmlns='{CHAT}'/>                          | no  | no
a reaction, in private   | bob   | chat      | <body>x</body>{REACTION}                             | no  | no
a correction, in private | bob   | chat      | <body>x</body>{FIX}                                  | no  | no
keys, in private         | bob   | chat      | {KEYS}                                               | no  | no
a receipt, in private    | bob   | chat      | <received xmlns='urn:xmpp:receipts' id='x'/>         | no  | no
an error, in private     | bob   | error     | <body>psst</body><error/>                            | no  | no
to oneself               | alice | chat      | <body>psst</body>                                    | no  | no
an archive's result      | bob   | chat      | <result xmlns='urn:xmpp:mam:2' queryid='x' id='y'/>  | no  | no
an invitation            |       | normal    | <x xmlns='jabber:x:conference' jid='b@muc.test'/>    | yes | yes
"""


class Mentions(PushCase):
    column = 4

    def setUp(self) -> None:
        super().setUp()
        self.world.shows("alice", "100 110", inner=OWN_ID)
        self.world.stream.take()
        self.sleeps(self.phone)

    def test_each(self) -> None:
        rows = [[cell.strip() for cell in line.split("|")] for line in TABLE.strip().splitlines()]
        self.assertEqual(len({row[0] for row in rows}), len(rows))
        wrong = [row[0] for row in rows if self.is_told(*row[:4]) is not (row[self.column] == "yes")]
        self.assertEqual(wrong, [])

    def is_told(self, what: str, nick: str, kind: str, inner: str) -> bool:
        sender = f"{ROOM}/{nick}" if nick else ROOM
        self.world.room(f"<message type='{kind}' id=\"{what}\" from='{sender}' to='{STREAM}'>{inner}</message>")
        published = self.later(60)
        for publication in published:
            self.assertNotIn(b"come", publication.raw)
            self.service_says(publication)
        return bool(published)


class WorldOfAll(PushWorld):
    push = Push(rooms="all")


class All(Mentions):
    new_world = WorldOfAll
    column = 5


class WhatItCosts(PushCase):
    """In a room much is said, and little of it matters: that costs little."""

    def setUp(self) -> None:
        super().setUp()
        self.sleeps(self.phone)
        self.counted = 0

    def count(self, module: object, name: str) -> None:
        function = getattr(module, name)

        def counting(*arguments: Any, **options: Any) -> Any:
            self.counted += 1
            return function(*arguments, **options)

        self.patch(module, name, counting)

    def test_no_device_is_looked_at(self) -> None:
        self.count(pushing, "verdict")
        self.says("nothing of interest")
        self.assertEqual(self.counted, 0)
        self.says()
        self.assertGreater(self.counted, 0)

    def test_the_own_presence_is_read_once(self) -> None:
        self.count(scales, "_standing")
        for _ in range(5):
            self.says()
        self.assertEqual(self.counted, 1)

    def test_another_presence(self) -> None:
        mention = "<mention xmlns='urn:xmpp:mentions:0' occupantid='me'/>"
        self.says("x", inner=mention)
        self.assertEqual(self.later(60), [])
        self.world.shows("alice", "100 110", inner=OWN_ID)
        self.says("x", inner=mention)
        self.service_says(self.published(60))

    def test_another_nick(self) -> None:
        self.says("eve?")
        self.assertEqual(self.later(60), [])
        self.world.gone("alice", "110 303", item="nick='eve'")
        self.says("eve?")
        self.published(60)


class Once(PushCase):
    """A message is told once, whoever says it again."""

    def setUp(self) -> None:
        super().setUp()
        self.sleeps(self.phone)

    def say(self, sender: str = f"{ROOM}/bob", inner: str = "") -> None:
        stanza_id = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='s'/>"
        self.world.room(
            f"<message type='groupchat' id='m' from='{sender}' to='{STREAM}'>{BODY}{stanza_id}{inner}</message>"
        )

    def test_a_room_says_it_again(self) -> None:
        self.say()
        self.service_says(self.published(60))
        self.say()
        self.say(inner=PAST)
        self.assertEqual(self.later(60), [])

    def test_muted_afterwards(self) -> None:
        self.say()
        self.service_says(self.published(60), "resource-constraint", "wait")
        self.world.account.notifications({ROOM: "never"})
        self.assertEqual(self.later(3600), [])
