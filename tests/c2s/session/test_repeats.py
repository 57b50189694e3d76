"""What a client says once more in its next session, and its last one had handled: behind a stanza that it had not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.c2s.session.repeats import KEPT, MAX_ACCOUNTS, MAX_MESSAGES, Repeats
from tests.c2s.helpers import SERVER_FEATURES, LabClient
from tests.c2s.session.test_managed_upstream import UpstreamTest
from tests.c2s.session.test_stream_management import ack

ROOM = b"<message id='room' type='groupchat'/>"
ONE, TWO = b"<message id='1'><body>one</body></message>", b"<message id='2'><body>two</body></message>"


class RepeatsTest(UpstreamTest):
    """`client` has said something to a room that is out of reach, and then to others; the server has the first."""

    def setUp(self) -> None:
        super().setUp()
        self.account.taken_from_client = {"room"}

    def says(self, data: bytes, acknowledged: int) -> None:
        self.client.send(ROOM)
        self.session.hold()
        self.client.send(data)
        self.client.serve(ack(acknowledged))
        self.up()

    def gives_up(self) -> None:
        """The session ends, and was never told that any of that is handled."""
        self.assertEqual(self.handled(), ack(0))
        self.session.close("connection-timeout")

    def next_session(self, username: str = "a", features: bytes = SERVER_FEATURES) -> LabClient:
        client = self.lab.client()
        client.bind(username, features=features)
        return client

    def passes(self, client: LabClient, data: bytes) -> bytes:
        client.send(data)
        return client.upstream.take()

    def test_what_is_handled_is_left_out_once(self) -> None:
        self.says(ONE + TWO, 1)
        self.gives_up()
        client = self.next_session()
        before = len(self.account.seen_from_client)
        self.assertEqual(self.passes(client, ROOM + ONE + TWO), TWO)
        self.assertEqual(len(self.account.seen_from_client) - before, 2, "the room's, and what the server had not")
        self.assertEqual(self.passes(client, ONE), ONE)

    def test_resumed_between(self) -> None:
        """And given up before anything was said again."""
        self.says(ONE + TWO, 1)
        self.client.vanish()
        self.comes_back()
        self.session.close("connection-timeout")
        self.assertEqual(self.passes(self.next_session(), ROOM + ONE + TWO), TWO)

    def test_it_counts_as_handled(self) -> None:
        self.says(ONE, 1)
        self.gives_up()
        client = self.next_session()
        self.enable(client)
        client.upstream.take()
        self.assertEqual(self.say(ONE + b"<r xmlns='urn:xmpp:sm:3'/>", client), ack(1))

    def test_what_came_back_and_the_client_has_not_heard_of(self) -> None:
        """It has no way to learn that it was not sent, but to say it again."""
        refused = b"<message type='error' id='1' from='x@y'/>"
        for told, again in ((b"", b""), (refused, ONE), (refused.replace(b"'1'", b"'3'"), b"")):
            for asleep in (False, True):
                with self.subTest(told=told, asleep=asleep):
                    self.setUp()
                    self.says(ONE, 1)
                    if asleep:
                        self.client.vanish()
                    if told:
                        self.session.deliver(told)
                    self.turn()
                    self.session.close("connection-timeout")
                    self.assertEqual(self.passes(self.next_session(), ONE), again)

    def test_what_is_something_else(self) -> None:
        other = ONE.replace(b"one", b"something else")
        nameless = b"<message><body>x</body></message>"
        presence = b"<presence id='1'/>"
        self.says(ONE + nameless + presence, 3)
        self.gives_up()
        client = self.next_session()
        for data in (other, nameless, presence):
            self.assertEqual(self.passes(client, data), data)

    def test_another_account(self) -> None:
        """Nor is each of its messages looked at for that."""
        self.says(ONE, 1)
        self.gives_up()
        other, client = self.next_session("b"), self.next_session("a")
        self.assertEqual([one.session.looks_at_each for one in (other, client)], [False, True])
        self.assertEqual(self.passes(other, ONE), ONE)
        self.assertEqual(self.passes(client, ONE), b"")
        self.assertFalse(client.session.looks_at_each)

    def test_later(self) -> None:
        self.says(ONE, 1)
        self.gives_up()
        self.lab.clock.advance(KEPT + 1)
        client = self.next_session()
        self.assertFalse(client.session.looks_at_each)
        self.assertEqual(self.passes(client, ONE), ONE)

    def test_nothing_was_held(self) -> None:
        """The client was told, or could have been."""
        self.client.send(ONE)
        self.client.serve(ack(1))
        self.session.close("connection-timeout")
        self.assertEqual(self.passes(self.next_session(), ONE), ONE)

    def test_a_server_that_acknowledges_nothing(self) -> None:
        """What was written to it may be lost."""
        self.client = self.lab.client()
        self.session = self.client.bind()
        self.enable(self.client)
        self.client.send(ROOM)
        self.session.hold()
        self.client.send(ONE)
        self.gives_up()
        self.assertEqual(self.passes(self.next_session(), ONE), ONE)


class BoundsTest(SynchronousTestCase):
    def test_messages(self) -> None:
        """The latest are known."""
        repeats = Repeats()
        repeats.expect("a", range(MAX_MESSAGES + 1), 0.0)
        self.assertEqual([repeats.takes("a", number, 0.0) for number in (0, 1, MAX_MESSAGES)], [False, True, True])
        repeats.expect("a", range(-3, 0), 0.0)
        self.assertEqual([repeats.takes("a", number, 0.0) for number in (2, -1)], [False, True])

    def test_of_several_sessions(self) -> None:
        repeats = Repeats()
        repeats.expect("a", [1], 0.0)
        repeats.expect("a", [2], 0.0)
        self.assertEqual([repeats.takes("a", number, 0.0) for number in (1, 2)], [True, True])
        self.assertEqual(len(repeats), 0)

    def test_accounts(self) -> None:
        repeats = Repeats()
        for number in range(MAX_ACCOUNTS + 1):
            repeats.expect(str(number), [1], 0.0)
        self.assertEqual(len(repeats), MAX_ACCOUNTS)
        self.assertFalse(repeats.takes("0", 1, 0.0))
        repeats.expect("new", [1], KEPT + 1)
        self.assertEqual(len(repeats), 1)

    def test_time(self) -> None:
        """To the last moment a message is expected, and known; behind it, neither."""
        for late, known in ((0.0, True), (0.5, False)):
            repeats = Repeats()
            repeats.expect("a", [1], 10.0)
            now = 10.0 + KEPT + late
            self.assertEqual((repeats.expects("a", now), repeats.takes("a", 1, now)), (known, known))

    def test_nothing(self) -> None:
        repeats = Repeats()
        repeats.expect("a", [], 0.0)
        self.assertEqual(len(repeats), 0)


del UpstreamTest
