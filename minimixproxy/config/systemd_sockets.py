"""Sockets that systemd has opened before the proxy starts (sd_listen_fds(3)), as `systemd:` endpoints name them."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from minimixproxy.config.checks import ENDPOINT_FAULTS, endpoint_fault, endpoint_kind, listened


def usable_endpoint(description: str, reactor: Any) -> IStreamServerEndpoint:
    """Return the endpoint of a `[[listen]]` or the like. Raises ValueError, whose text says what is wrong with it.

    Only here, in the process that is to listen, can it be known of a `systemd:` endpoint whether its socket is there.
    """
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, description)
    except ENDPOINT_FAULTS as error:
        if endpoint_kind(listened(description)) == "systemd":
            raise ValueError(_not_passed(error)) from error
        raise ValueError(endpoint_fault(error)) from error
    adopted = _adopted(endpoint)
    if adopted is not None:
        _check_family(adopted)
    return endpoint


def _not_passed(error: BaseException) -> str:
    names = os.environ.get("LISTEN_FDNAMES", "")
    if isinstance(error, LookupError):
        if not names:
            return "systemd has passed no socket: a .socket unit has to name this service, and to be started before it"
        return f"systemd has passed no socket of that name; FileDescriptorName= has named: {names.replace(':', ', ')}"
    return f'it must be "systemd:domain=INET6:name=NAME", domain one of INET, INET6 and UNIX: {error}'


def _adopted(endpoint: Any, depth: int = 3) -> AdoptedStreamServerEndpoint | None:
    """Return the endpoint on a socket that was passed, perhaps behind `haproxy:`; None for one of another kind."""
    if isinstance(endpoint, AdoptedStreamServerEndpoint):
        return endpoint
    parts = vars(endpoint).values() if depth and hasattr(endpoint, "__dict__") else ()
    inner = (_adopted(part, depth - 1) for part in parts if IStreamServerEndpoint.providedBy(part))
    return next((found for found in inner if found is not None), None)


def _check_family(endpoint: Any) -> None:
    """Twisted takes the family as it is named; with a wrong one, addresses of clients would be nonsense."""
    try:
        with socket.socket(fileno=os.dup(endpoint.fileno)) as passed:
            family, kind = passed.family, passed.type
            listens = passed.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise ValueError(f"systemd has passed no socket there: {error.strerror}") from error
    if kind != socket.SOCK_STREAM or not listens:
        raise ValueError("the socket that systemd has passed does not listen: its unit needs ListenStream=")
    if family != endpoint.addressFamily:
        named = socket.AddressFamily(family).name.removeprefix("AF_")
        raise ValueError(f"the socket that systemd has passed is of another kind: say domain={named}")
