"""When and by which nick the account tries to come back, one attempt at a time."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.jids import is_resource
from minimixproxy.minimix.rejoin import schedule
from minimixproxy.minimix.rejoin.schedule import LONGEST_WAIT, MAX_NICKS, STABLE, RejoinSchedule
from minimixproxy.timing.backoff import Backoff
from minimixproxy.wire.stanza import parse_stanza
from tests.minimix.fakes import DISCO
from tests.minimix.outlets import FakeOutlet, appearance, room_context

SHIN, MEM = "\N{HEBREW LETTER SHIN}", "\N{HEBREW LETTER MEM}"


class Surroundings(FakeOutlet):
    """An outlet that is asked for a registered nick."""

    def registered(self, nick: str) -> None:
        identity = f"<identity category='conference' type='text' name='{nick}'/>"
        answer = f"<iq type='result'><query xmlns='{DISCO}'>{identity}</query></iq>"
        self.asked.pop().answered(parse_stanza(answer))

    def nothing_registered(self) -> None:
        self.asked.pop().answered(None)


class ReturnTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(schedule, "Backoff", Waits)
        self.clock, self.around, self.tried = Clock(), Surroundings(), list[str]()
        self.appearance = appearance(self.around)
        self.back = RejoinSchedule(room_context(self.around, self.clock), self.appearance, self.tried.append)

    def take(self) -> list[str]:
        """The nicks that were tried, when its turn has come."""
        self.around.turn()
        tried, self.tried[:] = list(self.tried), []
        return tried

    def assert_waits(self, seconds: float) -> None:
        """After `later` it tries once, then and not before."""
        self.clock.advance(seconds - 0.5)
        self.assertEqual(self.take(), [], seconds)
        self.clock.advance(1)
        self.assertEqual(self.take(), ["alice"], seconds)

    def test_once_for_each_wish(self) -> None:
        self.back.later()
        self.back.now()
        self.back.now()
        self.assertEqual(self.take(), ["alice"])
        self.clock.advance(LONGEST_WAIT)
        self.assertEqual(self.take(), [], "what was to be later has been now")
        self.back.now()
        self.assertEqual(self.take(), ["alice"])

    def test_not_when_stopped(self) -> None:
        """Neither later, nor when its turn comes, nor when it is known which nick is registered."""
        for begins in (self.back.later, self.back.now, self.back.other_nick):
            begins()
            self.back.stop()
            while self.around.asked:
                self.around.registered("liz")
            self.clock.advance(LONGEST_WAIT)
            self.assertEqual((self.take(), self.appearance.wished_nick), ([], "alice"))

    def test_not_when_it_has_succeeded(self) -> None:
        for begins in (self.back.later, self.back.now, self.back.other_nick):
            begins()
            self.back.succeeded()
            while self.around.asked:
                self.around.registered("liz")
            self.clock.advance(LONGEST_WAIT)
            self.assertEqual(self.take(), [])

    def test_waits_grow_until_it_stays_in(self) -> None:
        for in_the_room, wait in ((None, 1), (None, 2), (STABLE - 1, 4), (STABLE, 1), (None, 2), (None, 4)):
            if in_the_room is not None:
                self.back.succeeded()
                self.clock.advance(in_the_room)
            self.back.later()
            self.assert_waits(wait)

    def test_being_in_once_counts_once(self) -> None:
        self.back.succeeded()
        self.clock.advance(STABLE)
        for wait in (1, 2, 4):
            self.back.later()
            self.assert_waits(wait)
            self.clock.advance(STABLE)

    def test_once_more_is_at_once_only_of_who_stayed_in(self) -> None:
        """A room that lets the account in, and does not know it then, does not decide how often the account tries."""
        for in_the_room, wait in ((None, 0), (STABLE, 0), (STABLE - 1, 1), (1, 2), (0, 4), (STABLE, 0), (1, 1)):
            if in_the_room is not None:
                self.back.succeeded()
                self.clock.advance(in_the_room)
            self.back.once_more()
            if wait:
                self.assert_waits(wait)
            else:
                self.assertEqual(self.take(), ["alice"])

    def refused(self) -> list[str]:
        self.assertTrue(self.back.other_nick())
        return self.take()

    def test_nicks(self) -> None:
        """Others only if the registered one says nothing new; enough of them, and the wished one is tried later."""
        for answers in (
            self.around.nothing_registered,
            lambda: self.around.registered("alice"),
            lambda: self.around.registered("\N{FULLWIDTH LATIN SMALL LETTER A}lice"),
        ):
            self.assertEqual(self.refused(), [])
            answers()
            tried = self.take()
            tried += [nick for _ in range(MAX_NICKS - 2) for nick in self.refused()]
            self.assertEqual(tried, ["alice" + "_" * number for number in range(1, MAX_NICKS)])
            self.assertFalse(self.back.other_nick())
            self.back.later()
            self.clock.advance(LONGEST_WAIT)
            self.assertEqual(self.take(), ["alice"])

    def test_a_room_that_names_another_registered_nick_each_time(self) -> None:
        """It does not decide how often the account tries: all accounts come back at one pace."""
        tried = []
        for number in range(50):
            if not self.back.other_nick():
                break
            while self.around.asked:
                self.around.registered(f"n{number}")
            tried += self.take()
        others = ["n4" + "_" * number for number in range(1, MAX_NICKS)]
        self.assertEqual(tried, [f"n{number}" for number in range(MAX_NICKS)] + others)
        self.back.later()
        self.clock.advance(LONGEST_WAIT)
        self.assertEqual(self.take(), ["n4"])
        self.assertEqual(self.refused(), [])
        self.around.registered("m")
        self.assertEqual(self.take(), ["m"])

    def test_each_of_them_is_a_nick(self) -> None:
        """Also where the wished one is as long as can be, or is written from right to left (RFC 3454 §6)."""
        for wished, first in (
            ("a" * 1023, "a" * 1021 + "_a"),
            (SHIN, f"{SHIN}_{SHIN}"),
            (f"{SHIN}12{MEM}", f"{SHIN}12{MEM}_{MEM}"),
            (SHIN + "1" * 1019 + MEM, SHIN + "1" * 1018 + "_" + MEM),
            ("alice", "alice_"),
        ):
            self.appearance.named(wished, wished=wished)
            self.refused()
            self.around.nothing_registered()
            tried = self.take() + [nick for _ in range(MAX_NICKS - 2) for nick in self.refused()]
            self.assertEqual(tried[0], first)
            self.assertEqual(len(set(tried)), MAX_NICKS - 1)
            for nick in tried:
                self.assertTrue(is_resource(nick), nick)
            self.back.later()
            self.clock.advance(LONGEST_WAIT)
            self.assertEqual(self.take(), [wished])

    def test_the_registered_nick_is_the_one_to_wish_for(self) -> None:
        self.assertEqual(self.refused(), [])
        self.around.registered("liz")
        self.assertEqual((self.take(), self.appearance.wished_nick), (["liz"], "liz"))
        self.assertEqual(self.refused(), [])
        self.around.registered("liz")
        self.assertEqual(self.take(), ["liz_"])

    def test_an_answer_for_an_attempt_that_is_over(self) -> None:
        """It is known which nick is registered when nobody asks any more: it is not tried once more."""
        self.back.other_nick()
        answered = self.around.asked[0].answered
        self.around.nothing_registered()
        self.assertEqual(self.take(), ["alice_"])
        answered(None)
        self.assertEqual(self.take(), [])

    def test_conflicts_are_over_when_it_is_in(self) -> None:
        self.back.other_nick()
        self.around.nothing_registered()
        self.assertEqual(self.take(), ["alice_"])
        self.back.succeeded()
        self.back.now()
        self.assertEqual(self.take(), ["alice"])


class Waits(Backoff):
    """Not varied by chance."""

    def __init__(self, first: float, limit: float) -> None:
        super().__init__(first, limit, lambda: 0.5)
