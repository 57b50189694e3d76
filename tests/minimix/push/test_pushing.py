"""Push for an account's devices: what is enabled, what is told to push services, and what is not."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import eventAsText
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.config.settings import Push
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptPush
from minimixproxy.minimix.push.enabling import MAX_OPEN, TIMEOUT
from minimixproxy.minimix.push.pending import MAX_CHATS, MAX_FAILURES, PAUSE, PUBLICATIONS, RETRY_FIRST, RETRY_LONGEST
from minimixproxy.minimix.push.registrations import MAX_REGISTRATIONS
from minimixproxy.wire.stanza import MAX_PAYLOADS, Stanza, parse_stanza
from tests.counted import Counted
from tests.log_events import log_events, observe
from tests.minimix.fakes import BARE, ROOM, STREAM, FakeSession, World
from tests.minimix.null_journal import NullJournal

PUSH = "urn:xmpp:push:0"
SERVICE = "push.test"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
DISCO = "http://jabber.org/protocol/disco#info"
ENABLE = f"<enable xmlns='{PUSH}' jid='{SERVICE}' node='n'/>"
DISABLE = f"<disable xmlns='{PUSH}' jid='{SERVICE}' node='n'/>"
MDS = "urn:xmpp:mds:displayed:0"


class PushJournal(NullJournal):
    """Keeps what is enabled."""

    def __init__(self) -> None:
        super().__init__()
        self.enabled: tuple[KeptPush, ...] = ()

        self.at_gate = False  # what is journalled

    def given_out(self) -> int:
        return 0 if self.at_gate else super().given_out()

    def push_enabled(self, bare: str, enabled: tuple[KeptPush, ...]) -> None:
        self.enabled = enabled


class RunningClock(Clock):
    """Time goes on from one reading to the next, as it does."""

    def seconds(self) -> float:
        self.rightNow += 1e-6
        return super().seconds()


class PushWorld(World):
    new_clock = RunningClock
    new_journal = PushJournal
    journal: PushJournal
    push = Push(rooms="mentions")


class PushCase(SynchronousTestCase):
    """Alice's phone has push enabled; it is in a room, where bob is."""

    new_world: type[PushWorld] = PushWorld

    def setUp(self) -> None:
        self.world = self.new_world()
        (self.phone,) = self.world.joined("phone")
        self.phone.managed = True
        self.enable(self.phone)
        self.said = 0

    def ask(self, session: FakeSession, payload: str, kind: str = "set", to: str = "", stanza_id: str = "e") -> None:
        attribute = f" to='{to}'" if to else ""
        taken = self.world.client(session, f"<iq type='{kind}' id='{stanza_id}'{attribute}>{payload}</iq>")
        self.assertFalse(taken, "it is the server's to answer")

    def answer(self, session: FakeSession, inner: str = "", kind: str = "result", attributes: str = "id='e'") -> bool:
        xml = f"<iq type='{kind}' to='{session.jid}' {attributes}>{inner}</iq>"
        return self.world.account.from_server(session, parse_stanza(xml))

    def enable(self, session: FakeSession, payload: str = ENABLE) -> None:
        self.ask(session, payload)
        self.assertFalse(self.answer(session), "the client gets the server's answer")

    def sleeps(self, session: FakeSession, *, got_all: bool = True) -> None:
        """Its connection breaks; it has acknowledged all that it was given, or nothing."""
        session.reached = self.world.journal.given_out() if got_all else 0
        session.asleep = True
        self.world.account.session_sleeps(session)

    def wakes(self, session: FakeSession) -> None:
        session.asleep = False
        self.world.account.session_wakes(session)

    def goes(self, session: FakeSession) -> None:
        self.world.account.session_closed(session)

    def says(self, body: str = "alice: come", nick: str = "bob", inner: str = "") -> None:
        self.said += 1
        self.world.says(nick, body, inner, stanza_id=f"m{self.said}")

    def whispers(self, inner: str = "<body>psst</body>") -> None:
        self.world.room(f"<message type='chat' id='p' from='{ROOM}/bob' to='{STREAM}'>{inner}</message>")

    def contact_says(
        self,
        session: FakeSession,
        inner: str = "<body>hello</body>",
        kind: str = "chat",
        sender: str = "carol@c.test/x",
    ) -> None:
        message = f"<message type='{kind}' from='{sender}' to='{session.jid}'>{inner}</message>"
        self.assertFalse(self.world.account.from_server(session, parse_stanza(message)))

    def later(self, seconds: float = 0.0) -> list[Stanza]:
        """Let time pass; return what was published."""
        self.world.clock.advance(seconds)
        return [stanza for stanza in self.world.stream.take() if stanza.get("to") == SERVICE]

    def published(self, seconds: float = 0.0) -> Stanza:
        (publication,) = self.later(seconds)
        return publication

    def service_says(self, publication: Stanza, condition: str = "", kind: str = "cancel", sender: str = "") -> None:
        error = f"<error type='{kind}'><{condition} xmlns='{STANZAS}'/></error>" if condition else ""
        self.world.room(
            f"<iq type='{'error' if condition else 'result'}' id='{publication['id']}' from='{sender or SERVICE}'"
            f" to='{STREAM}'>{error}</iq>"
        )

    def enabled(self) -> list[tuple[str, str, bool]]:
        return [(one.resource, one.node, one.at_server) for one in self.world.journal.enabled]


class Registering(PushCase):
    def test_what_the_server_takes_is_noted(self) -> None:
        self.assertEqual(self.enabled(), [("phone", "n", True)])

    def test_what_it_refuses_is_not(self) -> None:
        self.ask(self.phone, ENABLE.replace("'n'", "'m'"))
        refusal = f"<error type='auth'><forbidden xmlns='{STANZAS}'/></error>"
        self.assertFalse(self.answer(self.phone, refusal, "error"))
        self.assertEqual(self.enabled(), [("phone", "n", True)])

    def test_a_server_that_does_not_know_it(self) -> None:
        for condition in ("service-unavailable", "feature-not-implemented"):
            self.ask(self.phone, ENABLE.replace("'n'", f"'{condition}'"))
            self.assertTrue(self.answer(self.phone, f"<error><{condition} xmlns='{STANZAS}'/></error>", "error"))
            (answer,) = self.phone.take()
            self.assertEqual((answer["type"], answer["id"], answer.payloads), ("result", "e", ()))
            self.assertIs(answer, self.phone.instead[-1])
            self.assertEqual(self.enabled()[-1], ("phone", condition, False))

    def test_disabled(self) -> None:
        self.ask(self.phone, DISABLE)
        self.answer(self.phone)
        self.assertEqual(self.enabled(), [])
        self.sleeps(self.phone)
        self.says()
        self.assertEqual(self.later(60), [])

    def test_disabled_whatever_the_server_says(self) -> None:
        """It may know nothing of what is enabled here, or say nothing at all."""
        self.ask(self.phone, DISABLE)
        self.assertEqual(self.enabled(), [])
        self.assertFalse(self.answer(self.phone, f"<error><item-not-found xmlns='{STANZAS}'/></error>", "error"))
        self.assertEqual(self.enabled(), [])

    def test_disabled_before_it_was_enabled(self) -> None:
        """Both are on their way: it is the last word that counts."""
        self.ask(self.phone, ENABLE, stanza_id="f")
        self.ask(self.phone, DISABLE)
        self.answer(self.phone, attributes="id='f'")
        self.answer(self.phone)
        self.assertEqual(self.enabled(), [])

    def test_disabled_under_an_id_that_is_open_twice_or_too_much_is(self) -> None:
        self.ask(self.phone, ENABLE, stanza_id="f")
        self.ask(self.phone, DISABLE, stanza_id="f")
        self.assertEqual(self.enabled(), [])
        self.enable(self.phone)
        for number in range(MAX_OPEN):
            self.ask(self.phone, ENABLE, stanza_id=str(number))
        self.ask(self.phone, DISABLE)
        self.assertEqual(self.enabled(), [])

    def test_disabled_when_the_account_cannot_be_in_rooms_any_more(self) -> None:
        self.world.is_enrolled = False
        self.ask(self.phone, DISABLE)
        self.assertEqual(self.enabled(), [])

    def test_disabled_at_somebody_else(self) -> None:
        self.ask(self.phone, DISABLE, to="mallory@m.test")
        self.assertEqual(len(self.enabled()), 1)

    def test_answers_that_are_none(self) -> None:
        """Of somebody else, with another id, for an id that is open twice, or much later."""
        other = ENABLE.replace("'n'", "'m'")
        self.ask(self.phone, other)
        self.answer(self.phone, attributes="id='e' from='mallory@m.test'")
        self.answer(self.phone, attributes="id='f'")
        self.answer(self.phone, attributes="")
        self.ask(self.phone, other, to="mallory@m.test")
        self.answer(self.phone)
        self.assertEqual(self.enabled(), [("phone", "n", True)])
        for kind, said in (("get", False), ("set", False), ("result", True)):
            self.ask(self.phone, other)
            self.ask(self.phone, "<ping xmlns='urn:xmpp:ping'/>", kind)
            self.answer(self.phone)
            self.assertEqual(len(self.enabled()) == 2, said, kind)

    def test_too_many_requests(self) -> None:
        lines: list[str] = []
        observe(self, lambda event: lines.append(eventAsText(event)))
        for number in range(MAX_OPEN + 1):
            self.ask(self.phone, ENABLE.replace("'n'", "'m'"), stanza_id=str(number))
        self.assertEqual(["not noted" in line for line in lines], [True])
        self.answer(self.phone, attributes=f"id='{MAX_OPEN}'")
        self.assertEqual(self.enabled(), [("phone", "n", True)])
        self.world.clock.advance(TIMEOUT)
        self.enable(self.phone, ENABLE.replace("'n'", "'m'"))
        self.assertEqual(len(self.enabled()), 2)

    def test_too_many_services(self) -> None:
        for number in range(MAX_REGISTRATIONS):
            self.enable(self.phone, ENABLE.replace("'n'", f"'{number}'"))
        self.assertEqual([node for _, node, _ in self.enabled()], [str(n) for n in range(MAX_REGISTRATIONS)])

    def test_the_oldest_goes(self) -> None:
        """One that is enabled anew, with something else, is not the oldest any more."""
        for number in range(MAX_REGISTRATIONS - 1):
            self.enable(self.phone, ENABLE.replace("'n'", f"'{number}'"))
        self.enable(self.world.session("other"))
        self.enable(self.phone, ENABLE.replace("'n'", "'last'"))
        self.assertEqual([node for _, node, _ in self.enabled()][-2:], ["n", "last"])

    def test_another_device_takes_a_node_over(self) -> None:
        self.enable(self.world.session("other"))
        self.assertEqual(self.enabled(), [("other", "n", True)])

    def test_the_account_itself_is_no_service(self) -> None:
        """What is published there would be among the account's own data, and shown to its contacts."""
        for jid in (BARE, STREAM, self.phone.jid, BARE.upper()):
            self.enable(self.phone, ENABLE.replace(SERVICE, jid))
        self.assertEqual(len(self.enabled()), 1)

    def test_restored(self) -> None:
        world = PushWorld()
        world.account.restore(KeptAccount(BARE, None, False, 0.0, push=self.world.journal.enabled))
        self.assertEqual(world.account.push.kept(), self.world.journal.enabled)
        self.assertTrue(world.account.push.active)

    def test_an_account_that_cannot_be_in_rooms(self) -> None:
        world = PushWorld()
        world.is_enrolled = False
        session = world.session("phone")
        world.client(session, f"<iq type='set' id='e'>{ENABLE}</iq>")
        self.assertFalse(world.account.from_server(session, parse_stanza("<iq type='result' id='e'/>")))
        self.assertEqual(world.journal.enabled, ())

    def test_offered_where_the_server_does_not(self) -> None:
        for features, taken in (("<feature var='a'/>", True), (f"<feature var='{PUSH}'/>", False)):
            self.ask(self.phone, f"<query xmlns='{DISCO}'/>", "get", BARE)
            query = f"<query xmlns='{DISCO}'><identity category='account' type='registered'/>{features}</query>"
            self.assertIs(self.answer(self.phone, query, attributes=f"id='e' from='{BARE}'"), taken)
        (answer,) = self.phone.take()
        self.assertEqual(answer["from"], BARE)
        self.assertIn(f"<feature var='a'/><feature var='{PUSH}'/></query>".encode(), answer.raw)


class Telling(PushCase):
    def test_a_mention_while_the_phone_sleeps(self) -> None:
        self.sleeps(self.phone)
        self.says("nothing")
        self.assertEqual(self.later(60), [])
        self.says()
        publication = self.published()
        self.assertIn(b"<publish node='n'>", publication.raw)
        self.assertNotIn(b"come", publication.raw)
        self.assertNotIn(ROOM.encode(), publication.raw)
        self.service_says(publication)
        self.assertEqual(self.later(3600), [], "once")

    def test_while_it_is_gone_and_the_account_has_no_client(self) -> None:
        self.goes(self.phone)
        self.says()
        self.published()

    def test_nothing_while_it_is_awake(self) -> None:
        self.says()
        self.assertEqual(self.later(60), [])

    def test_in_private(self) -> None:
        self.sleeps(self.phone)
        self.whispers("<composing xmlns='http://jabber.org/protocol/chatstates'/>")
        self.assertEqual(self.later(60), [])
        self.whispers()
        self.published()

    def test_what_the_server_pushes_itself_is_not(self) -> None:
        archived = f"<body>psst</body><stanza-id xmlns='urn:xmpp:sid:0' by='{BARE}' id='1'/>"
        self.goes(self.phone)
        self.whispers(archived)
        self.assertEqual(self.later(60), [])

    def test_a_contact_while_it_sleeps(self) -> None:
        self.contact_says(self.phone)
        self.assertEqual(self.later(60), [], "it is awake")
        self.phone.acknowledge()
        self.sleeps(self.phone)
        self.contact_says(self.phone, "<active xmlns='http://jabber.org/protocol/chatstates'/>")
        self.contact_says(self.phone, "<body>news</body>", "headline")
        self.contact_says(self.phone, "<error/>", "error")
        self.assertEqual(self.later(60), [])
        self.contact_says(self.phone)
        self.published()

    def test_a_contact_just_before_the_connection_broke(self) -> None:
        """The client has not acknowledged the second message."""
        self.contact_says(self.phone)
        self.phone.acknowledge()
        self.contact_says(self.phone)
        self.contact_says(self.phone, "<active xmlns='http://jabber.org/protocol/chatstates'/>")
        self.sleeps(self.phone)
        self.assertIn(b">1<", self.published().raw)
        self.wakes(self.phone)
        self.sleeps(self.phone)
        self.assertEqual(self.later(3600), [], "once, however often its connection breaks")

    def test_a_contact_just_before_the_session_ended(self) -> None:
        """Its server learns by that what has not arrived."""
        self.contact_says(self.phone)
        self.goes(self.phone)
        self.assertEqual(self.later(3600), [])

    def test_a_contact_read_elsewhere_before_the_connection_broke(self) -> None:
        self.contact_says(self.phone)
        self.world.client(self.world.session("laptop"), "<message to='carol@c.test/y'><body>x</body></message>")
        self.sleeps(self.phone)
        self.assertEqual(self.later(3600), [])

    def test_a_contact_of_a_device_with_two_services(self) -> None:
        self.enable(self.phone, ENABLE.replace("'n'", "'m'"))
        self.contact_says(self.phone)
        self.phone.acknowledge()
        self.sleeps(self.phone)
        self.assertEqual(self.later(3600), [])

    def test_a_contact_of_a_client_that_acknowledges_nothing(self) -> None:
        """Nobody knows what it has got."""
        self.phone.managed = False
        self.contact_says(self.phone)
        self.assertEqual(self.phone.unacknowledged, [])

    def test_in_private_just_before_the_connection_broke(self) -> None:
        self.whispers()
        self.sleeps(self.phone)
        self.assertEqual(self.later(3600), [], "it had got that")
        self.wakes(self.phone)
        self.whispers()
        self.sleeps(self.phone, got_all=False)
        self.published()

    def test_what_has_no_place_in_the_history(self) -> None:
        """Nobody knows whether a device that is awake has got it."""

        def rings() -> None:
            invite = "<invite xmlns='urn:xmpp:call-invites:0'/>"
            self.world.room(f"<message type='groupchat' id='c' from='{ROOM}/bob' to='{STREAM}'>{invite}</message>")

        rings()
        self.sleeps(self.phone)
        self.assertEqual(self.later(60), [])
        rings()
        self.published()

    def test_what_waits_at_the_gate(self) -> None:
        """It has acknowledged all that it was given: that is not everything."""
        for happens in (self.whispers, self.says):
            self.world.journal.at_gate = True
            happens()
            self.phone.asleep = True
            self.world.account.session_sleeps(self.phone)
            self.service_says(self.published(60))
            self.world.journal.at_gate = False
            self.wakes(self.phone)

    def test_what_is_said_to_the_account_stream(self) -> None:
        """By somebody whom a room has shown its address: all devices get that."""
        self.world.session("laptop")
        message = f"<message type='chat' from='carol@c.test/x' to='{STREAM}'><body>hello</body></message>"
        self.world.room(message)
        self.assertEqual(self.later(3600), [], "it is awake")
        self.sleeps(self.phone)
        self.world.room(message.replace("<body>hello</body>", ""))
        self.world.room(message.replace("'chat'", "'error'"))
        self.assertEqual(self.later(3600), [])
        self.world.room(message)
        self.published(60)

    def test_the_carbon_of_a_message(self) -> None:
        self.sleeps(self.phone)

        def copied(kind: str, sender: str) -> None:
            inner = f"<message xmlns='jabber:client' type='chat' from='{sender}' to='{BARE}/x'><body>b</body></message>"
            forwarded = f"<forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded>"
            carbon = f"<{kind} xmlns='urn:xmpp:carbons:2'>{forwarded}</{kind}>"
            message = f"<message from='{BARE}' to='{self.phone.jid}'>{carbon}</message>"
            self.world.account.from_server(self.phone, parse_stanza(message))

        copied("sent", f"{BARE}/x")
        copied("received", f"{BARE}/x")
        copied("received", f"{ROOM}/bob")
        self.assertEqual(self.later(60), [], "what it has said itself; what comes from the room, too")
        copied("received", "carol@c.test/x")
        self.published()

    def test_own_words(self) -> None:
        self.sleeps(self.phone)
        self.says("alice, note to self", nick="alice")
        self.assertEqual(self.later(60), [])

    def test_what_it_had_not_got_when_its_connection_broke(self) -> None:
        self.says("nothing")
        self.says()
        self.sleeps(self.phone, got_all=False)
        self.published()

    def test_what_the_account_itself_has_missed(self) -> None:
        """It was out of the room by a fault; what the room tells of the past when it is back, but not when it joins."""
        self.sleeps(self.phone)
        stamp = "<delay xmlns='urn:xmpp:delay' stamp='2023-11-14T22:13:20Z'/>"
        self.world.gone("alice", "110 332")
        self.world.clock.advance(600)
        self.world.stream.take()
        self.world.shows("bob")
        self.world.shows("alice", "100 110", item=f"jid='{STREAM}'")
        self.says("alice: missed", inner=stamp)
        self.world.tells_of_itself()
        self.world.subject("topic")
        self.published(60)

    def test_what_was_said_before_the_account_came(self) -> None:
        world = PushWorld()
        world.account.restore(KeptAccount(BARE, None, False, 0.0, push=self.world.journal.enabled))
        world.asks_to_join(world.session("laptop"))
        world.shows("alice", "100 110", item=f"jid='{STREAM}'")
        world.says("bob", "alice: long ago", "<delay xmlns='urn:xmpp:delay' stamp='2023-11-14T22:13:20Z'/>")
        world.subject("topic")
        world.clock.advance(60)
        self.assertEqual([stanza for stanza in world.stream.take() if stanza.get("to") == SERVICE], [])

    def test_what_it_had_got(self) -> None:
        self.says()
        self.sleeps(self.phone)
        self.assertEqual(self.later(60), [])

    def test_what_it_had_not_got_when_its_session_ended(self) -> None:
        """It had not been found out before that its connection was gone."""
        self.says()
        self.phone.reached = 0
        self.goes(self.phone)
        self.published()

    def test_what_it_had_got_when_its_session_ended(self) -> None:
        self.says()
        self.goes(self.phone)
        self.assertEqual(self.later(60), [])

    def test_what_was_read_elsewhere_before_its_connection_broke(self) -> None:
        laptop = self.world.session("laptop")
        self.says()
        self.world.client(laptop, f"<message type='groupchat' to='{ROOM}'><body>I see</body></message>")
        self.sleeps(self.phone, got_all=False)
        self.assertEqual(self.later(60), [])

    def test_many_at_once_are_one(self) -> None:
        self.sleeps(self.phone)
        for _ in range(MAX_CHATS + 5):
            self.says()
        self.assertIn(f">{MAX_CHATS + 5}<".encode(), self.published().raw)

    def test_what_comes_meanwhile_is_told_afterwards(self) -> None:
        self.sleeps(self.phone)
        self.says()
        first = self.published()
        self.says()
        self.assertEqual(self.later(60), [], "one at a time")
        self.service_says(first)
        self.assertEqual(self.later(4), [])
        self.published(1.1)

    def test_a_phone_that_wakes(self) -> None:
        self.world.session("laptop")
        self.sleeps(self.phone)
        self.says()
        self.wakes(self.phone)
        self.assertEqual(self.later(60), [])

    def test_the_same_device_logs_in_anew(self) -> None:
        self.world.session("laptop")
        self.goes(self.phone)
        self.says()
        self.world.session("phone")
        self.assertEqual(self.later(60), [])


class Installations(PushCase):
    """Devices that say which installation they are (XEP-0388): whatever resource they have, they are the same."""

    def setUp(self) -> None:
        super().setUp()
        self.phone.device = "0b1c"
        self.enable(self.phone, ENABLE.replace("'n'", "'m'"))
        self.enable(self.phone)

    def test_it_comes_back_with_another_resource(self) -> None:
        self.goes(self.phone)
        again = self.world.session("phone2", device="0b1c")
        self.says()
        self.assertEqual(self.later(60), [], "it is awake")
        self.goes(again)
        self.says()
        self.assertEqual(len(self.later()), 2, "to either node")

    def test_another_one_with_the_resource(self) -> None:
        self.goes(self.phone)
        self.world.session("phone", device="other")
        self.says()
        self.assertEqual(len(self.later(60)), 2)

    def test_one_that_does_not_say(self) -> None:
        """It may be the same with an older login: there is the resource."""
        self.goes(self.phone)
        self.world.session("phone")
        self.says()
        self.assertEqual(self.later(60), [])

    def test_an_older_session_sleeps(self) -> None:
        """The device is awake, and has what the other is given."""
        self.sleeps(self.phone)
        again = self.world.session("phone2", device="0b1c")
        self.contact_says(self.phone)
        self.says()
        self.assertEqual(self.later(60), [])
        self.world.asks_to_join(again)
        self.sleeps(again)
        self.assertEqual(self.later(60), [], "nor is it told of that late")
        self.says()
        self.assertEqual(len(self.later()), 2)

    def test_restored(self) -> None:
        world = PushWorld()
        world.account.restore(KeptAccount(BARE, None, False, 0.0, push=self.world.journal.enabled))
        self.assertEqual([one.device for one in world.account.push.kept()], ["0b1c"] * 2)


class Reading(PushCase):
    """The laptop is awake: it has a moment to show that all is read."""

    def setUp(self) -> None:
        super().setUp()
        self.laptop = self.world.session("laptop")
        self.sleeps(self.phone)
        self.says()
        self.assertEqual(self.later(4), [])

    def test_it_is_not(self) -> None:
        self.published(1.1)

    def test_by_a_marker(self) -> None:
        self.world.asks_to_join(self.laptop)
        marker = "<displayed xmlns='urn:xmpp:chat-markers:0' id='m1'/>"
        self.world.client(self.laptop, f"<message type='groupchat' to='{ROOM}'>{marker}</message>")
        self.assertEqual(self.later(60), [])

    def test_by_a_marker_that_is_published(self) -> None:
        item = f"<item id='{ROOM}'><displayed xmlns='{MDS}'/></item>"
        publish = f"<publish node='{MDS}'>{item}</publish>"
        self.world.client(
            self.laptop,
            f"<iq type='set' id='m'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{publish}</pubsub></iq>",
        )
        self.assertEqual(self.later(60), [])

    def event(self, sender: str, room: str = ROOM) -> None:
        items = f"<items node='{MDS}'><item id='{room}'><displayed xmlns='{MDS}'/></item></items>"
        event = f"<event xmlns='http://jabber.org/protocol/pubsub#event'>{items}</event>"
        message = parse_stanza(f"<message from='{sender}' to='{self.laptop.jid}'>{event}</message>")
        self.assertFalse(self.world.account.from_server(self.laptop, message))

    def test_by_one_of_another_device(self) -> None:
        self.event(BARE)
        self.assertEqual(self.later(60), [])

    def read_up_to(self, stanza_id: str) -> None:
        """Another device publishes that, and the laptop is told."""
        named = f"<displayed xmlns='{MDS}'><stanza-id xmlns='urn:xmpp:sid:0' id='{stanza_id}' by='{ROOM}'/></displayed>"
        items = f"<items node='{MDS}'><item id='{ROOM}'>{named}</item></items>"
        event = f"<event xmlns='http://jabber.org/protocol/pubsub#event'>{items}</event>"
        message = parse_stanza(f"<message from='{BARE}' to='{self.laptop.jid}'>{event}</message>")
        self.assertFalse(self.world.account.from_server(self.laptop, message))

    def identified(self, stanza_id: str) -> None:
        """Bob asks for alice; the room has an id for that."""
        self.says(inner=f"<stanza-id xmlns='urn:xmpp:sid:0' id='{stanza_id}' by='{ROOM}'/>")

    def test_not_further_than_is_published(self) -> None:
        """What was said since, while the device had not published yet, is told."""
        self.identified("s1")
        self.identified("s2")
        self.read_up_to("s1")
        self.published(5)
        self.identified("s3")
        self.read_up_to("s3")
        self.assertEqual(self.later(60), [])

    def test_published_before_the_message_is_here(self) -> None:
        """The other device is nearer to the room."""
        self.read_up_to("s1")
        self.identified("s1")
        self.assertEqual(self.later(60), [])
        self.identified("s2")
        self.published(5)

    def test_not_further_than_is_published_before_the_connection_broke(self) -> None:
        for said, read, told in ((("s1", "s2"), "s2", 0), (("s3", "s4"), "s3", 1)):
            self.wakes(self.phone)
            for stanza_id in said:
                self.identified(stanza_id)
            self.read_up_to(read)
            self.sleeps(self.phone, got_all=False)
            self.assertEqual(len(self.later(60)), told)

    def test_by_what_the_account_stream_is_told(self) -> None:
        """No client here is told of it, where the server tells only who subscribes."""
        items = f"<items node='{MDS}'><item id='{ROOM}'><displayed xmlns='{MDS}'/></item></items>"
        event = f"<event xmlns='http://jabber.org/protocol/pubsub#event'>{items}</event>"
        self.world.room(f"<message from='mallory@m.test' to='{STREAM}'>{event}</message>")
        self.assertEqual(self.later(0.5), [])
        self.world.room(f"<message from='{BARE}' to='{STREAM}'>{event}</message>")
        self.assertEqual(self.later(60), [])

    def test_by_one_of_somebody_else(self) -> None:
        self.event("mallory@m.test")
        self.event(BARE, "other@muc.test")
        self.published(1.1)

    def test_a_call_does_not_wait(self) -> None:
        self.says("call", inner="<invite xmlns='urn:xmpp:call-invites:0'/>")
        self.published()

    def test_by_itself_the_laptop_says_nothing(self) -> None:
        """That a message has arrived there does not mean that anybody has read it."""
        self.service_says(self.published(5))
        self.later(60)
        self.contact_says(self.phone)
        for inner in (
            "<received xmlns='urn:xmpp:receipts' id='x'/><store xmlns='urn:xmpp:hints'/>",
            "<received xmlns='urn:xmpp:chat-markers:0' id='x'/>",
            "<inactive xmlns='http://jabber.org/protocol/chatstates'/>",
            "<gone xmlns='http://jabber.org/protocol/chatstates'/><no-store xmlns='urn:xmpp:hints'/>",
            "<ringing xmlns='urn:xmpp:jingle-message:0' id='x'/>",
            "<encrypted xmlns='eu.siacs.conversations.axolotl'><header sid='1'/></encrypted>",
            "",
        ):
            self.world.client(self.laptop, f"<message type='chat' to='carol@c.test/x'>{inner}</message>")
        self.world.client(self.laptop, "<message type='error' to='carol@c.test/x'><body>hello</body></message>")
        self.published(5)

    def test_what_its_user_says(self) -> None:
        self.service_says(self.published(5))
        self.later(60)
        for inner in (
            "<body>yes</body>",
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>",
            "<received xmlns='urn:xmpp:receipts' id='x'/><displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>",
            "<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>a</reaction></reactions>",
            "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload>x</payload></encrypted>",
        ):
            self.contact_says(self.phone)
            self.world.client(self.laptop, f"<message type='chat' to='carol@c.test/x'>{inner}</message>")
            self.assertEqual(self.later(60), [], inner)

    def test_a_word_elsewhere_says_nothing(self) -> None:
        self.world.client(self.laptop, "<message type='chat' to='carol@c.test'><body>x</body></message>")
        self.published(1.1)


class Rooms(PushCase):
    def notify(self, setting: str) -> None:
        self.world.account.notifications({ROOM: setting})

    def test_muted(self) -> None:
        self.notify("never")
        self.sleeps(self.phone)
        self.says()
        self.whispers()
        self.assertEqual(self.later(60), [])

    def test_muted_meanwhile(self) -> None:
        self.world.session("laptop")
        self.sleeps(self.phone)
        self.says()
        self.notify("never")
        self.assertEqual(self.later(60), [])

    def test_always(self) -> None:
        self.notify("always")
        self.sleeps(self.phone)
        self.says("nothing")
        self.published()


class WithoutRooms(PushCase):
    """The account stream is there for push alone."""

    def setUp(self) -> None:
        self.world = self.new_world()
        self.phone = self.world.session("phone")
        self.phone.managed = True
        self.said = 0
        self.enable(self.phone)
        self.enable(self.phone, ENABLE.replace("'n'", "'m'"))
        self.sleeps(self.phone)
        self.contact_says(self.phone)

    def test_it_stays_for_a_slow_service(self) -> None:
        first, second = self.later()
        self.service_says(first)
        self.assertEqual(self.later(60), [])
        self.assertEqual(self.world.stream.closed, 0)
        self.service_says(second)
        self.assertEqual((self.world.stream.closed, self.world.stream.jid), (1, ""))

    def test_it_does_not_stay_for_a_silent_one(self) -> None:
        first, _second = self.later()
        self.service_says(first)
        self.later(120)
        self.assertEqual(self.world.stream.closed, 1)
        self.assertEqual(len(self.enabled()), 2)

    def test_an_account_that_is_no_more_waits_for_none(self) -> None:
        """Nor is anything written of it afterwards."""
        first, _second = self.later()
        self.world.account.end()
        self.assertTrue(self.world.stream.closed)
        self.world.journal.enabled = ()
        self.service_says(first, "item-not-found")
        self.assertEqual((self.later(3600), self.enabled()), ([], []))


class WorldOfGroups(PushWorld):
    push = Push()


class PrivateGroups(PushCase):
    """By default, all that is said in private groups is told, and elsewhere what names the account."""

    new_world = WorldOfGroups

    def test_a_private_group(self) -> None:
        self.is_private(True)
        self.published()

    def test_another_room(self) -> None:
        self.is_private(False)
        self.assertEqual(self.later(60), [])

    def is_private(self, members_only: bool) -> None:
        """The room is not anonymous; it is asked who can enter, and something is said."""
        self.says("first")
        self.world.tells_of_itself(*(("muc_membersonly",) if members_only else ()))
        self.sleeps(self.phone)
        self.says("second")


class WorldOfNothing(PushWorld):
    push = Push(rooms="none")


class Nothing(PushCase):
    new_world = WorldOfNothing

    def test_nothing_of_rooms(self) -> None:
        self.world.account.notifications({ROOM: "always"})
        self.sleeps(self.phone)
        self.says()
        self.assertEqual(self.later(60), [])
        self.contact_says(self.phone)
        self.published()


class WorldOfEverything(PushWorld):
    push = Push(rooms="all", body=True, sender=True, delay=0.0)


class Everything(PushCase):
    new_world = WorldOfEverything

    def test_all_of_it(self) -> None:
        self.sleeps(self.phone)
        self.says("nothing &amp; all")
        publication = self.published()
        self.assertIn(b">nothing &amp; all<", publication.raw)
        self.assertIn(f">{ROOM}/bob<".encode(), publication.raw)

    def test_a_pause_at_least(self) -> None:
        """Even if nothing is to wait: whoever says much could have as much published as the service answers."""
        self.sleeps(self.phone)
        self.says()
        self.service_says(self.published())
        self.says()
        self.assertEqual(self.later(PAUSE * 0.9), [])
        self.published(PAUSE * 0.2)


class WorldOfBookmarks(PushWorld):
    def __init__(self) -> None:
        super().__init__(bookmarks="follow")


class BookmarksNotRead(PushCase):
    """After a restart, a room may be muted: it has a moment to turn out."""

    new_world = WorldOfBookmarks

    def test_a_moment(self) -> None:
        self.sleeps(self.phone)
        self.says()
        self.assertEqual(self.later(1), [])
        self.world.account.notifications({})
        self.published(5)


class LeftToTheServer(PushCase):
    """The service takes nothing from the account stream, as Conversations' does: the phone's server is to tell it."""

    def setUp(self) -> None:
        super().setUp()
        self.sleeps(self.phone)

    def refused(self, condition: str = "forbidden") -> None:
        self.contact_says(self.phone)
        self.service_says(self.published(), condition, "auth")

    def pushed(self, seconds: float = 0.0) -> int:
        """Let time pass, in which nothing is published; return how often the server was to push."""
        self.assertEqual(self.later(seconds), [])
        pushed, self.phone.pushed = self.phone.pushed, 0
        return pushed

    def test_what_was_refused(self) -> None:
        for condition in ("forbidden", "not-authorized", "not-allowed"):
            self.refused(condition)
            self.assertEqual((self.pushed(), self.pushed(3600.0), self.enabled()), (1, 0, [("phone", "n", True)]))
            self.enable(self.phone)  # it is tried again

    def test_what_comes_later(self) -> None:
        """There is a pause, as between publications; what comes in it is pushed once."""
        self.refused()
        self.pushed()
        for _ in range(3):
            self.contact_says(self.phone)
            self.contact_says(self.phone, sender="dave@c.test/x")
        self.assertEqual((self.pushed(4.0), self.pushed(2.0), self.pushed(3600.0)), (0, 1, 0))

    def test_after_a_wait(self) -> None:
        """Another device is awake, where it may be read."""
        self.refused()
        self.pushed(60.0)
        laptop = self.world.session("laptop")
        self.contact_says(self.phone)
        self.assertEqual((self.pushed(4.0), self.pushed(2.0)), (0, 1))
        self.contact_says(self.phone)
        self.world.client(laptop, "<message to='carol@c.test' type='chat'><body>x</body></message>")
        self.assertEqual(self.pushed(60.0), 0)

    def test_rooms(self) -> None:
        """They say it to the account stream: no server has it for the phone."""
        self.says()
        self.service_says(self.published(), "forbidden", "auth")
        self.assertEqual(self.pushed(), 0)
        self.says()
        self.whispers()
        self.assertEqual(self.pushed(60.0), 0)
        self.contact_says(self.phone)
        self.assertEqual(self.pushed(), 1)

    def test_what_the_account_stream_is_told(self) -> None:
        self.refused()
        self.pushed(60.0)
        self.world.room(f"<message from='carol@c.test/x' to='{STREAM}'><body>hello</body></message>")
        self.assertEqual(self.pushed(60.0), 0)

    def test_what_it_had_not_got_when_its_connection_broke(self) -> None:
        self.refused()
        self.pushed(60.0)
        self.wakes(self.phone)
        self.contact_says(self.phone)
        self.assertEqual(self.pushed(60.0), 0)
        self.sleeps(self.phone)
        self.assertEqual(self.pushed(), 1)
        self.wakes(self.phone)
        self.contact_says(self.phone)
        self.phone.acknowledge()
        self.sleeps(self.phone)
        self.assertEqual(self.pushed(60.0), 0)

    def test_a_phone_that_wakes_or_is_gone(self) -> None:
        self.refused()
        self.pushed()
        self.contact_says(self.phone)
        self.wakes(self.phone)
        self.assertEqual(self.pushed(60.0), 0)
        self.sleeps(self.phone)
        self.contact_says(self.phone)
        self.goes(self.phone)
        self.assertEqual(self.pushed(60.0), 0)

    def test_a_server_that_does_not_know_push(self) -> None:
        self.ask(self.phone, ENABLE)
        self.answer(self.phone, f"<error type='cancel'><service-unavailable xmlns='{STANZAS}'/></error>", "error")
        self.refused()
        self.assertEqual((self.pushed(60.0), self.enabled()), (0, []))


class Errors(PushCase):
    def setUp(self) -> None:
        super().setUp()
        self.sleeps(self.phone)
        self.says()
        self.publication = self.published()

    def test_refused(self) -> None:
        for condition, kind in (("item-not-found", "cancel"), ("gone", "cancel"), ("strange", "cancel")):
            self.service_says(self.publication, condition, kind)
            self.assertEqual(self.enabled(), [], condition)
            self.enable(self.phone)
            self.says()
            self.publication = self.published()

    def test_counted(self) -> None:
        counted = Counted(PUBLICATIONS)
        self.service_says(self.publication)
        self.service_says(self.publication)
        self.says()
        self.publication = self.published(60.0)
        self.service_says(self.publication, "item-not-found")
        self.assertEqual(counted.since(), {("told",): 1, ("disabled",): 1})

    def test_another_answer(self) -> None:
        """The first one counts, whatever the service says later under the same id."""
        self.service_says(self.publication)
        self.service_says(self.publication, "item-not-found")
        self.assertEqual(len(self.enabled()), 1)

    def test_an_answer_much_later(self) -> None:
        self.later(120.0)
        self.service_says(self.publication, "item-not-found")
        self.assertEqual((self.later(3600.0), len(self.enabled())), ([], 1))

    def test_what_servers_say_of_a_component_that_is_not_connected(self) -> None:
        """Prosody 0.12 says that it may come back; ejabberd 23.01, where nobody may speak to servers, does not."""
        words = (
            f"<error type='wait'><remote-server-timeout xmlns='{STANZAS}'/><text>Component unavailable</text>"
            "<not-connected xmlns='xmpp:prosody.im/protocol/component'/></error>"
        )
        self.service_answers(words)
        self.assertEqual(len(self.enabled()), 1)
        self.publication = self.published(RETRY_LONGEST)
        events = log_events(self)
        self.service_answers(
            f"<pubsub/><error type='auth'><forbidden xmlns='{STANZAS}'/><text>{'x' * 100_000}</text></error>"
        )
        self.assertEqual(len(self.enabled()), 1, "it may take it from the server")
        self.assertIn("forbidden", [event.get("reason") for event in events])

    def service_answers(self, words: str) -> None:
        self.world.room(f"<iq type='error' id='{self.publication['id']}' from='{SERVICE}' to='{STREAM}'>{words}</iq>")

    def test_refused_by_somebody_else(self) -> None:
        for sender in ("mallory@m.test", f"{ROOM}/bob", "other.test", f"{SERVICE}/x"):
            self.service_says(self.publication, "item-not-found", sender=sender)
        self.assertEqual(len(self.enabled()), 1)

    def test_tried_again(self) -> None:
        self.service_says(self.publication, "resource-constraint", "wait")
        self.assertEqual(self.later(RETRY_FIRST * 0.4), [])
        self.says()
        again = self.published(RETRY_FIRST * 1.2)
        self.assertIn(b">2<", again.raw)
        self.service_says(again)
        self.assertEqual((self.later(3600), len(self.enabled())), ([], 1))

    def test_not_tried_again_once_it_is_read(self) -> None:
        self.service_says(self.publication, "remote-server-timeout")
        self.wakes(self.phone)
        self.assertEqual(self.later(3600), [])

    def test_read_elsewhere_while_it_is_being_told(self) -> None:
        self.world.client(
            self.world.session("laptop"), f"<message type='groupchat' to='{ROOM}'><body>x</body></message>"
        )
        self.service_says(self.publication, "remote-server-timeout")
        self.assertEqual(self.later(3600), [])

    def test_a_success_begins_anew(self) -> None:
        """Failures count in a row, and so do the waits."""
        for _ in range(MAX_FAILURES - 1):
            self.service_says(self.publication, "remote-server-timeout")
            self.publication = self.published(RETRY_LONGEST * 1.5)
        self.service_says(self.publication)
        self.later(60)
        self.says()
        self.publication = self.published()
        self.service_says(self.publication, "remote-server-timeout")
        self.assertEqual(len(self.enabled()), 1)
        self.published(RETRY_FIRST * 1.5)

    def test_read_while_it_is_being_told(self) -> None:
        self.wakes(self.phone)
        self.service_says(self.publication, "remote-server-timeout")
        self.assertEqual(self.later(3600), [])

    def test_gone_for_good(self) -> None:
        for _ in range(MAX_FAILURES - 1):
            self.service_says(self.publication, "remote-server-not-found")
            self.assertEqual(len(self.enabled()), 1)
            self.publication = self.published(RETRY_LONGEST * 1.5)
        self.service_says(self.publication, "remote-server-not-found")
        self.assertEqual(self.enabled(), [])

    def test_no_answer(self) -> None:
        """The service may have told of it: that is not told twice. What comes afterwards waits a little."""
        self.assertEqual(self.later(120.0), [])
        self.assertEqual(self.later(3600.0), [])
        self.assertEqual(len(self.enabled()), 1)
        self.says()
        self.assertIn(b">1<", self.published().raw)

    def test_no_answer_while_more_comes(self) -> None:
        self.says()
        self.assertEqual(self.later(120.0), [])
        self.assertEqual(self.later(RETRY_FIRST * 0.4), [])
        self.assertIn(b">1<", self.published(RETRY_FIRST * 1.2).raw)

    def test_an_answer_that_cannot_be_read(self) -> None:
        elements = "<a/>" * (MAX_PAYLOADS + 1)
        stanza = f"<iq type='error' id='{self.publication['id']}' from='{SERVICE}' to='{STREAM}'>{elements}</iq>"
        self.world.room(stanza)
        self.assertEqual((self.later(3600.0), len(self.enabled())), ([], 1))

    def test_never_an_answer(self) -> None:
        for _ in range(MAX_FAILURES - 1):
            self.later(120.0)
            self.assertEqual(len(self.enabled()), 1)
            self.says()
            self.publication = self.published(RETRY_LONGEST * 1.5)
        self.later(120.0)
        self.assertEqual(self.enabled(), [])

    def test_too_many_chats_not_told(self) -> None:
        """Of what has no place any more, the number of messages is told."""
        self.service_says(self.publication)
        for number in range(MAX_CHATS):
            self.contact_says(self.phone, sender=f"{number}@c.test/x")
        first = self.published(60)
        self.assertIn(f">{MAX_CHATS}<".encode(), first.raw)
        for number in range(MAX_CHATS):
            self.contact_says(self.phone, sender=f"{number}@d.test/x")
        self.service_says(first, "resource-constraint", "wait")
        self.assertIn(f">{2 * MAX_CHATS}<".encode(), self.published(60).raw)

    def test_enabled_anew_meanwhile(self) -> None:
        form = "<x xmlns='jabber:x:data' type='submit'><field var='a'><value>b</value></field></x>"
        self.enable(self.phone, f"<enable xmlns='{PUSH}' jid='{SERVICE}' node='n'>{form}</enable>")
        self.service_says(self.publication, "item-not-found")
        self.assertEqual(len(self.enabled()), 1)
        self.says()
        self.assertIn(form.encode(), self.published().raw)

    def disabled_by(
        self,
        sender: str,
        node: str = "n",
        affiliation: str = "none",
        to: str = BARE,
        jid: str = BARE,
        kind: str = "normal",
    ) -> None:
        inner = f"<affiliation jid='{jid}' affiliation='{affiliation}'/>"
        pubsub = f"<pubsub xmlns='http://jabber.org/protocol/pubsub' node='{node}'>{inner}</pubsub>"
        message = f"<message type='{kind}' from='{sender}' to='{to}'>{pubsub}</message>"
        if to == STREAM:
            self.world.room(message)
        else:
            self.assertFalse(self.world.account.from_server(self.phone, parse_stanza(message)))

    def test_disabled_by_the_service(self) -> None:
        """It answers to the account, or to the address that it is told by: the account stream's."""
        for to in (BARE, STREAM):
            self.disabled_by("mallory@m.test", to=to)
            self.disabled_by(f"{ROOM}/bob", to=to)
            self.disabled_by(SERVICE, node="m", to=to)
            self.disabled_by(SERVICE, affiliation="publisher", to=to)
            self.disabled_by(SERVICE, jid="carol@c.test", to=to)
            self.disabled_by(SERVICE, kind="error", to=to)
            self.disabled_by(f"{SERVICE}/x", to=to)
            self.assertEqual(len(self.enabled()), 1)
            self.disabled_by(SERVICE, to=to)
            self.assertEqual(self.enabled(), [])
            self.enable(self.phone)
