"""A Twisted `XmlStream` fed by our framing, so that Wokkel handlers sit on top unchanged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.words.protocols.jabber import xmlstream as jabber_xmlstream
from twisted.words.xish import domish
from twisted.words.xish.xmlstream import STREAM_ERROR_EVENT

from minimixproxy.framing import Event, Fault, FramingLimits, Keepalive, Skipped, StreamClosed, StreamOpened
from minimixproxy.passing import PassingFramer
from minimixproxy.stanza import Stanza

SKIPPED_EVENT = "//event/minimixproxy/skipped"  # with the `Skipped`


class Turn(Protocol):
    """Something that lasts while one read is handled."""

    def begin(self) -> None: ...

    def end(self) -> None: ...


class FramedXmlStream(jabber_xmlstream.XmlStream):
    """Dispatches `Stanza` objects to observers; with a `sink`, hands it each read's events instead.

    A peer that breaks framing is a `STREAM_ERROR_EVENT` with the `Fault`, and the end of the connection at once. A
    stanza that was left out is a `SKIPPED_EVENT`. `peer_limit`: the largest stanza that the peer takes, if it said so.
    """

    transport: Any

    def __init__(self, authenticator: jabber_xmlstream.Authenticator, limits: FramingLimits | None = None) -> None:
        super().__init__(authenticator)
        self.limits = limits or FramingLimits()
        self.sink: Callable[[list[Event]], None] | None = None
        self.peer_limit: int | None = None
        self.turn: Turn | None = None  # that a read begins and ends
        self._held: list[Event] = []
        self.framer = PassingFramer(self.limits)

    def _initializeStream(self) -> None:
        """Begin a new XML stream on the same connection: Twisted calls this, `reset()` too."""
        self.framer = PassingFramer(self.limits)
        self.stream = None

    def dataReceived(self, data: bytes) -> None:
        """Cut what arrived into events; a restart in the middle of a read cannot happen, since we speak first."""
        events = self.framer.feed(data)
        if self.sink is not None:
            self.sink(events)
        elif self.turn is None:
            self.handle_events(events)
        else:
            self.turn.begin()
            try:
                self.handle_events(events)
            finally:
                self.turn.end()

    def handle_events(self, events: list[Event]) -> None:
        """Hand events to the sink, or to the observers when there is none."""
        if self.sink is not None:
            self.sink(events)
            return
        for event in events:
            self.dispatch_event(event)

    def hold(self) -> Callable[[list[Event]], None]:
        """Return a sink that keeps events for `release`: for the time until somebody observes the stream."""
        return self._held.extend

    def release(self) -> None:
        """Somebody observes the stream now: hand over what was held, and everything from now on."""
        held, self._held = self._held, []
        self.sink = None
        self.handle_events(held)

    def dispatch_event(self, event: Event) -> None:
        """Do with one event what Twisted's own stream does."""
        if isinstance(event, Stanza):
            self.onElement(event)
        elif isinstance(event, StreamOpened):
            self.onDocumentStart(_root_element(event))
        elif isinstance(event, StreamClosed):
            self.onDocumentEnd()
        elif isinstance(event, Fault):
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
