"""What handlers of an account stream have as their `xmlstream`: one for as long as the stream is open, or resumed."""

from __future__ import annotations

from collections.abc import Callable

from twisted.words.xish.utility import EventDispatcher


class Observed(EventDispatcher):
    """Dispatches stanzas to observers as an `XmlStream` does; its connections come and go. `send` is the stream's."""

    def __init__(self, send: Callable[[object], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.send = send
