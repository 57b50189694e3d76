"""What `AccountMachine` has found, each in as few steps as show it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.stanza import parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, World, kinds

DAY = 86400.0
PING = "<ping xmlns='urn:xmpp:ping'/>"


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
        world.account.stream_lost()
        self.assertTrue(world.client(phone, f"<iq type='get' id='' to='{ROOM}/bob'>{PING}</iq>"))
        world.clock.advance(61)
        (answer,) = phone.take()
        self.assertEqual((answer.name, answer["type"], answer.get("id")), ("iq", "error", ""))


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
                world.account.presence_from_stream(parse_stanza(text))
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
        world.account.stream_lost()
        world.account.stream_opened()
        world.shows("alice", "110")
        stamp = "<delay xmlns='urn:xmpp:delay' from='room@muc.test' stamp='2023-11-14T22:13:2{}Z'/>"
        for number in range(3):
            world.says("bob", f"old {number}", stamp.format(number), f"m{number}")
        late = "<delay xmlns='urn:xmpp:delay' from='room@muc.test' stamp='2023-12-14T22:13:25Z'/>"
        world.says("bob", "missed", late, "m9")
        world.subject("topic")
        world.tells_of_itself()
        self.assertEqual([one for one in kinds(phone.take()) if one.startswith("bob:")], ["bob: missed"])
