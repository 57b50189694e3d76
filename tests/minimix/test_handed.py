"""An account whose clients are there goes to another process of the cluster: its rooms, as they have seen them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix import account
from minimixproxy.minimix.interfaces.handed import HandedAccount, HandedClient, HandedServer, HandedSession
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptLogin
from minimixproxy.minimix.occupancy import occupancies
from tests.minimix.fakes import BARE, ROOM, STREAM, FakeSession, World, kinds

KEPT = KeptLogin("a.test", "alice")
SERVER = HandedServer("up", None, 0, (), 0, True)


def keep(_login: Any) -> KeptLogin:
    return KEPT


class HandedCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")
        self.can_go: set[FakeSession] = {self.phone, self.laptop}
        self.gone: list[FakeSession] = []
        self.open: tuple[tuple[bytes, bool], ...] = ()  # what their clients have not acknowledged
        for session in (self.phone, self.laptop):
            session.managed = True
            session.hand_on = self.hands_on(session)  # type: ignore[method-assign]

    def hands_on(self, session: FakeSession) -> Callable[..., HandedSession | None]:
        def hand_on(_keep: object, shows: bytes) -> HandedSession | None:
            if session not in self.can_go:
                return None
            self.gone.append(session)
            self.world.account.session_closed(session)
            client = HandedClient("id", 600, 0, 0, self.open)
            return HandedSession(session.jid, "", "", False, shows, KEPT, client, SERVER)

        return hand_on

    def hand_on(self) -> HandedAccount:
        handed = self.world.account.hand_on(keep, 5.0)
        assert handed is not None
        return handed

    def goes_on(self) -> None:
        """Another process has the account from now on."""
        handed = self.hand_on()
        (room,) = self.world.account.kept_rooms()
        self.world = World()
        self.world.account.restore(KeptAccount(BARE, None, False, self.world.clock.seconds(), [room]))
        self.phone, self.laptop = (self.world.session(name) for name in ("phone", "laptop"))
        self.world.account.take_over(handed)

    def comes_in(self, *nicks: str) -> None:
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.world.stream.take()
        self.world.comes_back(*nicks)


class GoingOnTest(HandedCase):
    def test_nothing_has_changed(self) -> None:
        self.world.shows("bob")
        self.goes_on()
        self.comes_in("bob")
        self.assertEqual((kinds(self.phone.take()), kinds(self.laptop.take())), ([], []))
        self.world.room(f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}'><body>hi</body></message>")
        self.assertEqual(len(self.phone.take()), 1)

    def test_a_private_message_is_given_once(self) -> None:
        """It goes along with the sessions that have still to acknowledge it: nobody else is to get it."""
        for session in (self.phone, self.laptop):
            session.reached = 0
        self.world.room(f"<message type='chat' from='{ROOM}/bob' to='{STREAM}'><body>psst</body></message>")
        self.goes_on()
        for session in (self.phone, self.laptop):
            session.managed, session.reached = True, 0
        self.comes_in("bob")
        self.phone.reached = float("inf")
        self.world.account.session_managed(self.phone)
        self.world.account.acknowledged(self.phone)
        self.world.clock.advance(5)
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.assertEqual([one for one in kinds(tablet.received) if "psst" in one], [])

    def test_a_private_message_that_nobody_has_acknowledged(self) -> None:
        """Those who had it are gone: it is for the next."""
        for session in (self.phone, self.laptop):
            session.reached = 0
        self.world.room(f"<message type='chat' from='{ROOM}/bob' to='{STREAM}'><body>psst</body></message>")
        self.goes_on()
        for session in (self.phone, self.laptop):
            session.managed, session.reached = True, 0
        self.comes_in("bob")
        for session in (self.phone, self.laptop):
            self.world.account.session_closed(session)
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.assertEqual(len([one for one in kinds(tablet.received) if "psst" in one]), 1)

    def test_who_came_and_who_went(self) -> None:
        for nick in ("bob", "carol"):
            self.world.shows(nick)
        self.goes_on()
        self.comes_in("bob", "dave")
        told = [(stanza["from"], stanza.get("type")) for stanza in self.phone.take()]
        self.assertEqual(told, [(f"{ROOM}/carol", "unavailable"), (f"{ROOM}/dave", None)])

    def test_what_they_show(self) -> None:
        """Everywhere, and in this room."""
        self.world.client(self.phone, "<presence><show>away</show></presence>")
        self.world.client(self.laptop, f"<presence to='{ROOM}/alice'><show>dnd</show></presence>")
        self.goes_on()
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        (join,) = self.world.stream.take()
        self.assertIn(b"<show>dnd</show>", join.raw)
        self.world.comes_back()
        self.world.account.session_closed(self.laptop)
        self.world.clock.advance(5)
        (presence,) = [stanza for stanza in self.world.stream.take() if stanza.name == "presence"]
        self.assertIn(b"<show>away</show>", presence.raw)

    def test_the_account_is_not_in_the_room_any_more(self) -> None:
        """Whoever was learns of it."""
        handed = self.hand_on()
        self.world = World()
        self.phone = self.world.session("phone")
        self.world.account.take_over(handed)
        (told,) = self.phone.take()
        self.assertEqual((told["from"], told["type"], told["to"]), (f"{ROOM}/alice", "unavailable", self.phone.jid))
        self.assertIn(b"<status code='333'/>", told.raw)

    def test_those_that_sleep_go_first(self) -> None:
        """All sleep there at first, and if those are too many the first one ends."""
        self.laptop.asleep = True
        handed = self.hand_on()
        self.assertEqual([session.jid for session in handed.sessions], [self.laptop.jid, self.phone.jid])

    def test_a_session_that_did_not_come_along(self) -> None:
        self.can_go.remove(self.laptop)
        handed = self.hand_on()
        self.assertEqual([session.jid for session in handed.sessions], [self.phone.jid])
        self.assertIn(self.laptop, self.world.account.sessions)

    def test_no_more_sessions_than_can_be_kept(self) -> None:
        """The others are told to come again."""
        self.patch(account, "MAX_HANDED", 10)
        self.open = ((b"<message/>", False),)
        handed = self.hand_on()
        self.assertEqual((len(handed.sessions), len(self.gone)), (1, 1))

    def test_presences_that_cannot_be_read(self) -> None:
        """Nor do they cost the others anything."""
        self.world.shows("bob")
        view = self.world.account.rooms[ROOM]._attendance.view
        view.occupants["bad"] = b"<presence"
        view.occupants["of nobody"] = b"<presence/>"
        self.goes_on()
        self.comes_in("bob")
        self.assertEqual(kinds(self.phone.take()), [])


class NotHandedTest(HandedCase):
    """Nothing changes."""

    def stays(self) -> None:
        self.assertIsNone(self.world.account.hand_on(keep, 5.0))
        self.assertEqual(self.gone, [])

    def test_no_session_can_go(self) -> None:
        self.can_go.clear()
        self.stays()

    def test_the_account_is_not_in(self) -> None:
        self.world.stream.jid = ""
        self.world.stream.lost()
        self.stays()

    def test_another_device_is_about_to_join_another_room(self) -> None:
        self.world.client(
            self.laptop, "<presence to='other@muc.test/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        self.stays()

    def test_an_answer_is_to_come(self) -> None:
        """Who asked would wait for ever."""
        self.world.client(self.phone, f"<iq type='get' id='q' to='{ROOM}/bob'><query xmlns='jabber:iq:version'/></iq>")
        self.stays()

    def test_too_many_occupants(self) -> None:
        self.patch(occupancies, "MAX_HANDED", 100)
        self.world.shows("bob")
        self.stays()

    def test_too_much_of_other_things(self) -> None:
        """The subject, and what its own clients direct there, count as what occupants show does."""
        self.patch(occupancies, "MAX_HANDED", 4000)
        self.assertIsNotNone(self.world.account.occupancies.handed())
        self.world.subject("x" * 4000)
        self.stays()
        self.world.subject("short")
        self.assertIsNotNone(self.world.account.occupancies.handed())
        self.world.client(self.phone, f"<presence to='{ROOM}/alice'><status>{'x' * 4000}</status></presence>")
        self.stays()
