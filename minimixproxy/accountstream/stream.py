"""The account stream: the presence-less upstream stream that holds an account's rooms.

It never sends initial presence, so that it is not "available": contacts never see it and bare-JID messages never go
to it. It opens when something is first sent, is kept alive by pings, and comes back by itself when it is asked to.

    CLOSED   nobody needs it                    send, reopen -> WAITING
    WAITING  for time to pass, then for a turn  its turn -> OPENING
    OPENING  connecting up to a bound resource  done -> OPEN; failed -> CLOSED, `lost`; refused -> REFUSED, `refused`
    OPEN                                        ended, silent, not reading -> CLOSED, `lost`
    REFUSED  until a client logs in             mended -> CLOSED

`close` leads to CLOSED from everywhere but REFUSED, and calls nothing.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import Enum
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.xmlstream import STREAM_END_EVENT
from twisted.words.xish.xmlstream import STREAM_ERROR_EVENT
from wokkel.subprotocols import XMPPHandler
from zope.interface import implementer

from minimixproxy.accountstream.errors import CannotOpen, CredentialRefused
from minimixproxy.accountstream.keepalive import Keepalive, disconnect
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_STREAM
from minimixproxy.safety_net import NET
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.timing.pacing import Slot, Slots
from minimixproxy.wire.framing import Fault, Skipped
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import SKIPPED_EVENT, FramedXmlStream
from minimixproxy.xep.oversized import ORDINARY, Sendable, refused

FIRST_WAIT = 1.0  # seconds, about, from a failure to the next attempt
LONGEST_WAIT = 120.0
LONGEST_URGENT_WAIT = 5.0  # if a client waits
OPENING_TIMEOUT = 60.0  # seconds from the connection to the bound resource
STABLE = 60.0  # seconds that a stream has to stay open for earlier failures to count no more
MAX_REPLIES = 256 * 1024  # bytes waiting for such a server, beyond which others are not answered
MAX_QUEUED = 4 * 1024 * 1024  # bytes waiting for the stream to open, or for a server that does not read

#: Opens an upstream stream for the account and binds a resource; returns the stream and the full JID. What has come
#: already is held (see `FramedXmlStream.hold`).
#: Raises `CannotOpen`, or `CredentialRefused`.
Connect = Callable[[], Awaitable[tuple[FramedXmlStream, str]]]


class StreamState(Enum):
    """The life of an account stream."""

    CLOSED = "closed"
    WAITING = "waiting"
    OPENING = "opening"
    OPEN = "open"
    REFUSED = "refused"


@implementer(IPushProducer)
class AccountStream:
    """One account's stream.

    `opened` is called when it is open and all that waited was sent; `lost` when it ended otherwise than by `close`, or
    could not be opened; `refused` instead of `lost` when the credential was refused. `ping` is to send something that
    the server answers, after `ping_interval` seconds of silence. `turns`: all account streams open through it.
    `random`: as `random.random`.

    `sendable`: what a stanza may be to be sent; the server's own word on its size counts more. One that is more is not
    sent, and answered by `not_sent` instead, a turn later. `left_out` is told of a stanza that was too large to be
    taken.
    """

    log = Logger()

    def __init__(
        self,
        account: str,
        connect: Connect,
        clock: Clock,
        turns: Slots,
        random: Callable[[], float] = random.random,
        ping_interval: float = 30.0,
        sendable: Sendable = ORDINARY,
    ) -> None:
        self.jid = ""
        self.state = StreamState.CLOSED
        self.handlers: list[XMPPHandler] = []
        self.opened: Callable[[], None] = lambda: None
        self.lost: Callable[[], None] = lambda: None
        self.refused: Callable[[], None] = lambda: None
        self.ping: Callable[[], None] = lambda: None
        self.not_sent: Callable[[Stanza], None] = lambda _answer: None
        self.left_out: Callable[[Skipped], None] = lambda _skipped: None
        self._sendable = self._configured = sendable
        self._account = account
        self._connect = connect
        self._clock = clock
        self._turns = turns
        self._backoff = Backoff(FIRST_WAIT, LONGEST_WAIT, random)
        self._delay = 0.0  # seconds to wait after the last failure
        self._turn: Slot | None = None
        self._timer = Timer(clock)  # WAITING: for time to pass; OPENING: for it to take too long
        self._changed = clock.seconds()  # when the last attempt failed, or the stream opened, or ended
        self._opening: Deferred[Any] | None = None
        self._xmlstream: FramedXmlStream | None = None
        self._queue: list[bytes] = []
        self._queued = 0
        self._congested = False
        self._keepalive = Keepalive(clock, ping_interval, lambda: self.ping(), self._silent)

    @property
    def opens_in(self) -> float:
        """Seconds, at most, until it lines up for the next attempt; 0 if it does not wait for time to pass."""
        waiting = self.state is StreamState.WAITING
        return max(0.0, self._changed + self._delay - self._clock.seconds()) if waiting else 0.0

    def send(self, data: bytes) -> None:
        """Send a stanza; open the stream if it is not open. A stream that takes nothing in is given up."""
        fault = self._sendable.fault(data)
        if fault:
            self._refuse(data, fault)
        else:
            self._send(data)

    def reply(self, data: bytes) -> None:
        """Send an answer to somebody else, unless much waits already for a server that reads slowly.

        Then it is dropped: who asks much more quickly than the server reads is not to cost the account its rooms.
        """
        if not self._congested or self._queued <= MAX_REPLIES:
            self.send(data)
        else:
            self.log.warn("{account}: its server reads slowly, others are not answered", account=self._account)

    def _refuse(self, data: bytes, fault: str) -> None:
        self.log.warn("{account}: a stanza is not sent: {reason}", account=self._account, reason=fault)
        answer, instead = refused(data, fault)
        if instead is not None:
            self._send(instead)
        if answer is not None:
            self._clock.callLater(0, self.not_sent, answer)  # not while somebody is sending

    def _send(self, data: bytes) -> None:
        if self._xmlstream is not None and not self._congested:
            self._xmlstream.send(data)
        elif self.state is StreamState.REFUSED:
            self._timer.start(0, self.refused)  # not while somebody is sending
        else:
            self._send_later(data)

    def reopen(self) -> None:
        """Open again after a wait that grows from failure to failure. Does nothing unless the stream is CLOSED."""
        if self.state is StreamState.CLOSED:
            self._wait(self._delay, urgent=False)

    def mended(self) -> None:
        """A client has logged in: the credential is good, and the server is there."""
        if self.state is StreamState.REFUSED:
            self._forget()
        elif self.state is StreamState.WAITING:
            self._hurry()

    def refuse(self) -> None:
        """Do as if the credential had been refused, from CLOSED: there is none, or none that is good."""
        self.state = StreamState.REFUSED

    def close(self) -> None:
        """End the stream properly, or the attempts to open it: nobody needs it now."""
        self.shut_down()

    def shut_down(self) -> Deferred[None]:
        """Do as `close`; the result fires when the connection is gone."""
        xmlstream = self._forget(StreamState.REFUSED if self.state is StreamState.REFUSED else StreamState.CLOSED)
        self._backoff.reset()
        self._delay = 0.0
        if xmlstream is None:
            return succeed(None)
        self.log.info("account stream closed: {account}", account=self._account)
        xmlstream.send(b"</stream:stream>")
        return disconnect(xmlstream, self._clock)

    # Waiting ---------------------------------------------------------------------------------------------------

    def _wait(self, delay: float, *, urgent: bool) -> None:
        """Line up `delay` seconds after the last failure."""
        self.state = StreamState.WAITING
        remaining = self._changed + delay - self._clock.seconds()
        if remaining > 0:
            self._timer.start(min(remaining, delay), lambda: self._line_up(urgent=urgent))
        else:
            self._timer.stop()
            self._line_up(urgent=urgent)

    def _hurry(self) -> None:
        """Somebody waits: no more than a few seconds, so that a client that tries again and again is no storm."""
        self._wait(min(self._delay, LONGEST_URGENT_WAIT), urgent=True)

    def _line_up(self, *, urgent: bool) -> None:
        if self._turn is None:
            self._turn = self._turns.turn(self._open)
        self._turn.ask(urgent=urgent)

    # Opening ---------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        self.state = StreamState.OPENING
        self._opening = opening = Deferred.fromCoroutine(self._attempt())
        if not opening.called:
            self._timer.start(OPENING_TIMEOUT, self._opening_late)
        opening.addCallbacks(self._connected, self._open_failed, callbackArgs=(opening,), errbackArgs=(opening,))
        opening.addErrback(lambda failure: self.log.failure("in {account}", failure, account=self._account))

    async def _attempt(self) -> tuple[FramedXmlStream, str]:
        return await self._connect()

    def _connected(self, result: tuple[FramedXmlStream, str], opening: Deferred[Any]) -> None:
        xmlstream, jid = result
        if self._opening is not opening:  # closed meanwhile, and the attempt could not be stopped any more
            xmlstream.transport.abortConnection()
            return
        self._end_opening()
        self.state = StreamState.OPEN
        self.jid = jid
        self._changed = self._clock.seconds()
        self._xmlstream = xmlstream
        self.log.info("account stream open: {jid}", jid=jid)
        for handler in self.handlers:
            handler.makeConnection(xmlstream)
            handler.connectionInitialized()
        xmlstream.addObserver(STREAM_END_EVENT, self._ended)
        xmlstream.addObserver(STREAM_ERROR_EVENT, self._fault)
        xmlstream.addObserver(SKIPPED_EVENT, self._left_out)
        xmlstream.addObserver("/*", self._received, 1)
        xmlstream.transport.registerProducer(self, True)
        self._keepalive.start()
        limit = xmlstream.peer_limit
        self._sendable = self._configured if limit is None else replace(self._configured, size=limit)
        queue, self._queue, self._queued = self._queue, [], 0
        for data in queue:
            self.send(data)
        self.opened()
        xmlstream.release()

    def _open_failed(self, failure: Failure, opening: Deferred[Any]) -> None:
        """The reason is the connection's, and logged; whoever waits is told by `lost` or `refused`."""
        if self._opening is not opening:
            return
        self._end_opening()
        if failure.check(CannotOpen):
            self.log.warn("account stream of {account}: {error}", account=self._account, error=str(failure.value))
        else:
            self.log.failure("while opening the account stream of {account}", failure, account=self._account)
        if failure.check(CredentialRefused):
            self._forget(StreamState.REFUSED)
            self.refused()
        else:
            self._lose()

    def _opening_late(self) -> None:
        self.log.warn("account stream of {account} did not open in time", account=self._account)
        self._lose()

    def _end_opening(self) -> None:
        self._opening = None
        self._timer.stop()
        if self._turn is not None:
            self._turn.end()
            self._turn = None

    # Ending ----------------------------------------------------------------------------------------------------

    def _ended(self, _reason: Any = None) -> None:
        if self._xmlstream is not None:
            self.log.warn("account stream lost: {jid}", jid=self.jid)
            self._lose()

    def _stream_error(self, stanza: Stanza) -> None:
        """The server ends the stream (RFC 6120 §4.9), `conflict` included: waiting keeps two from fighting at speed."""
        names = [name for _uri, name in stanza.payloads if name != "text"]
        self.log.warn("account stream {jid} ended by the server: {condition}", jid=self.jid, condition=names[:1])
        xmlstream = self._xmlstream
        if xmlstream is not None:
            self._lose()
            disconnect(xmlstream, self._clock)

    def _fault(self, fault: Any) -> None:
        """What the server sends is no XML for us any more: it ends now, not when somebody misses it."""
        if not isinstance(fault, Fault):
            return  # an error that the server sent: see `_stream_error`
        self.log.warn(
            "account stream {jid} is broken: {condition} {text}",
            jid=self.jid,
            condition=fault.condition,
            text=fault.text,
        )
        self._give_up()

    def _give_up(self) -> None:
        xmlstream = self._xmlstream
        self._lose()
        if xmlstream is not None:
            xmlstream.transport.abortConnection()

    def _lose(self) -> None:
        now = self._clock.seconds()
        if self.state is StreamState.OPEN and now - self._changed >= STABLE:
            self._backoff.reset()
        self._delay = self._backoff.next()
        self._changed = now
        self._forget()
        self.lost()

    def _forget(self, state: StreamState = StreamState.CLOSED) -> FramedXmlStream | None:
        """Begin a state in which nothing goes on; what was on its way is dropped."""
        xmlstream, self._xmlstream = self._xmlstream, None
        self.state = state
        self.jid = ""
        self._queue, self._queued, self._congested = [], 0, False
        self._keepalive.stop()
        opening = self._opening
        self._end_opening()
        if opening is not None:
            opening.cancel()
        if xmlstream is not None:
            xmlstream.removeObserver(STREAM_END_EVENT, self._ended)
            xmlstream.removeObserver(STREAM_ERROR_EVENT, self._fault)
            xmlstream.removeObserver(SKIPPED_EVENT, self._left_out)
            xmlstream.removeObserver("/*", self._received)
            for handler in self.handlers:
                xmlstream.removeObserver(handler.query, handler.take)
        return xmlstream

    # Signs of life ---------------------------------------------------------------------------------------------

    def _received(self, stanza: Stanza) -> None:
        self._keepalive.heard()
        if stanza.name == "error" and stanza.uri == NS_STREAM:
            self._stream_error(stanza)

    def _left_out(self, skipped: Skipped) -> None:
        """A stanza cannot be taken: it is too large, or no XML with namespaces."""
        self._keepalive.heard()
        where = f"account stream of {self._account}"
        NET.skip(skipped.name, skipped.size, skipped.digest, where, skipped.reason)
        self.left_out(skipped)

    def _silent(self, seconds: float) -> None:
        self.log.warn("account stream silent for {silent:.0f} s: {jid}", silent=seconds, jid=self.jid)
        self._give_up()

    # Backpressure (IPushProducer): what is sent while the server does not read is counted in `send`. -------------

    def _send_later(self, data: bytes) -> None:
        self._queued += len(data)
        if self._queued > MAX_QUEUED:
            self.log.warn("account stream of {account} takes nothing in: given up", account=self._account)
            self._give_up()
        elif self._xmlstream is not None:
            self._xmlstream.send(data)
        else:
            self._queue.append(data)
            if self.state in (StreamState.CLOSED, StreamState.WAITING):
                self._hurry()

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._congested, self._queued = True, 0

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._congested, self._queued = False, 0

    def stopProducing(self) -> None:
        """The connection is going; its end is reported by the stream itself."""
