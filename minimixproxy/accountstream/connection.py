"""The connection of an account stream that is open: what is heard on it, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.words.protocols.jabber.xmlstream import STREAM_END_EVENT
from twisted.words.xish.xmlstream import STREAM_ERROR_EVENT
from zope.interface import implementer

from minimixproxy.accountstream.attempt import Opened
from minimixproxy.accountstream.keepalive import Keepalive, disconnect
from minimixproxy.accountstream.phases import Input
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_STREAM
from minimixproxy.safety_net import NET
from minimixproxy.timing.clock import Clock
from minimixproxy.wire.events import Fault, Skipped
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import SKIPPED_EVENT, FramedXmlStream


class Listener(Protocol):
    """Who hears what comes; an `AccountStream` is one."""

    account: str

    def ping(self) -> None:
        """Have the server say something."""

    def left_out(self, skipped: Skipped) -> None:
        """A stanza cannot be taken."""

    def attached(self, xmlstream: FramedXmlStream) -> None:
        """There is a connection: tell the handlers."""


@implementer(IPushProducer)
class Connection:
    """Gives the life of its stream ENDED, FULL and DRAINED, from `attach` to `detach`: nothing before and after.

    The transport takes it for the producer of what is sent, and tells it when the server does not read.
    """

    log = Logger()

    def __init__(
        self, opened: Opened, clock: Clock, ping_interval: float, listener: Listener, happens: Callable[[Input], Any]
    ) -> None:
        self.xmlstream, self.jid = opened
        self._clock = clock
        self._listener = listener
        self._happens = happens
        self._attached = False
        self._keepalive = Keepalive(clock, ping_interval, listener.ping, self._silent)

    def attach(self) -> None:
        """Listen, and watch for silence, from now on."""
        self._attached = True
        self._keepalive.start()
        self.xmlstream.transport.registerProducer(self, True)
        self.xmlstream.addObserver(STREAM_END_EVENT, self._ended)
        self.xmlstream.addObserver(STREAM_ERROR_EVENT, self._fault)
        self.xmlstream.addObserver(SKIPPED_EVENT, self._left_out)
        self.xmlstream.addObserver("/*", self._received, 1)
        self._listener.attached(self.xmlstream)

    def detach(self) -> None:
        """Listen no more: what this connection still does is nothing to the stream."""
        self._attached = False
        self._keepalive.stop()
        self.xmlstream.transport.unregisterProducer()
        self.xmlstream.silence()

    def say_goodbye(self) -> Deferred[None]:
        """End the stream properly; the result fires when the connection is gone."""
        self.log.info("account stream closed: {account}", account=self._listener.account)
        self.xmlstream.send(b"</stream:stream>")
        return disconnect(self.xmlstream, self._clock)

    def abort(self) -> None:
        """End the connection at once."""
        self.xmlstream.transport.abortConnection()

    def _tell(self, what: Input) -> None:
        if self._attached:
            self._happens(what)

    # What ends it

    def _ended(self, _reason: Any = None) -> None:
        if self._attached:
            self.log.warn("account stream lost: {jid}", jid=self.jid)
            self._tell(Input.ENDED)

    def _silent(self, seconds: float) -> None:
        self.log.warn("account stream silent for {silent:.0f} s: {jid}", silent=seconds, jid=self.jid)
        self._tell(Input.ENDED)
        self.abort()

    def _fault(self, fault: Any) -> None:
        """What the server sends is no XML for us any more, and the connection ends: that is known now, not later."""
        if not isinstance(fault, Fault):
            return  # an error that the server sent: see `_stream_error`
        self.log.warn(
            "account stream {jid} is broken: {condition} {text}",
            jid=self.jid,
            condition=fault.condition,
            text=fault.text,
        )
        self._tell(Input.ENDED)

    def _stream_error(self, stanza: Stanza) -> None:
        """The server ends the stream (RFC 6120 §4.9), `conflict` included: waiting keeps two from fighting at speed."""
        names = [name for _uri, name in stanza.payloads if name != "text"]
        self.log.warn("account stream {jid} ended by the server: {condition}", jid=self.jid, condition=names[:1])
        self._tell(Input.ENDED)
        disconnect(self.xmlstream, self._clock)

    # Signs of life

    def _received(self, stanza: Stanza) -> None:
        self._keepalive.heard()
        if stanza.name == "error" and stanza.uri == NS_STREAM:
            self._stream_error(stanza)

    def _left_out(self, skipped: Skipped) -> None:
        """A stanza cannot be taken: it is too large, or no XML with namespaces."""
        self._keepalive.heard()
        where = f"account stream of {self._listener.account}"
        NET.skip(skipped.name, skipped.size, skipped.digest, where, skipped.reason)
        self._listener.left_out(skipped)

    # Whether the server reads (IPushProducer)

    def pauseProducing(self) -> None:
        """The transport's buffer is full."""
        self._tell(Input.FULL)

    def resumeProducing(self) -> None:
        """The transport's buffer is empty again."""
        self._tell(Input.DRAINED)

    def stopProducing(self) -> None:
        """The connection is going; its end is reported by the stream itself."""
