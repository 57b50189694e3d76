"""Keeps systemd informed while the proxy runs: that it is ready, how it goes, that it lives, that it ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.task import LoopingCall

from minimixproxy.logs.logger import Logger
from minimixproxy.operator.notify import MORE_TIME, ServiceManager

LOOK = 1.0  # seconds between looks at whether it is ready; there are none afterwards
INTERVAL = 30.0  # seconds between looks at how it goes


class NotifyService(Service):
    """Tells a service manager, if there is one; without one it does nothing.

    `is_ready`: whether clients can log in. `line`: how it goes, in a line.
    """

    log = Logger()

    def __init__(
        self, manager: ServiceManager, reactor: Any, is_ready: Callable[[], bool], line: Callable[[], str]
    ) -> None:
        self._manager = manager
        self._reactor = reactor
        self._is_ready = is_ready
        self._line = line
        self._told = ""
        self._loops: list[LoopingCall] = []
        self._next_look: Any = None

    def startService(self) -> None:
        """Begin when the reactor runs: what a proxy does before that, it does before it is ready."""
        super().startService()
        if self._manager.listens:
            self._reactor.callWhenRunning(self._begin)

    def stopService(self) -> None:
        """Tell that the end has begun, and nothing after that: it has a time-out of its own."""
        super().stopService()
        look, self._next_look = self._next_look, None
        if look is not None:
            look.cancel()
        loops, self._loops = self._loops, []
        for loop in loops:
            if loop.running:
                loop.stop()
        self._manager.stopping()

    def reloading(self) -> Callable[[], None]:
        """A reload begins; return what is to be called at its end. Nothing is told while the proxy is not ready."""
        if not (self._manager.listens and self._is_ready()):
            return lambda: None
        self._manager.reloading()
        return self._reloaded

    def _reloaded(self) -> None:
        if self.running:
            self._manager.ready()

    def _begin(self) -> None:
        if not self.running:
            return
        if self._manager.watchdog is not None:
            self._loop(self._manager.watchdog, self._manager.alive)
        self._look()

    def _look(self) -> None:
        self._next_look = None
        if self._is_ready():
            self._manager.ready()
            self._loop(INTERVAL, self._tell)
        else:
            self._manager.extend(MORE_TIME)
            self._next_look = self._reactor.callLater(LOOK, self._look)

    def _loop(self, interval: float, call: Callable[[], None]) -> None:
        """Call now, and then by the reactor's timer: one that is stuck does not."""
        loop = LoopingCall(call)
        loop.clock = self._reactor
        self._loops.append(loop)
        loop.start(interval).addErrback(lambda failure: self.log.failure("while systemd was to be told", failure))

    def _tell(self) -> None:
        line = self._line()
        if line != self._told:
            self._told = line
            self._manager.status(line)
