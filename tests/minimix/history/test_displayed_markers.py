"""Markers of occupants (XEP-0333): the last of each, given to devices that were away, and no history."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.minimix.history.displayed_markers import MAX_BYTES, MAX_MARKERS, MAX_SIZE
from minimixproxy.minimix.history.replay import Replay
from minimixproxy.minimix.history.room_history import Taken
from minimixproxy.wire.stanza import parse_stanza
from minimixproxy.xep.delays import delay_of
from minimixproxy.xep.muc_history import HistoryRequest
from tests.minimix.fakes import ROOM, STREAM, World
from tests.minimix.history.test_room_history import NOW, Recorder, Speaker

MARKERS = "urn:xmpp:chat-markers:0"
STORE = "<store xmlns='urn:xmpp:hints'/>"
NONE = HistoryRequest(max_stanzas=0)


def displayed(stanza_id: str) -> str:
    return f"<displayed xmlns='{MARKERS}' id='{stanza_id}'/>"


def told(replay: Replay) -> list[str]:
    """What a client is given: bodies, and of markers whose they are and what they are about."""
    found = []
    for raw in replay:
        stanza = parse_stanza(raw)
        marker = stanza.payload(MARKERS, "displayed")
        nick = stanza["from"].partition("/")[2]
        found.append(f"{nick} {marker['id']}" if marker is not None else str(stanza.element.body))
    return found


class MarkersCase(SynchronousTestCase):
    """The phone has gone when "old" was said, and before "new"."""

    def setUp(self) -> None:
        self.room = Speaker()
        self.room.says("old", room_id="O")
        self.away("phone")
        self.room.says("new", room_id="N")

    def away(self, resource: str) -> None:
        self.room.history.attached(resource)
        self.room.history.detached(resource)

    def mark(self, about: str, nick: str = "eve", inner: str = "", room_id: str | None = None, **said: float) -> Taken:
        return self.room.says("", displayed(about) + inner, nick=nick, room_id=room_id, stamp=said.get("stamp"))

    def gets(
        self, resource: str = "phone", wish: HistoryRequest | None = None, *, everything: bool = False
    ) -> list[str]:
        return told(self.room.history.select(wish, resource, self.room.now, everything=everything))


class WhoGetsThem(MarkersCase):
    def test_in_order_behind_what_they_are_about(self) -> None:
        self.mark("N")
        self.room.says("newer", room_id="R")
        self.mark("O", "bob")
        self.assertEqual(self.gets(), ["new", "eve N", "newer", "bob O"])

    def test_the_last_of_each(self) -> None:
        self.mark("O")
        self.mark("O", "bob")
        self.mark("N")
        self.assertEqual(self.gets(), ["new", "bob O", "eve N"])

    def test_one_that_goes_back_is_no_news(self) -> None:
        self.mark("N")
        self.mark("O")
        self.assertEqual(self.gets(), ["new", "eve N"])

    def test_once(self) -> None:
        self.mark("N")
        self.away("phone")
        self.assertEqual(self.gets(), [])

    def test_live(self) -> None:
        """Who was there has had it."""
        self.room.history.attached("laptop")
        self.mark("N")
        self.room.history.detached("laptop")
        self.assertEqual(self.gets("laptop"), [])

    def test_a_new_device_gets_those_about_what_it_is_given(self) -> None:
        self.mark("O", "bob")
        self.mark("unknown", "carol")
        self.room.history.at_least = 1
        self.mark("N")
        for number in range(20):
            self.room.says(f"m{number}")
        self.assertEqual(self.gets("tablet"), [f"m{number}" for number in range(20)])
        self.assertEqual(self.gets("tablet", everything=True)[:4], ["old", "new", "bob O", "eve N"])
        self.assertEqual(self.gets("", HistoryRequest(max_stanzas=21))[:2], ["new", "eve N"], "a resync")

    def test_of_an_unknown_message(self) -> None:
        """Another client's id, or a message that is too old: who was away gets what who was there got."""
        self.mark("unknown")
        self.assertEqual(self.gets(), ["new", "eve unknown"])

    def test_a_device_that_wants_no_history(self) -> None:
        """It asks an archive for what it has missed: markers about that would come before it."""
        self.mark("O", "bob")
        self.mark("N")
        self.assertEqual(self.gets(wish=NONE), ["bob O"])
        self.assertEqual(self.gets("tablet", NONE), [])

    def test_a_replay_that_breaks_off(self) -> None:
        self.mark("N")
        replay = self.room.history.select(None, "phone", self.room.now)
        self.room.history.attached("phone")
        next(iter(replay))
        self.room.history.detached("phone")
        self.assertEqual(self.gets(), ["eve N"])

    def test_it_says_when(self) -> None:
        """By the room's stamp, and no other; and nothing of what was beside it."""
        forged = f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2020-01-01T00:00:00Z'/>"
        self.mark("N", inner=f"{forged}<composing xmlns='http://jabber.org/protocol/chatstates'/>", room_id="M")
        (_, raw) = self.room.history.select(None, "phone", self.room.now)
        marker = parse_stanza(raw)
        self.assertEqual(delay_of(marker, ROOM, NOW), NOW)
        self.assertEqual(raw.count(b"<delay"), 1)
        self.assertNotIn(b"composing", raw)
        self.assertIn(f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='M'/>".encode(), raw)


class NoHistory(MarkersCase):
    def test_even_if_it_is_to_be_stored(self) -> None:
        self.assertEqual(self.mark("N", inner=STORE), Taken.PASSING)
        self.assertEqual(len(self.room.history), 2)
        self.assertEqual(len(self.room.journal.messages), 2)
        self.assertEqual(self.gets(), ["new", "eve N"])

    def test_it_takes_no_messages_place(self) -> None:
        self.mark("N")
        self.assertEqual(self.gets("tablet", HistoryRequest(max_stanzas=1)), ["new", "eve N"])

    def test_with_a_body_it_is_a_message(self) -> None:
        self.assertEqual(self.room.says("seen", displayed("N")), Taken.NEW)

    def test_none_is_kept_where_no_history_is(self) -> None:
        self.room = Speaker(history=0)
        self.away("phone")
        self.mark("N")
        self.assertEqual(self.gets(), [])


class Bounds(MarkersCase):
    def test_count(self) -> None:
        for number in range(MAX_MARKERS + 1):
            self.mark("N", f"n{number}")
        self.assertEqual(self.gets()[1:3], ["n1 N", "n2 N"])
        self.assertEqual(len(self.gets()), 1 + MAX_MARKERS)

    def test_bytes(self) -> None:
        budget = ByteBudget(3000)
        room = Speaker(marker_budget=budget)
        self.room = room
        self.away("phone")
        for number in range(20):
            self.mark("N", f"n{number}")
        self.assertLessEqual(budget.used, 3000)
        self.assertEqual(self.gets()[-1], "n19 N")
        self.assertGreater(len(self.gets()), 3)
        room.history.close()
        self.assertEqual(budget.used, 0)

    def test_one_that_never_fits(self) -> None:
        self.room = Speaker(marker_budget=ByteBudget(100))
        self.away("phone")
        self.mark("N")
        self.assertEqual(self.gets(), [])

    def test_size(self) -> None:
        self.mark("N", inner=f"<thread>{'x' * MAX_SIZE}</thread>")
        self.assertEqual(self.gets(), ["new"])
        self.assertLess(MAX_SIZE, MAX_BYTES)

    def test_age(self) -> None:
        self.room = Speaker(history_age=100)
        self.away("phone")
        self.mark("N")
        self.room.now += 101
        self.assertEqual(self.gets(), [])

    def test_absurd(self) -> None:
        for stanza_id in ("", "id=''", f"id='{'x' * 1025}'"):
            inner = f"<displayed xmlns='{MARKERS}' {stanza_id}/>"
            self.assertEqual(self.room.says("", inner, nick="eve"), Taken.PASSING)
        self.mark("N", nick="")  # the room itself has read nothing
        self.assertEqual(self.gets(), ["new"])

    def test_one_that_cannot_be_shown(self) -> None:
        self.mark("N")
        (_, marker) = self.room.history.select(None, "phone", self.room.now)._messages
        self.room.history.leave_out(marker, ValueError())
        self.assertEqual(self.gets(), ["new"])
        self.flushLoggedErrors()


class ToldAgain(MarkersCase):
    """Rooms and archives tell markers of the past, too."""

    def test_what_is_known(self) -> None:
        self.mark("N", room_id="M")
        self.room.now += 60
        for room_id, stamp in (("M", NOW + 5), (None, NOW), ("L", NOW - 10)):  # clocks differ
            self.assertEqual(self.mark("N", room_id=room_id, stamp=stamp), Taken.DUPLICATE)
        self.assertEqual(self.gets(), ["new", "eve N"])

    def test_what_was_missed(self) -> None:
        self.mark("O", room_id="M")
        self.assertEqual(self.mark("N", room_id="P", stamp=NOW), Taken.PASSING)
        self.assertEqual(self.gets(), ["new", "eve N"])
        (_, raw) = self.room.history.select(None, "phone", self.room.now)
        self.assertEqual(raw.count(b"<delay"), 1)


class InARoom(SynchronousTestCase):
    """From end to end: what the clients of an account are given."""

    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")

    def marks(self, about: str, nick: str = "bob") -> None:
        inner = displayed(about) + STORE
        self.world.room(f"<message type='groupchat' from='{ROOM}/{nick}' to='{STREAM}'>{inner}</message>")

    def test_it_waits_for_who_is_away(self) -> None:
        self.world.account.session_closed(self.phone)
        self.world.says("bob", "hello", f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='H'/>")
        self.marks("H")
        self.marks("H", "alice")
        live = [stanza.payload(MARKERS, "displayed") for stanza in self.laptop.take()]
        self.assertEqual(len([marker for marker in live if marker is not None]), 2)
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        senders = [stanza["from"] for stanza in phone.take() if stanza.payload(MARKERS, "displayed") is not None]
        self.assertEqual(senders, [f"{ROOM}/bob", f"{ROOM}/alice"])


class Unused(SynchronousTestCase):
    def test_the_journal_hears_nothing_of_them(self) -> None:
        """A busy room's markers are no writes."""
        room = Speaker(Recorder())
        room.says("", displayed("N"))
        self.assertEqual(room.journal.messages, {})
