"""kill -9 at any moment takes back nothing that a client was told, and gives it nothing twice but what it has not read.

A message is told by printing it; the cursor may be behind by what was printed in the last turns before the end.
"""

import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.storage.cases import StorageTestCase, on_both_databases
from tests.storage.journalling import HISTORY

ROOT = Path(__file__).resolve().parent.parent.parent
ROUNDS = 8


@on_both_databases
class KilledTests(StorageTestCase):
    timeout = 120

    def test_nothing_is_taken_back(self) -> None:
        chance = random.Random(4)
        told: Counter[int] = Counter()
        for round_ in range(ROUNDS):
            now = self.told(round_, chance.choice((1, 10, chance.randint(10, 2000))))
            told.update(now)
            lab = self.lab()
            rooms = lab.kept[0].rooms if lab.kept else []
            kept = {message.sequence for room in rooms for message in room.messages}
            oldest = max(kept, default=0) - HISTORY  # what is older was trimmed
            lost = [sequence for sequence in now if sequence > oldest and sequence not in kept]
            self.assertEqual(lost, [], f"round {round_}: taken back")
            for room in rooms:
                seen = room.cursors.get("phone", 0)
                skipped = [one.sequence for one in room.messages if one.sequence <= seen and one.sequence not in told]
                self.assertEqual(skipped, [], f"round {round_}: will never be told")
            lab.crash()
        self.assertGreater(len(told), 1000)
        twice = sum(number > 1 for number in told.values())
        self.assertLess(twice, ROUNDS * 50)

    def told(self, seed: int, lines: int) -> list[int]:
        """Run the program, kill it when it has printed so many lines; return all that it printed."""
        arguments = [sys.executable, "-m", "tests.storage.journalling", str(self.state), str(self.directory), str(seed)]
        with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            printed = [process.stdout.readline() for _ in range(lines)]
            process.kill()
            printed += process.stdout.readlines()
        self.assertEqual((process.wait(), printed[0]), (-9, b"begin\n"))
        return [int(line) for line in printed[1:] if line.endswith(b"\n")]
