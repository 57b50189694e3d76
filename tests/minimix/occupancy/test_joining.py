"""Joining (protocol notes, *Joining*), without sockets."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.minimix.fakes import BARE, ROOM, STREAM, World, kinds

DELAY = "<delay xmlns='urn:xmpp:delay' from='room@muc.test' stamp='2023-11-14T10:00:00Z'/>"


class Joining(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def test_first_join_goes_upstream(self) -> None:
        phone = self.world.session("phone")
        self.assertTrue(self.world.asks_to_join(phone, inner="<password>s</password><history maxchars='0'/>"))
        (sent,) = self.world.stream.take()
        self.assertEqual((sent["to"], sent.get("from")), (f"{ROOM}/alice", None))
        self.assertIn(b"<password>s</password>", sent.raw)
        self.assertIn(b"<history maxstanzas='500'/>", sent.raw)

    def test_a_number_of_thousands_of_digits(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone, inner=f"<history maxstanzas='{'9' * 5000}'/>")
        self.assertIn(b"<history maxstanzas='1000000'/>", self.world.stream.take()[0].raw)

    def test_no_wish_asks_for_the_rooms_default(self) -> None:
        self.world.asks_to_join(self.world.session("phone"))
        self.assertNotIn(b"<history", self.world.stream.take()[0].raw)

    def test_order(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.shows("bob")
        self.world.shows("alice", "110 201")
        self.world.says("bob", "old", DELAY)
        self.assertEqual(phone.received, [])
        self.world.subject("topic")
        expected = ["presence bob", "presence alice 110 201", "bob: old", "subject topic"]
        self.assertEqual(kinds(phone.received), expected)
        self.assertEqual({stanza["to"] for stanza in phone.received}, {phone.jid})
        self.assertEqual(phone.received[1]["id"], "j")

    def test_members_who_are_not_there(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.shows("bob")
        self.world.gone("bob")
        self.world.gone("carol")
        self.world.shows("alice", "110")
        self.world.subject()
        self.assertEqual(kinds(phone.received), ["unavailable carol", "presence alice 110", "subject "])

    def test_empty_subject_is_sent(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.shows("alice", "110")
        self.world.subject()
        self.assertEqual(kinds(phone.received), ["presence alice 110", "subject "])

    def test_a_room_without_subject_is_not_waited_for_long(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.shows("alice", "110")
        self.world.clock.advance(5)
        self.assertEqual(kinds(phone.received), ["presence alice 110", "subject "])

    def test_subject_with_body_is_a_message(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.shows("alice", "110")
        self.world.says("bob", "text", "<subject>not one</subject>" + DELAY)
        self.assertEqual(phone.received, [])
        self.world.subject("topic")
        self.assertEqual(kinds(phone.received)[1:], ["bob: text", "subject topic"])

    def test_one_join_for_two_at_once(self) -> None:
        phone, laptop = self.world.session("phone"), self.world.session("laptop")
        self.world.asks_to_join(phone, stanza_id="p")
        self.world.asks_to_join(laptop, stanza_id="l")
        self.assertEqual(len(self.world.stream.take()), 1)
        self.world.shows("bob")
        self.world.shows("alice", "110 201")
        self.world.subject("topic")
        self.assertEqual(kinds(phone.received), ["presence bob", "presence alice 110 201", "subject topic"])
        self.assertEqual(kinds(laptop.received), ["presence bob", "presence alice 110", "subject topic"])
        self.assertEqual([phone.received[1]["id"], laptop.received[1]["id"]], ["p", "l"])

    def test_replay_to_a_later_one(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.shows("carol")
        self.world.gone("bob")
        self.world.says("carol", "hello")
        laptop = self.world.session("laptop")
        self.world.asks_to_join(laptop)
        self.assertEqual(
            kinds(laptop.received), ["presence carol", "presence alice 100 110", "carol: hello", "subject topic"]
        )
        self.assertEqual(kinds(phone.received), ["presence carol", "unavailable bob", "carol: hello"])

    def test_replayed_messages_are_stamped_once(self) -> None:
        self.world.asks_to_join(self.world.session("phone"))
        self.world.shows("alice", "100 110")
        self.world.says("bob", "stamped", DELAY)
        self.world.subject()
        self.world.says("bob", "live")
        laptop = self.world.session("laptop")
        self.world.asks_to_join(laptop)
        for stanza, stamp in zip(
            laptop.received[1:3], ["2023-11-14T10:00:00Z", "2023-11-14T22:13:20.000Z"], strict=True
        ):
            (delay,) = stanza.element.elements("urn:xmpp:delay", "delay")
            self.assertEqual((delay["from"], delay["stamp"]), (ROOM, stamp))

    def test_other_nick_is_told_its_own(self) -> None:
        self.world.joined("phone")
        laptop = self.world.session("laptop")
        self.world.asks_to_join(laptop, "other")
        self.assertEqual(kinds(laptop.received)[1], "presence alice 100 110 210")

    def test_nick_modified_by_the_room(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone, "Alice!")
        self.world.shows("alice", "110 210")
        self.world.subject()
        laptop = self.world.session("laptop")
        self.world.asks_to_join(laptop, "alice")
        self.assertEqual(kinds(phone.received)[0], "presence alice 110 210")
        self.assertEqual(kinds(laptop.received)[0], "presence alice 110")

    def test_own_address_reads_as_the_sessions(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.shows("alice", "100 110", item=f"jid='{STREAM}'")
        self.world.subject()
        self.assertIn(f"jid='{phone.jid}'".encode(), phone.received[0].raw)
        self.assertNotIn(STREAM.encode(), phone.received[0].raw)

    def test_resync(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.says("bob", "hello")
        phone.take()
        self.world.asks_to_join(phone)
        self.assertEqual(
            kinds(phone.received), ["presence bob", "presence alice 100 110", "bob: hello", "subject topic"]
        )
        self.assertEqual(self.world.stream.take(), [])

    def test_plain_presence_of_a_stranger_passes(self) -> None:
        self.world.joined("phone")
        laptop = self.world.session("laptop")
        self.assertFalse(self.world.client(laptop, f"<presence to='{ROOM}/alice'/>"))
        self.assertFalse(self.world.client(laptop, f"<message type='groupchat' to='{ROOM}'/>"))
        self.assertFalse(self.world.client(laptop, f"<iq type='get' id='1' to='{ROOM}'/>"))

    def test_too_many_rooms(self) -> None:
        world = World(max_rooms=1)
        (phone,) = world.joined("phone")
        self.assertTrue(
            world.client(
                phone, "<presence to='x@muc.test/a' id='2'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            )
        )
        (error,) = phone.received
        self.assertEqual((error["type"], error["from"], error["id"]), ("error", "x@muc.test/a", "2"))
        self.assertIn(b"resource-constraint", error.raw)
        self.assertEqual(world.stream.take(), [])


class JoinErrors(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def error(self, condition: str, nick: str = "alice", stanza_id: str = "") -> None:
        self.world.room(
            f"<presence type='error' from='{ROOM}/{nick}' to='{STREAM}'{stanza_id}>"
            f"<x xmlns='http://jabber.org/protocol/muc'/><error type='auth' by='{ROOM}'>"
            f"<{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></presence>"
        )

    def test_to_the_waiting_only(self) -> None:
        phone, laptop = self.world.session("phone"), self.world.session("laptop")
        bystander = self.world.session("tablet")
        self.world.asks_to_join(phone, stanza_id="p")
        self.world.asks_to_join(laptop, stanza_id="l")
        self.error("registration-required")
        for session, stanza_id in [(phone, "p"), (laptop, "l")]:
            (error,) = session.take()
            self.assertEqual((error["type"], error["id"], error["to"]), ("error", stanza_id, session.jid))
            self.assertIn(b"registration-required", error.raw)
        self.assertEqual(bystander.received, [])
        self.assertEqual(self.world.account.rooms, {})
        self.assertEqual(self.world.stream.closed, 1)

    def test_another_wish_gets_its_try(self) -> None:
        phone, laptop = self.world.session("phone"), self.world.session("laptop")
        self.world.asks_to_join(phone, inner="<password>wrong</password>")
        self.world.asks_to_join(laptop, inner="<password>right</password>")
        self.world.stream.take()
        self.error("not-authorized")
        self.assertEqual(kinds(phone.received), ["error alice"])
        self.assertIn(b"right", self.world.stream.take()[0].raw)
        self.world.shows("alice", "110")
        self.world.subject()
        self.assertEqual(kinds(laptop.received), ["presence alice 110", "subject "])
        self.assertEqual(kinds(phone.received), ["error alice"])

    def test_whose_error_it_is(self) -> None:
        """One with another id answers something else; one with none answers it where the nick is that."""
        for nick, written, refused in (
            ("alice", " id='{}'", True),
            ("bob", " id='{}'", True),
            ("alice", " id='x'", False),
            ("bob", " id='x'", False),
            ("alice", "", True),
            ("bob", "", False),
        ):
            self.world = World()
            phone = self.world.session("phone")
            self.world.asks_to_join(phone, stanza_id="x")
            self.error("forbidden", nick, written.format(self.world.stream.take()[0]["id"]))
            self.assertEqual(len(phone.take()) == 1, refused, (nick, written))
            self.assertEqual(self.world.account.rooms == {}, refused)

    def test_what_answers_a_join_of_before(self) -> None:
        """The room was silent through a whole stay, and then says all of it before it answers the join of now."""
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        first = self.world.stream.take()[0]["id"]
        self.world.account.leave(ROOM)
        self.world.clock.advance(10)
        phone.take()
        self.world.asks_to_join(phone, nick="liz")
        second = self.world.stream.take()[-1]["id"]
        self.assertNotEqual(first, second)
        self.error("forbidden", stanza_id=f" id='{first}'")
        self.world.shows("old")
        self.world.shows("alice", "110", f"id='{first}'")
        self.world.subject("old")
        self.world.gone("alice", "110")
        self.assertEqual(phone.take(), [])
        self.world.shows("bob")
        self.world.shows("liz", "110", f"id='{second}'")
        self.world.subject("new")
        self.assertEqual(kinds(phone.take()), ["presence bob", "presence liz 110", "subject new"])

    def test_what_ends_a_stay_of_before_is_not_the_end_of_this_one(self) -> None:
        """The answer to a leave comes after the next join was sent; if it is a ban, nobody wants to be in any more."""
        for codes, ended in (("110", False), ("110 332", False), ("110 301", True), ("110 307", True)):
            self.world = World()
            phone = self.world.session("phone")
            self.world.asks_to_join(phone)
            self.world.stream.take()
            self.world.gone("alice", codes)
            self.assertEqual(self.world.account.rooms == {}, ended, codes)
            sent = [stanza.get("type") for stanza in self.world.stream.take()]
            self.assertEqual(sent, ["unavailable"] if ended else [], "so that the room does not keep it in")
            self.assertEqual(len(phone.take()), int(ended))

    def test_unanswered(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.stream.take()
        self.world.clock.advance(60)
        self.assertIn(b"remote-server-timeout", phone.received[0].raw)
        self.assertEqual(self.world.stream.take()[0]["type"], "unavailable")
        self.assertEqual(self.world.account.rooms, {})

    def test_stream_lost_while_joining(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.stream.lost()
        self.assertEqual(kinds(phone.received), ["error alice"])

    def test_wrong_from(self) -> None:
        phone = self.world.session("phone")
        xml = f"<presence from='{{}}' to='{ROOM}/a'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        self.assertTrue(self.world.client(phone, xml.format(f"{BARE}/laptop")))
        self.assertEqual(phone.closed, "invalid-from")
        self.assertEqual(self.world.stream.take(), [])
        phone.closed = None
        self.world.client(phone, xml.format(phone.jid))
        self.assertIsNone(phone.closed)
        self.assertNotIn("from", self.world.stream.take()[0].attributes)


class HistoryWishes(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.joined("phone")
        for number in range(30):
            self.world.says("bob", f"m{number}")
            self.world.clock.advance(10)

    def bodies(self, inner: str, resource: str = "laptop") -> list[str]:
        session = self.world.session(resource)
        self.world.asks_to_join(session, inner=inner)
        return [str(s.element.body) for s in session.received if s.has_payload("jabber:client", "body")]

    def test_table(self) -> None:
        all_of_them = [f"m{number}" for number in range(30)]
        for inner, expected in [
            ("<history maxstanzas='0'/>", []),
            ("<history maxchars='0'/>", []),
            ("<history maxstanzas='3'/>", all_of_them[-3:]),
            ("<history seconds='45'/>", all_of_them[-4:]),
            ("<history since='2023-11-14T22:17:20Z'/>", all_of_them[-6:]),
            ("<history since='2023-11-14T22:17:20Z' maxstanzas='2'/>", all_of_them[-2:]),
            ("<history maxstanzas='100'/>", all_of_them),
            ("<history maxchars='500'/>", all_of_them[-2:]),
            ("<history maxstanzas='x'/>", all_of_them[-20:]),
            ("", all_of_them[-20:]),
        ]:
            self.assertEqual(self.bodies(inner), expected, inner)

    def test_what_a_known_client_has_not_seen(self) -> None:
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.world.account.session_closed(tablet)
        self.world.says("bob", "missed")
        self.assertEqual(self.bodies("", "tablet"), [*(f"m{number}" for number in range(11, 30)), "missed"])
        self.assertEqual(self.bodies("<history maxstanzas='2'/>", "tablet"), ["m29", "missed"])

    def test_markers_and_states_are_no_history(self) -> None:
        for inner in [
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
        ]:
            self.world.room(f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}'>{inner}</message>")
        self.world.says("bob", "hidden", "<no-store xmlns='urn:xmpp:hints'/>")
        self.world.room(
            f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}'><r/><store xmlns='urn:xmpp:hints'/></message>"
        )
        session = self.world.session("laptop")
        self.world.asks_to_join(session, inner="<history maxstanzas='2'/>")
        self.assertEqual(kinds(session.received)[-3:], ["bob: m29", "message groupchat bob", "subject topic"])


class DestroyedMeanwhile(SynchronousTestCase):
    def test_before_the_subject(self) -> None:
        """A destroyed room says so without status 110 (XEP-0045 §10.9): it is of the account all the same."""
        world = World()
        phone = world.session("phone")
        world.asks_to_join(phone)
        world.shows("alice", "110")
        world.room(
            f"<presence type='unavailable' from='{ROOM}/alice' to='{STREAM}'>"
            "<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'/><destroy/></x></presence>"
        )
        self.assertEqual(world.account.rooms, {})
        self.assertEqual(kinds(phone.take()), ["error alice"])
