"""A room's life at its edges: what must not end it, what must, and who is told."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.history.private_messages import MAX_KEPT
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMembership, KeptRoom
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.minimix.room.sessions import CLIENT_BYTES
from minimixproxy.wire.stanza import MAX_PAYLOADS, Stanza, parse_stanza
from tests.minimix.fakes import BARE, DISCO, ROOM, STREAM, FakeSession, World, kinds

STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
MAM = "urn:xmpp:mam:2"
MANY = "<many xmlns='urn:q'/>" * MAX_PAYLOADS
REMOVED = "unavailable alice 110 307"


def error(condition: str) -> str:
    return f"<error type='cancel'><{condition} xmlns='{STANZAS}'/></error>"


def states(session: FakeSession) -> list[str]:
    """Errors by their condition, all else in the short form."""
    return [
        next((child.name for child in one.element.error.elements()), "") if one.get("type") == "error" else kind
        for one, kind in ((one, kinds([one])[0]) for one in session.take())
    ]


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    @property
    def occupancy(self) -> Occupancy:
        return self.world.account.rooms[ROOM]

    def out(self) -> list[FakeSession]:
        """A device is attached, and the account is out of the room with its stream."""
        sessions = self.world.joined("phone")
        self.world.stream.jid = ""
        self.world.stream.lost()
        return sessions

    def rejoins(self) -> Stanza:
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        (join,) = self.world.stream.take()
        return join

    def fails(self, condition: str, nick: str | None = "alice", stanza_id: str | None = None) -> None:
        sender = ROOM if nick is None else f"{ROOM}/{nick}"
        attribute = f"id='{stanza_id}'" if stanza_id is not None else ""
        inner = error(condition)
        self.world.room(f"<presence type='error' from='{sender}' to='{STREAM}' {attribute}>{inner}</presence>")

    def fill(self) -> None:
        budget = self.world.account.sessions.budget
        self.assertTrue(budget.take(CLIENT_BYTES - budget.used))


class JoinsThatAreRefusedHere(Case):
    """There is no place for a join: that is the end of nothing but of this join."""

    def test_beside_one_on_its_way(self) -> None:
        phone, tablet = self.world.session("phone"), self.world.session("tablet")
        self.world.asks_to_join(phone)
        self.fill()
        self.world.asks_to_join(tablet)
        self.assertEqual(states(tablet), ["resource-constraint"])
        self.world.shows("alice", "110")
        self.world.subject()
        self.assertEqual((kinds(phone.take()), tablet.take()), (["presence alice 110", "subject "], []))

    def test_while_the_account_is_out(self) -> None:
        (phone,) = self.out()
        tablet = self.world.session("tablet")
        self.fill()
        self.world.asks_to_join(tablet)
        self.assertEqual(states(tablet), ["resource-constraint"])
        self.assertIs(self.occupancy.state, State.INTERRUPTED)
        self.rejoins()
        self.world.comes_back()
        self.assertEqual((self.occupancy.state, phone.take(), tablet.take()), (State.JOINED, [], []))

    def test_the_first(self) -> None:
        phone = self.world.session("phone")
        self.fill()
        self.world.asks_to_join(phone)
        self.assertEqual(states(phone), ["resource-constraint"])
        self.assertEqual((self.world.account.rooms, self.world.stream.take()), ({}, []))


class WhoKeepsTheAccountIn(Case):
    def test_one_that_waits(self) -> None:
        """The last one that is attached leaves, while another waits for the account to come back."""
        (phone,) = self.out()
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.world.leaves(phone)
        self.world.clock.advance(10)
        self.assertIn(ROOM, self.world.account.rooms)
        self.rejoins()
        self.world.comes_back()
        self.assertIn("presence alice 100 110", kinds(tablet.take()))

    def test_a_join_gives_up_waiting_in_time(self) -> None:
        self.out()
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.world.clock.advance(30)
        self.world.asks_to_join(tablet)
        self.world.clock.advance(29)
        self.assertEqual(tablet.take(), [])
        self.world.clock.advance(1)
        self.assertEqual(states(tablet), ["remote-server-timeout"])


class Removals(Case):
    def test_between_own_presence_and_subject(self) -> None:
        """It was in: who waits is told, and the room is over, whatever the reason."""
        for codes in ("110", "110 307", "110 332", "110 307 333"):
            self.setUp()
            phone = self.world.session("phone")
            self.world.asks_to_join(phone)
            self.world.stream.take()
            self.world.shows("alice", "110")
            self.world.gone("alice", codes)
            self.assertEqual((states(phone), self.world.account.rooms), (["recipient-unavailable"], {}), codes)
            self.assertEqual(self.world.stream.take(), [], "the room knows")

    def test_on_the_way_back(self) -> None:
        """Before the account is shown in again, and after."""
        for shown_in in (False, True):
            for codes, over in (("110 301", True), ("110 307", True), ("110 332", False), ("110 307 333", False)):
                self.setUp()
                (phone,) = self.out()
                self.rejoins()
                if shown_in:
                    self.world.shows("bob")
                    self.world.shows("alice", "100 110")
                phone.take()
                self.world.gone("alice", codes)
                self.assertEqual(ROOM not in self.world.account.rooms, over, f"{shown_in} {codes}")
                self.assertEqual(kinds(phone.take()), [f"unavailable alice {codes}"] if over else [], codes)

    def test_own_presence_again_before_the_subject(self) -> None:
        """It is shown as a change: the return does not begin anew."""
        (phone,) = self.out()
        self.rejoins()
        self.world.shows("bob")
        self.world.shows("alice", "100 110")
        phone.take()
        self.world.shows("alice", "100 110", inner="<show>xa</show>")
        self.assertEqual(kinds(phone.take()), ["presence alice 100 110"])
        self.world.tells_of_itself()
        self.world.subject("topic")
        self.assertIs(self.occupancy.state, State.JOINED)

    def test_no_subject_any_more(self) -> None:
        """The room had one before; what it does not show is not made up."""
        (phone,) = self.out()
        self.rejoins()
        self.world.shows("bob")
        self.world.shows("alice", "100 110")
        self.world.tells_of_itself()
        phone.take()
        self.world.clock.advance(5)
        self.assertEqual((self.occupancy.state, phone.take()), (State.JOINED, []))

    def test_a_bounce_of_its_own_presence_while_it_is_out(self) -> None:
        """The room cannot be asked to take it out: the device is shown out here."""
        (phone,) = self.out()
        self.world.client(phone, f"<presence to='{ROOM}/alice' type='error'>{error('gone')}</presence>")
        self.assertEqual((kinds(phone.take()), self.world.stream.take()), (["unavailable alice 110 307 333"], []))

    def test_an_own_presence_by_a_join_that_is_long_over(self) -> None:
        """In the room, it is what it is, whatever its id."""
        phone = self.world.session("phone")
        ids = []
        for _ in range(2):
            self.world.asks_to_join(phone)
            ids.append(self.world.stream.take()[-1]["id"])
            self.world.shows("alice", "110")
            self.world.subject()
            if len(ids) == 1:
                self.world.leaves(phone)
                self.world.clock.advance(3)
                self.world.gone("alice", "110")
        phone.take()
        self.world.shows("alice", "110", f"id='{ids[0]}'", inner="<show>xa</show>")
        self.assertEqual(kinds(phone.take()), ["presence alice 110"])

    def test_an_own_presence_before_its_turn_to_come_back(self) -> None:
        """After a restart: nothing that the room says is the answer to a join that was not sent."""
        rooms = [KeptRoom(ROOM, KeptMembership("alice", "alice"))]
        self.world.account.restore(KeptAccount(BARE, None, False, self.world.clock.seconds(), rooms))
        self.world.shows("alice", "110")
        self.world.subject()
        self.world.clock.advance(6)
        self.assertIs(self.occupancy.state, State.INTERRUPTED)

    def test_a_ping_that_is_answered_when_the_room_is_out_of_reach(self) -> None:
        """Nobody looks after a room that the account is not in: not even twice."""
        self.world.joined("phone")
        self.world.clock.advance(300)
        (ping,) = self.world.stream.take()
        self.world.gone("alice", "110 332")
        refusal = error("item-not-found")
        self.world.room(f"<iq type='error' from='{ping['to']}' to='{STREAM}' id='{ping['id']}'>{refusal}</iq>")
        self.world.clock.advance(400)
        self.assertNotIn("iq", [one.name for one in self.world.stream.take()])


class ErrorsOfTheRoom(Case):
    def test_when_it_is_in(self) -> None:
        """No error ends it: what cannot be the answer to a join is somebody's, or nobody's."""
        (phone,) = self.world.joined("phone")
        for nick in ("alice", "bob", "nobody", None):
            for stanza_id in (None, "x", "j"):
                self.fails("forbidden", nick, stanza_id)
        self.assertEqual((self.occupancy.state, phone.take()), (State.JOINED, []))

    def test_an_error_that_bears_the_id_of_the_join_that_is_over(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        (join,) = self.world.stream.take()
        self.world.shows("alice", "110")
        self.world.subject()
        phone.take()
        self.fails("forbidden", "alice", join["id"])
        self.assertEqual((self.occupancy.state, phone.take()), (State.JOINED, []))

    def test_without_id(self) -> None:
        """It answers the join if it names the nick that was asked for, or none."""
        for nick, answers in (("alice", True), ("ALICE", False), (None, True), ("bob", False)):
            self.setUp()
            phone = self.world.session("phone")
            self.world.asks_to_join(phone)
            self.fails("members-only", nick)
            self.assertEqual(states(phone), ["members-only"] if answers else [], nick)
            self.assertEqual(ROOM not in self.world.account.rooms, answers, nick)

    def test_banned_or_a_service_that_is_down(self) -> None:
        """`forbidden` is believed where the service answers, before and after it; no answer is none."""
        for answer, out in (("result", True), ("error", False), (None, False)):
            self.world = World(iq_timeout=30.0)
            (phone,) = self.out()
            join = self.rejoins()
            self.fails("forbidden", "alice", join["id"])
            (asked,) = self.world.stream.take()
            self.assertEqual(asked["to"], ROOM.partition("@")[2])
            addresses = f"from='{asked['to']}' to='{STREAM}' id='{asked['id']}'"
            self.world.room(f"<iq type='result' {addresses}><query xmlns='{DISCO}'/></iq>")
            (again,) = self.world.stream.take()
            self.assertIn(ROOM, self.world.account.rooms)
            self.fails("forbidden", "alice", again["id"])
            (asked,) = self.world.stream.take()
            if answer is None:
                self.world.clock.advance(31)
            else:
                inner = f"<query xmlns='{DISCO}'/>" if answer == "result" else error("remote-server-not-found")
                addresses = f"from='{asked['to']}' to='{STREAM}' id='{asked['id']}'"
                self.world.room(f"<iq type='{answer}' {addresses}>{inner}</iq>")
            self.assertEqual(ROOM not in self.world.account.rooms, out, answer)
            self.assertEqual(len(phone.take()), int(out), answer)

    def test_a_service_that_answers_another_attempt(self) -> None:
        (phone,) = self.out()
        join = self.rejoins()
        self.fails("forbidden", "alice", join["id"])
        (asked,) = self.world.stream.take()
        self.world.gone("alice", "110 332")  # the service ends, and has not answered
        self.world.clock.advance(10)
        again = [one for one in self.world.stream.take() if one.name == "presence"]
        self.assertEqual((len(again), self.occupancy.state), (1, State.REJOINING))
        query = f"<query xmlns='{DISCO}'/>"
        self.world.room(f"<iq type='result' from='{asked['to']}' to='{STREAM}' id='{asked['id']}'>{query}</iq>")
        self.assertIs(self.occupancy.state, State.REJOINING, "that was said of the attempt before")
        self.world.comes_back()
        self.assertEqual((self.occupancy.state, phone.take()), (State.JOINED, []))


class TooLargeToBeSent(Case):
    """The account stream cannot take a presence: its sender is told as if by the room."""

    def refused(self, nick: str, stanza_id: str | None = "x") -> None:
        attribute = f"id='{stanza_id}'" if stanza_id is not None else ""
        answer = f"<presence type='error' from='{ROOM}/{nick}' {attribute}>{error('not-acceptable')}</presence>"
        self.world.stream.not_sent(parse_stanza(answer))

    def test_of_who_is_in(self) -> None:
        for stanza_id, told in (("x", True), (None, False)):
            self.setUp()
            phone, laptop = self.world.joined("phone", "laptop")
            self.world.client(phone, f"<presence to='{ROOM}/alice' id='x'><show>xa</show></presence>")
            phone.take(), laptop.take()
            self.refused("alice", stanza_id)
            self.assertEqual((states(phone), states(laptop)), (["not-acceptable"] if told else [], []))
            self.assertIs(self.occupancy.state, State.JOINED)

    def test_with_nobody_there(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.account.session_closed(phone)
        self.refused("alice")
        self.assertIs(self.occupancy.state, State.JOINED)

    def test_a_change_of_nick(self) -> None:
        phone, laptop = self.world.joined("phone", "laptop")
        self.world.client(laptop, f"<presence to='{ROOM}/liz' id='n'/>")
        self.world.client(phone, f"<presence to='{ROOM}/alice'/>")
        phone.take()
        self.refused("liz", "n")
        self.assertEqual((states(phone), states(laptop)), ([], ["not-acceptable"]))

    def test_a_join(self) -> None:
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        (join,) = self.world.stream.take()
        self.refused("alice", join["id"])
        self.assertEqual((states(phone), self.world.account.rooms), (["not-acceptable"], {}))


class WhoSaidIt(Case):
    def test_whoever_was_not_shown_may_not_change_what_was_said(self) -> None:
        """A room need not show who comes. What shows nobody, an error or a departure, is not taken for a showing."""
        for shown, corrected in (("presence", True), ("error", False), ("unavailable", False), ("", False)):
            self.setUp()
            self.world.joined("phone")
            kind = f"type='{shown}'" if shown != "presence" else ""
            if shown:
                inner = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='member' role='none'/></x>"
                self.world.room(f"<presence from='{ROOM}/eve' to='{STREAM}' {kind}>{inner}</presence>")
            self.world.says("eve", "said", stanza_id="m")
            self.world.says("eve", "other", "<replace xmlns='urn:xmpp:message-correct:0' id='m'/>", stanza_id="n")
            tablet = self.world.session("tablet")
            self.world.asks_to_join(tablet)
            given = [one for one in kinds(tablet.take()) if one.startswith("eve: ")]
            self.assertEqual(given, ["eve: other"] if corrected else ["eve: said", "eve: other"], shown)


class WhatTheRoomIsShown(Case):
    def test_nothing_of_who_left_while_joining(self) -> None:
        """The account is about to leave: it does not show itself away before."""
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.leaves(phone)
        self.world.shows("alice", "110")
        self.world.stream.take()
        self.world.subject()
        self.assertEqual(self.world.stream.take(), [])
        self.world.clock.advance(10)
        self.assertEqual([one.get("type") for one in self.world.stream.take()], ["unavailable"])

    def test_a_session_that_joins_while_it_is_on_its_way_back(self) -> None:
        """Has the account try at once, if it does not already, and if there is a stream to try on."""
        for stream, tries, expected in ((True, False, 1), (True, True, 0), (False, False, 0)):
            self.setUp()
            self.world.joined("phone")
            self.world.gone("alice", "110 332")
            if tries:
                self.world.clock.advance(2)
            self.world.stream.take()
            self.world.stream.jid = STREAM if stream else ""
            if not stream:
                self.world.stream.lost()
            outlet, turns = self.world.account.occupancies.outlet, list[str]()
            take = outlet.rejoin_turn
            self.patch(
                outlet,
                "rejoin_turn",
                lambda room, call, turns=turns, take=take: (turns.append(room), take(room, call))[1],
            )
            self.world.asks_to_join(self.world.session("tablet"))
            self.assertEqual(len(turns), expected, "nor is a turn taken that others wait for")
            sent = [one["to"] for one in self.world.stream.take() if one.name == "presence"]
            self.assertEqual(sent, [f"{ROOM}/alice"] * expected, f"{stream} {tries}")

    def test_that_the_account_is_no_more(self) -> None:
        """Told to each room that it is in or about to be, if there is a stream: none is opened for it."""
        for stream, comes, told in (
            (True, "joining", True),
            (True, "joined", True),
            (True, "rejoining", True),
            (True, "put out", False),
            (True, "leaving", False),
            (False, "joining", False),
            (False, "joined", False),
        ):
            self.setUp()
            phone = self.world.session("phone")
            self.world.asks_to_join(phone)
            if comes != "joining":
                self.world.shows("alice", "110")
                self.world.subject()
            if comes == "leaving":
                self.world.account.leave(ROOM)
            if comes in ("put out", "rejoining"):
                self.world.gone("alice", "110 332")
            if comes == "rejoining":
                self.world.clock.advance(2)
            self.world.stream.jid = STREAM if stream else ""
            self.world.stream.take()
            self.world.account.end()
            sent = [(one["to"], one["type"]) for one in self.world.stream.take() if one.name == "presence"]
            self.assertEqual(sent, [(f"{ROOM}/alice", "unavailable")] * told, f"{stream} {comes}")
            self.assertEqual(self.world.account.rooms, {})

    def test_what_a_later_device_shows(self) -> None:
        """The best of all devices, from its join on."""
        self.world.joined("phone")
        self.world.clock.advance(10)
        join = "<x xmlns='http://jabber.org/protocol/muc'/><show>chat</show>"
        self.world.client(self.world.session("laptop"), f"<presence to='{ROOM}/alice'>{join}</presence>")
        self.assertEqual([str(one.element.show) for one in self.world.stream.take()], ["chat"])

    def test_of_whom_nobody_waits_for_a_nick(self) -> None:
        phone, laptop = self.world.joined("phone", "laptop")
        self.world.client(laptop, f"<presence to='{ROOM}/bob' id='n'/>")
        self.world.account.session_closed(laptop)
        self.fails("conflict", "bob", "n")
        self.assertEqual((phone.take(), laptop.take()), ([], []))


class WhoStandsForTheAccount(Case):
    def test_while_it_joins_and_when_it_is_in(self) -> None:
        """Who has asked first, as long as it waits; then the one that was active last."""
        account, phone, tablet = self.world.account, self.world.session("phone"), self.world.session("tablet")
        self.assertIsNone(account.client_in(ROOM))
        for session in (phone, tablet):
            self.world.asks_to_join(session)
        self.assertEqual(account.client_in(ROOM), phone.jid)
        account.session_closed(phone)
        self.assertIsNone(account.client_in(ROOM))
        self.world.shows("alice", "110")
        self.world.subject()
        self.assertEqual(account.client_in(ROOM), tablet.jid)
        laptop = self.world.session("laptop")
        self.world.clock.advance(1)
        self.world.asks_to_join(laptop)
        self.assertEqual(account.client_in(ROOM), laptop.jid)
        self.world.clock.advance(1)
        tablet.touch()
        self.assertEqual(account.client_in(ROOM), tablet.jid)
        tablet.asleep = True
        self.assertEqual(account.client_in(ROOM), laptop.jid, "one that sleeps cannot answer")
        laptop.asleep = True
        self.assertEqual(account.client_in(ROOM), tablet.jid)


class WhatIsShownAgain(Case):
    def test_no_more_than_the_room_itself_shows(self) -> None:
        """What it had shown on the first join; not all that has been said by the time when the account comes back."""
        self.world.joined("phone")
        for number in range(50):
            self.world.says("bob", f"m{number}", stanza_id=f"m{number}")
        self.world.stream.jid = ""
        self.world.stream.lost()
        self.rejoins()
        self.world.comes_back()
        self.world.account.session_closed(next(iter(self.world.account.sessions)))
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        said = [one for one in kinds(phone.take()) if one.startswith("bob: ")]
        self.assertEqual(said, [f"bob: m{number}" for number in range(30, 50)])


class OnTheWayBack(Case):
    def comes_back(self) -> list[Stanza]:
        """The room lets the account in; return what is sent then, but for questions."""
        self.world.shows("bob")
        self.world.shows("alice", "100 110")
        self.world.tells_of_itself(keep=True)
        self.world.subject("topic")
        return [one for one in self.world.stream.take() if one.name != "iq"]

    def test_the_password_that_was_given_last(self) -> None:
        """Whoever joins meanwhile may know a new one; who gives none does not take the known one away."""
        for given, expected in (((), None), (("one",), b"one"), (("one", "two"), b"two"), (("one", ""), b"one")):
            self.setUp()
            self.out()
            for number, password in enumerate(given):
                inner = f"<password>{password}</password>" if password else ""
                self.world.asks_to_join(self.world.session(f"tablet{number}"), inner=inner)
            raw = self.rejoins().raw
            self.assertEqual(b"<password" in raw, expected is not None, given)
            self.assertIn(b"<password>%b</password>" % expected if expected else b"", raw)

    def test_what_was_wished_for_meanwhile(self) -> None:
        """Another nick is asked for, and what was said is said, in order, when the account is in."""
        (phone,) = self.out()
        self.world.client(phone, f"<message type='groupchat' to='{ROOM}' id='1'><body>x</body></message>")
        self.world.client(phone, f"<presence to='{ROOM}/liz' id='n'/>")
        self.world.client(phone, f"<message type='groupchat' to='{ROOM}' id='2'><body>x</body></message>")
        self.rejoins()
        sent = self.comes_back()
        self.assertEqual([(one.name, one["to"]) for one in sent if one.name == "message"], [("message", ROOM)] * 2)
        self.assertEqual([one["to"] for one in sent if one.name == "presence"], [f"{ROOM}/liz"])

    def test_left_for_good(self) -> None:
        """It does not come back: not when the stream ends before the room has confirmed it, and once is enough."""
        for again in (self.world.stream.lost, lambda: self.world.account.leave(ROOM), lambda: None):
            self.world.joined("phone")
            for _ in range(2):
                self.world.account.leave(ROOM)
            sent = [one.get("type") for one in self.world.stream.take() if one.name == "presence"]
            self.assertEqual(sent, ["unavailable"])
            again()
            self.world.clock.advance(10)
            self.assertEqual((self.world.account.rooms, self.world.stream.take()), ({}, []))


class ShownOut(Case):
    def test_of_the_rooms_that_are_meant(self) -> None:
        other = "other@muc.test"
        for room, told in ((ROOM, [f"{ROOM}/alice"]), (other, []), (None, [f"{ROOM}/alice"])):
            self.setUp()
            phone, laptop = self.world.joined("phone", "laptop")
            xml = f"<presence to='{other}/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
            self.world.client(laptop, xml)
            self.world.room(
                f"<presence from='{other}/alice' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc#user'>"
                "<item affiliation='member' role='participant'/><status code='110'/></x></presence>"
            )
            self.world.room(f"<message type='groupchat' from='{other}' to='{STREAM}'><subject/></message>")
            laptop.take()
            self.world.account.detach_device(phone, room)
            self.assertEqual([one["from"] for one in phone.take()], told, room)
            self.assertEqual(laptop.take(), [])


class WithoutClients(Case):
    def test_no_time_is_set_where_none_is_wanted(self) -> None:
        """Restored, the account stays for what is left of its time; with `stay = 0` there is none to begin with."""
        for stay, left in ((0.0, False), (100.0, True)):
            self.world = World(stay=stay)
            room = KeptRoom(ROOM, KeptMembership("alice", "alice", None))
            now = self.world.clock.seconds()
            self.world.account.restore(KeptAccount(BARE, None, refused=False, last_seen=now - 40, rooms=[room]))
            self.world.stream.jid = STREAM
            self.world.stream.opened()
            self.world.comes_back()
            self.world.clock.advance(59)
            self.assertEqual(self.world.stream.take(), [])
            self.world.clock.advance(1)
            self.assertEqual(bool(self.world.stream.take()), left, stay)


class WhatCannotBeRead(Case):
    def message(self, inner: str = "") -> None:
        body = f"<body>x</body>{inner}{MANY}"
        self.world.room(f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}' id='m'>{body}</message>")

    def test_is_passed_to_who_is_there_and_not_kept(self) -> None:
        (phone,) = self.world.joined("phone")
        self.message()
        self.assertEqual(len(phone.take()), 1)
        self.assertEqual(self.occupancy.messages_kept, 0)
        self.message(f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2020-01-01T00:00:00Z'/>")
        self.assertEqual(phone.take(), [], "it was said before, and then it was given")

    def test_of_the_time_before(self) -> None:
        """A room tells its history on each return: what is not kept cannot be known again."""
        (phone,) = self.out()
        self.rejoins()
        self.world.shows("bob")
        self.world.shows("alice", "100 110")
        phone.take()
        self.message()
        self.assertEqual(phone.take(), [])


class BeforeItIsIn(Case):
    def test_a_self_ping_is_no_lie(self) -> None:
        """The room has spoken, and yet has not let the account in."""
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        self.world.shows("bob")
        self.world.stream.take()
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        self.world.client(phone, f"<iq type='get' to='{ROOM}/alice' id='p'>{ping}</iq>")
        self.assertEqual((phone.take(), [one["to"] for one in self.world.stream.take()]), ([], [f"{ROOM}/alice"]))


class PrivateMessages(Case):
    def test_what_looks_like_a_result_of_an_archive(self) -> None:
        """It is one only by its namespace and its name, and where it comes from: an occupant has none of the room's."""
        phone, laptop = self.world.joined("phone", "laptop")
        for sender, inner, forked in (
            (ROOM, "<result xmlns='urn:q' queryid='q'/>", True),
            (ROOM, f"<other xmlns='{MAM}' queryid='q'/>", True),
            (ROOM, f"<result xmlns='{MAM}' queryid='q'/>", False),
            (f"{ROOM}/bob", f"<result xmlns='{MAM}' queryid='q'/>", True),
        ):
            self.world.room(f"<message from='{sender}' to='{STREAM}'>{inner}</message>")
            self.assertEqual((len(phone.take()), len(laptop.take())), (int(forked),) * 2, inner)

    def test_a_form_of_an_archive_is_no_query(self) -> None:
        (phone,) = self.world.joined("phone")
        self.occupancy.info.archive = True
        for kind in ("set", "get", "get"):
            query = f"<query xmlns='{MAM}' queryid='q'/>"
            self.world.client(phone, f"<iq type='{kind}' to='{ROOM}' id='1'>{query}</iq>")
            self.assertEqual((len(self.world.stream.take()), phone.take()), (1, []), kind)

    def test_only_so_many_wait(self) -> None:
        (phone,) = self.world.joined("phone")
        self.world.account.session_closed(phone)
        for number in range(MAX_KEPT + 3):
            self.world.room(f"<message type='chat' from='{ROOM}/bob' to='{STREAM}'><body>{number}</body></message>")
        phone = self.world.session("phone")
        self.world.asks_to_join(phone)
        said = [kind for kind in kinds(phone.take()) if kind.startswith("bob: ")]
        self.assertEqual(said, [f"bob: {number}" for number in range(3, MAX_KEPT + 3)])
        self.assertEqual(self.world.account.occupancies.outlet.budgets._waiting.used, 0)
