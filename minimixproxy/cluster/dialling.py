"""Connecting to the internal endpoints of other processes: a path is a UNIX socket's, all else is a host and a port."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NoReturn

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from minimixproxy import unix_sockets
from minimixproxy.c2s.server.elsewhere import NotHandedOver
from minimixproxy.c2s.transport.connection import SecurableConnection
from minimixproxy.cluster.internal_tls import InternalTLS
from minimixproxy.cluster.pipes import Dial


def dialler(reactor: Any, tls: InternalTLS | None, user_of: Callable[[Any], int | None] = unix_sockets.user_of) -> Dial:
    """Return what connects a protocol to an address. `tls`: None in a cluster on one machine, which has only paths.

    `user_of`: for tests.
    """

    def of_this_user(bottom: SecurableConnection) -> SecurableConnection:
        """Clients' passwords go there, and somebody else may have put a socket of their own in its place."""
        user = user_of(bottom.transport)
        if user != os.geteuid():
            raise NotHandedOver(f"who listens there is of user {user}, and this process of {os.geteuid()}")
        return bottom

    def dial(address: str, bottom: SecurableConnection) -> Deferred[Any]:
        return connect(address, bottom).addErrback(_cancelled)

    def connect(address: str, bottom: SecurableConnection) -> Deferred[Any]:
        if address.startswith("/"):
            connecting: Deferred[Any] = UNIXClientEndpoint(reactor, address).connect(_factory(bottom))
            return connecting.addCallback(of_this_user)
        host, colon, port = address.rpartition(":")
        if tls is None:
            return fail(NotHandedOver("TLS is not configured here, so only UNIX sockets are reached"))
        if not (colon and port.isascii() and port.isdigit() and len(port) <= 5):
            return fail(NotHandedOver(f"{address}: neither a path nor HOST:PORT"))
        endpoint = HostnameEndpoint(reactor, host.strip("[]"), int(port))
        factory = tls.for_clients

        def secured(_bottom: Any) -> Any:
            bottom.start_tls(factory)
            return bottom

        connecting = endpoint.connect(_factory(bottom))
        return connecting.addCallback(secured)

    return dial


def _factory(bottom: SecurableConnection) -> Any:
    """Return what makes this one connection, without a word in the log of its beginning and its end."""
    factory: Any = Factory.forProtocol(lambda: bottom)
    factory.noisy = False
    return factory


def _cancelled(failure: Failure) -> NoReturn:
    """Say as Deferreds do that nobody waits any more: Twisted's endpoints have a word of their own."""
    failure.trap(ConnectingCancelledError)
    raise CancelledError
