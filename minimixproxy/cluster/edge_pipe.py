"""A client's way through the process that it has reached to the one that holds its account.

The client is introduced by a header (`handover_header`) and by what it has said so far. From then on its bytes pass as
they are, both ways; each side waits for the other. TLS and the framing of a WebSocket end here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from minimixproxy.c2s.errors import describe_tls_failure
from minimixproxy.c2s.own_streams import new_id
from minimixproxy.c2s.server.elsewhere import NotHandedOver
from minimixproxy.c2s.session.backpressure import Backpressure
from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT, ClientStream
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.cluster.greeting import Greeting
from minimixproxy.cluster.handover_header import EDGE_LEAVES
from minimixproxy.cluster.restart_watch import RestartWatch
from minimixproxy.counting.traffic import CLIENTS
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.events import Event, Fault, Keepalive, StreamClosed, StreamOpened
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.stream_headers import STREAM_END, answer_header, stream_error

PATIENCE = 10.0  # seconds for a holder to be connected, and as many for it to take a client
#: Seconds for a holder to end a client's stream: its own server has `CLOSE_TIMEOUT` to agree.
LEAVE_TIME = CLOSE_TIMEOUT + 2.5
MAX_HELD = 128 * 1024  # bytes of a holder that wait for the pipe to be open: what was read before it was paused


class HolderConnection(SecurableConnection):
    """The bottom of a connection to a holder."""

    peer_kind = "process"


class HolderPipe:
    """One pipe (`elsewhere.Pipe`, `connection.Upper`, `client_stream.Handler`). Before `start` it has no client."""

    log = Logger()

    def __init__(self, greeting: Greeting, clock: Clock, name: str, on_lost: Callable[[HolderPipe], None]) -> None:
        """`name`: of the holder's process, for the log. `on_lost` is called when the connection to it is gone."""
        self.transport: Any = None
        self._greeting = greeting
        self._name = name
        self._on_lost = on_lost
        self._timer = Timer(clock)
        self._greeted: Deferred[None] = Deferred(lambda _greeted: self.abort())
        self._held = b""
        self._stream: ClientStream | None = None
        self._watch: RestartWatch | None = RestartWatch()
        self._owes_header = False  # a second stream has begun, and the holder has said nothing in it
        self._domain = ""
        self._introduced = False  # somebody waits for the answer
        self._started = False
        self._lost = False
        self._leaving = False
        self._last = b""  # bytes that went to the client
        self._client_is_full = False

    # The greeting ----------------------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport

    def greeted(self) -> Deferred[None]:
        """Introduce the client; fires when the holder has taken it. Fails with `NotHandedOver`."""
        if self._lost:
            self._greeted.errback(NotHandedOver(f"{self._name} ended the connection at once"))
        else:
            self._introduced = True
            self._timer.start(PATIENCE, lambda: self._refuse("it does not answer in time"))
            self.transport.write(self._greeting.first)
        return self._greeted

    def _refuse(self, why: str) -> None:
        self._timer.stop()
        if not self._greeted.called:
            self._greeted.errback(NotHandedOver(f"{self._name}: {why}"))
        self.abort()

    def _greet(self, data: bytes) -> None:
        try:
            answer = self._greeting.take(data)
        except NotHandedOver as error:
            self._refuse(str(error))
            return
        if answer:
            self.transport.write(answer)
        if self._greeting.done:
            self._timer.stop()
            self.transport.pauseProducing()
            self._held = self._greeting.behind
            self._greeted.callback(None)

    def abort(self) -> None:
        """The connection is not needed."""
        self._timer.stop()
        if self.transport is not None and not self._lost:
            self.transport.abortConnection()

    # The pipe --------------------------------------------------------------------------------------------------

    def start(self, stream: ClientStream, early: list[Event], domain: str) -> None:
        """Take the client: pass on what it has sent ahead, and from now on everything both ways."""
        self._stream, self._domain, self._started = stream, domain, True
        stream.hand_to(self, self.take)
        stream.transport.resumeProducing()
        stream.transport.registerProducer(Backpressure(self._client_fills, self._client_flows), True)
        if not self._lost:
            self.transport.registerProducer(Backpressure(self._holder_fills, self._holder_flows), True)
        held, self._held = self._held, b""
        self._to_client(held)
        self.client_events(early)
        if self._lost:
            self._holder_gone()
        elif self._is_open and not self._client_is_full:
            self.transport.resumeProducing()

    @property
    def domain(self) -> str:
        """The domain that the client has named."""
        return self._domain

    def take(self, data: bytes) -> None:
        """Pass on what the client sends. What has begun of an element is in its framer, up to its end."""
        CLIENTS.received_bytes -= len(data)  # the holder counts it
        if self._stream is None:
            return
        framer = self._stream.framer
        if framer.is_between_stanzas:
            self._to_holder(data)
        else:
            self.client_events(framer.feed(data))

    def client_events(self, events: list[Event]) -> None:
        """Pass on what the client has sent, of which events were made."""
        for event in events:
            if isinstance(event, Stanza | StreamOpened | Keepalive):
                self._to_holder(event.raw)
            elif isinstance(event, StreamClosed):
                self._to_holder(STREAM_END)
            elif isinstance(event, Fault):
                self.close(event.condition, event.text)

    def _to_holder(self, data: bytes) -> None:
        if not self._lost:
            self.transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Pass on what the holder says."""
        if not self._greeting.done:
            self._greet(data)
        elif self._started:
            self._to_client(data)
        elif len(self._held) + len(data) <= MAX_HELD:
            self._held += data
        else:
            self.abort()

    def _to_client(self, data: bytes) -> None:
        second: bytes | None = None
        if self._watch is not None:
            data, second = self._watch.feed(data)
            self._watch = None if self._watch.over else self._watch
        stream = self._stream
        if data and stream is not None:
            self._last = (self._last + data[-len(STREAM_END) :])[-len(STREAM_END) :]
            self._owes_header = False
            stream.transport.write(data)  # counted by the holder
        if second is not None and stream is not None:
            stream.bottom.restarted()
            self._owes_header = True
            self._to_client(second)

    @property
    def _is_open(self) -> bool:
        return self._stream is not None and not self._lost

    # Backpressure ----------------------------------------------------------------------------------------------

    def _client_fills(self) -> None:
        self._client_is_full = True
        if self._is_open:
            self.transport.pauseProducing()

    def _client_flows(self) -> None:
        self._client_is_full = False
        if self._is_open:
            self.transport.resumeProducing()

    def _holder_fills(self) -> None:
        if self._stream is not None:
            self._stream.transport.pauseProducing()

    def _holder_flows(self) -> None:
        if self._stream is not None:
            self._stream.transport.resumeProducing()

    # The end ---------------------------------------------------------------------------------------------------

    def client_lost(self) -> None:
        """The client is gone; what it has sent still goes to the holder."""
        self._stream = None
        self._hang_up()

    def close(self, condition: str, text: str = "") -> None:
        """End the client's stream with a stream error. To the holder it is a client whose connection broke.

        When this process stops, the holder ends the stream: it knows what the client is still to get of it, and whether
        the client can resume it by another process.
        """
        if condition == "system-shutdown" and self._is_open:
            self._leave_in_order()
        else:
            self._end(condition, text)

    def _leave_in_order(self) -> None:
        if not self._leaving:
            self._leaving = True
            self._to_holder(EDGE_LEAVES)
            self._timer.start(LEAVE_TIME, self._leave_late)

    def _leave_late(self) -> None:
        self.log.warn("{name} does not end the stream of its client in time: it is ended here", name=self._name)
        self._end("system-shutdown")

    def _end(self, condition: str, text: str = "") -> None:
        header = answer_header(self._domain, new_id()) if self._owes_header else b""
        self._leave(header + stream_error(condition, text))
        self._hang_up()

    def _hang_up(self) -> None:
        if self._lost:
            return
        self.transport.unregisterProducer()
        self.transport.resumeProducing()
        self.transport.loseConnection()
        self._timer.start(CLOSE_TIMEOUT, self.transport.abortConnection)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The holder has ended the connection, or is gone."""
        self._lost = True
        self._on_lost(self)
        self._timer.stop()
        if not self._greeting.done:
            if self._introduced and not self._greeted.called:
                self._greeted.errback(
                    NotHandedOver(
                        f"{self._name} ended the connection, its log says why: {describe_tls_failure(reason)}"
                    )
                )
        elif self._started:
            self._holder_gone()

    def _holder_gone(self) -> None:
        """Cut the client off, unless the holder has closed its stream.

        It comes again, and can resume the stream (XEP-0198 §5) if the account has gone to another process in order.
        """
        stream = self._stream
        if stream is None:
            return
        if self._last != STREAM_END and not self._leaving:
            self.log.info(
                "{name}, which held the account of the client at {address}, is gone or has it no more: the client is "
                "to come again",
                name=self._name,
                address=stream.peer.address,
            )
        self._leave(b"")

    def _leave(self, last: bytes) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.bottom.drop_unfinished()
            stream.release(last)
