"""The PROXY protocol, version 2 (HAProxy's specification), as the proxy speaks it to servers. Pure.

A connection that is made for no client, such as an account stream, should have the LOCAL command: the connection's own
ends count. But servers do not read it alike. Prosody's mod_net_proxy leaves the header in what it hands on, ejabberd
swallows what comes next if the header holds no addresses, and MongooseIM crashed until 2026. So the own ends are named.
Only on a UNIX socket, where there are none, it is LOCAL, with zeros for addresses. The command PROXY without an IP
address (UNSPEC, UNIX) is never sent: it ends ejabberd's listener.
"""

from __future__ import annotations

from struct import pack
from typing import Any

from minimixproxy.c2s.errors import UpstreamError
from minimixproxy.c2s.transport.peers import Ends, IPEnd, Peer, ip_end

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21  # version 2, and the command
TCP = {4: 0x11, 6: 0x21}  # TCP over IPv4, over IPv6
NO_ADDRESS = bytes(12)  # as long as two of IPv4 with their ports

_HINT = "upstream_proxy_protocol is on: does the server expect the PROXY protocol on this port?"
# Stream errors that may be about a header taken for XML. "": there was none, the server just hung up for example.
_NO_XML = frozenset({"", "bad-format", "invalid-xml", "not-well-formed", "xml-not-well-formed"})


def explain(error: UpstreamError) -> None:
    """Add to an error, with which a server greeted us, that it may not have expected the header."""
    if getattr(error, "condition", "") in _NO_XML:
        error.args = (f"{error} ({_HINT})",)


def header_for(client: Peer | None, transport: Any) -> bytes:
    """Return the first bytes for a connection to a server: whose it is, a client's or the proxy's own (None)."""
    if client is not None and client.ends.source is not None:
        return proxy_header(client.ends)
    return proxy_header(Ends(ip_end(transport.getHost()), ip_end(transport.getPeer())))


def proxy_header(ends: Ends, more: bytes = b"") -> bytes:
    """Return the header that names these ends. A destination of the other family is not named.

    `more`: what stands behind the addresses (TLVs, §2.2).
    """
    source, destination = ends
    if source is None:
        return _header(LOCAL, 0, NO_ADDRESS + more)
    if destination is None or destination.address.version != source.address.version:
        destination = IPEnd(type(source.address)(0), 0)
    addresses = source.address.packed + destination.address.packed
    ports = pack("!HH", source.port, destination.port)
    return _header(PROXY, TCP[source.address.version], addresses + ports + more)


def _header(command: int, family: int, addresses: bytes) -> bytes:
    return SIGNATURE + pack("!BBH", command, family, len(addresses)) + addresses
