"""Who is at the other end of a connection. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple

_IPV6_PREFIX = 64  # what one subscriber has
_LAST_PORT = 65535


class IPEnd(NamedTuple):
    """One end of a connection. An IPv4-mapped address is IPv4, and none has a scope id. Port 0: nobody knows it."""

    address: IPv4Address | IPv6Address
    port: int

    def __str__(self) -> str:
        if not self.port:
            return str(self.address)
        return f"[{self.address}]:{self.port}" if self.address.version == 6 else f"{self.address}:{self.port}"


class Ends(NamedTuple):
    """Whence and whereto a connection is. None: that end has no IP address, or nobody knows it."""

    source: IPEnd | None
    destination: IPEnd | None


@dataclass(frozen=True, slots=True)
class Peer:
    """A client, where it is and where it connected to. `key`: what its address counts as."""

    key: str
    ends: Ends

    @property
    def address(self) -> str:
        """The address alone, as the log has it; where there is none, what it counts as."""
        return self.key if self.ends.source is None else str(self.ends.source.address)

    def __str__(self) -> str:
        return self.key if self.ends.source is None else str(self.ends.source)


#: Of a session whose client has not been here yet.
NOBODY = Peer("nobody yet", Ends(None, None))


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


def ip_end(address: Any) -> IPEnd | None:
    """Return an `IAddress` as an `IPEnd`, None if it has no IP address: a relay (`haproxy:`) may name anything."""
    host, port = getattr(address, "host", ""), getattr(address, "port", -1)
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if not 0 <= port <= _LAST_PORT:
        return None
    return IPEnd(getattr(ip, "ipv4_mapped", None) or ip, port)


def peer_of(transport: Any) -> Peer:
    """Return who is at the other end of a client's transport; behind a relay, once its first bytes have come.

    Of a connection that is lost, whereto it was is not known any more.
    """
    return Peer(peer_key(transport), Ends(ip_end(transport.getPeer()), ip_end(_host_of(transport))))


def _host_of(transport: Any) -> Any:
    try:
        return transport.getHost()
    except (AttributeError, OSError):  # it is lost: Twisted's TCP has no socket any more, and asks it all the same
        return None


def is_loopback(transport: Any) -> bool:
    """Tell whether the peer of a transport is on this machine."""
    host = getattr(transport.getPeer(), "host", None)
    return host is None or ip_address(host.partition("%")[0]).is_loopback
