"""Reading a stream one event at a time, for the linear part of a stream's life: negotiation with a server."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from OpenSSL import SSL
from service_identity import VerificationError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.words.xish.xmlstream import STREAM_END_EVENT

from minimixproxy.c2s.errors import (
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTLSError,
    UpstreamUnreachable,
    describe_tls_failure,
)
from minimixproxy.c2s.upstream.patience import Patience
from minimixproxy.namespaces import NS_STREAM, NS_STREAM_ERRORS
from minimixproxy.wire.events import Event, Fault, Keepalive, Skipped, StreamOpened, is_stream_header
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import FramedXmlStream

_MAX_WAITING = 100


class Conversation:
    """Takes the events of a stream; used as a context manager, it gives the stream back at the end."""

    def __init__(
        self,
        xs: FramedXmlStream,
        then: Callable[[list[Event]], None] | None = None,
        most: int = _MAX_WAITING,
        patience: Patience | None = None,
    ) -> None:
        """`then`: the sink of the stream afterwards, else events go to the observers. `most`: events that may wait.

        `patience`: with the server, for each that it is to say; None: whoever converses has a bound for the whole.
        """
        self._xs = xs
        self._then = then
        self._most = most
        self._patience = patience
        self._events: deque[Event] = deque()
        self._waiting: Deferred[None] | None = None
        self._end: UpstreamError | None = None

    def __enter__(self) -> Conversation:
        self._xs.hand_to(self._take)
        self._xs.addObserver(STREAM_END_EVENT, self._lost)
        return self

    def __exit__(self, *_args: object) -> None:
        self._xs.removeObserver(STREAM_END_EVENT, self._lost)
        self._xs.hand_to(self._then)
        if self._events:  # came in the same read as the last event that was asked for
            self._xs.handle_events(list(self._events))

    def restart(self) -> None:
        """A new XML stream begins: whatever came behind the end of the old one is not to be trusted."""
        self._events.clear()
        self._xs.reset()

    async def header(self) -> StreamOpened:
        """Return the peer's stream header. Raises `UpstreamError`."""
        event = await self._next()
        if not isinstance(event, StreamOpened) or not is_stream_header(event):
            raise UpstreamProtocolError("the server did not answer with a stream header")
        return event

    async def element(self) -> Stanza:
        """Return the next first-level element. Raises `UpstreamError`, also for a stream error."""
        event = await self._next()
        if not isinstance(event, Stanza):
            raise UpstreamProtocolError("the server sent a stream header out of place")
        return event

    async def _next(self) -> StreamOpened | Stanza:
        event: Event = Skipped("", "", {}, 0, "")
        while isinstance(event, Skipped):
            event = await self._any()
        if isinstance(event, StreamOpened):
            return event
        if isinstance(event, Stanza):
            if not event.readable:
                raise UpstreamProtocolError("the server sent what is too large to be read")
            if (event.uri, event.name) == (NS_STREAM, "error"):
                condition = stream_error_condition(event)
                raise UpstreamProtocolError(f"the server ended the stream: {condition}", condition)
            return event
        if isinstance(event, Fault):
            raise UpstreamProtocolError(f"the server's stream is broken: {event.condition} {event.text}".rstrip())
        raise UpstreamProtocolError("the server closed the stream")

    async def _any(self) -> Event:
        while not self._events:
            if self._end is not None:
                raise self._end
            self._waiting = waiting = Deferred[None]()
            await (waiting if self._patience is None else self._patience.wait(waiting))
        return self._events.popleft()

    def _take(self, events: list[Event]) -> None:
        self._events.extend(event for event in events if not isinstance(event, Keepalive))
        if len(self._events) > self._most:
            self._events.clear()
            self._events.append(Fault("policy-violation", "too much at once"))
        self._wake()

    def _lost(self, reason: Failure) -> None:
        if reason.check(SSL.Error, VerificationError):
            self._end = UpstreamTLSError(f"TLS failed: {describe_tls_failure(reason)}")
        else:
            self._end = UpstreamUnreachable("the connection was lost")
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None:  # one that was cancelled takes no notice
            waiting.callback(None)


def stream_error_condition(stanza: Stanza) -> str:
    """Return the defined condition in a `<stream:error/>` (RFC 6120 §4.9.2)."""
    names = [name for uri, name in stanza.payloads if uri == NS_STREAM_ERRORS and name != "text"]
    return names[0] if names else "undefined-condition"
