"""Why the account is not in a room: each way out of it, or not into it, has a reason that can be asked for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.bookmarks.says import Says
from minimixproxy.minimix.interfaces.endings import Ended, Why
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMembership, KeptRoom
from minimixproxy.minimix.occupancy.joining import JOIN_TIMEOUT
from minimixproxy.minimix.occupancy.lifecycle import LEAVE_TIMEOUT, TABLE
from minimixproxy.minimix.occupancy.phases import LEFT, Phase
from minimixproxy.minimix.occupancy.reasons import ELSEWHERE, REASONS
from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, World, split

ERROR = "urn:ietf:params:xml:ns:xmpp-stanzas"
USER = "http://jabber.org/protocol/muc#user"


class TableTests(SynchronousTestCase):
    def test_each_way_out_has_one(self) -> None:
        without = {
            (before, what)
            for (before, what), (to, _action) in TABLE.items()
            if to in (Phase.INTERRUPTED, Phase.ENDED) and before not in LEFT and what not in REASONS.keys() | ELSEWHERE
        }
        self.assertEqual(without, set())
        self.assertEqual(REASONS.keys() & ELSEWHERE, set())


class ReasonCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    @property
    def ended(self) -> Ended | None:
        return self.world.endings[BARE].get(ROOM)

    @property
    def told(self) -> tuple[Why, str, str, str] | None:
        ended = self.ended
        if ended is None:
            return None
        ending = ended.ending
        return ending.why, ending.condition, ending.text, ending.by

    def error(self, condition: str, text: str = "", by: str = "") -> None:
        words = f"<text xmlns='{ERROR}'>{text}</text>" if text else ""
        self.world.room(
            f"<presence type='error' from='{ROOM}/alice' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc'/>"
            f"<error type='auth'{by}><{condition} xmlns='{ERROR}'/>{words}</error></presence>"
        )

    def out(self, codes: str, item: str = "", more: str = "") -> None:
        status = "".join(f"<status code='{code}'/>" for code in codes.split())
        self.world.room(
            f"<presence from='{ROOM}/alice' to='{STREAM}' type='unavailable'><x xmlns='{USER}'>"
            f"<item affiliation='none' role='none'>{item}</item>{status}{more}</x></presence>"
        )


class FirstJoin(ReasonCase):
    def join(self) -> None:
        self.world.asks_to_join(self.world.session("phone"))

    def test_refused(self) -> None:
        self.join()
        self.error("not-authorized", "Password &lt;please&gt;", " by='muc.test'")
        self.assertEqual(self.told, (Why.REFUSED, "not-authorized", "Password <please>", "muc.test"))
        assert self.ended is not None
        self.assertEqual(self.ended.when, self.world.clock.seconds())

    def test_in_at_last(self) -> None:
        self.test_refused()
        self.world.joined("laptop")
        self.assertIsNone(self.told)

    def test_no_answer(self) -> None:
        self.join()
        self.world.clock.advance(JOIN_TIMEOUT)
        self.assertEqual(self.told, (Why.NO_ANSWER, "", "", ""))

    def test_no_stream(self) -> None:
        self.join()
        self.world.stream.lost()
        self.assertEqual(self.told, (Why.STREAM_LOST, "", "", ""))

    def test_too_many_rooms(self) -> None:
        self.world = World(max_rooms=1)
        session = self.world.session("phone")
        self.world.client(
            session, "<presence to='other@muc.test/a'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        self.world.asks_to_join(session)
        self.assertEqual(self.told, (Why.TOO_MANY_ROOMS, "", "", ""))
        self.world.account.enter("third@muc.test", "alice")
        self.assertIs(self.world.endings[BARE]["third@muc.test"].ending.why, Why.TOO_MANY_ROOMS)

    def test_a_server_that_reads_slowly(self) -> None:
        self.world.stream.full = True
        self.join()
        self.assertEqual(self.told, (Why.SERVER_SLOW, "", "", ""))

    def test_unreadable(self) -> None:
        x = "<x xmlns='http://jabber.org/protocol/muc'/>"
        (join,) = split(f"<presence to='{ROOM}/alice'>{x}{'<a/>' * 10_001}</presence>".encode())
        self.world.account.from_client(self.world.session("phone"), join)
        self.assertEqual(self.told, (Why.UNREADABLE, "", "", ""))


class PutOut(ReasonCase):
    def setUp(self) -> None:
        super().setUp()
        (self.phone,) = self.world.joined("phone")

    def test_each(self) -> None:
        for codes, why in (
            ("110 301", Why.BANNED),
            ("110 307", Why.KICKED),
            ("110 307 321", Why.AFFILIATION_LOST),
            ("110 322", Why.MEMBERS_ONLY),
            ("110 332", Why.PUT_OUT),
            ("110 307 333", Why.PUT_OUT),
            ("110", Why.PUT_OUT),
            ("110 999", Why.PUT_OUT),
        ):
            self.setUp()
            self.out(codes, "<actor nick='boss'/><reason>enough</reason>")
            known = " ".join(sorted(set(codes.split()) - {"110", "999"}))
            self.assertEqual(self.told, (why, known, "enough", "boss"), codes)

    def test_by_an_address(self) -> None:
        self.out("110 301", "<actor jid='boss@a.test'/>")
        self.assertEqual(self.told, (Why.BANNED, "301", "", "boss@a.test"))

    def test_destroyed(self) -> None:
        self.out("110", more="<destroy jid='other@muc.test'><reason>moved</reason></destroy>")
        self.assertEqual(self.told, (Why.DESTROYED, "", "moved", ""))

    def test_in_again(self) -> None:
        self.out("110 332")
        self.assertEqual(self.told, (Why.PUT_OUT, "332", "", ""))
        self.world.clock.advance(2)
        self.world.comes_back()
        self.world.clock.advance(1)
        self.assertIsNone(self.told)

    def test_attempts(self) -> None:
        self.out("110 332")
        occupancy = self.world.account.rooms[ROOM]
        self.assertEqual(occupancy.attempts, 0)
        self.assertGreater(occupancy.next_attempt_in, 0)
        self.world.clock.advance(2)
        self.assertEqual((occupancy.attempts, occupancy.next_attempt_in), (1, 0))
        self.error("remote-server-not-found")
        self.assertEqual(self.told, (Why.REFUSED, "remote-server-not-found", "", ""))
        wait = occupancy.next_attempt_in
        self.assertGreater(wait, 0)
        self.world.clock.advance(wait)
        self.assertEqual(occupancy.attempts, 2)
        self.world.comes_back()
        self.world.clock.advance(1)
        self.assertEqual((occupancy.attempts, occupancy.next_attempt_in), (0, 0))

    def test_not_let_in_again(self) -> None:
        self.out("110 332")
        self.world.clock.advance(2)
        self.error("registration-required", "members only")
        self.assertEqual(self.told, (Why.SHUT_OUT, "registration-required", "members only", ""))

    def test_nick(self) -> None:
        self.out("110 332")
        self.world.clock.advance(2)
        self.error("conflict")
        self.assertEqual(self.told, (Why.NICK_REFUSED, "conflict", "", ""))

    def test_without_a_word(self) -> None:
        self.world.account.rooms[ROOM].silently_out()
        self.assertEqual(self.told, (Why.UNKNOWN_TO_ROOM, "", "", ""))

    def test_the_stream_has_reasons_of_its_own(self) -> None:
        self.out("110 332")
        self.world.stream.lost()
        self.assertEqual(self.told, (Why.PUT_OUT, "332", "", ""))


class Left(ReasonCase):
    def test_last_device(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.leaves(phone)
        self.assertIsNone(self.told)
        self.world.clock.advance(5)
        self.assertEqual(self.told, (Why.LAST_DEVICE_LEFT, "", "", "phone"))
        self.out("110")
        self.world.clock.advance(LEAVE_TIMEOUT)
        self.assertNotIn(ROOM, self.world.account.rooms)
        self.assertEqual(self.told, (Why.LAST_DEVICE_LEFT, "", "", "phone"))

    def test_by_command(self) -> None:
        self.world.joined("phone")
        self.world.account.leave(ROOM)
        self.assertEqual(self.told, (Why.LEFT_BY_COMMAND, "", "", ""))

    def test_nobody_for_long(self) -> None:
        for stay in (0, 100):
            self.world = World(stay=stay)
            (phone,) = self.world.joined("phone")
            self.world.account.session_closed(phone)
            self.world.clock.advance(stay)
            self.assertEqual(self.told, (Why.NO_DEVICE, "", "", ""))

    def test_forgotten(self) -> None:
        """Nothing is kept of it."""
        self.world.joined("phone")
        self.world.account.forget()
        self.world.clock.advance(LEAVE_TIMEOUT)
        self.assertEqual(self.world.endings[BARE], {})


class Restored(ReasonCase):
    def test_damaged(self) -> None:
        self.patch(type(self.world.account.occupancies), "_occupancy", lambda *_: 1 / 0)
        kept = KeptRoom(ROOM, KeptMembership("alice", "alice", None, True, 1.0))
        self.world.account.restore(KeptAccount(BARE, None, False, 1.0, [kept]))
        self.assertEqual(self.told, (Why.NOT_RESTORED, "", "", ""))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class NotEnrolled(ReasonCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.is_enrolled = False
        self.phone = self.world.session("phone")
        self.assertFalse(self.world.asks_to_join(self.phone), "it passes")

    def hears(self, xml: str) -> None:
        self.assertFalse(self.world.account.from_server(self.phone, parse_stanza(xml)))

    def test_refused(self) -> None:
        error = f"<error type='auth'><registration-required xmlns='{ERROR}'/></error>"
        self.hears(f"<presence from='{ROOM}/alice' to='{self.phone.jid}' type='error'>{error}</presence>")
        self.assertEqual(self.told, (Why.REFUSED_DIRECTLY, "registration-required", "", ""))

    def test_kicked(self) -> None:
        x = f"<x xmlns='{USER}'><item><reason>no</reason></item><status code='110'/><status code='307'/></x>"
        self.hears(f"<presence from='{ROOM}/alice' to='{self.phone.jid}' type='unavailable'>{x}</presence>")
        self.assertEqual(self.told, (Why.KICKED, "307", "no", ""))

    def test_others_are_nothing_to_it(self) -> None:
        self.hears(f"<presence from='{ROOM}/bob' to='{self.phone.jid}' type='unavailable'/>")
        self.hears(f"<presence from='other@muc.test/alice' to='{self.phone.jid}' type='error'/>")
        self.assertEqual(self.world.endings[BARE], {})


class Bookmarks(ReasonCase):
    def test_off(self) -> None:
        self.assertIs(self.world.account.bookmark_of(ROOM), Says.OFF)

    def test_not_read(self) -> None:
        self.assertIs(World(bookmarks="follow").account.bookmark_of(ROOM), Says.NOT_READ)
