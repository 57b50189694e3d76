"""What is kept has bounds in bytes: a hostile room costs so much, and costs the account's other rooms nothing."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Mapping

from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from minimixproxy.accountstream.lifecycle_rules import MAX_QUEUED
from minimixproxy.bounds.byte_budget import ByteBudget
from minimixproxy.config.settings import Rooms
from minimixproxy.minimix import account
from minimixproxy.minimix.account import ANSWERS_PER_SECOND
from minimixproxy.minimix.interfaces.journal import KeptPush
from minimixproxy.minimix.occupancy.membership import MAX_PASSWORD
from minimixproxy.minimix.occupancy.outlet import SHOWN_TO_ALL
from minimixproxy.minimix.rejoin.difference import subject_of
from minimixproxy.minimix.room import budgets, own_presence
from minimixproxy.minimix.room.budgets import HISTORY_OWN, ROOM_OWN
from minimixproxy.minimix.room.outbox import PATIENCE
from minimixproxy.minimix.room.presence_updates import digest
from minimixproxy.minimix.room.sessions import CLIENT_BYTES
from minimixproxy.minimix.room.snapshot import MAX_SUBJECT
from minimixproxy.minimix.room.stripped_presence import MAX_TEXT, is_own, stripped
from minimixproxy.minimix.subprotocols.open_iqs import MAX_OPEN
from minimixproxy.namespaces import NS_MAM, NS_MUC
from minimixproxy.wire import stanza as stanza_module
from minimixproxy.wire.children import children_once
from minimixproxy.wire.stanza import Stanza, parse_element, parse_stanza
from minimixproxy.wire.trees import BUILT
from minimixproxy.xep.disco import PING
from minimixproxy.xep.muc import MAX_CODES, status_codes
from tests.minimix.fakes import BARE, ROOM, STREAM, FakeSession, World, kinds, payload_of, split

MIB = 1024**2
OTHER = "other@muc.test"
SELF = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x>"
BIG = f"<status>{'x' * 200_000}</status>"
OTHER_BIG = f"<x xmlns='urn:test:large'>{'y' * 200_000}</x>"
OCCUPANT_ID = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='o'/>"


def budget(world: World, room: str = ROOM) -> ByteBudget:
    return world.account.rooms[room]._attendance.view._budget


class WhatWasSaid(SynchronousTestCase):
    def test_all_rooms_together(self) -> None:
        """A hostile service fills all its rooms; another room keeps what is its own, and gets the rest at the end."""
        self.patch(budgets, "HISTORY_BYTES", 4 * MIB)
        self.patch(budgets, "BYTES_EACH", 0)
        world = World()
        rooms = [f"r{number}@evil.test" for number in range(8)]
        (phone,) = world.joined("phone")
        for room in rooms:
            world.client(phone, f"<presence to='{room}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
            world.room(f"<presence from='{room}/alice' to='{STREAM}'>{SELF}</presence>")
            world.room(f"<message type='groupchat' from='{room}' to='{STREAM}'><subject/></message>")
        for number in range(40):
            for room in rooms:
                body = f"<body>{number}{'x' * 50_000}</body>"
                world.room(f"<message type='groupchat' from='{room}/eve' to='{STREAM}'>{body}</message>")
        for number in range(100):
            world.says("bob", f"{number}{'y' * 2000}")
        kept = {room: sum(len(entry.raw) for entry in one.history.entries) for room, one in world.account.rooms.items()}
        self.assertLess(sum(kept.values()), 4 * MIB + 9 * HISTORY_OWN)
        self.assertGreater(kept[ROOM], 200_000)
        self.assertGreater(min(kept.values()), 200_000)
        tablet = world.session("tablet")
        world.asks_to_join(tablet)
        self.assertIn("bob: 99" + "y" * 2000, kinds(tablet.received))
        for room in rooms:
            world.client(phone, f"<presence type='unavailable' to='{room}/alice'/>")
            world.account.leave(room)
            world.room(f"<presence type='unavailable' from='{room}/alice' to='{STREAM}'>{SELF}</presence>")
        self.assertEqual(list(world.account.rooms), [ROOM])
        self.assertEqual(world.account.occupancies.outlet.budgets._said.used, max(0, kept[ROOM] - HISTORY_OWN))


class WhatARoomShows(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(room_memory=MIB, account_memory=4 * MIB)
        (self.phone,) = self.world.joined("phone")

    def join_late(self) -> FakeSession:
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        return tablet

    def test_large_presences(self) -> None:
        """Attached sessions get them; who joins later is shown everybody, if not all of it."""
        for number in range(30):
            self.world.shows(f"m{number}", inner=(BIG if number % 2 else OTHER_BIG) + "<show>dnd</show>" + OCCUPANT_ID)
            self.assertIn(b"xxx" if number % 2 else b"yyy", self.phone.take()[0].raw)
        self.assertLessEqual(budget(self.world).used, MIB)
        tablet = self.join_late()
        shown = [one for one in kinds(tablet.received) if one.startswith("presence m")]
        self.assertEqual(shown, [f"presence m{number}" for number in range(30)])
        (last,) = [one for one in tablet.received if one.get("from") == f"{ROOM}/m29"]
        self.assertEqual((str(last.element.show), last["to"]), ("dnd", tablet.jid))
        self.assertIn(b"affiliation='member' role='participant'", last.raw)
        self.assertTrue(last.has_payload("urn:xmpp:occupant-id:0", "occupant-id"))
        self.assertEqual(len(self.flushLoggedErrors()), 0)

    def test_more_occupants_than_fit_at_all(self) -> None:
        self.world = World(room_memory=MIB // 4, account_memory=4 * MIB)
        (self.phone,) = self.world.joined("phone")
        for number in range(1500):
            self.world.shows(f"m{number}")
            self.phone.received.clear()
        self.assertLessEqual(budget(self.world).used, MIB)
        tablet = self.join_late()
        self.assertTrue(400 < len(tablet.received) < 1500)
        self.world.gone("m0")
        self.world.shows("late")
        self.assertIn("presence late", kinds(self.join_late().received))

    def test_changes_and_departures_give_back(self) -> None:
        before = budget(self.world).used
        for _ in range(5):
            self.world.shows("carol", inner=BIG)
            self.world.shows("carol", inner="<show>away</show>")
        self.world.gone("carol")
        self.assertEqual(budget(self.world).used, before)

    def test_other_rooms_have_their_own(self) -> None:
        world = World(room_memory=256 * MIB, account_memory=MIB)
        world.joined("phone")
        for number in range(30):
            world.shows(f"m{number}", inner=BIG)
        self.assertGreater(world.account.occupancies.outlet.budgets._shown.used, MIB - 201_000)
        self.assertLessEqual(budget(world).used, MIB + ROOM_OWN)
        other = another_room(world)
        self.assertTrue(other.take(ROOM_OWN))

    def test_own_presence_subject_and_the_rooms(self) -> None:
        self.world = World(room_memory=MIB // 4, account_memory=4 * MIB)
        (self.phone,) = self.world.joined("phone")
        self.world.shows("alice", "100 110", inner=BIG)
        self.world.room(f"<presence from='{ROOM}' to='{STREAM}'>{BIG}</presence>")
        self.world.subject("x" * 200_000)
        self.assertLessEqual(budget(self.world).used, MIB)
        tablet = self.join_late()
        subject = f"subject {'x' * MAX_SUBJECT}…"
        self.assertEqual(kinds(tablet.received), ["presence bob", "presence alice 100 110", subject])

    def test_no_tree_is_made_of_a_subject(self) -> None:
        """Occupants may set it, and it is there when all accounts come back, whether or not it has a place."""
        self.world = World(room_memory=MIB // 4, account_memory=4 * MIB)
        (self.phone,) = self.world.joined("phone")
        for subject in ("s&lt;" + "<a/>" * 4900, "s&lt;" * 30_000, "s&lt;<subject xmlns='urn:x'/>" + "<a/>" * 4900):
            self.world.subject(subject)
            for number in range(1500):
                self.world.shows(f"m{number}")
                self.phone.received.clear()
            built = BUILT.trees
            self.world.subject(subject)
            self.assertEqual(BUILT.trees - built, 0)
            view = self.world.account.rooms[ROOM]._attendance.view
            self.assertEqual(subject_of(view), subject_of(view))
            self.assertEqual(BUILT.trees - built, 0)
            assert view.subject is not None
            self.assertIn(b"<subject>s&lt;", view.subject.raw)

    def test_what_occupants_show_takes_nothing_from_subject_and_own_presence(self) -> None:
        """One who comes later is shown a subject of normal size whatever the room is full of."""
        self.world = World(room_memory=MIB // 4, account_memory=MIB)
        (self.phone,) = self.world.joined("phone")
        for number in range(1500):
            self.world.shows(f"m{number}", inner=BIG if number % 10 == 1 else "")
            self.phone.received.clear()
        self.assertFalse(budget(self.world).take(2000), "full")
        self.world.subject("s" * 5000)
        avatar = f"<x xmlns='vcard-temp:x:update'><photo>{'a' * 5000}</photo></x>"
        self.world.shows("alice", "110", inner=avatar)
        received = self.join_late().received
        self.assertEqual(kinds(received[-1:]), [f"subject {'s' * 5000}"])
        self.assertIn(avatar.encode(), received[-2].raw)

    def test_two_views_on_coming_back_and_none_at_the_end(self) -> None:
        for number in range(20):
            self.world.shows(f"m{number}", inner=BIG)
        self.world.stream.jid = ""
        self.world.stream.lost()
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        for number in range(20):
            self.world.shows(f"m{number}", inner=BIG)
        self.world.comes_back()
        self.assertLessEqual(budget(self.world).used, MIB)
        self.world.account.leave(ROOM)
        self.world.gone("alice", "110")
        self.assertEqual((self.world.account.rooms, self.world.account.occupancies.outlet.budgets._shown.used), ({}, 0))

    def test_a_view_that_came_to_nothing(self) -> None:
        self.world.gone("alice", "110 332")
        self.world.clock.advance(2)
        for number in range(20):
            self.world.shows(f"m{number}", inner=BIG)
        self.assertGreater(self.world.account.occupancies.outlet.budgets._shown.used, 0)
        self.world.gone("alice", "110 307")
        self.assertEqual((self.world.account.rooms, self.world.account.occupancies.outlet.budgets._shown.used), ({}, 0))


class WhatKeptStanzasTake(SynchronousTestCase):
    """What waits is counted by its bytes: it takes no hundred times as much, whatever is in it and was looked at."""

    USER = "<x xmlns='http://jabber.org/protocol/muc#user'/>"
    MANY = ("<a/>" * 900, "<x>" + "<a/>" * 4900 + "</x>")

    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")

    def assert_takes_little(self, say: Callable[[int], None], number: int, size: int) -> None:
        """So many more take little more: what was looked at last may be there as trees."""
        taken = []
        tracemalloc.start()
        try:
            for one in range(2 * number):
                say(one)
                if one % number == number - 1:
                    self.world.stream.sent.clear()
                    gc.collect()
                    taken.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        self.assertLess(taken[1] - taken[0], 6 * number * size, taken)

    def test_of_a_room_while_its_archive_is_awaited(self) -> None:
        for inner in self.MANY:
            self.setUp()
            self.world.stream.jid = ""
            self.world.stream.lost()
            self.world.stream.jid = STREAM
            self.world.stream.opened()
            self.world.shows("alice", "100 110")

            def say(number: int, inner: str = inner) -> None:
                said = f"<body>{number}</body>{self.USER}{inner}"
                self.world.room(f"<message type='groupchat' from='{ROOM}' to='{STREAM}'>{said}</message>")

            self.assert_takes_little(say, 5, len(inner))

    def test_of_an_archive(self) -> None:
        self.world.stream.jid = ""
        self.world.stream.lost()
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.world.shows("alice", "100 110")
        self.world.tells_of_itself(NS_MAM, keep=True)
        (query,) = [one for one in self.world.stream.take() if one.has_payload(NS_MAM, "query")]
        names = " ".join(f"a{number}=''" for number in range(200))

        def say(number: int) -> None:
            self.world.room(
                f"<message from='{ROOM}' to='{STREAM}'><result xmlns='{NS_MAM}' id='{number}'"
                f" queryid='{payload_of(query, NS_MAM, 'query')['queryid']}'><forwarded xmlns='urn:xmpp:forward:0'>"
                "<delay xmlns='urn:xmpp:delay' stamp='2023-11-14T22:13:20Z'/><message xmlns='jabber:client'"
                f" type='groupchat' from='{ROOM}/eve' {names}><body>{number}</body>{self.MANY[0]}</message>"
                "</forwarded></result></message>"
            )

        self.assert_takes_little(say, 5, len(self.MANY[0]))

    def test_of_clients_in_a_room_that_shows_others_in_their_name(self) -> None:
        for inner in self.MANY:
            self.setUp()

            def say(number: int, inner: str = inner) -> None:
                said = f"<body>{number}</body>{inner}"
                self.world.client(self.phone, f"<message type='groupchat' to='{ROOM}'>{said}</message>")
                if number == 4:
                    self.world.says("alice", "never said", stanza_id="other")

            self.assert_takes_little(say, 5, len(inner))


def another_room(world: World) -> ByteBudget:
    return world.account.occupancies.outlet.room_budget()


class WhatClientsSay(SynchronousTestCase):
    """Their joins, presences and ids, in many rooms, are bounded for the whole account."""

    def setUp(self) -> None:
        self.world = World()
        self.phone = self.world.session("phone")

    def direct(self, room: str, inner: str, nick: str = "alice", stanza_id: str = "i") -> None:
        self.world.client(self.phone, f"<presence to='{room}/{nick}' id='{stanza_id}'>{inner}</presence>")

    def join(self, number: int, inner: str = "") -> None:
        self.direct(f"room{number}@muc.test", f"<x xmlns='{NS_MUC}'>{inner}</x>{BIG}")

    def used(self) -> int:
        used = self.world.account.sessions.budget.used
        self.assertLessEqual(used, CLIENT_BYTES)
        return used

    def fill(self) -> None:
        self.assertTrue(self.world.account.sessions.budget.take(CLIENT_BYTES - self.used()))

    def test_joins_that_wait(self) -> None:
        """Those beyond the bound are refused, and nothing is sent for them; it is logged once."""
        with capturedLogs() as events:
            for number in range(60):
                self.join(number)
                self.used()
        refused = self.phone.take()
        self.assertEqual(len(self.world.stream.take()), 60 - len(refused))
        self.assertEqual(len(refused) + len(self.world.account.rooms), 60)
        self.assertTrue(0 < len(refused) < 30)
        self.assertTrue(all(b"<resource-constraint " in error.raw and error["id"] == "i" for error in refused))
        self.assertEqual(len([event for event in events if event.get("limit") == CLIENT_BYTES]), 1, events)
        self.world.clock.advance(60)
        self.assertEqual((len(self.phone.take()), self.world.account.rooms, self.used()), (60 - len(refused), {}, 0))

    def test_a_join_that_was_sent_is_kept_no_longer_than_its_session_waits(self) -> None:
        for number in range(60):
            self.join(number)
            self.direct(f"room{number}@muc.test", f"<x xmlns='{NS_MUC}'/>")
        self.assertEqual((self.phone.take(), len(self.world.account.rooms)), ([], 60))
        self.world.account.session_closed(self.phone)
        self.assertEqual(self.used(), 0)
        for occupancy in self.world.account.rooms.values():
            self.assertNotIn("stanza", dir(occupancy._attendance.joiner))

    def test_a_session_joins_again_while_the_room_is_full_for_it(self) -> None:
        """The one that waited counts no more, and the other is refused: it knows that it is not in."""
        self.world.asks_to_join(self.phone)
        self.fill()
        self.world.asks_to_join(self.phone, inner="x" * 500, stanza_id="k")
        (error,) = self.phone.take()
        self.assertEqual((error["type"], error["id"]), ("error", "k"))
        self.world.account.sessions.budget.close()
        self.world.shows("alice", "110")
        self.world.subject()
        self.assertEqual(self.phone.take(), [])

    def test_joins_for_the_next_occupancy_and_of_one_that_is_out(self) -> None:
        (self.phone,) = self.world.joined("laptop")
        tablet = self.world.session("tablet")
        self.world.account.leave(ROOM)
        self.phone.take()
        self.fill()
        self.world.asks_to_join(tablet)
        self.assertIn(b"<resource-constraint ", tablet.take()[0].raw)

    def test_presences(self) -> None:
        (self.phone,) = self.world.joined("laptop")
        for _ in range(60):
            self.direct(ROOM, f"<show>dnd</show>{BIG}")
        self.assertTrue(200_000 < self.used() < 300_000)
        self.fill()
        self.direct(ROOM, f"<show>away</show><priority>1</priority>{BIG}")
        self.world.clock.advance(2)
        shown = self.world.stream.take()[-1]
        self.assertEqual((str(shown.element.show), len(shown.raw) < 500), ("away", True))

    def test_undirected_presences(self) -> None:
        (self.phone,) = self.world.joined("laptop")
        for _ in range(60):
            self.world.client(self.phone, f"<presence>{BIG}</presence>")
        self.assertTrue(200_000 < self.used() < 300_000)
        self.fill()
        self.world.client(self.phone, f"<presence><show>xa</show>{BIG}{BIG}</presence>")
        self.world.clock.advance(2)
        shown = self.world.stream.take()[-1]
        self.assertEqual((str(shown.element.show), len(shown.raw) < 500), ("xa", True))

    def test_what_waits_for_rooms_to_come_back(self) -> None:
        (self.phone,) = self.world.joined("laptop")
        self.world.stream.jid = ""
        self.world.stream.lost()
        message = f"<message to='{ROOM}' type='groupchat' id='m'><body>{'x' * 9000}</body></message>"
        self.world.client(self.phone, message)
        self.assertGreater(self.used(), 9000)
        self.fill()
        self.world.client(self.phone, message)
        self.assertIn(b"<resource-constraint ", self.phone.take()[0].raw)
        self.world.account.session_closed(self.phone)
        self.world.clock.advance(PATIENCE)
        self.assertLess(self.used(), CLIENT_BYTES - 9000)

    def test_questions_to_archives_of_rooms_of_which_it_is_not_known_whether_they_have_any(self) -> None:
        (self.phone,) = self.world.joined("laptop")
        question = f"<iq type='set' id='q' to='{ROOM}'><query xmlns='{NS_MAM}' queryid='q'/>{BIG}</iq>"
        for _ in range(60):
            self.world.client(self.phone, question)
            self.used()
        refused = self.phone.take()
        self.assertTrue(all(b"<resource-constraint " in error.raw and error["id"] == "q" for error in refused))
        self.assertTrue(10 < len(refused) < 30, len(refused))
        (asked,) = self.world.stream.take()
        self.world.room(f"<iq type='error' from='{ROOM}' to='{STREAM}' id='{asked['id']}'/>")
        self.assertEqual(len(self.world.stream.take()) + len(self.phone.take()), 60 - len(refused))
        self.assertLess(self.used(), 1000)

    def test_changes_of_nick(self) -> None:
        (self.phone,) = self.world.joined("laptop")
        half = CLIENT_BYTES // 2
        self.world.account.sessions.budget.take(half)
        for number in range(30):
            self.direct(ROOM, "", nick=f"liz{number}", stanza_id="x" * 200_000)
            self.used()
        refused = self.phone.take()
        self.assertTrue(all(b"<resource-constraint " in error.raw for error in refused))
        self.assertTrue(5 < len(refused) < 15)
        self.world.clock.advance(40)
        self.assertLess(self.used(), half + 1000)

    def test_all_is_given_back(self) -> None:
        (self.phone,) = self.world.joined("laptop")
        self.world.client(self.phone, f"<presence>{BIG}</presence>")
        self.direct(ROOM, BIG, nick="liz", stanza_id="x" * 1000)
        self.direct(ROOM, BIG)
        self.assertGreater(self.used(), 400_000)
        self.world.gone("alice", "110 307")
        self.world.account.session_closed(self.phone)
        self.assertEqual(self.used(), 0)

    def test_a_leave_that_waits(self) -> None:
        """Of a long farewell nothing is kept until the room is told."""
        (self.phone,) = self.world.joined("laptop")
        self.direct(ROOM, "")
        self.world.client(self.phone, f"<presence to='{ROOM}/alice' type='unavailable'>{BIG}</presence>")
        self.world.clock.advance(5)
        (left,) = self.world.stream.take()
        self.assertEqual((left["type"], len(left.raw) < 200), ("unavailable", True))

    def test_a_long_password_is_not_kept(self) -> None:
        for length, kept in ((MAX_PASSWORD, True), (MAX_PASSWORD + 1, False)):
            secret = "s" * length
            room = f"room{length}@muc.test"
            self.direct(room, f"<x xmlns='{NS_MUC}'><password>{secret}</password></x>")
            self.assertIn(secret.encode(), self.world.stream.take()[-1].raw)
            self.assertEqual(self.world.account.rooms[room].membership.password, secret if kept else None)


class WhatIsAskedOfRooms(SynchronousTestCase):
    """A room that answers nothing, of a service that has many occupants: clients ask each for its picture."""

    def test_what_clients_ask_of_another_room(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        vcard = "<vCard xmlns='vcard-temp'/>"
        for number in range(MAX_OPEN):
            world.client(phone, f"<iq type='get' id='{number}' to='{ROOM}/eve{number}'>{vcard}</iq>")
        asked, refused = world.stream.take(), phone.take()
        self.assertEqual((len(asked) + len(refused), len(asked)), (MAX_OPEN, MAX_OPEN // 2))
        self.join(world, phone)
        world.client(phone, f"<iq type='get' id='other' to='{OTHER}/bob'>{vcard}</iq>")
        (question,) = world.stream.take()
        world.room(f"<iq type='result' id='{question['id']}' from='{OTHER}/bob' to='{STREAM}'/>")
        self.assertEqual([(one["type"], one["id"]) for one in phone.take()], [("result", "other")])
        world.room(f"<iq type='result' id='{asked[0]['id']}' from='{asked[0]['to']}' to='{STREAM}'/>")
        world.client(phone, f"<iq type='get' id='again' to='{ROOM}/bob'>{vcard}</iq>")
        self.assertEqual(len(world.stream.take()), 1, "as many as it answers")

    def test_what_the_account_itself_asks(self) -> None:
        """Of another room, and of its server, which it takes for dead if it does not answer."""
        world = World()
        world.joined("phone")
        answers: list[Stanza | None] = []
        for _ in range(MAX_OPEN):
            world.account.ask(f"{ROOM}/eve", "get", PING, answers.append)
        self.assertEqual((len(world.stream.take()), answers), (MAX_OPEN // 2, [None] * (MAX_OPEN // 2)))
        world.account.ask(OTHER, "get", PING, answers.append)
        world.stream.requests.keep_alive()
        self.assertEqual([one["to"] for one in world.stream.take()], [OTHER, "a.test"])

    @staticmethod
    def join(world: World, session: FakeSession) -> None:
        world.client(session, f"<presence to='{OTHER}/alice'><x xmlns='{NS_MUC}'/></presence>")
        world.room(f"<presence from='{OTHER}/alice' to='{STREAM}'>{SELF}</presence>")
        world.room(f"<message type='groupchat' from='{OTHER}' to='{STREAM}'><subject/></message>")
        world.stream.take()
        session.take()


AT_ONCE = 400  # answers: a fifth of what it is, which proves the same


class WhatOthersAsk(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(account, "ANSWERS_AT_ONCE", AT_ONCE)

    def test_no_tree_is_made_of_what_they_say(self) -> None:
        """It costs ten times as much as to find the stanza, and anybody can fill what looks as if it was to be read."""
        world = World(bookmarks="follow")
        (phone,) = world.joined("phone")
        world.account.push.restore((KeptPush("phone", "push.test", "n"),))
        pad, built = "<a/>" * 4000, BUILT.trees
        pubsub = "http://jabber.org/protocol/pubsub"
        event = f"{pubsub}#event"
        said = (
            f"<iq type='get' id='1' {{}}><query xmlns='http://jabber.org/protocol/disco#info'>{pad}</query></iq>",
            f"<message {{}}><event xmlns='{event}'><items node='urn:xmpp:bookmarks:1'/>{pad}</event></message>",
            f"<message {{}}><pubsub xmlns='{pubsub}'><affiliation affiliation='none'/>{pad}</pubsub></message>",
            f"<message {{}}><received xmlns='urn:xmpp:carbons:2'>{STREAM}{pad}</received></message>",
            f"<message {{}}><event xmlns='{event}'><items node='urn:xmpp:mds:displayed:0'/>{pad}</event></message>",
        )
        for xml in said:
            for sender, to in (("eve@x.test/a", STREAM), (f"{ROOM}/eve", STREAM), ("eve@x.test/a", phone.jid)):
                (stanza,) = split(xml.format(f"from='{sender}' to='{to}'").encode())
                if to == STREAM:
                    world.stream.says(stanza)
                elif stanza.name == "message":
                    world.account.from_server(phone, stanza)
                self.assertEqual(BUILT.trees - built, 0, (xml[:100], sender))

    def test_strangers_of_very_many_addresses_take_nothing_from_rooms(self) -> None:
        """Some rooms remove who does not answer their pings, and a domain has as many addresses as it likes."""
        world = World()
        world.joined("phone")
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        for number in range(3 * AT_ONCE):
            world.room(f"<iq type='get' id='i' from='u{number}@evil.test/x' to='{STREAM}'>{ping}</iq>")
        self.assertLessEqual(len(world.stream.take()), AT_ONCE)
        for sender in (ROOM, f"{ROOM}/bob"):
            world.room(f"<iq type='get' id='r' from='{sender}' to='{STREAM}'>{ping}</iq>")
            self.assertEqual([one["to"] for one in world.stream.take()], [sender])

    def test_so_much_is_answered(self) -> None:
        """A question may be a tenth of its answer: nobody fills the way to the server with those."""
        world = World()
        (phone,) = world.joined("phone")
        questions = (
            "<query xmlns='http://jabber.org/protocol/disco#info'/>",
            "<ping xmlns='urn:xmpp:ping'/>",
            "<vCard xmlns='vcard-temp'/>",
        )
        for number in range(3 * AT_ONCE):
            question = questions[number % 3]
            world.room(f"<iq type='get' id='i{number}' from='eve@a.test/x' to='{STREAM}'>{question}</iq>")
        self.assertEqual(len(world.stream.take()), AT_ONCE // 2)  # and nobody takes what is left for others
        for sender in ("", f"from='{BARE}'", "from='a.test'"):
            world.room(f"<iq type='get' {sender} to='{STREAM}' id='s'><ping xmlns='urn:xmpp:ping'/></iq>")
            self.assertEqual(len(world.stream.take()), 1, "a server may end streams that do not answer it")
        world.clock.advance(1)
        for number in range(100):
            world.room(f"<iq type='get' id='j{number}' from='eve@a.test/x' to='{STREAM}'>{questions[0]}</iq>")
        self.assertEqual(len(world.stream.take()), ANSWERS_PER_SECOND)
        world.client(phone, f"<message to='{ROOM}' type='groupchat'><body>b</body></message>")
        self.assertEqual(len(world.stream.take()), 1)

    def test_who_asks_much_takes_nothing_from_others(self) -> None:
        """Whatever the resource, and whatever the nick; a room's occupants share what it gets."""
        ping, questions = "<ping xmlns='urn:xmpp:ping'/>", "<vCard xmlns='vcard-temp'/>"
        for hostile, other in (("eve@a.test/x{}", "bob@a.test/phone"), (ROOM + "/eve{}", "other@muc.test/bob")):
            world = World()
            world.joined("phone")
            for number in range(2 * AT_ONCE):
                sender = hostile.format(number)
                world.room(f"<iq type='get' id='i' from='{sender}' to='{STREAM}'>{(ping, questions)[number % 2]}</iq>")
            self.assertLess(len(world.stream.take()), AT_ONCE)
            for _ in range(100):
                world.room(f"<iq type='get' id='o' from='{other}' to='{STREAM}'>{ping}</iq>")
            self.assertEqual({one["to"] for one in world.stream.sent}, {other})
            self.assertEqual(len(world.stream.take()), 100)

    def test_who_says_much_to_nobody_takes_nothing_from_others(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        world.account.session_closed(phone)
        for sender, told in (("eve@e.test", AT_ONCE // 2), ("bob@b.test", 100)):
            world.stream.take()
            for _ in range(2 * AT_ONCE if sender == "eve@e.test" else 100):
                world.room(f"<message from='{sender}/x' to='{STREAM}'><body>anybody?</body></message>")
            self.assertEqual(len(world.stream.take()), told, sender)


class ManyRooms(SynchronousTestCase):
    def in_rooms(self, number: int) -> tuple[World, FakeSession]:
        world = World()
        session = world.session("phone")
        for one in range(number):
            room = f"r{one}@muc.test"
            world.client(session, f"<presence to='{room}/alice'><x xmlns='{NS_MUC}'/></presence>")
            join = next(one for one in world.stream.take() if one.payload(NS_MUC, "x") is not None)
            world.room(
                f"<presence from='{room}/alice' to='{STREAM}' id='{join.get('id')}'><x xmlns='{NS_MUC}#user'>"
                "<item affiliation='none' role='participant'/><status code='110'/></x></presence>"
            )
            world.room(f"<message from='{room}' to='{STREAM}' type='groupchat'><subject/></message>")
        world.clock.advance(10)
        world.stream.take()
        return world, session

    def test_a_large_presence_does_not_overrun_the_stream(self) -> None:
        """It would wait for the server a hundred times: the stream would be given up, and with it all rooms."""
        world, session = self.in_rooms(100)
        text = "x" * 200_000
        self.assertFalse(world.client(session, f"<presence><show>dnd</show><status>{text}</status></presence>"))
        sent = world.stream.take()
        self.assertEqual((len(sent), {str(one.element.show) for one in sent}), (100, {"dnd"}))
        self.assertLess(sum(len(one.raw) for one in sent), MAX_QUEUED)
        world.clock.advance(10)
        world.client(session, f"<presence><show>xa</show><status>{text[:10_000]}</status></presence>")
        self.assertTrue(all(text[:10_000] == str(one.element.status) for one in world.stream.take()))

    def test_in_few_rooms_a_large_presence_is_shown(self) -> None:
        world, session = self.in_rooms(3)
        text = "x" * 200_000
        world.client(session, f"<presence><status>{text}</status></presence>")
        self.assertEqual([str(one.element.status) for one in world.stream.take()], [text] * 3)

    def test_very_many_rooms(self) -> None:
        """Even then what a client usually shows is shown."""
        self.assertGreaterEqual(SHOWN_TO_ALL // Rooms().max_rooms, 2000)

    def test_a_presence_is_read_once(self) -> None:
        """However many rooms are shown it."""
        world = World()
        phone = world.session("phone")
        for number in range(300):
            room = f"room{number}@muc.test"
            world.client(phone, f"<presence to='{room}/alice'><x xmlns='{NS_MUC}'/></presence>")
            user = "<x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x>"
            world.room(f"<presence from='{room}/alice' to='{STREAM}'>{user}</presence>")
            world.room(f"<message type='groupchat' from='{room}' to='{STREAM}'><subject/></message>")
        world.clock.advance(2)
        world.stream.take()
        read: list[bytes] = []
        digested = digest.cache_info().misses

        def counting(raw: bytes, namespaces: Mapping[str, str]) -> domish.Element:
            read.append(raw)
            return parse_element(raw, namespaces)

        def cutting(stanza: Stanza) -> tuple[Stanza, ...]:
            read.append(stanza.raw)
            return children_once(stanza)

        said = parse_stanza("<presence><show>dnd</show><status>busy</status></presence>")
        self.patch(own_presence, "children_once", cutting)
        self.patch(stanza_module, "parse_element", counting)
        world.account.from_client(phone, said)
        sent = world.stream.take()
        self.assertEqual({str(one.element.show) for one in sent}, {"dnd"})
        self.assertEqual(len([raw for raw in read if b"busy" in raw and b" to=" not in raw]), 1)
        self.assertEqual((len(sent), digest.cache_info().misses - digested), (300, 1))


class Stripped(SynchronousTestCase):
    def test_is_small_whatever_it_is_made_of(self) -> None:
        long = "y" * (MAX_TEXT + 1)
        own_presence = parse_stanza(
            f"<presence type='unavailable' from='{ROOM}/a&amp;b' to='{STREAM}' id='{long}'><status>{long}</status>"
            f"<show>xa</show><x xmlns='u'>{'<show>no</show>' * 999}</x><x xmlns='http://jabber.org/protocol/muc#user'>"
            f"<item affiliation='member' role='none' jid='a@b/&lt;' nick='{long}'><reason>{long}</reason></item>"
            "<status code='110'/><status code='303'/></x><occupant-id xmlns='urn:xmpp:occupant-id:0' id='&gt;'/>"
            "</presence>"
        )
        found = parse_stanza(stripped(own_presence))
        self.assertLess(len(found.raw), 600)
        self.assertEqual((found["type"], found["from"], found["to"]), ("unavailable", f"{ROOM}/a&b", STREAM))
        self.assertEqual((str(found.element.show), found.element.status), ("xa", None))
        self.assertEqual(status_codes(found), {"110", "303"})
        item = next(found.element.x.elements())
        self.assertEqual(item.attributes, {"affiliation": "member", "role": "none", "jid": "a@b/<"})
        self.assertEqual(payload_of(found, "urn:xmpp:occupant-id:0", "occupant-id")["id"], ">")

    def test_what_is_looked_for_stands_in_its_place(self) -> None:
        """Occupants write what they like elsewhere; of what is there twice the first counts."""
        user, ids = "http://jabber.org/protocol/muc#user", "urn:xmpp:occupant-id:0"
        short, long = "i" * MAX_TEXT, "i" * (MAX_TEXT + 1)
        for inner, expected in (
            (f"<occupant-id xmlns='{ids}' id='o'/>", b"id='o'"),
            (f"<y xmlns='urn:y'><occupant-id xmlns='{ids}' id='o'/></y>", None),
            (f"<other xmlns='{ids}' id='o'/>", None),
            ("<occupant-id xmlns='urn:y' id='o'/>", None),
            (f"<occupant-id xmlns='{ids}' id='{short}'/>", b"iii"),
            (f"<occupant-id xmlns='{ids}' id='{long}'/>", None),
            (f"<x xmlns='{user}'><item role='a'/></x>", b"role='a'"),
            (f"<x xmlns='{user}'><item role='a'/><item role='b'/></x>", b"role='a'"),
            (f"<x xmlns='{user}'><y><item role='a'/></y></x>", None),
            (f"<y xmlns='urn:y'><item xmlns='{user}' role='a'/></y>", None),
            (f"<x xmlns='{user}'><other role='a'/></x>", None),
            (f"<x xmlns='{user}'><status code='{short}'/></x>", b"iii"),
            (f"<x xmlns='{user}'><status code='{long}'/></x>", None),
            (f"<x xmlns='{user}'><y><status code='170'/></y></x>", None),
            (f"<y xmlns='urn:y'><status xmlns='{user}' code='170'/></y>", None),
            ("<show>xa</show>", b"<show>xa</show>"),
            ("<y xmlns='urn:y'><show xmlns='jabber:client'>xa</show></y>", None),
            ("<show xmlns='urn:y'>xa</show>", None),
        ):
            raw = stripped(parse_stanza(f"<presence from='{ROOM}/m'>{inner}</presence>"))
            empty = stripped(parse_stanza(f"<presence from='{ROOM}/m'/>"))
            if expected is None:
                self.assertNotIn(b"role='a'", raw, inner)
                self.assertLess(len(raw), len(empty) + 100, inner)
                self.assertNotIn(b"code=", raw, inner)
                self.assertNotIn(b"occupant-id", raw, inner)
                self.assertNotIn(b"xa", raw, inner)
            else:
                self.assertIn(expected, raw, inner)
                self.assertNotIn(b"role='b'", raw, inner)
        many = "".join(f"<status code='{code}'/>" for code in range(100, 200))
        raw = stripped(parse_stanza(f"<presence from='{ROOM}/m'><x xmlns='{user}'>{many}</x></presence>"))
        self.assertEqual(len(status_codes(parse_stanza(raw))), 20)

    def test_codes_are_looked_for_among_so_many(self) -> None:
        """What is there beyond is not looked at, be it codes or what is none; 9,000 held everybody for 36 ms."""
        user = "http://jabber.org/protocol/muc#user"
        for before, last, found in (
            ("<item/>" * (MAX_CODES - 1), "104", {"104"}),
            ("<item/>" * MAX_CODES, "104", set()),
            ("<status code='100'/>" * MAX_CODES, "104", {"100"}),
            ("", "104", {"104"}),
        ):
            inner = f"<x xmlns='{user}'>{before}<status code='{last}'/></x>"
            stanza = parse_stanza(f"<message type='groupchat' from='{ROOM}'>{inner}</message>")
            self.assertEqual(status_codes(stanza), found, before[:20])

    def test_whose_it_is(self) -> None:
        user = "http://jabber.org/protocol/muc#user"
        for inner, own in (
            (f"<x xmlns='{user}'><status code='110'/></x>", True),
            (f"<x xmlns='{user}'><status code = \"110\" /></x>", True),
            (f"<x xmlns='{user}'><y><status code='110'/></y></x>", False),
            ("<x xmlns='u'><status code='110'/></x>", False),
            (f"<x xmlns='{user}'><status code='100'/></x><status>code='110'</status>", False),
            (f"<z><x xmlns='{user}'><status code='110'/></x></z>", False),
        ):
            self.assertIs(is_own(parse_stanza(f"<presence>{inner}</presence>")), own, inner)

    def test_own_presence_is_read_again_and_again(self) -> None:
        """A client can fill it with what takes long to read, and then join anew again and again."""
        world = World()
        phone, tablet = world.joined("phone", "tablet")
        inner = f"<show>dnd</show><x xmlns='urn:x'>{'<a/>' * 9_000}</x>"
        world.shows("alice", "110", inner=inner, item=f"jid='{STREAM}'")
        for session in (phone, tablet):
            (shown,) = session.take()
            self.assertLess(len(shown.raw), 1000)
            self.assertIn(f"jid='{session.jid}'".encode(), shown.raw)
        world.asks_to_join(tablet)
        (own,) = [one for one in tablet.take() if one.get("from") == f"{ROOM}/alice"]
        self.assertIn(b"<show>dnd</show>", own.raw)
        self.assertLess(len(own.raw), 1000)

    def test_any_namespace(self) -> None:
        """Nobody is in a room unseen for the name of a namespace."""
        world = World()
        (phone,) = world.joined("phone")
        world.shows("m", inner="<x xmlns='urn:a}b' code='110'/>")
        self.assertEqual(kinds(phone.received), ["presence m"])
        self.assertIn(b"role='participant'", stripped(phone.received[0]))


class Ids(SynchronousTestCase):
    def test_a_client_is_told_so(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        for number in range(40):
            ping = "<ping xmlns='urn:xmpp:ping'/>"
            world.client(phone, f"<iq type='get' to='{ROOM}/bob' id='{number}{'x' * 200_000}'>{ping}</iq>")
        errors = phone.take()
        self.assertTrue(errors)
        self.assertTrue(all(b"<resource-constraint " in error.raw for error in errors))
