"""A lock on a directory: against other processes, and gone with the process that has it."""

import errno
import fcntl
import os
from pathlib import Path

from twisted.logger import formatEvent
from twisted.trial import unittest

from minimixproxy import state_lock
from tests import other_process
from tests.log_events import log_events
from tests.other_process import Process

HOLD = """
import sys, pathlib
from minimixproxy import state_lock
state_lock.take(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


class StateLockTests(unittest.SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def holder(self) -> Process:
        process = other_process.start("-c", HOLD, str(self.directory.absolute()))
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), b"held\n")
        return process

    def test_another_process(self) -> None:
        process = self.holder()
        error = self.assertRaises(state_lock.InUse, state_lock.take, self.directory)
        self.assertEqual(str(error), f"{self.directory} is in use by another minimixproxy")
        process.kill()
        process.wait()
        state_lock.take(self.directory)
        self.assertRaises(state_lock.InUse, state_lock.take, self.directory)

    def test_no_directory(self) -> None:
        file = Path(self.mktemp())
        file.touch()
        self.assertRaises(NotADirectoryError, state_lock.take, file)
        self.assertRaises(FileNotFoundError, state_lock.take, self.directory / "missing")
        self.assertEqual(list(self.directory.iterdir()), [])


class ObstacleTests(unittest.SynchronousTestCase):
    """What the system says in place of a lock. No descriptor is left open but one that holds a lock."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.file = self.directory / "file"
        self.file.touch()
        self.descriptors = self.open_descriptors()
        self.events = log_events(self)

    @staticmethod
    def open_descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def says(self, function: str, number: int) -> None:
        """Let a system call fail."""

        def fail(*_arguments: object) -> None:
            raise OSError(number, os.strerror(number))

        self.patch(fcntl, function, fail)

    def logged(self) -> list[str]:
        return [formatEvent(event) for event in self.events]

    def test_in_use(self) -> None:
        for number in (errno.EWOULDBLOCK, errno.EACCES):
            self.says("flock", number)
            self.says("fcntl", number)
            for lock, path in ((state_lock.take, self.directory), (state_lock.lock_file, self.file)):
                error = self.assertRaises(state_lock.InUse, lock, path)
                self.assertEqual(str(error), f"{path} is in use by another minimixproxy")
        self.assertEqual((self.open_descriptors(), self.events), (self.descriptors, []))

    def test_a_file_system_without_locks(self) -> None:
        self.says("flock", errno.ENOLCK)
        self.says("fcntl", errno.ENOLCK)
        state_lock.take(self.directory)
        self.assertIsNone(state_lock.lock_file(self.file))
        told = [f"{path} cannot be locked: No locks available" for path in (self.directory, self.file)]
        self.assertEqual((self.logged(), self.open_descriptors()), (told, self.descriptors))

    def test_a_system_without_such_locks(self) -> None:
        self.patch(state_lock, "_SET_LOCK", None)
        self.assertIsNone(state_lock.lock_file(self.file))
        self.assertEqual(self.logged(), [f"{self.file} cannot be locked: Function not implemented"])
        self.assertEqual(self.open_descriptors(), self.descriptors)


class FileTests(unittest.SynchronousTestCase):
    def test_by_whatever_name(self) -> None:
        file = Path(self.mktemp())
        self.assertRaises(FileNotFoundError, state_lock.lock_file, file)
        file.touch()
        other = Path(self.mktemp())
        other.hardlink_to(file)
        held = state_lock.lock_file(file)
        assert held is not None
        for name in (file, other):
            error = self.assertRaises(state_lock.InUse, state_lock.lock_file, name)
            self.assertEqual(str(error), f"{name} is in use by another minimixproxy")
        os.close(held)
        again = state_lock.lock_file(other)
        assert again is not None
        os.close(again)

    def test_who_reads_and_writes_it_is_not_kept_out(self) -> None:
        file = Path(self.mktemp())
        file.touch()
        held = state_lock.lock_file(file)
        assert held is not None
        self.addCleanup(os.close, held)
        with file.open("r+b") as opened:
            fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB, 2**40)
