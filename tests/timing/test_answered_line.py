"""Questions to servers that answer as they can: quick, slow, with trouble, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.timing import answered_lines
from minimixproxy.timing.answer_window import FIRST, LEAST, MOST, ROUND
from minimixproxy.timing.answered_line import LEAST_PER_SECOND, LOOKED_AT, QUESTIONS, SILENT, Pace, Turn
from minimixproxy.timing.answered_lines import KEPT, MOST_PER_SECOND, AnsweredLines

STEP = 0.01


def _nothing() -> None:
    """For turns that are not taken."""


class Server:
    """Works at one question after the other, `takes` seconds each, beside a way of `way` seconds."""

    def __init__(self, lines: AnsweredLines, clock: Clock, name: str, takes: float, way: float = 0.0) -> None:
        self._lines, self._clock, self.name = lines, clock, name
        self.takes, self.way = takes, way
        self.silent: set[str] = set()  # accounts that are told nothing
        self.trouble = False
        self.began: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.most = 0  # under way at one time, of those that are answered
        self._under_way = 0
        self._free = 0.0  # when it has worked at all

    def ask(self, account: str, number: int = 1) -> list[Turn]:
        """Let an account ask so often."""
        turns = []
        for _ in range(number):
            began: list[Turn] = []
            turn = self._lines.turn(self.name, account, partial(self._begun, began))
            began.append(turn)
            turns.append(turn)
        for turn in turns:
            turn.ask()
        return turns

    def _begun(self, turn: list[Turn]) -> None:
        account = turn[0].account
        self.began[account] += 1
        if account not in self.silent:
            now = self._clock.seconds()
            self._free = max(self._free, now) + self.takes
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            self._clock.callLater(self._free + self.way - now, self._done, turn[0])

    def _done(self, turn: Turn) -> None:
        self._under_way -= 1
        self.answered[turn.account] += 1
        turn.answered(trouble=self.trouble)


class AnsweredLineTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.lines = AnsweredLines(self.clock)

    def server(self, name: str = "one", takes: float = 0.005, way: float = 0.0) -> Server:
        return Server(self.lines, self.clock, name, takes, way)

    def passes(self, seconds: float) -> None:
        self.clock.pump([STEP] * round(seconds / STEP))

    def until(self, done: Callable[[], bool], at_most: float) -> float:
        """Return how many seconds it takes."""
        began = self.clock.seconds()
        while not done():
            self.assertLess(self.clock.seconds() - began, at_most)
            self.clock.advance(STEP)
        return self.clock.seconds() - began

    def test_a_storm_is_over_about_as_soon_as_the_server_can(self) -> None:
        server = self.server()
        for number in range(300):
            server.ask(f"account{number}", 10)
        self.until(lambda: server.answered.total() == 3000, 3000 * max(STEP, server.takes) * 1.2)
        self.assertLessEqual(server.most, MOST)
        self.assertEqual(self.clock.getDelayedCalls(), [], "nothing is left to do")

    def test_little_waits_in_a_server_that_works_at_one_after_the_other(self) -> None:
        server = self.server(takes=0.05)
        for number in range(50):
            server.ask(f"account{number}", 20)
        self.passes(10)
        server.most = 0
        self.passes(20)
        self.assertLess(server.most, 3 * FIRST)

    def test_never_more_than_the_most_a_second_of_all_together(self) -> None:
        servers = [self.server(f"server{number}", takes=0.0) for number in range(100)]
        for server in servers:
            server.ask("a", 100)
        before = sum(server.began.total() for server in servers)
        self.passes(5)
        self.assertLessEqual(sum(server.began.total() for server in servers) - before, 5 * MOST_PER_SECOND + 1)

    def test_no_more_at_once_than_the_window_allows(self) -> None:
        server = self.server(takes=1.0)
        for number in range(20):
            server.ask(f"account{number}", 5)
        self.assertEqual(server.began.total(), FIRST)

    def test_silence_does_not_stall_it(self) -> None:
        """The least pace goes on, and when the server answers again, so does the pace."""
        server = self.server()
        server.silent.add("a")
        server.ask("a", 1000)
        self.passes(30)
        before = server.began["a"]
        self.passes(10)
        self.assertAlmostEqual(server.began["a"] - before, 10 * LEAST_PER_SECOND, delta=10 * LEAST / SILENT + 2)
        self.assertEqual(self.lines._lines["one"].at_once, LEAST, "silence is trouble")
        server.silent.clear()
        self.passes(10)
        before = server.began["a"]
        server.ask("b", 1000)
        self.until(lambda: server.answered["b"] == 1000, 15)

    def test_trouble_slows_it_and_it_recovers(self) -> None:
        server = self.server(way=0.2)
        for number in range(40):
            server.ask(f"account{number}", 100)
        self.passes(5)
        server.trouble = True
        self.passes(5)
        line = self.lines._lines["one"]
        self.assertEqual(line.at_once, LEAST)
        server.trouble = False
        self.passes(20)
        self.assertGreater(line.at_once, 4 * LEAST)

    def test_one_slow_server_does_not_slow_another(self) -> None:
        slow, quick = self.server("slow", takes=3.0), self.server("quick")
        for number in range(10):
            slow.ask(f"account{number}", 50)
        self.passes(5)
        quick.ask("a", 500)
        self.until(lambda: quick.answered["a"] == 500, 500 * STEP * 1.2)

    def test_one_account_whose_rooms_say_nothing_does_not_slow_the_others(self) -> None:
        """Nor if it is there first, with more rooms than all others: it has its places until it counts as silent."""
        server = self.server()
        server.silent.add("hostile")
        server.ask("hostile", 2000)
        self.passes(20)
        for number in range(10):
            server.ask(f"account{number}", 50)
        self.until(lambda: server.answered.total() == 500, SILENT + 500 * STEP * 1.2)

    def test_what_is_over_is_neither_called_nor_counted(self) -> None:
        server = self.server(takes=100.0)
        turns = server.ask("a", FIRST + 2)
        turns[-1].end()
        for turn in turns[:-1]:
            turn.end()
            turn.end()
            turn.answered()
        self.assertEqual(server.began["a"], FIRST + 1)
        for turn in turns:
            turn.ask()
        self.assertEqual(server.began["a"], FIRST + 1)

    def test_who_is_in_a_hurry(self) -> None:
        server = self.server(takes=1.0)
        server.ask("a", FIRST + 10)
        (urgent,) = server.ask("b")
        (patient,) = server.ask("c")
        urgent.ask(urgent=True)
        urgent.ask(urgent=True)
        urgent.ask()
        self.passes(0.06)
        self.assertEqual((server.began["b"], server.began["c"]), (1, 0))
        patient.end()
        urgent.end()
        self.until(lambda: server.began["a"] == FIRST + 10, 30)

    def test_a_pace_of_its_own(self) -> None:
        self.lines = AnsweredLines(self.clock, pace=Pace(100.0, 1.0, 10.0, 0.0))
        server = self.server()
        server.silent = {"a", "b"}
        server.ask("a", 100)
        self.passes(5.5)
        self.assertEqual(server.began["a"], FIRST + 5)
        for turn in server.ask("b", 100):
            turn.ask(urgent=True)
        self.passes(5)
        self.assertIn(server.began["b"], range(44, 57))
        self.assertEqual(server.began["a"], FIRST + 5)

    def test_a_rest_after_trouble(self) -> None:
        """A server that is down refuses in no time."""
        self.lines = AnsweredLines(self.clock, pace=Pace(100.0, 1.0, 10.0, 0.05))
        server = self.server(takes=0.001)
        server.trouble = True
        server.ask("a", 1000)
        self.passes(5)
        before = server.began["a"]
        self.passes(10)
        self.assertLessEqual(server.began["a"] - before, 10 * LEAST / 0.05 + 1)
        self.assertGreater(server.began["a"] - before, 10 / 0.05 - 1)

    def test_what_the_ceiling_owes_comes_in_a_rest(self) -> None:
        """The next waits for the pace of all when the one before is refused: it comes behind the rest."""
        self.lines = AnsweredLines(self.clock, per_second=100, burst=1, pace=Pace(100.0, 1.0, 10.0, 0.05))
        server = self.server()
        server.silent.add("a")
        turns = server.ask("a", 3)
        turns[0].answered(trouble=True)
        self.passes(0.04)
        self.assertEqual(server.began["a"], 1)
        self.passes(0.04)
        self.assertEqual(server.began["a"], 3)

    def test_what_the_ceiling_owes_comes_when_as_many_are_under_way_as_may(self) -> None:
        """Since it was owed, the server had trouble, so fewer may be under way: it comes by the least pace."""
        self.lines = AnsweredLines(self.clock, per_second=1, burst=ROUND + 2, pace=Pace(100.0, 0.5, 10.0, 0.0))
        server = self.server()
        server.silent.add("a")
        turns = server.ask("a", 2 * ROUND)
        for turn in turns[:ROUND]:
            turn.answered(trouble=True)
        self.assertEqual((server.began["a"], self.lines._lines["one"].at_once), (ROUND + 2, LEAST))
        self.passes(10.1)
        self.assertEqual(server.began["a"], ROUND + 2 + 5)

    def test_a_line_for_one_account(self) -> None:
        begun: list[str] = []
        turn = self.lines.of("one", "a").turn(lambda: begun.append("a"))
        turn.ask()
        self.assertEqual((begun, turn.account, len(self.lines)), (["a"], "a", 1))

    def test_nothing_begins_behind_the_end(self) -> None:
        server = self.server()
        server.ask("a", FIRST)
        self.lines.stop()
        late = [self.server(name) for name in ("one", "another")]
        for one in late:
            one.ask("b", 10)
        self.passes(3)
        self.assertEqual([one.began.total() for one in (server, *late)], [FIRST, 0, 0])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop(self) -> None:
        server = self.server()
        server.silent.add("a")
        turns = server.ask("a", 100)
        self.lines.stop()
        turns[0].end()
        turns[-1].end()
        self.passes(3)
        self.assertEqual((server.began["a"], self.clock.getDelayedCalls()), (FIRST, []))

    def test_one_account_with_rooms_at_very_many_servers(self) -> None:
        """It has as many lines, and asks again and again: others wait for one of its questions, and not for all."""
        many = [self.server(f"server{number}") for number in range(600)]

        def ask_all() -> None:
            for server in many:
                server.ask("eve")
            self.clock.callLater(1, ask_all)

        ask_all()
        self.passes(3)
        server = self.server("good")
        server.ask("alice", 200)
        self.until(lambda: server.answered["alice"] == 200, 5)

    def test_nor_does_it_hold_up_a_line_that_others_wait_in_too(self) -> None:
        """The line has its turn at the ceiling as somebody who has less waiting there."""
        eves = [f"eve{number}" for number in range(2 * LOOKED_AT)]
        for eve in eves:
            for number in range(200):
                self.server(f"{eve}{number}").ask(eve)
        good = self.server("good")
        for eve in eves:
            good.ask(eve, 20)
        good.ask("alice", 5)
        self.until(lambda: good.answered["alice"] == 5, 9)
        self.assertGreater(min(good.answered[eve] for eve in eves), 0)  # they have their turns there, too

    def test_servers_that_nobody_asks_are_forgotten(self) -> None:
        busy = self.server("busy", takes=1000.0)
        busy.ask("a", 1)
        for number in range(3 * KEPT):
            self.lines.turn(f"server{number}", "a", _nothing).end()
        self.assertLessEqual(len(self.lines), KEPT)
        busy.ask("b", FIRST)
        self.assertEqual(busy.began.total(), FIRST, "it is the same line")

    def test_where_many_are_in_use_twice_as_many_are_kept(self) -> None:
        """Else each new one had all of them looked at."""
        self.patch(answered_lines, "KEPT", 4)
        lines = AnsweredLines(self.clock)
        for number in range(KEPT):
            lines.turn(f"busy{number}", "a", _nothing).ask()
        for number in range(3 * KEPT):
            lines.turn(f"server{number}", "a", _nothing).end()
            self.assertLessEqual(len(lines), 2 * KEPT)
        self.assertGreater(len(lines), 3 * KEPT // 2)

    @given(
        st.lists(
            st.tuples(
                st.sampled_from("abc"), st.sampled_from(["ask", "answer", "trouble", "end", "wait"]), st.integers(0, 9)
            ),
            max_size=150,
        ),
        st.sampled_from((0.0, 0.1)),
        st.sampled_from((2, MOST_PER_SECOND)),
    )
    def test_whatever_happens_all_are_asked_in_the_end(
        self, steps: list[tuple[str, str, int]], rest: float, per_second: int
    ) -> None:
        clock = Clock()
        lines = AnsweredLines(clock, per_second, 3, QUESTIONS._replace(rest=rest))
        asked: list[Turn] = []
        begun: Counter[int] = Counter()
        over: set[Turn] = set()
        for account, step, number in steps:
            if step == "ask":
                turn = lines.turn("one", account, partial(begun.update, [len(asked)]))
                asked.append(turn)
                turn.ask()
            elif step == "wait":
                clock.advance(number / 3)
            elif asked:
                turn = asked[number % len(asked)]
                if step == "end" or turn.began < clock.seconds():
                    turn.end() if step == "end" else turn.answered(trouble=step == "trouble")
                    over.add(turn)
        clock.pump([1 / min(per_second, LEAST_PER_SECOND)] * (len(asked) + 4))
        self.assertLessEqual(max(begun.values(), default=0), 1)
        self.assertEqual([n for n, turn in enumerate(asked) if not begun[n] and turn not in over], [])
        clock.pump([SILENT, SILENT])
        self.assertEqual(clock.getDelayedCalls(), [])
