"""In a cluster each message's own row has what it says."""

from zlib import crc32

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.minimix.interfaces.journal import KeptMessage
from minimixproxy.storage.batch import Batch
from minimixproxy.storage.bodies import UnsharedBodies

RAW, OTHER = b"<message><body>a</body></message>", b"<message><body>b</body></message>"


class UnsharedBodiesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.batch, self.bodies = Batch(), UnsharedBodies()

    def message(self, sequence: int, raw: bytes = RAW) -> KeptMessage:
        return KeptMessage(sequence, 5.0, raw, False, "s", amends=3, retracted=True)

    def test_equal_ones_have_rows_of_their_own(self) -> None:
        self.assertFalse(self.bodies.shared)
        self.assertEqual([self.bodies.kept(self.message(number)) for number in (7, 8)], [7, 8])

    def test_what_is_gone_goes(self) -> None:
        """Nobody names it."""
        self.bodies.gone(self.batch, 7, RAW, 7)
        self.assertEqual((self.batch.trimmed, self.batch.disowned), ([7], []))

    def test_what_changes_does_so_in_its_row(self) -> None:
        def number() -> int:
            raise AssertionError("no other row is needed")

        row = self.bodies.changed(self.batch, RAW, 7, self.message(7, OTHER), number)
        self.assertEqual((row, self.batch.changes), (7, {7: (OTHER, "s", 3, True, crc32(OTHER), None)}))
