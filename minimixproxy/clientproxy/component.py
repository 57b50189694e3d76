"""The component stream (XEP-0114): connecting, handshake, reconnecting, and joined writes.

A Wokkel stream manager, with two differences: what is sent while there is no stream is dropped, not queued without
bound, since a stanza from before a reconnect misleads more than it helps; and stanzas reach handlers without XPath.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from random import Random
from typing import Any

from twisted.application.internet import backoffPolicy
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer, IReactorTime
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.component import ConnectComponentAuthenticator
from twisted.words.protocols.jabber.error import StreamError
from twisted.words.xish.xmlstream import STREAM_ERROR_EVENT, BootstrapMixin
from wokkel.subprotocols import StreamManager
from zope.interface import implementer

from minimixproxy.counting.traffic import COMPONENTS
from minimixproxy.direct_transport import direct, read_straight
from minimixproxy.logs.logger import Logger
from minimixproxy.namespaces import NS_COMPONENT
from minimixproxy.safety_net import NET
from minimixproxy.wire.events import Event, Fault, Skipped
from minimixproxy.wire.framing import FramingLimits
from minimixproxy.wire.stanza import Stanza, UnusableStanza
from minimixproxy.wire.xmlstream import FramedXmlStream
from minimixproxy.xep.oversized import Sendable, error_for, lost_answer

HANDSHAKE_TIMEOUT = 30.0  # seconds
SLOW_RETRY = 300.0  # seconds, when a server refuses us again and again: it will not change its mind soon
FIRST_RETRY = 15.0  # seconds, the first time: an operator may be mending the secret just now
STOP_TIMEOUT = 2.0  # seconds that stopping waits for the server to close
LONGEST_RETRY = 60.0  # seconds, when a server is away
LONGEST_SHARED_RETRY = 5.0  # seconds, when other processes may act for the component, too
MAX_BACKLOG = 64 * 1024 * 1024  # bytes waiting for a server that does not read

# Stream error -> what it says, and whether it is any use to come back soon: another connection may be about to end.
_REFUSALS = {
    "not-authorized": ("the secret is wrong", False),
    "host-unknown": ("the server has no such component", False),
    "conflict": ("the component is connected already", True),
}


class ComponentFactory(BootstrapMixin, Factory):
    """Builds a stream with a fresh authenticator for each connection."""

    noisy = False

    def __init__(self, domain: str, secret: str, limits: FramingLimits) -> None:
        BootstrapMixin.__init__(self)
        self._domain = domain
        self._secret = secret
        self._limits = limits

    def buildProtocol(self, _address: object) -> FramedXmlStream:
        stream = FramedXmlStream(ConnectComponentAuthenticator(self._domain, self._secret), self._limits)
        self.installBootstraps(stream)  # type: ignore[no-untyped-call]
        return stream


@implementer(IPushProducer)
class ComponentStream(StreamManager, Service):  # type: ignore[misc]
    """Keeps one component connected to one of several servers, tried in turn.

    After a round without success it waits, each time longer and by chance a bit more or less; after a refusal, long.
    """

    log = Logger()

    #: Told of what is left out: name, attributes, SHA-256, and why.
    unusable: Callable[[str, dict[str, str], str, str], None]

    def __init__(
        self,
        domain: str,
        secret: str,
        endpoints: Sequence[Any],  # IStreamClientEndpoint
        reactor: IReactorTime,
        random: Random,
        limits: FramingLimits,
    ) -> None:
        StreamManager.__init__(self, ComponentFactory(domain, secret, limits), reactor)
        self.factory.addBootstrap(STREAM_ERROR_EVENT, self._stream_error)
        self.domain = domain
        self._endpoints = endpoints
        self._clock: Any = reactor
        self._random = random
        self._may_act: Callable[[], bool] = _always
        self._backoff = self._waits(LONGEST_RETRY)
        self._slow = backoffPolicy(
            FIRST_RETRY, SLOW_RETRY, factor=2.0, jitter=lambda: 0.2 * random.random() * FIRST_RETRY
        )
        self._sendable = Sendable(limits.max_stanza)
        self._sure = self._sendable.sure
        self._receivers: dict[str, Callable[[Stanza], None]] = {}
        self._turn = 0  # endpoints tried since there was a stream
        self._refused = False
        self._refusals = 0  # rounds with one, since there was a stream
        self._connecting: Deferred[Any]
        self._timer: Any = None
        self._stopped: Deferred[None] | None = None
        self._out: list[bytes] = []
        self._reading = False
        self._is_producer = False  # of the transport: it is told to pause
        self._paused = False
        self._backlog = 0

    def _waits(self, longest: float) -> Callable[[int], float]:
        return backoffPolicy(initialDelay=1.0, maxDelay=longest, factor=2.0, jitter=self._random.random)

    def act_while(self, may_act: Callable[[], bool]) -> None:
        """Have the component be other processes', too: this one acts only while `may_act` says so.

        While one that hangs is still connected, the server may refuse us; so it is asked again sooner.
        """
        self._may_act = may_act
        self._backoff = self._waits(LONGEST_SHARED_RETRY)

    @property
    def connected(self) -> bool:
        """Whether the server has accepted the component."""
        return bool(self._initialized)

    # Connecting

    def startService(self) -> None:
        Service.startService(self)
        self._connect()

    def stopService(self) -> Deferred[None] | None:
        Service.stopService(self)
        self._cancel_timer()
        self._connecting.cancel()  # nothing, if it has come to an end
        if self.xmlstream is None:
            return None
        if not self._may_act():
            self.xmlstream.transport.abortConnection()
        elif self._initialized:
            self.xmlstream.sendFooter()
        self._let_go()
        self.xmlstream.transport.loseConnection()
        self._stopped = Deferred()
        self._timer = self._clock.callLater(STOP_TIMEOUT, self.xmlstream.transport.abortConnection)
        return self._stopped

    def _connect(self) -> None:
        if not self._may_act():
            return  # for good: whoever says so ends this service, too
        endpoint = self._endpoints[self._turn % len(self._endpoints)]
        self._connecting = endpoint.connect(self.factory)
        self._connecting.addErrback(self._connection_failed)

    def _connection_failed(self, reason: Failure) -> None:
        if self.running:
            self.log.warn("{domain}: no connection: {reason}", domain=self.domain, reason=reason.getErrorMessage())
            self._try_next()

    def _try_next(self) -> None:
        """Go on with the next endpoint: at once, or after a pause if all have been tried."""
        self._turn += 1
        delay = 0.0
        if self._turn % len(self._endpoints) == 0:
            rounds = self._turn // len(self._endpoints)
            delay = self._slow(self._refusals) if self._refused else self._backoff(rounds - 1)
            self._refusals += self._refused
            self._refused = False
            self.log.info("{domain}: next try in {delay:.1f} s", domain=self.domain, delay=delay)
        self._timer = self._clock.callLater(delay, self._connect)

    def _cancel_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    # Life of a stream

    def _connected(self, stream: FramedXmlStream) -> None:
        stream.traffic = COMPONENTS
        stream.hand_to(self._receive)
        read_straight(stream.transport, stream.dataReceived)
        stream.transport = direct(stream.transport)
        if hasattr(stream.transport, "setTcpKeepAlive"):
            stream.transport.setTcpKeepAlive(True)
            stream.transport.setTcpNoDelay(True)
        stream.transport.registerProducer(self, True)
        self._is_producer = True
        self._timer = self._clock.callLater(HANDSHAKE_TIMEOUT, self._handshake_timed_out)
        StreamManager._connected(self, stream)

    def _handshake_timed_out(self) -> None:
        self.log.warn("{domain}: no answer to the handshake", domain=self.domain)
        self.xmlstream.transport.abortConnection()

    def _authd(self, stream: FramedXmlStream) -> None:
        self._cancel_timer()
        stream.framer.note()
        self._refused = False
        self._refusals = 0
        self._receivers = {handler.stanza_name: handler.receive for handler in self if hasattr(handler, "stanza_name")}
        self.log.info("{domain}: connected", domain=self.domain)
        StreamManager._authd(self, stream)

    def _stream_error(self, error: Failure | Fault) -> None:
        self._let_go()
        condition = error.condition if isinstance(error, Fault) else _condition(error)
        if condition in _REFUSALS:
            explanation, soon = _REFUSALS[condition]
            self._refused = self._refused or not soon
            self.log.error(
                "{domain}: refused by the server: {explanation} ({condition})",
                domain=self.domain,
                explanation=explanation,
                condition=condition,
            )
        else:
            self.log.warn("{domain}: stream error: {condition}", domain=self.domain, condition=condition)

    def _let_go(self) -> None:
        """The connection is to end when all is written. If it has paused its producer, it waits for that instead."""
        if self._is_producer:
            self._is_producer = False
            self.xmlstream.transport.unregisterProducer()

    def _disconnected(self, reason: Failure) -> None:
        self._cancel_timer()
        self._is_producer = False
        was_ready = self._initialized
        self._receivers = {}
        self._out.clear()
        self._paused, self._backlog = False, 0
        StreamManager._disconnected(self, reason)
        if self._stopped is not None:
            self._stopped.callback(None)
        elif self.running:
            self.log.warn("{domain}: connection lost: {reason}", domain=self.domain, reason=reason.getErrorMessage())
            if was_ready:
                self._turn = len(self._endpoints) - 1  # a full round of tries after a first pause
            self._try_next()

    # Stanzas

    def _is_over(self) -> bool:
        """Tell whether another process may act for the component; then the connection ends at once, unread, unsaid."""
        if self._may_act():
            return False
        self.log.warn("{domain}: another process may be connected: this connection is cut", domain=self.domain)
        self._out.clear()
        self.xmlstream.transport.abortConnection()
        return True

    def _receive(self, events: list[Event]) -> None:
        """Take what one read brought; what is sent meanwhile goes out in one write."""
        if self._is_over():
            return
        self._reading = True
        for event in events:
            if isinstance(event, Skipped):
                self._cannot_use(event.name, event.attributes, event.digest, event.reason)
            elif isinstance(event, Stanza) and (receiver := self._receivers.get(event.name)) is not None:
                COMPONENTS.received[event.name] += 1
                try:
                    if event.readable or event.name != "iq":
                        receiver(event)
                    else:
                        raise UnusableStanza("too many elements")
                except UnusableStanza as error:
                    self._cannot_use(event.name, event.attributes, sha256(event.raw).hexdigest(), str(error))
                except Exception:  # noqa: BLE001  a fault of ours costs one stanza, not the domain's connection
                    NET.caught(event, self.domain)
            elif self.xmlstream is not None:
                self._negotiate(event)
        self._reading = False
        self._flush()

    def _negotiate(self, event: Event) -> None:
        """Leave to Twisted what is no stanza for us. It raises at a header in which an address is none."""
        try:
            self.xmlstream.dispatch_event(event)
        except Exception as error:  # noqa: BLE001 (whatever it is, this stream is of no use)
            self.log.warn("{domain}: the server's stream is broken: {error}", domain=self.domain, error=error)
            self.xmlstream.transport.abortConnection()

    def _cannot_use(self, name: str, attributes: dict[str, str], digest: str, reason: str) -> None:
        """A stanza is left out. Whoever waits for an answer is told."""
        NET.skipped += 1
        receiver = self._receivers.get(name)
        if receiver is not None and name == "iq" and attributes.get("type") in ("result", "error"):
            receiver(lost_answer(attributes, f"the answer cannot be used: {reason}", NS_COMPONENT))
        elif (answer := error_for(name, attributes, reason, NS_COMPONENT)) is not None:
            self.send(answer.raw)
        self.unusable(name, attributes, digest, reason)

    def _refuse(self, data: bytes, fault: str) -> None:
        """What the server would end the stream for is not sent; its sender is answered as by the server."""
        self.log.warn("{domain}: a stanza is not sent: {reason}", domain=self.domain, reason=fault)
        answer, instead = self._sendable.refused(data, fault, NS_COMPONENT)
        if instead is not None:
            self.send(instead)
        if answer is not None:
            self._clock.callLater(0, self._receivers[answer.name], answer)  # not while somebody is sending

    def send(self, data: bytes) -> None:
        """Send a whole stanza; dropped if there is no stream. Those sent within one read are joined."""
        if not self._initialized:
            return
        if len(data) > self._sure and (fault := self._sendable.fault(data)):
            self._refuse(data, fault)
            return
        self._out.append(data)
        if not self._reading:
            self._flush()

    def _flush(self) -> None:
        if not self._out or self._is_over():
            return
        data = b"".join(self._out)
        COMPONENTS.sent += len(self._out)
        COMPONENTS.sent_bytes += len(data)
        self._out.clear()
        if self._paused:
            self._backlog += len(data)
            if self._backlog > MAX_BACKLOG:
                self.log.error("{domain}: the server does not read; giving up the connection", domain=self.domain)
                self.xmlstream.transport.abortConnection()
                return
        self.xmlstream.transport.write(data)

    # The transport asks us to pause. Stanzas cannot wait in the server's stead, so what it may cost is bounded instead.

    def pauseProducing(self) -> None:
        self._paused, self._backlog = True, 0

    def resumeProducing(self) -> None:
        self._paused = False

    def stopProducing(self) -> None:
        """The connection is lost: see `_disconnected`."""


def _always() -> bool:
    """The component is this process's alone."""
    return True


def _condition(error: Failure) -> str:
    return str(error.value.condition) if isinstance(error.value, StreamError) else str(error.getErrorMessage())
