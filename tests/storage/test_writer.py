"""The writer's thread, while there is nothing to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from minimixproxy.storage.batch import Batch, Erasure
from minimixproxy.storage.writer import WriterThread


class Reactor:
    """Its thread is this one."""

    def callFromThread(self, function: Callable[..., Any], *arguments: Any) -> None:
        function(*arguments)


class Rest(SynchronousTestCase):
    def setUp(self) -> None:
        self.met: list[Exception | Erasure] = []  # what the next rests do
        self.told: list[Exception | Erasure] = []
        self.writer = WriterThread(lambda _batch: None, self.rest, lambda: None, Reactor())

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
        self.assertEqual(self.rests(Erasure.NOWHERE, down), [down])
