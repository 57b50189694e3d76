"""What an occupancy does not take for what it looks like: nick changes, presences of who waits, late answers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.occupancy.leave_grace import MAX_FAREWELL
from minimixproxy.minimix.occupancy.lifecycle import TIMEOUTS
from minimixproxy.minimix.occupancy.phases import Phase, State
from minimixproxy.minimix.room.own_presence import away_payload
from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import DISCO, ROOM, STREAM, World, kinds
from tests.minimix.occupancy.test_coming_back import ERROR, Case


class NickChangeTests(Case):
    """The account's own unavailable presence names a nick: only with status 303 is that a new one (XEP-0045 §7.6)."""

    def test_without_the_status(self) -> None:
        self.world.gone("alice", "110", item="nick='other'")
        self.assertIs(self.occupancy.state, State.INTERRUPTED)
        self.assertEqual(self.heard(), [])
        self.world.clock.advance(60)
        self.assertEqual(self.world.stream.take()[-1]["to"], f"{ROOM}/alice")

    def test_with_the_status(self) -> None:
        self.world.gone("alice", "110 303", item="nick='other'")
        self.assertIs(self.occupancy.state, State.JOINED)
        self.assertEqual(self.heard(), ["unavailable alice 110 303"])
        self.world.shows("other", "110")
        self.assertEqual(self.heard(), ["presence other 110"])

    def test_before_it_is_in(self) -> None:
        """It is the end of a time before this join: the join goes on by the nick that was asked for."""
        world = World()
        phone = world.session("phone")
        world.asks_to_join(phone)
        world.stream.take()
        world.gone("alice", "110 303", item="nick='other'")
        world.shows("alice", "110")
        world.subject("topic")
        self.assertEqual(kinds(phone.take()), ["presence alice 110", "subject topic"])


class WaitingTests(Case):
    def test_a_presence_of_who_waits(self) -> None:
        """Its join says it: it is not attached before the room has shown everything."""
        world = World()
        phone = world.session("phone")
        world.asks_to_join(phone)
        world.client(phone, f"<presence to='{ROOM}/alice'><show>away</show></presence>")
        world.shows("bob")
        world.shows("alice", "110")
        self.assertEqual(phone.take(), [])
        world.subject("topic")
        self.assertEqual(kinds(phone.take()), ["presence bob", "presence alice 110", "subject topic"])

    def test_a_presence_of_who_waits_in_vain(self) -> None:
        """The room does not let it in, but another: it is attached to nothing, whatever it said meanwhile."""
        world = World()
        phone, laptop = world.session("phone"), world.session("laptop")
        world.asks_to_join(phone, "alice")
        world.asks_to_join(laptop, "other")
        world.client(phone, f"<presence to='{ROOM}/alice'><show>away</show></presence>")
        world.room(
            f"<presence type='error' from='{ROOM}/alice' to='{STREAM}'>{ERROR.format('cancel', 'conflict')}</presence>"
        )
        self.assertEqual([stanza.get("type") for stanza in phone.take()], ["error"])
        world.shows("bob")
        world.shows("other", "110")
        world.subject("topic")
        world.says("bob", "hello")
        self.assertEqual(phone.take(), [])
        self.assertEqual(kinds(laptop.take())[-1], "bob: hello")

    def test_who_joined_later_is_not_let_in_once_more(self) -> None:
        """The room was shown to it from memory; it does not wait for the room, and gets only what changed."""
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.assertIn("subject topic", kinds(tablet.take()))
        self.lose_stream()
        self.open_stream()
        self.world.comes_back("carol")
        self.assertEqual(kinds(tablet.take()), ["unavailable bob", "presence carol"])

    def test_a_presence_while_the_account_is_out(self) -> None:
        """Only this client waits for an answer, and gets what the room showed last."""
        for opened in (False, True):
            self.setUp()
            self.lose_stream()
            if opened:
                self.open_stream()
            self.world.client(self.phone, f"<presence to='{ROOM}/alice' id='p'/>")
            self.assertEqual([stanza["id"] for stanza in self.phone.take()], ["p"])
            self.assertEqual((self.laptop.take(), self.world.stream.take()), ([], []))


class GoneAlongTests(Case):
    def test_nobody_is_left_when_the_nick_is_refused(self) -> None:
        """The last session has just left: the account does not look for another nick, but goes along."""
        world = self.world = World()
        (phone,) = world.joined("phone")
        self.lose_stream()
        self.open_stream()
        world.leaves(phone)
        world.stream.take()
        self.refuse("conflict")
        self.assertEqual(world.account.rooms, {})
        self.assertEqual([stanza for stanza in world.stream.take() if stanza.name == "iq"], [])

    def test_how_long_a_farewell_may_be(self) -> None:
        """What a client says as it leaves is kept for some seconds: a little."""
        for size, said in ((MAX_FAREWELL, True), (MAX_FAREWELL + 1, False)):
            world = World()
            (phone,) = world.joined("phone")
            leave = f"<presence to='{ROOM}/alice' type='unavailable'><status></status></presence>"
            leave = leave.replace("<status>", "<status>" + "x" * (size - len(leave)))
            world.client(phone, leave)
            world.clock.advance(10)
            (sent,) = [stanza for stanza in world.stream.take() if stanza.get("type") == "unavailable"]
            self.assertEqual(b"xxx" in sent.raw, said, size)


class TooLargeTests(Case):
    def test_who_is_told(self) -> None:
        """The last of several that directed its presence to the room."""
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        tablet.take()
        self.heard()
        self.world.client(self.laptop, f"<presence to='{ROOM}/alice' id='large'/>")
        self.laptop.take()
        answer = f"<presence type='error' from='{ROOM}/alice' to='{STREAM}' id='large'>{ERROR}</presence>"
        self.world.stream.not_sent(parse_stanza(answer.format("modify", "policy-violation")))
        told = [len(session.take()) for session in (self.phone, self.laptop, tablet)]
        self.assertEqual(told, [0, 1, 0])


class LateAnswerTests(Case):
    """`forbidden` may be a ban; the room service is asked, and answers that question and no other."""

    def forbidden(self) -> str:
        """Return the id of the question to the service."""
        self.refuse("forbidden", "auth")
        (query,) = [stanza for stanza in self.world.stream.take() if stanza.has_payload(DISCO, "query")]
        self.assertIs(self.occupancy._lifecycle.phase, Phase.CHECKING)
        return str(query["id"])

    def answered(self, number: str, kind: str) -> None:
        self.world.room(f"<iq type='{kind}' from='muc.test' to='{STREAM}' id='{number}'/>")

    def test_to_the_question_before(self) -> None:
        self.lose_stream()
        self.open_stream()
        first = self.forbidden()
        self.world.clock.advance(TIMEOUTS[Phase.CHECKING])
        while self.occupancy._lifecycle.phase is not Phase.REJOINING:
            self.world.clock.advance(1)
        self.world.stream.take()
        second = self.forbidden()
        self.answered(first, "error")
        self.assertIs(self.occupancy._lifecycle.phase, Phase.CHECKING)
        self.answered(second, "result")
        self.assertIs(self.occupancy._lifecycle.phase, Phase.REJOINING, "it is tried once more, at once")


class AwayTests(SynchronousTestCase):
    def test_what_the_room_sees_while_nobody_is_there(self) -> None:
        """As it stands in the presence, and nothing that is no XML."""
        status = "<status>R&amp;D is at &lt;lunch&gt;</status>"
        self.assertEqual(away_payload("R&D is at <lunch>", b"<c/>").decode(), f"<show>away</show>{status}<c/>")
        self.assertEqual(away_payload("", b"<c/>"), b"<show>away</show><c/>")
