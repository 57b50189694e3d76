"""What `AccountMachine` has found, each in as few steps as show it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.room.join_ids import LATE
from minimixproxy.namespaces import NS_DELAY
from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, World, kinds

DAY = 86400.0
PING = "<ping xmlns='urn:xmpp:ping'/>"
LEAVE = "<command xmlns='http://jabber.org/protocol/commands' node='leave'/>"


class OutTests(SynchronousTestCase):
    def test_no_sender_on_what_bounces_for_want_of_clients(self) -> None:
        """Whoever wrote to the account stream chose what stands in `to`; as a `from` of ours it may end the stream."""
        for to in (STREAM, BARE, "somebody@else.test"):
            world = World()
            (phone,) = world.joined("phone")
            world.account.session_closed(phone)
            world.stream.take()
            world.room(f"<message from='carol@c.test/x' to='{to}' id='m'><body>b</body></message>")
            (bounce,) = world.stream.take()
            self.assertEqual((bounce.get("from"), bounce["to"], bounce["type"]), (None, "carol@c.test/x", "error"))


class AnswerTests(SynchronousTestCase):
    def test_an_empty_id_comes_back(self) -> None:
        """To who waits for its answer, it is an id like any other."""
        world = World()
        (phone,) = world.joined("phone")
        world.stream.lost()
        self.assertTrue(world.client(phone, f"<iq type='get' id='' to='{ROOM}/bob'>{PING}</iq>"))
        world.clock.advance(61)
        (answer,) = phone.take()
        self.assertEqual((answer.name, answer["type"], answer.get("id")), ("iq", "error", ""))

    def test_what_waited_for_the_room_when_its_client_became_unavailable(self) -> None:
        """It is still there, and waits for its answer; one that is gone is told nothing."""
        for gone in (False, True):
            world = World()
            (phone,) = world.joined("phone")
            world.stream.lost()
            world.client(phone, f"<iq type='get' id='q' to='{ROOM}/bob'>{PING}</iq>")
            world.account.session_closed(phone) if gone else world.client(phone, "<presence type='unavailable'/>")
            answers = [(one.name, one["type"], one.get("id")) for one in phone.take()]
            self.assertEqual(answers, [] if gone else [("iq", "error", "q")])


class RoomTests(SynchronousTestCase):
    def test_presence_of_a_type_that_rooms_do_not_send(self) -> None:
        """It shows nobody: it is not replayed as the account's own, nor given to anybody."""
        for kind in ("odd", "probe", "subscribe", ""):
            for nick in ("/alice", "/bob", "/carol", ""):
                world = World()
                (phone,) = world.joined("phone")
                text = (
                    f"<presence type='{kind}' from='{ROOM}{nick}' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc#user'>"
                    "<item affiliation='member' role='participant'/><status code='110'/></x></presence>"
                )
                world.stream.says(parse_stanza(text))
                self.assertEqual(phone.take(), [])
                world.asks_to_join(phone)
                self.assertEqual(kinds(phone.take()), ["presence bob", "presence alice 100 110", "subject topic"])

    def test_what_grew_too_old_to_be_kept_is_not_shown_again(self) -> None:
        """A room that was quiet for long tells its last messages to who comes back: whoever stayed has seen them."""
        world = World(history_age=30 * DAY)
        (phone,) = world.joined("phone")
        for number in range(3):
            world.says("bob", f"old {number}", stanza_id=f"m{number}")
            world.clock.advance(1)
        phone.take()
        world.clock.advance(31 * DAY)
        world.stream.lost()
        world.stream.opened()
        world.shows("alice", "110")
        stamp = "<delay xmlns='urn:xmpp:delay' from='room@muc.test' stamp='2023-11-14T22:13:2{}Z'/>"
        for number in range(3):
            world.says("bob", f"old {number}", stamp.format(number), f"m{number}")
        late = "<delay xmlns='urn:xmpp:delay' from='room@muc.test' stamp='2023-12-14T22:13:25Z'/>"
        world.says("bob", "missed", late, "m9")
        world.subject("topic")
        world.tells_of_itself()
        self.assertEqual([one for one in kinds(phone.take()) if one.startswith("bob:")], ["bob: missed"])

    def test_what_had_no_place_is_not_shown_again(self) -> None:
        """Nor are those behind it, each of which would have to make room for the one before."""
        for seconds in (0, 1):  # from message to message
            self._told_again(seconds)

    def _told_again(self, seconds: int) -> None:
        world = World(history=5)
        (phone,) = world.joined("phone")
        sid = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='s{{}}'/>"
        for number in range(8):
            world.says("bob", f"old {number}", sid.format(number), f"m{number}")
            world.clock.advance(seconds)
        phone.take()
        world.stream.lost()
        world.stream.opened()
        world.shows("alice", "110")
        stamp = "<delay xmlns='urn:xmpp:delay' from='room@muc.test' stamp='2023-11-14T22:13:{}Z'/>"
        for number in range(8):
            told = sid.format(number) + stamp.format(20 + number * seconds)
            world.says("bob", f"old {number}", told, f"m{number}")
        world.says("bob", "missed", sid.format(9) + stamp.format(35), "m9")
        world.subject("topic")
        world.tells_of_itself()
        self.assertEqual([one for one in kinds(phone.take()) if one.startswith("bob:")], ["bob: missed"])


class LateAnswerTests(SynchronousTestCase):
    """A slow room answers one join after the account has sent another: the answer to that shows everything again."""

    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")
        for number in range(3):
            self.world.says("bob", f"old {number}", self.sid(number), f"m{number}")
            self.world.clock.advance(1)
        self.phone.take()
        self.world.stream.lost()
        self.world.stream.opened()
        self.joins = 0
        while self.joins < 2:
            self.world.clock.advance(1)
            self.joins += len([stanza for stanza in self.world.stream.take() if stanza.name == "presence"])

    def sid(self, number: int) -> str:
        return f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='s{number}'/>" if self.ids else ""

    ids = False  # in messages of the room (XEP-0359)

    def answers(self) -> None:
        """As to every join, but for what the account asks next."""
        self.world.shows("bob")
        self.world.shows("alice", "110")
        self.tells(3)

    def tells(self, count: int) -> None:
        stamp = f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2023-11-14T22:13:2{{}}Z'/>"
        for number in range(count):
            self.world.says("bob", f"old {number}", self.sid(number) + stamp.format(number), f"m{number}")
        late = f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2023-11-14T22:13:59Z'/>"
        self.world.says("bob", "missed", self.sid(9) + late, "m9")
        self.world.subject("topic")

    def test_one_that_is_never_answered(self) -> None:
        """Not for ever is what somebody says after an own presence taken for history, with the time that he gives."""
        self.answers()
        self.world.tells_of_itself()
        self.world.clock.advance(LATE)
        self.world.shows("alice", "110")
        forged = f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2023-11-14T22:13:20Z'/>"
        self.world.says("bob", "forged", forged, "m10")
        self.heard()
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        (said,) = [one for one in tablet.take() if b"forged" in one.raw]
        self.assertNotIn("2023-11-14T22:13:20", str([delay["stamp"] for delay in said.elements(NS_DELAY, "delay")]))

    def heard(self) -> list[str]:
        return [one for one in kinds(self.phone.take()) if one.startswith("bob:")]

    def test_its_history_is_not_shown_again(self) -> None:
        self.answers()
        self.world.tells_of_itself()
        self.assertEqual(self.heard(), ["bob: missed"])
        self.answers()
        self.assertEqual(self.heard(), [])
        laptop = self.world.session("laptop")
        self.world.asks_to_join(laptop)
        bodies = [one for one in kinds(laptop.take()) if one.startswith("bob:")]
        self.assertEqual(bodies, ["bob: old 0", "bob: old 1", "bob: old 2", "bob: missed"])

    def test_nor_while_what_was_missed_is_being_read(self) -> None:
        self.answers()
        self.answers()
        self.assertEqual(self.heard(), [])
        self.world.tells_of_itself()
        self.assertEqual(self.heard(), ["bob: missed"])

    def test_nor_when_it_has_grown_too_old(self) -> None:
        """Found by the machine: the clock was set forty days on, and the next device that joined made all expire."""
        self.answers()
        self.world.tells_of_itself()
        self.assertEqual(self.heard(), ["bob: missed"])
        self.world.clock.__dict__["wall_time"] = lambda: self.world.clock.seconds() + 40 * DAY
        self.world.asks_to_join(self.world.session("laptop"))
        self.answers()
        self.assertEqual(self.heard(), [])

    def test_what_is_said_behind_it_is_live(self) -> None:
        """Whoever says it may have written any stamp: it is not believed."""
        self.answers()
        self.world.tells_of_itself()
        self.answers()
        self.phone.take()
        for number in range(2):
            if number:  # an update of the own presence, and everything is answered
                self.world.shows("alice", "110")
            self.tells(1)
            self.assertEqual(self.heard(), [] if self.ids else ["bob: old 0", "bob: missed"])

    def test_no_subject(self) -> None:
        """The history that is told again ends with the time that a room has for it."""
        self.answers()
        self.world.tells_of_itself()
        self.heard()
        self.world.shows("alice", "110")
        self.world.clock.advance(6)
        self.tells(0)
        self.assertEqual(self.heard(), [] if self.ids else ["bob: missed"])


class LateAnswerWithIdsTests(LateAnswerTests):
    ids = True


class SessionTests(SynchronousTestCase):
    """A session that is gone is told nothing more, whatever was under way."""

    def test_a_copy_of_what_another_said_when_the_account_ends(self) -> None:
        world = World()
        phone, laptop = world.joined("phone", "laptop")
        world.client(phone, f"<message to='{ROOM}/bob' type='chat' id='p'><body>b</body></message>")
        world.account.end()
        world.clock.advance(2)
        self.assertEqual((phone.take(), laptop.take()), ([], []))

    def test_nothing_of_it_is_left_when_the_account_ends(self) -> None:
        """Neither what it was asked, which fails, nor what it has begun; and no timer runs."""
        world = World()
        (phone,) = world.joined("phone")
        world.client(phone, f"<iq to='{STREAM}' type='set' id='c'>{LEAVE}</iq>")
        world.room(f"<iq from='{ROOM}/bob' to='{STREAM}' type='get' id='q'><query xmlns='urn:x'/></iq>")
        self.assertEqual(world.stream.take(), [])
        world.account.end()
        answers = [stanza for stanza in world.stream.take() if stanza.name == "iq"]
        self.assertEqual([(one["type"], one["to"], one["id"]) for one in answers], [("error", f"{ROOM}/bob", "q")])
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_it_asked_the_archive_of_a_room_that_had_still_to_tell_of_itself(self) -> None:
        world = World()
        phone, _laptop = world.joined("phone", "laptop")
        world.client(phone, f"<iq to='{ROOM}' type='set' id='a'><query xmlns='urn:xmpp:mam:2'/></iq>")
        world.account.session_closed(phone)
        self.assertEqual(world.tells_of_itself(keep=True), [])
        self.assertEqual((phone.take(), world.stream.take()), ([], []))

    def test_the_account_was_put_out_of_a_room_that_had_still_to_tell_of_itself(self) -> None:
        """The question is answered, and opens no stream for an account that is in no room."""
        world = World()
        (phone,) = world.joined("phone")
        world.client(phone, f"<iq to='{ROOM}' type='set' id='a'><query xmlns='urn:xmpp:mam:2'/></iq>")
        world.gone("alice", "110 301")
        world.stream.take()
        phone.take()
        world.clock.advance(11)
        (answer,) = phone.take()
        self.assertEqual((answer["type"], answer["from"], answer["id"]), ("error", ROOM, "a"))
        self.assertEqual((world.stream.take(), world.stream.jid), ([], ""))
