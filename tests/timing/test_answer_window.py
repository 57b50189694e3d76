"""How much may be under way at a server, by its answers."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.timing.answer_window import FIRST, LATELY, LEAST, MOST, ROUND, SLACK, AnswerWindow, LeastLately

TROUBLE = None


class Server:
    """Answers one question after the other, of these accounts by turns; `took`: seconds, or TROUBLE."""

    def __init__(self) -> None:
        self.window = AnswerWindow()
        self.now = 1_700_000_000.0

    def rounds(self, number: int, took: float | None, accounts: Iterable[str] = ("a", "b", "c", "d")) -> int:
        """Answer so many rounds; return the size that follows."""
        for _ in range(number):
            self.round(dict.fromkeys(accounts, took))
        return self.window.size

    def round(self, took: dict[str, float | None]) -> int:
        """Answer one round, each account as it is said."""
        accounts = list(took)
        began, wanted = self.now, max(ROUND, self.window.size)
        for number in range(wanted):
            account = accounts[number % len(accounts)]
            seconds = took[account]
            self.window.begins(began)
            self.window.answered(account, began, began + (seconds or 0.0), trouble=seconds is None)
        self.now += 1 + max(seconds or 0.0 for seconds in took.values())
        return self.window.size


class AnswerWindowTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()

    def test_one_more_for_each_quick_round_up_to_the_most(self) -> None:
        self.assertEqual(self.server.window.size, FIRST)
        self.assertEqual(self.server.rounds(3, 0.1), FIRST + 3)
        self.assertEqual(self.server.rounds(MOST, 0.1), MOST)

    def test_halved_by_what_is_slow_or_in_trouble(self) -> None:
        for took in (0.2 + SLACK + 0.02, 4.9, TROUBLE):
            server = Server()
            server.rounds(MOST, 0.1)
            self.assertEqual(server.rounds(1, took), MOST // 2, took)
            self.assertEqual(server.rounds(4, took), LEAST, took)

    def test_a_little_slower_is_quick(self) -> None:
        self.server.rounds(1, 0.001)
        self.assertEqual(self.server.rounds(2, SLACK), FIRST + 3)

    def test_only_trouble_from_the_first_on(self) -> None:
        self.assertEqual(self.server.rounds(1, TROUBLE), FIRST // 2)
        self.assertEqual(self.server.rounds(1, 3.0), FIRST // 2 + 1, "nothing quicker is known")

    def test_what_was_under_way_when_it_was_halved_does_not_halve_it_again(self) -> None:
        self.server.rounds(MOST, 0.1)
        began = self.server.now
        self.server.round(dict.fromkeys("abcd", 5.0))
        for _ in range(3 * ROUND):
            self.server.window.answered("a", began, began + 5, trouble=True)
        self.assertEqual(self.server.window.size, MOST // 2)

    def test_a_server_that_stays_slower_is_as_it_is_after_a_while(self) -> None:
        self.server.rounds(10, 0.1)
        self.server.rounds(int(LATELY) + 1, 1.0)
        before = self.server.window.size
        self.assertEqual(self.server.rounds(2, 1.0), before + 2)

    def test_begins_anew_when_nobody_has_asked_lately(self) -> None:
        for size, took in ((MOST, 0.1), (LEAST, TROUBLE)):
            server = Server()
            server.rounds(MOST, took)
            self.assertEqual(server.window.size, size)
            server.window.begins(server.now + LATELY)
            self.assertEqual(server.window.size, FIRST)

    def test_one_account_does_not_slow_the_others(self) -> None:
        for bad in (TROUBLE, 4.9):
            for others in ("b", "bc", "bcdefgh"):
                server = Server()
                before = server.round({"a": bad, **dict.fromkeys(others, 0.1)})
                self.assertEqual(before, FIRST + 1, (bad, others))
                self.assertEqual(server.round({"a": bad, **dict.fromkeys(others, 0.1)}), FIRST + 2, (bad, others))

    def test_one_account_that_is_answered_at_once_does_not_make_the_others_slow(self) -> None:
        for _ in range(5):
            size = self.server.round({"a": 0.0, "b": 0.1, "c": 0.12, "d": 0.11})
        self.assertEqual(size, FIRST + 5)

    @given(st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.floats(0, 5))), max_size=400))
    def test_bounds(self, answers: list[tuple[str, float | None]]) -> None:
        """Whatever is answered: never less, never more; and quick answers let it grow again."""
        server = Server()
        for account, took in answers:
            server.window.begins(server.now)
            server.window.answered(account, server.now, server.now + (took or 0.0), trouble=took is None)
            server.now += 0.01
            self.assertTrue(LEAST <= server.window.size <= MOST)
        server.now += 2 * LATELY + 200
        server.rounds(1, 0.1)
        self.assertEqual(server.rounds(MOST, 0.1), MOST)


class LeastLatelyTest(SynchronousTestCase):
    def test_forgets(self) -> None:
        least = LeastLately()
        self.assertEqual(least.get(1000), float("inf"))
        least.saw(0.5, 1000)
        least.saw(0.7, 1000 + LATELY)
        self.assertEqual(least.get(1000 + LATELY), 0.5)
        self.assertEqual(least.get(1000 + 2 * LATELY), 0.7)
        self.assertEqual(least.get(1000 + 5 * LATELY), float("inf"))
