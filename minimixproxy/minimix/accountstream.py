"""The account stream: the presence-less upstream stream that holds an account's rooms.

It never sends initial presence, so that it is not "available": contacts never see it and bare-JID messages never go
to it. It opens when something is first sent and is kept alive by pings.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.xmlstream import STREAM_END_EVENT
from wokkel.subprotocols import XMPPHandler
from zope.interface import implementer

from minimixproxy.clock import Clock, Timer
from minimixproxy.xmlstream import FramedXmlStream

PING_INTERVAL = 30.0  # seconds of silence before a ping, and then before giving up
MAX_QUEUED = 4 * 1024 * 1024  # bytes waiting for the stream to open, or for a server that does not read

#: Opens an upstream stream for the account and binds a resource; returns the stream and the full JID.
Connect = Callable[[], Awaitable[tuple[FramedXmlStream, str]]]


class StreamState(Enum):
    """The life of an account stream; CLOSED is both its start and its end."""

    CLOSED = "closed"
    OPENING = "opening"
    OPEN = "open"


@implementer(IPushProducer)
class AccountStream:
    """One account's stream. `lost` is called when it ends otherwise than by `close`."""

    log = Logger()

    def __init__(self, account: str, connect: Connect, clock: Clock) -> None:
        self.jid = ""
        self.state = StreamState.CLOSED
        self.handlers: list[XMPPHandler] = []
        self.lost: Callable[[], None] = lambda: None
        self.ping: Callable[[], None] = lambda: None
        self._account = account
        self._connect = connect
        self._clock = clock
        self._xmlstream: FramedXmlStream | None = None
        self._opening: Deferred[None] | None = None
        self._queue: list[bytes] = []
        self._queued = 0
        self._congested = False
        self._silence = Timer(clock)
        self._last_received = 0.0

    def send(self, data: bytes) -> None:
        """Send a stanza; open the stream if it is closed. A stream that takes nothing in is given up."""
        if self._xmlstream is not None and not self._congested:
            self._xmlstream.send(data)
            return
        self._queued += len(data)
        if self._queued > MAX_QUEUED:
            self.log.warn("account stream of {account} takes nothing in: given up", account=self._account)
            self._give_up()
        elif self._xmlstream is not None:
            self._xmlstream.send(data)
        else:
            self._queue.append(data)
            if self.state is StreamState.CLOSED:
                self._open()

    def close(self) -> None:
        """End the stream properly: nobody needs it now."""
        xmlstream = self._forget()
        if xmlstream is not None:
            self.log.info("account stream closed: {account}", account=self._account)
            xmlstream.send(b"</stream:stream>")
            xmlstream.transport.loseConnection()

    # Opening ---------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self.state = StreamState.OPENING
        self._opening = Deferred.fromCoroutine(self._connected())
        self._opening.addErrback(self._open_failed)

    async def _connected(self) -> None:
        xmlstream, self.jid = await self._connect()
        self._opening = None
        self.state = StreamState.OPEN
        self._xmlstream = xmlstream
        self.log.info("account stream open: {jid}", jid=self.jid)
        for handler in self.handlers:
            handler.makeConnection(xmlstream)
            handler.connectionInitialized()
        xmlstream.addObserver(STREAM_END_EVENT, self._ended)
        xmlstream.addObserver("/*", self._received, 1)
        xmlstream.transport.registerProducer(self, True)
        self._received()
        self._watch()
        queue, self._queue, self._queued = self._queue, [], 0
        xmlstream.send(b"".join(queue))

    def _open_failed(self, failure: Failure) -> None:
        """The reason is the connection's, and logged; whoever waits is told by `lost`."""
        self._opening = None
        if self.state is not StreamState.OPENING:
            return
        self.log.warn("account stream of {account}: {error}", account=self._account, error=failure.getErrorMessage())
        self._forget()
        self.lost()

    # Ending ----------------------------------------------------------------------------------------------------

    def _ended(self, _reason: Any = None) -> None:
        if self._xmlstream is None:
            return
        self.log.warn("account stream lost: {jid}", jid=self.jid)
        self._forget()
        self.lost()

    def _give_up(self) -> None:
        xmlstream = self._forget()
        if xmlstream is not None:
            xmlstream.transport.abortConnection()
        self.lost()

    def _forget(self) -> FramedXmlStream | None:
        """Return to CLOSED; what was on its way is dropped."""
        xmlstream, self._xmlstream = self._xmlstream, None
        self.state = StreamState.CLOSED
        self.jid = ""
        self._queue, self._queued, self._congested = [], 0, False
        self._silence.stop()
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
        if xmlstream is not None:
            xmlstream.removeObserver(STREAM_END_EVENT, self._ended)
            for handler in self.handlers:
                xmlstream.removeObserver(handler.query, handler.received)
        return xmlstream

    # Keeping alive ---------------------------------------------------------------------------------------------

    def _received(self, _stanza: object = None) -> None:
        self._last_received = self._clock.seconds()

    def _watch(self) -> None:
        """Ping after silence; a server that stays silent for as long again is gone."""
        silent = self._clock.seconds() - self._last_received
        if silent >= 2 * PING_INTERVAL:
            self.log.warn("account stream silent for {silent:.0f} s: {jid}", silent=silent, jid=self.jid)
            self._give_up()
            return
        if silent >= PING_INTERVAL:
            self.ping()
        wait = PING_INTERVAL - silent if silent < PING_INTERVAL else 2 * PING_INTERVAL - silent
        self._silence.start(wait, self._watch)

    # Backpressure (IPushProducer): what is sent while the server does not read is counted in `send`. -------------

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._congested, self._queued = True, 0

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._congested, self._queued = False, 0

    def stopProducing(self) -> None:
        """The connection is going; its end is reported by the stream itself."""
