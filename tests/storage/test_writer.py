"""The writer's thread: what it tells of batches, and while there is nothing to write."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.storage import writer
from minimixproxy.storage.batch import Batch, Erasure
from minimixproxy.storage.writer import WriterThread
from tests.patience import patiently


class Reactor:
    """Its thread is this one."""

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)


class Rest(SynchronousTestCase):
    def setUp(self) -> None:
        self.met: list[Exception | Erasure] = []  # what the next rests do
        self.told: list[Exception | Erasure] = []
        self.writer = WriterThread(self, Reactor())

    def write(self, _batch: Batch) -> None:
        """Nothing comes."""

    def tend(self) -> None:
        """Nothing is left to be done."""

    def end(self) -> None:
        """It is the end."""

    def rest(self) -> Erasure:
        met = self.met.pop(0)
        if isinstance(met, Exception):
            raise met
        return met

    def rests(self, *met: Exception | Erasure) -> list[Exception | Erasure]:
        self.met += met
        while self.met:
            self.writer._have_rest(self.written)
        told, self.told = self.told, []
        return told

    def written(self, batch: Batch | None, error: Exception | None, erasure: Erasure = Erasure.NOWHERE) -> None:
        self.assertIsNone(batch)
        self.told.append(error or erasure)

    def test_what_is_erased_is_told(self) -> None:
        self.assertEqual(self.rests(Erasure.NOWHERE, Erasure.LOG, Erasure.NOWHERE), [Erasure.LOG])

    def test_the_same_fault_is_told_once(self) -> None:
        """A database that is down for a night is one line in the log, not one for each second."""
        down, lost = OSError("down"), ValueError("lost")
        self.assertEqual(self.rests(down, down, down), [down])
        self.assertEqual(self.rests(down, lost, lost), [lost])
        for _ in range(2):
            self.assertEqual(self.rests(Erasure.NOWHERE, down), [down])


class Batches(SynchronousTestCase):
    """In its own thread."""

    def setUp(self) -> None:
        self.good, self.bad, self.fault = Batch(), Batch(), OSError("no space")
        self.written: list[Batch] = []
        self.told: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self.ended: SimpleQueue[list[Batch]] = SimpleQueue()
        self.patch(writer, "REST", patiently(30))  # none while a busy machine is at one of several steps
        self.writer = WriterThread(self, Reactor())

    def tend(self) -> None:
        raise self.fault

    def end(self) -> None:
        self.ended.put(self.written)

    def write(self, batch: Batch) -> None:
        self.written.append(batch)
        if batch is self.bad:
            raise self.fault

    def rest(self) -> Erasure:
        return Erasure.LOG

    def next_told(self) -> tuple[Any, ...]:
        return self.told.get(timeout=patiently(30))

    def begin(self) -> None:
        self.writer.start(lambda *told: self.told.put(told))
        self.addCleanup(self.writer.stop, patiently(30))
        mine = [thread for thread in threading.enumerate() if thread.name == "state"]
        self.assertTrue(all(thread.daemon for thread in mine), "a disk that hangs keeps no process from ending")

    def test_what_becomes_of_them(self) -> None:
        """One that fails is no other's fault, and no end."""
        self.begin()
        for batch in (self.good, self.bad, self.good):
            self.writer.write(batch)
        self.assertEqual(
            [self.next_told() for _ in range(3)], [(self.good, None), (self.bad, self.fault), (self.good, None)]
        )
        self.assertEqual(self.written, [self.good, self.bad, self.good])

    def test_a_rest_between_them(self) -> None:
        """Nothing is written again."""
        self.patch(writer, "REST", 0.001)
        self.begin()
        self.writer.write(self.good)
        while self.next_told() != (None, None, Erasure.LOG):
            pass
        self.writer.write(self.bad)
        while self.next_told() != (self.bad, self.fault):
            pass
        self.assertEqual(self.written, [self.good, self.bad])

    def test_something_between_them(self) -> None:
        """Its fault is told once, and is no batch's."""
        self.begin()
        self.writer.write(self.good)
        self.writer.tend()
        self.writer.tend()
        self.writer.write(self.good)
        self.assertEqual(
            [self.next_told() for _ in range(3)], [(self.good, None), (None, self.fault), (self.good, None)]
        )

    def test_the_end(self) -> None:
        """What was given before it is written before it."""
        self.begin()
        self.writer.write(self.good)
        self.writer.stop(patiently(30))
        self.assertEqual(self.ended.get(timeout=patiently(30)), [self.good])
