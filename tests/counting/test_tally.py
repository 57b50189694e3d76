"""Counting: nobody can make more numbers than there are."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.counting import histogram, tally
from minimixproxy.counting.histogram import Histogram
from minimixproxy.counting.tally import OTHER, Tally


class TallyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(tally, "TALLIES", [])  # these are none of the process's
        self.logins = Tally("logins", "of the test", mechanism=("PLAIN", "SCRAM"), result=("success", "failure"))

    def test_known_values(self) -> None:
        self.logins.count("PLAIN", "failure")
        self.logins.count("PLAIN", "failure", number=3)
        self.assertEqual(self.logins.of("PLAIN", "failure"), 4)
        self.assertEqual(sum(self.logins.counts.values()), 4)

    def test_what_is_not_known(self) -> None:
        """Whatever is counted, the values stay those that they were; each that is known is kept."""
        before = set(self.logins.counts)
        for value in ("", "plain", "PLAIN ", OTHER, "x" * 10_000, "\0", 'a"b', "\ud800"):
            self.logins.count(value, "success")
            self.logins.count("SCRAM", value)
            self.logins.count(value, value)
        self.assertEqual(set(self.logins.counts), before)
        for values in ((OTHER, "success"), ("SCRAM", OTHER), (OTHER, OTHER)):
            self.assertEqual(self.logins.of(*values), 8, values)

    def test_only_some_combinations(self) -> None:
        moves = Tally("moves", "of the test", {("a", "x"), ("b", "y")}, of=("a", "b"), to=("x", "y"))
        for values in (("a", "x"), ("a", "y"), ("a", "z"), ("z", "z")):
            moves.count(*values)
        self.assertEqual(moves.counts, {("a", "x"): 1, ("b", "y"): 0, (OTHER, OTHER): 3})

    def test_all_are_known_to_who_shows_them(self) -> None:
        self.assertEqual(tally.TALLIES, [self.logins])


class HistogramTests(SynchronousTestCase):
    def test_classes(self) -> None:
        self.patch(histogram, "HISTOGRAMS", [])
        seconds = Histogram("waits", "of the test", (0.1, 1.0))
        for value in (0.0, 0.1, 0.11, 1.0, 1.5, 1e9):
            seconds.observe(value)
        self.assertEqual(seconds.cumulated(), [(0.1, 2), (1.0, 4), (float("inf"), 6)])
        self.assertAlmostEqual(seconds.seconds, 0.0 + 0.1 + 0.11 + 1.0 + 1.5 + 1e9)
        self.assertEqual(histogram.HISTOGRAMS, [seconds])
