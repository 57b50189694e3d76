"""Figures that are kept, and what is drawn of them."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import plots, results

CPU = {"2": {"loop": 16.123456, "proxy": 260.0, "with server": 500.0}, "50": {"loop": 5.0, "proxy": 21.0}}
RUN = results.Run("2026-11-26 12:00 UTC", {"forking": {"one": CPU}}, {"forking": 12.0})


class ResultsTests(SynchronousTestCase):
    """The run before is kept."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())

    def test_nothing_is_there(self) -> None:
        self.assertEqual(results.read(self.folder), results.Run())

    def test_there_and_back(self) -> None:
        results.write(self.folder, RUN)
        read = results.read(self.folder)
        self.assertEqual(read.sections["forking"]["one"]["2"]["loop"], 16.12)
        self.assertEqual(read.taken, RUN.taken)
        self.assertEqual(results.read(self.folder, results.BEFORE), results.Run())

    def test_the_run_before(self) -> None:
        results.write(self.folder, RUN)
        results.write(self.folder, results.Run("later"))
        self.assertEqual(results.read(self.folder).taken, "later")
        self.assertEqual(results.read(self.folder, results.BEFORE).taken, RUN.taken)


class PlotsTests(SynchronousTestCase):
    """Pictures."""

    skip = plots.missing()

    def test_the_same_bytes_for_the_same_figures(self) -> None:
        pictures = []
        for _ in range(2):
            folder = Path(self.mktemp())
            folder.mkdir()
            plots.draw(folder, RUN, RUN)
            pictures.append({path.name: path.read_bytes() for path in folder.iterdir()})
        self.assertEqual(pictures[0], pictures[1])
        self.assertEqual(list(pictures[0]), ["cpu-per-copy.svg"])
        self.assertIn(b"proxy, before", pictures[0]["cpu-per-copy.svg"])

    def test_without_a_run_before(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        plots.draw(folder, RUN, results.Run())
        self.assertNotIn(b"before", (folder / "cpu-per-copy.svg").read_bytes())


class ShownTests(SynchronousTestCase):
    """The document shows what there is."""

    def test_a_section_with_plots(self) -> None:
        self.assertIn("](benchmarks/cpu-per-copy.svg)", plots.shown("forking", "benchmarks"))

    def test_a_section_without(self) -> None:
        self.assertEqual(plots.shown("nothing", "benchmarks"), "")
