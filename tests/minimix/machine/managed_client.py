"""A client of the machine with stream management (XEP-0198): the session's own output, and a device that reads it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minimixproxy.c2s.session.client_management import ClientManagement, Terms
from minimixproxy.c2s.session.output import ClientOutput
from minimixproxy.wire.lazy_stanzas import LazyStanzas
from minimixproxy.wire.stanza import Stanza
from tests.minimix.machine.client import SERVER_LIMITS, Client

if TYPE_CHECKING:
    from minimixproxy.wire.framing import Framer

SLEEP = 600  # seconds
QUEUE = 64 * 1024 * 1024  # bytes


class Connection:
    """What the output writes to."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport

    def close(self, data: bytes = b"") -> None:
        raise AssertionError(data)


class ManagedClient(Client):
    """It reads and acknowledges what was written to it when it is told to.

    One that is `slow` can take one write at a time; one whose connection is gone takes nothing.
    """

    _line: Framer

    def manages(self, written: Callable[[bytes], None]) -> None:
        """Stream management is enabled. `written` is called with each stanza that goes to the connection."""
        self.managed = True
        self._is_written = written
        self._unread: deque[bytes] = deque()  # on the connection
        self._read: list[bytes] = []  # in all
        self._settled = 0  # so many of them it has, as far as the proxy knows
        self._connect()
        world = self.world
        self._output_side = ClientOutput(Connection(self), world.storage.turn_end, self, QUEUE, self)
        position = world.journal.given_out
        self._management = ClientManagement(self, self._output_side, world.clock, position, Terms("id", SLEEP))
        self._output_side.manage(self._management.sent, self._management, b"<enabled xmlns='urn:xmpp:sm:3'/>")
        self.account.session_managed(self)

    def _connect(self) -> None:
        self._unread.clear()
        self._line = self._framer(SERVER_LIMITS)

    @property
    def reached(self) -> float:
        return self._management.reached if self.managed else math.inf

    @reached.setter
    def reached(self, reached: float) -> None:
        """It says so itself."""

    # What the output asks

    def write(self, data: bytes) -> None:
        """Something goes to the connection."""
        for event in self._line.feed(data):
            assert isinstance(event, Stanza), event
            if event.name in ("message", "presence", "iq"):
                self._unread.append(event.raw)
                self._is_written(event.raw)
        if self.slow:
            self._output_side.block()

    def question(self) -> bytes:
        return b""

    def wrote(self, size: int, *, everything: bool = True) -> None:
        """Before stream management is enabled."""

    def flows(self, free: bool) -> None:
        """Nothing waits for it."""

    def overflows(self, waiting: int) -> None:
        raise AssertionError("too much waits")

    def abort(self) -> None:
        raise AssertionError("a fault while writing")

    # What stream management asks

    def end(self, data: bytes) -> None:
        raise AssertionError(data)

    def silent(self) -> None:
        self.sleeps()

    def acknowledged(self) -> None:
        self.account.acknowledged(self)

    # What it is told

    def _through_gate(self, output: Any) -> None:
        if isinstance(output[0], LazyStanzas):
            self._output_side.deliver_all(output[0])
        else:
            self._output_side.deliver(output[0])

    def writes(self) -> None:
        """The connection can take more."""
        self._output_side.unblock()

    # What it does

    def reads(self, count: int) -> None:
        """The device reads so many stanzas more."""
        while self._unread and count and not self.closed:
            count -= 1
            self._read.append(self._unread.popleft())
            self._shown(self._read[-1])

    def acknowledges(self) -> None:
        """It says how many it has read."""
        if not self._output_side.asleep and not self.closed:
            self._noting(lambda: self._management.acknowledges(len(self._read)))

    def _noting(self, acknowledge: Callable[[], object]) -> None:
        """Note what the proxy can know by this, one write at a time."""
        sure = self._management._sure
        for behind, position in self._management._positions:
            if behind <= len(self._read) and position > sure:
                self._settled, sure = behind, position
        acknowledge()

    @property
    def settled(self) -> list[bytes]:
        """What it has, as far as the proxy knows."""
        return self._read if self.reached == math.inf else self._read[: self._settled]

    def sleeps(self) -> None:
        """Its connection is gone, and what was on it."""
        if not self._output_side.asleep and not self.closed:
            self._unread.clear()
            self._management.rest()
            self._output_side.fall_asleep()
            self.account.session_sleeps(self)

    def resumes(self) -> None:
        """It is back, and says how many it has read."""
        if self._output_side.asleep and not self.closed:
            self._connect()
            answers: list[bytes] = []
            self._noting(lambda: answers.append(self._management.resume(len(self._read))))
            self._output_side.wake(Connection(self), answers[0])

    def closes(self, reached: float = math.inf) -> None:
        """Its session ends. What it has not acknowledged, it is given again."""
        if not self.closed:
            self._management.rest()
            self._output_side.stop_taking()
            super().closes()
            self._output_side.stop()
            self.world.memory.forget(self.jid)
