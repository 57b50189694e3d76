"""The subprotocols as Wokkel handlers: thin, from the component stream into the core."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from wokkel.subprotocols import XMPPHandler

from minimixproxy.clientproxy.proxy import Proxy
from minimixproxy.wire.stanza import Stanza

_TICK = 1.0  # seconds
_KEEPALIVE_TICKS = 60


class StanzaHandler(XMPPHandler):  # type: ignore[misc]
    """Takes all stanzas of one name: the component stream calls `receive`, without the XPath of observers."""

    stanza_name: str

    def __init__(self, proxy: Proxy) -> None:
        super().__init__()
        self.proxy = proxy

    def receive(self, stanza: Stanza) -> None:
        raise NotImplementedError


class IQHandler(StanzaHandler):
    """IQ proxying."""

    stanza_name = "iq"

    def receive(self, stanza: Stanza) -> None:
        self.proxy.iqs.receive(stanza)


class MessageHandler(StanzaHandler):
    """Message proxying."""

    stanza_name = "message"

    def receive(self, stanza: Stanza) -> None:
        self.proxy.messages.receive(stanza)


class PresenceHandler(StanzaHandler):
    """Presence proxying."""

    stanza_name = "presence"

    def receive(self, stanza: Stanza) -> None:
        self.proxy.presences.receive(stanza)


class Clockwork(XMPPHandler):  # type: ignore[misc]
    """Tells the core of connections and, while there is one, of the course of time."""

    def __init__(self, proxy: Proxy, reactor: IReactorTime) -> None:
        super().__init__()
        self._proxy = proxy
        self._ticking = LoopingCall.withCount(self._tick)
        self._ticking.clock = reactor
        self._ticks = 0

    def connectionInitialized(self) -> None:
        self._proxy.connected()
        self._ticking.start(_TICK, now=False)

    def connectionLost(self, reason: Any) -> None:
        super().connectionLost(reason)
        if self._ticking.running:
            self._ticking.stop()

    def _tick(self, _count: int) -> None:
        self._proxy.tick()
        self._ticks += 1
        if self._ticks % _KEEPALIVE_TICKS == 0:
            self.send(b" ")
