"""Tables of measurements: what is shown, beside what, and what goes into JSON."""

from twisted.trial.unittest import SynchronousTestCase

from bench.load import padded
from bench.tables import Column, Goal, Row, Section, Table

TABLE = Table(
    "ratios",
    ["sessions"],
    [Column("proxy", 1, before=True, goal=True), Column("loop", 1)],
    [
        Row(["2"], {"proxy": 50.04, "loop": 16}, {"proxy": Goal(60)}),
        Row(["50"], {"proxy": 12, "loop": None}, {"proxy": Goal(10, unit=" µs")}),
    ],
)


class TableTests(SynchronousTestCase):
    """A table beside the run before."""

    def test_without_a_run_before(self) -> None:
        self.assertEqual(
            TABLE.markdown({}),
            "| sessions | proxy | goal | loop |\n| --- | ---: | ---: | ---: |\n"
            "| 2 | 50.0 | ≤ 60, met | 16.0 |\n| 50 | 12.0 | ≤ 10 µs, **missed** |  |\n",
        )

    def test_beside_the_run_before(self) -> None:
        before = {"2": {"proxy": 70.0}, "10": {"proxy": 20.0}}
        lines = TABLE.markdown(before).splitlines()
        self.assertEqual(lines[0], "| sessions | proxy | before | goal | loop |")
        self.assertEqual(
            lines[2:], ["| 2 | 50.0 | 70.0 | ≤ 60, met | 16.0 |", "| 50 | 12.0 |  | ≤ 10 µs, **missed** |  |"]
        )

    def test_what_nobody_measured_has_no_column(self) -> None:
        table = Table("t", ["sessions"], [Column("proxy"), Column("other", goal=True)], [Row(["2"], {"proxy": 1.0})])
        self.assertEqual(table.markdown({}), "| sessions | proxy |\n| --- | ---: |\n| 2 | 1 |\n")

    def test_figures(self) -> None:
        self.assertEqual(TABLE.figures(), {"2": {"proxy": 50.04, "loop": 16}, "50": {"proxy": 12}})

    def test_section(self) -> None:
        section = Section("forking", "Forking", ["A text.", TABLE])
        self.assertEqual(section.results(), {"ratios": TABLE.figures()})
        text = section.markdown({"ratios": {"2": {"proxy": 70.0}}})
        self.assertTrue(text.startswith("## Forking\n\nA text.\n\n| sessions | proxy | before |"), text)


class GoalTests(SynchronousTestCase):
    """What is met."""

    def test_at_least(self) -> None:
        self.assertEqual(Goal(3, least=True).judged(3.0), "≥ 3, met")
        self.assertEqual(Goal(3, least=True).judged(2.9), "≥ 3, **missed**")


class PaddedTests(SynchronousTestCase):
    """The loop's messages are as large as copies."""

    def test_more_text(self) -> None:
        message = b"<message><body>@serial@ text</body><x/></message>"
        self.assertEqual(padded(message, len(message) + 3), b"<message><body>@serial@ text...</body><x/></message>")

    def test_it_is_large_enough(self) -> None:
        self.assertEqual(padded(b"<message><body>text</body></message>", 3), b"<message><body>text</body></message>")
