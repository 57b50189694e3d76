"""What a message means to a device that nobody looks at: the table of `importance`, and who is mentioned."""

from __future__ import annotations

import re
from urllib.parse import quote

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.jids import parse_jid
from minimixproxy.minimix.room.importance import Importance, is_typing, of_message
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.xep import mentions
from minimixproxy.xep.mentions import MAX_MENTIONS, MAX_PLACES, Somebody, is_mentioned, names
from tests.minimix.fakes import BARE, ROOM, split

ALICE = Somebody(BARE, f"{ROOM}/Alice", "id-alice", frozenset({"member", "moderator"}))
MENTION, REFERENCE, REPLY = "urn:xmpp:mentions:0", "urn:xmpp:reference:0", "urn:xmpp:reply:0"
CHAT = "http://jabber.org/protocol/chatstates"
ENVELOPE = (
    "<stanza-id xmlns='urn:xmpp:sid:0' id='s' by='room@muc.test'/><origin-id xmlns='urn:xmpp:sid:0' id='o'/>"
    "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='i'/><delay xmlns='urn:xmpp:delay' stamp='t'/><thread>1</thread>"
    "<no-store xmlns='urn:xmpp:hints'/><no-permanent-store xmlns='urn:xmpp:hints'/><no-copy xmlns='urn:xmpp:hints'/>"
    "<store xmlns='urn:xmpp:hints'/>"
)


def message(inner: str) -> Stanza:
    xml = f"<message type='groupchat' from='{ROOM}/bob' to='{BARE}/alice'>{inner}</message>"
    (stanza,) = split(xml.encode())
    return stanza


def body(text: str) -> str:
    return f"<body>{text}</body>"


class ImportanceTests(SynchronousTestCase):
    def test_table(self) -> None:
        say, correct = body("hello"), "<replace xmlns='urn:xmpp:message-correct:0' id='1'/>"
        for inner, everywhere, private in (
            (say, "ordinary", "matters"),
            (say + f"<active xmlns='{CHAT}'/>", "ordinary", "matters"),
            (body("alice: hello"), "matters", "matters"),
            (body("hello") + correct, "ordinary", "ordinary"),
            (body("hello alice") + correct, "matters", "matters"),
            (body("> alice") + "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>", "ordinary", "ordinary"),
            ("<reactions xmlns='urn:xmpp:reactions:0' id='1'/>", "ordinary", "ordinary"),
            ("<retract xmlns='urn:xmpp:message-retract:1' id='1'/>" + body("alice"), "ordinary", "ordinary"),
            ("<subject>alice</subject>", "subject", "subject"),
            ("<subject>new</subject>" + say, "ordinary", "matters"),
            (f"<composing xmlns='{CHAT}'/>", "typing", "typing"),
            (f"<paused xmlns='{CHAT}'/>{ENVELOPE}", "typing", "typing"),
            (f"<composing xmlns='{CHAT}'/><no-store xmlns='urn:xmpp:hints'/>", "typing", "typing"),
            (f"<composing xmlns='{CHAT}'/><x xmlns='urn:x'/>", "ordinary", "ordinary"),
            ("<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>", "marker", "marker"),
            (f"<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/><active xmlns='{CHAT}'/>", "marker", "marker"),
            ("<received xmlns='urn:xmpp:receipts' id='1'/>", "ordinary", "ordinary"),
            (ENVELOPE, "ordinary", "ordinary"),
            ("", "ordinary", "ordinary"),
            (
                "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>",
                "ordinary",
                "ordinary",
            ),
            ("<encrypted xmlns='eu.siacs.conversations.axolotl'/>", "matters", "matters"),
            ("<encrypted xmlns='urn:xmpp:omemo:2'/>" + say, "matters", "matters"),
            ("<encryption xmlns='urn:xmpp:eme:0' namespace='x'/>" + say, "matters", "matters"),
            ("<attention xmlns='urn:xmpp:attention:0'/>", "matters", "matters"),
            ("<invite xmlns='urn:xmpp:call-invites:0' id='1'/>", "matters", "matters"),
            ("<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>", "matters", "matters"),
            (f"<x xmlns='jabber:x:conference' jid='{ROOM}'/>", "matters", "matters"),
            (f"<mention xmlns='{MENTION}' occupantid='id-alice'/>" + say, "matters", "matters"),
            (f"<mention xmlns='{MENTION}' occupantid='id-bob'/>" + say, "ordinary", "matters"),
            (f"<reply xmlns='{REPLY}' to='{ROOM}/Alice' id='1'/>" + say, "matters", "matters"),
            ("<x/>" * 1001, "matters", "matters"),  # cannot be read
        ):
            stanza = message(inner)
            self.assertEqual(of_message(stanza, ALICE, all_notify=False), Importance(everywhere), inner)
            self.assertEqual(of_message(stanza, ALICE, all_notify=True), Importance(private), inner)

    def test_typing(self) -> None:
        self.assertTrue(is_typing(message(f"<active xmlns='{CHAT}'/>{ENVELOPE}")))
        self.assertFalse(is_typing(message(f"<active xmlns='{CHAT}'/>" + body("hello"))))
        self.assertFalse(is_typing(message("")))


class NamesTests(SynchronousTestCase):
    def found(self, text: str, nick: str = "Alice") -> bool:
        return names(message(body(text)), Somebody(BARE, f"{ROOM}/{nick}"))

    def test_as_clients_find_it(self) -> None:
        for text in (
            "Alice",
            "alice",
            "ALICE: hello",
            "hello alice!",
            "hello @alice",
            "(alice)",
            "alice's",
            "alice2",  # by Gajim, and by clients that look for the nick followed by a sign
            "alice_",
            "malice, alice",
            "a\nalice",
            "hello&#10;alice",
            "mail to alice@a.test",
            f"&lt;{BARE}&gt;",
        ):
            self.assertTrue(self.found(text), text)

    def test_not_within_a_word(self) -> None:
        for text in ("malice", "alices", "\u00e4alice", "alic", "", "ali ce", "malice alices"):
            self.assertFalse(self.found(text), text)

    def test_nicks(self) -> None:
        for nick, text, expected in (
            ("Ælfred", "ælfred?", True),
            ("a&b", "hello a&amp;b", True),
            ("a<b", "a&lt;b", True),
            ("it's me", "so it's me then", True),
            ("[bot]", "ask the [bot]", True),
            ("a.b", "axb", False),
            (".*", "anything", False),
            ("  bob  ", "bob, hello", True),
            ("x", "xylophone", False),
            ("\u7530\u4e2d", "\u7530\u4e2d \u3055\u3093", True),
            ("\u0307", "hello (all) there", False),  # nothing is left of it
        ):
            self.assertEqual(self.found(text, nick), expected, (nick, text))

    def test_in_any_case_as_regular_expressions_have_it(self) -> None:
        """Of each character that has a case."""
        cased = [one for one in map(chr, range(0x2C00)) if len({one, one.lower(), one.upper(), one.casefold()}) > 1]
        together = "".join(cased)
        for one in cased:
            who = Somebody(BARE, f"{ROOM}/{one}")
            for found in re.findall(re.escape(one), together, re.IGNORECASE):
                self.assertTrue(names(message(body(f"1{found}1")), who), (one, found))

    def test_where_it_is_very_often(self) -> None:
        who = Somebody(BARE, f"{ROOM}/aa")
        for text, expected in (("a" * MAX_PLACES, False), ("a" * (MAX_PLACES + 2), True), ("a" * 9 + " aa", True)):
            self.assertEqual(names(message(body(text)), who), expected)

    def test_only_in_bodies(self) -> None:
        for inner in (
            "<subject>alice</subject>" + body("hello"),
            "<x xmlns='urn:x' nick='alice'>alice</x>" + body("hello"),
            "<alice xmlns='urn:x'/>" + body("hello"),
            "<body xmlns='urn:x'>alice</body>" + body("hello"),
            body(""),
            "<body/>",
            "<x xmlns='urn:x'>alice</x>",
        ):
            self.assertFalse(names(message(inner), ALICE), inner)
        self.assertTrue(names(message(body("hello") + "<body xml:lang='fr'>salut alice</body>"), ALICE))


class MentionTests(SynchronousTestCase):
    def test_table(self) -> None:
        for element, expected in (
            ("<mention xmlns='{m}' occupantid='id-alice'/>", True),
            ("<mention xmlns='{m}' occupantid='id-alice'><noping/></mention>", False),
            ("<mention xmlns='{m}' occupantid='id-alice'><active/></mention>", False),
            ("<mention xmlns='{m}' occupantid='id-alice'><active xmlns='urn:x'/></mention>", True),
            ("<mention xmlns='{m}' occupantid='id-bob' jid='alice@a.test'/>", False),
            ("<mention xmlns='{m}' jid='alice@a.test'/>", True),
            ("<mention xmlns='{m}' jid='ALICE@a.test/phone'/>", True),
            ("<mention xmlns='{m}' jid='room@muc.test/Alice'/>", True),
            ("<mention xmlns='{m}' jid='room@muc.test'/>", False),
            ("<mention xmlns='{m}' jid='@'/>", False),
            ("<mention xmlns='{m}'/>", False),
            ("<mention xmlns='{m}' mentions='{m}#channel'/>", True),
            ("<mention xmlns='{m}' mentions='{m}#channel'><active/></mention>", False),
            ("<mention xmlns='{m}' mentions='{m}#moderators'/>", True),
            ("<mention xmlns='{m}' mentions='{m}#participants'/>", False),
            ("<mention xmlns='{m}' mentions='{m}#member'/>", True),
            ("<mention xmlns='{m}' mentions='{m}#owner'/>", False),
            ("<mention xmlns='{m}' mentions='urn:other#group'/>", True),
            ("<reference xmlns='{r}' type='mention' uri='xmpp:alice@a.test'/>", True),
            ("<reference xmlns='{r}' type='mention' uri='xmpp:alice@a.test?message'/>", True),
            ("<reference xmlns='{r}' type='mention' uri='xmpp:room@muc.test/%41lice'/>", True),
            ("<reference xmlns='{r}' type='data' uri='xmpp:alice@a.test'/>", False),
            ("<reference xmlns='{r}' type='mention' uri='xmpp:bob@a.test'/>", False),
            ("<reference xmlns='{r}' type='mention' uri='mailto:alice@a.test'/>", False),
            ("<reference xmlns='{r}' type='mention'/>", False),
            ("<reply xmlns='{p}' to='room@muc.test/Alice' id='1'/>", True),
            ("<reply xmlns='{p}' to='room@muc.test/bob' id='1'/>", False),
            ("<reply xmlns='{p}' id='1'/>", False),
        ):
            inner = element.format(m=MENTION, r=REFERENCE, p=REPLY)
            self.assertEqual(is_mentioned(message(inner), ALICE), expected, inner)

    def test_an_account_without_an_id(self) -> None:
        stanza = message(f"<mention xmlns='{MENTION}' jid='{BARE}'/>")
        self.assertTrue(is_mentioned(stanza, Somebody(BARE, f"{ROOM}/Alice")))
        self.assertFalse(is_mentioned(message(body("alice")), ALICE))

    def test_a_long_address_is_not_prepared(self) -> None:
        """That takes a millisecond, and whoever says something may name a hundred, in each room of each account."""
        long = "\u00e9" * 300
        self.patch(
            mentions, "parse_jid", lambda address: self.fail(address) if len(address) > 256 else parse_jid(address)
        )
        named = f"<reply xmlns='{REPLY}' to='{long}@a.test/{long}'/>" * 50
        uri = quote(f"{long}@a.test")
        named += f"<reference xmlns='{REFERENCE}' type='mention' uri='xmpp:{uri}'/>" * 49
        self.assertFalse(is_mentioned(message(named), ALICE))
        who = Somebody(f"{long}@a.test", f"{ROOM}/{long}")
        self.assertTrue(is_mentioned(message(named), who))

    def test_of_very_many_the_first_are_looked_at(self) -> None:
        others = f"<mention xmlns='{MENTION}' occupantid='id-bob'/>" * MAX_MENTIONS
        own = f"<mention xmlns='{MENTION}' occupantid='id-alice'/>"
        self.assertTrue(is_mentioned(message(own + others), ALICE))
        self.assertFalse(is_mentioned(message(others + own), ALICE))

    def test_what_is_in_it_is_bounded(self) -> None:
        inner = f"<mention xmlns='{MENTION}' occupantid='id-alice'>{'<x/>' * 1001}</mention>"
        self.assertTrue(is_mentioned(parse_stanza(message(inner).raw), ALICE))
