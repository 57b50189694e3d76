"""What waits, fair to its owners."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.timing.fair_queue import FairQueue


class FairQueueTest(SynchronousTestCase):
    def setUp(self) -> None:
        self.queue: FairQueue[str] = FairQueue()

    def add(self, *items: str) -> None:
        for item in items:
            self.queue.add(item[0], item)

    def all(self) -> list[str]:
        taken = []
        while self.queue:
            taken.append(self.queue.pop())
        return taken

    def test_owners_take_turns(self) -> None:
        self.add("a1", "a2", "a3", "b1", "b2", "c1")
        self.assertEqual(self.all(), ["a1", "b1", "c1", "a2", "b2", "a3"])

    def test_who_has_less_under_way_is_next(self) -> None:
        self.add("a1", "a2", "a3", "b1", "b2", "b3")
        self.assertEqual([self.queue.pop(), self.queue.pop()], ["a1", "b1"])
        for item in ("b2", "b3"):
            self.queue.ended("b")
            self.assertEqual(self.queue.pop(), item)
        self.assertEqual(self.all(), ["a2", "a3"])

    def test_given_up(self) -> None:
        self.add("a1", "a2", "b1")
        for item in ("a1", "b1", "b1", "c1"):
            self.queue.discard(item[0], item)
        self.assertEqual(self.all(), ["a2"])

    @given(st.lists(st.tuples(st.sampled_from(["add", "pop", "end", "discard"]), st.integers(0, 3)), max_size=200))
    def test_nothing_is_lost(self, steps: list[tuple[str, int]]) -> None:
        """Against a list: the next is always of one of those with the least under way, its oldest."""
        queue: FairQueue[tuple[str, int]] = FairQueue()
        waiting: list[tuple[str, int]] = []
        under_way: Counter[str] = Counter()
        for number, (step, which) in enumerate(steps):
            owner = "abcd"[which]
            own = [item for item in waiting if item[0] == owner]
            if step == "add":
                queue.add(owner, (owner, number))
                waiting.append((owner, number))
            elif step == "discard" and own:
                queue.discard(owner, own[-1])
                waiting.remove(own[-1])
            elif step == "end" and under_way[owner]:
                queue.ended(owner)
                under_way[owner] -= 1
            elif step == "pop" and waiting:
                item = queue.pop()
                self.assertEqual(item, next(one for one in waiting if one[0] == item[0]))
                self.assertEqual(under_way[item[0]], min(under_way[one] for one, _ in waiting))
                waiting.remove(item)
                under_way[item[0]] += 1
            self.assertEqual(bool(queue), bool(waiting))
