"""One side of a session being slow pauses the reading of the other."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer


@implementer(IPushProducer)
class Backpressure:
    """Registered as the producer of a transport; says when the transport has too much to send, and when no more."""

    __slots__ = ("_close", "_open")

    def __init__(self, close: Callable[[], None], open: Callable[[], None]) -> None:
        self._close = close
        self._open = open

    def pauseProducing(self) -> None:
        self._close()

    def resumeProducing(self) -> None:
        self._open()

    def stopProducing(self) -> None:
        """The transport is lost; its protocol hears of it."""
