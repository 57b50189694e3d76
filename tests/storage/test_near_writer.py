"""What is written in the reactor's thread, and what is left for the writer's."""

from __future__ import annotations

import resource
from typing import Any, cast

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.storage.batch import ROW_SIZE, Batch
from minimixproxy.storage.near_writer import (
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST_BYTES,
    MOST_ROWS,
    QUICK_ENOUGH,
    SLOW,
    NearWriter,
    is_small,
    waits_of_thread,
)
from minimixproxy.storage.writer import WriterThread, Written


class NearWriterTests(SynchronousTestCase):
    """This class is the tables and the thread as well."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.waited = 0
        self.takes = 0.0  # seconds that a write here takes
        self.waits = 1  # times that it waits meanwhile, if it takes any
        self.can = True
        self.wants_tending = False
        self.here: list[Batch] = []
        self.there: list[Batch] = []
        self.tended = 0
        self.told: list[Any] = []
        self.stopped: list[float] = []
        self.writer = NearWriter(self, cast(WriterThread, Thread(self)), self.clock.seconds, lambda: self.waited)
        self.writer.start(lambda *told: self.told.append(told))

    def write_at_once(self, batch: Batch) -> bool:
        self.clock.advance(self.takes)
        self.waited += self.waits if self.takes else 0
        if self.can:
            self.here.append(batch)
        return self.can

    def write(self) -> str:
        """Write a batch, and tell where it went."""
        batch = Batch()
        self.writer.write(batch)
        if batch in self.here:
            self.assertEqual(self.told.pop(), (batch, None))
            return "here"
        self.assertEqual((self.there.pop(), self.told), (batch, []))
        return "there"

    def test_a_quick_disk(self) -> None:
        self.assertEqual([self.write() for _ in range(3)], ["here"] * 3)

    def test_what_cannot_be_written_at_once(self) -> None:
        """It is the thread's, as a whole; and the next is tried here again."""
        self.can = False
        self.assertEqual(self.write(), "there")
        self.can = True
        self.assertEqual(self.write(), "here")

    def test_a_large_one(self) -> None:
        """None of its kind holds the reactor."""
        batch = Batch()
        batch.size = MOST_BYTES + 1
        self.writer.write(batch)
        self.assertEqual((self.here, self.there, self.told), ([], [batch], []))

    def test_a_slow_disk(self) -> None:
        """The first slow write is the last one here for a while, which doubles each time."""
        pause = FIRST_PAUSE
        while pause < LONGEST_PAUSE:
            self.takes = SLOW * 1.5
            self.assertEqual(self.write(), "here")
            self.takes = 0.0
            self.assertEqual(self.write(), "there")
            self.clock.advance(pause * 0.99)
            self.assertEqual(self.write(), "there")
            self.clock.advance(pause * 0.02)
            self.assertEqual(self.write(), "here", "quick once is not enough")
            pause *= 2
        self.takes = SLOW * 1.5
        self.assertEqual(self.write(), "here")
        self.clock.advance(LONGEST_PAUSE)
        self.takes = 0.0
        for _ in range(QUICK_ENOUGH):
            self.assertEqual(self.write(), "here")
        self.takes = SLOW * 1.5
        self.assertEqual(self.write(), "here")
        self.takes = 0.0
        self.assertEqual(self.write(), "there")
        self.clock.advance(FIRST_PAUSE)
        self.assertEqual(self.write(), "here", "it was quick for long")

    def test_a_slow_attempt_that_comes_to_nothing(self) -> None:
        self.can, self.takes = False, SLOW * 1.5
        self.write()
        self.can, self.takes = True, 0.0
        self.assertEqual(self.write(), "there")

    def test_a_busy_machine(self) -> None:
        """Who did not wait was kept from working by other programs: the disk is quick."""
        self.takes, self.waits = SLOW * 1.5, 0
        self.assertEqual([self.write() for _ in range(3)], ["here"] * 3)

    def test_tending(self) -> None:
        """The thread does what takes long, behind what was written here."""
        self.write()
        self.assertEqual(self.tended, 0)
        self.wants_tending = True
        self.assertEqual(self.write(), "here")
        self.assertEqual(self.tended, 1)

    def test_the_end(self) -> None:
        self.writer.stop(5.0)
        self.assertEqual(self.stopped, [5.0])


class Thread:
    """What is used of the writer's thread."""

    def __init__(self, test: NearWriterTests) -> None:
        self._test = test

    def start(self, written: Written) -> None:
        """It runs all the time."""

    def write(self, batch: Batch) -> None:
        self._test.there.append(batch)

    def tend(self) -> None:
        self._test.tended += 1

    def stop(self, timeout: float) -> None:
        self._test.stopped.append(timeout)


class OnlyMessagesTests(SynchronousTestCase):
    """A batch that is written the short way has nothing but messages in it, whatever else there will be one day."""

    # what is no row, or goes with a row
    BESIDE = frozenset(
        {
            "begun",
            "erased",
            "erasure",
            "left_out",
            "messages",
            "only_messages",
            "output",
            "size",
            "top",
            "tried",
            "writes_anew",
        }
    )

    def closed(self, name: str = "") -> bool:
        batch = Batch()
        batch.messages += [1, 2, 3.0, b"raw", False, None, None, False, 0, None]
        if name:
            value = getattr(batch, name)
            setattr(batch, name, {1: (1,)} if isinstance(value, dict) else True if isinstance(value, bool) else [1])
        batch.close(1)
        return batch.only_messages

    def test_each_thing_beside(self) -> None:
        self.assertTrue(self.closed())
        for name in set(Batch.__slots__) - self.BESIDE:
            self.assertFalse(self.closed(name), name)


class SmallTests(SynchronousTestCase):
    """Each of a batch's parts can make it too large."""

    def test_nothing_and_a_message(self) -> None:
        batch = Batch()
        self.assertTrue(is_small(batch))
        batch.messages += [1, 2, 3.0, b"raw", False, None, None, False, 0, None]
        batch.size += 3 + ROW_SIZE
        self.assertTrue(is_small(batch))

    def test_what_takes_long(self) -> None:
        """Whatever touches all rows of an account or room, or old ones, which are on the disk; and whatever erases."""
        parts: dict[str, Any] = {
            "replaces_history": True,
            "erases": True,
            "gone_accounts": [1],
            "gone_rooms": [1],
            "gone_keys": ["a@a.test"],
            "gone_tokens": {("a@a.test", "phone"): None},
            "login_keys": {("a@a.test", "SHA-1"): ()},
            "blocked": {"a@a.test": None},
            "size": MOST_BYTES + 1,
            "trimmed": [1],
            "given": [1],
            "changes": {1: (1,)},
            "emptied": {1: None},
            "disowned": [1],
        }
        for name, value in parts.items():
            batch = Batch()
            setattr(batch, name, value)
            self.assertFalse(is_small(batch), name)

    def test_many_rows(self) -> None:
        for name in ("accounts", "rooms", "cursors", "acknowledged", "login_tokens"):
            batch = Batch()
            setattr(batch, name, dict.fromkeys(range(MOST_ROWS)))
            self.assertTrue(is_small(batch), name)
            setattr(batch, name, dict.fromkeys(range(MOST_ROWS + 1)))
            self.assertFalse(is_small(batch), name)


class WaitsTests(SynchronousTestCase):
    def test_the_kernel_counts_them(self) -> None:
        before = waits_of_thread()
        self.assertLessEqual(before, resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw)
