"""Private messages for devices that acknowledge (XEP-0198): kept until one of them has them."""

from __future__ import annotations

import itertools
import math

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.minimix.history.private_messages import MAX_KEPT, PrivateMessages
from minimixproxy.minimix.interfaces.journal import KeptPrivate, RoomJournal
from minimixproxy.minimix.managed_sessions import INTERVAL
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.log_events import log_events
from tests.minimix.fakes import ROOM, STREAM, FakeSession, World, kinds
from tests.minimix.null_journal import NullJournal, NullRoomJournal


def spoken(nick: str, size: int) -> Stanza:
    return parse_stanza(f"<message type='chat' from='{ROOM}/{nick}' to='{STREAM}'><body>{'x' * size}</body></message>")


class RoomRecorder(NullRoomJournal):
    def __init__(self, count: itertools.count[int], there: list[int]) -> None:
        super().__init__(count)
        self._there = there

    def private_kept(self, private: KeptPrivate) -> None:
        self._there.append(private.sequence)

    def private_given(self, sequence: int) -> None:
        self._there.remove(sequence)


class Recorder(NullJournal):
    """A journal that knows which private messages it has."""

    def __init__(self) -> None:
        super().__init__()
        self.there: list[int] = []

    def room(self, _bare: str, _room: str) -> RoomJournal:
        return RoomRecorder(self._count, self.there)


class PrivateWorld(World):
    new_journal = Recorder


class EntrustedTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = PrivateWorld()
        assert isinstance(self.world.journal, Recorder)
        self.there = self.world.journal.there
        self.phone, self.tablet = (self.managed(session) for session in self.world.joined("phone", "tablet"))

    def managed(self, session: FakeSession) -> FakeSession:
        session.managed = True
        session.reached = 0
        self.world.account.session_managed(session)
        return session

    def whispers(self, text: str = "psst", nick: str = "bob", occupant: str = "") -> None:
        by = f"<occupant-id xmlns='urn:xmpp:occupant-id:0' id='{occupant}'/>" if occupant else ""
        self.world.room(f"<message type='chat' from='{ROOM}/{nick}' to='{STREAM}'><body>{text}</body>{by}</message>")

    def acknowledges(self, session: FakeSession) -> None:
        session.reached = math.inf
        self.world.account.acknowledged(session)
        self.world.clock.advance(INTERVAL)

    def ends(self, *sessions: FakeSession) -> None:
        for session in sessions:
            self.world.account.session_closed(session)

    def comes(self, resource: str, *, managed: bool = True) -> FakeSession:
        """A device logs in and joins."""
        session = self.world.session(resource)
        if managed:
            self.managed(session)
        self.world.asks_to_join(session)
        return session

    def heard(self, session: FakeSession) -> list[str]:
        return [kind for kind in kinds(session.take()) if kind.startswith("bob: ")]

    def test_one_that_has_it(self) -> None:
        self.whispers()
        self.assertEqual(
            (self.heard(self.phone), self.heard(self.tablet), len(self.there)), (["bob: psst"],) * 2 + (1,)
        )
        self.acknowledges(self.tablet)
        self.assertEqual(self.there, [])
        self.ends(self.phone, self.tablet)
        self.assertEqual(self.heard(self.comes("phone")), [])

    def test_none_has_it(self) -> None:
        """It waits for the next device, with the time at which it came."""
        self.whispers()
        self.ends(self.phone, self.tablet)
        self.phone.reached = math.inf  # whatever it says now: what was dropped with it does not wait to be written
        self.assertEqual(len(self.there), 1)
        desk = self.comes("desk", managed=False)
        (message,) = [stanza for stanza in desk.take() if stanza.name == "message" and stanza.get("type") == "chat"]
        self.assertTrue(message.has_payload("urn:xmpp:delay", "delay"))
        self.assertEqual((self.there, self.world.account.occupancies.outlet.budgets._waiting.used), ([], 0))

    def test_it_is_known_to_have_it_when_it_ends(self) -> None:
        """Its acknowledgement was not written yet."""
        self.whispers()
        self.phone.reached = math.inf
        self.ends(self.phone, self.tablet)
        self.assertEqual(self.there, [])

    def test_another_one_comes_meanwhile(self) -> None:
        """It is given what none has said to have."""
        self.whispers("one")
        self.phone.reached = math.inf
        self.assertEqual(self.heard(self.comes("desk")), [])
        self.phone.reached = 0
        self.whispers("two")
        self.ends(self.phone, self.tablet)
        laptop = self.comes("laptop")
        self.assertEqual(self.heard(laptop), ["bob: two"])
        self.ends(laptop)
        self.assertEqual(self.heard(self.comes("laptop")), ["bob: two"])

    def test_one_that_does_not_acknowledge_is_there(self) -> None:
        """It has what is written to it, as far as anybody knows."""
        self.comes("desk", managed=False)
        self.whispers()
        self.assertEqual(self.there, [])

    def test_given_when_it_joins(self) -> None:
        self.ends(self.phone, self.tablet)
        self.whispers()
        phone = self.comes("phone")
        self.assertEqual((self.heard(phone), len(self.there)), (["bob: psst"], 1))
        self.ends(phone)
        phone = self.comes("phone")
        self.assertEqual((self.heard(phone), len(self.there)), (["bob: psst"], 1))
        self.acknowledges(phone)
        self.assertEqual(self.there, [])
        self.ends(phone)
        self.assertEqual(self.heard(self.comes("phone")), [])

    def test_it_leaves_the_room(self) -> None:
        self.whispers()
        for session in (self.phone, self.tablet):
            self.world.leaves(session)
        self.assertEqual(len(self.there), 1)

    def test_damaged(self) -> None:
        self.ends(self.phone, self.tablet)
        for text in ("one", "two"):
            self.whispers(text)
        privates = self.world.account.rooms[ROOM]._attendance.privates
        privates._waiting[0].private = KeptPrivate(privates._waiting[0].private.sequence, b"")
        events = log_events(self)
        phone = self.comes("phone")
        self.assertEqual((self.heard(phone), len(events)), (["bob: two"], 1))
        self.acknowledges(phone)
        self.assertEqual(self.there, [])

    def test_none_ever_says_that_it_has_them(self) -> None:
        """Only so many are kept; the others may be there all the same, so nothing is said to be lost."""
        events = log_events(self)
        for number in range(MAX_KEPT + 5):
            self.whispers(str(number))
        self.assertEqual((len(self.there), len(self.heard(self.phone)), events), (MAX_KEPT, MAX_KEPT + 5, []))
        self.ends(self.phone, self.tablet)
        expected = [f"bob: {number}" for number in range(5, MAX_KEPT + 5)]
        self.assertEqual(self.heard(self.comes("phone")), expected)

    def test_who_says_much_pushes_out_what_is_his(self) -> None:
        """And nobody else's: neither by the number of his messages, nor by their bytes."""
        self.ends(self.phone, self.tablet)
        self.whispers("first")
        for number in range(MAX_KEPT + 50):
            self.whispers(f"much {number}", "eve")
        self.whispers("second")
        for _ in range(20):
            self.whispers("x" * 100_000, "eve")
        heard = [kind for kind in kinds(self.comes("phone").take()) if kind.startswith(("bob: ", "eve: "))]
        self.assertEqual([kind for kind in heard if kind.startswith("bob: ")], ["bob: first", "bob: second"])
        self.assertIn("eve: " + "x" * 100_000, heard)

    def test_what_somebody_says_now_counts_as_his(self) -> None:
        """It is his own that goes where that makes his the most."""
        sizes = {"bob": 4000, "eve": 3000}
        privates = PrivateMessages(ROOM, NullRoomJournal(itertools.count()), ByteBudget(10_000))
        for nick, size in (*sizes.items(), ("eve", 3500)):
            privates.keep(spoken(nick, size), 0.0)
        self.assertEqual([b"/bob'" in private.raw for private in privates], [True, False])
        privates.keep(spoken("dan", 11_000), 0.0)
        self.assertEqual(len(privates), 0, "it has no place even alone, and is not kept")

    def test_who_has_another_nick_each_time_is_the_same_where_the_room_says_so(self) -> None:
        self.world.shows("alice", "110", inner="<occupant-id xmlns='urn:xmpp:occupant-id:0' id='a'/>")
        self.ends(self.phone, self.tablet)
        self.whispers("first", occupant="b")
        for number in range(MAX_KEPT + 50):
            self.whispers("x", f"eve{number}", "e")
        self.whispers("second", occupant="b")
        heard = kinds(self.comes("phone").take())
        self.assertEqual([kind for kind in heard if kind.startswith("bob: ")], ["bob: first", "bob: second"])

    def test_one_that_does_not_acknowledge_gets_what_none_has_in_order(self) -> None:
        privates = PrivateMessages(ROOM, NullRoomJournal(itertools.count()), ByteBudget(10_000))
        privates.keep(spoken("bob", 10), 0.0)
        list(privates.entrust(self.phone))
        for nick in ("dan", "eve"):
            privates.keep(spoken(nick, 10), 0.0)
        self.phone.reached = math.inf  # which was not told yet
        given = [parse_stanza(raw)["from"] for raw in privates.give(STREAM)]
        self.assertEqual(given, [f"{ROOM}/dan", f"{ROOM}/eve"])

    def test_the_room_is_left_while_they_are_given(self) -> None:
        """Other rooms have the bytes at once, and not once more when the rest is given."""
        all_rooms = ByteBudget(10_000)
        all_rooms.take(5000)
        kept = [KeptPrivate(number, f"<message from='{ROOM}/bob'/>".encode()) for number in range(3)]
        privates = PrivateMessages(ROOM, NullRoomJournal(itertools.count()), ByteBudget(10_000, all_rooms, 300), kept)
        self.assertGreater(all_rooms.used, 5000)
        given = iter(privates.give(f"{STREAM}"))
        next(given)
        privates.close()
        self.assertEqual(all_rooms.used, 5000)
        self.assertEqual(len(list(given)), 2)
        self.assertEqual((all_rooms.used, len(privates)), (5000, 0))

    def test_the_room_is_left(self) -> None:
        self.whispers()
        self.world.account.leave(ROOM)
        self.world.gone("alice", "110")
        self.assertEqual(self.world.account.occupancies.outlet.budgets._waiting.used, 0)
