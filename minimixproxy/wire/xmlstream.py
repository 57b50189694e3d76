"""A Twisted `XmlStream` fed by our framing, so that Wokkel handlers sit on top unchanged."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Protocol

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.words.protocols.jabber import xmlstream as jabber_xmlstream
from twisted.words.xish import domish
from twisted.words.xish.xmlstream import STREAM_ERROR_EVENT

from minimixproxy.counting.traffic import LOGINS
from minimixproxy.namespaces import NS_STREAM
from minimixproxy.wire.events import Event, Fault, Keepalive, Skipped, StreamClosed, StreamOpened
from minimixproxy.wire.fast_framing import FastFramer
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.recognizing import KNOWN
from minimixproxy.wire.stanza import Stanza

SLICE = 0.0025  # seconds, about, that one stream's events take in one turn of the reactor
NOTHING: deque[Event] = deque(maxlen=0)  # an empty one is large
#: Reads the next bytes of a stream by its framer.
ReadsBytes = Callable[[FastFramer, bytes], None]
SKIPPED_EVENT = "//event/minimixproxy/skipped"  # with the `Skipped`


class Waiting(Protocol):
    """Who has more to do than one turn of the reactor has time for (see `timing.turn_shares`)."""

    def go_on(self) -> bool: ...

    def abort(self) -> None: ...


class Shares(Protocol):
    """What long work of all kinds together may take of a turn of the reactor."""

    def may_go_on(self, whose: Hashable) -> bool: ...

    def took(self, seconds: float) -> None: ...

    def wait(self, whose: Hashable, who: Waiting) -> None: ...


class Turn(Protocol):
    """Something that lasts while events are handled."""

    @property
    def shares(self) -> Shares:
        """How much time there is for that."""

    def begin(self) -> None: ...

    def end(self) -> None: ...


class FramedXmlStream(jabber_xmlstream.XmlStream):
    """Dispatches `Stanza` objects to observers; with a `sink`, hands it each read's events instead.

    A peer that breaks framing is a `STREAM_ERROR_EVENT` with the `Fault`, and the end of the connection at once. A
    stanza that was left out is a `SKIPPED_EVENT`. `is_closed`: the peer has ended its stream; `is_lost`: the connection
    is gone.
    """

    stopwatch: Callable[[], float] = staticmethod(time.perf_counter)
    traffic = LOGINS  # where it is counted; whoever takes the stream over says otherwise

    transport: Any

    def __init__(self, authenticator: jabber_xmlstream.Authenticator, limits: FramingLimits | None = None) -> None:
        super().__init__(authenticator)
        self.limits = limits or FramingLimits()
        self.sink: Callable[[list[Event]], None] | None = None
        self._reader: ReadsBytes | None = None
        self._turn: Turn | None = None  # that a slice begins and ends
        self._taker: Callable[[Stanza], None] | None = None
        self.is_closed = False
        # Of slices to come; a session's stream has none.
        self._ahead: deque[Event] = NOTHING
        self._unread: list[bytes] | tuple[()] = ()  # behind that
        self._waits = False  # for its turn; its peer is not read meanwhile
        self._is_broken = False  # what it has sent is no XML for us, and the connection is about to be lost
        self.is_lost = False
        self._silenced = False
        self._held: list[Event] = []
        self.framer = FastFramer(self.limits)

    def _initializeStream(self) -> None:
        """Begin a new XML stream on the same connection: Twisted calls this, `reset()` too."""
        self.framer = FastFramer(self.limits)
        self.stream = None

    def with_limits(self, limits: FramingLimits) -> FramedXmlStream:
        """Return this stream, on which other limits hold for what comes from now on. A new XML stream must be next."""
        self.limits = limits
        self.framer = FastFramer(limits)
        return self

    def dataReceived(self, data: bytes) -> None:
        """Cut what arrived into events; a restart in the middle of a read cannot happen, since we speak first."""
        self.traffic.received_bytes += len(data)
        turn = self._turn
        if self._reader is not None:
            self._reader(self.framer, data)
        elif self._waits:
            self._unread = [*self._unread, data]
        elif turn is None or self.sink is not None:
            self.handle_events(self.framer.feed(data))
        elif turn.shares.may_go_on(self):
            self._handle_now(turn, data)
        else:
            self._unread = [data]
            self._wait(turn)

    def _handle_now(self, turn: Turn, data: bytes) -> None:
        """Handle what has come for as long as a slice; the rest waits for its turn."""
        begun = self.stopwatch()
        try:
            self._ahead = deque(self.framer.feed(data))
            self._slice(turn, begun + SLICE)
        finally:
            turn.shares.took(self.stopwatch() - begun)
            if self._ahead and not self.is_lost:
                self._wait(turn)

    def _wait(self, turn: Turn) -> None:
        """The peer is not read until it is this stream's turn."""
        self._waits = True
        self.transport.pauseProducing()
        turn.shares.wait(self, self)

    def _slice(self, turn: Turn, until: float) -> None:
        """Handle events for a while, in their order."""
        turn.begin()
        try:
            while self._ahead or (self._unread and self._read_ahead()):
                self.dispatch_event(self._ahead.popleft())
                if self.stopwatch() >= until:
                    break
        finally:
            if not self._ahead:
                self._ahead = NOTHING
            turn.end()

    def _read_ahead(self) -> bool:
        """Cut into events what is not yet; False: there are none in it."""
        while self._unread and not self._ahead:
            data, self._unread = self._unread[0], self._unread[1:]
            self._ahead = deque(self.framer.feed(data))
        return bool(self._ahead)

    @property
    def _is_more(self) -> bool:
        return bool(self._ahead or self._unread)

    def go_on(self) -> bool:
        """Handle some of what waits (`timing.turn_shares.Waiting`)."""
        if self._turn is not None and not self.is_lost:
            self._slice(self._turn, self.stopwatch() + SLICE)
        if self._is_more and not self.is_lost:
            return True
        self._resume()
        return False

    def abort(self) -> None:
        """A fault of ours: it costs one event, and what waits behind it goes on."""
        if self._turn is not None and self._is_more and not self.is_lost:
            self._turn.shares.wait(self, self)
        else:
            self._resume()

    def _resume(self) -> None:
        self._waits = False
        if not (self.is_lost or self._is_broken):
            self.transport.resumeProducing()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """What came before the end counts; whatever becomes of that, the end is told."""
        self.is_lost = True
        try:
            while self._ahead or self._read_ahead():
                self.dispatch_event(self._ahead.popleft())
        finally:
            self.framer.recognize_no_more()
            super().connectionLost(reason)

    def handle_events(self, events: list[Event]) -> None:
        """Hand events to the sink, or to the observers when there is none."""
        if self.sink is not None:
            self.sink(events)
            return
        for event in events:
            self.dispatch_event(event)

    def hand_to(self, sink: Callable[[list[Event]], None] | None, reader: ReadsBytes | None = None) -> None:
        """From now on hand each read's events to `sink`; None: to the observers. `reader`: gets the bytes instead."""
        self.sink = sink
        self._reader = reader

    @property
    def turn(self) -> Turn | None:
        """What a slice begins and ends; None: a read is not cut into slices."""
        return self._turn

    def read_in_slices(self, turn: Turn) -> None:
        """From now on a read that takes long is handled in slices, each of which begins and ends `turn`.

        Others have their turn in between, and the peer is not read meanwhile.
        """
        self._turn = turn

    def recognize_presences(self) -> None:
        """From now on presences that several streams get are read once (see `recognizing`)."""
        self.framer.recognize(KNOWN)

    def hand_stanzas_to(self, taker: Callable[[Stanza], None]) -> None:
        """From now on stanzas go to `taker` in place of the observers, who still get everything else."""
        self._taker = taker

    def keep(self) -> Callable[[list[Event]], None]:
        """Return a sink that keeps events for `release`: for the time until somebody observes the stream."""
        return self._held.extend

    def release(self, sink: Callable[[list[Event]], None] | None = None) -> None:
        """Hand what was held, and everything from now on, to the observers, or to a sink."""
        held, self._held = self._held, []
        self.sink = sink
        self.handle_events(held)

    def silence(self) -> None:
        """Tell the observers of nothing any more but of the end of the connection."""
        self._silenced = True

    def dispatch_event(self, event: Event) -> None:
        """Do with one event what Twisted's own stream does."""
        if self._silenced:
            return
        if isinstance(event, Stanza) and (event.uri, event.name) == (NS_STREAM, "error") and not event.readable:
            event = Fault("undefined-condition", "a stream error that is too large to be read")  # Twisted would raise
        if isinstance(event, Stanza):
            (self._taker or self.onElement)(event)
        elif isinstance(event, StreamOpened):
            self.onDocumentStart(_root_element(event))
        elif isinstance(event, StreamClosed):
            self.is_closed = True
            self.onDocumentEnd()
        elif isinstance(event, Fault):
            self._is_broken = True
            self.dispatch(event, STREAM_ERROR_EVENT)
            self.transport.abortConnection()
        elif isinstance(event, Skipped):
            self.dispatch(event, SKIPPED_EVENT)
        elif isinstance(event, Keepalive):
            pass

    def send(self, obj: object) -> None:
        """Send bytes, text, a `Stanza` or a domish tree."""
        if isinstance(obj, Stanza):
            obj = obj.raw
        if isinstance(obj, bytes):
            if self.transport is not None:
                self.traffic.sent_bytes += len(obj)
                self.transport.write(obj)
            return
        super().send(obj)


def _root_element(opened: StreamOpened) -> domish.Element:
    root = domish.Element((opened.uri, opened.name), opened.namespaces.get(""))
    for name, value in opened.attributes.items():
        uri, brace, local = name.rpartition("}")
        root[(uri[1:], local) if brace else name] = value
    root.localPrefixes = {prefix: uri for prefix, uri in opened.namespaces.items() if prefix}
    return root
