"""A session's stream to its server: what goes there is joined for each read of the client, and ended in order."""

from __future__ import annotations

from collections.abc import Callable

from twisted.python.failure import Failure
from twisted.words.xish.xmlstream import STREAM_END_EVENT

from minimixproxy.c2s.session.backpressure import Backpressure
from minimixproxy.c2s.session.closing import Closing
from minimixproxy.c2s.session.request_watch import Learned, RequestWatch
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.events import Event
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.stream_headers import STREAM_END


class ServerStream:
    """`parts`: append what `flush` will follow in the same call."""

    __slots__ = ("_goodbye_said", "_stream", "parts")

    def __init__(self, stream: FramedXmlStream) -> None:
        self._stream: FramedXmlStream | None = stream  # None: it is lost, or being closed
        self._goodbye_said = False
        self.parts: list[bytes] = []

    def begin(
        self, events: Callable[[list[Event]], None], lost: Callable[[Failure], None], backpressure: Backpressure
    ) -> None:
        """Have each read's events handed over, which pass unread as far as that is possible."""
        stream = self._stream
        assert stream is not None
        stream.hand_to(events)
        stream.framer.pass_on(trusting=True)
        stream.addObserver(STREAM_END_EVENT, lost)
        stream.transport.registerProducer(backpressure, True)

    def flush(self) -> None:
        """Write what there is, with one call."""
        parts = self.parts
        if parts and self._stream is not None:
            self._stream.transport.write(parts[0] if len(parts) == 1 else b"".join(parts))
            parts.clear()

    def pause(self) -> None:
        """Do not read what the server says for a while."""
        if self._stream is not None:
            self._stream.transport.pauseProducing()

    def resume(self) -> None:
        """Read on."""
        if self._stream is not None:
            self._stream.transport.resumeProducing()

    def say_goodbye(self) -> None:
        """Close the client's half of the stream; goes out with `flush`, once."""
        if not self._goodbye_said:
            self._goodbye_said = True
            self.parts.append(STREAM_END)

    def lost(self) -> None:
        """The connection is gone."""
        self._stream = None

    def end(self, watch: RequestWatch, learned: Callable[[Learned], object], clock: Clock) -> None:
        """Close the stream, and give the server some time to agree. `learned` gets what its last answers tell."""
        self.flush()
        stream, self._stream = self._stream, None
        if stream is None:
            return
        stream.transport.unregisterProducer()
        stream.transport.resumeProducing()
        Closing(stream, b"" if self._goodbye_said else STREAM_END, watch, learned, clock)
