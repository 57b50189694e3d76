"""Sessions of an account that is not enrolled: everything passes, and they go on so until they join anew."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix import direct_sessions
from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, FakeSession, World, split

JOIN = f"<presence to='{ROOM}/alice' id='j'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
MUC_USER = "http://jabber.org/protocol/muc#user"
REMOVAL = f"<presence from='{ROOM}/alice' type='unavailable'><x xmlns='{MUC_USER}'><status code='110'/></x></presence>"


class DirectCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(bookmarks="follow")
        self.world.is_enrolled = False
        self.phone = self.world.session("phone")

    def passes(self, xml: str, session: FakeSession | None = None) -> bool:
        taken = self.world.client(session or self.phone, xml)
        self.assertEqual((session or self.phone).closed, None)
        return not taken

    def hears(self, xml: str) -> bool:
        """Tell whether what the server has for the session passes."""
        return not self.world.account.from_server(self.phone, parse_stanza(xml))

    def enroll(self) -> None:
        self.world.is_enrolled = True
        self.world.account.enrolled()


class PassingTest(DirectCase):
    def test_all_that_an_account_would_take(self) -> None:
        for xml in (
            JOIN,
            f"<presence to='{ROOM}/bob'/>",
            f"<presence to='{ROOM}' type='probe'/>",
            f"<message to='{ROOM}' type='groupchat'><body>x</body></message>",
            f"<message to='{ROOM}/bob' type='chat'><body>x</body></message>",
            f"<message to='{ROOM}/bob' type='error'/>",
            f"<iq to='{ROOM}/alice' type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
            f"<iq to='{ROOM}' type='get' id='1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
            f"<iq to='{ROOM}' type='set' id='1'><query xmlns='urn:xmpp:mam:2'/></iq>",
            "<iq type='set' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'>"
            "<publish node='urn:xmpp:bookmarks:1'/></pubsub></iq>",
            "<presence/>",
            f"<presence to='{ROOM}/alice' type='unavailable'/>",
            f"<presence to='{ROOM}/alice' type='error'/>",
            f"<message from='other@a.test/x' to='{ROOM}'/>",
        ):
            self.assertTrue(self.passes(xml), xml)
        self.world.clock.advance(3600)
        self.assertEqual(self.world.stream.take(), [], "no account stream was needed")
        self.assertEqual((self.phone.take(), dict(self.world.account.rooms)), ([], {}))

    def test_what_rooms_say_passes(self) -> None:
        self.passes(JOIN)
        for xml in (
            f"<presence from='{ROOM}/alice'><x xmlns='{MUC_USER}'><status code='110'/></x></presence>",
            f"<message from='{ROOM}' type='groupchat'><subject/></message>",
            f"<message from='{ROOM}/bob' type='chat'><body>x</body></message>",
            f"<message from='{BARE}'><event xmlns='http://jabber.org/protocol/pubsub#event'>"
            "<items node='urn:xmpp:bookmarks:1'><retract id='x'/></items></event></message>",
            REMOVAL,
            "<presence type='unavailable' from='not a@jid@'/>",
        ):
            self.assertTrue(self.hears(xml), xml)
        self.assertEqual(self.world.stream.take(), [])

    def test_a_join_that_nobody_can_read(self) -> None:
        """It is the room's affair."""
        huge = JOIN.replace("<x ", "<y/>" * 60_000 + "<x ")
        self.assertFalse(self.world.account.from_client(self.phone, split(huge.encode())[0]))
        self.enroll()
        self.assertTrue(self.passes(f"<message to='{ROOM}'/>"))

    def test_the_user_is_told(self) -> None:
        command = "<command xmlns='http://jabber.org/protocol/commands' node='rooms' action='execute'/>"
        self.assertFalse(self.passes(f"<iq to='{STREAM}' type='set' id='1'>{command}</iq>"))
        (answer,) = self.phone.take()
        self.assertIn(b"This account is not enrolled", answer.raw)
        self.enroll()
        self.passes(f"<iq to='{STREAM}' type='set' id='2'>{command}</iq>")
        self.assertNotIn(b"not enrolled", self.phone.take()[0].raw)

    def test_a_resource_is_one_session_s(self) -> None:
        again = self.world.session("phone")
        self.assertEqual(self.phone.closed, "conflict")
        self.assertEqual(list(self.world.account.sessions), [again])
        self.assertTrue(self.passes(JOIN, again))


class EnrolledLaterTest(DirectCase):
    def test_it_stays_in_its_room_and_joins_others_by_the_account(self) -> None:
        self.passes(JOIN)
        self.enroll()
        for xml in (
            JOIN,
            f"<message to='{ROOM}' type='groupchat'><body>x</body></message>",
            f"<presence to='{ROOM}/al'/>",
            f"<iq to='{ROOM}' type='get' id='1'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>",
        ):
            self.assertTrue(self.passes(xml), xml)
        self.assertFalse(self.passes(JOIN.replace("room@", "other@")))
        self.assertEqual(
            [stanza["to"] for stanza in self.world.stream.take() if stanza.name == "presence"], ["other@muc.test/alice"]
        )

    def test_anew_after_each_way_out(self) -> None:
        for number, (said_by, xml) in enumerate(
            (
                ("client", f"<presence to='{ROOM}/alice' type='unavailable'/>"),
                ("client", "<presence type='unavailable'/>"),
                ("server", REMOVAL),
                ("server", f"<presence from='{ROOM}/alice' type='error'/>"),
            )
        ):
            self.setUp()
            self.passes(JOIN)
            self.enroll()
            self.assertTrue(self.passes(xml) if said_by == "client" else self.hears(xml), number)
            self.assertFalse(self.passes(JOIN), number)
            self.assertIn(ROOM, self.world.account.rooms)

    def test_others_going_is_no_way_out(self) -> None:
        self.passes(JOIN)
        self.enroll()
        for xml in (
            f"<presence from='{ROOM}/bob' type='unavailable'/>",
            "<presence from='other@muc.test/alice' type='unavailable'/>",
            f"<presence from='{ROOM}/bob'/>",
        ):
            self.hears(xml)
        self.assertTrue(self.passes(JOIN))

    def test_the_leave_itself_passes(self) -> None:
        """Even if the account is in the room by then, with another device."""
        self.passes(JOIN)
        self.enroll()
        laptop = self.world.session("laptop")
        self.world.asks_to_join(laptop)
        self.assertTrue(self.passes(f"<presence to='{ROOM}/alice' type='unavailable'/>"))
        self.assertIn(ROOM, self.world.account.rooms)

    def test_a_new_session_is_like_any_other(self) -> None:
        self.enroll()
        laptop = self.world.session("laptop")
        self.assertFalse(self.passes(JOIN, laptop))

    def test_bookmarks_are_read_from_then_on(self) -> None:
        self.assertEqual(self.world.stream.take(), [])
        self.enroll()
        self.world.clock.advance(1)
        self.assertTrue(self.world.stream.take())

    def test_so_many_rooms_that_nobody_follows_them(self) -> None:
        self.patch(direct_sessions, "MOST_ROOMS", 3)
        for number in range(5):
            self.passes(JOIN.replace("room@", f"r{number}@"))
        self.enroll()
        for number in range(9):
            self.assertTrue(self.passes(JOIN.replace("room@", f"r{number}@")))
        self.passes("<presence type='unavailable'/>")
        self.assertTrue(self.passes(JOIN))

    def test_gone(self) -> None:
        self.passes(JOIN)
        self.world.account.session_closed(self.phone)
        self.assertEqual(len(self.world.account._direct), 0)
        self.assertEqual(self.world.said, ["unattended", "idle"])
