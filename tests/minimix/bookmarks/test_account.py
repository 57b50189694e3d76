"""An account and its bookmarks: what opens its stream and closes it again, who stays in rooms, what is looked at."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.bookmarks.poller import DEBOUNCE
from minimixproxy.minimix.interfaces.journal import KeptAccount, KeptMembership, KeptRoom
from minimixproxy.minimix.stream_release import LINGER
from minimixproxy.wire.children import stanza_of_bytes
from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import BARE, ROOM, STREAM, FakeSession, World, kinds

NS_BOOKMARKS = "urn:xmpp:bookmarks:1"
NS_PUBSUB = "http://jabber.org/protocol/pubsub"


class BookmarksOfAccount(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(bookmarks="follow", leave_grace=1.0)

    def comes(self) -> FakeSession:
        session = self.world.session("phone")
        self.world.clock.advance(0)
        return session

    def answers(self, *rooms: str, autojoin: str = "true") -> None:
        """The server answers the last request with bookmarks."""
        items = "".join(
            f"<item id='{room}'><conference xmlns='{NS_BOOKMARKS}' autojoin='{autojoin}'/></item>" for room in rooms
        )
        request = self.world.stream.take()[-1]
        self.assertIn(b"<items node='urn:xmpp:bookmarks:1'/>", request.raw)
        pubsub = f"<pubsub xmlns='{NS_PUBSUB}'><items node='{NS_BOOKMARKS}'>{items}</items></pubsub>"
        answer = f"<iq type='result' to='{STREAM}' id='{request['id']}'>{pubsub}</iq>"
        self.world.stream.says(stanza_of_bytes(answer.encode()))

    def in_room(self) -> FakeSession:
        """A client, and an account that is in the room for its bookmark."""
        session = self.comes()
        self.answers(ROOM)
        self.world.comes_back("bob")
        self.world.clock.advance(DEBOUNCE)
        self.world.stream.take()
        return session

    def again(self, *rooms: str, autojoin: str = "true") -> None:
        """The server tells a client of a change; the bookmarks are read."""
        event = f"<event xmlns='{NS_PUBSUB}#event'><items node='{NS_BOOKMARKS}'/></event>"
        session = next(iter(self.world.account.sessions))
        push = parse_stanza(f"<message from='{BARE}' to='{session.jid}'>{event}</message>")
        self.assertFalse(self.world.account.from_server(session, push), "it reaches the client all the same")
        self.world.clock.advance(DEBOUNCE)
        self.answers(*rooms, autojoin=autojoin)

    def test_entered_before_a_client_asks(self) -> None:
        self.comes()
        self.answers(ROOM)
        self.assertEqual([(s.name, s["to"]) for s in self.world.stream.take()], [("presence", f"{ROOM}/alice")])
        self.assertEqual(self.world.stream.closed, 0)

    def test_a_stream_for_nothing_is_closed(self) -> None:
        session = self.comes()
        self.assertEqual(self.world.stream.closed, 0)
        self.answers()
        self.assertEqual(self.world.stream.closed, 1)
        self.assertEqual(session.take(), [])

    def test_the_stream_stays_while_they_are_to_be_read(self) -> None:
        """The last room ends just when the server has told of a change: that is read first, on this stream."""
        session = self.in_room()
        event = f"<event xmlns='{NS_PUBSUB}#event'><items node='{NS_BOOKMARKS}'/></event>"
        push = parse_stanza(f"<message from='{BARE}' to='{session.jid}'>{event}</message>")
        self.world.account.from_server(session, push)
        self.world.gone("alice", "110 301")
        self.assertEqual((list(self.world.account.rooms), self.world.stream.closed), ([], 0))
        self.world.clock.advance(DEBOUNCE)
        self.answers()
        self.assertEqual((self.world.stream.closed, self.world.stream.reopening), (1, 0))

    def test_a_second_session_reads_nothing(self) -> None:
        self.comes()
        self.answers()
        self.world.session("laptop")
        self.world.clock.advance(DEBOUNCE)
        self.assertEqual(self.world.stream.take(), [])

    def test_who_goes_before_the_answer(self) -> None:
        session = self.comes()
        self.world.account.session_closed(session)
        self.answers(ROOM)
        self.assertEqual([s.name for s in self.world.stream.take()], ["presence"])

    def test_it_is_read_again_when_the_stream_opens(self) -> None:
        self.in_room()
        self.world.stream.lost()
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.assertEqual([s.name for s in self.world.stream.sent], ["presence", "iq"])
        self.answers(ROOM)

    def test_it_stays_with_its_bookmark(self) -> None:
        session = self.in_room()
        self.world.asks_to_join(session)
        self.world.leaves(session)
        self.world.clock.advance(1.0)
        self.assertNotIn("unavailable", [s.get("type") for s in self.world.stream.take()])

    def test_it_leaves_with_its_bookmark(self) -> None:
        self.in_room()
        self.world.stream.take()
        self.again(ROOM, autojoin="false")
        self.assertEqual(
            [(s.get("type"), s["to"]) for s in self.world.stream.take()], [("unavailable", f"{ROOM}/alice")]
        )

    def test_ten_thousand(self) -> None:
        """More than a tree is made of: as if there were no answer. Nobody leaves for it, and the next one counts."""
        self.in_room()
        self.again(*(f"r{number}@muc.test" for number in range(10_000)))
        self.assertEqual(list(self.world.account.rooms), [ROOM])
        self.assertEqual(kinds(self.world.stream.take()), [])
        self.again(ROOM, "next@muc.test")
        self.assertEqual(list(self.world.account.rooms), [ROOM, "next@muc.test"])

    def test_it_leaves_with_the_last_session_when_its_bookmark_is_gone(self) -> None:
        session = self.in_room()
        self.world.asks_to_join(session)
        session.take()
        self.world.stream.take()
        self.again(ROOM, autojoin="false")
        self.world.clock.advance(10)
        self.assertEqual((kinds(session.take()), self.world.stream.take()), ([], []))
        self.world.leaves(session)
        self.assertEqual(kinds(session.take()), ["unavailable alice 110"])
        self.world.clock.advance(1.0)
        self.assertEqual(
            [(s.get("type"), s["to"]) for s in self.world.stream.take() if s.name == "presence"],
            [("unavailable", f"{ROOM}/alice")],
        )
        self.world.gone("alice", "110")
        self.assertEqual(self.world.account.rooms, {})

    def test_what_a_client_publishes_passes(self) -> None:
        session = self.comes()
        self.answers()
        publication = (
            f"<iq type='set' id='p'><pubsub xmlns='{NS_PUBSUB}'><publish node='{NS_BOOKMARKS}'><item id='{ROOM}'/>"
            "</publish></pubsub></iq>"
        )
        self.assertFalse(self.world.client(session, publication))
        self.world.clock.advance(DEBOUNCE)
        self.answers(ROOM)
        self.assertEqual([s.name for s in self.world.stream.take()], ["presence"])

    def test_restored(self) -> None:
        """The bookmark went while the proxy was down."""
        membership = KeptMembership("alice", "alice", None, bookmarked=True)
        kept = KeptAccount(BARE, None, False, self.world.clock.seconds(), [KeptRoom(ROOM, membership)])
        self.world.account.restore(kept)
        self.world.stream.jid = STREAM
        self.world.stream.opened()
        self.answers()
        self.assertEqual(self.world.stream.take()[-1].get("type"), "unavailable")

    def removed(self, codes: str = "307") -> None:
        statuses = "".join(f"<status code='{code}'/>" for code in ("110", *codes.split()))
        x = f"<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'/>{statuses}</x>"
        presence = f"<presence from='{ROOM}/alice' to='{STREAM}' type='unavailable'>{x}</presence>"
        self.world.stream.says(stanza_of_bytes(presence.encode()))

    def test_removed_and_restarted(self) -> None:
        """The bookmark that is still there does not bring it back; nor does one that nobody means keep it out."""
        for codes, out in (("307", True), ("301", True), ("321", True), ("307 333", False), ("332", False)):
            self.setUp()
            self.in_room()
            self.removed(codes)
            kept = self.world.account.unfollowed()
            self.assertEqual(list(kept), [ROOM] if out else [], codes)
            self.world = World(bookmarks="follow", leave_grace=1.0)
            self.world.account.restore(KeptAccount(BARE, None, False, self.world.clock.seconds(), [], kept))
            self.comes()
            self.answers(ROOM)
            self.assertEqual([one.name for one in self.world.stream.take()], [] if out else ["presence"], codes)

    def test_stop(self) -> None:
        self.comes()
        self.answers()
        self.world.account.stop()
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_what_a_client_writes_is_read_once_more_when_it_is_answered(self) -> None:
        """The server may have read for the account before it wrote for the client."""
        session = self.in_room()
        xml = f"<pubsub xmlns='{NS_PUBSUB}'><retract node='{NS_BOOKMARKS}'><item id='{ROOM}'/></retract></pubsub>"
        self.world.client(session, f"<iq type='set' id='w'>{xml}</iq>")
        self.world.clock.advance(DEBOUNCE)
        self.answers(ROOM)
        answer = parse_stanza(f"<iq type='result' id='w' to='{session.jid}'/>")
        self.assertFalse(self.world.account.from_server(session, answer))
        self.world.clock.advance(DEBOUNCE)
        self.answers()
        self.assertTrue(self.world.account.rooms[ROOM].leaving, "nobody is in it but for its bookmark")


class SyncedAccount(BookmarksOfAccount):
    def setUp(self) -> None:
        self.world = World(bookmarks="sync", leave_grace=1.0)

    def test_it_stays_with_its_bookmark(self) -> None:
        """Not so: the bookmark follows the account, which leaves with its last session."""
        session = self.in_room()
        self.world.asks_to_join(session)
        self.world.stream.take()
        self.world.leaves(session)
        self.world.clock.advance(1.0)
        sent = self.world.stream.take()
        self.assertEqual([(s.name, s.get("type")) for s in sent], [("iq", "get"), ("presence", "unavailable")])
        self.world.gone("alice", "110")
        self.assertEqual(self.world.stream.closed, 0, "the bookmark is still to be written")
        self.world.clock.advance(LINGER)
        self.assertGreater(self.world.stream.closed, 0, "it cannot take for ever")
