"""Which resource gets a request."""

from collections import Counter
from random import Random

from twisted.trial import unittest

from minimixproxy.clientproxy.choosing import policy

THREE = ("a/1", "a/2", "a/3")


def idle(_resource: str) -> int:
    return 0


class PolicyTests(unittest.TestCase):
    def test_random_uses_all_evenly(self) -> None:
        choose = policy("random", Random(1))
        counts = Counter(choose(THREE, "x", idle) for _ in range(3000))
        self.assertEqual(set(counts), set(THREE))
        self.assertTrue(all(850 < count < 1150 for count in counts.values()), counts)

    def test_round_robin_takes_turns(self) -> None:
        choose = policy("round-robin", Random(1))
        self.assertEqual([choose(THREE, "x", idle) for _ in range(5)], ["a/1", "a/2", "a/3", "a/1", "a/2"])

    def test_round_robin_skips_nobody_when_one_goes(self) -> None:
        choose = policy("round-robin", Random(1))
        choose(THREE, "x", idle)
        choose(THREE, "x", idle)
        self.assertEqual([choose(("a/1", "a/3"), "x", idle) for _ in range(3)], ["a/3", "a/1", "a/3"])

    def test_least_outstanding(self) -> None:
        choose = policy("least-outstanding", Random(1))
        loads = {"a/1": 4, "a/2": 1, "a/3": 1}
        self.assertEqual([choose(THREE, "x", loads.__getitem__) for _ in range(3)], ["a/2", "a/3", "a/2"])

    def test_sender_keeps_to_one(self) -> None:
        choose = policy("sender", Random(1))
        for number in range(100):
            first = choose(THREE, f"u{number}@x", idle)
            self.assertEqual(choose(tuple(reversed(THREE)), f"u{number}@x", idle), first)

    def test_sender_spreads_and_moves_only_those_of_the_one_that_went(self) -> None:
        choose = policy("sender", Random(1))
        askers = [f"u{number}@x" for number in range(900)]
        before = {asker: choose(THREE, asker, idle) for asker in askers}
        self.assertTrue(all(220 < count < 380 for count in Counter(before.values()).values()))
        after = {asker: choose(THREE[:2], asker, idle) for asker in askers}
        self.assertTrue(all(after[asker] == before[asker] for asker in askers if before[asker] != "a/3"))

    def test_failover_keeps_to_the_one_that_came_first(self) -> None:
        choose = policy("failover", Random(1))
        self.assertEqual([choose(("a/2", "a/1"), f"u{number}@x", idle) for number in range(3)], ["a/2"] * 3)

    def test_unknown_policy(self) -> None:
        self.assertRaises(ValueError, policy, "best", Random())
