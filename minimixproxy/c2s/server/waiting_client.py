"""A client that waits for something: it is not read, and what it has sent ahead is looked at afterwards."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.python.failure import Failure

from minimixproxy.c2s.server.pending_work import PendingWork
from minimixproxy.c2s.transport.client_stream import ClientStream
from minimixproxy.wire.events import Event


class WaitingClient:
    """`early`: what the client has sent ahead; who hears it puts it there."""

    def __init__(self, stream: ClientStream) -> None:
        self._stream = stream
        self._work = PendingWork()
        self.early: list[Event] = []

    def wait(
        self, work: Coroutine[Any, Any, Any], done: Callable[[Any], None], failed: Callable[[Failure], None]
    ) -> None:
        """Do some work; call `done` with the result, or `failed`. Neither is called once it is cancelled."""
        self._stream.transport.pauseProducing()
        self._work.run(work, done, failed)

    def over(self) -> list[Event]:
        """Read the client again; return what it has sent ahead."""
        self._stream.transport.resumeProducing()
        early, self.early = self.early, []
        return early

    def cancel(self) -> None:
        """Stop the work, if there is any."""
        self._work.cancel()
