"""The history of a room: its bounds, what counts as the same message, and which client gets what."""

from __future__ import annotations

import itertools
from typing import TypedDict

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix.history.kept_messages import MAX_BYTES
from minimixproxy.minimix.history.read_positions import MAX_CURSORS
from minimixproxy.minimix.history.replay import Replay
from minimixproxy.minimix.history.room_history import SHORT_REPLAY, HistoryBudgets, RoomHistory, Taken
from minimixproxy.minimix.interfaces.journal import KeptMembership, KeptMessage, KeptRoom
from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.xep.delays import format_time, parse_time
from minimixproxy.xep.muc_history import HistoryRequest
from tests.minimix.fakes import ROOM
from tests.minimix.null_journal import NullRoomJournal

NOW = 1_700_000_000.0


class Recorder(NullRoomJournal):
    """A journal that can be asked what it holds."""

    def __init__(self, first: int = 1) -> None:
        super().__init__(itertools.count(first))
        self.messages: dict[int, KeptMessage] = {}
        self.cursors: dict[str, int] = {}
        self.there: list[str] = []
        self.trims = 0
        self.gate: int | None = None

    def given_out(self) -> int:
        return super().given_out() if self.gate is None else self.gate

    def message_kept(self, message: KeptMessage) -> None:
        assert message.sequence not in self.messages
        self.messages[message.sequence] = message

    def message_changed(self, message: KeptMessage) -> None:
        assert message.sequence in self.messages
        self.messages[message.sequence] = message

    def message_gone(self, sequence: int) -> None:
        del self.messages[sequence]

    def trimmed(self, oldest: int) -> None:
        self.trims += 1
        self.messages = {sequence: message for sequence, message in self.messages.items() if sequence >= oldest}

    def attached(self, resource: str) -> None:
        self.there.append(resource)

    def seen(self, resource: str, sequence: int) -> None:
        self.cursors[resource] = sequence

    def cursor_forgotten(self, resource: str) -> None:
        self.cursors.pop(resource, None)

    def kept(self) -> KeptRoom:
        return KeptRoom(
            ROOM, KeptMembership("alice", "alice"), messages=list(self.messages.values()), cursors=dict(self.cursors)
        )


class Described(TypedDict, total=False):
    """What may be said of a message, see `Speaker.says`."""

    nick: str
    sent_id: str | None
    room_id: str | None
    stamp: float | None


class Speaker:
    """A history, and short ways to fill it and to look at it."""

    def __init__(
        self,
        journal: Recorder | None = None,
        kept: KeptRoom | None = None,
        budget: ByteBudget | None = None,
        marker_budget: ByteBudget | None = None,
        **settings: object,
    ) -> None:
        self.journal = journal or Recorder()
        self.now = NOW
        budgets = HistoryBudgets(budget, marker_budget)
        self.history = RoomHistory(ROOM, Rooms.model_validate(settings), self.journal, kept, budgets)
        self.history.at_least = 0  # what a client has not seen, and nothing beside it
        for nick in ("bob", "Bob", "eve"):
            self.history.occupant_shown(f"{ROOM}/{nick}")
        self.history.in_step()

    def says(
        self,
        body: str,
        inner: str = "",
        *,
        nick: str = "bob",
        sent_id: str | None = None,
        room_id: str | None = None,
        stamp: float | None = None,
    ) -> Taken:
        attribute = f" id='{sent_id}'" if sent_id is not None else ""
        sender = f"{ROOM}/{nick}" if nick else ROOM
        text = f"<body>{body}</body>" if body else ""
        stanza_id = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='{room_id}'/>" if room_id is not None else ""
        delay = f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='{format_time(stamp)}'/>" if stamp else ""
        xml = f"<message type='groupchat' from='{sender}'{attribute}>{text}{inner}{stanza_id}{delay}</message>"
        return self.history.take(parse_stanza(xml), self.now, past=stamp is not None)

    def gets(self, resource: str = "", wish: HistoryRequest | None = None, *, everything: bool = False) -> list[str]:
        return bodies(self.history.select(wish, resource, self.now, everything=everything))


def bodies(replay: Replay) -> list[str]:
    """What the messages say, those without text by the name of their first child."""
    found = []
    for raw in replay:
        element = parse_stanza(raw).element
        found.append(str(element.body) if element.body is not None else f"<{next(element.elements()).name}>")
    return found


def replacing(sent_id: str) -> str:
    return f"<replace xmlns='urn:xmpp:message-correct:0' id='{sent_id}'/>"


def retracting(target: str) -> str:
    return f"<retract xmlns='urn:xmpp:message-retract:1' id='{target}'/>"


class Bounds(SynchronousTestCase):
    def test_count(self) -> None:
        room = Speaker(history=3)
        for number in range(5):
            room.says(f"m{number}")
        self.assertEqual(room.gets(everything=True), ["m2", "m3", "m4"])
        self.assertEqual(len(room.history), 3)

    def test_bytes(self) -> None:
        room = Speaker(history=1000)
        for _ in range(20):
            room.says("x" * (MAX_BYTES // 10))
        self.assertEqual(len(room.history), 9)

    def test_bytes_of_a_large_history(self) -> None:
        room = Speaker(history=100_000)
        for _ in range(20):
            room.says("x" * (MAX_BYTES // 10))
        self.assertEqual(len(room.history), 20)

    def test_bytes_are_those_of_what_is_kept(self) -> None:
        """Whatever becomes of messages: what the account's other rooms can have is what these do not."""
        budget = ByteBudget(10_000_000)
        room = Speaker(budget=budget, history=6, history_age=1000)
        first = "x" * 5000
        steps = {
            "said": lambda: room.says(first, sent_id="a", room_id="A"),
            "corrected, shorter": lambda: room.says("y" * 100, replacing("a"), sent_id="b"),
            "corrected, longer": lambda: room.says("z" * 9000, replacing("a"), sent_id="c"),
            "retracted": lambda: room.says("", retracting("A"), sent_id="d"),
            "cannot be shown": lambda: room.history.leave_out(room.history.entries[0], ValueError()),
            "too many": lambda: [room.says(f"m{number}") for number in range(10)],
            "too old": lambda: setattr(room, "now", room.now + 2000),
        }
        for name, step in steps.items():
            step()
            room.says("and more")
            kept = sum(len(message.raw) for message in room.history.entries)
            self.assertEqual(budget.used, kept, name)
            if name != "too old":  # what is not thrown away on disk is not counted here either
                self.assertLessEqual(kept, sum(len(message.raw) for message in room.journal.messages.values()), name)
        again = ByteBudget(10_000_000)
        restored = Speaker(Recorder(first=1000), room.journal.kept(), budget=again, history=6, history_age=1000)
        self.assertEqual(again.used, sum(len(message.raw) for message in restored.history.entries))
        for history, used in ((room.history, budget), (restored.history, again)):
            history.close()
            self.assertEqual(used.used, 0)
        self.flushLoggedErrors()

    def test_bytes_of_what_is_changed_count(self) -> None:
        """A short message that is corrected to a long one costs older ones their place."""
        room = Speaker(history=1000)
        for number in range(12):
            room.says("short", sent_id=f"s{number}")
        for number in range(12):
            room.says("x" * (MAX_BYTES // 10), replacing(f"s{number}"))
        self.assertLessEqual(sum(len(message.raw) for message in room.history.entries), MAX_BYTES)

    def test_none(self) -> None:
        room = Speaker(history=0)
        self.assertEqual(room.says("x"), Taken.NEW)
        self.assertEqual(room.gets(everything=True), [])
        self.assertEqual(room.journal.messages, {})

    def test_age(self) -> None:
        room = Speaker(history_age=1000)
        room.says("old")
        room.now += 600
        room.says("new")
        room.now += 401
        self.assertEqual(room.gets(everything=True), ["new"])

    def test_old_ones_leave_the_disk(self) -> None:
        room = Speaker(history_age=1000)
        room.says("old")
        room.now += 1099
        room.gets()
        self.assertEqual(len(room.journal.messages), 1)
        room.now += 2
        room.gets()
        self.assertEqual(room.journal.messages, {})
        self.assertEqual(len(room.history), 0)

    def test_trimming_is_seldom(self) -> None:
        room = Speaker(history=200)
        for number in range(2000):
            room.says(f"m{number}")
            self.assertLess(len(room.journal.messages), 220)
        self.assertEqual(len(room.history), 200)
        self.assertEqual(room.journal.trims, 90)

    def test_restored(self) -> None:
        before = Speaker(history=100)
        for number in range(105):
            before.says(f"m{number}", room_id=f"i{number}")
        before.history.detached("phone")
        before.says("unseen", room_id="u")
        after = Speaker(Recorder(first=1000), before.journal.kept(), history=100)
        self.assertEqual(after.says("unseen", room_id="u"), Taken.DUPLICATE)
        after.says("new")
        self.assertEqual(after.gets("phone"), ["unseen", "new"])
        self.assertEqual(len(after.gets(everything=True)), 100)


class Cursors(SynchronousTestCase):
    def test_least_recent_is_forgotten(self) -> None:
        room = Speaker()
        for number in range(MAX_CURSORS + 10):
            room.history.detached(f"r{number}")
        self.assertEqual(len(room.journal.cursors), MAX_CURSORS)
        for number in range(30):
            room.says(f"m{number}")
        self.assertEqual(len(room.gets("r9")), 20)
        self.assertEqual(len(room.gets("r10")), 30)

    def test_what_did_not_pass_the_gate_was_not_seen(self) -> None:
        room = Speaker()
        room.says("one")
        room.journal.gate = 1
        room.says("two")
        room.history.detached("phone")
        self.assertEqual(room.gets("phone"), ["two"])

    def test_a_replay_that_was_not_taken_was_not_seen(self) -> None:
        room = Speaker()
        room.history.detached("phone")
        for number in range(5):
            room.says(f"m{number}")
        replay = iter(room.history.select(None, "phone", room.now))
        room.history.attached("phone")
        next(replay)
        next(replay)
        room.says("live")
        room.history.detached("phone")
        self.assertEqual(room.gets("phone"), ["m2", "m3", "m4", "live"])

    def test_on_disk_it_counts_as_there_before_it_gets_a_short_replay(self) -> None:
        """The gate holds the replay until then, so that a crash in between has nothing given twice."""
        room = Speaker()
        room.says("m")
        room.history.select(None, "phone", room.now)
        room.history.attached("phone")
        self.assertEqual(room.journal.there, ["phone"])

    def test_on_disk_it_counts_as_there_once_a_long_replay_was_taken(self) -> None:
        room, everything = Speaker(), HistoryRequest(max_stanzas=1000)
        for number in range(SHORT_REPLAY + 1):
            room.says(f"m{number}")
        replay = room.history.select(everything, "phone", room.now)
        room.history.attached("phone")
        self.assertEqual(room.journal.there, [])
        list(replay)
        self.assertEqual(room.journal.there, ["phone"])
        replay = room.history.select(everything, "laptop", room.now)
        room.history.attached("laptop")
        room.history.detached("laptop")
        list(replay)
        self.assertEqual(room.journal.there, ["phone"])
        self.assertEqual(room.journal.cursors, {"phone": 0, "laptop": 0})

    def test_on_disk_one_that_acknowledges_is_there_at_once(self) -> None:
        """Be its replay as long as it may: it says itself when it has got it."""
        room, everything = Speaker(), HistoryRequest(max_stanzas=1000)
        for number in range(SHORT_REPLAY + 1):
            room.says(f"m{number}")
        replay = room.history.select(everything, "phone", room.now)
        room.history.attached("phone", managed=True)
        self.assertEqual(room.journal.there, ["phone"])
        list(replay)
        self.assertEqual(room.journal.there, ["phone"])

    def test_on_disk_a_new_one_is_where_its_replay_begins_before_it_gets_that(self) -> None:
        """A crash must not make it a new one again: more than the few messages of such a one may wait for it."""
        for length, managed in itertools.product((0, 5, SHORT_REPLAY + 1), (True, False)):
            room = Speaker()
            for number in range(length + 10):
                room.says(f"m{number}")
            room.history.select(HistoryRequest(max_stanzas=length), "phone", room.now)
            room.history.attached("phone", managed=managed)
            self.assertEqual(room.journal.cursors, {"phone": 10}, (length, managed))

    def test_who_is_there_is_not_forgotten(self) -> None:
        """However many others come and go."""
        room = Speaker()
        room.says("m")
        for resource in ("phone", "new"):
            if resource == "phone":
                room.history.detached(resource)
            room.history.select(None, resource, room.now)
            room.history.attached(resource)
        for number in range(MAX_CURSORS + 10):
            room.history.detached(f"r{number}")
        self.assertEqual([room.journal.cursors.get(one) for one in ("phone", "new")], [1, 0])
        self.assertEqual(len(room.journal.cursors), MAX_CURSORS + 2)
        for resource in ("phone", "new"):
            room.history.detached(resource)
        self.assertEqual(len(room.journal.cursors), MAX_CURSORS)

    def test_what_did_not_reach_the_client_was_not_seen(self) -> None:
        for reached, expected in [
            (float("inf"), 0),
            (100, 0),
            (11, 0),
            (10, 1),
            (6, 5),
            (1, 10),
            (0, 11),
        ]:
            room = Speaker()
            room.history.detached("phone")
            room.now += 20
            room.says("old", stamp=NOW)
            room.history.select(None, "phone", room.now)
            for number in range(10):
                room.now += 10
                room.says(f"m{number}")
            room.history._replays.clear()
            room.history.detached("phone", reached)
            self.assertEqual(len(room.gets("phone")), expected, reached)

    def test_much_that_did_not_reach_the_client(self) -> None:
        room = Speaker(history=5000)
        room.history.detached("phone")
        for number in range(3000):
            room.says(f"m{number}")
        room.history.detached("phone", 10)
        self.assertEqual(len(room.gets("phone")), 2990)

    def test_a_replay_that_did_not_reach_the_client_was_not_seen(self) -> None:
        everything = ["m0", "m1", "m2", "m3", "m4"]
        for reached, taken, expected in [
            (float("inf"), 5, []),
            (float("inf"), 2, everything[2:]),
            (6, 5, []),
            (6, 2, everything),
            (5, 5, everything),
        ]:
            for seen in (True, False):
                room = Speaker()
                if seen:
                    room.history.detached("phone")
                for text in everything:
                    room.says(text)
                replay = iter(room.history.select(None, "phone", room.now))
                room.history.attached("phone")
                self.assertEqual(len([raw for _, raw in zip(range(taken), replay, strict=False)]), taken)
                room.history.detached("phone", reached)
                self.assertEqual(room.gets("phone"), expected, (reached, taken, seen))

    def test_one_that_was_never_reached_is_where_it_was(self) -> None:
        """Be its replay empty, short or absent, and whatever was said since."""
        for before in (0, 2):
            room = Speaker()
            for text in ("m0", "m1"):
                room.says(text)
            if before:
                room.history.detached("phone")
            for text in ("m2", "m3"):
                room.says(text)
            list(room.history.select(HistoryRequest(max_stanzas=0), "phone", room.now))
            room.history.attached("phone")
            room.says("m4")
            room.history.detached("phone", 0)
            expected = ["m2", "m3", "m4"] if before else ["m4"]
            self.assertEqual(room.gets("phone"), expected, before)

    def test_a_new_client_that_was_not_reached_misses_nothing_said_since(self) -> None:
        """It is not new any more: more than the few messages that a new one is given may wait for it."""
        room = Speaker()
        list(room.history.select(None, "phone", room.now))
        room.history.attached("phone")
        room.history.detached("phone", 0)
        texts = [f"m{number}" for number in range(60)]
        for text in texts:
            room.says(text)
        self.assertEqual(room.gets("phone"), texts)

    def test_a_replay_that_was_taken_was_seen(self) -> None:
        room = Speaker()
        room.says("one")
        self.assertEqual(room.gets("phone"), ["one"])
        room.history.detached("phone")
        self.assertEqual(room.gets("phone"), [])


class Late(SynchronousTestCase):
    """The archive told too late what was said while the account was out: a client had heard what was said since."""

    def setUp(self) -> None:
        self.room = Speaker()
        self.room.says("before")
        self.room.now += 100
        self.room.says("since")
        self.room.history.detached("phone")
        self.room.says("missed", stamp=NOW + 50)
        self.room.now += 100
        self.room.says("new")

    def test_whatever_a_client_asks_for(self) -> None:
        """It cannot know of it. What is new is its own affair."""
        for wish, expected in {
            None: ["missed", "new"],
            HistoryRequest(max_stanzas=0): ["missed"],
            HistoryRequest(max_stanzas=1): ["missed", "new"],
            HistoryRequest(max_stanzas=10): ["before", "since", "missed", "new"],
            HistoryRequest(max_chars=0): ["missed"],
            HistoryRequest(since=NOW + 100): ["since", "missed", "new"],
            HistoryRequest(since=NOW + 1000): ["missed"],
        }.items():
            self.assertEqual(self.room.gets("phone", wish), expected, wish)

    def test_once(self) -> None:
        nothing = HistoryRequest(max_stanzas=0)
        self.assertEqual(self.room.gets("phone", nothing), ["missed"])
        self.room.history.attached("phone")
        self.room.history.detached("phone")
        self.assertEqual(self.room.gets("phone", nothing), [])

    def test_only_a_client_that_was_there(self) -> None:
        for resource in ("", "tablet"):
            self.assertEqual(self.room.gets(resource, HistoryRequest(max_stanzas=0)), [], resource)

    def test_a_client_of_which_is_not_known_that_it_heard_what_was_said_since(self) -> None:
        """It went without a word: for all that is known it got nothing that time, though it asks behind that."""
        room = Speaker()
        room.says("before")
        room.history.detached("phone")
        room.history.attached("phone")
        room.now += 100
        room.says("since")
        room.history.detached("phone", 0)
        for minutes in (2, 1):
            room.says(f"missed {minutes}", stamp=NOW + minutes)
        room.now += 100
        room.says("new")
        missed = ["missed 2", "missed 1"]
        self.assertEqual(room.gets("phone", HistoryRequest(since=NOW + 150)), [*missed, "new"])
        self.assertEqual(room.gets("phone", HistoryRequest(max_stanzas=0)), missed)
        self.assertEqual(room.gets("phone"), ["since", *missed, "new"])

    def test_not_what_has_gone(self) -> None:
        self.room.says("wrong", sent_id="m", stamp=NOW + 60)
        self.room.says("", retracting("m"))
        self.assertEqual(self.room.gets("phone", HistoryRequest(max_stanzas=0)), ["missed"])


class Times(SynchronousTestCase):
    def test_parse(self) -> None:
        for text, expected in [
            ("2023-11-14T22:13:20Z", 1_700_000_000),
            ("2023-11-14T22:13:20.5Z", 1_700_000_000.5),
            ("2023-11-14T23:13:20+01:00", 1_700_000_000),
            ("2023-11-14T22:13:20", 1_700_000_000),
            ("0001-01-01T00:00:00+23:59", None),
            ("yesterday", None),
            ("", None),
        ]:
            parsed = parse_time(text)
            self.assertTrue(parsed == expected or (expected is None and parsed is not None and parsed < 0), text)

    def test_format(self) -> None:
        self.assertEqual(format_time(1_700_000_000.25), "2023-11-14T22:13:20.250Z")


class Duplicates(SynchronousTestCase):
    def setUp(self) -> None:
        self.room = Speaker()

    def test_by_the_rooms_id(self) -> None:
        self.assertEqual(self.room.says("one", room_id="1"), Taken.NEW)
        self.assertEqual(self.room.says("one", room_id="2"), Taken.NEW)
        self.assertEqual(self.room.says("one", room_id="1", stamp=NOW - 5), Taken.DUPLICATE)
        self.assertEqual(self.room.says("one", room_id="3", stamp=NOW), Taken.NEW)
        self.assertEqual(self.room.gets(everything=True), ["one"] * 3)

    def test_by_an_id_in_anothers_name(self) -> None:
        inner = "<stanza-id xmlns='urn:xmpp:sid:0' by='eve@a.test' id='1'/>"
        self.assertEqual(self.room.says("one", inner), Taken.NEW)
        self.assertEqual(self.room.says("two", inner), Taken.NEW)

    def test_by_what_they_say(self) -> None:
        self.room.says("one", sent_id="a")
        self.room.says("two")
        table: list[tuple[Taken, str, Described]] = [
            (Taken.DUPLICATE, "one", {"sent_id": "a", "stamp": NOW - 30}),
            (Taken.DUPLICATE, "one", {"sent_id": "a", "stamp": NOW + 30, "room_id": "x"}),
            (Taken.DUPLICATE, "two", {"stamp": NOW - 3}),
            (Taken.NEW, "two", {"stamp": NOW - 10}),
            (Taken.NEW, "one", {"sent_id": "a", "stamp": NOW - 100}),
            (Taken.NEW, "one", {"sent_id": "b", "stamp": NOW}),
            (Taken.NEW, "one", {"sent_id": "a", "stamp": NOW, "nick": "eve"}),
            (Taken.NEW, "three", {"sent_id": "a", "stamp": NOW}),
            (Taken.NEW, "one", {"sent_id": "a"}),
        ]
        for expected, body, arguments in table:
            self.assertEqual(self.room.says(body, **arguments), expected, (body, arguments))

    def test_with_an_id_of_the_room_here_or_there_only(self) -> None:
        """A room may begin to give ids, or its archive may: two ids are two messages, one says nothing."""
        self.room.says("mine", room_id="1")
        self.room.says("old")
        table: list[tuple[Taken, str, Described]] = [
            (Taken.DUPLICATE, "mine", {"stamp": NOW}),
            (Taken.DUPLICATE, "old", {"stamp": NOW, "room_id": "2"}),
            (Taken.NEW, "mine", {"stamp": NOW, "room_id": "3"}),
        ]
        for expected, body, arguments in table:
            self.assertEqual(self.room.says(body, **arguments), expected, (body, arguments))

    def test_what_says_nothing_is_never_the_same(self) -> None:
        """Neither a text nor an id: two stickers are two messages."""
        hint = "<store xmlns='urn:xmpp:hints'/>"
        for sticker in (f"<body/>{hint}", f"{hint}<body></body>", f"{hint}<body/>", hint):
            self.setUp()
            self.assert_never_the_same(sticker)

    def assert_never_the_same(self, sticker: str) -> None:
        for _ in range(2):
            self.assertEqual(self.room.says("", sticker, stamp=NOW - 5), Taken.NEW)
        self.assertFalse(self.room.history._kept._identities.used, "nor is anything looked for: there is no index yet")
        self.assertEqual(self.room.says("", sticker, stamp=NOW - 5, sent_id="a"), Taken.NEW)
        self.assertEqual(self.room.says("", sticker, stamp=NOW - 5, sent_id="a"), Taken.DUPLICATE)

    def test_texts_that_take_a_parser_to_read(self) -> None:
        """They are recognized by their ids only: nothing is parsed to find out."""
        for inner in (
            "<body xml:lang='de'>a</body><body xml:lang='en'>b</body>",
            "<b:body xmlns:b='jabber:client'>a</b:body>",
            "<body><![CDATA[a]]></body>",
            "<body>a</body><b:body xmlns:b='jabber:client' xml:lang='en'>b</b:body>",
        ):
            self.setUp()
            hint = "<store xmlns='urn:xmpp:hints'/>"
            self.assertEqual([self.room.says("", inner + hint, stamp=NOW) for _ in range(2)], [Taken.NEW] * 2, inner)
            named = [self.room.says("", inner + hint, stamp=NOW, sent_id="a") for _ in range(2)]
            self.assertEqual(named, [Taken.NEW, Taken.DUPLICATE], inner)

    def test_escapes_make_no_difference(self) -> None:
        self.room.says("&lt;&gt;&apos;&quot;", stamp=NOW)
        self.assertEqual(self.room.says("&lt;>'\"", stamp=NOW), Taken.DUPLICATE)
        self.room.says("a &lt; b &amp;amp; 'c'")
        self.assertEqual(self.room.says("a &lt; b &amp;amp; &apos;c&apos;", stamp=NOW), Taken.DUPLICATE)
        self.assertEqual(self.room.says("a &lt; b &amp; 'c'", stamp=NOW), Taken.NEW)

    def test_behind_many_newer_ones(self) -> None:
        room = Speaker(history=5000)
        room.says("first", sent_id="a")
        room.now += 1000
        for number in range(3000):
            room.says(f"m{number}")
        self.assertEqual(room.says("first", sent_id="a", stamp=NOW), Taken.DUPLICATE)

    def test_passing(self) -> None:
        for inner in [
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
            "<subject>topic</subject>",
        ]:
            self.assertEqual(self.room.says("", inner), Taken.PASSING)
        self.assertEqual(self.room.says("hidden", "<no-store xmlns='urn:xmpp:hints'/>"), Taken.PASSING)

    def test_newest(self) -> None:
        self.assertEqual(self.room.history.newest, (None, None))
        self.room.says("one")
        self.assertEqual(self.room.history.newest, (None, NOW))
        self.room.now += 5
        self.room.says("two", room_id="2", stamp=NOW + 1)
        self.room.says("three")
        self.assertEqual(self.room.history.newest, ("2", NOW + 1))

    def test_newest_where_the_room_gives_no_ids(self) -> None:
        for later in (0, 5):
            self.room.now = NOW + later
            self.room.says("x")
            self.assertEqual(self.room.history.newest, (None, NOW + later))
