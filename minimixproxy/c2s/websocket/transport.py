"""A WebSocket as the transport of a client's stream: what stands above it sees a connection like any other.

Below are TLS or a plain connection, above is a `ClientStream`. The handshake is first; behind it, messages are bytes of
the stream, and the bytes that are written go out as one message for each element, all of one write together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from minimixproxy.c2s.transport.client_stream import CLOSE_TIMEOUT, LARGEST_OF_STRANGER, ClientStream
from minimixproxy.c2s.websocket.forwarded import Address
from minimixproxy.c2s.websocket.frames import (
    INTERNAL,
    NORMAL,
    NOT_UTF8,
    PING_FRAME,
    POLICY,
    PROTOCOL_ERROR,
    TOO_BIG,
    UNSUPPORTED,
    Ended,
    FrameFault,
    Frames,
    Pinged,
    close_frame,
    pong_frame,
    text_frames,
)
from minimixproxy.c2s.websocket.handshake import Outcome
from minimixproxy.c2s.websocket.liveness import Liveness
from minimixproxy.c2s.websocket.opening import Opening, Port
from minimixproxy.c2s.websocket.xmpp_framing import BrokenMessage, Incoming, Outgoing
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.clock import Clock, Timer

LINGER = 1.0  # seconds for which a client that broke the protocol may still be reading why

_CONDITIONS = {PROTOCOL_ERROR: "bad-format", UNSUPPORTED: "bad-format", NOT_UTF8: "unsupported-encoding"}


@implementer(IPushProducer)
class _Outflow:
    """Stands between the connection below, which may have too much to send, and who writes."""

    __slots__ = ("_above", "_transport")

    def __init__(self, transport: WebSocketTransport, above: Any) -> None:
        self._transport = transport
        self._above = above

    def pauseProducing(self) -> None:
        self._transport.blocked = True
        self._above.pauseProducing()

    def resumeProducing(self) -> None:
        self._transport.flows()
        self._above.resumeProducing()

    def stopProducing(self) -> None:
        self._above.stopProducing()


class WebSocketTransport:
    """Implements `connection.Upper` towards what is below, and `connection.Transport` towards the stream."""

    log = Logger()

    __slots__ = (
        "_clock",
        "_close_code",
        "_closing",
        "_forwarded",
        "_frames",
        "_incoming",
        "_limit",
        "_liveness",
        "_outgoing",
        "_pong",
        "_port",
        "_produced",
        "_reason",
        "_take",
        "_timer",
        "_told",
        "blocked",
        "last_written",
        "stream",
        "transport",
    )

    def __init__(self, stream: ClientStream, port: Port, clock: Clock, limit: int) -> None:
        """`limit`: bytes of a message."""
        self.stream = stream
        self.transport: Any  # below; another one once TLS has been started
        self._port = port
        self._clock = clock
        self._limit = limit
        self._forwarded: Address | None = None
        self._frames: Frames | None = None
        self._incoming = Incoming()
        self._outgoing = Outgoing()
        self._take: Callable[[bytes], None] = self._ignore
        self._timer = Timer(clock)
        self._liveness = Liveness(self, self._timer)
        self._close_code, self._reason = NORMAL, ""
        self._closing = False  # our goodbye is said
        self._produced = False  # somebody writes who has to be told when the client takes no more
        self._told = False  # to the stream, that the connection is lost
        self._pong: bytes | None = None  # that waits until the client takes something
        self.blocked = False
        self.last_written = 0  # bytes of frames of the last write

    # From below (connection.Upper) -----------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        self.transport = transport
        self.stream.makeConnection(self)
        opening = Opening(self, self._port, self._timer)
        self._take = opening.take
        self.stream.hand_to(opening)

    def dataReceived(self, data: bytes) -> None:
        """An error of ours in here costs this client its connection, and nobody else anything."""
        try:
            self._take(data)
        except Exception:  # noqa: BLE001 (the edge: logged, and an error to the client)
            self.log.failure("while reading a WebSocket")
            self._fail(INTERNAL, "internal-server-error", "")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._timer.stop()
        self._take = self._ignore
        self._closing = True
        self._lost(reason)

    def _lost(self, reason: Failure) -> None:
        if not self._told:
            self._told = True
            self.stream.connectionLost(reason)

    def _ignore(self, data: bytes) -> None:
        """Nothing that the client may still say is of interest."""

    # The handshake (opening.Answering) -------------------------------------------------------------------------

    @property
    def peer_name(self) -> str:
        """Who is at the other end, for the log."""
        return str(getattr(self.getPeer(), "host", "a UNIX socket"))

    def open(self, outcome: Outcome) -> None:
        """The request was for a WebSocket: what follows is frames."""
        self._forwarded = outcome.client
        self._frames = Frames(self._limit, self._clock)
        self._take = self._take_frames
        self.transport.write(outcome.response)
        self._liveness.watch()
        self._port.opened()

    def answer(self, response: bytes) -> None:
        """Send an answer of HTTP, and close."""
        self._take = self._ignore
        self.transport.write(response)
        self._end()

    # What the client sends -------------------------------------------------------------------------------------

    def _take_frames(self, data: bytes) -> None:
        """A session gets what one read brings in one piece; before that each message has its effect before the next."""
        assert self._frames is not None
        self._liveness.unheard = 0
        pieces: list[bytes] = []
        ended: Ended | None = None
        fault: FrameFault | BrokenMessage | None = None
        try:
            for event in self._frames.feed(data):
                if isinstance(event, bytes):
                    if self._closing:
                        continue
                    piece = self._incoming.stream_bytes(event)
                    if self.stream.take is None:
                        self.stream.dataReceived(piece)
                    else:
                        pieces.append(piece)
                elif isinstance(event, Pinged):
                    self._answer_ping(event.payload)
                elif isinstance(event, Ended):
                    ended = event
        except (FrameFault, BrokenMessage) as error:
            fault = error
        if fault is None and self.stream.take is None and self._frames.waiting > LARGEST_OF_STRANGER:
            fault = FrameFault(TOO_BIG, "too large for who is not logged in")
        if pieces:
            self.stream.dataReceived(b"".join(pieces))
        if fault is not None:
            self._broken(fault)
        elif ended is not None:
            self._client_ends(ended.code)

    def _answer_ping(self, payload: bytes) -> None:
        """Answer at once; or the last one only, when the client takes something again (RFC 6455 §5.5.3)."""
        if self._closing:
            return
        if self.blocked:
            self._pong = payload
        else:
            self.transport.write(pong_frame(payload))

    def flows(self) -> None:
        """The client takes something again."""
        self.blocked = False
        if self._pong is not None:
            payload, self._pong = self._pong, None
            self._answer_ping(payload)

    def _broken(self, fault: FrameFault | BrokenMessage) -> None:
        if isinstance(fault, BrokenMessage):
            self._fail(POLICY, fault.condition, str(fault))
        else:
            self._fail(fault.code, _CONDITIONS.get(fault.code, "policy-violation"), str(fault))

    def _fail(self, code: int, condition: str, text: str) -> None:
        """Close with this code, behind a stream error; what the client still sends is not looked at."""
        self._take = self._ignore
        if not self._closing:
            self._close_code, self._reason = code, text
            self.log.info(
                "a client at {address} breaks the protocol, and is closed with {code}: {text}",
                address=self.peer_name,
                code=code,
                text=text,
            )
            if self.stream.handler is not None:
                self.stream.handler.close(condition, text)
            self.loseConnection()
        self._timer.start(LINGER, self._end)

    def _client_ends(self, code: int | None) -> None:
        """The client closes the connection, or agrees that it is closed.

        Without `<close/>` before, that is no end of its stream (RFC 7395 §3.6.2). From now on nothing reaches it.
        """
        self._take = self._ignore
        if not self._closing:
            self._closing = True
            self.unregisterProducer()  # or TLS would wait for that
            self.transport.write(close_frame(code))
            self._end()
            self._lost(connectionDone)
        else:
            self._end()

    # From above (connection.Transport) -------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send whole elements of a stream, its header or its end."""
        if self._closing or self._frames is None:
            return
        try:
            written = text_frames(self._outgoing.messages(data))
        except ValueError as error:
            self.log.error("what goes to a client is no XML: {error}", error=str(error))
            self._close_code = INTERNAL
            self.loseConnection()
            return
        self._liveness.quiet = False
        self.last_written = len(written)
        self.transport.write(written)

    def restart(self) -> None:
        """A new XML stream begins, both ways."""
        self._incoming.restart()
        self._outgoing.restart()

    def drop_unfinished(self) -> None:
        """Leave out an element that was not written to its end."""
        self._outgoing.drop_unfinished()

    def loseConnection(self) -> None:
        """Say goodbye, and close when the client has agreed, or `CLOSE_TIMEOUT` is over."""
        if self._closing:
            return
        self._closing = True
        if self._frames is None:
            self._end()
            return
        self.transport.write(close_frame(self._close_code, self._reason))
        self._timer.start(CLOSE_TIMEOUT, self.transport.abortConnection)

    def _end(self) -> None:
        """Close what is below, when all is sent."""
        self.transport.loseConnection()
        self._timer.start(CLOSE_TIMEOUT, self.transport.abortConnection)

    def abortConnection(self) -> None:
        self._closing = True
        self.transport.abortConnection()

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        self._produced = True
        self.transport.registerProducer(_Outflow(self, producer), streaming)

    def unregisterProducer(self) -> None:
        if self._produced:
            self._produced = False
            self.transport.unregisterProducer()
        self.blocked = False

    def pauseProducing(self) -> None:
        self._liveness.reading = False
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        self._liveness.reading = True
        self.transport.resumeProducing()

    def getPeer(self) -> Any:
        """Return the address of the client, or of who forwards it."""
        if self._forwarded is None:
            return self.transport.getPeer()
        kind = IPv4Address if self._forwarded.version == 4 else IPv6Address
        return kind("TCP", str(self._forwarded), 0)  # which port it had, proxies mostly do not say

    def getHost(self) -> Any:
        return self.transport.getHost()

    def getHandle(self) -> Any:
        """Return pyOpenSSL's connection for channel binding; None if the client's TLS ends elsewhere."""
        if self._port.site.trusted is not None:
            return None
        return getattr(self.transport, "getHandle", lambda: None)()

    # Is it there still? (liveness.Pinging) ---------------------------------------------------------------------

    def ping(self) -> None:
        """Ping the client, if it takes something."""
        if not self.blocked:
            self.transport.write(PING_FRAME)

    def give_up(self) -> None:
        """The client is silent: end the connection."""
        self.log.info("the WebSocket of {address} is silent, and given up", address=self.peer_name)
        self.abortConnection()
