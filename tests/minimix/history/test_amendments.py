"""Corrections, retractions and moderation: applied to what is kept, and given to those that have seen the original."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.history.amendments import stanza_id_of
from minimixproxy.minimix.history.room_history import Taken
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.xep.muc_history import HistoryRequest
from tests.examples import examples
from tests.minimix.fakes import ROOM, payload_of
from tests.minimix.history.test_room_history import NOW, Recorder, Speaker, replacing, retracting

RETRACTED = ("urn:xmpp:message-retract:1", "retracted")


def occupant(identifier: str) -> str:
    return f"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='{identifier}'/>"


def retracting_first_form(target: str) -> str:
    return f"<apply-to xmlns='urn:xmpp:fasten:0' id='{target}'><retract xmlns='urn:xmpp:message-retract:0'/></apply-to>"


def moderating(target: str) -> str:
    return (
        f"<retract xmlns='urn:xmpp:message-retract:1' id='{target}'>"
        f"<moderated by='{ROOM}/mod' xmlns='urn:xmpp:message-moderate:1'/><reason>rude</reason></retract>"
    )


def moderating_first_form(target: str) -> str:
    return (
        f"<apply-to xmlns='urn:xmpp:fasten:0' id='{target}'><moderated by='{ROOM}/mod' "
        "xmlns='urn:xmpp:message-moderate:0'><retract xmlns='urn:xmpp:message-retract:0'/>"
        "<reason>rude</reason></moderated></apply-to>"
    )


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Speaker()

    def original(self, inner: str = "", nick: str = "bob") -> None:
        """A message that "old" has seen, and "new" has not."""
        self.room.history.detached("new")
        self.room.says("teh", inner, nick=nick, sent_id="o", room_id="O")
        self.room.history.detached("old")

    def kept(self, sequence: int = 1) -> Stanza:
        return parse_stanza(self.room.journal.messages[sequence].raw)


class Corrections(Case):
    def test_who_gets_what(self) -> None:
        self.original(inner="<origin-id xmlns='urn:xmpp:sid:0' id='o'/>")
        self.room.now += 60
        self.assertEqual(self.room.says("the", replacing("o"), sent_id="c", room_id="C"), Taken.NEW)
        self.assertEqual(self.room.gets("old"), ["the"])
        self.assertEqual(self.room.gets("new"), ["the"])
        self.assertEqual(self.room.gets("stranger"), ["the"])
        ((old,), (new,)) = (list(self.room.history.select(None, who, self.room.now)) for who in ("old", "new"))
        self.assertIn(b"<replace", old)
        stanza = parse_stanza(new)
        self.assertEqual(stanza["id"], "o")
        self.assertFalse(stanza.has_payload("urn:xmpp:message-correct:0", "replace"))
        (stanza_id,) = stanza.elements("urn:xmpp:sid:0", "stanza-id")
        (origin_id,) = stanza.elements("urn:xmpp:sid:0", "origin-id")
        (delay,) = stanza.elements("urn:xmpp:delay", "delay")
        self.assertEqual((stanza_id["id"], origin_id["id"], delay["stamp"]), ("O", "o", "2023-11-14T22:13:20.000Z"))

    def test_of_a_correction(self) -> None:
        for named in ("o", "c"):  # XEP-0308 says the first; some name the last
            with self.subTest(named=named):
                self.setUp()
                self.original()
                self.room.says("thee", replacing("o"), sent_id="c")
                self.room.says("the", replacing(named), sent_id="d")
                self.assertEqual(self.room.gets("old"), ["thee", "the"])
                self.assertEqual(self.room.gets("new"), ["the"])
                self.assertEqual(str(self.kept().element.body), "the")

    def test_before_its_original(self) -> None:
        self.room.says("the", replacing("o"), sent_id="c")
        self.room.says("teh", sent_id="o")
        self.assertEqual(self.room.gets("new"), ["the", "teh"])

    def test_original_gone(self) -> None:
        self.room = Speaker(history=1)
        self.original()
        self.room.says("other")
        self.room.says("the", replacing("o"))
        self.assertEqual(self.room.gets("new"), ["the"])

    def test_not_by_the_same(self) -> None:
        for what, first, second in [
            ("nick", {"nick": "bob"}, {"nick": "eve"}),
            ("occupant", {"inner": occupant("b")}, {"inner": occupant("e")}),
            ("no occupant", {"inner": occupant("b")}, {"inner": ""}),
            ("two occupants", {"inner": occupant("b")}, {"inner": occupant("b") + occupant("b")}),
            ("both two occupants", {"inner": occupant("b") * 2}, {"inner": occupant("b") * 2}),
            ("an occupant without id", {"inner": occupant("")}, {"inner": occupant("")}),
            ("the room", {"nick": "bob"}, {"nick": ""}),
        ]:
            for change in (replacing("o"), retracting("O")):
                with self.subTest(what):
                    self.setUp()
                    self.room.history.senders.gives_ids = "occupant" in what
                    self.original(**first)
                    inner = change + second.get("inner", "")
                    self.room.says("hehe", inner, sent_id="c", nick=second.get("nick", "bob"))
                    self.assertEqual(self.room.gets("new"), ["teh", "hehe"])
                    self.assertIsNone(self.room.journal.messages[2].amends)

    def test_by_who_has_the_nick_now(self) -> None:
        """Once its owner was out of sight, a nick is anybody's: by whichever id the message is named."""
        ways = {
            "left": lambda history: history.occupant_left(f"{ROOM}/bob"),
            "the account was out": lambda history: history.out_of_step(),
        }
        for way, goes in ways.items():
            for change in (replacing("o"), retracting("o"), retracting("O"), retracting_first_form("O")):
                self.setUp()
                self.original()
                goes(self.room.history)
                self.room.history.in_step()
                self.room.history.occupant_shown(f"{ROOM}/bob")
                self.room.says("hehe", change, sent_id="c")
                self.assertEqual(self.room.gets("new"), ["teh", "hehe"], f"{way} {change}")
                self.assertIsNone(self.room.journal.messages[2].amends)

    def test_of_what_the_room_itself_said(self) -> None:
        """Only moderation is the room's; a retraction by nobody is of nobody's message."""
        self.original(nick="")
        for change in (replacing("o"), retracting("O"), retracting("o")):
            self.room.says("hehe", change, nick="eve")
        self.assertEqual(self.room.gets("new")[0], "teh")

    def test_of_one_that_is_gone(self) -> None:
        """Whatever a client wishes, the words that are left stand for themselves."""
        self.room = Speaker(history=2)
        self.original()
        self.room.now += 10
        self.room.says("the", replacing("o"))
        self.room.says("other")
        for wish in (None, HistoryRequest(max_stanzas=5), HistoryRequest(since=NOW), HistoryRequest(since=NOW + 5)):
            self.assertEqual(self.room.gets("stranger", wish), ["the", "other"], wish)

    def test_by_the_same(self) -> None:
        for nick, inner in (("Bob", ""), ("bob", occupant("b"))):
            self.setUp()
            self.original(nick=nick, inner=inner)
            self.room.says("the", replacing("o") + inner, nick=nick)
            self.assertEqual(self.room.gets("new"), ["the"])

    def test_encrypted(self) -> None:
        content = "<encrypted xmlns='eu.siacs.conversations.axolotl'>{}</encrypted>"
        self.room.says("", content.format("one"), sent_id="o")
        self.room.says("", content.format("two") + replacing("o"))
        (raw,) = self.room.history.select(None, "", NOW)
        self.assertIn(b">two<", raw)

    def test_wishes(self) -> None:
        self.original()
        self.room.now += 100
        self.room.says("the", replacing("o"))
        self.room.says("more")
        for who, wish, expected in [
            ("", HistoryRequest(max_stanzas=1), ["more"]),
            ("", HistoryRequest(max_stanzas=2), ["the", "more"]),
            ("", HistoryRequest(since=NOW), ["the", "more"]),
            ("", HistoryRequest(since=NOW + 50), ["the", "more"]),
            ("old", HistoryRequest(max_stanzas=2), ["the", "more"]),
            ("old", HistoryRequest(max_stanzas=3), ["the", "the", "more"]),
        ]:
            self.assertEqual(self.room.gets(who, wish), expected, (who, wish))
        (correction, _) = self.room.history.select(HistoryRequest(since=NOW + 50), "", self.room.now)
        self.assertIn(b"<replace", correction)

    def test_many_that_mention_an_id(self) -> None:
        for number in range(300):
            self.room.says(f"about o {number}")
        self.room.says("the", replacing("o"))
        self.assertEqual(self.room.gets("stranger")[-1], "the")

    def test_what_stays_of_a_message_that_is_corrected(self) -> None:
        """The room's id, once; a few of what its sender wrote there, none of them long."""
        sid = "urn:xmpp:sid:0"
        longest = "i" * 1024
        many = "".join(f"<{{0}}-id xmlns='{sid}' by='{{1}}' id='{n}'/>" for n in range(9))
        for inner, name, expected in (
            (f"<stanza-id xmlns='{sid}' by='{ROOM}' id='x'/>" * 3, "stanza-id", ["O"]),
            (many.format("stanza", "o@b.test"), "stanza-id", [*"0123", "O"]),
            (many.format("origin", ROOM), "origin-id", [*"0123"]),
            (f"<origin-id xmlns='{sid}' id='{longest}'/>", "origin-id", []),
            (f"<stanza-id xmlns='{sid}' by='o@b.test' id='{longest}'/>", "stanza-id", ["O"]),
        ):
            self.setUp()
            first = "x" if inner.count(f"by='{ROOM}' id='x'") else "O"
            self.original(inner=inner)
            self.room.says("the", replacing("o"))
            found = [one["id"] for one in self.kept().elements(sid, name)]
            self.assertEqual(found, [first if one == "O" else one for one in expected], inner[:100])
            self.assertEqual(self.room.gets("new"), ["the"])

    def test_the_longest_id_of_the_room_stays(self) -> None:
        for length, stays in ((1024, True), (1025, False)):
            self.setUp()
            self.room.says("teh", sent_id="o", room_id="i" * length)
            self.room.says("the", replacing("o"))
            self.assertEqual(b"i" * length in self.kept().raw, stays, length)

    def test_bytes_are_counted(self) -> None:
        self.original()
        for _ in range(30):
            self.room.says("x" * 400_000, replacing("o"))
        total = sum(len(message.raw) for message in self.room.history.entries)
        self.assertLessEqual(total, 8 * 1024 * 1024)


class Retractions(Case):
    def test_who_gets_what(self) -> None:
        for what, nick, inner in [
            ("by stanza-id", "bob", retracting("O")),
            ("by id", "bob", retracting("o")),
            ("first form", "bob", retracting_first_form("o")),
            ("moderation", "", moderating("O")),
            ("moderation, first form", "", moderating_first_form("O")),
        ]:
            with self.subTest(what):
                self.setUp()
                self.original()
                self.room.says("", inner, nick=nick, room_id="R")
                self.room.says("later")
                self.assertEqual(len(self.room.gets("old")), 2)
                self.assertEqual(self.room.gets("new"), ["later"])
                self.assertEqual(self.room.gets("stranger"), ["later"])
                grave = self.kept()
                self.assertTrue(self.room.journal.messages[1].retracted)
                self.assertNotIn(b"teh", grave.raw)
                retracted = payload_of(grave, *RETRACTED)
                self.assertEqual((retracted["id"], retracted["stamp"]), ("R", "2023-11-14T22:13:20.000Z"))
                moderated = next(retracted.elements("urn:xmpp:message-moderate:1", "moderated"), None)
                self.assertEqual(moderated is not None, not nick)
                if moderated is not None:
                    self.assertEqual((moderated["by"], str(retracted.reason)), (f"{ROOM}/mod", "rude"))
                    self.assertEqual(len(retracted.children), 2)
                else:
                    self.assertEqual(retracted.children, [])
                (stanza_id,) = grave.elements("urn:xmpp:sid:0", "stanza-id")
                self.assertEqual((stanza_id["id"], grave["id"], grave["from"]), ("O", "o", f"{ROOM}/bob"))

    def test_by_others(self) -> None:
        for nick, inner in [
            ("eve", retracting("O")),
            ("eve", retracting("o")),
            ("eve", retracting_first_form("o")),
            ("mod", moderating("O")),
            ("mod", moderating_first_form("O")),
            ("", retracting("O")),
        ]:
            self.setUp()
            self.original()
            self.room.says("", inner, nick=nick)
            self.assertEqual(self.room.gets("new")[0], "teh", inner)

    def test_of_what_was_corrected(self) -> None:
        for target in ("O", "C"):
            self.setUp()
            self.original()
            self.room.says("the", replacing("o"), room_id="C")
            self.room.says("", retracting(target))
            self.assertEqual(self.room.gets("old"), ["<retract>"])
            self.assertEqual(self.room.gets("new"), [])
            self.assertNotIn(b"the<", b"".join(message.raw for message in self.room.history.entries))

    def test_correction_of_what_was_retracted(self) -> None:
        self.original()
        self.room.says("", retracting("O"))
        self.room.says("the", replacing("o"))
        self.assertEqual(self.room.gets("new"), [])
        self.assertEqual(self.room.gets("old"), ["<retract>"])

    def test_unknown(self) -> None:
        self.room.says("", retracting("X"))
        self.assertEqual(self.room.gets("new"), ["<retract>"])

    def test_fastened_otherwise(self) -> None:
        inner = "<apply-to xmlns='urn:xmpp:fasten:0' id='o'><external name='body'/></apply-to>"
        self.assertEqual(self.room.says("", inner), Taken.PASSING)

    def test_without_id(self) -> None:
        self.assertEqual(self.room.says("", "<retract xmlns='urn:xmpp:message-retract:1'/>"), Taken.PASSING)
        self.assertEqual(self.room.says("x", "<replace xmlns='urn:xmpp:message-correct:0'/>"), Taken.NEW)

    def test_it_survives_a_restart(self) -> None:
        self.original()
        self.room.says("", retracting("O"))
        after = Speaker(Recorder(first=100), self.room.journal.kept())
        self.assertEqual(after.gets("new"), [])
        self.assertEqual(after.gets("old"), ["<retract>"])


class Room(SynchronousTestCase):
    """Whatever is said, corrected and retracted, every client sees in the end what one saw that was always there."""

    steps = st.lists(
        st.tuples(st.sampled_from(["says", "corrects", "retracts", "leaves", "comes", "restarts"]), st.integers(0, 6)),
        max_size=40,
    )

    @settings(max_examples=examples(200))
    @given(steps)
    def test_all_see_the_same(self, steps: list[tuple[str, int]]) -> None:
        room = Speaker(history=100)
        texts: dict[str, str | None] = {}
        screens: dict[str, dict[str, str | None]] = {"a": {}, "b": {}}
        there = {"a"}
        room.history.attached("a")
        for step, (what, which) in enumerate(steps):
            who = "b" if which % 2 else "a"
            target = f"m{which}"
            if what == "says" and target not in texts:
                live = message(target, f"t{step}")
                texts[target] = f"t{step}"
            elif what == "corrects" and texts.get(target) is not None:
                live = message(f"c{step}", f"t{step}", replacing(target))
                texts[target] = f"t{step}"
            elif what == "retracts" and texts.get(target) is not None:
                live = message(f"r{step}", "", retracting(f"room-{target}"))
                texts[target] = None
            else:
                if what == "leaves" and who in there:
                    there.remove(who)
                    room.history.detached(who)
                elif what == "comes" and who not in there:
                    there.add(who)
                    for raw in room.history.select(None, who, NOW):
                        look(screens[who], parse_stanza(raw))
                    room.history.attached(who)
                elif what == "restarts":
                    for one in there:
                        room.history.detached(one)
                    there = set()
                    room = restarted(room, step)
                continue
            self.assertEqual(room.history.take(live, NOW), Taken.NEW)
            for one in there:
                look(screens[one], live)
        for who in ("a", "b"):
            if who not in there:
                for raw in room.history.select(None, who, NOW):
                    look(screens[who], parse_stanza(raw))
        screens["new"] = {}
        for raw in room.history.select(None, "", NOW, everything=True):
            look(screens["new"], parse_stanza(raw))
        expected = {name: text for name, text in texts.items() if text is not None}
        for who, screen in screens.items():
            if who != "b" or "b" in there or room.journal.cursors.get("b") is not None:
                self.assertEqual({name: text for name, text in screen.items() if text is not None}, expected, who)


def restarted(before: Speaker, step: int) -> Speaker:
    journal = Recorder(1000 * (step + 1))
    journal.messages, journal.cursors = dict(before.journal.messages), dict(before.journal.cursors)
    return Speaker(journal, before.journal.kept(), history=100)


def message(sent_id: str, text: str, inner: str = "") -> Stanza:
    body = f"<body>{text}</body>" if text else ""
    stanza_id = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='room-{sent_id}'/>"
    return parse_stanza(
        f"<message type='groupchat' from='{ROOM}/bob' id='{sent_id}'>{body}{inner}{stanza_id}</message>"
    )


def look(screen: dict[str, str | None], stanza: Stanza) -> None:
    """What an ordinary client makes of a message. Nothing may come twice."""
    replace = stanza.payload("urn:xmpp:message-correct:0", "replace")
    retract = stanza.payload("urn:xmpp:message-retract:1", "retract")
    if replace is not None:
        assert screen[replace["id"]] is not None
        screen[replace["id"]] = str(stanza.element.body)
    elif retract is not None:
        screen[retract["id"].removeprefix("room-")] = None
    else:
        assert stanza["id"] not in screen, "twice"
        screen[stanza["id"]] = str(stanza.element.body)


class RoomsIds(SynchronousTestCase):
    def test_only_the_rooms_own(self) -> None:
        sid = "xmlns='urn:xmpp:sid:0'"
        for inner, expected in [
            ("", None),
            (f"<stanza-id {sid} by='{ROOM}' id='1'/>", "1"),
            (f'<stanza-id\n id = "1" by="{ROOM}" {sid} ></stanza-id>', "1"),
            (f"<stanza-id {sid} by='eve@a.test' id='1'/>", None),
            (f"<stanza-id {sid} by='{ROOM}'/>", None),
            (f"<stanza-id {sid} by='{ROOM}' id=''/>", None),
            (f"<stanza-id {sid} by='eve@a.test' id='1'/><stanza-id {sid} by='{ROOM}' id='2'/>", "2"),
            (f"<s:stanza-id xmlns:s='urn:xmpp:sid:0' by='{ROOM}' id='1'/>", "1"),
            (f"<stanza-id {sid} by='{ROOM}' id='a&amp;b'/>", "a&b"),
            (f"<stanza-id {sid} by='&#114;oom@muc.test' id='1'/>", "1"),
            (f"<stanza-id xmlns='urn:other' by='{ROOM}' id='1'/>", None),
            (f"<x xmlns='urn:x'><stanza-id {sid} by='{ROOM}' id='1'/></x>", None),
            (f"<s:stanza-id xmlns:s='urn:xmpp:sid:0' by='e' id='1'/><x><stanza-id by='{ROOM}' id='2'/></x>", None),
            (f"<body><![CDATA[<stanza-id {sid} by='{ROOM}' id='1'/>]]></body>", None),
            (f"<stanza-id {sid} by='e' id='1'/><body><![CDATA[<stanza-id by='{ROOM}' id='2'/>]]></body>", None),
            (f"<stanza-id {sid} by='{ROOM}' id='1'/><body>&lt;stanza-id by='e' id='2'/&gt;</body>", "1"),
        ]:
            found = stanza_id_of(parse_stanza(f"<message from='{ROOM}/b'>{inner}</message>"), ROOM)
            self.assertEqual(found, expected, inner)
