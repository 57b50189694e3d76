"""The account stream: the presence-less upstream stream that holds an account's rooms.

It never sends initial presence, so that it is not "available": contacts never see it and bare-JID messages never go
to it. It opens when something is first sent, is kept alive by pings, and comes back by itself when it is asked to.
When it does what is a table: see `lifecycle.py`.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.xmlstream import XMPPHandlerCollection
from twisted.words.xish import domish
from wokkel.subprotocols import XMPPHandler

from minimixproxy.accountstream.attempt import Opened, Resumable
from minimixproxy.accountstream.connection import Connection
from minimixproxy.accountstream.lifecycle import Lifecycle
from minimixproxy.accountstream.lifecycle_rules import Fault, Waits
from minimixproxy.accountstream.managed_stream import ManagedStream, OnDisk
from minimixproxy.accountstream.observed import Observed
from minimixproxy.accountstream.phases import Input, Phase, StreamState
from minimixproxy.logs.logger import Logger
from minimixproxy.minimix.interfaces.streams import Followed
from minimixproxy.minimix.subprotocols.own_requests import OwnRequests
from minimixproxy.minimix.subprotocols.subprotocol import Subprotocol
from minimixproxy.namespaces import NS_CLIENT
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.lines import Line
from minimixproxy.wire.events import Skipped
from minimixproxy.wire.stanza import MalformedStanza, Stanza, parse_stanza, serialize
from minimixproxy.xep.oversized import ORDINARY, Sendable, lost_answer
from minimixproxy.xep.stanza_errors import error_reply

FIRST_WAIT = 1.0  # seconds, about, from a failure to the next attempt
LONGEST_WAIT = 120.0
LONGEST_WAIT_TO_RESUME = 10.0
MAX_REPLIES = 256 * 1024  # bytes waiting for such a server, beyond which others are not answered
MAX_SAID, MAX_SAID_STANZAS = 3 * 1024 * 1024, 5000  # the same, and stanzas, beyond which clients are refused

_UNSURE = "The connection to the server was lost: this may not have arrived."

_SEND = Input.SEND  # each stanza needs it


class StreamLogin(Protocol):
    """What opens the stream."""

    def open(self, resumable: Resumable | None = None) -> Awaitable[Opened]:
        """Open an upstream stream, and resume what is given, or bind a resource.

        Raises `CannotOpen`, or `CredentialRefused`.
        """

    def opened(self) -> None:
        """The stream is open, or resumed."""

    def is_refused(self) -> bool:
        """Note that the server has refused the credential; False: there is another by now."""


def _now(call: Callable[[], None]) -> None:
    call()


@dataclass(frozen=True, slots=True)
class StreamOptions:
    """`ping_interval`: seconds of silence before the server is pinged; `iq_timeout`: seconds for it to answer.

    `sendable`: what a stanza may be to be sent; the server's own word on its size counts more. `on_disk` calls what it
    is given once all that was journalled so far is on disk.
    """

    ping_interval: float = 30.0
    iq_timeout: float = 60.0
    sendable: Sendable = ORDINARY
    on_disk: OnDisk = _now


class AccountStream(XMPPHandlerCollection, Service):
    """The stream of one account; its subprotocols are Wokkel handlers, children of it.

    Handlers can `send` and `request` at any time: the stream opens if need be. They are told `connectionMade` and
    `connectionInitialized` when it is open and all that waited was sent, and `connectionLost` when it ends. They are
    told nothing of a connection that breaks when the stream is resumed on another. A `Subprotocol` is told of more.

    `line`: what it opens through, with the others of its domain. `random`: as `random.random`.
    """

    log = Logger()

    def __init__(
        self,
        account: str,
        login: StreamLogin,
        clock: Clock,
        line: Line,
        options: StreamOptions = StreamOptions(),
        random: Callable[[], float] = random.random,
    ) -> None:
        super().__init__()
        self.account = account
        self._login = login
        self.options = options  # a reload has others; what a stanza may be counts from the next connection on
        self._sendable = options.sendable
        self._clock = clock
        self._xmlstream: Observed | None = None  # that handlers have
        self._initialized = False  # and they are told so
        waits = Waits(Backoff(FIRST_WAIT, LONGEST_WAIT, random), Backoff(FIRST_WAIT, LONGEST_WAIT_TO_RESUME, random))
        self._life = Lifecycle(self, login.open, clock, line, waits)
        self.requests = OwnRequests(account, options.iq_timeout, clock)
        self.requests.setHandlerParent(self)

    def stopService(self) -> Deferred[None]:
        """Close the stream; the result fires when the connection is gone."""
        Service.stopService(self)
        gone = self.shut_down()
        return self.shut_down() if self._life.phase is Phase.LEAVING else gone

    # How it is

    @property
    def state(self) -> StreamState:
        """Where it is in its life."""
        return self._life.phase.shown

    @property
    def jid(self) -> str:
        """The full JID while it is open, or about to be resumed, else ""."""
        life = self._life
        if life.connection is not None:
            return life.connection.jid
        return life.managed.jid if life.managed is not None and life.phase is not Phase.LEAVING else ""

    @property
    def fault(self) -> Fault:
        """What has gone wrong last, and when; it may be open again since."""
        return self._life.fault

    @property
    def opens_in(self) -> float:
        """Seconds, at most, until it lines up for the next attempt; 0 if it does not wait for time to pass."""
        return self._life.opens_in

    # What is sent

    def send(self, obj: object) -> None:
        """Send a stanza: bytes, text or a domish tree; open the stream if it is not open.

        A stream that takes nothing in is given up. A stanza that is too large is not sent: who takes such stanzas is
        told so by `not_sent`, a turn later.
        """
        data = obj if isinstance(obj, bytes) else _bytes_of(obj)
        fault = self._sendable.fault(data)
        if fault:
            self._not_sendable(data, fault)
        else:
            self._life.happens(_SEND, data)

    def reply(self, obj: object) -> None:
        """Send, as `send` does, an answer to somebody else, unless much waits already for a server that reads slowly.

        Then it is dropped: who asks much more quickly than the server reads is not to cost the account its rooms.
        """
        if self._life.backlog <= MAX_REPLIES:
            self.send(obj)
        else:
            self.log.warn(
                "the server of {account} reads slowly: others who ask the account get no answer", account=self.account
            )

    def when_acknowledged(self, call: Callable[[], None]) -> None:
        """Call once the server has acknowledged all that was sent so far.

        At once if it does not do that; and if the stream is lost, when those who are to be told of that were.
        """
        self._life.when_acknowledged(call)

    def when_taken(self, call: Callable[[], None]) -> None:
        """Do as `when_acknowledged`; if the server does not acknowledge, call once it has read all but little."""
        self._life.when_taken(call)

    @property
    def backlog(self) -> int:
        """Bytes that wait for the server, or for it to acknowledge them."""
        return self._life.backlog

    @property
    def full(self) -> bool:
        """Whether so much waits for the server that clients are to say no more: the rest is for the account itself."""
        life = self._life
        stanzas = len(life.managed.unacknowledged) if life.managed is not None else 0
        return max(life.backlog, life.queued) > MAX_SAID or stanzas > MAX_SAID_STANZAS

    def _not_sendable(self, data: bytes, fault: str) -> None:
        self.log.warn("{account}: a stanza is not sent to the server: {reason}", account=self.account, reason=fault)
        answer, instead = self._sendable.refused(data, fault)
        if instead is not None:
            self._life.happens(_SEND, instead)
        if answer is not None:
            self._clock.callLater(0, self._instead, answer)  # not while somebody is sending

    def request(self, request: Any) -> Deferred[domish.Element]:
        """Send an IQ get or set of a Wokkel handler: a domish tree, or something with `toElement`.

        For the result see `OwnRequests.request`.
        """
        return self.requests.request(request if isinstance(request, domish.Element) else request.toElement())

    def _instead(self, answer: Stanza) -> None:
        """What was sent, or the answer to it, was too large: this error answers it."""
        for handler in self._subprotocols():
            if handler.query.matches(answer):
                self._tell(handler, handler.take_instead, answer)

    # Its life

    def reopen(self) -> None:
        """Open again after a wait that grows from failure to failure. Does nothing unless the stream is CLOSED."""
        self._life.happens(Input.REOPEN)

    def mended(self) -> None:
        """A client has logged in: the credential is good, and the server is there."""
        self._life.happens(Input.MENDED)

    def refuse(self, why: str = "no usable login was kept") -> None:
        """Do as if the credential had been refused, if the stream is closed: there is none, or none that is good."""
        if self._life.phase is Phase.CLOSED:
            self._life.happens(Input.REFUSE, why)

    def cut_off(self, why: str) -> None:
        """End the stream, or the attempts to open it: whoever has use for it is told that its credential is refused.

        If the server is still to be told that a broken stream is over, it takes the next use to find that out.
        """
        self.shut_down()
        if self._life.phase is Phase.CLOSED:
            self.refuse(why)
        self._unreachable(refused=True)

    def withdraw(self, why: str) -> None:
        """End the stream, and do as if the credential had been refused: rooms wait until it is `mended`."""
        self.close()
        self.refuse(why)
        self._unreachable(refused=True)

    def let_wait(self) -> None:
        """The stream is about to be closed: read nothing more of what the server says."""
        if self._life.connection is not None:
            self._life.connection.let_wait()

    def close(self) -> None:
        """End the stream properly, or the attempts to open it: nobody needs it now."""
        self.shut_down()

    def shut_down(self) -> Deferred[None]:
        """Do as `close`; the result fires when the connection is gone."""
        gone: Deferred[None] = self._life.happens(Input.CLOSE)
        self._disconnected()
        return gone

    # Handlers

    def addHandler(self, handler: XMPPHandler) -> None:
        """Have another subprotocol; if the stream is open, it is told so."""
        super().addHandler(handler)
        if self._xmlstream is not None:
            handler.makeConnection(self._xmlstream)
            if self._initialized:
                handler.connectionInitialized()

    def _subprotocols(self) -> Iterator[Subprotocol]:
        """Return the handlers that are told of more than others are."""
        return (handler for handler in list(self) if isinstance(handler, Subprotocol))

    # For `Lifecycle` and `Connection`

    def managed(self, opened: Opened) -> ManagedStream | None:
        """Return what is kept of the stream for other connections."""
        return ManagedStream(opened.jid, opened.enabled, self.options.on_disk) if opened.enabled is not None else None

    def connected(self, opened: Opened, managed: ManagedStream | None) -> Connection:
        """Make the connection of a stream that is open."""
        sendable = self.options.sendable
        self._sendable = sendable if opened.limit is None else replace(sendable, size=opened.limit)
        how = "resumed" if opened.resumed else "open"
        self.log.info("account stream {how}: {jid}", how=how, jid=opened.jid)
        return Connection(opened, managed, self._clock, self, self._life.happens)

    def attached(self) -> None:
        """There is a connection, on which nothing was sent yet."""
        self._xmlstream = observed = Observed(self.send)
        for handler in list(self):
            self._tell(handler, handler.makeConnection, observed)

    def received(self, stanza: Stanza) -> None:
        """A stanza has come."""
        if self._xmlstream is not None:
            self._xmlstream.dispatch(stanza)

    def resumed(self) -> None:
        """The stream is open as before."""
        self._login.opened()

    def opened(self) -> None:
        """All that waited was sent."""
        connection = self._life.connection
        self._initialized = True
        self._login.opened()
        for handler in list(self):
            if self._life.connection is connection:  # a handler may send so much that it is lost again
                self._tell(handler, handler.connectionInitialized)

    def _disconnected(self) -> None:
        """The connection is gone, if there was one. Handlers may do anything now, so the stream knows it already."""
        if self._xmlstream is not None:
            self._xmlstream, self._initialized = None, False
            reason = Failure(ConnectionDone())
            for handler in list(self):
                self._tell(handler, handler.connectionLost, reason)

    def lost(self) -> None:
        """The stream ended otherwise than by `close`, or could not be opened."""
        self._disconnected()
        self._unreachable(refused=False)

    def refused(self) -> None:
        """The credential was refused, perhaps while the stream was to be resumed."""
        refused = self._login.is_refused()
        if not refused:
            self.mended()
        self._disconnected()
        self._unreachable(refused=refused)

    def perhaps_lost(self, stanza: bytes) -> None:
        """Who has sent a message that may be lost is told so; of IQs and presences they know it by now."""
        if isinstance(stanza, Followed) or not stanza.startswith(b"<message"):
            return
        with suppress(MalformedStanza):  # handlers are anybody's
            said = parse_stanza(stanza)
            if said.get("type") != "error":
                self._instead(parse_stanza(error_reply(said, "wait", "remote-server-timeout", _UNSURE)))

    def _unreachable(self, *, refused: bool) -> None:
        """Whoever waits for an answer is told last: it is for others to say first what the loss means."""
        others = [handler for handler in self._subprotocols() if handler is not self.requests]
        for handler in [*others, self.requests]:
            self._tell(handler, partial(handler.unreachable, refused=refused))

    @property
    def ping_interval(self) -> float:
        """Seconds of silence before the server is pinged."""
        return self.options.ping_interval

    def ping(self) -> None:
        """The server has been silent."""
        self.requests.keep_alive()

    def left_out(self, skipped: Skipped) -> None:
        """A stanza was too large to be taken."""
        attributes = skipped.attributes
        if skipped.name == "iq" and attributes.get("type") in ("result", "error"):
            self._instead(lost_answer(attributes, f"the answer cannot be used: {skipped.reason}"))
            return
        start = domish.Element((NS_CLIENT, skipped.name), attribs=dict(attributes))
        for handler in self._subprotocols():
            if handler.query.matches(start):
                self._tell(handler, handler.left_out, skipped.name, attributes, skipped.reason)

    def _tell(self, handler: XMPPHandler, told: Callable[..., None], *what: object) -> None:
        """Tell one handler; its fault is not to cost the others."""
        try:
            told(*what)
        except Exception:  # noqa: BLE001 (handlers are anybody's)
            self.log.failure("a fault in {handler} of {account}", handler=type(handler).__name__, account=self.account)


def _bytes_of(obj: object) -> bytes:
    if isinstance(obj, domish.Element):
        return serialize(obj)
    if isinstance(obj, Stanza):
        return obj.raw
    return str(obj).encode()
