"""The service of the operator's site: where it listens, and what is on it."""

from __future__ import annotations

import os
import re
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.python.failure import Failure
from twisted.web.resource import Resource

from minimixproxy.config.checks import ENDPOINT_FAULTS, endpoint_kind
from minimixproxy.config.settings import Web
from minimixproxy.config.systemd_sockets import usable_endpoint
from minimixproxy.logs.logger import Logger
from minimixproxy.operator.readiness import Readiness
from minimixproxy.operator.web.health import Ready, living
from minimixproxy.operator.web.hosts import Hosts
from minimixproxy.operator.web.metrics import MetricsPage
from minimixproxy.operator.web.reactor_lag import ReactorLag
from minimixproxy.operator.web.site import Directory, WebSite
from minimixproxy.operator.web.watched import Watched

_SAYS_MODE = re.compile(r"(?<!\\):mode=")


class WebService(MultiService):
    """Listens while it runs. `put` hangs what is to be there into the site's tree."""

    log = Logger()

    def __init__(self, settings: Web, watched: Watched, readiness: Readiness, reactor: Any) -> None:
        super().__init__()
        self.root = Directory()
        self.root.putChild(b"metrics", MetricsPage(watched, readiness, reactor))
        self.root.putChild(b"healthz", living())
        self.root.putChild(b"readyz", Ready(readiness))
        self._endpoint = _endpoint(settings.endpoint)
        self._site = WebSite(self.root, Hosts(settings.hosts), reactor)
        self._reactor = reactor
        self._port: Any = None
        self.lag = ReactorLag(reactor)
        self.addService(self.lag)

    def put(self, path: bytes, resource: Resource) -> None:
        """Have a resource answer for a path at the first level."""
        self.root.putChild(path, resource)

    def startService(self) -> None:
        """Listen. A proxy that cannot be watched works all the same, so an obstacle is only logged."""
        super().startService()
        umask = os.umask(0o177)  # a UNIX socket is its owner's from the beginning: Twisted changes the mode afterwards
        try:
            listening = maybeDeferred(_listen, self._reactor, self._endpoint, self._site)
        finally:
            os.umask(umask)
        listening.addCallbacks(self._listens, self._cannot_listen)

    def _listens(self, port: Any) -> None:
        self._port = port

    def _cannot_listen(self, failure: Failure) -> None:
        failure.trap(CannotListenError, *ENDPOINT_FAULTS)
        self.log.error(
            "the web site cannot listen on {endpoint}: {error}", endpoint=self._endpoint, error=failure.value
        )

    def stopService(self) -> Deferred[Any]:
        """Listen no more, and drop who is connected."""
        for channel in list(self._site.channels):
            channel.transport.abortConnection()
        port, self._port = self._port, None
        closed = maybeDeferred(port.stopListening) if port is not None else None
        return DeferredList([stopping for stopping in (maybeDeferred(super().stopService), closed) if stopping])


def _endpoint(description: str) -> str:
    """A UNIX socket is its owner's only, unless the configuration says otherwise."""
    if endpoint_kind(description) == "unix" and not _SAYS_MODE.search(description):
        return f"{description}:mode=600"
    return description


def _listen(reactor: Any, endpoint: str, site: WebSite) -> Any:
    return usable_endpoint(endpoint, reactor).listen(site)
