"""The account stream: the presence-less upstream stream that holds an account's rooms.

It never sends initial presence, so that it is not "available": contacts never see it and bare-JID messages never go
to it. It opens when something is first sent, is kept alive by pings, and comes back by itself when it is asked to.
When it does what is a table: see `lifecycle.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import Deferred
from wokkel.subprotocols import XMPPHandler

from minimixproxy.accountstream.attempt import Connect, Opened
from minimixproxy.accountstream.connection import Connection
from minimixproxy.accountstream.lifecycle import Lifecycle
from minimixproxy.accountstream.phases import Input, Phase, StreamState
from minimixproxy.logs.logger import Logger
from minimixproxy.timing.backoff import Backoff
from minimixproxy.timing.clock import Clock
from minimixproxy.timing.pacing import Slots
from minimixproxy.wire.framing import Skipped
from minimixproxy.wire.stanza import Stanza
from minimixproxy.xep.oversized import ORDINARY, Sendable, refused

FIRST_WAIT = 1.0  # seconds, about, from a failure to the next attempt
LONGEST_WAIT = 120.0
MAX_REPLIES = 256 * 1024  # bytes waiting for such a server, beyond which others are not answered

_SEND = Input.SEND  # each stanza needs it


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
        self.account = account
        self.handlers: list[XMPPHandler] = []
        self.opened: Callable[[], None] = lambda: None
        self.lost: Callable[[], None] = lambda: None
        self.refused: Callable[[], None] = lambda: None
        self.ping: Callable[[], None] = lambda: None
        self.not_sent: Callable[[Stanza], None] = lambda _answer: None
        self.left_out: Callable[[Skipped], None] = lambda _skipped: None
        self._sendable = self._configured = sendable
        self._clock = clock
        self._ping_interval = ping_interval
        self._life = Lifecycle(self, connect, clock, turns, Backoff(FIRST_WAIT, LONGEST_WAIT, random))

    @property
    def state(self) -> StreamState:
        """Where it is in its life."""
        return self._life.phase.shown

    @property
    def jid(self) -> str:
        """The full JID while it is open, else ""."""
        connection = self._life.connection
        return connection.jid if connection is not None else ""

    @property
    def opens_in(self) -> float:
        """Seconds, at most, until it lines up for the next attempt; 0 if it does not wait for time to pass."""
        return self._life.opens_in

    def send(self, data: bytes) -> None:
        """Send a stanza; open the stream if it is not open. A stream that takes nothing in is given up."""
        fault = self._sendable.fault(data)
        if fault:
            self._not_sendable(data, fault)
        else:
            self._life.happens(_SEND, data)

    def reply(self, data: bytes) -> None:
        """Send an answer to somebody else, unless much waits already for a server that reads slowly.

        Then it is dropped: who asks much more quickly than the server reads is not to cost the account its rooms.
        """
        if self._life.phase is not Phase.CONGESTED or self._life.queued <= MAX_REPLIES:
            self.send(data)
        else:
            self.log.warn("{account}: its server reads slowly, others are not answered", account=self.account)

    def _not_sendable(self, data: bytes, fault: str) -> None:
        self.log.warn("{account}: a stanza is not sent: {reason}", account=self.account, reason=fault)
        answer, instead = refused(data, fault)
        if instead is not None:
            self._life.happens(_SEND, instead)
        if answer is not None:
            self._clock.callLater(0, self.not_sent, answer)  # not while somebody is sending

    def reopen(self) -> None:
        """Open again after a wait that grows from failure to failure. Does nothing unless the stream is CLOSED."""
        self._life.happens(Input.REOPEN)

    def mended(self) -> None:
        """A client has logged in: the credential is good, and the server is there."""
        self._life.happens(Input.MENDED)

    def refuse(self) -> None:
        """Do as if the credential had been refused, from CLOSED: there is none, or none that is good."""
        self._life.happens(Input.REFUSE)

    def close(self) -> None:
        """End the stream properly, or the attempts to open it: nobody needs it now."""
        self.shut_down()

    def shut_down(self) -> Deferred[None]:
        """Do as `close`; the result fires when the connection is gone."""
        gone: Deferred[None] = self._life.happens(Input.CLOSE)
        return gone

    def connected(self, opened: Opened) -> Connection:
        """For `Lifecycle`: make the connection of a stream that is open."""
        limit = opened[0].peer_limit
        self._sendable = self._configured if limit is None else replace(self._configured, size=limit)
        self.log.info("account stream open: {jid}", jid=opened[1])
        return Connection(opened, self._clock, self._ping_interval, self, self._life.happens)
