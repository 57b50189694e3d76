"""Who is at the other end of a connection. Pure."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any

_IPV6_PREFIX = 64  # what one subscriber has


def address_key(host: str) -> str:
    """Return what an address counts as: itself, an IPv6 address as its /64, an IPv4-mapped one as IPv4."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, _IPV6_PREFIX), strict=False))


def peer_key(transport: Any) -> str:
    """Return what the peer of a transport counts as; all peers on a UNIX socket are one."""
    return address_key(str(getattr(transport.getPeer(), "host", "local")))


def is_loopback(transport: Any) -> bool:
    """Tell whether the peer of a transport is on this machine."""
    host = getattr(transport.getPeer(), "host", None)
    return host is None or ip_address(host.partition("%")[0]).is_loopback
