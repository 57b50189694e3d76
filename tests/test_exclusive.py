"""A lock on a directory: against other processes, and gone with the process that has it."""

import subprocess
import sys
from pathlib import Path

from twisted.trial import unittest

from minimixproxy import exclusive

HOLD = """
import sys, pathlib
from minimixproxy import exclusive
exclusive.take(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


class ExclusiveTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def holder(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(self.directory)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), b"held\n")
        return process

    def test_another_process(self) -> None:
        process = self.holder()
        error = self.assertRaises(exclusive.InUse, exclusive.take, self.directory)
        self.assertEqual(str(error), f"{self.directory} is in use by another minimixproxy")
        process.kill()
        process.wait()
        exclusive.take(self.directory)
        self.assertRaises(exclusive.InUse, exclusive.take, self.directory)

    def test_no_directory(self) -> None:
        self.assertRaises(FileNotFoundError, exclusive.take, self.directory / "missing")
        self.assertEqual(list(self.directory.iterdir()), [])
