"""What was said meanwhile is handed on a few messages in each turn."""

from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.occupancy.phases import State
from minimixproxy.minimix.rejoin import paced_forking
from minimixproxy.minimix.rejoin.paced_forking import PacedForking
from minimixproxy.safety_net import NET
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import ROOM, STREAM, World, kinds


def message(text: str) -> Stanza:
    return parse_stanza(f"<message><body>{text}</body></message>")


class TellingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[str, bool] | str] = []
        self.telling = PacedForking(ROOM, self.clock, self.hear, lambda: self.told.append("done"))

    def hear(self, stanza: Stanza, past: bool) -> None:
        text = str(stanza.element.body)
        self.told.append((text[0], past))
        if text == "!":
            raise KeyError

    def test_little_is_told_at_once(self) -> None:
        self.telling.start([message("a")], [message("b")])
        self.assertEqual(self.told, [("a", True), ("b", False), "done"])
        self.assertFalse(self.telling.running)

    def test_nothing(self) -> None:
        self.telling.start([])
        self.assertEqual(self.told, ["done"])

    def test_much_is_told_in_turns_and_what_comes_meanwhile_is_last(self) -> None:
        large = "x" * paced_forking.AT_ONCE
        self.telling.start([message("a" + large), message("b")], [message("c" + large), message("d")])
        self.assertEqual(self.told, [("a", True)])
        self.telling.add(message("e"), past=False)
        turns: list[int] = []
        later = self.clock.callLater

        def counted(delay: float, call: Callable[..., object], *arguments: object) -> IDelayedCall:
            turns.append(len(self.told))
            return later(delay, call, *arguments)

        self.patch(self.clock, "callLater", counted)
        self.clock.advance(0)
        self.assertEqual(turns, [3])
        self.assertEqual(self.told[1:], [("b", True), ("c", False), ("d", False), ("e", False), "done"])

    def test_a_flood_meanwhile_does_not_make_more_wait(self) -> None:
        """A read holds more small messages than a turn hands on."""
        self.telling.start([message("x" * paced_forking.AT_ONCE), *[message("b")] * 10])
        for text in ("c", "d" * 5000):
            for number in range(1000):
                self.telling.add(message(f"{text}{number}"), past=False)
                waiting = self.telling._waiting
                self.assertLessEqual(len(waiting), 10)
                self.assertLess(sum(len(stanza.raw) for stanza, _past in waiting), 20_000)
        self.clock.advance(0)
        self.assertEqual(len(self.told), 1 + 10 + 2000 + 1)
        self.assertEqual(self.told[-2:], [("d", False), "done"])

    def test_stopped(self) -> None:
        self.telling.start([message("x" * paced_forking.AT_ONCE), message("b")])
        self.telling.stop()
        self.clock.advance(1)
        self.assertEqual((self.told, self.telling.running), ([("x", True)], False))

    def test_stopped_by_what_is_told(self) -> None:
        def hear(_stanza: Stanza, _past: bool) -> None:
            self.told.append("heard")
            stopped.stop()

        stopped = PacedForking(ROOM, self.clock, hear, lambda: self.told.append("done"))
        stopped.start([message("a"), message("b")])
        self.assertEqual(self.told, ["heard"])

    def test_a_fault_costs_one_message(self) -> None:
        before = NET.dropped
        self.telling.start([message("!"), message("b")])
        self.assertEqual((self.told, NET.dropped - before), ([("!", True), ("b", True), "done"], 1))
        self.flushLoggedErrors()


class ComingBack(SynchronousTestCase):
    """500 messages with 2,000 elements each held everybody for seconds, whenever the account came back."""

    def test_a_room_where_much_was_said(self) -> None:
        world = World()
        (phone,) = world.joined("phone")
        world.gone("alice", "332 110")
        world.clock.advance(2)
        self.comes_in(world)
        occupancy: Any = world.account.rooms[ROOM]
        self.assertIs(occupancy.state, State.REJOINING)
        self.assertLess(len(phone.take()), 20)
        world.says("bob", "live", stanza_id="live")
        world.subject("another")
        world.asks_to_join(world.session("tablet"))
        world.clock.advance(0)
        shown = kinds(phone.take())
        self.assertEqual(shown[-3:], ["bob: 39", "bob: live", "subject another"])
        self.assertIs(occupancy.state, State.JOINED)

    def comes_in(self, world: World) -> None:
        world.shows("bob")
        world.shows("alice", "100 110", item=f"jid='{STREAM}'")
        world.tells_of_itself()
        inner = f"<delay xmlns='urn:xmpp:delay' from='{ROOM}' stamp='2023-11-14T22:14:00Z'/><y>{'x' * 8000}</y>"
        for number in range(40):
            world.says("bob", str(number), inner, f"m{number}")
        world.subject("topic")
