"""How far the account has read (XEP-0490): who says so, where it is known, and what a new device is given for it."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.streams import Answered
from minimixproxy.minimix.read_state import LARGEST, MAX_BROKEN, MAX_ROOMS, ReadState
from minimixproxy.wire.framing import Framer, FramingLimits
from minimixproxy.wire.stanza import Stanza, parse_stanza
from minimixproxy.wire.trees import BUILT
from minimixproxy.xep.displayed import MAX_ITEMS
from tests.log_events import log_events
from tests.minimix.fakes import BARE, HEADER, ROOM, STREAM, FakeSession, World, kinds
from tests.minimix.history.test_room_history import Recorder, Speaker

PUBSUB = "http://jabber.org/protocol/pubsub"
EVENT = f"{PUBSUB}#event"
MDS = "urn:xmpp:mds:displayed:0"
NOT_FOUND = "<error type='cancel'><item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
COUNT = 60  # messages in the room; by themselves, 20 of them are shown to who is new


def item(stanza_id: str, room: str = ROOM, by: str | None = None) -> str:
    named = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{room if by is None else by}' id='{stanza_id}'/>"
    return f"<item id='{room}'><displayed xmlns='{MDS}'>{named}</displayed></item>"


def event(*items: str, sender: str = BARE, to: str = STREAM) -> str:
    inner = f"<event xmlns='{EVENT}'><items node='{MDS}'>{''.join(items)}</items></event>"
    return f"<message type='headline' from='{sender}' to='{to}'>{inner}</message>"


class ReadCase(SynchronousTestCase):
    """The laptop is in the room, where bob has said a lot. The server has subscribed the account stream."""

    def setUp(self) -> None:
        self.world = World()
        self.world.stream.tells_read_state = True
        (self.laptop,) = self.world.joined("laptop")
        self.opened()
        for number in range(COUNT):
            self.say(number)

    def opened(self, *items: str, subscribes: bool = True) -> None:
        self.world.stream.opened()
        self.answer(self.asked("subscribe"), subscribes)
        if subscribes:
            self.tells(*items)

    def say(self, number: int) -> None:
        self.world.says("bob", f"m{number}", f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='s{number}'/>")

    def asked(self, name: str) -> Stanza:
        (found,) = self.questions()
        self.assertIn(f"<{name} node='{MDS}'".encode(), found.raw)
        self.assertIsNone(found.get("to"))
        return found

    def questions(self) -> list[Stanza]:
        return [stanza for stanza in self.world.stream.take() if stanza.name == "iq" and MDS.encode() in stanza.raw]

    def answer(self, question: Stanza, good: bool = True, inner: str = NOT_FOUND) -> None:
        kind, content = ("result", "") if good else ("error", inner)
        self.world.room(f"<iq type='{kind}' from='{BARE}' to='{STREAM}' id='{question['id']}'>{content}</iq>")

    def tells(self, *items: str) -> None:
        """The server answers what is asked for all there is."""
        asked = self.asked("items")
        inner = f"<pubsub xmlns='{PUBSUB}'><items node='{MDS}'>{''.join(items)}</items></pubsub>"
        self.world.room(f"<iq type='result' from='{BARE}' to='{STREAM}' id='{asked['id']}'>{inner}</iq>")

    def comes(self, resource: str = "tablet", wish: str = "") -> list[str]:
        """A device comes into the room: what it is told of the past."""
        session = self.world.session(resource)
        return self.joins(session, wish)

    def joins(self, session: FakeSession, wish: str = "") -> list[str]:
        self.world.asks_to_join(session, inner=wish)
        found = [one.removeprefix("bob: ") for one in kinds(session.take()) if one.startswith("bob: ")]
        self.world.account.session_closed(session)
        self.world.stream.take()
        return found

    def last(self, count: int) -> list[str]:
        return [f"m{number}" for number in range(COUNT - count, COUNT)]

    def reads(self, *items: str, sender: str = BARE) -> None:
        self.world.room(event(*items, sender=sender))


class NewDevice(ReadCase):
    def test_it_is_given_what_is_unread(self) -> None:
        self.reads(item("s9"))
        self.assertEqual(self.comes(), self.last(50))

    def test_and_never_less_than_the_room_would_show(self) -> None:
        self.reads(item(f"s{COUNT - 1}"))
        self.assertEqual(self.comes(), self.last(20))

    def test_what_it_asks_for_it_is_given(self) -> None:
        self.reads(item("s9"))
        self.assertEqual(self.comes(wish="<history maxstanzas='3'/>"), self.last(3))
        self.assertEqual(self.comes("phone", "<history maxchars='0'/>"), [])

    def test_one_that_is_known_starts_from_where_it_was(self) -> None:
        self.assertEqual(self.comes(), self.last(20))
        self.reads(item("s9"))
        self.assertEqual(self.comes(), self.last(20), "nothing is new, and the rest in case that it keeps nothing")

    def test_it_goes_on_as_any_other(self) -> None:
        self.reads(item("s9"))
        self.comes()
        for number in range(COUNT, COUNT + 30):
            self.say(number)
        self.assertEqual(self.comes(), [f"m{number}" for number in range(COUNT, COUNT + 30)])

    def test_a_session_that_joins_once_more(self) -> None:
        """It has had all: it is given what it would be by the room."""
        self.reads(item("s9"))
        self.laptop.take()
        self.world.asks_to_join(self.laptop)
        self.assertEqual(len([one for one in kinds(self.laptop.take()) if one.startswith("bob: ")]), 20)


class Marks(ReadCase):
    """What a mark may name."""

    def test_a_message_that_is_not_known(self) -> None:
        self.reads(item("nothing"))
        self.assertEqual(self.comes(), self.last(20))

    def test_what_was_known_before_counts_then(self) -> None:
        self.reads(item("s9"))
        self.reads(item("nothing"))
        self.assertEqual(self.comes(), self.last(50))

    def test_a_message_that_comes_later(self) -> None:
        self.reads(item(f"s{COUNT}"))
        for number in range(COUNT, COUNT + 31):
            self.say(number)
        self.assertEqual(self.comes(), [f"m{number}" for number in range(COUNT + 1, COUNT + 31)])

    def test_one_that_is_too_old(self) -> None:
        """All that is kept came behind it."""
        self.world = World(history=40)
        self.world.stream.tells_read_state = True
        self.world.joined("laptop")
        self.opened()
        self.say(0)
        self.reads(item("s0"))
        for number in range(1, COUNT):
            self.say(number)
        self.assertEqual(self.comes(), self.last(40))

    def test_it_does_not_go_back(self) -> None:
        self.reads(item("s30"))
        self.reads(item("s9"))
        self.assertEqual(self.comes(), self.last(29))

    def test_of_a_correction(self) -> None:
        named = f"<stanza-id xmlns='urn:xmpp:sid:0' by='{ROOM}' id='c'/>"
        self.world.says("bob", "else", f"<replace xmlns='urn:xmpp:message-correct:0' id='m'/>{named}", stanza_id="n")
        for number in range(COUNT, COUNT + 30):
            self.say(number)
        self.reads(item("c"))
        self.assertEqual(self.comes(), [f"m{number}" for number in range(COUNT, COUNT + 30)])

    def test_another_rooms(self) -> None:
        self.reads(item("s9", room="other@muc.test"))
        self.assertEqual(self.comes(), self.last(20))

    def test_absurd(self) -> None:
        nothing = f"<item id='{ROOM}'/>", f"<item id='{ROOM}'><displayed xmlns='{MDS}'/></item>", "<item/>"
        ids = item(""), item("x" * 1025), item("s9", by=""), item("s9", by="eve@a.test"), item("s9", by=BARE)
        rooms = item("s9", room=f"{ROOM}/alice"), item("s9", room="@"), item("s9", room="")
        for one in (*nothing, *ids, *rooms):
            self.reads(one)
        self.reads()
        self.world.room(f"<message from='{BARE}' to='{STREAM}'><event xmlns='{EVENT}'/>{MDS}</message>")
        self.world.room(event(item("s9")).replace(f"node='{MDS}'", "node='other'"))
        self.assertIsNone(self.world.account.read_up_to(ROOM))
        self.assertEqual(self.comes(), self.last(20))

    def test_an_address_spelt_otherwise(self) -> None:
        self.reads(item("s9", room=ROOM.upper(), by=ROOM))
        self.assertEqual(self.comes(), self.last(50))


class WhoIsBelieved(ReadCase):
    def test_nobody_else(self) -> None:
        for sender in (f"{BARE}/laptop", "a.test", "eve@a.test", ROOM, f"{ROOM}/bob", "@"):
            self.reads(item("s9"), sender=sender)
        self.assertEqual(self.comes(), self.last(20))

    def test_what_no_client_is_to_see(self) -> None:
        """The event was for the account stream alone, whatever else is in it."""
        self.laptop.take()
        self.world.room(event(item("s9")).replace("</message>", "<body>x</body></message>"))
        self.assertEqual(self.laptop.take(), [])

    def test_what_others_send_there_is_a_message(self) -> None:
        self.laptop.take()
        self.world.room(event(item("s9"), sender="eve@b.test/x").replace("</message>", "<body>x</body></message>"))
        self.assertEqual(len(self.laptop.take()), 1)

    def test_a_client_that_publishes(self) -> None:
        publish = f"<publish node='{MDS}'>{item('s9')}</publish>"
        self.assertFalse(
            self.world.client(self.laptop, f"<iq type='set' id='p'><pubsub xmlns='{PUBSUB}'>{publish}</pubsub></iq>")
        )
        self.assertEqual(self.comes(), self.last(50))

    def test_what_clients_are_told(self) -> None:
        told = parse_stanza(event(item("s9"), to=self.laptop.jid))
        self.assertFalse(self.world.account.from_server(self.laptop, told), "it is the client's, too")
        self.assertEqual(self.comes(), self.last(50))
        other = parse_stanza(event(item("s30"), to=self.laptop.jid, sender="eve@a.test"))
        self.assertFalse(self.world.account.from_server(self.laptop, other))
        self.assertEqual(self.comes("phone"), self.last(50))


class Asking(ReadCase):
    def test_what_there_is_when_the_stream_opens(self) -> None:
        self.opened(item("s9"))
        self.assertEqual(self.comes(), self.last(50))

    def test_before_the_room_is_joined(self) -> None:
        self.world = World()
        self.world.stream.tells_read_state = True
        self.world.joined("laptop")
        self.world.account.leave(ROOM)
        self.world.gone("alice", "110")
        self.opened(item("s9"))
        self.world.joined("laptop")
        for number in range(COUNT):
            self.say(number)
        self.assertEqual(self.comes(), self.last(50))

    def test_when_a_device_comes(self) -> None:
        """Unless the server has told something by itself: then it tells everything."""
        tablet = self.world.session("tablet")
        self.tells(item("s9"))
        self.assertEqual(self.joins(tablet), self.last(50))
        self.reads(item("s30"))
        self.world.session("phone")
        self.assertEqual(self.questions(), [])

    def test_one_question_at_a_time(self) -> None:
        self.world.session("tablet")
        self.asked("items")
        self.world.session("phone")
        self.assertEqual(self.questions(), [])

    def test_a_node_that_comes_later(self) -> None:
        """Nothing can be subscribed to before a client has published something."""
        self.opened(subscribes=False)
        self.assertEqual(self.questions(), [])
        self.world.account.from_server(self.laptop, parse_stanza(event(item("s8"), to=self.laptop.jid)))
        self.answer(self.asked("subscribe"))
        self.tells(item("s9"))
        self.assertEqual(self.comes(), self.last(50))

    def test_a_server_that_subscribes_nobody(self) -> None:
        self.world.stream.opened()
        refused = "<error type='cancel'><not-allowed xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
        self.answer(self.asked("subscribe"), False, refused)
        self.tells(item("s9"))
        self.assertEqual(self.comes(), self.last(50))

    def test_no_answer(self) -> None:
        for question in ("subscribe", "items"):
            self.world.stream.opened()
            asked = self.asked("subscribe")
            if question == "items":
                self.answer(asked)
            self.world.stream.lost()
            self.world.stream.take()
        self.opened(item("s9"))
        self.assertEqual(self.world.account.read_up_to(ROOM), "s9")

    def test_a_stream_that_is_closed_is_not_opened_for_it(self) -> None:
        self.world.stream.close()
        self.world.session("tablet")
        self.assertEqual(self.world.stream.jid, "")

    def test_bounds(self) -> None:
        many = [item("x", room=f"r{number}@muc.test") for number in range(MAX_ITEMS)]
        self.reads(item("s9"), *many)
        self.assertEqual(self.comes(), self.last(20), "more than one stanza may tell of")
        self.reads(item("s9"))
        self.reads(*[item("x", room=f"q{number}@muc.test") for number in range(MAX_ROOMS)])
        self.assertEqual(self.comes("phone"), self.last(50), "the room knows it all the same")
        self.assertIsNone(self.world.account.read_up_to(ROOM))
        self.assertEqual(self.world.account.read_up_to(f"q{MAX_ROOMS - 1}@muc.test"), "x")


class News(SynchronousTestCase):
    """What tells push services that a room is read."""

    def setUp(self) -> None:
        self.stream_jid, self.bare = STREAM, BARE
        self.questions: list[Answered] = []
        self.read: list[str] = []
        self.state = ReadState(self, lambda _room: None, self.read.append)
        self.state.stream_opened()
        self.answered()

    def ask(self, _to: str, _kind: str, _payload: bytes, answered: Answered) -> None:
        self.questions.append(answered)

    def answered(self, *items: str) -> None:
        inner = f"<pubsub xmlns='{PUBSUB}'><items node='{MDS}'>{''.join(items)}</items></pubsub>"
        self.questions.pop()(parse_stanza(f"<iq type='result'>{inner}</iq>"))

    def test_not_what_is_found_first(self) -> None:
        """It may be of long before what is to be pushed now."""
        self.answered(item("s1"))
        self.assertEqual(self.read, [])

    def test_what_has_changed_since(self) -> None:
        self.answered(item("s1"), item("t1", room="other@muc.test"))
        self.state.session_came()
        self.answered(item("s2"), item("t1", room="other@muc.test"))
        self.assertEqual(self.read, [ROOM])

    def test_answers_that_end_the_stream(self) -> None:
        """It is not asked for ever: the stream holds the account's rooms. What it is told counts all the same."""
        events = log_events(self)
        self.questions.pop()(None)
        for _ in range(MAX_BROKEN - 1):
            self.assertEqual(events, [])
            self.state.stream_opened()
            self.answered()
            self.questions.pop()(None)
        self.assertEqual(len(events), 1)
        self.state.stream_opened()
        self.answered()
        self.state.session_came()
        self.assertEqual(self.questions, [])
        self.state.on_stream(parse_stanza(event(item("s1"))))
        self.assertEqual(self.read, [ROOM])

    def test_answers_that_are_too_large(self) -> None:
        """A client may have its server keep hundreds of items of any size, and come again and again."""
        inner = f"<pubsub xmlns='{PUBSUB}'><items node='{MDS}'>{item('s' * LARGEST)}</items></pubsub>"
        framer = Framer(FramingLimits(4 * LARGEST))
        _header, large = framer.feed(HEADER + f"<iq type='result'>{inner}</iq>".encode())
        assert isinstance(large, Stanza)
        built = BUILT.trees
        for _ in range(MAX_BROKEN):
            self.questions.pop()(large)
            self.state.stream_opened()
            self.questions.pop()(large.without_content())
        self.assertEqual((self.questions, BUILT.trees), ([], built))

    def test_an_answer_begins_anew(self) -> None:
        for _ in range(2 * MAX_BROKEN):
            self.questions.pop()(None)
            self.state.session_came()
            self.answered()
            self.state.session_came()
        self.assertEqual(len(self.questions), 1)

    def test_what_is_told(self) -> None:
        for _ in range(2):
            self.state.on_stream(parse_stanza(event(item("s1"))))
        self.assertEqual(self.read, [ROOM])


class AfterARestart(SynchronousTestCase):
    def test_how_far_it_was(self) -> None:
        """It is on disk beside the positions of devices, be the message that was read there still or not."""
        for history in (1000, 40):
            room = Speaker(history=history)
            for number in range(COUNT):
                room.says(f"m{number}", room_id=f"s{number}")
                if number == 9:
                    room.history.read_up_to("s9")
            again = Speaker(Recorder(first=1000), room.journal.kept(), history=history)
            self.assertEqual(again.gets("tablet"), [f"m{number}" for number in range(max(10, COUNT - history), COUNT)])
