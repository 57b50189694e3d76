"""A client of the machine with stream management (XEP-0198): what it is told, has read, and acknowledges."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

from minimixproxy.wire.lazy_stanzas import LazyStanzas
from tests.minimix.machine.client import Client


class ManagedClient(Client):
    """What is delivered is written when the turn is over; the device reads and acknowledges when it is told to.

    One that is `slow` is written only what `writes` says, one that is `asleep` nothing.
    """

    def manages(self, written: Callable[[bytes], None]) -> None:
        """Stream management is enabled. `written` is called with what goes to the connection."""
        self.managed = True
        self._is_written = written
        self.asleep = False
        self._delivered: deque[Any] = deque()
        self._sent: deque[bytes] = deque()  # and not acknowledged
        self._acknowledged = 0  # in all
        self._read: list[bytes] = []
        self._settled = 0  # so many of them it has, as far as the proxy knows
        self._marks: deque[tuple[int, int]] = deque()  # behind which stanza it was, and what had been given out
        self._sure = self.world.journal.given_out()
        self._written = self._sure
        self._lined_up = False
        self.account.session_managed(self)

    @property
    def reached(self) -> float:
        if not self.managed:
            return math.inf
        return self._sure if self._sent or self._delivered else math.inf

    @reached.setter
    def reached(self, reached: float) -> None:
        """It says so itself."""

    # What it is told

    def _through_gate(self, output: Any) -> None:
        if not self.closed:
            self._delivered.append(output[0])
            if not self._lined_up:
                self._lined_up = True
                self.world.storage.turn_end.add(self)

    def turn_ended(self) -> None:
        self._lined_up = False
        if not self.slow:
            self.writes()

    def abort(self) -> None:
        raise AssertionError("a fault while writing")

    def writes(self, count: int = 1_000_000) -> None:
        """So many stanzas go to the connection."""
        wrote = False
        while self._delivered and count and not (self.asleep or self.closed):
            count -= 1
            wrote = True
            first = self._delivered[0]
            data = next(iter(first), None) if isinstance(first, LazyStanzas) else first
            if data is None or not isinstance(first, LazyStanzas):
                self._delivered.popleft()
            if data is not None:
                self._sent.append(data)
                self._is_written(data)
        if wrote:
            if not self._delivered:
                self._written = self.world.journal.given_out()
            self._marks.append((self._acknowledged + len(self._sent), self._written))

    # What it does

    def reads(self, count: int) -> None:
        """The device reads so many stanzas more."""
        if not self.asleep:
            unread = len(self._read) - self._acknowledged
            for data in list(self._sent)[unread : unread + count]:
                self._read.append(data)
                self._shown(data)

    def acknowledges(self) -> None:
        """It says how many it has read."""
        if self.asleep or self.closed:
            return
        for _ in range(len(self._read) - self._acknowledged):
            self._sent.popleft()
        self._acknowledged = len(self._read)
        while self._marks and self._marks[0][0] <= self._acknowledged:
            settled, sure = self._marks.popleft()
            if sure > self._sure:
                self._settled, self._sure = settled, sure
        self.account.acknowledged(self)

    @property
    def settled(self) -> list[bytes]:
        """What it has, as far as the proxy knows."""
        return self._read if self.reached == math.inf else self._read[: self._settled]

    def closes(self, reached: float = math.inf) -> None:
        """What it has not acknowledged, it is given again."""
        if not self.closed:
            super().closes()
            self.world.memory.forget(self.jid)

    def sleeps(self) -> None:
        """Its connection is gone."""
        if not self.asleep and not self.closed:
            self.asleep = True
            self.account.session_sleeps(self)

    def resumes(self) -> None:
        """It is back, and says how many it has read."""
        if self.asleep and not self.closed:
            self.asleep = False
            self.acknowledges()
            self.writes()
