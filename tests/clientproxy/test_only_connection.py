"""Whether the server has another connection of the same component, found out by messages to oneself."""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.clientproxy.only_connection import AT_ONCE, EVERY, OnlyConnection
from minimixproxy.wire.stanza import Stanza
from tests.clientproxy.scene import DOMAIN, TARGET, stanza


class OnlyConnectionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent: list[bytes] = []
        self.alone_again = 0
        self.only = OnlyConnection(DOMAIN, "t0", self.clock.seconds, self.sent.append, self.again)
        self.only.connected()
        self.assertEqual(len(self.messages()), AT_ONCE)
        self.clock.advance(EVERY)
        self.rounds(AT_ONCE)

    def again(self) -> None:
        self.alone_again += 1

    def messages(self) -> list[Stanza]:
        messages = [stanza(one.decode()) for one in self.sent]
        self.sent.clear()
        return messages

    def round(self, come: int) -> None:
        """The time for one round goes by; so many of its messages come."""
        self.only.tick()
        messages = self.messages()
        self.assertEqual(len(messages), AT_ONCE)
        for message in messages[:come]:
            self.assertTrue(self.only.take(message))
        self.clock.advance(EVERY)

    def rounds(self, *come: int) -> None:
        for number in come:
            self.round(number)

    def test_alone(self) -> None:
        self.rounds(*[AT_ONCE] * 5)
        self.assertEqual((self.only.shared, self.alone_again), (False, 0))

    def test_some_are_lost(self) -> None:
        for come in (1, AT_ONCE - 1):
            self.only.connected()
            self.rounds(come, AT_ONCE)
            self.assertFalse(self.only.shared, "the others may still come")
            self.round(AT_ONCE)
            self.assertTrue(self.only.shared)

    def test_all_come_again(self) -> None:
        self.rounds(3, 4, 5, AT_ONCE, AT_ONCE)
        self.assertEqual((self.only.shared, self.alone_again), (True, 0))
        self.round(AT_ONCE)
        self.assertEqual((self.only.shared, self.alone_again), (False, 1))
        self.rounds(*[AT_ONCE] * 5)
        self.assertEqual(self.alone_again, 1)

    def test_a_server_that_stands_still_says_nothing(self) -> None:
        self.rounds(0, 0, 0, 0, AT_ONCE, AT_ONCE, AT_ONCE)
        self.assertEqual((self.only.shared, self.alone_again), (False, 0))
        self.rounds(1, 0, 0, 0)
        self.assertTrue(self.only.shared, "still")

    def test_late_ones_count_until_the_time_after_the_next(self) -> None:
        self.only.tick()
        late = self.messages()
        self.clock.advance(EVERY)
        self.round(AT_ONCE)
        for message in late:
            self.only.take(message)
        self.rounds(AT_ONCE, AT_ONCE)
        self.assertFalse(self.only.shared)

    def test_too_late(self) -> None:
        self.only.tick()
        first, *others = self.messages()
        self.only.take(first)
        self.clock.advance(EVERY)
        self.rounds(AT_ONCE, AT_ONCE)
        self.assertTrue(all(self.only.take(other) for other in others))
        self.assertTrue(self.only.shared)

    def test_only_so_often(self) -> None:
        self.only.tick()
        self.clock.advance(EVERY - 0.1)
        self.only.tick()
        self.assertEqual(len(self.messages()), AT_ONCE)

    def test_those_of_others(self) -> None:
        """Another process's are for nobody; whoever else writes is not the domain."""
        self.only.tick()
        for id in ("t1-1", "t0-7", "t0-x", "t0-", "1", "", "t0-1-1", "t0-\u0661"):
            self.assertTrue(self.only.take(stanza(f"<message from='{DOMAIN}' to='{DOMAIN}' id='{id}'/>")), id)
        self.assertTrue(self.only.take(stanza(f"<message from='{DOMAIN}' to='{DOMAIN}'/>")))
        for sender in (TARGET, f"{TARGET}/a", f"{DOMAIN}/a", f"a@{DOMAIN}"):
            self.assertFalse(self.only.take(stanza(f"<message from='{sender}' to='{DOMAIN}' id='t0-1'/>")), sender)

    def test_a_new_stream(self) -> None:
        self.rounds(1, 1, 1)
        self.assertTrue(self.only.shared)
        self.only.connected()
        self.assertFalse(self.only.shared)
        self.rounds(*[AT_ONCE] * 4)
        self.assertEqual(self.alone_again, 0)
