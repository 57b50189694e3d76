"""The service that bounds the log while the proxy runs, and tells how much was left out."""

from __future__ import annotations

from typing import Any

from twisted.application.internet import TimerService
from twisted.internet.defer import Deferred

from minimixproxy.logs.flood import INTERVAL
from minimixproxy.logs.logger import FLOOD, tell_left_out


class LogFloodService(TimerService):
    """Tells it every minute, and at the end."""

    def __init__(self, reactor: Any) -> None:
        super().__init__(INTERVAL, tell_left_out)  # type: ignore[no-untyped-call]
        self.clock = reactor
        self._seconds = reactor.seconds

    def startService(self) -> None:
        FLOOD.begin(self._seconds)
        super().startService()  # type: ignore[no-untyped-call]

    def stopService(self) -> Deferred[Any]:
        FLOOD.end()
        tell_left_out()
        stopped: Deferred[Any] = super().stopService()  # type: ignore[no-untyped-call]
        return stopped
