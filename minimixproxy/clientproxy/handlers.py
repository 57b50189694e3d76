"""The subprotocols as Wokkel handlers: thin, from the component stream into the core."""

from __future__ import annotations

from collections.abc import Callable
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

    def __init__(self, stanza_name: str, receive: Callable[[Stanza], None]) -> None:
        super().__init__()
        self.stanza_name = stanza_name
        self.receive = receive


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
