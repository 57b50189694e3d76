"""The header that tells a server whence a client comes: by the bytes, and as Twisted's own other end reads it."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import address
from twisted.internet.protocol import Factory
from twisted.internet.testing import StringTransport
from twisted.trial import unittest

from minimixproxy.c2s.transport.peers import Ends, IPEnd, Peer, peer_of
from minimixproxy.c2s.upstream.proxy_header import header_for, proxy_header
from tests.c2s.fakeserver import expecting_header
from tests.c2s.helpers import Recorder

PHONE = IPEnd(IPv4Address("192.0.2.77"), 40000)
PHONE_6 = IPEnd(IPv6Address("2001:db8::77"), 40000)
HERE = IPEnd(IPv4Address("198.51.100.1"), 5222)
HERE_6 = IPEnd(IPv6Address("2001:db8::1"), 5222)
LOCAL = "0d0a0d0a000d0a515549540a 20 00 000c 000000000000000000000000"

#: Ends, and the header in hexadecimal digits: signature, version and command, family, length, addresses, ports.
TABLE: tuple[tuple[IPEnd | None, IPEnd | None, str], ...] = (
    (PHONE, HERE, "0d0a0d0a000d0a515549540a 21 11 000c c000024d c6336401 9c40 1466"),
    (
        PHONE_6,
        HERE_6,
        "0d0a0d0a000d0a515549540a 21 21 0024"
        "20010db8000000000000000000000077 20010db8000000000000000000000001 9c40 1466",
    ),
    # what the client connected to is not known, or is of the other family
    (PHONE, None, "0d0a0d0a000d0a515549540a 21 11 000c c000024d 00000000 9c40 0000"),
    (PHONE, HERE_6, "0d0a0d0a000d0a515549540a 21 11 000c c000024d 00000000 9c40 0000"),
    (
        PHONE_6,
        HERE,
        "0d0a0d0a000d0a515549540a 21 21 0024"
        "20010db8000000000000000000000077 00000000000000000000000000000000 9c40 0000",
    ),
    (
        IPEnd(PHONE.address, 0),
        IPEnd(HERE.address, 65535),
        "0d0a0d0a000d0a515549540a 21 11 000c c000024dc6336401 0000 ffff",
    ),
    (None, HERE, LOCAL),
    (None, None, LOCAL),
)

ADDRESSES: Any = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))
ENDS: Any = st.one_of(st.none(), st.builds(IPEnd, ADDRESSES, st.integers(0, 65535)))


def received(data: bytes) -> tuple[Peer, bytes]:
    """What a server that uses Twisted finds out, from its connection's first bytes, and what it reads behind them."""
    upper = Recorder()
    connection: Any = expecting_header(Factory.forProtocol(lambda: upper)).buildProtocol(None)
    relay = address.IPv4Address("TCP", "203.0.113.9", 9)
    connection.makeConnection(StringTransport(hostAddress=relay, peerAddress=relay))
    connection.dataReceived(data)
    return peer_of(connection), upper.received


class HeaderTests(unittest.SynchronousTestCase):
    def test_table(self) -> None:
        for source, destination, digits in TABLE:
            self.assertEqual(proxy_header(Ends(source, destination)).hex(), bytes.fromhex(digits).hex(), digits)

    def test_twisted_reads_it(self) -> None:
        for source, destination in ((PHONE, HERE), (PHONE_6, HERE_6)):
            peer, rest = received(proxy_header(Ends(source, destination)) + b"<?xml")
            self.assertEqual((peer.ends, rest), ((source, destination), b"<?xml"))

    @given(source=ENDS, destination=ENDS)
    def test_any_ends_are_a_header_for_twisted(self, source: IPEnd | None, destination: IPEnd | None) -> None:
        peer, rest = received(proxy_header(Ends(source, destination)) + b"<?xml")
        self.assertEqual(rest, b"<?xml")
        mapped = getattr(source and source.address, "ipv4_mapped", None)
        if source is None:
            self.assertEqual(str(peer), "203.0.113.9:9", "LOCAL: the connection's own end")
        elif mapped is None:
            self.assertEqual(peer.ends.source, source)

    def test_whose_connection_it_is(self) -> None:
        own = StringTransport(
            hostAddress=address.IPv4Address("TCP", "127.0.0.1", 41000),
            peerAddress=address.IPv4Address("TCP", "127.0.0.1", 15222),
        )
        socket = StringTransport(hostAddress=address.UNIXAddress(None), peerAddress=address.UNIXAddress(b"/run/xmpp"))
        client = Peer("192.0.2.77", Ends(PHONE, HERE))
        nowhere = Peer("local", Ends(None, None))
        own_ends = Ends(IPEnd(IPv4Address("127.0.0.1"), 41000), IPEnd(IPv4Address("127.0.0.1"), 15222))
        for who, transport, ends in (
            (client, own, client.ends),
            (client, socket, client.ends),
            (nowhere, own, own_ends),
            (None, own, own_ends),
            (None, socket, Ends(None, None)),
            (nowhere, socket, Ends(None, None)),
        ):
            self.assertEqual(header_for(who, transport), proxy_header(ends), (who, transport))
