"""A path that leads nowhere would have a version measured beside itself."""

from argparse import ArgumentTypeError
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.checkouts import checkout

ROOT = Path(__file__).parents[2]


class CheckoutTests(SynchronousTestCase):
    def test_one(self) -> None:
        self.assertEqual(checkout(str(ROOT)), ROOT)

    def test_none(self) -> None:
        for path in ("/nowhere", str(ROOT / "tests"), ""):
            with self.assertRaises(ArgumentTypeError):
                checkout(str(Path(self.mktemp()) / path))
