"""The account is out of a room, and nobody meant it: it comes back, and its sessions see the difference."""

from collections.abc import Sequence

from twisted.logger import LogEvent
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMembership, KeptMessage, KeptPrivate, KeptRoom
from minimixproxy.minimix.occupancy.occupancy import Occupancy
from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.minimix.rejoin.attempt import RejoinAttempt
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.log_events import Observer
from tests.minimix.fakes import BARE, DISCO, ROOM, STREAM, FakeSession, World, kinds

MAM = "urn:xmpp:mam:2"
ERROR = "<error type='{}'><{} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.phone, self.laptop = self.world.joined("phone", "laptop")

    @property
    def occupancy(self) -> Occupancy:
        return self.world.account.rooms[ROOM]

    def lose_stream(self) -> None:
        self.world.stream.jid = ""
        self.world.stream.lost()

    def open_stream(self) -> Stanza:
        """There is a stream again; return the join that is sent."""
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        (join,) = self.world.stream.take()
        return join

    def refuse(self, condition: str, kind: str = "cancel", nick: str = "alice") -> None:
        self.world.room(
            f"<presence type='error' from='{ROOM}/{nick}' to='{STREAM}'>{ERROR.format(kind, condition)}</presence>"
        )

    def heard(self) -> list[str]:
        """What both sessions were given, which has to be the same."""
        phone, laptop = kinds(self.phone.take()), kinds(self.laptop.take())
        self.assertEqual(phone, laptop)
        return phone


class Acknowledged(Case):
    """When what a client said may be acknowledged to it (XEP-0198)."""

    def setUp(self) -> None:
        super().setUp()
        self.phone.managed = True
        self.world.stream.acknowledges = False

    def say(self, number: int) -> None:
        self.world.client(self.phone, f"<message to='{ROOM}' type='groupchat' id='{number}'><body>x</body></message>")

    def test_when_the_server_has_it(self) -> None:
        self.say(1)
        self.assertGreater(self.phone.held, 0)
        self.server_acknowledges()
        self.assertEqual(self.phone.held, 0)

    def server_acknowledges(self) -> None:
        while self.world.stream.waiting:
            self.world.stream.waiting.pop()()

    def test_what_is_answered_here_waits_for_nothing_else(self) -> None:
        self.world.client(self.phone, f"<iq type='get' id='1' to='{BARE}'><query xmlns='{DISCO}'/></iq>")
        self.assertEqual((self.phone.held, self.world.stream.waiting), (0, []))

    def test_for_a_client_that_does_not_ask_for_that_nothing_is_held(self) -> None:
        self.phone.managed = False
        self.say(1)
        self.assertEqual(self.phone.held, 0)

    def test_not_while_the_account_is_on_its_way_back(self) -> None:
        self.lose_stream()
        self.say(1)
        self.world.stream.waiting.pop()()
        self.assertEqual(self.phone.held, 1)
        self.open_stream()
        self.world.comes_back()
        self.assertEqual(self.phone.held, 1)
        self.server_acknowledges()
        self.assertEqual(self.phone.held, 0)

    def test_when_its_sender_is_told_that_it_was_not_sent(self) -> None:
        self.lose_stream()
        self.say(1)
        self.world.stream.waiting.pop()()
        self.world.clock.advance(61)
        self.assertEqual(self.phone.held, 0)


class StreamLost(Case):
    def test_nothing_is_shown_and_the_stream_is_asked_for(self) -> None:
        self.lose_stream()
        self.assertEqual((self.heard(), self.world.stream.reopening), ([], 1))
        self.assertIs(self.occupancy.state, State.INTERRUPTED)

    def test_join_again(self) -> None:
        self.world.clock.advance(1000)
        self.world.stream.take()
        self.world.says("bob", "hello")
        self.heard()
        self.lose_stream()
        self.world.clock.advance(100)
        join = self.open_stream()
        self.assertEqual((join["to"], join.get("type")), (f"{ROOM}/alice", None))
        self.assertIn(b"<history since='2023-11-14T22:29:00.000Z'/>", join.raw)  # a minute before the last message

    def test_nothing_changed_nothing_shown(self) -> None:
        self.lose_stream()
        self.open_stream()
        self.world.comes_back()
        self.assertEqual(self.heard(), [])
        self.assertIs(self.occupancy.state, State.JOINED)

    def test_a_session_that_fails(self) -> None:
        """What the room has shown before is kept no more, whoever fails to be shown what is new."""
        told = self.occupancy._context.told
        before = len(told)
        self.lose_stream()
        self.open_stream()
        self.patch(FakeSession, "deliver_all", lambda _session, _stanzas: 1 / 0)
        self.assertRaises(ZeroDivisionError, self.world.comes_back, "carol")
        self.assertEqual(len(told), before, "carol is there, and bob is not")

    def test_who_left_and_who_came(self) -> None:
        self.lose_stream()
        self.open_stream()
        self.world.comes_back("carol", "dan")
        self.assertEqual(self.heard(), ["unavailable bob", "presence carol", "presence dan"])

    def test_the_difference_is_made_when_a_client_takes_it(self) -> None:
        """A room may have tens of thousands of occupants, and be gone and back by two stanzas."""
        self.phone.slow = True
        self.lose_stream()
        self.open_stream()
        self.world.comes_back("carol", "dan")
        self.assertEqual(kinds(self.phone.take()), [])
        self.assertEqual(kinds(self.laptop.take()), ["unavailable bob", "presence carol", "presence dan"])

    def test_live_from_the_own_presence_on(self) -> None:
        self.lose_stream()
        self.open_stream()
        self.world.comes_back()
        self.world.says("bob", "hello")
        self.world.gone("bob")
        self.assertEqual(self.heard(), ["bob: hello", "unavailable bob"])

    def test_missed_messages_once(self) -> None:
        self.world.says("bob", "one", "<stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.test' id='s1'/>", "1")
        self.heard()
        self.lose_stream()
        self.open_stream()
        self.world.shows("bob")
        self.world.shows("alice", "100 110")
        delay = "<delay xmlns='urn:xmpp:delay' from='room@muc.test' stamp='2023-11-14T22:13:21Z'/>"
        for number, body in enumerate(("one", "two"), 1):
            sid = f"<stanza-id xmlns='urn:xmpp:sid:0' by='room@muc.test' id='s{number}'/>"
            self.world.says("bob", body, sid + delay, str(number))
        self.world.tells_of_itself()
        self.world.subject("topic")
        self.assertEqual(self.heard(), ["bob: two"])

    def test_subject_changed(self) -> None:
        self.lose_stream()
        self.open_stream()
        self.world.comes_back(subject="other")
        self.assertEqual(self.heard(), ["subject other"])

    def test_role_changed(self) -> None:
        self.lose_stream()
        self.open_stream()
        self.world.shows("bob")
        self.world.room(
            f"<presence from='{ROOM}/alice' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc#user'>"
            "<item affiliation='owner' role='moderator'/><status code='110'/><status code='100'/></x></presence>"
        )
        self.world.tells_of_itself()
        self.assertEqual(self.heard(), ["presence alice 110"])

    def test_what_sessions_say_waits(self) -> None:
        self.lose_stream()
        self.world.client(self.phone, f"<message type='groupchat' to='{ROOM}' id='m'><body>hello</body></message>")
        self.world.client(self.phone, f"<iq type='get' to='{ROOM}/bob' id='i'><q xmlns='urn:q'/></iq>")
        self.assertEqual(self.world.stream.take(), [])
        self.open_stream()
        self.world.shows("bob")
        self.world.shows("alice", "100 110")
        self.assertEqual(self.world.tells_of_itself(), [])
        self.world.subject("topic")
        self.assertEqual([stanza.name for stanza in self.world.stream.take()], ["message", "iq"])

    def test_it_does_not_wait_for_ever(self) -> None:
        self.lose_stream()
        self.world.client(self.phone, f"<message type='groupchat' to='{ROOM}' id='m'><body>hello</body></message>")
        self.world.clock.advance(60)
        (error,) = self.phone.take()
        self.assertEqual((error["type"], error["id"], error["from"]), ("error", "m", ROOM))
        self.assertIn(b"<remote-server-timeout", error.raw)

    def test_not_too_much_waits(self) -> None:
        self.lose_stream()
        for number in range(101):
            self.world.client(self.phone, f"<message to='{ROOM}/bob' id='{number}'><body>.</body></message>")
        self.assertEqual([error["id"] for error in self.phone.take()], ["100"])

    def test_each_waits_for_its_own_time(self) -> None:
        before = self.world.account.sessions.budget.used
        self.lose_stream()
        for stanza_id in "12":
            message = f"<message type='groupchat' to='{ROOM}' id='{stanza_id}'><body>x</body></message>"
            self.world.client(self.phone, message)
            self.world.clock.advance(30)
        self.assertEqual([(one["type"], one["id"]) for one in self.phone.take()], [("error", "1")])
        self.world.clock.advance(29)
        self.assertEqual(self.phone.take(), [])
        self.world.clock.advance(1)
        self.assertEqual([(one["type"], one["id"]) for one in self.phone.take()], [("error", "2")])
        self.assertEqual((self.world.account.sessions.budget.used, len(self.occupancy.outbox)), (before, 0))

    def test_not_too_many_bytes_wait(self) -> None:
        self.lose_stream()
        for number in range(3):
            body = f"<body>{'x' * 100_000}</body>"
            self.world.client(self.phone, f"<message type='groupchat' to='{ROOM}' id='{number}'>{body}</message>")
        self.assertEqual([(one["type"], one["id"]) for one in self.phone.take()], [("error", "2")])
        self.world.client(self.phone, f"<message type='groupchat' to='{ROOM}' id='3'><body>short</body></message>")
        self.assertEqual(self.phone.take(), [])

    def test_a_session_that_joins_meanwhile_waits(self) -> None:
        self.lose_stream()
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.assertEqual(kinds(tablet.received), [])
        self.open_stream()
        self.world.comes_back("carol")
        self.assertEqual(kinds(tablet.received), ["presence carol", "presence alice 100 110", "subject topic"])

    def test_a_session_that_joins_does_not_wait_for_ever(self) -> None:
        self.lose_stream()
        tablet = self.world.session("tablet")
        self.world.asks_to_join(tablet)
        self.world.clock.advance(60)
        self.assertEqual(kinds(tablet.received), ["error alice"])

    def test_a_session_that_leaves_meanwhile(self) -> None:
        self.lose_stream()
        self.world.leaves(self.phone)
        self.world.leaves(self.laptop)
        self.world.clock.advance(3)
        self.assertEqual(self.heard(), ["unavailable alice 110"])
        self.assertEqual((self.world.account.rooms, self.world.stream.take()), ({}, []))

    def test_a_leave_in_its_grace_is_a_leave(self) -> None:
        self.world.leaves(self.phone)
        self.world.leaves(self.laptop)
        self.lose_stream()
        self.assertEqual((self.world.account.rooms, self.world.stream.take()), ({}, []))

    def test_first_join_is_refused(self) -> None:
        world = World()
        phone = world.session("phone")
        world.asks_to_join(phone)
        world.stream.lost()
        self.assertEqual((kinds(phone.received), world.account.rooms), (["error alice"], {}))

    def test_lost_again_on_the_way(self) -> None:
        self.lose_stream()
        self.open_stream()
        self.world.shows("carol")
        self.lose_stream()
        self.open_stream()
        self.world.comes_back()
        self.assertEqual(self.heard(), [])

    def test_lost_again_while_the_archive_is_read(self) -> None:
        """What was said behind the gap must not hide it: the next reading begins where this one did."""
        self.lose_stream()
        self.open_stream()
        self.world.shows("alice", "100 110", item=f"jid='{STREAM}'")
        self.world.tells_of_itself("urn:xmpp:mam:2")
        self.world.subject("topic")
        self.world.says("bob", "behind the gap")
        self.lose_stream()
        self.assertEqual(self.occupancy.history.newest, (None, None))
        self.assertNotIn("bob: behind the gap", self.heard())

    def test_what_is_said_while_it_is_out_hides_no_gap(self) -> None:
        """The room may have let it in behind its back: two streams in a row have the same address."""
        self.says_with_id("s1", "one")
        self.lose_stream()
        self.world.clock.advance(10)  # "two" is said meanwhile
        self.open_stream()
        self.world.gone("alice", "110")
        self.says_with_id("s3", "three")
        self.says_with_id("s4", "four")
        self.assertEqual(self.heard(), ["bob: one", "bob: three", "bob: four"])
        self.assertEqual(self.occupancy.membership.missing_since, ("s1", 1_700_000_000.0), "known after a restart")
        self.world.clock.advance(2)
        (join,) = self.world.stream.take()
        self.assertIn(b"<history since='2023-11-14T22:12:20.000Z'/>", join.raw, "a minute before the gap")
        self.world.shows("bob")
        self.world.shows("alice", "100 110", item=f"jid='{STREAM}'")
        self.world.tells_of_itself(MAM)
        self.world.subject("topic")
        self.archive_answers("one", "two", "three", "four", ids=("s1", "s2", "s3", "s4"))
        self.assertEqual(self.heard(), ["bob: two"])
        self.assertIsNone(self.occupancy.membership.missing_since)

    def says_with_id(self, stanza_id: str, body: str) -> None:
        self.world.says("bob", body, f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='{stanza_id}'/>", body)

    def archive_answers(self, *bodies: str, ids: Sequence[str] = ()) -> None:
        """The archive is asked, and has these messages; none: it cannot be read now."""
        (query,) = [stanza for stanza in self.world.stream.take() if stanza.has_payload(MAM, "query")]
        query_id = query.element.query["queryid"]
        for number, body in enumerate(bodies):
            identity = ids[number] if ids else f"a{number}"
            self.world.room(
                f"<message from='{ROOM}' to='{STREAM}'><result xmlns='{MAM}' id='{identity}' queryid='{query_id}'>"
                "<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='2023-11-14T22:13:25Z'/>"
                f"<message xmlns='jabber:client' type='groupchat' from='{ROOM}/bob' id='b{number}'><body>{body}</body>"
                "</message></forwarded></result></message>"
            )
        answer = f"<fin xmlns='{MAM}' complete='true'/>" if bodies else ERROR.format("wait", "resource-constraint")
        kind = "result" if bodies else "error"
        self.world.room(f"<iq type='{kind}' from='{ROOM}' to='{STREAM}' id='{query['id']}'>{answer}</iq>")

    def come_back_without_the_archive(self) -> None:
        self.lose_stream()
        self.open_stream()
        self.world.shows("bob")
        self.world.shows("alice", "100 110", item=f"jid='{STREAM}'")
        self.world.subject("topic")
        for wait in (0, 1, 2, 4):
            self.world.clock.advance(wait)
            self.world.tells_of_itself(MAM, keep=True)
            self.archive_answers()
        self.assertIs(self.occupancy.state, State.JOINED)

    def test_an_archive_that_cannot_be_read_is_read_later(self) -> None:
        self.come_back_without_the_archive()
        self.world.says("bob", "live")
        self.assertEqual(self.heard(), ["bob: live"])
        self.world.clock.advance(90)
        self.archive_answers("missed")
        self.assertEqual(self.heard(), ["bob: missed"])
        self.world.clock.advance(250)
        self.assertEqual([stanza for stanza in self.world.stream.take() if stanza.has_payload(MAM, "query")], [])

    def test_what_is_missing_is_known_after_a_restart(self) -> None:
        """As long as anything is: what is said behind it must not hide it."""
        self.assertIsNone(self.occupancy.membership.missing_since)
        self.lose_stream()
        self.open_stream()
        self.assertIsNone(self.occupancy.membership.missing_since)
        self.world.shows("alice", "100 110", item=f"jid='{STREAM}'")
        self.assertEqual(self.occupancy.membership.missing_since, (None, 1_700_000_000.0))
        self.world.tells_of_itself()
        self.come_back_without_the_archive()
        self.world.says("bob", "live")
        self.assertEqual(self.occupancy.membership.missing_since, (None, 1_700_000_000.0))
        self.world.clock.advance(90)
        self.assertEqual(self.occupancy.membership.missing_since, (None, 1_700_000_000.0))
        self.archive_answers("missed")
        self.assertIsNone(self.occupancy.membership.missing_since)

    def test_an_archive_that_answers_when_the_account_is_out_again(self) -> None:
        """What it tells is told on the return, with what was said since: the gap is not closed before."""
        self.come_back_without_the_archive()
        self.world.clock.advance(90)
        self.world.gone("alice", "110 332")
        self.archive_answers("missed")
        self.assertEqual((self.heard(), self.occupancy.history.newest), ([], (None, None)))
        self.world.clock.advance(2)
        (join,) = [one for one in self.world.stream.take() if one.name == "presence"]
        self.assertIn(b"<history since='2023-11-14T22:12:20.000Z'/>", join.raw)

    def test_an_archive_that_cannot_be_read_for_long(self) -> None:
        self.come_back_without_the_archive()
        self.world.clock.advance(90)
        self.archive_answers()
        self.world.says("bob", "live")
        self.lose_stream()
        self.world.clock.advance(1000)
        join = self.open_stream()
        self.assertIn(b"<history since='2023-11-14T22:12:20.000Z'/>", join.raw)  # where the gap begins, not the last

    def test_refused_login(self) -> None:
        self.lose_stream()
        self.world.stream.lost(refused=True)
        self.assertEqual(self.heard(), ["unavailable alice 110 307 333"])
        self.assertIn(ROOM, self.world.account.rooms)
        self.open_stream()
        self.world.comes_back()
        self.world.asks_to_join(self.phone)
        self.assertEqual(kinds(self.phone.received), ["presence bob", "presence alice 100 110", "subject topic"])

    def test_room_made_anew_is_unlocked(self) -> None:
        self.lose_stream()
        self.open_stream()
        self.world.shows("alice", "100 110 201")
        (configuration,) = self.world.tells_of_itself()
        self.assertEqual((configuration.name, configuration["to"], configuration["type"]), ("iq", ROOM, "set"))
        self.assertEqual(self.heard(), ["unavailable bob"])

    def test_what_the_owner_is_told_of_a_room_made_anew(self) -> None:
        """The operator reads of it if it may be locked: it was refused, or nobody answered."""
        for kind, warned in (("result", 0), ("error", 1), ("", 1)):
            self.setUp()
            warnings: list[LogEvent] = []
            self.patch(RejoinAttempt, "log", Logger("test", observer=Observer(warnings.append)))
            self.lose_stream()
            self.open_stream()
            self.world.shows("alice", "100 110 201")
            (configuration,) = self.world.tells_of_itself()
            if kind:
                self.world.room(f"<iq type='{kind}' from='{ROOM}' to='{STREAM}' id='{configuration['id']}'/>")
            else:
                self.lose_stream()
            self.assertEqual(len([one for one in warnings if "locked" in str(one)]), warned, kind)

    def test_what_is_said_before_the_own_presence(self) -> None:
        """Rooms say nothing then, but who knows: it is asked for again, and is no fault of ours."""
        self.lose_stream()
        self.open_stream()
        self.world.says("bob", "early", stanza_id="early")
        self.world.subject("early")
        self.assertEqual(self.heard(), [])
        self.world.comes_back()
        self.assertEqual(self.heard(), [])

    def test_shown_out_while_something_waits(self) -> None:
        """Whoever is shown out is told what of theirs was not said; the others' is said, and of those who are gone."""
        for way, told, again in (
            (lambda: self.world.account.detach_device(self.phone, ROOM), ["1"], ["2"]),
            (lambda: self.world.account.detach_device(self.phone, None), ["1"], ["2"]),
            (lambda: self.world.account.session_closed(self.phone), [], ["1", "2"]),
            (lambda: self.world.leaves(self.phone), ["1"], ["2"]),
        ):
            self.setUp()
            self.lose_stream()
            for session, stanza_id in ((self.phone, "1"), (self.laptop, "2")):
                xml = f"<message type='groupchat' to='{ROOM}' id='{stanza_id}'><body>x</body></message>"
                self.world.client(session, xml)
            way()
            errors = [one for one in self.phone.take() if one.name == "message"]
            self.assertEqual([one["id"] for one in errors if one["type"] == "error"], told)
            self.assertEqual(len(errors), len(told))
            self.open_stream()
            for nick, codes in (("bob", ""), ("alice", "110")):
                self.world.shows(nick, codes)
            self.world.tells_of_itself(keep=True)
            self.world.subject("topic")
            said = [one["id"] for one in self.world.stream.take() if one.name == "message"]
            self.assertEqual(said, again)


class SilentlyOut(Case):
    def test_again_and_again(self) -> None:
        """A client's ping that the room takes for a stranger's brings the account back, but not round and round."""
        self.world.clock.advance(100)
        self.world.client(self.phone, f"<iq type='get' id='p' to='{ROOM}/alice'><ping xmlns='urn:xmpp:ping'/></iq>")
        joins = 0
        for _ in range(200):
            joins += self.room_answers()
            self.world.clock.advance(0.1)
        self.assertTrue(2 <= joins <= 10, joins)

    def room_answers(self) -> int:
        """Let the account in, refuse what it shows, and each ping, as if it was not there. Return how many joins."""
        joins, not_there = 0, ERROR.format("cancel", "not-acceptable")
        for asked in self.world.stream.take():
            if asked.name == "presence":
                joins += 1
                self.world.shows("alice", "100 110")
                self.world.subject("topic")
                refusal = f"type='error' from='{ROOM}/alice' to='{STREAM}' id='x'"
                self.world.room(f"<presence {refusal}>{not_there}</presence>")
            elif asked.has_payload("urn:xmpp:ping", "ping"):
                answer = f"type='error' from='{ROOM}/alice' to='{STREAM}' id='{asked['id']}'"
                self.world.room(f"<iq {answer}>{not_there}</iq>")
            else:
                self.world.stream.sent.append(asked)
                self.world.tells_of_itself()
        return joins


class RemovedByFault(Case):
    def test_table(self) -> None:
        for codes in ("332", "333", "307 333", ""):
            world = World()
            (phone,) = world.joined("phone")
            world.gone("alice", f"110 {codes}")
            self.assertEqual((phone.received, world.stream.take()), ([], []))
            world.clock.advance(2)
            (join,) = world.stream.take()
            self.assertEqual(join["to"], f"{ROOM}/alice", codes)
            world.comes_back("carol")
            self.assertEqual(kinds(phone.received), ["unavailable bob", "presence carol"])

    def test_waits_grow(self) -> None:
        self.world.gone("alice", "110 332")
        attempts = []
        for second in range(400):
            self.world.clock.advance(1)
            if self.world.stream.take():
                attempts.append(second)
                self.refuse("service-unavailable")
        self.assertTrue(5 <= len(attempts) <= 10, attempts)

    def test_no_answer(self) -> None:
        self.world.gone("alice", "110 332")
        self.world.clock.advance(2)
        self.world.stream.take()
        self.world.clock.advance(60)
        self.assertIs(self.occupancy.state, State.INTERRUPTED)
        self.world.clock.advance(4)
        self.assertEqual(len(self.world.stream.take()), 1)

    def test_no_rejoin_where_it_is_meant(self) -> None:
        for condition in ("forbidden", "registration-required", "not-authorized", "gone"):
            world = World()
            (phone,) = world.joined("phone")
            world.gone("alice", "110 332")
            tablet = world.session("tablet")
            world.asks_to_join(tablet)
            refusal = ERROR.format("auth", condition)
            for attempt in range(2 if condition == "forbidden" else 1):
                self.assertEqual(kinds(phone.received), [], attempt)
                world.stream.take()
                world.room(f"<presence type='error' from='{ROOM}/alice' to='{STREAM}'>{refusal}</presence>")
                if condition == "forbidden":
                    self.service_answers(world, "result")
            self.assertEqual(kinds(phone.received), ["unavailable alice 110 307 333"])
            self.assertEqual(kinds(tablet.received), ["error alice"])
            self.assertIn(condition.encode(), tablet.received[0].raw)
            self.assertEqual(world.account.rooms, {})

    def service_answers(self, world: World, kind: str) -> None:
        """What it is asked when a join was forbidden: whether it is there."""
        service = ROOM.partition("@")[2]
        (query,) = [stanza for stanza in world.stream.take() if stanza.get("to") == service]
        world.room(f"<iq type='{kind}' from='{service}' to='{STREAM}' id='{query['id']}'/>")

    def test_forbidden_by_a_server_whose_room_service_is_down(self) -> None:
        self.world.gone("alice", "110 332")
        self.world.clock.advance(2)
        self.world.stream.take()
        self.refuse("forbidden", "auth")
        self.service_answers(self.world, "error")
        self.assertEqual(self.heard(), [])
        self.assertIs(self.occupancy.state, State.INTERRUPTED)
        self.world.clock.advance(10)
        (join,) = self.world.stream.take()
        self.assertEqual((join.name, join["to"]), ("presence", f"{ROOM}/alice"))

    def test_forbidden_by_a_server_whose_room_service_just_comes_back(self) -> None:
        """It is there when it is asked; so the account tries once more, and again after an end of the stream."""
        for _round in range(2):
            self.world.gone("alice", "110 332")
            self.world.clock.advance(10)
            self.world.stream.take()
            self.refuse("forbidden", "auth")
            self.service_answers(self.world, "result")
            (join,) = self.world.stream.take()
            self.assertEqual((join.name, join["to"]), ("presence", f"{ROOM}/alice"))
        self.world.comes_back()
        self.assertEqual(self.heard(), [])

    def test_asked_for_by_a_session(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        world.client(phone, f"<presence type='error' to='{ROOM}/alice'/>")
        world.gone("alice", "110 307 333")
        self.assertEqual((kinds(phone.received), world.account.rooms), (["unavailable alice 110 307 333"], {}))


class Nick(Case):
    def come_back_as(self, nick: str) -> None:
        self.lose_stream()
        self.open_stream()
        self.refuse("conflict")
        self.no_nick_is_registered()
        (join,) = self.world.stream.take()
        self.assertEqual(join["to"], f"{ROOM}/{nick}")
        self.world.shows("bob")
        self.world.shows("alice")
        self.world.shows(nick, "100 110")
        self.world.tells_of_itself()
        self.world.subject("topic")

    def no_nick_is_registered(self) -> None:
        for peer in (ROOM, ROOM.partition("@")[2]):
            (query,) = self.world.stream.take()
            self.assertEqual(query["to"], peer)
            self.world.room(f"<iq type='error' from='{peer}' to='{STREAM}' id='{query['id']}'/>")

    def test_registered_nick(self) -> None:
        self.lose_stream()
        self.open_stream()
        self.refuse("not-acceptable")
        (query,) = self.world.stream.take()
        self.world.room(
            f"<iq type='result' from='{ROOM}' to='{STREAM}' id='{query['id']}'><query xmlns='{DISCO}' "
            "node='x-roomuser-item'><identity category='conference' type='text' name='liz'/></query></iq>"
        )
        (join,) = self.world.stream.take()
        self.assertEqual(join["to"], f"{ROOM}/liz")
        self.world.shows("bob")
        self.world.shows("liz", "100 110")
        self.world.tells_of_itself()
        self.world.subject("topic")
        self.assertEqual(self.heard(), ["unavailable alice 303 110", "presence liz 110"])
        self.assertEqual(self.occupancy.membership.wished_nick, "liz")

    def test_fallback(self) -> None:
        self.come_back_as("alice_")
        self.assertEqual(self.heard(), ["unavailable alice 303 110", "presence alice", "presence alice_ 110"])
        self.assertEqual(self.occupancy.membership.wished_nick, "alice")

    def test_wished_nick_when_it_is_free(self) -> None:
        self.come_back_as("alice_")
        self.world.stream.take()
        self.heard()
        self.world.gone("alice")
        (change,) = self.world.stream.take()
        self.assertEqual((change["to"], change.get("type")), (f"{ROOM}/alice", None))
        self.world.gone("alice_", "303 110", item="nick='alice'")
        self.world.shows("alice", "110")
        self.assertEqual(self.heard(), ["unavailable alice", "unavailable alice_ 303 110", "presence alice 110"])
        self.world.clock.advance(200)
        self.assertEqual(self.world.stream.take(), [])

    def test_a_nick_that_is_free_again_and_again(self) -> None:
        """Whatever a room shows, it does not decide how much the account says: that would cost it other rooms."""
        self.come_back_as("alice_")
        self.world.stream.take()
        for _ in range(500):
            self.world.gone("alice")
        self.assertEqual([stanza["to"] for stanza in self.world.stream.take()], [f"{ROOM}/alice"])
        self.world.clock.advance(1)
        self.assertEqual([stanza["to"] for stanza in self.world.stream.take()], [f"{ROOM}/alice"])
        self.world.clock.advance(2)
        self.assertEqual(self.world.stream.take(), [])

    def test_asked_for_from_time_to_time(self) -> None:
        self.come_back_as("alice_")
        self.world.stream.take()
        self.heard()
        self.world.clock.advance(60)
        self.assertEqual([stanza["to"] for stanza in self.world.stream.take()], [f"{ROOM}/alice"])
        self.refuse("conflict")
        self.assertEqual(self.heard(), [])

    def test_when_a_join_changes_the_nick(self) -> None:
        """Only a later device's wish for another nick, and only where the configuration says so."""
        for setting, nick, expected in (
            ("change", "liz", [f"{ROOM}/liz"]),
            ("change", "alice", []),
            ("keep", "liz", []),
        ):
            world = World(nick_on_join=setting)
            world.joined("phone")
            world.asks_to_join(world.session("tablet"), nick)
            self.assertEqual([one["to"] for one in world.stream.take()], expected, f"{setting} {nick}")
        world = World(nick_on_join="change")
        world.asks_to_join(world.session("phone"), "liz")
        world.stream.take()
        world.shows("elizabeth", "110 210")
        world.subject()
        self.assertEqual(world.stream.take(), [], "the room has given another: that is its last word")

    def test_a_nick_that_a_session_asked_for_is_the_one_to_keep(self) -> None:
        self.come_back_as("alice_")
        self.world.client(self.phone, f"<presence to='{ROOM}/liz' id='n'/>")
        self.world.gone("alice_", "303 110", item="nick='liz'")
        self.world.shows("liz", "110")
        self.assertEqual(self.occupancy.membership.wished_nick, "liz")

    def test_enough_of_other_nicks(self) -> None:
        self.lose_stream()
        self.open_stream()
        tried = []
        self.refuse("conflict")
        self.no_nick_is_registered()
        for _ in range(5):
            tried += [stanza["to"].partition("/")[2] for stanza in self.world.stream.take()]
            self.refuse("conflict", nick=tried[-1])
        self.assertEqual(tried, ["alice_", "alice__", "alice___", "alice____"])
        self.world.clock.advance(2)
        self.assertEqual([stanza["to"] for stanza in self.world.stream.take()], [f"{ROOM}/alice"])

    def test_another_nick_on_join_changes_it_where_wanted(self) -> None:
        world = World(nick_on_join="change")
        world.joined("phone")
        laptop = world.session("laptop")
        world.asks_to_join(laptop, "liz")
        self.assertEqual([stanza["to"] for stanza in world.stream.take()], [f"{ROOM}/liz"])
        world.gone("alice", "303 110", item="nick='liz'")
        world.shows("liz", "110")
        self.assertEqual(
            kinds(laptop.received)[1:],
            ["presence alice 100 110 210", "subject topic", "unavailable alice 303 110", "presence liz 110"],
        )


class SelfCheck(Case):
    def setUp(self) -> None:
        super().setUp()
        self.world.clock.advance(300)

    def answer(self, condition: str) -> None:
        (ping,) = self.world.stream.take()
        self.assertEqual((ping.name, ping["to"]), ("iq", f"{ROOM}/alice"))
        self.assertIn(b"urn:xmpp:ping", ping.raw)
        error = ERROR.format("cancel", condition) if condition else ""
        kind = "error" if condition else "result"
        self.world.room(f"<iq type='{kind}' from='{ROOM}/alice' to='{STREAM}' id='{ping['id']}'>{error}</iq>")

    def test_joined(self) -> None:
        for condition in ("", "service-unavailable", "feature-not-implemented"):
            self.answer(condition)
            self.assertEqual(self.world.stream.take(), [])
            self.world.clock.advance(300)

    def test_says_nothing(self) -> None:
        self.answer("remote-server-timeout")
        self.assertEqual(self.world.stream.take(), [])
        self.assertIs(self.occupancy.state, State.JOINED)

    def test_out(self) -> None:
        self.answer("not-acceptable")
        (join,) = self.world.stream.take()
        self.assertEqual(join["to"], f"{ROOM}/alice")
        self.world.comes_back()
        self.assertEqual(self.heard(), [])

    def test_doubtful(self) -> None:
        """`item-not-found` is a nick that has just changed, or no room at all: asked twice, it is the latter."""
        self.answer("item-not-found")
        self.assertIs(self.occupancy.state, State.JOINED)
        self.world.clock.advance(10)
        self.answer("item-not-found")
        self.assertIs(self.occupancy.state, State.REJOINING)

    def changes_nick(self, nick: str) -> None:
        self.world.client(self.phone, f"<presence to='{ROOM}/{nick}'/>")
        self.world.stream.take()
        self.world.gone(self.occupancy.nick, "303 110", item=f"nick='{nick}'")
        self.world.shows(nick, "110")

    def not_found(self, ping: Stanza) -> None:
        error = ERROR.format("cancel", "item-not-found")
        self.world.room(f"<iq type='error' from='{ping['to']}' to='{STREAM}' id='{ping['id']}'>{error}</iq>")

    def test_what_is_said_of_a_former_nick(self) -> None:
        """A ping crosses a change of nick: the room knows nobody of that name, and the account is in it."""
        (ping,) = self.world.stream.take()
        self.changes_nick("liz")
        self.not_found(ping)
        self.world.clock.advance(10)
        self.assertEqual(self.world.stream.take(), [], "no second look either")

    def test_in_doubt_about_one_nick_and_then_another(self) -> None:
        (ping,) = self.world.stream.take()
        self.not_found(ping)
        self.changes_nick("liz")
        self.world.clock.advance(10)
        (ping,) = self.world.stream.take()
        self.assertEqual(ping["to"], f"{ROOM}/liz")
        self.not_found(ping)
        self.assertIs(self.occupancy.state, State.JOINED, "of that nick it is the first doubt")
        self.world.clock.advance(10)
        (ping,) = self.world.stream.take()
        self.not_found(ping)
        self.assertIs(self.occupancy.state, State.REJOINING)

    def test_a_refused_presence_proves_nothing(self) -> None:
        """Prosody does not know the account any more, and says so to each presence: that is no sign of being in."""
        self.answer("")
        self.world.clock.advance(100)
        self.refuse("item-not-found")
        self.world.client(self.phone, f"<iq type='get' to='{ROOM}/alice' id='p'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.assertEqual(self.phone.take(), [], "not answered here")
        pings = self.world.stream.take()
        self.assertEqual([ping["to"] for ping in pings], [f"{ROOM}/alice"] * 2, "the account asks, and the client")
        self.world.room(
            f"<iq type='error' from='{ROOM}/alice' to='{STREAM}' id='{pings[0]['id']}'>"
            f"{ERROR.format('cancel', 'not-acceptable')}</iq>"
        )
        self.assertIs(self.occupancy.state, State.REJOINING)

    def test_a_refused_message_proves_nothing(self) -> None:
        self.answer("")
        self.world.clock.advance(100)
        self.world.client(self.phone, f"<message type='groupchat' to='{ROOM}' id='m'><body>hello</body></message>")
        self.world.stream.take()
        error = ERROR.format("cancel", "not-acceptable")
        bounce = f"<message type='error' from='{ROOM}' to='{STREAM}' id='m'>{error}</message>"
        self.world.room(bounce)
        self.assertEqual([one.name for one in self.phone.take()], ["message"])
        self.world.room(bounce)
        self.answer("not-acceptable")
        self.assertIs(self.occupancy.state, State.REJOINING)

    def test_refusals_do_not_make_it_ask_again_and_again(self) -> None:
        self.answer("")
        for _ in range(20):
            self.world.clock.advance(1)
            self.refuse("resource-constraint", "wait")
        self.assertEqual(len(self.world.stream.take()), 2)

    def test_not_while_the_room_speaks(self) -> None:
        self.answer("")
        for _ in range(10):
            self.world.clock.advance(250)
            self.world.says("bob", "hello")
        self.assertEqual(self.world.stream.take(), [])


class AfterARestart(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        message = f"<message type='groupchat' id='1' from='{ROOM}/bob' to='{STREAM}'><body>one</body></message>"
        private = f"<message type='chat' id='p' from='{ROOM}/bob' to='{STREAM}'><body>psst</body></message>"
        membership = KeptMembership("alice", "alice", "secret", since=1_699_999_000.0)
        room = KeptRoom(
            ROOM,
            membership,
            [KeptMessage(5, 1_699_999_500.0, message.encode(), stamped=False)],
            {"phone": 4, "laptop": 5},
            [KeptPrivate(6, private.encode())],
        )
        self.world.account.restore(KeptAccount(BARE, None, refused=False, last_seen=1_699_999_900.0, rooms=[room]))

    def back(self) -> Stanza:
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        (join,) = self.world.stream.take()
        return join

    def joins(self, resource: str) -> FakeSession:
        session = self.world.session(resource)
        self.world.asks_to_join(session)
        return session

    def test_before_any_client(self) -> None:
        join = self.back()
        self.assertEqual(join["to"], f"{ROOM}/alice")
        self.assertIn(b"<password>secret</password>", join.raw)
        self.assertIn(b"<show>away</show>", join.raw)
        self.world.comes_back()
        self.assertIs(self.world.account.rooms[ROOM].state, State.JOINED)

    def test_what_was_missing_before_is_still_to_be_read(self) -> None:
        """The archive could not be read in time, and the proxy ended before it asked again."""
        self.world = World()
        membership = KeptMembership("alice", "alice", missing_since=("s3", 1_699_999_100.0))
        said = f"<message type='groupchat' id='1' from='{ROOM}/bob' to='{STREAM}'><body>behind it</body></message>"
        kept = [KeptMessage(5, 1_699_999_500.0, said.encode(), stamped=False, stanza_id="s5")]
        room = KeptRoom(ROOM, membership, kept)
        self.world.account.restore(KeptAccount(BARE, None, refused=False, last_seen=1_699_999_900.0, rooms=[room]))
        self.assertIn(b"<history since='2023-11-14T21:57:20.000Z'/>", self.back().raw)
        self.world.shows("alice", "100 110", item=f"jid='{STREAM}'")
        self.world.tells_of_itself(MAM)
        (query,) = [one for one in self.world.stream.take() if one.has_payload(MAM, "query")]
        self.assertIn(b"<value>2023-11-13T21:58:20.000Z</value>", query.raw)  # a day before what is known, for clocks

    def test_each_client_gets_what_it_has_not_seen(self) -> None:
        self.back()
        self.world.comes_back()
        start = ["presence bob", "presence alice 100 110"]
        self.world.account.rooms[ROOM].history.at_least = 0  # what it has not seen, and nothing beside it
        self.assertEqual(kinds(self.joins("phone").received), [*start, "bob: one", "subject topic", "bob: psst"])
        self.assertEqual(kinds(self.joins("laptop").received), [*start, "subject topic"])

    def test_a_client_that_is_earlier_waits(self) -> None:
        phone = self.joins("phone")
        self.assertEqual(phone.received, [])
        self.back()
        self.world.comes_back()
        self.assertEqual(len(phone.received), 5)

    def test_time_without_clients_goes_on(self) -> None:
        world = World(stay=200.0)
        kept = KeptRoom(ROOM, KeptMembership("alice", "alice"))
        world.account.restore(KeptAccount(BARE, None, refused=False, last_seen=1_699_999_900.0, rooms=[kept]))
        world.clock.advance(99)
        self.assertIn(ROOM, world.account.rooms)
        world.clock.advance(1)
        self.assertEqual((world.account.rooms, world.times_idle), ({}, 1))


class ByItself(SynchronousTestCase):
    """What bookmarks and the account's owner ask for."""

    def test_enter(self) -> None:
        world = World()
        world.account.enter(ROOM, "alice", "secret")
        self.assertEqual(world.stream.reopening, 1)
        world.stream.jid = STREAM
        world.stream.opened()
        (join,) = world.stream.take()
        self.assertIn(b"<password>secret</password>", join.raw)
        world.comes_back()
        self.assertTrue(world.account.rooms[ROOM].membership.bookmarked)

    def test_enter_with_the_stream_open(self) -> None:
        world = World()
        world.stream.jid = STREAM
        world.account.enter(ROOM, "alice")
        self.assertEqual([stanza["to"] for stanza in world.stream.take()], [f"{ROOM}/alice"])

    def test_a_bookmark_keeps_the_account_in(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        world.account.set_bookmarked(ROOM, True)
        world.leaves(phone)
        world.clock.advance(10)
        self.assertEqual(kinds(phone.received), ["unavailable alice 110"])
        self.assertIn(ROOM, world.account.rooms)

    def test_leave(self) -> None:
        """Whoever did not ask for it is shown out as if kicked, and told why."""
        world = World()
        phone, laptop = world.joined("phone", "laptop")
        world.account.leave(ROOM)
        self.assertEqual([stanza["type"] for stanza in world.stream.take()], ["unavailable"])
        for session in (phone, laptop):
            (gone,) = session.received
            self.assertEqual(kinds([gone]), ["unavailable alice 110 307"])
            self.assertIn(b"<reason>The account has left this room: one of its devices told it to.</reason>", gone.raw)
        world.gone("alice", "110")
        self.assertEqual((len(phone.received), world.account.rooms), (1, {}))

    def test_forget(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        world.account.forget()
        (gone,) = phone.received
        self.assertEqual(kinds([gone]), ["unavailable alice 110 307"])
        self.assertIn(b"<reason>The account has left all of its rooms", gone.raw)

    def test_detach_device(self) -> None:
        world = World()
        phone, laptop = world.joined("phone", "laptop")
        world.account.detach_device(phone)
        world.says("bob", "hello")
        self.assertEqual(kinds(phone.received), ["unavailable alice 110 307"])
        self.assertIn(b"<reason>This device was detached", phone.received[0].raw)
        self.assertEqual(kinds(laptop.received), ["bob: hello"])


class Privates(SynchronousTestCase):
    def test_a_session_that_goes_before_it_could_take_them(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        world.account.session_closed(phone)
        for body in ("one", "two"):
            world.room(f"<message type='chat' from='{ROOM}/bob' to='{STREAM}'><body>{body}</body></message>")
        slow = world.session("slow")
        slow.slow = True
        world.asks_to_join(slow)
        world.account.session_closed(slow)
        laptop = world.session("laptop")
        world.asks_to_join(laptop)
        self.assertEqual(kinds(laptop.received)[-2:], ["bob: one", "bob: two"])

    def test_what_is_kept(self) -> None:
        """What is encrypted need not have a body; a chat state says nothing."""
        world = World()
        (phone,) = world.joined("phone")
        world.account.session_closed(phone)
        for number, inner in enumerate(
            (
                "<body>b</body>",
                "<encrypted xmlns='urn:xmpp:omemo:2'/>",
                "<active xmlns='http://jabber.org/protocol/chatstates'/>",
                "<encrypted xmlns='urn:other'/>",
            )
        ):
            world.room(f"<message type='chat' from='{ROOM}/bob' to='{STREAM}' id='{number}'>{inner}</message>")
        laptop = world.session("laptop")
        world.asks_to_join(laptop)
        private = [one["id"] for one in laptop.received if one.name == "message" and one.get("type") == "chat"]
        self.assertEqual(private, ["0", "1"])


class Snapshot(SynchronousTestCase):
    """What is in memory, for a database that had to do without it for a while."""

    def test_all_that_is_kept_and_nothing_that_is_not(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        world.says("bob", "one")
        world.account.session_closed(phone)
        world.room(f"<message type='chat' from='{ROOM}/bob' to='{STREAM}'><body>psst</body></message>")
        other = world.session("laptop")
        world.client(
            other, "<presence to='other@muc.test/alice'><x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
        (room,) = world.account.kept_rooms()
        self.assertEqual((room.room, room.membership.nick), (ROOM, "alice"))
        self.assertEqual(kinds([parse_stanza(message.raw) for message in room.messages]), ["bob: one"])
        self.assertEqual(kinds([parse_stanza(private.raw) for private in room.privates]), ["bob: psst"])
