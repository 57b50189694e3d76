"""When the account asks whether it is in a room, and what it makes of the answer."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.rejoin.self_ping import AGAIN, SelfPing
from minimixproxy.wire.stanza import Stanza, parse_stanza
from tests.minimix.fakes import ROOM
from tests.minimix.outlets import FakeOutlet, room_context

INTERVAL = 100.0


def answer(condition: str) -> Stanza:
    error = f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
    return parse_stanza(f"<iq type='error'>{error}</iq>" if condition else "<iq type='result'/>")


class SelfCheckTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(10_000)
        self.nick = "alice"
        self.outlet = FakeOutlet()
        self.out = 0
        context = room_context(self.outlet, self.clock, self_ping=INTERVAL)
        self.check = SelfPing(context, lambda: f"{ROOM}/{self.nick}", self.is_out)
        self.check.start()

    def is_out(self) -> None:
        self.out += 1
        self.check.stop()

    def asks(self) -> Callable[[Stanza | None], None]:
        question = self.outlet.asked.pop()
        self.assertEqual((question.to, self.outlet.asked), (f"{ROOM}/{self.nick}", []))
        self.assertEqual((question.kind, question.payload.uri), ("get", "urn:xmpp:ping"))
        return question.answered

    def asks_after(self, wait: float) -> Callable[[Stanza | None], None]:
        """It asks then, and not before."""
        self.clock.advance(wait - 1)
        self.assertEqual(self.outlet.asked, [], wait)
        self.clock.advance(1)
        return self.asks()

    def test_answers(self) -> None:
        for condition, out in (
            ("", 0),
            ("service-unavailable", 0),
            ("feature-not-implemented", 0),
            ("remote-server-timeout", 0),
            ("remote-server-not-found", 0),
            ("item-not-found", 0),
            ("not-acceptable", 1),
            ("forbidden", 1),
        ):
            self.setUp()
            self.asks_after(INTERVAL)(answer(condition))
            self.assertEqual(self.out, out, condition)

    def test_after_so_much_silence(self) -> None:
        self.clock.advance(INTERVAL * 0.7)
        self.check.heard()
        self.asks_after(INTERVAL)(None)
        self.clock.advance(INTERVAL / 2)
        self.check.heard()
        self.asks_after(INTERVAL)(answer(""))
        self.asks_after(INTERVAL)(None)
        self.asks_after(INTERVAL)(answer(""))
        self.assertEqual(self.out, 0)

    def test_an_answer_is_a_sign_of_life(self) -> None:
        answered = self.asks_after(INTERVAL)
        self.clock.advance(30)
        answered(answer(""))
        self.asks_after(INTERVAL)

    def test_one_that_says_nothing_is_none(self) -> None:
        answered = self.asks_after(INTERVAL)
        self.clock.advance(30)
        answered(answer("remote-server-timeout"))
        self.asks_after(INTERVAL - 30)

    def test_start_counts_as_a_sign_of_life(self) -> None:
        self.clock.advance(INTERVAL / 2)
        self.check.stop()
        self.clock.advance(INTERVAL)
        self.assertEqual(self.outlet.asked, [])
        self.check.start()
        self.asks_after(INTERVAL)

    def test_doubt(self) -> None:
        """Looked after at once, but not too often; then the interval begins anew. Not while the account is out."""
        self.check.doubt()
        self.asks()
        self.clock.advance(AGAIN / 2)
        self.check.doubt()
        self.assertEqual(self.outlet.asked, [])
        self.clock.advance(AGAIN / 2)
        self.check.doubt()
        self.asks()
        self.asks_after(INTERVAL)
        self.clock.advance(AGAIN)
        self.check.stop()
        self.check.doubt()
        self.assertEqual(self.outlet.asked, [])

    def test_an_answer_that_comes_when_it_is_over(self) -> None:
        for condition in ("not-acceptable", "item-not-found", ""):
            self.setUp()
            answered = self.asks_after(INTERVAL)
            self.check.stop()
            answered(answer(condition))
            self.clock.advance(10 * INTERVAL)
            self.assertEqual((self.out, self.outlet.asked), (0, []), condition)

    def test_not_found_twice_is_out(self) -> None:
        self.asks_after(INTERVAL)(answer("item-not-found"))
        self.asks_after(AGAIN)(answer("item-not-found"))
        self.assertEqual(self.out, 1)

    def test_doubt_is_over(self) -> None:
        """When it is found at the second look, or has come back: the next doubt is the first again."""

        def found() -> None:
            self.asks_after(AGAIN)(answer(""))

        def came_back() -> None:
            self.check.stop()
            self.check.start()

        for ends in (found, came_back):
            self.setUp()
            self.asks_after(INTERVAL)(answer("item-not-found"))
            ends()
            self.asks_after(INTERVAL)(answer("item-not-found"))
            self.assertEqual(self.out, 0, ends.__name__)
            self.asks_after(AGAIN)(answer("item-not-found"))
            self.assertEqual(self.out, 1, ends.__name__)

    def test_nothing_is_learned_of_another_nick(self) -> None:
        for condition in ("not-acceptable", "item-not-found", ""):
            self.setUp()
            answered = self.asks_after(INTERVAL)
            self.clock.advance(30)
            self.nick = "liz"
            answered(answer(condition))
            self.assertEqual(self.out, 0, condition)
            self.asks_after(INTERVAL - 30)
