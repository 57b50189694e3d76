"""Leaving and being removed (protocol notes, *Leaving and being removed*), without sockets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.occupancy.lifecycle import REENTRY_PAUSE
from tests.minimix.fakes import ROOM, STREAM, World, kinds


class Leaving(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def test_answered_at_once(self) -> None:
        phone, laptop = self.world.joined("phone", "laptop")
        xml = f"<presence to='{ROOM}/alice' type='unavailable' id='7'><status>bye</status></presence>"
        self.assertTrue(self.world.client(phone, xml))
        (gone,) = phone.take()
        self.assertEqual(kinds([gone]), ["unavailable alice 110"])
        self.assertEqual((gone["id"], gone["to"], str(gone.element.status)), ("7", phone.jid, "bye"))
        self.world.says("bob", "hello")
        self.assertEqual((kinds(phone.received), kinds(laptop.received)), ([], ["bob: hello"]))
        self.world.clock.advance(100)
        self.assertEqual(self.world.stream.take(), [])

    def test_the_last_takes_the_account_along(self) -> None:
        (phone,) = self.world.joined("phone")
        xml = f"<presence to='{ROOM}/alice' type='unavailable'><status>bye</status></presence>"
        self.world.client(phone, xml)
        self.world.clock.advance(2.9)
        self.assertEqual(self.world.stream.take(), [])
        self.world.clock.advance(0.2)
        (sent,) = self.world.stream.take()
        self.assertEqual((sent["type"], sent["to"], str(sent.element.status)), ("unavailable", f"{ROOM}/alice", "bye"))
        self.world.gone("alice", "110")
        self.assertEqual((self.world.account.rooms, self.world.stream.closed), ({}, 1))

    def test_no_leave_when_the_stream_closes_in_the_grace(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.leaves(phone)
        self.world.account.session_closed(phone)
        self.world.clock.advance(100)
        self.assertNotIn("unavailable", [stanza.get("type") for stanza in self.world.stream.take()])
        self.assertIn(ROOM, self.world.account.rooms)

    def test_no_leave_when_another_joins_in_the_grace(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.leaves(phone)
        self.world.asks_to_join(self.world.session("laptop"))
        self.world.clock.advance(100)
        self.assertEqual(self.world.stream.take(), [])

    def test_unanswered_leave_ends_all_the_same(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.leaves(phone)
        self.world.clock.advance(3)
        self.world.clock.advance(10)
        self.assertEqual(self.world.account.rooms, {})

    def test_join_while_leaving_waits_for_the_end(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.leaves(phone)
        self.world.clock.advance(3)
        self.world.stream.take()
        phone.take()
        self.world.asks_to_join(phone, stanza_id="again")
        self.assertEqual((self.world.stream.take(), phone.take()), ([], []))
        self.world.gone("alice", "110")
        self.assertEqual((self.world.stream.take(), phone.take()), ([], []))  # ejabberd would lose it
        self.world.clock.advance(REENTRY_PAUSE)
        self.assertEqual([stanza["to"] for stanza in self.world.stream.take()], [f"{ROOM}/alice"])
        self.world.shows("alice", "110")
        self.world.subject()
        self.assertEqual(kinds(phone.received), ["presence alice 110", "subject "])
        self.assertEqual(phone.received[0]["id"], "again")

    def test_join_while_leaving_and_away_again(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.leaves(phone)
        self.world.clock.advance(3)
        self.world.stream.take()
        phone.take()
        self.world.asks_to_join(phone, stanza_id="again")
        self.world.gone("alice", "110")
        self.world.leaves(phone)
        self.assertEqual(kinds(phone.take()), ["unavailable alice 110"])
        self.world.clock.advance(REENTRY_PAUSE)
        self.assertEqual((self.world.stream.take(), self.world.account.rooms), ([], {}))

    def test_leave_while_joining(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.leaves(phone)
        self.assertEqual(kinds(phone.take()), ["unavailable alice 110"])
        self.world.shows("alice", "110")
        self.world.subject()
        self.assertEqual(phone.received, [])
        self.world.clock.advance(3)
        self.assertEqual(self.world.stream.take()[-1]["type"], "unavailable")

    def test_join_again_while_joining(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.leaves(phone)
        self.world.asks_to_join(phone)
        self.world.clock.advance(4)
        self.assertEqual(len(self.world.stream.take()), 1)

    def test_presence_while_joining_does_not_attach(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.assertTrue(self.world.client(phone, f"<presence to='{ROOM}/alice'><show>xa</show></presence>"))
        self.world.shows("bob")
        self.assertEqual(phone.received, [])

    def test_stream_closed_is_no_leave(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.account.session_closed(phone)
        self.assertIn(ROOM, self.world.account.rooms)
        self.world.says("bob", "missed")
        again = self.world.session("phone")
        self.world.asks_to_join(again)
        self.assertEqual(kinds(again.received)[2:], ["bob: missed", "subject topic"])

    def test_undirected_unavailable_is_no_leave(self) -> None:
        (phone,) = self.world.joined("phone")
        self.assertFalse(self.world.client(phone, "<presence type='unavailable'/>"))
        self.world.clock.advance(100)
        self.assertIn(ROOM, self.world.account.rooms)
        self.world.says("bob", "hello")
        self.assertEqual(kinds(phone.received), [])

    def test_away_with_nobody_attached(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.account.session_closed(phone)
        (sent,) = self.world.stream.take()
        self.assertEqual((str(sent.element.show), sent["to"]), ("away", f"{ROOM}/alice"))

    def test_what_the_remaining_show(self) -> None:
        """The most available of those that are left, whichever way the other went."""
        ways = {
            "leaves": lambda world, phone: world.leaves(phone),
            "its stream ends": lambda world, phone: world.account.session_closed(phone),
            "is unavailable": lambda world, phone: world.client(phone, "<presence type='unavailable'/>"),
            "is detached": lambda world, phone: world.account.detach_device(phone, ROOM),
            "refuses": lambda world, phone: world.client(phone, f"<presence type='error' to='{ROOM}/alice'/>"),
        }
        for name, goes in ways.items():
            world = World()
            phone, laptop = world.joined("phone", "laptop")
            world.client(laptop, "<presence><show>xa</show></presence>")
            world.client(phone, "<presence><show>chat</show></presence>")
            world.clock.advance(2)
            world.stream.take()
            goes(world, phone)
            world.clock.advance(2)
            shown = [(one.name, one["to"], str(one.element.show)) for one in world.stream.take()]
            self.assertEqual(shown, [("presence", f"{ROOM}/alice", "xa")], name)

    def test_others_leave(self) -> None:
        phone, laptop = self.world.joined("phone", "laptop")
        self.world.gone("bob")
        self.assertEqual(kinds(phone.received), ["unavailable bob"])
        self.assertEqual(kinds(laptop.received), ["unavailable bob"])
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.assertEqual(kinds(tablet.received)[0], "presence alice 100 110")


class OccupantIds(SynchronousTestCase):
    """XEP-0421 §4: what is made up in a room's name carries the id that the room gave the occupant."""

    ID = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='o&amp;{}'/>"

    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")
        self.world.shows("alice", "110", inner=self.ID.format("alice"))
        self.world.shows("bob", inner=self.ID.format("bob"))
        self.phone.take()

    def check(self, nick: str) -> None:
        (gone,) = [stanza for stanza in self.phone.take() if stanza.get("type") == "unavailable"]
        found = gone.payload("urn:xmpp:occupant-id:0", "occupant-id")
        self.assertEqual(found and found["id"], f"o&{nick}", gone.raw)

    def test_own_leave(self) -> None:
        self.world.leaves(self.phone)
        self.check("alice")

    def test_shown_out(self) -> None:
        for happens in (
            lambda account: account.leave(ROOM),
            lambda account: account.detach_device(self.phone),
            lambda account: account.forget(),
            lambda _account: self.world.stream.lost(refused=True),
        ):
            self.setUp()
            happens(self.world.account)
            self.check("alice")

    def test_rejected(self) -> None:
        self.world.client(self.phone, f"<presence type='error' to='{ROOM}/alice'/>")
        self.check("alice")

    def test_who_left_while_the_account_was_out(self) -> None:
        self.world.stream.jid = ""
        self.world.stream.lost()
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.world.comes_back("carol")
        self.check("bob")

    def test_another_nick_on_coming_back(self) -> None:
        self.world.stream.jid = ""
        self.world.stream.lost()
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.world.shows("bob", inner=self.ID.format("bob"))
        self.world.shows("ally", "110", inner=self.ID.format("alice"))
        self.check("alice")


class OutOfReach(SynchronousTestCase):
    """A phone goes out of coverage, and its connection is found dead a while later."""

    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")
        self.history = self.world.account.rooms[ROOM].history
        self.history.at_least = 0  # what it has not seen, and nothing beside it
        self.said: list[int] = []
        for body in ("one", "two", "three"):
            self.world.says("bob", body)
            self.said.append(self.history.entries[-1].sequence)

    def returns(self, reached: float) -> list[str]:
        self.phone.reached = reached
        self.world.account.session_closed(self.phone)
        self.world.says("bob", "four")
        self.phone = self.world.session("phone")
        self.world.asks_to_join(self.phone)
        return [one for one in kinds(self.phone.received) if one.startswith("bob: ")]

    def test_what_did_not_reach_it_is_given_again(self) -> None:
        self.assertEqual(self.returns(self.said[0]), ["bob: two", "bob: three", "bob: four"])

    def test_all_reached_it(self) -> None:
        self.assertEqual(self.returns(float("inf")), ["bob: four"])

    def test_nothing_reached_it_since_it_joined(self) -> None:
        """Its replay did not either, so that it is where it was before it joined."""
        self.assertEqual(self.returns(float("inf")), ["bob: four"])
        self.assertEqual(self.returns(self.history.entries[-1].sequence), ["bob: four", "bob: four"])

    def test_never_reached(self) -> None:
        self.assertEqual(self.returns(0), ["bob: one", "bob: two", "bob: three", "bob: four"])


class Removal(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def test_table(self) -> None:
        for codes in ["301", "307", "321", "322", "301 333"]:
            world = World()
            phone, laptop = world.joined("phone", "laptop")
            world.gone("alice", f"110 {codes}", item=f"jid='{STREAM}'")
            for session in (phone, laptop):
                (gone,) = session.received
                self.assertEqual(kinds([gone]), [f"unavailable alice 110 {codes}"])
                self.assertIn(f"jid='{session.jid}'".encode(), gone.raw)
            self.assertEqual((world.account.rooms, world.stream.closed), ({}, 1))
            self.assertEqual(world.stream.take(), [])

    def test_destroyed(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.room(
            f"<presence type='unavailable' from='{ROOM}/alice' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc#user'>"
            "<item affiliation='none' role='none'/><destroy jid='other@muc.test'><reason>moved</reason></destroy>"
            "<status code='110'/></x></presence>"
        )
        self.assertIn(b"<destroy jid='other@muc.test'><reason>moved</reason></destroy>", phone.received[0].raw)
        self.assertEqual(self.world.account.rooms, {})
        self.assertEqual(self.world.stream.take(), [])

    def test_bounce_of_the_own_presence_alone(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.client(phone, f"<presence type='error' from='{phone.jid}' to='{ROOM}/alice'/>")
        (sent,) = self.world.stream.take()
        self.assertEqual((sent["type"], sent.get("from")), ("error", None))
        self.world.gone("alice", "110 307 333")
        self.assertEqual(kinds(phone.received), ["unavailable alice 110 307 333"])

    def test_bounce_of_the_own_presence_that_the_room_does_not_mind(self) -> None:
        """What happens to the room's service a day later has nothing to do with it."""
        (phone,) = self.world.joined("phone")
        self.world.client(phone, f"<presence type='error' to='{ROOM}/alice'/>")
        self.world.clock.advance(86400)
        self.world.gone("alice", "110 332")
        self.assertEqual((phone.received, list(self.world.account.rooms)), ([], [ROOM]))

    def test_bounce_of_the_own_presence_beside_others(self) -> None:
        phone, laptop, tablet = self.world.joined("phone", "laptop", "tablet")
        self.world.client(phone, f"<presence type='error' to='{ROOM}/alice'/>")
        self.world.client(tablet, f"<presence type='error' to='{ROOM}'/>")
        self.assertEqual(kinds(phone.take()), ["unavailable alice 110 307 333"])
        self.assertEqual(kinds(tablet.take()), ["unavailable alice 110 307 333"])
        self.world.says("bob", "hello")
        self.assertEqual((kinds(phone.received), kinds(laptop.received)), ([], ["bob: hello"]))
        self.assertEqual(self.world.stream.take(), [])

    def test_bounce_of_a_fork_is_dropped(self) -> None:
        (phone,) = self.world.joined("phone")
        for xml in [
            f"<presence type='error' to='{ROOM}/bob'/>",
            f"<message type='error' to='{ROOM}/bob' id='1'/>",
            f"<message type='error' to='{ROOM}' id='1'/>",
            f"<iq type='error' to='{ROOM}/bob' id='1'/>",
            f"<iq type='result' to='{ROOM}/bob' id='1'/>",
        ]:
            self.assertTrue(self.world.client(phone, xml), xml)
        self.assertEqual(self.world.stream.take(), [])


class Idle(SynchronousTestCase):
    def test_forgotten_with_the_last_session(self) -> None:
        world = World()
        phone = world.session("phone")
        world.account.session_closed(phone)
        self.assertEqual(world.times_idle, 1)
        world.account.session_closed(phone)
        self.assertEqual(world.times_idle, 1)

    def test_forgotten_with_the_last_room(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        world.account.session_closed(phone)
        self.assertEqual(world.times_idle, 0)
        world.gone("alice", "110 307")
        self.assertEqual(world.times_idle, 1)
        self.assertEqual(world.clock.getDelayedCalls(), [])


class Stay(SynchronousTestCase):
    def test_the_account_leaves_when_no_client_comes_back(self) -> None:
        world = World(stay=1000.0)
        (phone,) = world.joined("phone")
        world.account.session_closed(phone)
        world.clock.advance(999)
        phone = world.session("phone")
        world.clock.advance(1000)
        self.assertIn(ROOM, world.account.rooms)
        world.account.session_closed(phone)
        world.stream.take()
        world.clock.advance(1000)
        self.assertEqual([stanza.get("type") for stanza in world.stream.take()][-1], "unavailable")
        world.gone("alice", "110")
        world.clock.advance(120)
        self.assertEqual((world.times_idle, world.clock.getDelayedCalls()), (1, []))

    def test_zero_leaves_with_the_last_client(self) -> None:
        world = World(stay=0.0)
        phone, laptop = world.joined("phone", "laptop")
        world.account.session_closed(phone)
        self.assertEqual(world.stream.take(), [])
        world.account.session_closed(laptop)
        self.assertEqual(world.stream.take()[-1]["type"], "unavailable")
