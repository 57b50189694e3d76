"""Listens for other processes of the cluster, while state is open."""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError

from minimixproxy.cannot_start import CannotStart
from minimixproxy.cluster.internal_port import InternalPort
from minimixproxy.config.cluster_checks import TLSPlace, UnixPlace
from minimixproxy.logs.logger import Logger
from minimixproxy.unix_sockets import listen_alone

#: Connections that may wait to be accepted, if the kernel lets so many. Clients come in a crowd when a process has
#: ended, and this one is busy then; on a UNIX socket those for whom there is no place are refused at once.
CROWD = 2048


class InternalService(Service):
    """The port, as a child of `StateService`."""

    log = Logger()

    def __init__(self, place: UnixPlace | TLSPlace, factory: InternalPort, reactor: Any) -> None:
        self._place = place
        self._factory = factory
        self._reactor = reactor
        self._port: Any = None

    def startService(self) -> None:
        """Listen. Raises `CannotStart`: without it no client would reach the accounts that are held here."""
        super().startService()  # type: ignore[no-untyped-call]
        try:
            self._port = self._listen()
        except (OSError, CannotListenError) as error:
            text = f"[cluster] endpoint cannot be listened on: {error}"
            self.log.critical("{error}", error=text)
            raise CannotStart(text) from None

    def _listen(self) -> Any:
        place = self._place
        if isinstance(place, UnixPlace):
            return listen_alone(self._reactor, place.path, self._factory, place.mode, CROWD)
        return self._reactor.listenTCP(place.port, self._factory, backlog=CROWD, interface=place.host)

    def stopService(self) -> Deferred[Any]:
        """Listen no more; clients that came by it are ended as all are."""
        super().stopService()  # type: ignore[no-untyped-call]
        port, self._port = self._port, None
        return maybeDeferred(port.stopListening if port is not None else lambda: None)
