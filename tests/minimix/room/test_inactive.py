"""What of a room waits for a device that nobody looks at (XEP-0352): weighed by the room, told by the session."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session.held_back import NOTHING_WAITS, HeldBack
from minimixproxy.minimix.interfaces.weighed import Weighed
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza
from tests.minimix.fakes import ROOM, STREAM, FakeSession, World

CHAT = "http://jabber.org/protocol/chatstates"
MEMBERS_ONLY = "muc_membersonly"


class Phone(FakeSession):
    """A session that holds back as `c2s.session.client_state` does."""

    def __init__(self, resource: str, clock: Clock) -> None:
        super().__init__(resource, clock)
        self.waiting = HeldBack(self._tell, lambda: self.jid)
        self.weighings = 0

    def _tell(self, weighed: Weighed) -> None:
        super().deliver(weighed.copy(self.jid))

    def deliver(self, data: bytes) -> None:
        self.waiting.release()
        super().deliver(data)

    def deliver_all(self, stanzas: LazyStanzas) -> None:
        self.waiting.release()
        super().deliver_all(stanzas)

    def deliver_weighed(self, weighed: Weighed) -> None:
        self.weighed.append(weighed)
        if weighed.matters:
            self.waiting.release_before(weighed)
            self._tell(weighed)
        else:
            self.waiting.hold(weighed)

    def looks(self) -> list[str]:
        self.waiting.release()
        return self.told()

    def told(self) -> list[str]:
        return [summary(stanza) for stanza in self.take()]


def summary(stanza: Stanza) -> str:
    """A stanza in a few words."""
    nick = (stanza.get("from") or "").partition("/")[2] or "room"
    if stanza.name == "presence":
        shown = next((str(child) for child in stanza.element.elements() if child.name in ("show", "status")), "here")
        codes = "".join(f" {code}" for code in ("110", "301", "303", "307") if code.encode() in stanza.raw)
        return f"{nick} {'gone' if stanza.get('type') == 'unavailable' else shown}{codes}"
    return f"{nick}: " + ",".join(str(child) or str(child.name) for child in stanza.element.elements())


class InactiveTest(SynchronousTestCase):
    options: dict[str, object] = {}

    def setUp(self) -> None:
        self.world = World(**self.options)
        self.phone, self.desktop = Phone("phone", self.world.clock), self.world.session("desktop")
        self.world.account.session_bound(self.phone)
        for session in (self.desktop, self.phone):
            self.world.asks_to_join(session)
        self.enter()
        self.phone.take()
        self.desktop.take()
        self.phone.inactive = True

    def enter(self) -> None:
        self.world.comes_back("bob", "carol")

    def types(self, nick: str, state: str = "composing") -> None:
        self.world.room(
            f"<message type='groupchat' from='{ROOM}/{nick}' to='{STREAM}'><{state} xmlns='{CHAT}'/></message>"
        )

    def shows(self, nick: str, show: str) -> None:
        self.world.shows(nick, inner=f"<show>{show}</show>")


class RoomTest(InactiveTest):
    def enter(self) -> None:
        super().enter()
        self.world.account.rooms[ROOM].info.members_only = False

    def test_presences(self) -> None:
        self.shows("bob", "away")
        self.shows("bob", "dnd")
        self.world.shows("dave")
        self.world.gone("dave")
        self.world.shows("erin")
        self.world.gone("carol")
        self.assertEqual(self.phone.told(), [])
        self.assertEqual(len(self.desktop.take()), 6)
        self.assertEqual(self.phone.looks(), ["bob dnd", "erin here", "carol gone"])

    def test_as_it_was(self) -> None:
        self.shows("bob", "away")
        self.world.shows("bob")
        self.assertEqual(self.phone.looks(), [])

    def test_the_room_itself(self) -> None:
        for text in ("one", "two"):
            self.world.room(f"<presence from='{ROOM}' to='{STREAM}'><status>{text}</status></presence>")
        self.assertEqual(self.phone.looks(), ["room two"])

    def test_chat_states(self) -> None:
        self.types("bob")
        self.types("carol")
        self.types("carol", "paused")
        self.assertEqual(self.phone.looks(), ["bob: composing"])
        self.types("bob", "active")  # the phone knows that he was writing
        self.types("carol", "inactive")
        self.assertEqual(self.phone.looks(), ["bob: active"])

    def test_what_the_phone_has_seen_ends(self) -> None:
        for end in (lambda: self.types("bob", "paused"), lambda: self.world.says("bob", "done", stanza_id="x")):
            self.phone.inactive = False
            self.types("bob")
            self.assertEqual(self.phone.told(), ["bob: composing"])
            self.phone.inactive = True
            end()
            self.types("bob", "active")
            self.assertIn(self.phone.looks(), (["bob: active"], ["bob: done"]))

    def test_who_wrote_has_left(self) -> None:
        self.types("bob")
        self.phone.looks()
        self.world.gone("bob")
        self.world.shows("bob")
        self.types("bob", "active")
        self.assertEqual(self.phone.looks(), ["bob gone", "bob here"])

    def test_messages_keep_their_order_until_one_matters(self) -> None:
        self.world.says("bob", "one", stanza_id="1")
        self.world.shows("dave")
        self.world.says("dave", "two", stanza_id="2")
        self.world.gone("dave")
        self.assertEqual(self.phone.told(), [])
        self.assertEqual(self.phone.waiting.limit, (self.phone.weighed[0].sequence or 0) - 1)
        self.world.says("carol", "Alice, three", stanza_id="3")
        expected = ["bob: one", "dave here", "dave: two", "dave gone", "carol: Alice, three"]
        self.assertEqual(self.phone.told(), expected)
        self.assertEqual(self.phone.waiting.limit, NOTHING_WAITS)

    def test_subject(self) -> None:
        self.world.subject("one")
        self.world.subject("two")
        self.assertEqual(self.phone.told(), [])
        self.assertEqual(self.phone.looks(), ["room: two"])

    def test_markers(self) -> None:
        """They are no history, not even those that are to be stored. What is has its place, and nothing takes it."""
        marker, typing = "displayed xmlns='urn:xmpp:chat-markers:0'", f"composing xmlns='{CHAT}'"
        store = "<store xmlns='urn:xmpp:hints'/>"
        for tag, hint, count in ((marker, "", 1), (marker, store, 1), (typing, store, 2)):
            for number in (1, 2):
                self.world.room(
                    f"<message type='groupchat' from='{ROOM}/bob' to='{STREAM}' id='{number}'>"
                    f"<{tag} id='{number}'/>{hint}</message>"
                )
            self.assertEqual(len(self.phone.looks()), count, (tag, hint))

    def test_own_messages_matter(self) -> None:
        self.world.says("alice", "from the desktop")
        self.assertEqual(self.phone.told(), ["alice: from the desktop"])

    def test_own_presence(self) -> None:
        """What another device shows can wait; another standing matters."""
        self.world.shows("alice", "110", inner="<show>away</show>")
        self.assertEqual(self.phone.told(), [])
        self.world.room(
            f"<presence from='{ROOM}/alice' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc#user'>"
            "<item affiliation='member' role='visitor'/><status code='110'/></x></presence>"
        )
        self.assertEqual(self.phone.told(), ["alice away 110", "alice here 110"])

    def test_what_a_device_shows_is_reflected(self) -> None:
        """Whoever has asked waits for it."""
        self.world.client(self.phone, f"<presence to='{ROOM}/alice' id='p'><show>xa</show></presence>")
        self.phone.take()
        self.world.shows("alice", "110", "id='p'", "<show>xa</show>")
        self.assertEqual(self.phone.told(), ["alice xa 110"])
        self.world.shows("alice", "110", "id='p'", "<show>xa</show>")
        self.assertEqual(self.phone.told(), ["alice xa 110"])

    def test_another_nick_of_its_own(self) -> None:
        self.shows("bob", "away")
        self.world.gone("alice", "303 110", item="nick='alys'")
        self.world.shows("alys", "110")
        self.assertEqual(self.phone.told(), ["bob away", "alice gone 110 303", "alys here 110"])
        self.world.says("bob", "alys!")
        self.assertEqual(self.phone.told(), ["bob: alys!"])

    def test_another_nick_of_somebody(self) -> None:
        self.world.gone("bob", "303", item="nick='rob'")
        self.world.shows("rob")
        self.world.gone("rob")
        self.assertEqual(self.phone.looks(), ["bob gone 303", "rob gone"])

    def test_removal(self) -> None:
        self.world.says("bob", "he goes")
        self.shows("bob", "away")
        self.world.gone("alice", "307 110")
        self.assertEqual(self.phone.told(), ["bob: he goes", "bob away", "alice gone 110 307"])
        self.assertEqual(len(self.phone.waiting), 0)

    def test_private_messages(self) -> None:
        def says(inner: str) -> None:
            self.world.room(f"<message type='chat' from='{ROOM}/bob' to='{STREAM}'>{inner}</message>")

        says(f"<composing xmlns='{CHAT}'/>")
        says(f"<paused xmlns='{CHAT}'/>")
        self.assertEqual(self.phone.told(), [])
        says("<body>psst</body>")
        self.assertEqual(self.phone.told(), ["bob: paused", "bob: psst"])
        says("<x xmlns='urn:something'/>")
        self.assertEqual(len(self.phone.told()), 1)

    def test_iqs(self) -> None:
        self.shows("bob", "away")
        self.world.client(self.desktop, f"<presence type='unavailable' to='{ROOM}/alice'/>")
        self.world.room(f"<iq type='get' from='{ROOM}/bob' to='{STREAM}' id='1'><x xmlns='urn:asked'/></iq>")
        stanzas = self.phone.take()
        self.assertEqual([stanza.name for stanza in stanzas], ["presence", "iq"])

    def test_coming_in_again(self) -> None:
        """A replay is told at once, behind what waited."""
        self.world.says("bob", "one")
        self.world.asks_to_join(self.phone)
        told = self.phone.told()
        self.assertEqual(told[0], "bob: one")
        self.assertEqual(told[-1], "room: topic")

    def test_weighed_once(self) -> None:
        tablet = Phone("tablet", self.world.clock)
        self.world.account.session_bound(tablet)
        self.world.asks_to_join(tablet)
        tablet.inactive = True
        self.world.says("bob", "hello")
        self.assertIs(tablet.weighed[-1], self.phone.weighed[-1])
        for session in (tablet, self.phone):
            session.waiting.release()
            self.assertEqual(session.take()[-1]["to"], session.jid)

    def test_each_reads_its_own_address(self) -> None:
        """Where the room names the account, in what waits, too."""
        actor = f"<x xmlns='http://jabber.org/protocol/muc#user'><item role='none'><actor jid='{STREAM}'/></item></x>"
        self.world.room(f"<presence type='unavailable' from='{ROOM}/bob' to='{STREAM}'>{actor}</presence>")
        self.phone.waiting.release()
        (presence,) = self.phone.take()
        self.assertIn(f"<actor jid='{self.phone.jid}'".encode(), presence.raw.replace(b'"', b"'"))
        self.assertNotIn(STREAM.encode(), presence.raw)

    def test_not_all_are_remembered(self) -> None:
        """That somebody leaves whom the room has shown, and nobody remembers, is told."""
        self.world = World(max_occupants=2)
        self.phone = Phone("phone", self.world.clock)
        self.world.account.session_bound(self.phone)
        self.world.asks_to_join(self.phone)
        self.enter()
        self.world.shows("dave")
        self.phone.take()
        self.phone.inactive = True
        self.world.gone("dave")
        self.assertEqual(self.phone.looks(), ["dave gone"])


class PrivateGroupTest(InactiveTest):
    """Members only, and not anonymous: clients call for every message there."""

    def enter(self) -> None:
        super().enter()
        self.world.stream.take()

    def asked(self) -> int:
        return sum(stanza.name == "iq" for stanza in self.world.stream.sent)

    def test_until_it_is_known(self) -> None:
        self.world.says("bob", "one", stanza_id="1")
        self.assertEqual(self.phone.told(), ["bob: one"])
        self.world.says("bob", "two", stanza_id="2")
        self.assertEqual(self.phone.told(), ["bob: two"])
        self.assertEqual(self.asked(), 1)
        self.world.tells_of_itself()
        self.world.says("bob", "three", stanza_id="3")
        self.assertEqual(self.phone.told(), [])

    def test_members_only(self) -> None:
        self.world.says("bob", "one", stanza_id="1")
        self.world.tells_of_itself(MEMBERS_ONLY)
        self.world.says("bob", "two", stanza_id="2")
        self.assertEqual(self.phone.told(), ["bob: one", "bob: two"])
        self.world.room(
            f"<message type='groupchat' from='{ROOM}' to='{STREAM}'>"
            "<x xmlns='http://jabber.org/protocol/muc#user'><status code='173'/></x></message>"
        )
        self.world.says("bob", "three", stanza_id="3")
        self.assertEqual(self.phone.told(), [])


class OptionsTest(SynchronousTestCase):
    def told(self, **options: object) -> list[str]:
        test = InactiveTest("setUp")
        test.options = options
        test.setUp()
        test.world.tells_of_itself(MEMBERS_ONLY)
        test.shows("bob", "away")
        test.types("carol")
        test.world.says("bob", "hello", stanza_id="1")
        test.world.tells_of_itself(MEMBERS_ONLY)
        test.phone.take()
        test.shows("bob", "dnd")
        test.types("carol", "paused")
        test.world.says("bob", "hello", stanza_id="2")
        return test.phone.told()

    def test_pass(self) -> None:
        self.assertEqual(self.told(inactive="pass"), ["bob dnd", "carol: paused", "bob: hello"])

    def test_states(self) -> None:
        self.assertEqual(self.told(inactive="states", notify="mentions"), ["bob dnd", "carol: paused", "bob: hello"])

    def test_notify(self) -> None:
        self.assertEqual(self.told(notify="mentions"), [])
        self.assertEqual(self.told(notify="all"), ["bob dnd", "carol: paused", "bob: hello"])
        self.assertEqual(self.told(), ["bob dnd", "carol: paused", "bob: hello"])
