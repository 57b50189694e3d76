"""What an account does with rooms that end, stanzas that could not be used, and rooms beyond those it may have."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.journal import KeptAccount
from minimixproxy.minimix.subprotocols.subprotocol import Subprotocol
from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, World, kinds

OTHER = "other@muc.test"
ERROR = "<error type='modify'><not-acceptable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"


class RoomsEndTests(SynchronousTestCase):
    def test_others_are_still_there(self) -> None:
        """The account is not idle, its stream stays, and so does the time after which it leaves them."""
        world = World(stay=1000)
        (phone,) = world.joined("phone")
        world.account.enter(OTHER, "alice")
        world.room(
            f"<presence from='{OTHER}/alice' to='{STREAM}'><x xmlns='http://jabber.org/protocol/muc#user'>"
            "<status code='110'/></x></presence>"
        )
        world.room(f"<message type='groupchat' from='{OTHER}' to='{STREAM}'><subject/></message>")
        world.account.session_closed(phone)
        world.stream.take()
        world.gone("alice", "110 301")
        self.assertEqual((list(world.account.rooms), world.times_idle, world.stream.closed), ([OTHER], 0, 0))
        world.clock.advance(1001)
        left = [stanza for stanza in world.stream.take() if stanza.get("type") == "unavailable"]
        self.assertEqual([stanza["to"] for stanza in left], [f"{OTHER}/alice"])

    def test_the_last(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        world.account.session_closed(phone)
        world.gone("alice", "110 301")
        self.assertEqual((world.account.rooms, world.times_idle, world.stream.closed), ({}, 1, 1))

    def test_nothing_is_waited_for_without_rooms(self) -> None:
        world = World(stay=1000)
        world.account.restore(KeptAccount(BARE, None, False, world.clock.seconds(), []))
        self.assertEqual(world.clock.getDelayedCalls(), [])


class EnterTests(SynchronousTestCase):
    """Rooms that are entered without a client asking for it."""

    def test_no_more_than_it_may_have(self) -> None:
        world = World(max_rooms=2)
        for name in ("a", "b", "c"):
            world.account.enter(f"{name}@muc.test", "alice")
        self.assertEqual(sorted(world.account.rooms), ["a@muc.test", "b@muc.test"])

    def test_one_that_it_is_in(self) -> None:
        """It stays in, with its sessions, and does not ask once more; however many rooms it may have."""
        for most in (1, 10):
            world = World(max_rooms=most)
            (phone,) = world.joined("phone")
            world.account.enter(ROOM, "alice")
            self.assertEqual((world.stream.take(), world.stream.reopening), ([], 0))
            world.says("bob", "hello")
            self.assertEqual(kinds(phone.take()), ["bob: hello"])


class LeftOutTests(SynchronousTestCase):
    """Stanzas on the account stream that are not used, or cannot be sent: whoever waits for an answer is told."""

    def setUp(self) -> None:
        self.world = World()
        (self.phone,) = self.world.joined("phone")

    def left_out(self, name: str, attributes: dict[str, str]) -> None:
        """Something has come of which no more is known."""
        stanza = parse_stanza(f"<{name}/>")
        for handler in self.world.stream:
            if isinstance(handler, Subprotocol) and handler.query.matches(stanza):
                handler.left_out(name, attributes, "too large")

    def asks(self) -> str:
        """The phone asks bob something; return the id by which the account asks it."""
        self.world.client(self.phone, f"<iq type='get' id='q' to='{ROOM}/bob'><query xmlns='jabber:iq:version'/></iq>")
        (asked,) = self.world.stream.take()
        return str(asked["id"])

    def test_an_answer(self) -> None:
        for kind in ("result", "error"):
            number = self.asks()
            self.left_out("iq", {"type": kind, "id": number, "from": f"{ROOM}/bob", "to": STREAM})
            (told,) = self.phone.take()
            self.assertEqual((told["type"], told["id"], told["from"]), ("error", "q", f"{ROOM}/bob"))
            self.assertEqual(self.world.stream.take(), [])

    def test_a_question(self) -> None:
        for kind in ("get", "set"):
            self.left_out("iq", {"type": kind, "id": "x", "from": f"{ROOM}/bob", "to": STREAM})
            (told,) = self.world.stream.take()
            self.assertEqual((told["type"], told["id"], told["to"]), ("error", "x", f"{ROOM}/bob"))
            self.assertEqual((told.get("from"), self.phone.take()), (None, []))

    def test_of_what_nobody_waits_for_an_answer(self) -> None:
        number = self.asks()
        for name in ("message", "presence"):
            self.left_out(name, {"type": "result", "id": number, "from": f"{ROOM}/bob", "to": STREAM})
            self.left_out(name, {"type": "get", "id": "x", "from": f"{ROOM}/bob", "to": STREAM})
        self.assertEqual((self.phone.take(), self.world.stream.take()), ([], []))

    def test_a_question_that_could_not_be_sent(self) -> None:
        number = self.asks()
        self.world.stream.not_sent(parse_stanza(f"<iq type='error' id='{number}' from='{ROOM}/bob'>{ERROR}</iq>"))
        (told,) = self.phone.take()
        self.assertEqual((told["type"], told["id"]), ("error", "q"))

    def test_to_a_room_that_is_not_there_any_more(self) -> None:
        for name in ("message", "presence", "iq"):
            self.world.stream.not_sent(parse_stanza(f"<{name} type='error' id='1' from='{OTHER}/bob'>{ERROR}</{name}>"))
        self.assertEqual((self.phone.take(), self.world.stream.take()), ([], []))

    def test_a_presence_that_cannot_be_read(self) -> None:
        """What it says is not known; but it is bob who says it, and that he goes."""
        many = "<aside/>" * 20_000
        self.world.room(f"<presence type='unavailable' from='{ROOM}/bob' to='{STREAM}'>{many}</presence>")
        (told,) = self.phone.take()
        self.assertEqual((told["from"], told["type"], b"aside" in told.raw), (f"{ROOM}/bob", "unavailable", False))


class ServersWordsTests(SynchronousTestCase):
    """What the server says to a client of what the account stream does."""

    def test_copies_of_a_stream_whose_resource_the_server_chose(self) -> None:
        """They are the proxy's affair, however that stream is called."""
        for jid, taken in ((f"{BARE}/chosen-by-the-server", True), (f"{BARE}/laptop", False)):
            world = World()
            (phone,) = world.joined("phone")
            world.stream.jid = f"{BARE}/chosen-by-the-server"
            copy = parse_stanza(
                f"<message from='{BARE}' to='{phone.jid}'><sent xmlns='urn:xmpp:carbons:2'>"
                f"<forwarded xmlns='urn:xmpp:forward:0'><message xmlns='jabber:client' type='chat' from='{jid}' "
                f"to='{ROOM}/bob'><body>x</body></message></forwarded></sent></message>"
            )
            self.assertIs(world.account.from_server(phone, copy), taken, jid)

    def test_invitation_that_names_another_accounts_stream(self) -> None:
        """It reaches the client in the place of the room's own, of which the server is to know what becomes."""
        world = World()
        (phone,) = world.joined("phone")
        neighbour = "bob@a.test/minimix.4567"
        world.neighbours[neighbour, ROOM] = "bob@a.test/desk"
        invitation = parse_stanza(
            f"<message from='{ROOM}' to='{phone.jid}'><x xmlns='http://jabber.org/protocol/muc#user'>"
            f"<invite from='{neighbour}'/></x></message>"
        )
        self.assertTrue(world.account.from_server(phone, invitation))
        (shown,) = phone.take()
        self.assertIn(b"<invite from='bob@a.test/desk'", shown.raw)
        self.assertEqual(phone.instead, [shown])
