"""The replay of a long history to one client: in order, a little at a time, and known how far it came."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza
from tests.c2s.session.test_output import BUFFER, Client
from tests.minimix.fakes import ROOM, STREAM, FakeSession, World, split

COUNT = 3000
FILLING = "x" * 1000


class SlowSession(FakeSession):
    """A session whose client reads when it is told to."""

    def __init__(self, world: World, resource: str, limit: int) -> None:
        super().__init__(resource, world.clock)
        self.client = Client(limit)

    def deliver(self, data: bytes) -> None:
        self.client.output.deliver(data)

    def deliver_all(self, stanzas: LazyStanzas) -> None:
        self.client.output.deliver_all(stanzas)

    def reads(self, times: int = 10**9) -> None:
        self.client.turn()
        while times and self.client.output.blocked:
            self.client.drain()
            times -= 1

    def ids(self) -> list[str]:
        """Those of the messages that came."""
        return [stanza["id"] for stanza in self.stanzas() if "id" in stanza.attributes and stanza.name == "message"]

    def stanzas(self) -> list[Stanza]:
        return split(self.client.received)


class LongReplay(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(history=COUNT, history_age=10 * 365 * 86400)
        (self.phone,) = self.world.joined("phone")
        self.world.account.session_closed(self.phone)
        for number in range(COUNT):
            self.say(number)

    def say(self, number: int) -> None:
        self.world.room(
            f"<message type='groupchat' id='m{number}' from='{ROOM}/bob' to='{STREAM}'><body>{FILLING}</body></message>"
        )

    def returns(self) -> SlowSession:
        session = SlowSession(self.world, "phone", 200_000)
        self.world.account.session_bound(session)
        self.world.asks_to_join(session)
        return session

    def test_beside_what_is_said(self) -> None:
        phone = self.returns()
        phone.reads(2)
        self.assertLess(phone.client.transport.largest, BUFFER + 40_000)
        for number in range(COUNT, COUNT + 100):
            self.say(number)
        phone.reads()
        self.assertEqual(phone.client.waited, [])
        self.assertEqual(phone.ids(), [f"m{number}" for number in range(COUNT + 100)])
        self.assertEqual(phone.stanzas()[0]["from"], f"{ROOM}/bob")
        self.assertLess(phone.client.transport.largest, BUFFER + 150_000)

    def test_cut_in_the_middle(self) -> None:
        first = self.returns()
        first.reads(5)
        self.say(COUNT)
        self.world.account.session_closed(first)
        first.client.output.stop()
        got = first.ids()
        self.assertLess(len(got), COUNT)
        second = self.returns()
        second.reads()
        self.assertEqual(got + second.ids(), [f"m{number}" for number in range(COUNT + 1)])

    def test_too_much_is_said_meanwhile(self) -> None:
        phone = self.returns()
        phone.reads(2)
        for number in range(COUNT, COUNT + 300):
            self.say(number)
        self.assertTrue(phone.client.waited)
