"""kill -9 at any moment takes back nothing that a client was told, and gives it nothing twice but what it has not read.

A message is told by printing it; the cursor may be behind by what was printed in the last turns before the end.
"""

import os
import random
import signal
from collections import Counter

from tests import other_process
from tests.other_process import Process
from tests.storage.cases import Lab, StorageTestCase, on_both_databases
from tests.storage.journalling import HISTORY

ROUNDS = 8


@on_both_databases
class KilledTests(StorageTestCase):
    timeout = 120

    def test_nothing_is_taken_back(self) -> None:
        chance = random.Random(4)
        told: Counter[int] = Counter()
        program = self.program()
        for round_ in range(ROUNDS):
            now = self.told(program, round_, chance.choice((1, 10, chance.randint(10, 2000))))
            told.update(now)
            lab = self.lab()
            rooms = lab.kept[0].rooms if lab.kept else []
            self.check_shared(lab)
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

    def check_shared(self, lab: Lab) -> None:
        """What both accounts have in a room is there once, for each; and what nobody has, nowhere."""
        raws = {account.bare: {one.raw for one in account.rooms[0].messages} for account in lab.kept}
        self.assertLessEqual(raws.get("alice@example.org", set()), raws.get("bob@example.org", set()))
        said = {one.raw for account in lab.kept for room in account.rooms for one in room.messages}
        there = [bytes(raw) for (raw,) in self.execute("SELECT raw FROM messages") if raw]
        self.assertEqual(sorted(there), sorted(said))

    def program(self) -> Process:
        process = other_process.start("-m", "tests.storage.journalling", str(self.state), str(self.directory))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def told(self, program: Process, seed: int, lines: int) -> list[int]:
        """Have it run, kill it when it has printed so many lines; return all that it printed."""
        assert program.stdin is not None and program.stdout is not None
        program.stdin.write(b"%d\n" % seed)
        program.stdin.flush()
        pid = int(program.stdout.readline())
        printed = [program.stdout.readline() for _ in range(lines)]
        os.kill(pid, signal.SIGKILL)
        for line in program.stdout:
            if line.startswith(b"ended"):
                break
            printed.append(line)
        self.assertEqual((line, printed[0]), (b"ended -9\n", b"begin\n"))
        return [int(line) for line in printed[1:]]
