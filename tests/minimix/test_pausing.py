"""A client that says more to rooms than the server takes waits; nobody else does, and no account loses its stream."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.pausing import ALLOWANCE, LONGEST
from tests.minimix.fakes import ROOM, FakeSession, World, kinds

STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
HALF = "x" * (ALLOWANCE // 2)


class Pausing(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.stream = self.world.stream
        self.phone, self.tablet = self.world.joined("phone", "tablet")
        self.stream.acknowledges = False

    def says(self, session: FakeSession, body: str = HALF) -> None:
        self.world.client(session, f"<message type='groupchat' to='{ROOM}' id='m'><body>{body}</body></message>")

    def fill(self, session: FakeSession) -> None:
        self.says(session)
        self.says(session)

    def timers(self) -> int:
        """How many waits would end by themselves."""
        end = self.world.clock.seconds() + LONGEST
        return sum(call.getTime() == end for call in self.world.clock.getDelayedCalls())

    def server_takes(self) -> None:
        waiting, self.stream.waiting = self.stream.waiting, []
        for call in waiting:
            call()

    def test_who_says_much_waits_until_it_is_taken(self) -> None:
        self.says(self.phone)
        self.assertEqual(self.phone.waits, 0)
        self.says(self.phone)
        self.assertEqual((self.phone.waits, self.tablet.waits), (1, 0))
        self.says(self.tablet, "little")
        self.assertEqual((self.phone.waits, self.tablet.waits), (1, 0))
        self.assertEqual(len(self.stream.take()), 3)
        self.server_takes()
        self.assertEqual(self.phone.waits, 0)
        self.world.clock.advance(2 * LONGEST)
        self.assertEqual(self.phone.waits, 0)

    def test_what_was_read_already_counts(self) -> None:
        self.fill(self.phone)
        self.fill(self.phone)
        self.assertEqual(self.phone.waits, 1)
        self.server_takes()
        self.assertEqual(self.phone.waits, 0)
        self.says(self.phone, "a word more")
        self.assertEqual(self.phone.waits, 1)

    def test_a_server_that_takes_all_at_once(self) -> None:
        self.stream.acknowledges = True
        for _ in range(10):
            self.says(self.phone)
        self.assertEqual((self.phone.waits, self.stream.waiting, self.timers()), (0, [], 0))

    def test_nobody_waits_for_ever(self) -> None:
        """What it acknowledges (XEP-0198) is behind what it says."""
        self.fill(self.phone)
        self.world.clock.advance(LONGEST - 1)
        self.assertEqual(self.phone.waits, 1)
        self.world.clock.advance(1)
        self.assertEqual(self.phone.waits, 0)
        self.fill(self.phone)
        self.assertEqual(self.phone.waits, 1)
        former = self.stream.waiting[0]
        former()
        self.assertEqual(self.phone.waits, 1, "that was for what it said before")
        self.server_takes()
        self.assertEqual(self.phone.waits, 0)

    def test_who_goes_meanwhile(self) -> None:
        self.fill(self.phone)
        self.world.account.session_closed(self.phone)
        self.assertEqual((self.phone.waits, self.timers()), (0, 0))
        self.server_takes()
        self.assertEqual(self.phone.waits, 0)
        self.assertNotIn(self.phone, self.world.account._pausing._said)

    def test_who_goes_while_it_is_answered(self) -> None:
        """It has not read what it was told, and is told more."""
        self.stream.full = True
        self.patch(self.phone, "deliver", lambda _data: self.world.account.session_closed(self.phone))
        self.says(self.phone)
        self.assertNotIn(self.phone, self.world.account.sessions)
        self.assertNotIn(self.phone, self.world.account._pausing._said)

    def test_the_account_ends_meanwhile(self) -> None:
        self.fill(self.phone)
        self.world.account.end()
        self.server_takes()
        self.assertEqual((self.phone.waits, self.world.account._pausing._waiting), (0, {}))

    def test_if_so_much_waits_that_it_might_cost_the_stream(self) -> None:
        self.stream.full = True
        self.says(self.phone, "lost")
        (error,) = self.phone.take()
        self.assertEqual((error["to"], error["from"], error["id"], error["type"]), (self.phone.jid, ROOM, "m", "error"))
        self.assertIn(f"<error type='wait'><resource-constraint xmlns='{STANZAS}'/>".encode(), error.raw)
        self.world.client(self.phone, f"<iq type='get' id='q' to='{ROOM}/bob'><query xmlns='x:y'/></iq>")
        self.world.client(self.phone, f"<presence id='n' to='{ROOM}/other'/>")
        self.assertEqual([stanza["id"] for stanza in self.phone.take()], ["q", "n"])
        for kind in ("result", "error"):
            self.world.client(self.phone, f"<iq type='{kind}' id='q' to='{ROOM}/bob'/>")
        self.assertEqual((self.phone.take(), self.stream.take()), ([], []))

    def test_who_leaves_then_leaves(self) -> None:
        self.stream.full = True
        self.world.leaves(self.phone)
        self.assertEqual(kinds(self.phone.take()), ["unavailable alice 110"])
        self.assertEqual(self.tablet.take(), [])

    def test_what_is_refused_counts_all_the_same(self) -> None:
        self.stream.full = True
        self.fill(self.phone)
        self.assertEqual((self.phone.waits, self.stream.take()), (1, []))
        self.assertEqual(len(self.phone.take()), 2)
