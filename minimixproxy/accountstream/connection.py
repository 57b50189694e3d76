"""The connection of an account stream that is open: what is heard on it, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.xmlstream import STREAM_END_EVENT
from twisted.words.xish.xmlstream import STREAM_ERROR_EVENT
from zope.interface import implementer

from minimixproxy.accountstream.attempt import Opened
from minimixproxy.accountstream.keepalive import CLOSE_TIMEOUT, Keepalive, disconnect
from minimixproxy.accountstream.managed_stream import ManagedStream, is_stanza
from minimixproxy.accountstream.phases import Input
from minimixproxy.c2s.transport.connection import acknowledging
from minimixproxy.c2s.upstream.sending import Sending
from minimixproxy.counting.traffic import ACCOUNTS
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_STREAM
from minimixproxy.safety_net import NET
from minimixproxy.stream_management.unacknowledged import NotSent
from minimixproxy.timing.clock import Clock, Timer
from minimixproxy.wire.events import Fault, Skipped
from minimixproxy.wire.stanza import Stanza
from minimixproxy.wire.xmlstream import SKIPPED_EVENT
from minimixproxy.xep import stream_management as sm
from minimixproxy.xep.stream_headers import STREAM_END

UNACKNOWLEDGED = "the server did not acknowledge what it was sent"


class Listener(Protocol):
    """Who hears what comes; an `AccountStream` is one."""

    account: str

    @property
    def ping_interval(self) -> float:
        """Seconds of silence before the server is pinged."""

    def ping(self) -> None:
        """Have the server say something."""

    def left_out(self, skipped: Skipped) -> None:
        """A stanza cannot be taken."""

    def received(self, stanza: Stanza) -> None:
        """A stanza has come."""


ANSWER_WITHIN = 60.0  # seconds for the server to say what it has handled, once it is asked


@implementer(IPushProducer)
class Connection:
    """Gives the life of its stream ENDED, BROKEN, FULL and DRAINED, from `attach` to `detach`.

    The transport takes it for the producer of what is sent, and tells it when the server does not read. `managed` is
    what is kept of the stream for other connections, if there is stream management.
    """

    log = Logger()

    def __init__(
        self,
        opened: Opened,
        managed: ManagedStream | None,
        clock: Clock,
        listener: Listener,
        happens: Callable[[Input, str | None], Any],
    ) -> None:
        self.xmlstream, self.jid = opened.xmlstream, opened.jid
        self._managed = managed
        self._sending = Sending(managed.unacknowledged, self.xmlstream.send) if managed is not None else None
        self._acknowledge_bytes = acknowledging(self.xmlstream.transport)
        self._clock = clock
        self._listener = listener
        self._happens = happens
        self._attached = False
        self._waits = False  # nothing is read
        self._resumed = opened.resumed
        self._answers = 0  # of the server, to what it has handled
        self._patience = Timer(clock)  # with those
        self._keepalive = Keepalive(clock, listener.ping_interval, listener.ping, self._silent)

    def attach(self) -> None:
        """Listen, and watch for silence, from now on."""
        self._attached = True
        self.xmlstream.traffic = ACCOUNTS
        self._keepalive.start()
        self.xmlstream.transport.registerProducer(self, True)
        self.xmlstream.addObserver(STREAM_END_EVENT, self._ended)
        self.xmlstream.addObserver(STREAM_ERROR_EVENT, self._fault)
        self.xmlstream.addObserver(SKIPPED_EVENT, self._left_out)
        self.xmlstream.hand_stanzas_to(self._received)

    def detach(self) -> None:
        """Listen no more: what this connection still does is nothing to the stream."""
        self._attached = False
        self._keepalive.stop()
        self._patience.stop()
        self.xmlstream.transport.unregisterProducer()
        self.xmlstream.silence()

    def say_goodbye(self) -> Deferred[None]:
        """End the stream properly, no more being attached; the result fires when the connection is gone.

        The server is told first how much is handled: it returns the rest to whoever sent it. So that waits for the
        disk, for a while.
        """
        self.log.info("account stream closed: {account}", account=self._listener.account)
        if self._waits:
            self.xmlstream.transport.resumeProducing()  # the server closes its stream, too
        if self._managed is None:
            return self._end_stream(b"")
        managed, late, gone = self._managed, Timer(self._clock), Deferred[None]()

        def end() -> None:
            self._end_stream(managed.acknowledgement()).chainDeferred(gone)

        def on_disk() -> None:
            if late.running:
                late.stop()
                end()

        late.start(CLOSE_TIMEOUT, end)
        managed.on_disk(on_disk)
        gone.addCallback(lambda _: managed.unacknowledged.give_up())  # whoever waits for that
        return gone.addCallback(lambda _: None)

    def _end_stream(self, last_word: bytes) -> Deferred[None]:
        self.xmlstream.send(last_word + STREAM_END)
        return disconnect(self.xmlstream, self._clock)

    def let_wait(self) -> None:
        """Hear nothing more of what the server says."""
        self._waits = True
        self.xmlstream.transport.pauseProducing()

    def abort(self) -> None:
        """End the connection at once."""
        self.xmlstream.transport.abortConnection()

    # What is sent

    def send(self, data: bytes) -> None:
        """Send a stanza, now or when the server has acknowledged enough."""
        ACCOUNTS.sent += 1
        if self._sending is not None and is_stanza(data):
            self._sending.send(data)
            if not self._patience.running:
                self._wait_for_answer(self._sending)
        else:
            self.xmlstream.send(data)

    def send_again(self) -> None:
        """The stream is resumed: send what was not acknowledged, or would have been sent meanwhile, in order."""
        if self._sending is not None:
            self._sending.go_on()
            self._wait_for_answer(self._sending)

    def _wait_for_answer(self, sending: Sending) -> None:
        """Look in a while whether the server, if it was asked, has answered; not sooner: each look costs a timer."""
        if sending.asked and self._attached:
            self._patience.start(ANSWER_WITHIN, partial(self._look_for_answer, sending, self._answers))

    def _look_for_answer(self, sending: Sending, before: int) -> None:
        """Without one the connection is no good; nor is the stream, if it was resumed on it.

        Prosody 0.12 goes on with its old XML parser. If that has half a stanza, all that comes is taken for the rest.
        """
        if self._answers != before or not sending.asked:
            self._wait_for_answer(sending)
            return
        self.log.warn("account stream {jid}: the server does not acknowledge what it is sent", jid=self.jid)
        if self._resumed and not self._answers:
            self._tell(Input.ENDED, UNACKNOWLEDGED)
        else:
            self._breaks(UNACKNOWLEDGED)
        self.abort()

    # What ends it

    def _tell(self, what: Input, why: str | None = None) -> None:
        if self._attached:
            self._happens(what, why)

    def _breaks(self, why: str) -> None:
        """The connection is no good any more; the stream may be."""
        managed = self._managed
        if managed is not None and managed.resumable and not self.xmlstream.is_closed:
            self._tell(Input.BROKEN, why)
        else:
            self._tell(Input.ENDED, why)

    def _ended(self, reason: Any = None) -> None:
        if self._attached:
            why = _words(reason)
            self.log.warn("account stream lost its connection: {jid}: {reason}", jid=self.jid, reason=why)
            self._breaks("the connection ended")

    def _silent(self, seconds: float) -> None:
        self.log.warn("account stream silent for {silent:.0f} s: {jid}", silent=seconds, jid=self.jid)
        self._breaks(f"the server was silent for {seconds:.0f} s")
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
        self._tell(Input.ENDED, f"the server sent what is no XML for us: {fault.condition}")

    def _stream_error(self, stanza: Stanza) -> None:
        """The server ends the stream (RFC 6120 §4.9), `conflict` included: waiting keeps two from fighting at speed."""
        names = [name for _uri, name in stanza.payloads if name != "text"]
        self.log.warn("account stream {jid} ended by the server: {condition}", jid=self.jid, condition=names[:1])
        self._tell(Input.ENDED, f"ended by the server: {', '.join(names[:1])}")
        disconnect(self.xmlstream, self._clock)

    # What comes

    def _received(self, stanza: Stanza) -> None:
        self._keepalive.heard()
        if stanza.name in sm.COUNTED:
            ACCOUNTS.received[stanza.name] += 1
        if stanza.name == "error" and stanza.uri == NS_STREAM:
            self._stream_error(stanza)
        elif self._managed is None:
            self._listener.received(stanza)
        elif sm.is_of_stream_management(stanza):
            self._managing(stanza, self._managed)
        else:
            self._managed.take(stanza, self._listener.received)
            if self._sending is not None and self._sending.waits:
                self._acknowledge_bytes()

    def _managing(self, stanza: Stanza, managed: ManagedStream) -> None:
        if stanza.name == "r":
            managed.on_disk(self._acknowledge)  # it is on its way there: one true answer is better than two
        elif stanza.name == "a":
            self._acknowledged(stanza)
        elif stanza.name == "enabled":
            managed.begin()

    def _acknowledge(self) -> None:
        if self._attached and self._managed is not None:
            self.xmlstream.send(self._managed.acknowledgement())

    def _acknowledged(self, stanza: Stanza) -> None:
        """The server has handled so much: whoever waits for that may do anything."""
        assert self._sending is not None
        self._answers += 1
        try:
            self._sending.acknowledged(sm.handled_of(stanza))
        except (NotSent, sm.BadElement) as error:
            self.log.warn("account stream {jid}: the server counts wrongly: {error}", jid=self.jid, error=str(error))
            self._tell(Input.ENDED, "the server counts wrongly")
            self.abort()

    def _left_out(self, skipped: Skipped) -> None:
        """A stanza cannot be taken: it is too large, or no XML with namespaces."""
        self._keepalive.heard()
        if self._managed is not None and not self._managed.left_out(skipped):
            return
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


def _words(reason: Any) -> str:
    """Why a connection has ended, in Twisted's words."""
    return str(reason.getErrorMessage()) if isinstance(reason, Failure) else "it was closed"
