"""Whether the server of a domain is, by its address, the proxy itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from twisted.internet import endpoints

from minimixproxy.checking.endpoints import Bound, where
from minimixproxy.checking.finding import Finding, error
from minimixproxy.config.checks import ENDPOINT_FAULTS
from minimixproxy.config.settings import Settings

ADVICE = "upstream must name the server itself: have that listen on another port or address than the proxy"


def check_loops(settings: Settings, reactor: Any) -> Iterator[Finding]:
    """Yield the domains whose `upstream` is one of the proxy's own ports."""
    own = [bound for port in settings.listen if (bound := _where(port.endpoint, reactor)) is not None]
    for domain in settings.domain.values():
        if domain.upstream is None:
            continue
        found = _target(domain.upstream, reactor)
        if found is not None and any(_is_at(bound, *found) for bound in own):
            yield error(
                f"upstream of {domain.name}", f"{domain.upstream} leads back to the proxy's own [[listen]]", ADVICE
            )


def _where(description: str, reactor: Any) -> Bound | None:
    try:
        return where(description, reactor)
    except ENDPOINT_FAULTS:
        return None


def _target(upstream: str, reactor: Any) -> tuple[str, int] | None:
    """Return host and port of a client endpoint, None if it has none."""
    endpoint: Any = endpoints.clientFromString(reactor, upstream)
    endpoint = getattr(endpoint, "_wrappedEndpoint", endpoint)  # of tls:
    host = getattr(endpoint, "_hostText", None) or getattr(endpoint, "_host", None)
    port = getattr(endpoint, "_port", None)
    return (str(host), int(port)) if host is not None and port is not None else None


def _is_at(bound: Bound, host: str, port: int) -> bool:
    """Tell whether an address, not a name of elsewhere, is where the proxy listens."""
    if bound.port != port or bound.family is socket.AF_UNIX:
        return False
    addresses = {"127.0.0.1", "::1"} if host == "localhost" else {host}
    if bound.address and not bound.everywhere:
        return bound.address in addresses
    return any(map(_is_here, addresses))


def _is_here(address: str) -> bool:
    """Tell whether an address is one of this machine."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    with socket.socket(socket.AF_INET6 if found.version == 6 else socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True
