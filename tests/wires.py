"""The transport of a connection in memory."""

from __future__ import annotations

from twisted.internet.interfaces import IPushProducer
from twisted.internet.testing import StringTransport


class Wire(StringTransport):
    """A transport whose output is read once."""

    def take(self) -> bytes:
        """Return what was written since the last time."""
        data = bytes(self.value())
        self.clear()
        return data

    @property
    def closing(self) -> bool:
        """Whether the connection is to end, at once or when all is written."""
        return bool(self.disconnecting)

    @property
    def aborted(self) -> bool:
        """Whether it is to end at once."""
        return bool(self.disconnected)

    @property
    def push_producer(self) -> IPushProducer:
        """Who writes here, and is told when to pause."""
        producer: IPushProducer | None = self.producer
        assert producer is not None
        return producer
