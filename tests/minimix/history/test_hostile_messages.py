"""Messages of hostile occupants, and what they cost those who are told of them later."""

from __future__ import annotations

from typing import Unpack

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.config.settings import Rooms
from minimixproxy.jids import Address, parse_jid
from minimixproxy.minimix.history import nick_tenure, senders
from minimixproxy.minimix.history.archive import answer
from minimixproxy.minimix.history.nick_tenure import NickTenure
from minimixproxy.minimix.history.private_messages import MAX_BYTES, PrivateMessages
from minimixproxy.minimix.history.room_history import RoomHistory, Taken
from minimixproxy.minimix.history.senders import LARGEST, MOST_TAGS
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMembership, KeptMessage, KeptPrivate, KeptRoom
from minimixproxy.minimix.room.budgets import WAITING_BYTES, WAITING_OWN
from minimixproxy.minimix.subprotocols.open_iqs import MAX_ID_BYTES
from minimixproxy.minimix.subprotocols.open_queries import OpenQueries, query_key
from minimixproxy.wire import children
from minimixproxy.wire.stanza import MalformedStanza, Stanza, parse_stanza
from minimixproxy.xep import delays
from minimixproxy.xep.delays import (
    LAST,
    MOST_STAMPS,
    delay_of,
    format_time,
    parse_time,
    possible_time,
    stamp,
    without_delays,
)
from minimixproxy.xep.muc_history import HistoryRequest
from tests.minimix.fakes import BARE, ROOM, STREAM, World, kinds
from tests.minimix.history.test_amendments import occupant
from tests.minimix.history.test_room_history import NOW, Described, Recorder, Speaker, replacing, retracting
from tests.minimix.null_journal import NullJournal

DELAY = "urn:xmpp:delay"
JOIN = "<x xmlns='http://jabber.org/protocol/muc'/>"
SELF = "<x xmlns='http://jabber.org/protocol/muc#user'><item role='participant'/><status code='110'/></x>"
HINT = "<store xmlns='urn:xmpp:hints'/>"
STRANGE = "<x xmlns='urn:x'>text</x><body xmlns='urn:x'>text</body>"  # which nobody reads


def archive_query(inner: str) -> Stanza:
    form = f"<field var='FORM_TYPE'><value>urn:xmpp:mam:2</value></field>{inner}"
    return parse_stanza(
        f"<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data'>{form}</x></query></iq>"
    )


class LargeRetractions(SynchronousTestCase):
    """What takes a message back takes all of its corrections back: of what it says, they have little each."""

    CORRECTIONS = 200
    LARGE = "&apos;" * 20_000

    def room(self) -> Speaker:
        room = Speaker()
        room.says("others")
        room.says("said", sent_id="m", room_id="i0")
        for number in range(self.CORRECTIONS):
            room.says("said", replacing("m"), sent_id=f"c{number}", room_id=f"i{number + 1}")
        return room

    def assert_small(self, room: Speaker) -> None:
        entries = room.history.entries
        self.assertEqual(len(entries), self.CORRECTIONS + 3, "nobody else's is pushed out")
        self.assertTrue(all(message.retracted for message in entries[1:-1]))
        self.assertLess(max(len(message.raw) for message in entries[2:-1]), 2000)
        written = sum(len(message.raw) for message in room.journal.messages.values())
        self.assertLess(written, 4 * len(self.LARGE) + 2000 * self.CORRECTIONS)

    def test_by_its_sender(self) -> None:
        room = self.room()
        room.says("", retracting("m"), sent_id=self.LARGE)
        self.assert_small(room)

    def test_by_the_room(self) -> None:
        for by, reason in ((self.LARGE, "rude"), (f"{ROOM}/mod", self.LARGE)):
            room = self.room()
            moderated = f"<moderated xmlns='urn:xmpp:message-moderate:1' by='{by}'/><reason>{reason}</reason>"
            retract = f"<retract xmlns='urn:xmpp:message-retract:1' id='i0'>{moderated}</retract>"
            room.says("", retract, nick="", sent_id="m")
            self.assert_small(room)


class OthersRetractions(SynchronousTestCase):
    """Whoever takes back what somebody else said does not have all of that read, by each account that is there."""

    LARGE = f"<w xmlns='u'>{'<x/>' * (MOST_TAGS + 1)}</w>"
    LONG = f"<w xmlns='u'>{'x' * (LARGEST + 1)}</w>"
    QUOTED = f"<w xmlns='u'>{occupant('q')}{'<x/>' * MOST_TAGS}</w>"

    def retracts(self, inner: str, nick: str, own: str) -> list[str]:
        """What is told of a message of bob's when `nick`, whose id is `own`, has taken it back."""
        read: list[bytes] = []

        def reads(raw: bytes) -> Stanza:
            read.append(raw)
            return children.stanza_of_bytes(raw)

        self.patch(senders, "stanza_of_bytes", reads)
        room = Speaker()
        room.history.senders.entered(parse_stanza(f"<presence from='{ROOM}/alice'>{occupant('a')}</presence>"))
        room.says("said", inner + occupant("b"), sent_id="m", room_id="i")
        room.says("", retracting("i") + occupant(own), nick=nick)
        self.assertEqual(read, [])
        return room.gets()

    def test_by_somebody_else(self) -> None:
        for inner in (self.LARGE, self.LONG, self.QUOTED):
            self.assertEqual(self.retracts(inner, "eve", "e"), ["said", "<retract>"])

    def test_by_its_sender(self) -> None:
        for inner in (self.LARGE, self.LONG):
            self.assertEqual(self.retracts(inner, "Bob", "b"), [])

    def test_by_its_sender_who_has_made_it_doubtful(self) -> None:
        """Clients are told both, and make of it what they like."""
        for who in "bq":
            self.assertEqual(self.retracts(self.QUOTED, "bob", who), ["said", "<retract>"])

    def test_in_a_room_that_gives_no_ids(self) -> None:
        self.patch(senders, "stanza_of_bytes", self.fail)
        room = Speaker()
        room.says("said", self.QUOTED, sent_id="m", room_id="i")
        room.says("", retracting("i"), nick="eve")
        self.assertEqual(room.gets(), ["said", "<retract>"])
        room.says("", retracting("i"))
        self.assertEqual(room.gets(), ["<retract>"])


class EmptyCorrections(SynchronousTestCase):
    def test_is_nothing(self) -> None:
        chat_state = "<active xmlns='http://jabber.org/protocol/chatstates'/>"
        for more in ("", HINT, "<body/>", "<body></body>", chat_state, STRANGE):
            room = Speaker()
            room.says("said", sent_id="m")
            self.assertEqual(room.says("", replacing("m") + more), Taken.PASSING, more)
            self.assertEqual(room.gets(), ["said"])
            self.assertEqual(len(room.journal.messages), 1)

    def test_with_content_it_is_one(self) -> None:
        encrypted = "<encrypted xmlns='urn:xmpp:omemo:2'/>"
        for more in ("<body>x</body>", encrypted):
            room = Speaker()
            room.says("said", sent_id="m")
            self.assertEqual(room.says("", replacing("m") + more), Taken.NEW, more)
            self.assertEqual(len(room.gets()), 1)

    def test_odd_forms_are_shown(self) -> None:
        for inner in (
            "<body/>",
            "<body  />",
            f"<body xmlns='jabber:client'>a</body >{occupant('b')}",
            "<body><![CDATA[</message>]]></body>",
            "<body>a</body><x a='&lt;/message>'/>",
            "<body>a</body>\n",
            "<stream:x xmlns:stream='http://etherx.jabber.org/streams'/><body>a</body>",
        ):
            room = Speaker()
            self.assertEqual(room.says("", inner, sent_id="m"), Taken.NEW)
            (raw,) = room.history.select(None, "", NOW)
            (delay,) = parse_stanza(raw).elements(DELAY, "delay")
            self.assertEqual(delay["from"], ROOM)


class Poisoned(SynchronousTestCase):
    """An earlier version has kept what cannot be shown."""

    bad = (b"<message type='groupchat' from='room@muc.test/bob'/>", b"", b"<", b"message</", b"\xff</a>")

    def kept(self, *, stamped: bool) -> KeptRoom:
        good = b"<message type='groupchat' from='room@muc.test/bob' id='%d'><body>good</body></message>"
        raws = [raw for number, one in enumerate(self.bad) for raw in (good % number, one)]
        messages = [KeptMessage(number, NOW, raw, stamped) for number, raw in enumerate(raws, 1)]
        return KeptRoom(ROOM, KeptMembership("alice", "alice"), messages=messages)

    def restarted(self, *, stamped: bool) -> Speaker:
        room = Speaker(Recorder(100), self.kept(stamped=stamped))
        room.journal.messages = {message.sequence: message for message in room.history.entries}
        return room

    def test_it_is_left_out_and_kept_no_more(self) -> None:
        room = self.restarted(stamped=False)
        replay = room.history.select(None, "phone", NOW)
        self.assertEqual([str(parse_stanza(raw).element.body) for raw in replay.to(STREAM)], ["good"] * 5)
        self.assertTrue(replay.finished)
        self.assertEqual(room.history.faulty, 5)
        self.assertEqual((len(room.history), len(room.journal.messages)), (5, 5))
        room.history.detached("phone")
        self.assertEqual(room.gets("phone"), [])

    def test_counting_characters(self) -> None:
        room = self.restarted(stamped=False)
        replay = room.history.select(HistoryRequest(max_chars=10_000), "phone", NOW)
        self.assertEqual([str(parse_stanza(raw).element.body) for raw in replay.to(STREAM)], ["good"] * 5)
        self.assertEqual((room.history.faulty, len(room.history)), (5, 5))

    def test_nothing_else_stumbles_over_it(self) -> None:
        for stamped in (True, False):
            room = self.restarted(stamped=stamped)
            room.history.senders.gives_ids = True
            self.assertEqual(room.says("again", room_id="1", stamp=NOW), Taken.NEW)
            self.assertEqual(room.says("good", sent_id="1", stamp=NOW), Taken.DUPLICATE)
            self.assertEqual(room.says("", retracting("7")), Taken.NEW)
            for inner in ("", f"<field var='with'><value>{ROOM}/bob</value></field>"):
                query = archive_query(inner)
                self.assertIn(b"<fin ", answer(ROOM, room.history, STREAM, query, NOW)[-1])

    def test_a_device_is_shown_the_room(self) -> None:
        world = World(history_age=10 * 365 * 86400)
        kept = self.kept(stamped=False)
        private = b"<message from='room@muc.test/bob'><body>psst</body></message>"
        kept.privates = [KeptPrivate(50, b""), KeptPrivate(51, private)]
        world.account.restore(KeptAccount(BARE, None, refused=False, last_seen=NOW, rooms=[kept]))
        world.stream.jid = STREAM
        world.stream.opened()
        world.comes_back()
        phone = world.session("phone")
        world.asks_to_join(phone)
        self.assertEqual(
            kinds(phone.received),
            ["presence bob", "presence alice 100 110", *["bob: good"] * 5, "subject topic", "bob: psst"],
        )


class Times(SynchronousTestCase):
    def test_reading(self) -> None:
        for text, expected in [
            ("1970-01-01T00:00:00Z", 0.0),
            ("9999-12-31T23:59:59-12:00", LAST + 12 * 3600),
            ("0001-01-01T00:00:00+14:00", -62135596800.0 - 14 * 3600),
            ("2016-12-31T23:59:60Z", 1483228800.0),
            ("1970-01-01T00:00:00.123456789012Z", 0.123456789),
            ("1970-01-01 00:00:00 Z", 0.0),
            ("0000-01-01T00:00:00Z", None),
            ("10000-01-01T00:00:00Z", None),
            ("-0001-01-01T00:00:00Z", None),
            ("1970-01-01T24:00:00Z", None),
            ("1970-01-01T00:00:61Z", None),
            ("1970-02-30T00:00:00Z", None),
            ("1970-01-01T00:00:00+24:00", None),
            ("1970-01-01T00:00:00+99:99", None),
            ("١٩٧٠-01-01T00:00:00Z", None),
            ("1970-01-01T00:00:00Z\0", None),
            ("nan", None),
            ("inf", None),
            ("1e400", None),
            ("1970-01-01", None),
            ("9" * 10000, None),
            (" " * 10000, None),
        ]:
            self.assertEqual(parse_time(text), expected, text)

    @given(st.one_of(st.text(), st.from_regex(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-6]\d:[0-6]\d[-+Z].*")))
    def test_reading_is_total(self, text: str) -> None:
        time = parse_time(text)
        if time is not None:
            format_time(time)

    @given(st.floats())
    def test_writing_is_total(self, seconds: float) -> None:
        written = format_time(seconds)
        read = parse_time(written)
        assert read is not None
        self.assertTrue(0 <= read <= LAST + 1)
        if 0 <= seconds <= LAST:
            self.assertLess(abs(read - seconds), 0.0011)

    def test_possible(self) -> None:
        for kept in (float("nan"), float("inf"), -float("inf"), -1.0, NOW + 1, 1e300):
            self.assertEqual(possible_time(kept, NOW), NOW)
        self.assertEqual(possible_time(NOW - 1, NOW), NOW - 1)


def delay(time: str, sender: str | None = ROOM) -> str:
    by = f" from='{sender}'" if sender is not None else ""
    return f"<delay xmlns='{DELAY}'{by} stamp='{time}'/>"


PAST, LONG_AGO, TO_COME = (format_time(time) for time in (NOW - 100, 0.0, NOW + 10**6))


class ForgedDelays(SynchronousTestCase):
    def test_whose_counts(self) -> None:
        for inner, expected in [
            ("", None),
            (delay(PAST), NOW - 100),
            (delay(PAST, None), NOW - 100),
            (delay(LONG_AGO) + delay(PAST), NOW - 100),
            (delay(PAST) + delay(LONG_AGO, None), NOW - 100),
            (delay(PAST, f"{ROOM}/eve"), NOW - 100),
            (delay(PAST, "eve@a.test"), None),
            (delay(PAST, "@"), None),
            (delay(TO_COME), None),
            (delay(format_time(NOW + 100)), NOW),
            (delay("9999-12-31T23:59:59-12:00"), None),
            (delay("0001-01-01T00:00:00+14:00"), None),
            (delay("x"), None),
            (f"<delay xmlns='{DELAY}'/>", None),
        ]:
            message = parse_stanza(f"<message><body>x</body>{inner}</message>")
            self.assertEqual(delay_of(message, ROOM, NOW), expected, inner)

    def test_without_them(self) -> None:
        others = delay(PAST, "eve@a.test")
        message = parse_stanza(f"<message><body>x</body>{delay(PAST)}{others}{delay(PAST, None)}</message>")
        self.assertEqual(without_delays(message, ROOM).decode(), f"<message><body>x</body>{others}</message>")
        self.assertRaises(MalformedStanza, stamp, b"<message/>", ROOM, NOW)

    def test_of_very_many_stamps_nobody_is_asked_who_wrote_them(self) -> None:
        """To prepare an address may take a millisecond, and each account in the room would."""
        asked: list[str] = []

        def counted(address: str) -> Address:
            asked.append(address)
            return parse_jid(address)

        self.patch(delays, "parse_jid", counted)
        others = [
            f"<delay xmlns='{DELAY}' from='{number}@x.test' stamp='2020-01-01T00:00:00Z'/>" for number in range(300)
        ]
        for number, left in ((MOST_STAMPS, others[:MOST_STAMPS]), (MOST_STAMPS + 1, []), (300, [])):
            inner = "".join(others[:number])
            message = parse_stanza(f"<message type='groupchat' from='{ROOM}/eve'><body>x</body>{inner}</message>")
            told = without_delays(message, ROOM).decode()
            self.assertEqual(told.count("<delay"), len(left))
            self.assertIsNone(delay_of(message, ROOM, 2e9))
            self.assertLessEqual(len(asked), 2 * MOST_STAMPS)
            asked.clear()

    def test_of_what_is_said_now(self) -> None:
        for inner in (delay(LONG_AGO), delay(TO_COME), delay(PAST, None), delay("9999-12-31T23:59:59-12:00")):
            room = Speaker()
            self.assertEqual(room.says("said", inner, room_id="i"), Taken.NEW)
            self.assertEqual(room.history.newest, ("i", NOW))
            (raw,) = room.history.select(None, "", NOW)
            stamps = [one["stamp"] for one in parse_stanza(raw).elements(DELAY, "delay")]
            self.assertEqual(stamps, [format_time(NOW)])

    def test_of_the_past(self) -> None:
        both = delay(LONG_AGO) + delay(PAST)
        for inner, time in [(delay(PAST), NOW - 100), (delay(TO_COME), NOW), (both, NOW - 100)]:
            room = Speaker()
            message = f"<message type='groupchat' from='{ROOM}/bob'><body>x</body>{inner}</message>"
            room.history.take(parse_stanza(message), NOW, past=True)
            self.assertEqual(room.history.newest, (None, time))

    def test_a_made_up_past_does_not_say_what_is_known(self) -> None:
        room = Speaker(history_age=10 * 365 * 86400)
        room.says("one", room_id="1")
        room.says("two", room_id="2", stamp=NOW - 10**6)
        self.assertEqual(room.history.newest, ("2", NOW))

    def test_in_a_room(self) -> None:
        """Of the past is what comes between the own presence and the subject."""
        world = World()
        phone = world.session("phone")
        world.asks_to_join(phone)
        world.shows("alice", "100 110")
        world.says("bob", "earlier", delay(PAST), "1")
        world.subject()
        world.says("bob", "now", delay(PAST), "2")
        room = world.account.rooms[ROOM]
        times = [message.time for message in room.history.entries]
        self.assertEqual(times, [NOW - 100, world.clock.seconds()])

    def test_a_private_message(self) -> None:
        journal = Recorder()
        privates = PrivateMessages(ROOM, journal, ByteBudget(MAX_BYTES))
        privates.keep(parse_stanza(f"<message from='{ROOM}/bob'><body>x</body>{delay(TO_COME)}</message>"), NOW)
        (raw,) = privates.give(STREAM)
        self.assertEqual([one["stamp"] for one in parse_stanza(raw).elements(DELAY, "delay")], [format_time(NOW)])


class Cost(SynchronousTestCase):
    """No stanza makes the others be read."""

    def setUp(self) -> None:
        self.count = 0
        cut, tree = children._Cutter.cut, domish.elementStream

        def counted_cut(cutter: children._Cutter) -> None:
            self.count += 1
            cut(cutter)

        def counted_tree() -> object:
            self.count += 1
            return tree()

        self.patch(children._Cutter, "cut", counted_cut)
        self.patch(domish, "elementStream", counted_tree)

    def read_for(self, room: Speaker, body: str, inner: str = "", **described: Unpack[Described]) -> int:
        """How many messages, or parts of such, are read beside the one that comes; its own five times at most."""
        self.count = -1  # parse_stanza of the test
        room.says(body, inner, **described)
        return max(0, self.count - 5)

    def filled(self, *, ids: bool) -> Speaker:
        room = Speaker()
        room.history.senders.gives_ids = ids
        for number in range(100):
            filling = "<a/>" * 100 + f"<x>m99 w{number % 3} &lt;</x>" + (occupant("b") if ids else "")
            room.says("same", filling, sent_id=f"m{number}" if number % 2 else "same")
        return room

    def test_amendments(self) -> None:
        for ids in (True, False):
            room, own = self.filled(ids=ids), occupant("b") if ids else ""
            for target in ("m1", "m99", "same", "unknown", "w1"):
                for change in (replacing(target), retracting(target)):
                    self.assertLessEqual(self.read_for(room, "x", change + own), 2, (target, ids))

    def test_of_before_the_restart(self) -> None:
        before = self.filled(ids=True)
        room = Speaker(Recorder(1000), before.journal.kept())
        room.journal.messages = dict(before.journal.messages)
        room.history.senders.gives_ids = True
        for target in ("m1", "m99", "same", "unknown"):
            self.assertLessEqual(self.read_for(room, "x", replacing(target) + occupant("b")), 2, target)
        self.assertEqual(sum(message.amends is not None for message in room.history.entries), 3)

    def test_a_retraction_of_what_was_corrected_often(self) -> None:
        room = self.filled(ids=False)
        for _ in range(300):
            room.says("x", replacing("m1"))
        self.assertLessEqual(self.read_for(room, "", retracting("m1")), 2)
        self.assertEqual(sum(message.retracted for message in room.history.entries), 301)

    def test_what_stays_with_a_message_that_is_changed(self) -> None:
        """Its sender may write ids and stamps without end, which each change would read and write again."""
        for one in (
            "<origin-id xmlns='urn:xmpp:sid:0' id='o'/>",
            "<stanza-id xmlns='urn:xmpp:sid:0' id='s' by='eve'/>",
            f"<delay xmlns='{DELAY}' from='eve'/>",
        ):
            room = Speaker()
            room.says(
                "said", one * 900 + one.replace("/>", f">{'x' * 2000}</{one[1:].split()[0]}>"), sent_id="m", room_id="R"
            )
            room.says("changed", replacing("m"), sent_id="c")
            self.assertEqual(room.gets(), ["changed"])
            self.assertLess(len(room.journal.messages[1].raw), 1000)
            self.assertEqual(room.journal.messages[1].raw.count(b"by='room@muc.test' id='R'"), 1)

    def test_attributes_of_its_own_making(self) -> None:
        start = "<message type='groupchat' from='room@muc.test/bob' id='m' xml:lang='en' xmlns:p='urn:p'"
        end = "><p:a/><body>b</body></message>"
        more = "".join(f" a{number}='x > y'" for number in range(90))
        room = Speaker()
        room.history.take(parse_stanza(start + more + end), NOW)
        self.assertEqual(room.journal.messages[1].raw, (start + end).encode())

    def test_too_many_children_inside(self) -> None:
        room = Speaker()
        room.says("said", sent_id="m")
        many = "<a/>" * 1001
        for inner in (
            f"<retract xmlns='urn:xmpp:message-retract:1' id='m'>{many}</retract>",
            f"<apply-to xmlns='urn:xmpp:fasten:0' id='m'>{many}</apply-to>",
        ):
            self.assertEqual(room.says("x", inner), Taken.NEW)

    def test_one_that_an_earlier_version_kept(self) -> None:
        """It had more children than are read now: a change of it leaves nothing of it."""
        raw = b"<message type='groupchat' from='room@muc.test/bob' id='m'><body>b</body>%b%b</message>"
        own = occupant("b").encode()
        kept = [KeptMessage(1, NOW, raw % (b"<a/>" * 1001, own), False)]
        room = Speaker(Recorder(100), KeptRoom(ROOM, KeptMembership("alice", "alice"), messages=kept))
        room.journal.messages = {1: kept[0]}
        room.history.senders.gives_ids = True
        self.assertEqual(room.says("changed", replacing("m") + occupant("b"), sent_id="c"), Taken.NEW)
        self.assertEqual(room.gets(), ["changed"])

    def test_duplicates(self) -> None:
        room = self.filled(ids=False)
        table: list[Described] = [{"sent_id": "same"}, {"sent_id": "m1"}, {}, {"room_id": "1"}]
        for arguments in table:
            arguments["stamp"] = NOW - 1
            self.assertLessEqual(self.read_for(room, "same", **arguments), 2, arguments)

    def test_archive_queries(self) -> None:
        room = self.filled(ids=False)
        query = archive_query(f"<field var='with'><value>{ROOM}/bob</value></field>")
        self.count = 0
        self.assertEqual(len(answer(ROOM, room.history, STREAM, query, NOW)), 101)
        self.assertEqual(self.count, 0)

    def test_indices_go_with_the_messages(self) -> None:
        room = Speaker(history=100)
        for number in range(1500):
            room.says(f"b{number}", sent_id="x" * 10_000 + str(number))
            if number % 50 == 0:
                room.says("other", stamp=NOW - 1)
        kept = room.history._kept
        self.assertLess(len(kept._said), 400)
        self.assertLess(len(kept._identities._sequences), 400)


class Tenure(SynchronousTestCase):
    def test_table(self) -> None:
        tenure = NickTenure()
        tenure.shown("bob", 4)
        tenure.shown("eve", 4)
        self.assertFalse(tenure.is_of_present("bob", 5))
        tenure.watch(5)
        self.assertFalse(tenure.is_of_present("bob", 5))
        self.assertTrue(tenure.is_of_present("bob", 6))
        tenure.shown("bob", 6)  # it is away for a while
        self.assertTrue(tenure.is_of_present("bob", 6))
        tenure.left("bob")
        self.assertFalse(tenure.is_of_present("bob", 6))
        self.assertFalse(tenure.is_of_present("bob", 7))
        tenure.shown("bob", 6)
        self.assertFalse(tenure.is_of_present("bob", 6))
        self.assertTrue(tenure.is_of_present("bob", 7))
        self.assertTrue(tenure.is_of_present("eve", 6))
        self.assertFalse(tenure.is_of_present("never shown", 6))
        tenure.lose_sight()
        self.assertFalse(tenure.is_of_present("eve", 8))
        tenure.watch(8)
        self.assertFalse(tenure.is_of_present("eve", 9))

    def test_the_room_may_hide_who_leaves(self) -> None:
        tenure = NickTenure()
        tenure.shown("bob", 0)
        tenure.watch(0)
        tenure.rules_changed()
        self.assertFalse(tenure.is_of_present("bob", 1))
        tenure.shown("bob", 1)
        self.assertFalse(tenure.is_of_present("bob", 1))
        self.assertTrue(tenure.is_of_present("bob", 2))

    def test_too_many(self) -> None:
        tenure = NickTenure()
        tenure.watch(0)
        for number in range(nick_tenure.MAX_SHOWN + 1):
            tenure.shown(f"n{number}", 0)
        self.assertTrue(tenure.is_of_present("n0", 1))
        self.assertFalse(tenure.is_of_present(f"n{nick_tenure.MAX_SHOWN}", 1))


class WhoAmends(SynchronousTestCase):
    """In a room without occupant-ids."""

    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")
        self.world.says("bob", "said", stanza_id="m")

    def corrected(self, nick: str = "bob", inner: str = "") -> bool:
        self.world.says(nick, "changed", replacing("m") + inner, "c")
        session = self.world.session("tablet")
        self.world.asks_to_join(session)
        return "bob: said" not in kinds(session.received)

    def test_its_sender(self) -> None:
        self.assertTrue(self.corrected())

    def test_after_it_left(self) -> None:
        self.world.gone("bob")
        self.world.shows("bob")
        self.assertFalse(self.corrected())

    def test_after_a_change_of_nick(self) -> None:
        self.world.gone("bob", "303", item="nick='bobby'")
        self.world.shows("bobby")
        self.world.shows("bob")
        self.assertFalse(self.corrected())

    def test_one_that_the_room_does_not_show(self) -> None:
        """It may have left unseen, and another be there under its nick (`presencebroadcast`)."""
        self.world.says("ghost", "said", stanza_id="n")
        self.world.says("ghost", "changed", replacing("n"), "c")
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.assertEqual(kinds(tablet.received)[2:-1], ["bob: said", "ghost: said", "ghost: changed"])

    def test_after_the_rules_changed(self) -> None:
        news = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x>"
        self.world.room(f"<message type='groupchat' from='{ROOM}' to='{STREAM}'>{news}</message>")
        self.assertFalse(self.corrected())

    def test_what_it_said_since(self) -> None:
        self.world.gone("bob")
        self.world.shows("bob")
        self.world.says("bob", "new", stanza_id="m")
        self.world.says("bob", "changed", replacing("m"), "c")
        (tablet,) = [self.world.session("tablet")]
        self.world.asks_to_join(tablet)
        self.assertEqual(kinds(tablet.received)[2:-1], ["bob: said", "bob: changed"])

    def test_after_the_account_was_away(self) -> None:
        self.world.stream.lost()
        self.world.clock.advance(120)
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.world.comes_back()
        self.assertFalse(self.corrected())

    def test_while_it_comes_back(self) -> None:
        """Somebody speaks, goes, and another takes the nick, before what was missed is read."""
        self.world.stream.lost()
        self.world.clock.advance(120)
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.world.shows("alice", "100 110")
        self.world.subject("topic")
        self.world.says("bob", "said", stanza_id="m")
        self.world.gone("bob")
        self.world.shows("bob")
        self.world.says("bob", "changed", replacing("m"), "c")
        self.world.tells_of_itself()
        self.assertFalse(self.corrected())

    def test_a_made_up_occupant_id(self) -> None:
        self.world.says("bob", "said", occupant("x"), "m")
        self.world.gone("bob")
        self.world.shows("bob")
        self.assertFalse(self.corrected(inner=occupant("x")))

    def test_the_room_gives_ids(self) -> None:
        self.world.shows("alice", "110", inner=occupant("a"))
        self.world.says("bob", "original", occupant("x"), "n")
        self.world.says("eve", "forged", replacing("n") + occupant("e"), "e")
        self.world.says("bobby", "changed", replacing("n") + occupant("x"), "c")
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.assertEqual(kinds(tablet.received)[2:-1], ["bob: said", "bob: changed", "eve: forged"])

    def test_the_account_gives_none_itself(self) -> None:
        self.world.client(self.phone, f"<presence to='{ROOM}/alice'><status>x</status>{occupant('mine')}</presence>")
        (sent,) = self.world.stream.take()
        self.assertFalse(sent.has_payload("urn:xmpp:occupant-id:0", "occupant-id"))

    def test_what_was_said_before_the_join(self) -> None:
        world = World()
        world.asks_to_join(world.session("phone"))
        world.shows("alice", "100 110")
        world.says("bob", "said", delay(PAST), "m")
        world.says("bob", "changed", replacing("m") + delay(PAST), "c")
        world.subject()
        self.world = world
        self.assertFalse(self.corrected())


class WaitingPrivates(SynchronousTestCase):
    def test_bytes(self) -> None:
        journal = Recorder()
        given: list[int] = []
        self.patch(journal, "private_given", given.append)
        privates = PrivateMessages(ROOM, journal, ByteBudget(MAX_BYTES))
        for number in range(20):
            body = f"{number} " + "x" * (MAX_BYTES // 10)
            privates.keep(parse_stanza(f"<message from='{ROOM}/bob'><body>{body}</body></message>"), NOW)
        self.assertEqual(len(privates), 9)
        self.assertEqual(given, list(range(1, 12)))
        first = next(iter(privates.give(STREAM)))
        self.assertIn(b"<body>11 x", first)
        self.assertEqual(len(privates), 8)

    def test_other_rooms_use_up_what_there_is_for_all(self) -> None:
        """A few have a place all the same, and what goes is given back to the others."""
        whole = ByteBudget(WAITING_BYTES)
        privates = PrivateMessages(ROOM, Recorder(), ByteBudget(MAX_BYTES, whole, WAITING_OWN))
        message = parse_stanza(f"<message from='{ROOM}/bob'><body>{'x' * 5000}</body></message>")
        for _ in range(10):
            privates.keep(message, NOW)
        self.assertEqual(len(privates), 10)
        privates.close()
        self.assertEqual((whole.used, len(list(privates.give(STREAM)))), (0, 10))
        whole.take(WAITING_BYTES)
        privates = PrivateMessages(ROOM, Recorder(), ByteBudget(MAX_BYTES, whole, WAITING_OWN))
        for _ in range(10):
            privates.keep(message, NOW)
        self.assertEqual(len(privates), 3)

    def test_one_that_is_too_large(self) -> None:
        privates = PrivateMessages(ROOM, Recorder(), ByteBudget(MAX_BYTES))
        text = "x" * (MAX_BYTES + 1)
        privates.keep(parse_stanza(f"<message from='{ROOM}/bob'><body>{text}</body></message>"), NOW)
        self.assertEqual(len(privates), 0)


class Ids(SynchronousTestCase):
    """Ids of requests are kept until they are answered, and have a bound of their own."""

    def test_of_requests(self) -> None:
        """One room has as many bytes as it leaves to others."""
        world = World()
        (phone,) = world.joined("phone")
        long = "x" * (MAX_ID_BYTES // 10)
        for number in range(11):
            world.client(phone, f"<iq type='get' to='{ROOM}/bob' id='{number}{long}'><query xmlns='urn:x'/></iq>")
        self.assertEqual(len(world.stream.sent), 5)
        self.assertEqual([stanza["type"] for stanza in phone.take()], ["error"] * 6)
        for sent in world.stream.take():
            world.room(f"<iq type='result' from='{ROOM}/bob' to='{STREAM}' id='{sent['id']}'/>")
        self.assertEqual([stanza["id"] for stanza in phone.take()], [f"{number}{long}" for number in range(5)])
        world.client(phone, f"<iq type='get' to='{ROOM}/bob' id='{long}'><query xmlns='urn:x'/></iq>")
        self.assertEqual(len(world.stream.take()), 1)
        world.clock.advance(3600)
        world.client(phone, f"<iq type='get' to='{ROOM}/bob' id='{long * 9}'><query xmlns='urn:x'/></iq>")
        self.assertEqual(world.stream.take()[-1]["to"], f"{ROOM}/bob")

    def test_of_what_a_room_asks(self) -> None:
        """One room has half of the bytes at most, so others are not kept from asking."""
        world = World()
        (phone,) = world.joined("phone")
        other = ROOM.replace("room", "other")
        world.client(phone, f"<presence to='{other}/alice'>{JOIN}</presence>")
        world.room(f"<presence from='{other}/alice' to='{STREAM}'>{SELF}</presence>")
        world.room(f"<message type='groupchat' from='{other}' to='{STREAM}'><subject/></message>")
        long = "x" * (MAX_ID_BYTES // 10)

        def asked(sender: str, identity: str) -> str:
            phone.take()
            world.stream.take()
            world.room(f"<iq type='get' from='{sender}' to='{STREAM}' id='{identity}'><query xmlns='urn:x'/></iq>")
            return "forwarded" if phone.received else world.stream.sent[-1]["type"]

        answers = [asked(f"{ROOM}/{number % 2}", f"{number}{long}") for number in range(7)]
        self.assertEqual(answers, ["forwarded"] * 5 + ["error"] * 2)
        self.assertEqual(asked(f"{other}/bob", f"a{long}"), "forwarded")
        world.account.session_closed(phone)
        (phone,) = world.joined("phone")
        self.assertEqual(asked(f"{ROOM}/bob", f"a{long}"), "forwarded")

    def test_of_queries(self) -> None:
        long, keys = "q" * 200_000, set[tuple[str, str | None]]()
        phone = World().session("phone")
        for end in "ab":
            for kind in ("iq", "message"):
                name = "query" if kind == "iq" else "result"
                stanza = parse_stanza(
                    f"<{kind} type='set' from='{ROOM}'><{name} xmlns='urn:xmpp:mam:2' queryid='{long}{end}'/></{kind}>"
                )
                queries = OpenQueries()
                key = query_key(stanza, ROOM) if kind == "iq" else None
                if key is not None:
                    keys.add(key)
                    self.assertLess(len(str(key)), 200)
                    queries.opened(key, phone, "i")
                else:
                    for known in keys:
                        queries.opened(known, phone, "i")
                    self.assertIs(queries.asker_of(stanza), phone)
        self.assertEqual(len(keys), 2)

    def test_of_messages(self) -> None:
        world = World()
        phone, laptop = world.joined("phone", "laptop")
        for session in (phone, laptop):
            identity = session.jid + "x" * 200_000
            world.client(session, f"<message type='groupchat' to='{ROOM}' id='{identity}'><body>x</body></message>")
        sent = world.stream.take()[0]
        error = "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        world.room(f"<message type='error' from='{ROOM}' to='{STREAM}' id='{sent['id']}'>{error}</message>")
        self.assertEqual(([stanza["type"] for stanza in phone.received], laptop.received), (["error"], []))


class TopUp(SynchronousTestCase):
    """With no wish a client gets what it has not seen, and some of what it has if that is little."""

    def setUp(self) -> None:
        self.room = Speaker()
        self.room.history.at_least = 5
        for number in range(10):
            self.room.says(f"m{number}", sent_id=f"i{number}")
        self.room.history.detached("phone")

    def test_nothing_new(self) -> None:
        self.assertEqual(self.room.gets("phone"), ["m5", "m6", "m7", "m8", "m9"])

    def test_some_of_it_new(self) -> None:
        self.room.says("n0")
        self.room.says("n1")
        self.assertEqual(self.room.gets("phone"), ["m7", "m8", "m9", "n0", "n1"])

    def test_all_of_it_new(self) -> None:
        for number in range(7):
            self.room.says(f"n{number}")
        self.assertEqual(self.room.gets("phone"), [f"n{number}" for number in range(7)])

    def test_a_wish_is_a_wish(self) -> None:
        self.assertEqual(self.room.gets("phone", HistoryRequest(max_stanzas=0)), [])
        self.assertEqual(self.room.gets("phone", HistoryRequest(since=NOW + 1)), [])
        self.assertEqual(self.room.gets("phone", HistoryRequest(max_stanzas=1)), ["m9"])

    def test_what_was_changed_is_shown_as_it_is(self) -> None:
        self.room.says("M9", replacing("i9"))
        self.room.says("", retracting("i8"))
        self.assertEqual(self.room.gets("phone"), ["m5", "m6", "m7", "M9", "M9", "<retract>"][1:])
        self.room.history.detached("phone")
        self.assertEqual(self.room.gets("phone"), ["m4", "m5", "m6", "m7", "M9"])

    def test_it_was_seen_though_it_was_not_taken(self) -> None:
        self.room.says("n0")
        for taken, left in [(0, ["n0"]), (4, ["n0"]), (5, [])]:
            replay = iter(self.room.history.select(None, "phone", NOW))
            self.room.history.attached("phone")
            for _ in range(taken):
                next(replay)
            if taken == 5:
                self.assertRaises(StopIteration, next, replay)
            self.room.history.detached("phone")
            self.room.history.at_least = 0
            self.assertEqual(self.room.gets("phone"), left)
            self.room.history.at_least = 5

    def test_what_the_room_shows(self) -> None:
        for wish, count in [("", 30), ("<history maxstanzas='100'/>", 20)]:
            world = World()
            world.asks_to_join(world.session("phone"), inner=wish)
            world.shows("alice", "100 110")
            for number in range(30):
                world.says("bob", f"m{number}", delay(PAST), str(number))
            world.subject()
            tablet = world.session("tablet")
            world.asks_to_join(tablet)
            self.assertEqual(len(tablet.received), count + 2, wish)


class NoHistory(SynchronousTestCase):
    def test_nothing_is_kept(self) -> None:
        history = RoomHistory(ROOM, Rooms(history=0), NullJournal().room(BARE, ROOM))
        history.in_step()
        for xml in ("<body>x</body>", f"<body>y</body>{replacing('m')}", retracting("m")):
            history.take(parse_stanza(f"<message from='{ROOM}/bob' id='m'>{xml}</message>"), NOW)
        self.assertEqual(len(history), 0)
