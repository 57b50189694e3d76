"""What was under way to a room when the account stream was lost: shown by the room, sent again, or told to be lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.streams import Followed
from minimixproxy.minimix.room.in_flight import MAX_BYTES, MAX_FOLLOWED, REPEATED, UNANSWERED
from minimixproxy.minimix.room.outbox import PATIENCE, Outbox
from tests.minimix.fakes import ROOM, STREAM, FakeSession, World, kinds

MAM = "urn:xmpp:mam:2"
CLIENT = "xmlns='jabber:client'"
PAST = "2023-11-14T22:13:25Z"
OCCUPANT = "<occupant-id xmlns='urn:xmpp:occupant-id:0' id='{}'/>"
ERROR = "<error type='cancel'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


class Told(NamedTuple):
    """One message that the room, or its archive, tells of the past."""

    id: str
    body: str
    nick: str = "alice"
    inner: str = ""

    def xml(self, attributes: str = "", behind: str = "") -> str:
        sent_id = f"id='{self.id}'" if self.id else ""
        return (
            f"<message {attributes} type='groupchat' from='{ROOM}/{self.nick}' {sent_id}>"
            f"<body>{self.body}</body>{self.inner}{behind}</message>"
        )


KNOWN = Told("b1", "before", "bob")


class Case(SynchronousTestCase):
    manages = True  # the server acknowledges (XEP-0198)

    def setUp(self) -> None:
        self.world = World()
        self.world.stream.acknowledges = not self.manages
        self.phone, self.laptop = self.world.joined("phone", "laptop")
        self.server_acknowledges()
        self.world.says("bob", "before", stanza_id="b1")
        self.quiet()

    @property
    def outbox(self) -> Outbox:
        return self.world.account.rooms[ROOM].outbox

    def quiet(self) -> None:
        for session in (self.phone, self.laptop):
            session.take()
        self.world.stream.take()

    def server_acknowledges(self, count: int | None = None) -> None:
        """The server has got all that was sent, or the first so many; or the stream is lost."""
        waiting = self.world.stream.waiting
        for call in waiting[:count]:
            waiting.remove(call)
            call()

    def say(self, number: int | str, session: FakeSession | None = None, inner: str = "", body: str = "") -> None:
        text = inner or f"<body>{body or number}</body>"
        stanza_id = f" id='{number}'" if number else ""
        self.world.client(session or self.phone, f"<message to='{ROOM}' type='groupchat'{stanza_id}>{text}</message>")

    def lose(self) -> None:
        self.world.stream.jid = ""
        self.world.stream.lost()
        self.server_acknowledges()
        self.world.stream.take()

    def enter(self, nick: str = "alice", inner: str = "") -> None:
        """There is a stream again, and the room lets the account in."""
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.world.stream.take()
        self.world.shows("bob")
        self.world.shows(nick, "100 110", item=f"jid='{STREAM}'", inner=inner)

    def come_back(
        self,
        told: Sequence[Told] = (),
        archive: Sequence[Told] | None = None,
        nick: str = "alice",
        *,
        complete: bool = True,
    ) -> None:
        """The room tells this much again, and its archive this, if it has one."""
        self.enter(nick)
        self.world.tells_of_itself(*([MAM] if archive is not None else []), keep=True)
        for one in told:
            stamp = f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='{PAST}'/>"
            self.world.room(one.xml(f"to='{STREAM}'", stamp))
        self.world.subject("topic")
        if archive is not None:
            self.archive_answers(archive, complete=complete)

    def archive_answers(self, archive: Sequence[Told], *, complete: bool = True) -> None:
        (query,) = [stanza for stanza in self.world.stream.take() if stanza.has_payload(MAM, "query")]
        for number, one in enumerate(archive):
            self.world.room(
                f"<message from='{ROOM}' to='{STREAM}'>"
                f"<result xmlns='{MAM}' id='s{number}' queryid='{query.element.query['queryid']}'>"
                f"<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='{PAST}'/>"
                f"{one.xml(CLIENT)}</forwarded></result></message>"
            )
        fin = f"<fin xmlns='{MAM}' complete='{str(complete).lower()}'/>"
        self.world.room(f"<iq type='result' from='{ROOM}' to='{STREAM}' id='{query['id']}'>{fin}</iq>")

    def sent(self) -> list[str]:
        return [one.get("id") or str(one.element.body) for one in self.world.stream.take() if one.name == "message"]

    def errors(self, session: FakeSession | None = None) -> list[str]:
        found = [one for one in (session or self.phone).take() if one.get("type") == "error"]
        for one in found:
            self.assertIn(b"may not have arrived", one.raw)
        return [one.get("id") or "" for one in found]

    def assert_nothing_is_kept(self) -> None:
        """Nothing is under way, and nothing waits: not even for time to pass."""
        self.assertEqual((len(self.outbox.in_flight), len(self.outbox)), (0, 0))
        self.assertEqual((self.phone.held, self.laptop.held), (0, 0))


class InFlight(Case):
    """The server acknowledges what it has handled."""

    def test_what_becomes_of_it(self) -> None:
        """By what the room tells, and what the server had acknowledged: what is sent again, in order."""
        one, two, three = (Told(str(number), str(number)) for number in (1, 2, 3))
        for told, archive, acknowledged, again in (
            ([], [], 0, ["1", "2", "3"]),  # the archive tells all there is
            ([], [], 3, ["1", "2", "3"]),  # so what the server had acknowledged was lost with it
            ([], [one], 0, ["2", "3"]),
            ([], [one, two, three], 0, []),
            ([], [two], 0, ["3"]),  # the room has taken the first, and has not kept it
            ([KNOWN], None, 0, ["1", "2", "3"]),  # no archive; the room's own history goes back far enough
            ([KNOWN, one, two], None, 0, ["3"]),
            ([KNOWN, one], None, 2, ["2", "3"]),
            ([one], None, 0, ["2", "3"]),
            ([], None, 0, ["1", "2", "3"]),  # nobody knows: what the server had not acknowledged is said again
            ([], None, 2, ["3"]),  # and it is trusted with what it had
            ([], None, 3, []),
        ):
            with self.subTest(told=told, archive=archive, acknowledged=acknowledged):
                self.setUp()
                for number in (1, 2, 3):
                    self.say(number)
                self.server_acknowledges(acknowledged)
                self.lose()
                self.come_back(told, archive)
                self.assertEqual((self.sent(), self.errors()), (again, []))
                for number in (1, 2, 3):
                    self.world.says("alice", str(number), stanza_id=str(number))
                self.assert_nothing_is_kept()

    def test_before_what_was_said_while_the_room_was_out_of_reach(self) -> None:
        self.say(1)
        self.say(2, self.laptop)
        self.lose()
        self.say(3)
        self.come_back(archive=[])
        self.assertEqual(self.sent(), ["1", "2", "3"])

    def test_its_sender_sees_what_the_room_has(self) -> None:
        self.say(1)
        self.lose()
        self.come_back(archive=[Told("1", "1")])
        for session in (self.phone, self.laptop):
            self.assertEqual(kinds(session.take()), ["alice: 1"])

    def test_what_the_room_has_shown_is_not_under_way(self) -> None:
        """Nor what it had before: it shows what it is told in order. Others, and other ids, are nothing to it."""
        for shown, again in (
            (("alice", "1"), ["2", "3"]),
            (("alice", "2"), ["3"]),
            (("bob", "3"), ["1", "2", "3"]),
            (("alice", "4"), ["1", "2", "3"]),
        ):
            self.setUp()
            for number in (1, 2, 3):
                self.say(number)
            self.world.says(shown[0], "x", stanza_id=shown[1])
            self.lose()
            self.come_back(archive=[])
            self.assertEqual(self.sent(), again)

    def test_what_the_room_has_refused_is_not_sent_again(self) -> None:
        self.say(1)
        self.say(2)
        self.world.room(f"<message type='error' from='{ROOM}' to='{STREAM}' id='1'>{ERROR}</message>")
        (error,) = self.phone.take()
        self.assertIn(b"<not-acceptable", error.raw)
        self.lose()
        self.come_back(archive=[])
        self.assertEqual(self.sent(), ["2"])

    def test_an_error_in_private_refuses_nothing(self) -> None:
        """An occupant may send one, with any id."""
        self.say(1)
        self.world.room(f"<message type='error' from='{ROOM}/bob' to='{STREAM}' id='1'>{ERROR}</message>")
        self.lose()
        self.come_back(archive=[])
        self.assertEqual(self.sent(), ["1"])

    def test_what_comes_back_on_the_next_stream_is_not_sent_again(self) -> None:
        """From a server that could not reach the room's."""
        self.say(1)
        self.say(2)
        self.lose()
        self.enter()
        self.phone.take()
        self.world.room(f"<message type='error' from='{ROOM}' to='{STREAM}' id='1'>{ERROR}</message>")
        (error,) = self.phone.take()
        self.assertIn(b"<not-acceptable", error.raw)
        self.world.tells_of_itself(MAM, keep=True)
        self.world.subject("topic")
        self.archive_answers([])
        self.assertEqual(self.sent(), ["2"])

    def test_two_sessions_give_the_same_id(self) -> None:
        """Clients that count have it so. The room has the first one."""
        self.say(1, self.phone, body="phone")
        self.say(1, self.laptop, body="laptop")
        self.lose()
        self.come_back(archive=[Told("1", "phone")])
        (again,) = self.world.stream.take()
        self.assertEqual(str(again.element.body), "laptop")

    def test_what_was_known_before_is_no_sign(self) -> None:
        """A room tells some of what it has told already: there may be a message with the same id."""
        self.say(1, self.phone, body="phone")
        self.world.says("alice", "phone", stanza_id="1")
        self.say(1, self.laptop, body="laptop")
        self.lose()
        self.come_back([KNOWN, Told("1", "phone")])
        (again,) = self.world.stream.take()
        self.assertEqual(str(again.element.body), "laptop")

    def test_without_an_id_it_is_known_by_what_it_says(self) -> None:
        for room_id in ("", "made-up"):
            self.setUp()
            self.say("", body="one")
            self.say("", body="two")
            self.lose()
            self.come_back(archive=[Told(room_id, "one")])
            self.assertEqual(self.sent(), ["two"])

    def test_what_it_says_may_be_written_in_other_ways(self) -> None:
        """The server has read it, and writes what it has read."""
        for written, shown in (
            ("one\r\ntwo\rthree", "one\ntwo\nthree"),
            ("a &lt; b &amp;amp; c", "a &#60; b &#38;amp; c"),
            ("a <![CDATA[< b &amp; <i>c</i>]]>, d", "a &lt; b &amp;amp; &lt;i&gt;c&lt;/i&gt;, d"),
            ("<![CDATA[]]>a<![CDATA[]]>", "a"),
        ):
            self.setUp()
            self.say(0, body=written)
            self.world.says("alice", shown)
            self.assert_nothing_is_kept()

    def test_rooms_that_give_other_ids(self) -> None:
        """Such a room has never shown an id of the account's; from one that has, it is another message."""
        for keeps_ids, again in ((False, ["2"]), (True, ["1", "2"])):
            self.setUp()
            if keeps_ids:
                self.say("known")
                self.world.says("alice", "known", stanza_id="known")
            self.say(1, body="one")
            self.say(2, body="two")
            self.lose()
            self.come_back(archive=[Told("other", "one")])
            self.assertEqual(self.sent(), again)

    def test_the_nick_changes(self) -> None:
        """What the room has not shown when it shows the change, it shows under the new nick."""
        for told, again in ((Told("1", "1", "alicia"), []), (Told("1", "1"), ["1"])):
            self.setUp()
            self.world.client(self.phone, f"<presence to='{ROOM}/alicia' id='n'/>")
            self.say(1)
            self.world.gone("alice", "303 110", item="nick='alicia'")
            self.world.shows("alicia", "110")
            self.lose()
            self.come_back(archive=[told], nick="alicia")
            self.assertEqual(self.sent(), again)

    def test_the_room_gives_it_another_nick_without_a_word(self) -> None:
        self.say(1)
        self.world.shows("alicia", "110")
        self.world.says("alicia", "1", stanza_id="1")
        self.assertEqual(len(self.outbox.in_flight), 0)

    def test_it_comes_back_by_another_nick(self) -> None:
        """Known by the nick that it had. What another says under that is not it, if the room gives occupants ids."""
        for occupant, again in ((None, []), ("mine", []), ("other", ["1"])):
            self.setUp()
            self.say(1)
            self.lose()
            inner = OCCUPANT.format(occupant) if occupant else ""
            self.enter("alice2", OCCUPANT.format("mine"))
            self.world.tells_of_itself(MAM, keep=True)
            self.world.subject("topic")
            self.archive_answers([Told("1", "1", inner=inner)])
            self.assertEqual(self.sent(), again)

    def test_the_room_is_gone_or_means_it(self) -> None:
        """An account that may not come back: its sessions are told, but not of what the server had."""
        for acknowledged, told in ((0, ["1", "2"]), (1, ["2"])):
            self.setUp()
            self.say(1)
            self.say(2)
            self.server_acknowledges(acknowledged)
            self.lose()
            self.world.stream.jid = STREAM
            self.world.stream.opened()
            refusal = ERROR.replace("not-acceptable", "gone")
            self.world.room(f"<presence type='error' from='{ROOM}/alice' to='{STREAM}'>{refusal}</presence>")
            self.assertEqual(self.world.account.rooms, {})
            self.assertEqual(self.errors(), told)

    def test_no_login_any_more(self) -> None:
        self.say(1)
        self.world.stream.lost(refused=True)
        self.server_acknowledges()
        self.assertEqual(self.errors(), ["1"])

    def test_not_for_ever(self) -> None:
        self.say(1)
        self.lose()
        self.say(2)
        self.world.clock.advance(PATIENCE)
        told = [one["id"] for one in self.phone.take()]
        self.assertEqual((told, len(self.outbox)), (["1", "2"], 0))
        self.come_back(archive=[])
        self.assertEqual(self.sent(), [])

    def test_lost_again(self) -> None:
        """It is looked for each time. Where nobody knows, it is sent again once."""
        for archive, told in (([], []), (None, ["1"])):
            self.setUp()
            self.say(1)
            self.lose()
            self.come_back(archive=archive)
            self.assertEqual(self.sent(), ["1"])
            self.lose()
            self.come_back(archive=archive)
            self.assertEqual((self.sent(), self.errors()), ([] if told else ["1"], told))

    def test_what_it_tells_twice_is_no_proof(self) -> None:
        """More was said meanwhile than is read of the archive. The room's history has the end of that, too."""
        self.world = World(history=2)
        self.phone, self.laptop = self.world.joined("phone", "laptop")
        self.world.stream.acknowledges = False
        self.world.says("bob", "before", stanza_id="b1")
        self.quiet()
        self.say(1)
        self.server_acknowledges()
        self.lose()
        said = [Told(f"x{number}", f"x{number}", "bob") for number in range(3)]
        self.come_back(said[-1:], said[-2:], complete=False)
        self.assertEqual((self.sent(), self.errors()), ([], []))

    def test_what_it_told_the_last_time_is_no_proof(self) -> None:
        self.lose()
        self.come_back([KNOWN])
        self.say(1)
        self.server_acknowledges()
        self.lose()
        self.come_back()
        self.assertEqual((self.sent(), self.errors()), ([], []))

    def test_a_session_that_is_gone_is_told_nothing(self) -> None:
        for lost_first in (False, True):
            self.setUp()
            self.say(1)
            if lost_first:
                self.lose()
            self.world.account.session_closed(self.phone)
            if not lost_first:
                self.lose()
            self.world.clock.advance(PATIENCE)
            self.assertEqual((self.phone.take(), len(self.outbox)), ([], 0))

    def test_nothing_is_kept_for_a_session_that_is_gone(self) -> None:
        self.say(1)
        self.lose()
        self.world.account.session_closed(self.phone)
        self.come_back(archive=[])
        self.assertEqual((self.sent(), list(self.world.account.messages._sent)), (["1"], []))

    def test_the_stream_is_told_that_it_need_not_tell_of_it(self) -> None:
        """But of what is not followed."""
        sent: list[type[bytes]] = []
        self.patch(self.world.stream, "send", lambda data: sent.append(type(data)))
        for number in range(1, MAX_FOLLOWED + 2):
            self.say(number)
        self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='p'><body>psst</body></message>")
        self.assertEqual(sent, [Followed] * MAX_FOLLOWED + [bytes] * 2)

    def test_a_room_that_begins_anew(self) -> None:
        """The stream stands, and what was said to the room before has not come back as an error."""
        for archive, again in (([], ["1"]), ([Told("1", "1")], [])):
            self.setUp()
            self.say(1)
            self.server_acknowledges()
            self.world.gone("alice", "110 333")
            self.world.clock.advance(10)
            self.come_back(archive=archive)
            self.assertEqual((self.sent(), self.errors()), (again, []))

    def test_the_account_leaves(self) -> None:
        """Nothing is followed, or kept for that."""
        budget = self.world.account.sessions.budget
        for session in (self.phone, self.laptop):
            self.say(1, session)
            self.world.leaves(session)
        self.world.clock.advance(10)
        self.world.gone("alice", "110")
        self.assertEqual((self.world.account.rooms, budget.used), ({}, 0))

    def test_lost_again_before_it_was_looked_for(self) -> None:
        self.say(1)
        self.lose()
        self.enter()
        self.lose()
        self.come_back(archive=[Told("1", "1")])
        self.assertEqual((self.sent(), self.errors()), ([], []))
        self.assert_nothing_is_kept()

    def test_chat_states_are_not_said_again(self) -> None:
        state, marker = (
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='b1'/>",
        )
        self.say("state", inner=state)
        self.say("marker", inner=marker)
        self.lose()
        self.come_back(archive=[])
        self.assertEqual(self.sent(), ["marker"])

    def test_a_session_that_leaves_first(self) -> None:
        """It has said it all the same."""
        self.say(1)
        self.world.leaves(self.phone)
        self.lose()
        self.come_back(archive=[])
        self.assertEqual(self.sent(), ["1"])

    def test_private_messages_are_not_followed(self) -> None:
        self.world.client(self.phone, f"<message to='{ROOM}/bob' type='chat' id='1'><body>psst</body></message>")
        self.assertEqual(len(self.outbox.in_flight), 0)

    def test_rooms_that_do_not_show_what_they_are_told(self) -> None:
        """It is followed for a while, but for what the server has not got yet."""
        self.say(1)
        self.server_acknowledges()
        self.say(2)
        self.world.clock.advance(UNANSWERED + 1)
        self.say(3)
        self.assertEqual(len(self.outbox.in_flight), 2)
        self.lose()
        self.come_back(archive=[])
        self.assertEqual(self.sent(), ["2", "3"])

    def test_bounds(self) -> None:
        """In count, in bytes, of the account's budget: more is not followed, so the stream tells of it."""
        budget = self.world.account.sessions.budget
        free = budget.limit - budget.used
        for taken, body, fits in ((0, "x", MAX_FOLLOWED), (0, "x" * (MAX_BYTES // 3), 2), (free - 3000, "x" * 1000, 2)):
            self.setUp()
            budget = self.world.account.sessions.budget
            before = budget.used
            self.assertTrue(budget.take(taken))
            for number in range(fits + 1):
                self.say(number, body=body)
            self.assertEqual(len(self.outbox.in_flight), fits)
            self.lose()
            self.assertEqual(len(self.outbox), fits)
            self.world.clock.advance(PATIENCE)
            self.assertEqual((len(self.outbox), budget.used), (0, before + taken))


class Acknowledged(Case):
    """When a client that acknowledges (XEP-0198) is told that what it said is handled."""

    def setUp(self) -> None:
        super().setUp()
        self.phone.managed = True

    def test_once_the_server_has_it(self) -> None:
        self.say(1)
        self.assertGreater(self.phone.held, 0)
        self.server_acknowledges()
        self.assertEqual(self.phone.held, 0)

    def test_not_while_it_may_be_lost(self) -> None:
        for archive, held in (([], 1), ([Told("1", "1")], 0)):
            self.setUp()
            self.say(1)
            self.lose()
            self.assertEqual(self.phone.held, 1)
            self.come_back(archive=archive)
            self.assertEqual(self.phone.held, held)
            self.server_acknowledges()
            self.assertEqual(self.phone.held, 0)

    def test_not_when_it_is_lost_twice(self) -> None:
        self.say(1)
        for _ in range(2):
            self.lose()
            self.assertEqual(self.phone.held, 1)
            self.come_back(archive=[])
            self.assertEqual(self.sent(), ["1"])
        self.server_acknowledges()
        self.assertEqual(self.phone.held, 0)

    def test_when_it_is_told_that_it_may_be_lost(self) -> None:
        self.say(1)
        self.lose()
        self.world.clock.advance(PATIENCE)
        self.assertEqual((self.errors(), self.phone.held), (["1"], 0))

    def test_a_client_that_is_gone_says_it_again_itself(self) -> None:
        """Unless it knows that it is handled. One that does not acknowledge never does."""
        for lost_first in (False, True):
            for managed, acknowledged, again in ((True, 0, []), (True, None, ["1"]), (False, 0, ["1"])):
                with self.subTest(lost_first=lost_first, managed=managed, acknowledged=acknowledged):
                    self.setUp()
                    self.phone.managed = managed
                    self.say(1)
                    self.server_acknowledges(acknowledged)
                    if lost_first:
                        self.lose()
                    held = self.phone.held
                    self.world.account.session_closed(self.phone)
                    self.assertEqual(self.phone.held, held, "nothing is acknowledged by that")
                    if not lost_first:
                        self.lose()
                    self.come_back(archive=[])
                    self.assertEqual(self.sent(), again)

    def phone_again(self) -> FakeSession:
        """The phone has given its session up, and comes back in another one, in the room."""
        self.world.account.session_closed(self.phone)
        phone = self.world.session("phone")
        phone.managed = True
        self.world.asks_to_join(phone, "alice")
        self.world.stream.take()
        phone.take()
        return phone

    def test_a_client_says_again_what_is_on_its_way(self) -> None:
        """It is not sent twice: neither while that is so, nor when the room has it."""
        for shown in (False, True):
            for acknowledged in (False, True):
                with self.subTest(shown=shown, acknowledged=acknowledged):
                    self.setUp()
                    self.say(1)
                    self.world.stream.take()
                    phone = self.phone_again()
                    if acknowledged:
                        self.server_acknowledges()
                    if shown:
                        self.world.says("alice", "1", stanza_id="1")
                    self.say(1, phone)
                    self.say(2, phone)
                    self.assertEqual(self.sent(), ["2"])
                    self.server_acknowledges()
                    self.assertEqual(phone.held, 0)
                    self.say(1, phone)
                    self.assertEqual(self.sent(), ["1"], "once")

    def test_what_it_says_again_is_its_own_from_then_on(self) -> None:
        self.say(1)
        phone = self.phone_again()
        self.say(1, phone)
        self.assertEqual(self.sent(), [])
        self.lose()
        self.assertEqual(phone.held, 1)
        self.come_back(archive=[])
        self.assertEqual(self.sent(), ["1"])
        self.server_acknowledges()
        self.assertEqual(phone.held, 0)
        self.world.room(f"<message type='error' from='{ROOM}' to='{STREAM}' id='1'>{ERROR}</message>")
        self.assertIn("error", [one.get("type") for one in phone.take()])

    def test_what_it_says_again_when_the_first_is_lost(self) -> None:
        """Or refused, or something else, or much later, or it has no id."""
        self.say(1)
        phone = self.phone_again()
        self.lose()
        self.come_back(archive=[])
        self.assertEqual(self.sent(), [])
        self.say(1, phone)
        self.assertEqual(self.sent(), ["1"])
        refusal = f"<message type='error' from='{ROOM}' to='{STREAM}' id='1'>{ERROR}</message>"
        for number, body, happens in (
            (1, "1", lambda: self.world.room(refusal)),
            (1, "2", lambda: None),
            (1, "1", lambda: self.world.clock.advance(REPEATED + 1)),
            ("", "1", lambda: None),
        ):
            self.setUp()
            self.say(number, body="1")
            phone = self.phone_again()
            happens()
            self.world.stream.take()
            self.say(number, phone, body=body)
            self.assertEqual(len(self.sent()), 1)

    def test_what_is_to_be_said_again_has_a_bound(self) -> None:
        for number in range(1, MAX_FOLLOWED + 2):
            self.say(number)
            self.phone = self.phone_again()
            self.world.says("alice", str(number), stanza_id=str(number))
        self.server_acknowledges()
        for number in (1, MAX_FOLLOWED + 1):
            self.say(number)
        self.assertEqual(self.sent(), ["1"])

    def test_a_client_that_has_left_the_room_and_goes(self) -> None:
        """What it does not know to be handled it says again itself, here too."""
        self.say(1)
        self.world.leaves(self.phone)
        self.lose()
        self.world.account.session_closed(self.phone)
        self.come_back(archive=[])
        self.assertEqual(self.sent(), [])


class Unmanaged(Case):
    """The server says of nothing that it has handled it."""

    manages = False

    def test_what_becomes_of_it(self) -> None:
        one, two = (Told(str(number), str(number)) for number in (1, 2))
        for told, archive, again in (
            ([], [], ["1", "2"]),
            ([], [one], ["2"]),
            ([], [one, two], []),
            ([KNOWN], None, ["1", "2"]),
            ([KNOWN, one], None, ["2"]),
            ([], None, ["1", "2"]),
        ):
            with self.subTest(told=told, archive=archive):
                self.setUp()
                self.say(1)
                self.say(2)
                self.lose()
                self.come_back(told, archive)
                self.assertEqual((self.sent(), self.errors()), (again, []))


del Case
